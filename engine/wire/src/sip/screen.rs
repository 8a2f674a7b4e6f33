//! What a receiver must do with a message: accept it, refuse it with a status code, or drop it.
//!
//! Stateless checks only. Never answers an ACK or a response.

use super::message::{Message, ParseError};

/// What the message arrived over: decides what a missing or wrong Content-Length means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// One message a datagram.
    Datagram,
    /// Messages framed by Content-Length.
    Stream,
}

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to object to.
    Accept,
    /// Answer the request with this status code.
    Reject {
        /// The status code.
        code: u16,
    },
    /// Do not answer.
    Drop {
        /// Why, for the counters.
        reason: DropReason,
    },
}

/// Why a message is dropped without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// No start line can be told.
    NotSip(ParseError),
}

/// Judges one message.
#[must_use]
pub fn screen(message: &[u8], _transport: Transport) -> Verdict {
    match Message::scan(message) {
        Err(error) => Verdict::Drop {
            reason: DropReason::NotSip(error),
        },
        Ok((_, Some(_))) => Verdict::Reject { code: 400 },
        Ok((_, None)) => Verdict::Accept,
    }
}
