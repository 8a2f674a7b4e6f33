//! Where one MSRP message ends in a byte stream.
//!
//! The end is found by the end-line, not by Byte-Range: a sender may interrupt a chunk (RFC 4975 7.1.1).
//! What was searched is not searched again when more octets come, so a sender of single octets costs
//! no more than another. A fault here is one of the stream: nothing behind it can be told, the
//! connection is to be closed.

use memchr::memmem;

use super::message::{Continuation, Head, Message};

/// Largest start line and header section: room for paths over a dozen relays.
pub const HEAD_BYTES_MAX: usize = 8192;

/// Most header fields of a message; RFC 4975 names nine.
pub const HEADERS_MAX: usize = 64;

/// What precedes the transaction identifier in an end-line.
pub(super) const DASHES: &[u8] = b"-------";

/// Octets of the end-line beside the transaction identifier: dashes, flag, CRLF.
const END_LINE_BYTES: usize = DASHES.len() + 3;

/// Why a stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StreamFault {
    /// The octets do not begin with the start line of an MSRP message.
    #[error("the stream holds no MSRP message; close the connection")]
    StartLine,
    /// A header line without colon, or with a bare CR or LF.
    #[error("malformed header line in the MSRP stream; close the connection")]
    HeaderLine,
    /// The header section exceeds [`HEAD_BYTES_MAX`] or [`HEADERS_MAX`].
    #[error(
        "the header section exceeds {HEAD_BYTES_MAX} octets or {HEADERS_MAX} fields; close the connection"
    )]
    HeadTooLong,
    /// The message exceeds what the reader was made for.
    #[error("the message is longer than the buffer; close the connection")]
    TooLong,
}

/// What a look at the stream's octets gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// The first `len` octets are this message.
    Whole {
        /// The message.
        message: Message<'a>,
        /// Its length; the next message begins behind it.
        len: usize,
    },
    /// The message has not ended; so many more octets are promised by its Byte-Range, or 1 is known to
    /// be missing. A hint for the size of a buffer: an interrupted chunk ends before, so call again
    /// whenever octets came.
    More(usize),
}

/// Finds the messages of one stream.
#[derive(Debug, Clone, Copy)]
pub struct Framer {
    bytes_max: usize,
    /// Octets of the body, from the start of the message, in which no end-line begins.
    searched: usize,
}

impl Framer {
    /// Starts at the beginning of a stream; messages longer than `bytes_max` octets are a fault.
    #[must_use]
    pub fn new(bytes_max: usize) -> Framer {
        Framer {
            bytes_max,
            searched: 0,
        }
    }

    /// Looks for the message that `octets` begin with: the stream from the end of the last message on,
    /// as far as it has come.
    ///
    /// After [`Step::More`] the same octets and more are to be given; after [`Step::Whole`] the octets
    /// behind the message.
    #[inline]
    pub fn step<'a>(&mut self, octets: &'a [u8]) -> Result<Step<'a>, StreamFault> {
        let Some(head) = Head::read(octets)? else {
            return self.more(octets, 1);
        };
        let (body, end) = match head.body_start {
            None => (None, Some((head.end, head.continuation))),
            Some(start) => match self.find_end_line(octets, start, head.transaction) {
                Some((at, continuation)) => {
                    let end = at + 2 + head.transaction.len() + END_LINE_BYTES;
                    (Some((start, at)), Some((end, continuation)))
                }
                None => (None, None),
            },
        };
        let Some((len, continuation)) = end else {
            let wanted = head.octets_wanted(octets.len());
            return self.more(octets, wanted);
        };
        if len > self.bytes_max {
            return Err(StreamFault::TooLong);
        }
        self.searched = 0;
        let body = body.map(|(start, end)| &octets[start..end.max(start)]);
        let message = Message::of(head, body, continuation);
        Ok(Step::Whole { message, len })
    }

    fn more<'a>(&self, octets: &[u8], wanted: usize) -> Result<Step<'a>, StreamFault> {
        let room = self.bytes_max.saturating_sub(octets.len());
        if room == 0 {
            return Err(StreamFault::TooLong);
        }
        Ok(Step::More(wanted.clamp(1, room)))
    }

    /// Returns where the CRLF before the end-line is, and its flag.
    fn find_end_line(
        &mut self,
        octets: &[u8],
        body_start: usize,
        transaction: &[u8],
    ) -> Option<(usize, Continuation)> {
        // The CRLF that ends the header section may be the one before the end-line: an empty body.
        let mut at = self.searched.max(body_start - 2);
        let pattern = EndLine::new(transaction);
        let finder = memmem::Finder::new(pattern.text());
        while let Some(step) = finder.find(octets.get(at..)?) {
            at += step;
            let rest = &octets[at + pattern.text().len()..];
            match rest {
                [flag, b'\r', b'\n', ..] if Continuation::of(*flag).is_some() => {
                    return Continuation::of(*flag).map(|continuation| (at, continuation));
                }
                // Too early to tell.
                [] | [_] | [_, b'\r'] => {
                    self.searched = at;
                    return None;
                }
                _ => at += 1,
            }
        }
        self.searched = at.max(octets.len().saturating_sub(pattern.text().len() - 1));
        None
    }
}

/// CRLF, dashes and transaction identifier.
struct EndLine {
    text: [u8; Self::BYTES_MAX],
    len: usize,
}

impl EndLine {
    const BYTES_MAX: usize = 2 + DASHES.len() + super::message::TRANSACTION_BYTES_MAX;

    fn new(transaction: &[u8]) -> EndLine {
        let mut text = [0; Self::BYTES_MAX];
        let dashes_end = 2 + DASHES.len();
        let len = dashes_end + transaction.len();
        text[..2].copy_from_slice(b"\r\n");
        text[2..dashes_end].copy_from_slice(DASHES);
        text[dashes_end..len].copy_from_slice(transaction);
        EndLine { text, len }
    }

    fn text(&self) -> &[u8] {
        &self.text[..self.len]
    }
}

/// Tells whether `octets` may be sent in a chunk of `transaction`: its end-line does not occur in them.
///
/// RFC 4975 7.1: the sender has to choose another identifier otherwise.
#[must_use]
pub fn is_free_of_end_line(octets: &[u8], transaction: &[u8]) -> bool {
    let mut at = 0;
    while let Some(step) = memmem::find(&octets[at..], DASHES) {
        at += step + 1;
        if octets[at - 1 + DASHES.len()..].starts_with(transaction) {
            return false;
        }
    }
    true
}
