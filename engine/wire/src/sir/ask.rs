//! What a SIR may ask of its device beside a session, as letters of the ProvURL parameter `ask`, and
//! when an application is to be activated.
//!
//! Names only: what a device does about them is its own decision. The template compiles the letters
//! in, devices read them with [`super::Sir::ask`].

/// One thing that a SIR may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Request {
    /// Return the capability.
    Capability = b'c',
    /// Return the preference.
    Preference = b'p',
    /// Return what the device found of the SIR's security.
    Security = b's',
    /// Return the subscription.
    Subscription = b'b',
    /// Return the reason of a refusal.
    Refusal = b'r',
    /// Send a REGISTER.
    Register = b'g',
    /// Send a capability message.
    CapabilityMessage = b'm',
}

/// All requests, in the order in which [`Ask::letters`] writes them.
const REQUESTS: [(Request, &str); REQUESTS_MAX] = [
    (Request::Capability, "capability"),
    (Request::Preference, "preference"),
    (Request::Security, "security"),
    (Request::Subscription, "subscription"),
    (Request::Refusal, "refusal"),
    (Request::Register, "register"),
    (Request::CapabilityMessage, "capability-message"),
];

const fn words() -> [&'static str; REQUESTS_MAX] {
    let mut words = [""; REQUESTS_MAX];
    let mut place = 0;
    while place < REQUESTS_MAX {
        words[place] = REQUESTS[place].1;
        place += 1;
    }
    words
}

/// Most letters that `ask` has: one for each request.
pub const REQUESTS_MAX: usize = 7;

impl Request {
    /// Returns the letter that stands for it in a SIR.
    #[must_use]
    pub fn letter(self) -> u8 {
        self as u8
    }

    /// Returns its word in orders and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        let named = REQUESTS.iter().find(|(request, _)| *request == self);
        named.map_or("", |(_, word)| word)
    }

    /// Names the request that `word` stands for.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Request> {
        let named = REQUESTS.iter().find(|(_, name)| *name == word);
        named.map(|(request, _)| *request)
    }

    /// All words, in the order of [`Ask::letters`].
    pub const WORDS: &'static [&'static str] = &words();

    fn of_letter(letter: u8) -> Option<Request> {
        let named = REQUESTS
            .iter()
            .find(|(request, _)| request.letter() == letter);
        named.map(|(request, _)| *request)
    }

    fn bit(self) -> u8 {
        let place = REQUESTS.iter().position(|(request, _)| *request == self);
        1 << place.unwrap_or(0)
    }
}

/// A set of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ask(u8);

impl Ask {
    /// Nothing asked.
    pub const NOTHING: Ask = Ask(0);

    /// Reads the letters of a received SIR; unknown ones are skipped, for later senders may know more.
    #[must_use]
    pub fn of_letters(letters: &[u8]) -> Ask {
        letters
            .iter()
            .filter_map(|&letter| Request::of_letter(letter))
            .fold(Ask::NOTHING, Ask::with)
    }

    /// Tells whether `letters` are letters of requests, each once: what a SIR may be compiled of.
    #[must_use]
    pub fn are_letters(letters: &str) -> bool {
        Ask::of_letters(letters.as_bytes()).len() == letters.len()
    }

    /// Adds a request.
    #[must_use]
    pub fn with(self, request: Request) -> Ask {
        Ask(self.0 | request.bit())
    }

    /// Tells whether `request` is in the set.
    #[inline]
    #[must_use]
    pub fn has(self, request: Request) -> bool {
        self.0 & request.bit() != 0
    }

    /// Tells whether nothing is asked.
    #[inline]
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the number of requests.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Iterates over the requests.
    pub fn requests(self) -> impl Iterator<Item = Request> {
        REQUESTS
            .into_iter()
            .map(|(request, _)| request)
            .filter(move |request| self.has(*request))
    }

    /// Returns the letters, for a specification of a SIR.
    #[must_use]
    pub fn letters(self) -> String {
        self.requests()
            .map(|request| char::from(request.letter()))
            .collect()
    }
}

/// When a device activates an application: before or after the session is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum When {
    /// Before it sends its INVITE; what a SIR without the parameter `when` means.
    #[default]
    Before,
    /// When the session is established.
    After,
}

impl When {
    /// Returns the value of the ProvURL parameter `when`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            When::Before => "before",
            When::After => "after",
        }
    }

    /// Names the time that `word` stands for.
    #[must_use]
    pub fn of_word(word: &[u8]) -> Option<When> {
        [When::Before, When::After]
            .into_iter()
            .find(|when| when.word().as_bytes() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_words_name_the_same_requests() {
        let all = Ask::of_letters(b"mgrbspc");
        assert_eq!((all.len(), all.letters().as_str()), (7, "cpsbrgm"));
        for request in all.requests() {
            assert_eq!(Request::of_word(request.word()), Some(request));
            assert_eq!(Request::of_letter(request.letter()), Some(request));
        }
        assert_eq!(Request::of_word("everything"), None);
    }

    #[test]
    fn unknown_letters_are_skipped_in_what_came_and_refused_in_what_goes() {
        let ask = Ask::of_letters(b"xcz");
        assert!(ask.has(Request::Capability) && !ask.has(Request::Register));
        assert_eq!(ask.len(), 1);
        assert!(Ask::are_letters("") && Ask::are_letters("cm"));
        assert!(!Ask::are_letters("cx") && !Ask::are_letters("cc"));
        assert!(Ask::NOTHING.is_empty());
    }

    #[test]
    fn times_have_words() {
        assert_eq!(When::of_word(b"after"), Some(When::After));
        assert_eq!(
            When::of_word(When::Before.word().as_bytes()),
            Some(When::Before)
        );
        assert_eq!(When::of_word(b"while"), None);
    }
}
