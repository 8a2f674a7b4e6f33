//! The edges of the sessions: what they ask of dispatch ([`Host`]) and where their octets go ([`Outbox`]).
//!
//! Both are generic parameters, so the loop has no hook and no mock in it. Whoever implements them owns tokens,
//! contents, the index and the sockets.

use crate::wheel::Handle;
use serde::{Deserialize, Serialize};
use sirocco_wire::sip::Status;
use std::net::SocketAddr;

/// The name of an open session inside the worker.
pub type SessionHandle = Handle;

/// One TCP connection; the number carries a generation, so it is never reused for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(pub u64);

/// What is spoken over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// SIP messages.
    Sip,
    /// MSRP.
    Msrp,
}

/// Where a message came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// A datagram from `peer`.
    Datagram {
        /// Its source address.
        peer: SocketAddr,
    },
    /// A connection.
    Stream {
        /// Which.
        stream: StreamId,
        /// The address at its other end.
        peer: SocketAddr,
    },
}

impl Path {
    /// The address that the message came from.
    #[must_use]
    pub fn peer(self) -> SocketAddr {
        match self {
            Path::Datagram { peer } | Path::Stream { peer, .. } => peer,
        }
    }
}

/// Who asks, as the request says it; only the token proves anything.
#[derive(Clone, Copy, Debug)]
pub struct Invitation<'a> {
    /// The parameter `t` of the Request-URI; empty: missing.
    pub token: &'a [u8],
    /// The URI of From.
    pub user: &'a [u8],
    /// The device: `+sip.instance` of Contact without its quotes and brackets, else `gr` of its URI, else empty.
    pub device: &'a [u8],
    /// Where the request came from.
    pub peer: SocketAddr,
}

/// What a valid token grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The number of the content to push.
    pub content: u16,
    /// Opaque here: names identity and device for the host.
    pub owner: [u64; 2],
}

/// Why a token grants nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The Request-URI has no parameter `t`.
    #[error("no token in the Request-URI; use the whole URI that the SIR names")]
    TokenMissing,
    /// The token was not made by this engine for that device.
    #[error("not a token of this engine for this device; use the URI of your own SIR")]
    TokenForged,
    /// The token's time is over.
    #[error("the token has expired; wait for another SIR")]
    TokenExpired,
    /// The token has opened a session already.
    #[error("the token has been used; wait for another SIR")]
    TokenUsed,
    /// The content that the token is for is no longer there.
    #[error("the content is no longer there")]
    ContentGone,
    /// The content cannot travel to this device: what was asked of [`Host::admit`] said no.
    #[error("the content cannot travel to this device; offer MSRP or allow MESSAGE")]
    ContentUntaken,
}

impl Refusal {
    /// The response that says so.
    #[must_use]
    pub fn status(self) -> Status {
        let (code, reason) = match self {
            Refusal::TokenMissing => (403, "Token Missing"),
            Refusal::TokenForged => (403, "Token Not Valid"),
            Refusal::TokenExpired => (403, "Token Expired"),
            Refusal::TokenUsed => (403, "Token Already Used"),
            Refusal::ContentGone => (410, "Content Gone"),
            Refusal::ContentUntaken => (488, "Not Acceptable Here"),
        };
        Status { code, reason }
    }
}

/// How a content wants to travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Push {
    /// As MESSAGE if it is short enough and the device takes it so, else by MSRP.
    #[default]
    Auto,
    /// As MESSAGE.
    Message,
    /// By MSRP.
    Msrp,
}

/// What is pushed.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The value of Content-Type; empty: there is nothing to push, the session is all that is wanted.
    pub content_type: &'a str,
    /// The content itself.
    pub octets: &'a [u8],
    /// How it wants to travel.
    pub prefer: Push,
}

/// Why a session ended or a content was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The engine's BYE, its work done.
    Engine,
    /// The device's BYE.
    Peer,
    /// No ACK within 64*T1.
    NoAck,
    /// No answer to a request of ours within 64*T1, or to an MSRP chunk within 30 s.
    NoAnswer,
    /// The device answered 481 or 408.
    Gone,
    /// The device refused the content by this status code, of SIP or MSRP.
    Refused(u16),
    /// The content was taken back before it was sent.
    ContentGone,
    /// The device did not connect for MSRP in time.
    NotConnected,
    /// A connection was lost.
    Connection,
    /// [`crate::Sessions::end_all`] was called.
    Drained,
    /// The longest hold time was over.
    HeldTooLong,
}

