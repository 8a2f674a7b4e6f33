//! MSRP (RFC 4975) as octets: framing of a byte stream, one borrowed parser for requests and
//! responses, URIs, and writers.
//!
//! No sessions, no connections, no reassembly of chunks: those who hold a connection give its octets
//! to a [`Framer`] and act on the [`Message`]s that come out. Relays (RFC 4976) are not served.

pub mod frame;
pub mod message;
pub mod uri;
pub mod write;

pub use frame::{Framer, Step, StreamFault};
pub use message::{ByteRange, Continuation, FailureReport, Message, Method, Start};
pub use uri::MsrpUri;
pub use write::{Chunk, Report};

/// The port of MSRP (RFC 4975 15.4).
pub const PORT: u16 = 2855;

/// RFC 4975 5.1: a longer chunk has to be interruptible; shorter ones are sent whole.
pub const CHUNK_OCTETS_UNINTERRUPTED_MAX: usize = 2048;

#[cfg(test)]
mod tests;
