//! The shapes of answers that have been seen: most answers are recognised by comparison with one.
//!
//! Holds the few shapes that came last. A population behind one kind of edge has one shape for each
//! status; whatever has none is parsed, and learnt if it may be. It decides nothing about an answer.

use sirocco_wire::sip::message::Message;
use sirocco_wire::sip::shape::ResponseShape;

/// Shapes kept: comparing with more would cost as much as the parser does.
const SHAPES_MAX: usize = 8;
/// Answers that are parsed before one of them is learnt in place of an older shape: a population whose
/// answers are all different must not pay for learning each.
const LEARN_EVERY: u32 = 64;

/// The shapes that came last.
#[derive(Default)]
pub struct Shapes {
    known: Vec<ResponseShape>,
    latest: usize,
    oldest: usize,
    parsed: u32,
}

impl Shapes {
    /// The branch and status of an answer of a known shape.
    #[inline]
    pub fn recognise<'d>(&mut self, datagram: &'d [u8]) -> Option<(&'d [u8], u16)> {
        let latest = self.known.get(self.latest)?;
        if let Some(branch) = latest.branch_of(datagram) {
            return Some((branch, latest.status()));
        }
        self.recognise_other(datagram)
    }

    fn recognise_other<'d>(&mut self, datagram: &'d [u8]) -> Option<(&'d [u8], u16)> {
        for (place, shape) in self.known.iter().enumerate() {
            if let Some(branch) = shape.branch_of(datagram) {
                self.latest = place;
                return Some((branch, shape.status()));
            }
        }
        None
    }

    /// Learns the shape of an answer that had to be parsed.
    ///
    /// It has no Retry-After that counts and its CSeq is that of a SIR: the caller has checked.
    #[cold]
    pub fn learn(&mut self, message: &Message<'_>) {
        self.parsed = self.parsed.wrapping_add(1);
        if self.known.len() == SHAPES_MAX && !self.parsed.is_multiple_of(LEARN_EVERY) {
            return;
        }
        let Some(shape) = ResponseShape::learn(message) else {
            return;
        };
        if self.known.len() < SHAPES_MAX {
            self.latest = self.known.len();
            self.known.push(shape);
        } else {
            self.oldest = (self.oldest + 1) % SHAPES_MAX;
            self.latest = self.oldest;
            self.known[self.oldest] = shape;
        }
    }
}