impl Cause {
    /// The cause as a word, for a slot.
    pub(crate) fn word(self) -> u32 {
        let (kind, code) = match self {
            Cause::Engine => (0, 0),
            Cause::Peer => (1, 0),
            Cause::NoAck => (2, 0),
            Cause::NoAnswer => (3, 0),
            Cause::Gone => (4, 0),
            Cause::Refused(code) => (5, code),
            Cause::ContentGone => (6, 0),
            Cause::NotConnected => (7, 0),
            Cause::Connection => (8, 0),
            Cause::Drained => (9, 0),
            Cause::HeldTooLong => (10, 0),
        };
        kind << 16 | u32::from(code)
    }

    /// The cause that [`Cause::word`] gave.
    pub(crate) fn of_word(word: u32) -> Cause {
        match word >> 16 {
            0 => Cause::Engine,
            1 => Cause::Peer,
            2 => Cause::NoAck,
            3 => Cause::NoAnswer,
            4 => Cause::Gone,
            5 => Cause::Refused(word as u16),
            6 => Cause::ContentGone,
            7 => Cause::NotConnected,
            8 => Cause::Connection,
            9 => Cause::Drained,
            _ => Cause::HeldTooLong,
        }
    }
}

/// What happens to a session.
///
/// The order is: `Established` once (not when the ACK is missing); for each content one `Delivered` or `Failed`, and
/// neither where there is nothing to push; `Ended` once, the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// The ACK came: the device has built its session.
    Established {
        /// Its name for [`crate::Sessions::push`].
        session: SessionHandle,
    },
    /// The device has the content.
    Delivered,
    /// The device does not have the content, and did build its session.
    Failed(Cause),
    /// The device does not have the content, and no ACK came: its session was never established.
    Missed(Cause),
    /// The session is over.
    Ended {
        /// Its name, which is dead now.
        session: SessionHandle,
        /// Why.
        cause: Cause,
    },
}

/// What the sessions ask of the worker that holds tokens, contents and the index.
pub trait Host {
    /// Judges an INVITE; a grant consumes its token. Called once for each INVITE that could open a session; a
    /// refused one is not remembered, so its retransmission is asked again.
    ///
    /// `takes` has to be asked once the token is known to hold and before it is consumed: whether the session can be
    /// built for this content. If it says no, the refusal is [`Refusal::ContentUntaken`] and the token stays unused.
    ///
    /// # Errors
    /// The refusal, which becomes the response.
    fn admit(
        &mut self,
        now: u64,
        invitation: &Invitation<'_>,
        takes: impl FnOnce(&Content<'_>) -> bool,
    ) -> Result<Grant, Refusal>;
    /// Whether requests may be sent to an address that a device names in Record-Route or Contact and that is not the
    /// address that its INVITE came from. By default none is: a device could aim us at anybody.
    fn may_route(&self, address: SocketAddr) -> bool {
        let _ = address;
        false
    }
    /// The content of a number; `None` once it is no longer there.
    fn content(&self, owner: [u64; 2], number: u16) -> Option<Content<'_>>;
    /// Takes information that a device returns (`text/parameters`). A retransmission is not told from a new one:
    /// storing the same twice has to be harmless.
    ///
    /// # Errors
    /// The refusal, which becomes the response.
    fn returned(
        &mut self,
        now: u64,
        invitation: &Invitation<'_>,
        parameters: &[u8],
    ) -> Result<(), Refusal>;
    /// Takes a REGISTER: the device's contact URI and for how many seconds. Repeated as `returned` is.
    ///
    /// # Errors
    /// The refusal, which becomes the response.
    fn register(
        &mut self,
        now: u64,
        invitation: &Invitation<'_>,
        contact: &[u8],
        expires_s: u32,
    ) -> Result<(), Refusal>;
    /// Takes what a device sends inside its session: content type and body. Called once for each.
    fn received(&mut self, now: u64, owner: [u64; 2], content_type: &[u8], body: &[u8]) {
        let _ = (now, owner, content_type, body);
    }
    /// Learns what happened to a session of `owner` and the content of that number.
    fn note(&mut self, now: u64, owner: [u64; 2], content: u16, event: SessionEvent);
}

/// Where octets go: lanes of trains and TCP streams, or a simulated network.
pub trait Outbox {
    /// Writes one datagram to `peer`. `write` gets 1500 octets at the least and returns how many it used; 0 means
    /// that what had to be written is longer, and nothing is sent. `false`: there is no room now, `write` was not
    /// called, and a timer will repair it.
    fn datagram(&mut self, peer: SocketAddr, write: impl FnOnce(&mut [u8]) -> usize) -> bool;
    /// Queues octets on a connection, all or none. `false`: it is full until `stream_drained`, or gone.
    fn stream(&mut self, stream: StreamId, octets: &[u8]) -> bool;
    /// Closes a connection; no `stream_closed` follows.
    fn close(&mut self, stream: StreamId);
}
