//! One parser for SIP requests and responses (RFC 3261 7): a borrowed view of one datagram or one
//! framed stream message, made in one pass that notes where the wanted header fields lie.
//!
//! It checks structure only: start line, line ends, names, Content-Length. Whether a receiver
//! should act on the message is [`super::screen()`]'s question. Header values stay as received and
//! are read when asked for.

use memchr::{memchr, memrchr};

use super::header::{HeaderName, SLOT_COUNT};
use super::line::{Line, line_len};
use super::token::{
    address_params, decimal, find_unquoted, is_token, is_white, leading_decimal, trim,
};
use super::via::Via;

/// Most header fields accepted in one message: far above real traffic (the longest message of
/// RFC 4475 has 50), low enough that a hostile datagram of two-octet lines costs little.
pub const HEADERS_MAX: usize = 128;

/// Largest message accepted: the payload of one UDP/IPv4 datagram; offsets fit 16 bits.
pub const MESSAGE_BYTES_MAX: usize = 65_507;

/// Largest CSeq number: RFC 3261 8.1.1.5 allows less than 2^31.
pub const CSEQ_MAX: u32 = (1 << 31) - 1;

/// Why octets are not a SIP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ParseError {
    /// Nothing but CRLF: a keep-alive (RFC 5626 3.5.1), not a message.
    #[error("keep-alive without a message; answer or ignore it")]
    KeepAlive,
    /// More than [`MESSAGE_BYTES_MAX`] octets.
    #[error("message larger than a UDP datagram; refuse it")]
    TooLarge,
    /// The first line is neither a request line nor a status line.
    #[error("malformed start line; drop the message")]
    StartLine,
    /// A header line without colon, with a name that is no token, or a bare CR or LF.
    #[error("malformed header line; refuse the message")]
    HeaderLine,
    /// More than [`HEADERS_MAX`] header fields.
    #[error("more than {HEADERS_MAX} header fields; refuse the message")]
    TooManyHeaders,
    /// No empty line after the header fields.
    #[error("header section does not end; refuse the message")]
    Unterminated,
    /// Content-Length is no number, or given twice with different values.
    #[error("malformed Content-Length; refuse the message")]
    ContentLength,
    /// Content-Length promises more octets than arrived.
    #[error("body shorter than Content-Length; refuse the message")]
    BodyTruncated,
}

/// A method name (RFC 3261 7.1); names are case-sensitive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the method of that name")]
pub enum Method<'a> {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Register,
    Message,
    Info,
    Prack,
    Subscribe,
    Notify,
    Update,
    Refer,
    Publish,
    /// A method we have no name for.
    Other(&'a [u8]),
}

const METHODS: [(&[u8], Method<'static>); 14] = [
    (b"MESSAGE", Method::Message),
    (b"INVITE", Method::Invite),
    (b"ACK", Method::Ack),
    (b"BYE", Method::Bye),
    (b"CANCEL", Method::Cancel),
    (b"OPTIONS", Method::Options),
    (b"REGISTER", Method::Register),
    (b"INFO", Method::Info),
    (b"PRACK", Method::Prack),
    (b"SUBSCRIBE", Method::Subscribe),
    (b"NOTIFY", Method::Notify),
    (b"UPDATE", Method::Update),
    (b"REFER", Method::Refer),
    (b"PUBLISH", Method::Publish),
];

impl<'a> Method<'a> {
    /// Names the method that `token` spells.
    #[inline]
    #[must_use]
    pub fn of(token: &'a [u8]) -> Method<'a> {
        if token == b"MESSAGE" {
            return Method::Message;
        }
        let named = METHODS.iter().find(|(name, _)| *name == token);
        named.map_or(Method::Other(token), |(_, method)| *method)
    }

    /// Returns the method's name as it stands on the wire.
    #[must_use]
    pub fn name(self) -> &'a [u8] {
        if let Method::Other(token) = self {
            return token;
        }
        let named = METHODS.iter().find(|(_, method)| *method == self);
        named.map_or(&b""[..], |(name, _)| *name)
    }
}

/// The first line of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// A request line.
    Request {
        /// What is asked.
        method: Method<'a>,
        /// The Request-URI as written.
        uri: &'a [u8],
    },
    /// A status line.
    Status {
        /// The status code, 100 to 699 in a valid message, at most 65535 here.
        code: u16,
        /// The reason phrase, possibly empty.
        reason: &'a [u8],
    },
}

