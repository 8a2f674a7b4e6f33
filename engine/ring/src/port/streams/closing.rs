//! The streams that are closing, in the order of their deadlines: a chain through the slots, so that it
//! needs no memory of its own however many streams come and go. Deliberately no timer: the turn looks.
//! Called by `port::streams`.

use std::time::{Duration, Instant};

use crate::config::CLOSE_MS_MAX;

use super::slot::Slot;

/// No slot.
const NONE: u32 = u32::MAX;

/// A slot's place in the chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    previous: u32,
    next: u32,
    deadline: Option<Instant>,
}

impl Default for Link {
    fn default() -> Link {
        Link {
            previous: NONE,
            next: NONE,
            deadline: None,
        }
    }
}

/// Both ends of the chain.
#[derive(Debug)]
pub(crate) struct Deadlines {
    first: u32,
    last: u32,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            first: NONE,
            last: NONE,
        }
    }
}

impl Deadlines {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Gives a slot `CLOSE_MS_MAX` from now; no effect when it has a deadline.
    pub(crate) fn append(&mut self, slots: &mut [Slot], slot: u32) {
        if slots[slot as usize].link.deadline.is_some() {
            return;
        }
        slots[slot as usize].link = Link {
            previous: self.last,
            next: NONE,
            deadline: Some(Instant::now() + Duration::from_millis(CLOSE_MS_MAX)),
        };
        match self.last {
            NONE => self.first = slot,
            last => slots[last as usize].link.next = slot,
        }
        self.last = slot;
    }

    /// Takes a slot out of the chain; no effect when it is not in it.
    pub(crate) fn remove(&mut self, slots: &mut [Slot], slot: u32) {
        let link = std::mem::take(&mut slots[slot as usize].link);
        if link.deadline.is_none() {
            return;
        }
        match link.previous {
            NONE => self.first = link.next,
            previous => slots[previous as usize].link.next = link.next,
        }
        match link.next {
            NONE => self.last = link.previous,
            next => slots[next as usize].link.previous = link.previous,
        }
    }

    /// The first slot, when its time is over.
    pub(crate) fn due(&self, slots: &[Slot], now: Instant) -> Option<u32> {
        let first = slots.get(self.first as usize)?;
        let over = first.link.deadline.is_some_and(|deadline| deadline <= now);
        over.then_some(self.first)
    }

    /// How long until the first deadline.
    pub(crate) fn next(&self, slots: &[Slot], now: Instant) -> Option<Duration> {
        let first = slots.get(self.first as usize)?;
        let deadline = first.link.deadline?;
        Some(deadline.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_leave_the_chain_in_any_order_and_the_rest_stay_in_theirs() {
        let mut slots: Vec<Slot> = (0..4).map(|_| Slot::new()).collect();
        let mut chain = Deadlines::default();
        for slot in [2, 0, 3, 1] {
            chain.append(&mut slots, slot);
            chain.append(&mut slots, slot);
        }
        let late = Instant::now() + Duration::from_millis(CLOSE_MS_MAX + 1);
        assert!(
            chain
                .due(&slots, late - Duration::from_secs(3600))
                .is_none()
        );
        chain.remove(&mut slots, 0);
        chain.remove(&mut slots, 0);
        chain.remove(&mut slots, 1);
        let mut order = Vec::new();
        while let Some(slot) = chain.due(&slots, late) {
            chain.remove(&mut slots, slot);
            order.push(slot);
        }
        assert_eq!(order, [2, 3]);
        assert!(chain.is_empty() && chain.next(&slots, late).is_none());
    }
}
