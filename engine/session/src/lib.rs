//! The server of the sessions that devices build after a SIR: INVITE, 2xx, ACK, content, BYE.
//!
//! Sans-I/O: octets and the time come in, octets go into an [`Outbox`], and what only dispatch knows (tokens, contents,
//! the index) is asked of a [`Host`]. [`Sessions`] holds one 64-byte slot for each session and its texts in an
//! [`arena`]; a session's name on the wire carries slot, generation and a keyed tag, so a request inside a dialog
//! finds its session by index and a stranger finds none. Nothing is kept for a refused request and nothing for an
//! ended session. No sockets, no clock, no DNS: a route is followed when it names an address. `sirocco_dispatch`
//! is the caller; its simulation drives the same code.

#![forbid(unsafe_code)]

pub mod arena;
mod asked;
pub mod config;
mod connections;
pub mod counts;
mod dialog;
mod familiar;
pub mod hexadecimal;
pub mod host;
mod legs;
mod lookup;
mod names;
mod parts;
mod render;
mod sessions;
mod slot;
#[cfg(test)]
mod testing;
pub mod wheel;

pub use config::{End, SessionConfig};
pub use counts::SessionCounts;
pub use host::{
    Cause, Content, Grant, Host, Invitation, Outbox, Path, Push, Refusal, SessionEvent,
    SessionHandle, StreamId, StreamKind,
};
pub use sessions::Sessions;
