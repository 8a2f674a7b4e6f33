//! What a load generator is asked to be: one struct with defaults, read from scenario files by serde
//! and filled from arguments by the command. Every bound is checked in [`LoadgenConfig::validate`].
//!
//! No reading of files or arguments here. Called at start-up only.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sirocco_ring::{Backend, PortConfig, SOCKETS_MAX, SocketConfig, TRAIN_BYTES_MAX};

use crate::late::LATE_SLOTS_MAX;
use crate::mix::{Mix, MixError};
use crate::population::SEGMENTS_MAX;
use crate::seen::{SEEN_ENTRIES_MAX, SEEN_ENTRIES_MIN};

/// The most edges of one worker: one socket each.
pub const EDGES_MAX: u16 = SOCKETS_MAX as u16;
/// The octets that all edges' receive buffers together may ask for: 1 GiB.
const RECEIVE_BYTES_TOTAL: u32 = 1 << 30;
/// The receive buffer of the direct socket, which takes the whole population's traffic one datagram
/// at a time; the kernel counts about 1.3 KiB for each.
const DIRECT_RECEIVE_BYTES: u32 = 64 << 20;
/// The receive buffer of one edge at most: 256 trains of 64 SIRs.
const EDGE_RECEIVE_BYTES_MAX: u32 = 8 << 20;

/// Everything one load generator worker needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoadgenConfig {
    /// The core to pin the worker to; none leaves it to the scheduler.
    pub core: Option<usize>,
    /// The seed of every choice.
    pub seed: u64,
    /// Where the devices are reached.
    pub place: Place,
    /// What the devices do.
    pub mix: Mix,
    /// Where to write the record of distinct SIRs received; none keeps no record.
    pub record_sirs: Option<PathBuf>,
    /// What the worker does when nothing arrives.
    pub idle: Idle,
    /// The kernel interface.
    #[serde(with = "BackendForm")]
    pub backend: Backend,
    /// The requests remembered for retransmissions, [`SEEN_ENTRIES_MIN`]..=[`SEEN_ENTRIES_MAX`]; 8
    /// octets each. A silent share of 10 % at a million SIRs per second leaves 3.2 million unanswered,
    /// which should be at most a quarter of it.
    pub seen_entries: usize,
    /// The late answers that may wait, at most [`LATE_SLOTS_MAX`]; 1 KiB each.
    pub late_slots: usize,
    /// The most answers in one train, 1..=[`SEGMENTS_MAX`].
    pub train_segments: usize,
    /// Back buffers by huge pages where the host has them.
    pub huge_pages: bool,
}

/// Where the devices of the population are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Place {
    /// Behind edge proxies: one socket each.
    Edges {
        /// The number of edges, 1..=[`EDGES_MAX`].
        count: u16,
        /// The address all of them bind to.
        bind: IpAddr,
        /// The first port, the others follow; 0 lets the kernel choose each.
        port_base: u16,
    },
    /// At an address of its own each: one socket on all addresses answers for every one of them from
    /// the address that was asked.
    Direct {
        /// The port all devices share.
        port: u16,
    },
}

/// What a worker does when nothing arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idle {
    /// Asks again at once: the lowest latency, a whole core.
    Spin,
    /// Sleeps in the kernel until a datagram or a late answer is due.
    #[default]
    Wait,
}

