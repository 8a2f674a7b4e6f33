//! Every setting of one engine worker, once: name, unit, default and bound.
//!
//! The command line and docs/configuration.md are made from this; nothing else holds a default. It reads
//! no file and no environment.

use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// Segments the kernel takes in one UDP_SEGMENT send (UDP_MAX_SEGMENTS, Linux 6.9 and later).
pub const TRAIN_SEGMENTS_MAX: usize = 128;
/// Open transactions a worker can be given room for: 1 GiB of slots.
pub const TRANSACTIONS_MAX: usize = 1 << 24;

/// Where rendered SIRs go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sink {
    /// UDP sockets.
    #[default]
    Wire,
    /// Nowhere: each train is dropped after rendering and each of its SIRs counts as answered 200. It
    /// measures everything but sockets and the reading of answers.
    Null,
}

/// What a worker does when a turn found nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Idle {
    /// Look again at once: a core is burnt, no wake-up is paid.
    Spin,
    /// Sleep in the kernel until something arrives or is due.
    #[default]
    Wait,
}

/// The settings of one worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct EngineConfig {
    /// Core to pin the worker to; none = not pinned.
    pub core: Option<usize>,
    /// Address that SIRs leave from and answers come back to.
    pub bind: SocketAddr,
    /// Where rendered SIRs go.
    pub sink: Sink,
    /// SIRs sent and not yet answered or given up, over all next hops, before new ones wait.
    pub window_total: usize,
    /// The same for one next hop.
    pub window_per_next_hop: usize,
    /// Open transactions, silent ones included; 64 bytes each.
    pub transactions: usize,
    /// Targets that may wait for a window or a closed next hop, over all next hops.
    pub backlog_total: usize,
    /// The same for one next hop; beyond it a closed or stalled next hop sheds.
    pub backlog_per_next_hop: usize,
    /// SIRs in one train at most, 1 to 128.
    pub train_segments: usize,
    /// Longest time that a SIR waits for its train to fill while the worker has time to spare, in
    /// microseconds.
    pub departure_us: u64,
    /// The same while there is more to send than a turn takes: where next hops are many, short trains
    /// would cost the time that fills them.
    pub departure_busy_us: u64,
    /// New transactions after a 503 with Retry-After before the target counts as failed.
    pub retries_max: u8,
    /// Longest time that a drain waits for answers, in milliseconds.
    pub drain_ms: u64,
    /// The From URI of every SIR.
    pub from: String,
    /// What a worker does when it has nothing to do.
    pub idle: Idle,
    /// Socket interface: `auto`, `uring` or `mmsg`.
    pub backend: String,
    /// Send path of io_uring: `copy`, `zero-copy` or `zero-copy-fixed`.
    pub send_path: String,
    /// Bytes asked of the kernel for each socket buffer.
    pub socket_buffer_bytes: u32,
    /// Receive buffers of 64 KiB.
    pub receive_buffers: u32,
    /// Send slabs, each for one train.
    pub slabs: u32,
    /// Whether the outcome of each SIR is kept for `--verify`.
    pub record_outcomes: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            core: None,
            bind: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)),
            sink: Sink::Wire,
            window_total: 32_768,
            window_per_next_hop: 256,
            transactions: 1 << 20,
            backlog_total: 1 << 18,
            backlog_per_next_hop: 1 << 16,
            train_segments: 64,
            departure_us: 500,
            departure_busy_us: 5_000,
            retries_max: 2,
            drain_ms: 5_000,
            from: "sip:ppg@ims.example".to_owned(),
            idle: Idle::Wait,
            backend: "auto".to_owned(),
            send_path: "copy".to_owned(),
            socket_buffer_bytes: 64 << 20,
            receive_buffers: 16,
            slabs: 64,
            record_outcomes: false,
        }
    }
}

/// A setting outside its bounds.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{setting} is {value}; give {bounds}")]
pub struct ConfigError {
    /// Name of the setting.
    pub setting: &'static str,
    /// What was given.
    pub value: String,
    /// What is possible.
    pub bounds: &'static str,
}

impl EngineConfig {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first setting outside its bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        let bound = |setting, value: usize, low: usize, high: usize, bounds| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(ConfigError {
                setting,
                value: value.to_string(),
                bounds,
            })
        };
        bound(
            "train-segments",
            self.train_segments,
            1,
            TRAIN_SEGMENTS_MAX,
            "1 to 128",
        )?;
        bound(
            "transactions",
            self.transactions,
            1,
            TRANSACTIONS_MAX,
            "1 to 16777216",
        )?;
        bound(
            "window-total",
            self.window_total,
            1,
            self.transactions,
            "1 to transactions",
        )?;
        bound(
            "window-per-next-hop",
            self.window_per_next_hop,
            1,
            usize::MAX,
            "1 or more",
        )?;
        bound(
            "backlog-total",
            self.backlog_total,
            1,
            1 << 24,
            "1 to 16777216",
        )?;
        bound(
            "backlog-per-next-hop",
            self.backlog_per_next_hop,
            1,
            1 << 24,
            "1 to 16777216",
        )?;
        bound("slabs", self.slabs as usize, 4, 4096, "4 to 4096")?;
        bound(
            "receive-buffers",
            self.receive_buffers as usize,
            4,
            4096,
            "4 to 4096",
        )
    }
}
