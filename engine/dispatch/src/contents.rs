//! The contents of orders: what a session is for, kept until its last token has expired.
//!
//! An order ends when its last SIR is settled, its sessions come after that. So what a session needs of
//! its order stays here: the octets to push, and which devices were wanted. A token names its content by
//! number; a number is used again, and a token that is older than its content is told by its age. The
//! octets of all contents are bounded: those of orders that ended longest ago make room. It pushes
//! nothing; `sirocco_session` does.

use crate::order::{Mode, Pushed, Selector};
use crate::token::{CONTENTS_MAX, Tick};
use std::collections::VecDeque;

/// Octets of one content: what a device takes in one push.
pub const CONTENT_BYTES_MAX: usize = 1 << 20;
/// Octets of the contents of orders that have ended, all together.
const LINGERING_BYTES_MAX: usize = 256 << 20;
/// Octets that an entry costs beside its content.
const ENTRY_BYTES: usize = 256;

/// How content goes to a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Push {
    /// As a MESSAGE where it is small enough, else by MSRP.
    #[default]
    Auto,
    /// As a MESSAGE within the dialog.
    Message,
    /// By MSRP.
    Msrp,
}

/// What the sessions of one order need of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// What is pushed, and how.
    pub pushed: Pushed,
    /// Addressing mode of the SIRs.
    pub mode: Mode,
    /// Which devices were wanted.
    pub selector: Selector,
}

struct Entry {
    content: Content,
    /// Tokens issued before this tick are of an earlier content of the same number.
    born: Tick,
    is_lingering: bool,
}

/// The contents of all orders whose tokens live.
#[derive(Default)]
pub struct Contents {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// Contents of ended orders by the time at which their last token expires.
    lingering: VecDeque<(Tick, u32)>,
    lingering_bytes: usize,
}

/// Why an order's content is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{CONTENTS_MAX} orders are active or have tokens that live; retry when some have expired")]
pub struct ContentsFull;

impl Contents {
    /// Keeps the content of an order that begins at tick `now`; returns its number.
    ///
    /// # Errors
    /// [`ContentsFull`]; nothing is kept then.
    pub fn enlist(&mut self, now: Tick, content: Content) -> Result<u32, ContentsFull> {
        let number = match self.free.pop() {
            Some(number) => number,
            None if self.entries.len() < CONTENTS_MAX => {
                self.entries.push(None);
                (self.entries.len() - 1) as u32
            }
            None => return Err(ContentsFull),
        };
        self.entries[number as usize] = Some(Entry {
            content,
            born: now,
            is_lingering: false,
        });
        Ok(number)
    }

    /// The order has ended; its content stays until tick `until`, or until its room is needed.
    pub fn release(&mut self, number: u32, until: Tick) {
        let Some(Some(entry)) = self.entries.get_mut(number as usize) else {
            return;
        };
        entry.is_lingering = true;
        self.lingering_bytes += ENTRY_BYTES + entry.content.pushed.octets.len();
        self.lingering.push_back((until, number));
        while self.lingering_bytes > LINGERING_BYTES_MAX {
            self.forget_first();
        }
    }

    /// Forgets the contents whose last token expired before tick `now`, a few at a time.
    pub fn sweep(&mut self, now: Tick) {
        const FORGOTTEN_PER_SWEEP_MAX: usize = 64;
        for _ in 0..FORGOTTEN_PER_SWEEP_MAX {
            if self.lingering.front().is_none_or(|(until, _)| *until > now) {
                return;
            }
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((_, number)) = self.lingering.pop_front() else {
            return;
        };
        if let Some(entry) = self.entries[number as usize].take() {
            self.lingering_bytes -= ENTRY_BYTES + entry.content.pushed.octets.len();
        }
        self.free.push(number);
    }

    /// A content by its number; `None` if it is forgotten.
    #[inline]
    #[must_use]
    pub fn at(&self, number: u32) -> Option<&Content> {
        let entry = self.entries.get(number as usize)?.as_ref()?;
        Some(&entry.content)
    }

    /// The content that a token issued at tick `issued` is for; `None` if it is forgotten, even if its
    /// number has another one now.
    #[inline]
    #[must_use]
    pub fn of_token(&self, number: u32, issued: Tick) -> Option<&Content> {
        let entry = self.entries.get(number as usize)?.as_ref()?;
        (entry.born <= issued).then_some(&entry.content)
    }

    /// Contents that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(octets: usize) -> Content {
        let pushed = Pushed {
            content_type: "text/plain".to_owned(),
            octets: vec![b'x'; octets],
            ..Pushed::default()
        };
        Content {
            pushed,
            ..Content::default()
        }
    }

    #[test]
    fn a_content_outlives_its_order_until_its_tokens_expire() {
        let mut contents = Contents::default();
        let number = contents.enlist(Tick(10), content(5)).expect("room");
        contents.release(number, Tick(100));
        contents.sweep(Tick(99));
        assert!(contents.of_token(number, Tick(10)).is_some());
        contents.sweep(Tick(100));
        assert!(contents.of_token(number, Tick(10)).is_none());
        assert!(contents.is_empty());
    }

    #[test]
    fn a_token_of_an_earlier_content_does_not_get_the_later_one() {
        let mut contents = Contents::default();
        let first = contents.enlist(Tick(10), content(1)).expect("room");
        contents.release(first, Tick(20));
        contents.sweep(Tick(20));
        let second = contents.enlist(Tick(30), content(2)).expect("room");
        assert_eq!(first, second, "numbers are used again");
        assert!(contents.of_token(first, Tick(15)).is_none());
        assert_eq!(
            contents
                .of_token(second, Tick(31))
                .map(|content| content.pushed.octets.len()),
            Some(2)
        );
    }

    #[test]
    fn ended_orders_contents_are_bounded() {
        let mut contents = Contents::default();
        let active = contents.enlist(Tick(0), content(1)).expect("room");
        let mut numbers = vec![];
        for _ in 0..300 {
            let number = contents
                .enlist(Tick(1), content(CONTENT_BYTES_MAX))
                .expect("room");
            contents.release(number, Tick(1_000_000));
            numbers.push(number);
        }
        assert!(contents.lingering_bytes <= LINGERING_BYTES_MAX);
        assert!(contents.len() < 258, "{}", contents.len());
        assert!(
            contents.at(active).is_some(),
            "an active order keeps its content"
        );
        assert!(contents.at(*numbers.last().expect("one")).is_some());
    }
}
