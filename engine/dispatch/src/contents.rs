//! The contents of orders: what a session is for, kept until its last token has expired.
//!
//! An order ends when its last SIR is settled, its sessions come after that. So what a session needs of
//! its order stays here: the octets to push, and which devices were wanted. A token names its content by
//! number. A number is used again when no token of its content lives and no push of it is under way. The
//! octets of all contents are bounded: those of orders that ended longest ago make room. It pushes
//! nothing; `sirocco_session` does.

use crate::order::{Pushed, Selector};
use crate::token::{CONTENTS_MAX, Tick};
pub use sirocco_session::Push;
use std::collections::VecDeque;

/// Octets of one content: what a device takes in one push.
pub const CONTENT_BYTES_MAX: usize = 1 << 20;
/// Octets of the contents of orders that have ended, all together.
const LINGERING_BYTES_MAX: usize = 256 << 20;

/// What the sessions of one order need of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// What is pushed, and how.
    pub pushed: Pushed,
    /// Which devices were wanted.
    pub selector: Selector,
}

struct Entry {
    content: Content,
    /// Tokens issued before this tick are of an earlier content of the same number.
    born: Tick,
    /// Pushes of it that are under way.
    pushes: u32,
    /// Its octets have made room for others.
    is_emptied: bool,
}

/// The contents of all orders whose tokens live.
#[derive(Default)]
pub struct Contents {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// Contents of ended orders by the time at which their last token expires.
    lingering: VecDeque<(Tick, u32)>,
    lingering_bytes: usize,
    /// Of the lingering ones, so many first ones have been emptied.
    emptied: usize,
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
            pushes: 0,
            is_emptied: false,
        });
        Ok(number)
    }

    /// The order has ended; its content stays until tick `until`, or until its room is needed.
    pub fn release(&mut self, number: u32, until: Tick) {
        let Some(entry) = self.entry(number) else {
            return;
        };
        let octets = entry.content.pushed.octets.len();
        self.lingering_bytes += octets;
        self.lingering.push_back((until, number));
        while self.lingering_bytes > LINGERING_BYTES_MAX && self.emptied < self.lingering.len() {
            self.empty(self.emptied);
            self.emptied += 1;
        }
    }

    /// A push of a content begins; of one that has nothing to push, none does.
    pub fn begin_push(&mut self, number: u32) {
        if let Some(entry) = self.entry(number) {
            entry.pushes += u32::from(!entry.content.pushed.content_type.is_empty());
        }
    }

    /// A push of a content has ended.
    pub fn end_push(&mut self, number: u32) {
        if let Some(entry) = self.entry(number) {
            entry.pushes = entry.pushes.saturating_sub(1);
        }
    }

    /// Forgets the contents whose last token expired before tick `now`, a few at a time.
    pub fn sweep(&mut self, now: Tick) {
        const FORGOTTEN_PER_SWEEP_MAX: usize = 64;
        const PUSH_GRACE_TICKS: u64 = 10 * crate::token::TICKS_PER_S;
        for _ in 0..FORGOTTEN_PER_SWEEP_MAX {
            let Some(&(_, number)) = self.lingering.front().filter(|(until, _)| *until <= now)
            else {
                return;
            };
            self.lingering.pop_front();
            self.emptied = self.emptied.saturating_sub(1);
            if self.entry(number).is_some_and(|entry| entry.pushes > 0) {
                self.lingering
                    .push_back((Tick(now.0 + PUSH_GRACE_TICKS), number));
                continue;
            }
            if let Some(entry) = self.entries[number as usize].take() {
                self.lingering_bytes -= entry.content.pushed.octets.len();
            }
            self.free.push(number);
        }
    }

    /// Lets the octets of a lingering content go before its time; its number stays taken.
    fn empty(&mut self, place: usize) {
        let number = self.lingering[place].1;
        let Some(entry) = self.entry(number).filter(|entry| entry.pushes == 0) else {
            return;
        };
        let octets = std::mem::take(&mut entry.content.pushed.octets);
        entry.is_emptied |= !octets.is_empty();
        self.lingering_bytes -= octets.len();
    }

    fn entry(&mut self, number: u32) -> Option<&mut Entry> {
        self.entries.get_mut(number as usize)?.as_mut()
    }

    /// A content by its number; `None` if it is forgotten.
    #[inline]
    #[must_use]
    pub fn at(&self, number: u32) -> Option<&Content> {
        let entry = self.entries.get(number as usize)?.as_ref()?;
        (!entry.is_emptied).then_some(&entry.content)
    }

    /// The content that a token issued at tick `issued` is for; `None` if it is forgotten, even if its
    /// number has another one now.
    #[inline]
    #[must_use]
    pub fn of_token(&self, number: u32, issued: Tick) -> Option<&Content> {
        let entry = self.entries.get(number as usize)?.as_ref()?;
        (entry.born <= issued && !entry.is_emptied).then_some(&entry.content)
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
    fn a_content_stays_while_a_push_of_it_is_under_way() {
        let mut contents = Contents::default();
        let number = contents.enlist(Tick(0), content(5)).expect("room");
        contents.begin_push(number);
        contents.release(number, Tick(10));
        contents.sweep(Tick(11));
        assert!(contents.at(number).is_some());
        contents.end_push(number);
        contents.sweep(Tick(u64::MAX));
        assert!(contents.is_empty());
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
        assert!(contents.at(numbers[0]).is_none(), "the oldest made room");
        assert!(
            contents.at(active).is_some(),
            "an active order keeps its content"
        );
        assert!(contents.at(*numbers.last().expect("one")).is_some());
    }
}
