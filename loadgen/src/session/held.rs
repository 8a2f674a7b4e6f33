//! Answers that leave later: a device takes time before it answers a content. Bounded; what finds no room
//! is answered at once.
//!
//! Times come in, octets go out; it knows no messages. Called by `dialog` and by `calls`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::name::Name;
use crate::population::Origin;

/// The most answers that wait.
const HELD_MAX: usize = 1 << 16;

/// One answer that waits.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) name: Name,
    pub(crate) origin: Origin,
    pub(crate) octets: Vec<u8>,
    /// Where it may be widened.
    pub(crate) space_at: usize,
}

/// All answers that wait, by their time.
#[derive(Debug, Default)]
pub(crate) struct Held {
    order: BinaryHeap<Reverse<(u64, u32)>>,
    answers: Vec<Answer>,
    free: Vec<u32>,
}

impl Held {
    /// Keeps an answer until `due_ns`; false when there is no room.
    pub(crate) fn put(
        &mut self,
        due_ns: u64,
        (name, origin): (Name, Origin),
        octets: &[u8],
        space_at: usize,
    ) -> bool {
        let at = match self.free.pop() {
            Some(at) => at,
            None if self.answers.len() < HELD_MAX => {
                self.answers.push(Answer {
                    name,
                    origin,
                    octets: Vec::new(),
                    space_at,
                });
                self.answers.len() as u32 - 1
            }
            None => return false,
        };
        let answer = &mut self.answers[at as usize];
        (answer.name, answer.origin, answer.space_at) = (name, origin, space_at);
        answer.octets.clear();
        answer.octets.extend_from_slice(octets);
        self.order.push(Reverse((due_ns, at)));
        true
    }

    /// Takes the next answer whose time has come.
    pub(crate) fn take(&mut self, now_ns: u64) -> Option<&Answer> {
        let &Reverse((due_ns, at)) = self.order.peek()?;
        if due_ns > now_ns {
            return None;
        }
        self.order.pop();
        self.free.push(at);
        self.answers.get(at as usize)
    }

    /// Tells whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::origin;

    #[test]
    fn answers_leave_in_the_order_of_their_times_and_their_room_is_used_again() {
        let mut held = Held::default();
        let name = |slot| Name {
            slot,
            generation: 0,
        };
        for (due_ns, slot) in [(30, 3), (10, 1), (20, 2)] {
            assert!(held.put(due_ns, (name(slot), origin()), b"x", 0));
        }
        assert!(held.take(9).is_none());
        assert_eq!(held.take(20).unwrap().name, name(1));
        assert_eq!(held.take(20).unwrap().name, name(2));
        assert!(held.take(20).is_none() && !held.is_empty());
        assert!(held.put(5, (name(9), origin()), b"yy", 1));
        assert_eq!(held.take(20).unwrap().octets, b"yy");
        assert_eq!(held.answers.len(), 3);
        assert!(held.take(30).is_some() && held.is_empty());
    }
}
