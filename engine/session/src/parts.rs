//! Messages that devices send by MSRP in several chunks (RFC 4975 5.1), put together: what a SIR asked for
//! may come so. One message of a session at a time, in order, each and all together bounded.
//!
//! A connection keeps the order of what it carries, so a chunk that does not continue the last one is
//! refused and its message forgotten. It reads no MSRP. Called by `sessions::msrp`.

use std::collections::HashMap;

/// Octets of one message: what a device returns is a few lines.
pub(crate) const PART_BYTES_MAX: usize = 8_192;
/// Octets of all messages that are not whole.
const PARTS_BYTES_MAX: usize = 1 << 20;
/// Messages that are not whole: an empty beginning takes room, too.
const PARTS_MAX: usize = 4_096;

/// One chunk of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    /// Names the message among those of its session.
    pub(crate) message_id: &'a [u8],
    /// The place of its first octet, from 0.
    pub(crate) start: usize,
    /// Its octets.
    pub(crate) octets: &'a [u8],
    /// Whether it is the last one.
    pub(crate) is_last: bool,
}

struct Part {
    message_id: Box<[u8]>,
    octets: Vec<u8>,
}

/// What has come of messages that are not whole, by the number of the session's leg.
#[derive(Default)]
pub(crate) struct Parts {
    parts: HashMap<u32, Part>,
    octets: usize,
}

/// Why a chunk is refused: it does not continue its message, or there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unwanted;

impl Parts {
    /// Takes a chunk; returns the message when it is the last one.
    ///
    /// # Errors
    /// [`Unwanted`]; what came of the message before is forgotten.
    pub(crate) fn take(
        &mut self,
        leg: u32,
        piece: &Piece<'_>,
    ) -> Result<Option<Vec<u8>>, Unwanted> {
        if piece.start == 0 {
            self.forget(leg);
            if self.parts.len() < PARTS_MAX && piece.message_id.len() <= PART_BYTES_MAX {
                let message_id = piece.message_id.into();
                let octets = Vec::new();
                self.octets += piece.message_id.len();
                self.parts.insert(leg, Part { message_id, octets });
            }
        }
        let has_room = self.octets + piece.octets.len() <= PARTS_BYTES_MAX;
        let part = self.parts.get_mut(&leg).filter(|part| {
            *part.message_id == *piece.message_id
                && part.octets.len() == piece.start
                && piece.start + piece.octets.len() <= PART_BYTES_MAX
        });
        let Some(part) = part.filter(|_| has_room) else {
            self.forget(leg);
            return Err(Unwanted);
        };
        part.octets.extend_from_slice(piece.octets);
        self.octets += piece.octets.len();
        if !piece.is_last {
            return Ok(None);
        }
        let whole = std::mem::take(&mut part.octets);
        self.octets -= whole.len();
        self.forget(leg);
        Ok(Some(whole))
    }

    /// Forgets what came of a session's message.
    pub(crate) fn forget(&mut self, leg: u32) {
        if let Some(part) = self.parts.remove(&leg) {
            self.octets -= part.octets.len() + part.message_id.len();
        }
    }

    /// Whether nothing waits for its rest.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece<'a>(message_id: &'a str, start: usize, octets: &'a [u8], is_last: bool) -> Piece<'a> {
        Piece {
            message_id: message_id.as_bytes(),
            start,
            octets,
            is_last,
        }
    }

    #[test]
    fn chunks_in_order_become_their_message() {
        let mut parts = Parts::default();
        assert_eq!(parts.take(7, &piece("m1", 0, b"capa", false)), Ok(None));
        assert_eq!(parts.take(8, &piece("m1", 0, b"x", false)), Ok(None));
        assert_eq!(parts.take(7, &piece("m1", 4, b"bil", false)), Ok(None));
        let whole = parts.take(7, &piece("m1", 7, b"ity", true));
        assert_eq!(whole, Ok(Some(b"capability".to_vec())));
        parts.forget(8);
        assert!(parts.is_empty() && parts.octets == 0);
    }

    #[test]
    fn what_does_not_continue_its_message_is_refused_and_forgotten() {
        for wrong in [
            piece("m1", 5, b"x", true),
            piece("m2", 4, b"x", true),
            piece("m1", 3, b"x", true),
        ] {
            let mut parts = Parts::default();
            assert_eq!(parts.take(7, &piece("m1", 0, b"capa", false)), Ok(None));
            assert_eq!(parts.take(7, &wrong), Err(Unwanted));
            assert_eq!(parts.take(7, &piece("m1", 4, b"x", true)), Err(Unwanted));
            assert!(parts.is_empty() && parts.octets == 0);
        }
    }

    #[test]
    fn one_message_and_all_together_are_bounded() {
        let mut parts = Parts::default();
        let most = vec![b'x'; PART_BYTES_MAX];
        assert_eq!(parts.take(1, &piece("m", 0, &most, false)), Ok(None));
        let more = parts.take(1, &piece("m", PART_BYTES_MAX, b"x", true));
        assert_eq!(more, Err(Unwanted));
        let taken =
            (0..10_000).filter(|&leg| parts.take(leg, &piece("m", 0, &most, false)).is_ok());
        assert_eq!(taken.count(), PARTS_BYTES_MAX / (PART_BYTES_MAX + 1));
        let mut parts = Parts::default();
        let empty = |leg: &u32| parts.take(*leg, &piece("m", 0, b"", false)).is_ok();
        assert_eq!((0..10_000).filter(empty).count(), PARTS_MAX);
        (0..10_000).for_each(|leg| parts.forget(leg));
        assert_eq!(parts.octets, 0);
    }
}