/// The value of a CSeq header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// The sequence number, at most [`CSEQ_MAX`].
    pub number: u32,
    /// The method of the request.
    pub method: Method<'a>,
}

/// Where a value lies in the datagram; `start` 0 means absent, for no header value starts there.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: u16,
    end: u16,
}

impl Span {
    #[inline]
    fn new(start: usize, end: usize) -> Span {
        // MESSAGE_BYTES_MAX is checked before any span is made.
        Span {
            start: start as u16,
            end: end as u16,
        }
    }

    #[inline]
    fn of(self, datagram: &[u8]) -> &[u8] {
        datagram
            .get(usize::from(self.start)..usize::from(self.end))
            .unwrap_or(&[])
    }
}

/// A borrowed view of one SIP message.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    datagram: &'a [u8],
    first: [Span; SLOT_COUNT],
    /// One bit for each slotted [`HeaderName`] that occurs more than once.
    repeated: u32,
    /// Method or reason phrase.
    word: Span,
    uri: Span,
    /// 0 marks a request.
    code: u16,
    version_supported: bool,
    headers_start: u16,
    body: Span,
}

impl<'a> Message<'a> {
    /// Parses one UDP datagram.
    ///
    /// Tolerates folding, compact forms, CRLF before the start line and octets after the body
    /// (RFC 3261 7.5, 18.3). A request with a version other than SIP/2.0 parses; ask
    /// [`Message::version_supported`].
    #[inline]
    pub fn parse(datagram: &'a [u8]) -> Result<Message<'a>, ParseError> {
        let mut message = Self::start(datagram)?;
        message.scan_headers()?;
        Ok(message)
    }

    /// Parses as far as a response to a faulty request needs; the fault comes beside the view.
    ///
    /// Fails where not even a start line can be told.
    pub fn scan(datagram: &'a [u8]) -> Result<(Message<'a>, Option<ParseError>), ParseError> {
        let mut message = Self::start(datagram)?;
        let fault = message.scan_headers().err();
        Ok((message, fault))
    }

    /// Reads the start line.
    #[inline(always)]
    fn start(datagram: &'a [u8]) -> Result<Message<'a>, ParseError> {
        if datagram.len() > MESSAGE_BYTES_MAX {
            return Err(ParseError::TooLarge);
        }
        let mut start = 0;
        // RFC 3261 7.5: CRLF before the start line is ignored.
        while datagram[start..].starts_with(b"\r\n") {
            start += 2;
        }
        if start == datagram.len() {
            return Err(ParseError::KeepAlive);
        }
        let end = start + line_len(&datagram[start..], ParseError::StartLine)?;
        let line = &datagram[start..end];
        let mut message = Message {
            datagram,
            first: [Span::default(); SLOT_COUNT],
            repeated: 0,
            word: Span::default(),
            uri: Span::default(),
            code: 0,
            version_supported: true,
            headers_start: (end + 2) as u16,
            body: Span::default(),
        };
        if let Some(rest) = line.strip_prefix(b"SIP/2.0 ") {
            let (code, reason) = leading_decimal(rest).ok_or(ParseError::StartLine)?;
            message.code = u16::try_from(code).unwrap_or(u16::MAX).max(1);
            // RFC 4475 3.1.1.13: the space stays even when the reason phrase is empty; a line
            // without it is accepted as well.
            if !reason.is_empty() && reason[0] != b' ' {
                return Err(ParseError::StartLine);
            }
            message.word = Span::new(end - reason.len().saturating_sub(1), end);
            return Ok(message);
        }
        message.request_line(line, start)?;
        Ok(message)
    }

    /// Splits a request line at its first and its last space.
    fn request_line(&mut self, line: &[u8], start: usize) -> Result<(), ParseError> {
        // RFC 4475 3.1.2.10: white space after the version may be cut off.
        let line = trim(line);
        let method_end = memchr(b' ', line).ok_or(ParseError::StartLine)?;
        let version_start = memrchr(b' ', line).ok_or(ParseError::StartLine)? + 1;
        let version = &line[version_start..];
        let named = version.len() >= 7 && version[..4].eq_ignore_ascii_case(b"SIP/");
        if !named || !is_token(&line[..method_end]) || version_start <= method_end + 1 {
            return Err(ParseError::StartLine);
        }
        // RFC 3261 7.1: the version is not case-sensitive.
        self.version_supported = version.eq_ignore_ascii_case(b"SIP/2.0");
        self.word = Span::new(start, start + method_end);
        self.uri = Span::new(start + method_end + 1, start + version_start - 1);
        Ok(())
    }

    /// Walks the header section, notes the known names and delimits the body.
    #[inline]
    fn scan_headers(&mut self) -> Result<(), ParseError> {
        let mut at = usize::from(self.headers_start);
        for _ in 0..=HEADERS_MAX {
            match Line::read(self.datagram, at)? {
                None => return self.delimit_body(at + 2),
                Some(line) => {
                    self.note(&line);
                    at = line.next;
                }
            }
        }
        Err(ParseError::TooManyHeaders)
    }

    #[inline]
    fn note(&mut self, line: &Line) {
        let Some(slot) = self.first.get_mut(line.name as usize) else {
            return;
        };
        if slot.start == 0 {
            *slot = Span::new(line.value.start, line.value.end);
        } else {
            self.repeated |= 1 << line.name as u32;
        }
    }

    #[inline]
    fn delimit_body(&mut self, start: usize) -> Result<(), ParseError> {
        let available = self.datagram.len() - start;
        let Some(value) = self.header(HeaderName::ContentLength) else {
            // RFC 3261 18.3: over UDP a missing Content-Length means all that follows.
            self.body = Span::new(start, self.datagram.len());
            return Ok(());
        };
        let length = decimal(value).ok_or(ParseError::ContentLength)? as usize;
        if self.repeats(HeaderName::ContentLength) {
            self.agree_on_length(length)?;
        }
        self.body = Span::new(start, start + length.min(available));
        if length > available {
            return Err(ParseError::BodyTruncated);
        }
        Ok(())
    }

    /// RFC 4475 3.3.9: several Content-Length values that differ make the framing unknown.
    fn agree_on_length(&self, length: usize) -> Result<(), ParseError> {
        let mut values = self
            .headers()
            .filter(|(name, ..)| *name == HeaderName::ContentLength);
        if values.all(|(_, _, value)| decimal(value).is_some_and(|other| other as usize == length))
        {
            return Ok(());
        }
        Err(ParseError::ContentLength)
    }

    /// Returns the start line.
    #[inline]
    #[must_use]
    pub fn start_line(&self) -> StartLine<'a> {
        let word = self.word.of(self.datagram);
        if self.code == 0 {
            StartLine::Request {
                method: Method::of(word),
                uri: self.uri.of(self.datagram),
            }
        } else {
            StartLine::Status {
                code: self.code,
                reason: word,
            }
        }
    }

    /// Returns the status code of a response, `None` for a request.
    #[inline]
    #[must_use]
    pub fn status_code(&self) -> Option<u16> {
        (self.code != 0).then_some(self.code)
    }

    /// Returns the method of a request, `None` for a response.
    #[inline]
    #[must_use]
    pub fn method(&self) -> Option<Method<'a>> {
        (self.code == 0).then(|| Method::of(self.word.of(self.datagram)))
    }

