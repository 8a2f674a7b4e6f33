//! The calls of one worker: fixed slots of 256 octets, taken when a device begins to call and free
//! again when its session is over. What can be derived anew is not kept.
//!
//! Slots are reserved as addresses at the start and touched when first used, so a bound of millions
//! costs nothing until they are there. Called by `calls`.

use std::collections::{HashMap, VecDeque};

use sirocco_wire::sir::Ask;

use super::decide::{Security, Word};
use super::name::Name;
use super::policy::Traits;
use crate::population::Origin;

/// The octets of texts in a slot.
const TEXT_BYTES: usize = 136;
/// The texts of a slot.
const TEXTS: usize = 5;
/// The most calls at once: 4 GiB of slots.
pub const CALLS_MAX: usize = 1 << 24;

/// Where a call is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// The slot is free.
    #[default]
    Free,
    /// The user thinks.
    Thinking,
    /// INVITE has left, nothing came.
    Inviting,
    /// A provisional response came.
    Proceeding,
    /// Refused; stays to repeat its ACK (Timer D).
    Refused,
    /// Accepted, the ACK is held back.
    AckHeld,
    /// The session is up.
    Established,
    /// BYE has left.
    Hanging,
    /// BYE has left, for a dialog that a fork of our INVITE made beside the one that was taken. The slot
    /// has the name of the call in place of a token.
    Parting,
    /// A MESSAGE that returns what was asked has left.
    Telling,
    /// A REGISTER has left.
    Registering,
    /// Registered; the refresh is due later.
    Registered,
    /// BYE came; its answer waits.
    Leaving,
    /// The device is gone and answers nothing.
    Vanished,
}

impl State {
    /// Tells whether a request is out and nothing has come back.
    pub(crate) fn is_requesting(self) -> bool {
        matches!(
            self,
            State::Inviting | State::Telling | State::Registering | State::Hanging | State::Parting
        )
    }
}

/// The texts of a slot, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Text {
    Aor = 0,
    Device = 1,
    /// The token, until the session is up.
    Token = 2,
    /// Contact of the other side, once the session is up.
    Target = 3,
    /// To of the other side with its tag; behind LF its route set.
    To = 4,
}

/// What a device returns to a PPG that asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) ask: Ask,
    pub(crate) word: Word,
    pub(crate) security: Security,
}

impl Default for Told {
    fn default() -> Told {
        Told {
            ask: Ask::NOTHING,
            word: Word::Accepted,
            security: Security::Unsealed,
        }
    }
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) generation: u32,
    /// The tick of its timer, 0 for none.
    pub(crate) due: u32,
    /// The device's row in the population, or `u32::MAX`.
    pub(crate) row: u32,
    /// The SIR it follows, among forks.
    pub(crate) group: u32,
    /// CSeq of the request that left last.
    pub(crate) cseq: u32,
    /// CSeq of the last MESSAGE taken.
    pub(crate) remote_cseq: u32,
    /// Part of the hash of the To tag that the session was built with.
    pub(crate) remote_tag: u32,
    /// Octets of the content that MSRP brings, so far.
    pub(crate) stream_octets: u32,
    pub(crate) stream_is_corrupt: bool,
    /// When the request left first.
    pub(crate) started_ns: u64,
    pub(crate) origin: Origin,
    pub(crate) ppg: u16,
    pub(crate) state: State,
    pub(crate) class: u8,
    /// Transmissions of the request that is out.
    pub(crate) sends: u8,
    /// Challenges answered for the request that is out.
    pub(crate) challenges: u8,
    /// More texts of it stand in [`Long`].
    has_long: bool,
    /// The answer to the last MESSAGE waits.
    pub(crate) is_answering: bool,
    /// What a MESSAGE returns.
    pub(crate) told: Told,
    pub(crate) activates_after: bool,
    /// A call the load generator makes of its own, without a SIR.
    pub(crate) is_own: bool,
    pub(crate) traits: Traits,
    lengths: [u8; TEXTS],
    texts: [u8; TEXT_BYTES],
}

const _: () = assert!(size_of::<Call>() <= 256);

