//! Where one SIP message ends in a byte stream (RFC 3261 18.3), and the keep-alives between messages
//! (RFC 5626 4.4.1).
//!
//! What was searched is not searched again when more octets come. A fault leaves the end of the message
//! unknown: the connection is to be closed, after a 400 where [`Message::scan`] still reads a request.
//! MSRP has its own framing, `msrp::frame`.

use memchr::memmem;

use super::header::HeaderName;
use super::message::{MESSAGE_BYTES_MAX, Message, ParseError};

/// Largest header section in a stream: far above real traffic, so that little is kept for a sender that
/// never ends one.
pub const SECTION_BYTES_MAX: usize = 16_384;

const END_OF_SECTION: &[u8] = b"\r\n\r\n";

/// Why a stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StreamFault {
    /// The octets are no SIP message.
    #[error(transparent)]
    Message(#[from] ParseError),
    /// RFC 3261 18.3: Content-Length is required in streams.
    #[error("a message without Content-Length in a stream; close the connection")]
    LengthMissing,
    /// The header section exceeds [`SECTION_BYTES_MAX`], or the message what the reader was made for.
    #[error("the message is longer than the buffer; close the connection")]
    TooLong,
}

/// What a look at the stream's octets gave.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// The first `len` octets are this message.
    Whole {
        /// The message; its datagram is these octets alone.
        message: Message<'a>,
        /// Its length; the next message begins behind it.
        len: usize,
    },
    /// RFC 5626 4.4.1: the first 4 octets are a ping, to be answered with one CRLF.
    Ping,
    /// The first 2 octets are a pong, or a CRLF between messages: nothing to do.
    Pong,
    /// The message lacks so many octets at least.
    More(usize),
}

/// Finds the messages of one stream.
#[derive(Debug, Clone, Copy)]
pub struct Framer {
    bytes_max: usize,
    /// Octets, from the start of the message, in which its header section does not end.
    searched: usize,
    /// Length of the message, 0 as long as it is unknown.
    length: usize,
}

impl Framer {
    /// Starts at the beginning of a stream; messages longer than `bytes_max` octets, or than
    /// [`MESSAGE_BYTES_MAX`], are a fault.
    #[must_use]
    pub fn new(bytes_max: usize) -> Framer {
        Framer {
            bytes_max: bytes_max.min(MESSAGE_BYTES_MAX),
            searched: 0,
            length: 0,
        }
    }