/// [`Backend`] as it is written in scenario files.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Backend", rename_all = "snake_case")]
enum BackendForm {
    Auto,
    Uring,
    Mmsg,
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A number is out of its bounds.
    #[error("{name} is {value}; choose {min} to {max}")]
    Bound {
        /// The setting.
        name: &'static str,
        /// What was asked.
        value: usize,
        /// The least.
        min: usize,
        /// The most.
        max: usize,
    },
    /// The ports of the edges do not fit below 65536.
    #[error("{count} edges from port {port_base} do not fit; lower port_base or let it be 0")]
    Ports {
        /// The edges asked for.
        count: u16,
        /// The first port asked for.
        port_base: u16,
    },
    /// Edge overrides were asked for where there are no edges.
    #[error("the mix overrides edges, but devices have addresses of their own; use place edges")]
    NoEdges,
    /// The mix breaks a rule.
    #[error(transparent)]
    Mix(#[from] MixError),
}

impl Default for Place {
    fn default() -> Place {
        Place::Edges {
            count: 16,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port_base: 0,
        }
    }
}

impl Default for LoadgenConfig {
    fn default() -> LoadgenConfig {
        LoadgenConfig {
            core: None,
            seed: 1,
            place: Place::default(),
            mix: Mix::all_ok(),
            record_sirs: None,
            idle: Idle::default(),
            backend: Backend::Auto,
            seen_entries: 1 << 24,
            late_slots: 1 << 16,
            train_segments: SEGMENTS_MAX,
            huge_pages: true,
        }
    }
}

impl LoadgenConfig {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first setting out of bounds, with what to choose instead.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let bound = |name, value: usize, min: usize, max: usize| match value {
            value if (min..=max).contains(&value) => Ok(()),
            value => Err(ConfigError::Bound {
                name,
                value,
                min,
                max,
            }),
        };
        bound(
            "seen_entries",
            self.seen_entries,
            SEEN_ENTRIES_MIN,
            SEEN_ENTRIES_MAX,
        )?;
        bound("late_slots", self.late_slots, 0, LATE_SLOTS_MAX)?;
        bound("train_segments", self.train_segments, 1, SEGMENTS_MAX)?;
        if let Place::Edges {
            count, port_base, ..
        } = self.place
        {
            bound("edges", usize::from(count), 1, usize::from(EDGES_MAX))?;
            if port_base != 0 && port_base.checked_add(count - 1).is_none() {
                return Err(ConfigError::Ports { count, port_base });
            }
        } else if !self.mix.edges.is_empty() {
            return Err(ConfigError::NoEdges);
        }
        Ok(self.mix.validate()?)
    }

    /// Returns what to ask of the port.
    pub(crate) fn port(&self) -> PortConfig {
        let mut config = match self.place {
            Place::Edges {
                count,
                bind,
                port_base,
            } => PortConfig::new(
                (0..count)
                    .map(|edge| edge_socket(count, bind, port_base, edge))
                    .collect(),
            ),
            Place::Direct { port } => {
                let mut socket = SocketConfig::new(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
                socket.packet_info = true;
                socket.receive_buffer_bytes = DIRECT_RECEIVE_BYTES;
                // Each datagram takes a receive buffer of its own, so there must be many.
                let mut config = PortConfig::new(vec![socket]);
                config.receive_buffer_count = 256;
                config
            }
        };
        config.slab_bytes = TRAIN_BYTES_MAX as u32;
        config.backend = self.backend;
        config.huge_pages = self.huge_pages;
        config
    }
}

fn edge_socket(count: u16, bind: IpAddr, port_base: u16, edge: u16) -> SocketConfig {
    let port = if port_base == 0 { 0 } else { port_base + edge };
    let mut socket = SocketConfig::new(SocketAddr::new(bind, port));
    let share = RECEIVE_BYTES_TOTAL / u32::from(count);
    socket.receive_buffer_bytes = share.min(EDGE_RECEIVE_BYTES_MAX);
    socket
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_survives_json() {
        let config = LoadgenConfig::default();
        config.validate().unwrap();
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<LoadgenConfig>(&json).unwrap(),
            config
        );
        assert_eq!(serde_json::from_str::<LoadgenConfig>("{}").unwrap(), config);
        assert!(serde_json::from_str::<LoadgenConfig>(r#"{"sead":1}"#).is_err());
    }

    #[test]
    fn bounds_are_held_and_named() {
        let refused = |change: fn(&mut LoadgenConfig)| {
            let mut config = LoadgenConfig::default();
            change(&mut config);
            config.validate().expect_err("out of bounds").to_string()
        };
        let edges = |count, port_base| Place::Edges {
            count,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port_base,
        };
        assert!(refused(|c| c.seen_entries = 1).contains("seen_entries"));
        assert!(refused(|c| c.late_slots = LATE_SLOTS_MAX + 1).contains("late_slots"));
        assert!(refused(|c| c.train_segments = 129).contains("1 to 128"));
        let mut config = LoadgenConfig {
            place: edges(0, 0),
            ..LoadgenConfig::default()
        };
        assert!(config.validate().unwrap_err().to_string().contains("edges"));
        config.place = edges(1024, 65_000);
        assert!(
            config
                .validate()
                .unwrap_err()
                .to_string()
                .contains("lower port_base")
        );
        config.place = edges(536, 65_000);
        config.validate().unwrap();
        config.place = Place::Direct { port: 5060 };
        config.mix = "200:1;edges(0):503".parse().unwrap();
        assert_eq!(config.validate(), Err(ConfigError::NoEdges));
    }
}