impl Call {
    fn blank(generation: u32, origin: Origin) -> Call {
        Call {
            generation,
            due: 0,
            row: u32::MAX,
            group: 0,
            cseq: 0,
            remote_cseq: 0,
            remote_tag: 0,
            stream_octets: 0,
            stream_is_corrupt: false,
            started_ns: 0,
            origin,
            ppg: 0,
            state: State::Thinking,
            class: 0,
            sends: 0,
            challenges: 0,
            has_long: false,
            is_answering: false,
            told: Told::default(),
            activates_after: false,
            is_own: false,
            traits: Traits::default(),
            lengths: [0; TEXTS],
            texts: [0; TEXT_BYTES],
        }
    }

    /// Returns one text.
    #[inline]
    pub(crate) fn text(&self, text: Text) -> &[u8] {
        let before = self.lengths[..text as usize].iter();
        let start: usize = before.map(|&length| usize::from(length)).sum();
        &self.texts[start..start + usize::from(self.lengths[text as usize])]
    }

    /// Keeps the texts from `first` on and forgets those behind; false when there is no room.
    #[inline]
    pub(crate) fn keep(&mut self, first: Text, texts: &[&[u8]]) -> bool {
        let first = first as usize;
        let mut at: usize = self.lengths[..first].iter().map(|&l| usize::from(l)).sum();
        self.lengths[first..].fill(0);
        for (length, text) in self.lengths[first..].iter_mut().zip(texts) {
            let Some(room) = self.texts.get_mut(at..at + text.len()) else {
                return false;
            };
            room.copy_from_slice(text);
            *length = text.len() as u8;
            at += text.len();
        }
        true
    }
}

/// Texts that do not fit a slot: of calls through proxies, and of those with credentials.
#[derive(Debug, Default)]
pub(crate) struct Long {
    pub(crate) target: Vec<u8>,
    /// To of the other side with its tag; behind LF its route set.
    pub(crate) to: Vec<u8>,
    /// Header fields with credentials, with their line ends.
    pub(crate) credentials: Vec<u8>,
}

/// All slots.
pub(crate) struct Table {
    calls: Vec<Call>,
    /// By slot; each no longer than the messages its texts came in.
    long: HashMap<u32, Long>,
    free: Vec<u32>,
    /// Calls that only wait to repeat an ACK, oldest first: they give way when all slots are taken.
    waning: VecDeque<Name>,
    calls_max: usize,
    live: usize,
    live_max: usize,
}

impl Table {
    pub(crate) fn new(calls_max: usize) -> Table {
        let calls_max = calls_max.clamp(1, CALLS_MAX);
        Table {
            calls: Vec::with_capacity(calls_max),
            long: HashMap::new(),
            free: Vec::new(),
            waning: VecDeque::new(),
            calls_max,
            live: 0,
            live_max: 0,
        }
    }

    /// Takes a slot; nothing when all are taken.
    #[inline]
    pub(crate) fn take(&mut self, origin: Origin) -> Option<Name> {
        if self.free.is_empty() && self.calls.len() >= self.calls_max {
            self.wane();
        }
        let name = match self.free.pop() {
            Some(slot) => {
                let generation = self.calls[slot as usize].generation;
                Name { slot, generation }
            }
            None if self.calls.len() < self.calls_max => {
                self.calls.push(Call::blank(0, origin));
                Name {
                    slot: self.calls.len() as u32 - 1,
                    generation: 0,
                }
            }
            None => return None,
        };
        let call = &mut self.calls[name.slot as usize];
        let generation = call.generation;
        // The texts stay as they were: their lengths say that there are none.
        (call.due, call.row, call.group) = (0, u32::MAX, 0);
        (call.cseq, call.remote_cseq, call.challenges) = (0, 0, 0);
        (call.stream_octets, call.stream_is_corrupt) = (0, false);
        (call.sends, call.told) = (0, Told::default());
        (call.activates_after, call.is_own, call.is_answering) = (false, false, false);
        call.lengths = [0; TEXTS];
        call.generation = generation;
        call.origin = origin;
        call.state = State::Thinking;
        self.live += 1;
        self.live_max = self.live_max.max(self.live);
        Some(name)
    }

    /// Frees the oldest calls that only wait to repeat an ACK.
    fn wane(&mut self) {
        while let Some(name) = self.waning.pop_front() {
            let refused = |call: &mut Call| call.state == State::Refused;
            if self.live(name).is_some_and(refused) {
                self.release(name);
                return;
            }
        }
    }