    /// Looks for the message that `octets` begin with: the stream from the end of the last step's
    /// octets on, as far as it has come.
    ///
    /// After [`Step::More`] the same octets and more are to be given, after the others those behind.
    pub fn step<'a>(&mut self, octets: &'a [u8]) -> Result<Step<'a>, StreamFault> {
        if self.length == 0 {
            match octets {
                [b'\r', b'\n', b'\r', b'\n', ..] => return Ok(Step::Ping),
                // Perhaps the first half of a ping; with anything behind it, it is none.
                [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return Ok(Step::More(1)),
                [b'\r', b'\n', ..] => return Ok(Step::Pong),
                _ => {}
            }
            if let Some(step) = self.find_length(octets)? {
                return Ok(step);
            }
        }
        let length = self.length;
        if octets.len() < length {
            return Ok(Step::More(length - octets.len()));
        }
        let message = Message::parse(&octets[..length])?;
        (self.searched, self.length) = (0, 0);
        Ok(Step::Whole {
            message,
            len: length,
        })
    }

    /// Sets the length as soon as the header section has ended; until then octets are wanted.
    fn find_length<'a>(&mut self, octets: &[u8]) -> Result<Option<Step<'a>>, StreamFault> {
        let shown = &octets[..octets.len().min(SECTION_BYTES_MAX)];
        let found = memmem::find(
            shown.get(self.searched..).unwrap_or_default(),
            END_OF_SECTION,
        );
        let Some(step) = found else {
            let room = self
                .bytes_max
                .min(SECTION_BYTES_MAX)
                .saturating_sub(octets.len());
            self.searched = shown.len().saturating_sub(END_OF_SECTION.len() - 1);
            return match room {
                0 => Err(StreamFault::TooLong),
                _ => Ok(Some(Step::More(1))),
            };
        };
        let section_end = self.searched + step + END_OF_SECTION.len();
        let (head, fault) = Message::scan(&octets[..section_end])?;
        if let Some(fault) = fault.filter(|fault| *fault != ParseError::BodyTruncated) {
            return Err(fault.into());
        }
        let value = head.header(HeaderName::ContentLength);
        let value = value.ok_or(StreamFault::LengthMissing)?;
        let body = super::token::decimal(value).ok_or(ParseError::ContentLength)?;
        let length = section_end + body as usize;
        if length > self.bytes_max {
            return Err(StreamFault::TooLong);
        }
        self.length = length;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BYTES_MAX: usize = 2048;
    const BYE: &[u8] = b"BYE sip:a@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nl: 0\r\n\r\n";
    const OK: &[u8] = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK2\r\n\
        Content-Length: 6\r\n\r\n\r\n\r\nab";

    /// Reads a stream that comes in pieces of the given lengths; returns what was found.
    fn read(stream: &[u8], pieces: &[usize]) -> Result<Vec<&'static str>, StreamFault> {
        let mut framer = Framer::new(BYTES_MAX);
        let (mut start, mut have) = (0, 0);
        let mut found = Vec::new();
        let mut pieces = pieces.iter().cycle();
        loop {
            match framer.step(&stream[start..have])? {
                Step::More(wanted) => {
                    assert!(wanted > 0);
                    if have == stream.len() {
                        return Ok(found);
                    }
                    have = stream.len().min(have + pieces.next().expect("a cycle"));
                }
                Step::Whole { message, len } => {
                    assert_eq!(message.datagram(), &stream[start..start + len]);
                    found.push(if message.status_code().is_some() {
                        "OK"
                    } else {
                        "BYE"
                    });
                    start += len;
                }
                Step::Ping => {
                    found.push("ping");
                    start += 4;
                }
                Step::Pong => {
                    found.push("pong");
                    start += 2;
                }
            }
        }
    }

    #[test]
    fn messages_and_keep_alives_are_told_apart() {
        let stream = [BYE, b"\r\n\r\n", OK, b"\r\n", BYE, OK, b"\r\n"].concat();
        let found = read(&stream, &[stream.len()]).expect("a sound stream");
        assert_eq!(found, ["BYE", "ping", "OK", "pong", "BYE", "OK"]);
    }

    #[test]
    fn says_how_many_octets_are_wanted() {
        let mut framer = Framer::new(BYTES_MAX);
        assert!(matches!(framer.step(&OK[..10]), Ok(Step::More(1))));
        assert!(matches!(
            framer.step(&OK[..OK.len() - 5]),
            Ok(Step::More(5))
        ));
        assert!(matches!(framer.step(OK), Ok(Step::Whole { .. })));
        assert!(matches!(framer.step(b"\r\n"), Ok(Step::More(1))));
    }

    #[test]
    fn hostile_streams_end_early() {
        let endless = [b"BYE sip:a@h SIP/2.0\r\nX: ", &[b'y'; BYTES_MAX][..]].concat();
        let step = |octets: &[u8]| Framer::new(BYTES_MAX).step(octets).map(|_| ()).unwrap_err();
        assert_eq!(step(&endless), StreamFault::TooLong);
        assert_eq!(
            step(b"BYE sip:a@h SIP/2.0\r\nl: 4000\r\n\r\n"),
            StreamFault::TooLong
        );
        assert_eq!(
            step(b"BYE sip:a@h SIP/2.0\r\nX: y\r\n\r\n"),
            StreamFault::LengthMissing
        );
        assert_eq!(
            step(b"BYE sip:a@h SIP/2.0\r\nl: 1\r\nl: 2\r\n\r\n"),
            StreamFault::Message(ParseError::ContentLength)
        );
        assert_eq!(
            step(b"hello\r\n\r\n"),
            StreamFault::Message(ParseError::StartLine)
        );
        let large = [
            b"BYE sip:a@h SIP/2.0\r\nX: ",
            &[b'y'; SECTION_BYTES_MAX][..],
        ]
        .concat();
        let fault = Framer::new(usize::MAX).step(&large).map(|_| ());
        assert_eq!(fault, Err(StreamFault::TooLong));
    }

    proptest! {
        #[test]
        fn a_stream_reads_alike_however_it_is_cut(
            order in proptest::collection::vec(0..4usize, 0..6), pieces in proptest::collection::vec(1..80usize, 1..20),
        ) {
            let parts = [BYE, OK, b"\r\n\r\n", BYE];
            let stream = order.iter().map(|at| parts[*at]).collect::<Vec<_>>().concat();
            let whole = read(&stream, &[stream.len().max(1)]);
            prop_assert_eq!(read(&stream, &pieces), whole.clone());
            prop_assert_eq!(whole.map(|found| found.len()), Ok(order.len()));
        }

        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Framer::new(BYTES_MAX).step(&octets);
            let _ = Framer::new(BYTES_MAX).step(&[OK, &octets].concat());
        }
    }
}