    /// Returns the Request-URI of a request, `None` for a response.
    #[inline]
    #[must_use]
    pub fn request_uri(&self) -> Option<&'a [u8]> {
        (self.code == 0).then(|| self.uri.of(self.datagram))
    }

    /// Tells whether the message is SIP/2.0; responses of other versions do not parse.
    #[must_use]
    pub fn version_supported(&self) -> bool {
        self.version_supported
    }

    /// Returns the value of the first header field called `name`, white space cut off both ends.
    ///
    /// Takes a few nanoseconds for the names with a slot (all up to [`HeaderName::Date`]) and a walk
    /// over the header section for the others. [`HeaderName::Other`] is none: see
    /// [`Message::headers`].
    #[inline]
    #[must_use]
    pub fn header(&self, name: HeaderName) -> Option<&'a [u8]> {
        match self.first.get(name as usize) {
            Some(span) => (span.start != 0).then(|| span.of(self.datagram)),
            None if name == HeaderName::Other => None,
            None => self.values(name).next(),
        }
    }

    /// Tells whether more than one header field is called `name`.
    #[inline]
    #[must_use]
    pub fn repeats(&self, name: HeaderName) -> bool {
        if (name as usize) < SLOT_COUNT {
            return self.repeated & 1 << name as u32 != 0;
        }
        name != HeaderName::Other && self.values(name).nth(1).is_some()
    }

    /// Iterates over all header fields in order: name, name as written, value.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, &'a [u8], &'a [u8])> + use<'a> {
        let datagram = self.datagram;
        let mut at = usize::from(self.headers_start);
        std::iter::from_fn(move || {
            let line = Line::read(datagram, at).ok()??;
            let name = &datagram[at..line.name_end];
            at = line.next;
            Some((line.name, name, &datagram[line.value]))
        })
        .take(HEADERS_MAX)
    }

    /// Iterates over the values of all header fields called `name`.
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.headers()
            .filter_map(move |(known, _, value)| (known == name).then_some(value))
    }

    /// Reads the topmost Via; `None` when absent or malformed.
    #[inline]
    #[must_use]
    pub fn top_via(&self) -> Option<Via<'a>> {
        Via::parse(self.header(HeaderName::Via)?)
    }

    /// Tells whether there is more than one Via value, in further header fields or behind a comma.
    #[must_use]
    pub fn has_several_vias(&self) -> bool {
        let is_list = |list: &[u8]| find_unquoted(list, b',', b',') < list.len();
        self.repeats(HeaderName::Via) || self.header(HeaderName::Via).is_some_and(is_list)
    }

    /// Reads CSeq; `None` when absent, malformed or above [`CSEQ_MAX`].
    #[inline]
    #[must_use]
    pub fn cseq(&self) -> Option<CSeq<'a>> {
        let (number, rest) = leading_decimal(self.header(HeaderName::CSeq)?)?;
        let method = trim(rest);
        let separated = rest.first().is_some_and(|&octet| is_white(octet));
        if number > CSEQ_MAX || !separated || !is_token(method) {
            return None;
        }
        Some(CSeq {
            number,
            method: Method::of(method),
        })
    }

    /// Returns the Call-ID value.
    #[inline]
    #[must_use]
    pub fn call_id(&self) -> Option<&'a [u8]> {
        self.header(HeaderName::CallId)
    }

    /// Returns the From value as written, parameters included.
    #[inline]
    #[must_use]
    pub fn from(&self) -> Option<&'a [u8]> {
        self.header(HeaderName::From)
    }

    /// Returns the To value as written, parameters included.
    #[inline]
    #[must_use]
    pub fn to(&self) -> Option<&'a [u8]> {
        self.header(HeaderName::To)
    }

    /// Returns the tag of From.
    #[must_use]
    pub fn from_tag(&self) -> Option<&'a [u8]> {
        address_params(self.from()?).find(b"tag")?.value
    }

    /// Returns the tag of To.
    #[must_use]
    pub fn to_tag(&self) -> Option<&'a [u8]> {
        address_params(self.to()?).find(b"tag")?.value
    }

    /// Returns the body: Content-Length octets, or all octets after the empty line without one.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body.of(self.datagram)
    }

    /// Returns the whole datagram the view was made of.
    #[must_use]
    pub fn datagram(&self) -> &'a [u8] {
        self.datagram
    }

    /// Reads Retry-After in seconds (RFC 3261 20.33); comment and parameters are ignored.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u32> {
        let (seconds, rest) = leading_decimal(self.header(HeaderName::RetryAfter)?)?;
        let delimited = rest
            .first()
            .is_none_or(|&octet| is_white(octet) || b"(;".contains(&octet));
        delimited.then_some(seconds)
    }

    /// Reads Expires in seconds (RFC 3261 20.19); `None` when absent or no 32-bit number.
    #[must_use]
    pub fn expires_seconds(&self) -> Option<u32> {
        decimal(self.header(HeaderName::Expires)?)
    }
}

#[cfg(test)]
mod tests;