    /// Notes that a refused call may give way.
    pub(crate) fn may_wane(&mut self, name: Name) {
        if self.waning.len() >= self.calls_max {
            self.waning.pop_front();
        }
        self.waning.push_back(name);
    }

    /// Returns a call that is not over.
    #[inline]
    pub(crate) fn live(&mut self, name: Name) -> Option<&mut Call> {
        let call = self.calls.get_mut(name.slot as usize)?;
        (call.generation == name.generation && call.state != State::Free).then_some(call)
    }

    /// Returns a call that is not over, and its long texts if it has any.
    #[inline]
    pub(crate) fn with_long(&mut self, name: Name) -> Option<(&mut Call, Option<&Long>)> {
        let Table { calls, long, .. } = self;
        let call = calls.get_mut(name.slot as usize)?;
        if call.generation != name.generation || call.state == State::Free {
            return None;
        }
        let texts = call.has_long.then(|| long.get(&name.slot)).flatten();
        Some((call, texts))
    }

    /// Returns the long texts of a call to be written.
    pub(crate) fn long(&mut self, name: Name) -> Option<&mut Long> {
        self.live(name)?.has_long = true;
        Some(self.long.entry(name.slot).or_default())
    }

    /// Forgets the credentials of the request that was out.
    #[inline]
    pub(crate) fn forget_credentials(&mut self, name: Name) {
        let has_long = self.live(name).is_some_and(|call| call.has_long);
        if let Some(long) = has_long.then(|| self.long.get_mut(&name.slot)).flatten() {
            long.credentials.clear();
        }
    }

    /// Frees a slot; its name is known to be over from now on.
    #[inline]
    pub(crate) fn release(&mut self, name: Name) {
        if let Some(call) = self.live(name) {
            call.state = State::Free;
            call.generation = call.generation.wrapping_add(1);
            if std::mem::take(&mut call.has_long) {
                self.long.remove(&name.slot);
            }
            self.free.push(name.slot);
            self.live -= 1;
        }
    }

    /// Returns how many calls are not over.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Returns how many there were at once at most.
    pub(crate) fn len_max(&self) -> usize {
        self.live_max
    }

    /// Counts the sessions that are up.
    pub(crate) fn established(&self) -> usize {
        let up = |call: &&Call| call.state == State::Established;
        self.calls.iter().filter(up).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::origin;

    #[test]
    fn slots_are_used_again_under_another_name() {
        let mut table = Table::new(2);
        let (first, second) = (table.take(origin()).unwrap(), table.take(origin()).unwrap());
        assert!(table.take(origin()).is_none());
        table.release(first);
        assert!(table.live(first).is_none() && table.live(second).is_some());
        let third = table.take(origin()).unwrap();
        assert_eq!(
            (third.slot, third.generation),
            (first.slot, first.generation + 1)
        );
        table.release(first);
        assert_eq!(
            (table.len(), table.len_max()),
            (2, 2),
            "an old name frees nothing"
        );
    }

    #[test]
    fn refused_calls_give_way_when_all_slots_are_taken() {
        let mut table = Table::new(2);
        let (first, second) = (table.take(origin()).unwrap(), table.take(origin()).unwrap());
        table.live(first).unwrap().state = State::Refused;
        table.may_wane(first);
        table.may_wane(second);
        assert!(table.take(origin()).is_some());
        assert!(table.take(origin()).is_none());
    }

    #[test]
    fn texts_lie_behind_each_other_and_have_a_bound() {
        let mut call = Call::blank(0, origin());
        assert!(call.keep(Text::Aor, &[b"sip:a@b", b"urn:x", b"token"]));
        assert_eq!(call.text(Text::Device), b"urn:x");
        assert!(call.keep(Text::Target, &[b"sip:ppg@h", b"<sip:ppg>;tag=1"]));
        assert_eq!(
            (call.text(Text::Token), call.text(Text::To)),
            (&b"token"[..], &b"<sip:ppg>;tag=1"[..])
        );
        assert!(call.keep(Text::Token, &[b"", b"sip:other@h"]));
        assert_eq!(
            (call.text(Text::Target), call.text(Text::To)),
            (&b"sip:other@h"[..], &b""[..])
        );
        assert!(!call.keep(Text::Aor, &[&[b'x'; TEXT_BYTES + 1]]));
    }
}
