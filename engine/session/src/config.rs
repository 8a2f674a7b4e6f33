//! Every setting of the sessions of one worker, once: name, unit, default and bound.
//!
//! `sirocco_dispatch` fills it from its own configuration. It reads no file and no environment.

use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};

/// Sessions that a worker can be given room for: 1 GiB of slots, and as many cells of texts as the arena names.
pub const SESSIONS_MAX: u32 = 1 << 24;
/// Longest content that rides in a MESSAGE: what a datagram holds beside 5,000 octets of header fields.
pub const MESSAGE_BYTES_MAX: usize = 60_000;

/// Who ends a session whose content is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// The engine sends BYE.
    Engine {
        /// Time between the last delivery and the BYE, in milliseconds.
        linger_ms: u32,
    },
    /// The device sends BYE; the engine waits `hold_ms_max` for it.
    Device,
}

/// Settings of the sessions of one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct SessionConfig {
    /// The address in our Via and Contact.
    pub address: SocketAddr,
    /// The gateway's URI as devices write it in To; empty: `sip:ppg@` and the address. It saves memory only.
    pub uri: String,
    /// The address in our MSRP path; without one no MSRP is offered.
    pub msrp: Option<SocketAddr>,
    /// Sessions at once; further INVITEs get 503. At most [`SESSIONS_MAX`].
    pub sessions_max: u32,
    /// Who ends a session.
    pub end: End,
    /// Content of at most so many octets goes as MESSAGE, longer content as MSRP. At most [`MESSAGE_BYTES_MAX`].
    pub message_bytes_max: usize,
    /// Longest time that a session stays open, in milliseconds; then it gets BYE.
    pub hold_ms_max: u64,
    /// Octets of texts for each session, on average, that the arena may grow to.
    pub text_bytes_per_session_max: usize,
    /// Responses a second to requests that show no valid token or tag, a quarter of them to each source address; more
    /// are dropped and counted. Answers to OPTIONS have an account of their own, of the same size.
    pub refusals_per_s_max: u32,
    /// What a 503 says in Retry-After, in seconds.
    pub retry_after_s: u32,
    /// Octets that one connection may hold of a message that is not complete.
    pub stream_bytes_max: usize,
    /// Octets that all connections may hold of messages that are not complete; one that wants more is closed.
    pub stream_bytes_total_max: usize,
    /// Connections at once.
    pub streams_max: u32,
    /// Time that a device has to connect for MSRP, in milliseconds.
    pub connect_ms_max: u32,
    /// Whether a device is asked for a success report, which then counts as delivery.
    pub msrp_success_report: bool,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 5070)),
            uri: String::new(),
            msrp: None,
            sessions_max: 1 << 20,
            end: End::Engine { linger_ms: 0 },
            message_bytes_max: 1_000,
            hold_ms_max: 3_600_000,
            text_bytes_per_session_max: 768,
            refusals_per_s_max: 20_000,
            retry_after_s: 5,
            stream_bytes_max: 64 << 10,
            stream_bytes_total_max: 16 << 20,
            streams_max: 4_096,
            connect_ms_max: 10_000,
            msrp_success_report: false,
        }
    }
}
