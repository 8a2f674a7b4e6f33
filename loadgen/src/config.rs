//! What a load generator is asked to be: one struct with defaults, read from scenario files by serde
//! and filled from arguments by the command. Every bound is checked in [`LoadgenConfig::validate`].
//!
//! No reading of files or arguments here. Called at start-up only.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sirocco_ring::{
    Backend, LISTENERS_MAX, ListenerConfig, PortConfig, SOCKETS_MAX, SocketConfig, TRAIN_BYTES_MAX,
};
use sirocco_wire::sip::SirKey;

use crate::late::LATE_SLOTS_MAX;
use crate::mix::{CLASSES_MAX, Mix, MixError};
use crate::outcome::Outcomes;
use crate::population::{SEGMENTS_MAX, Sessions};
use crate::seen::{SEEN_ENTRIES_MAX, SEEN_ENTRIES_MIN};
use crate::session::people::People;
use crate::session::{
    Accounts, CALLS_MAX, Credentials, Disturbance, Flood, GENERATORS_MAX, Invite, LINKS_MAX,
    RATE_MAX, Register, SessionPolicy, SourcesConfig, Take, Transport,
};

mod class;

pub use class::ClassConfig;

/// The most edges of one worker: one socket each.
pub const EDGES_MAX: u16 = SOCKETS_MAX as u16;
/// Connections of one worker: one for each edge and address of an engine.
const STREAMS_MAX: u32 = LINKS_MAX as u32;
/// Receive buffers of connections, 16 KiB each.
const STREAM_BUFFERS: u32 = 256;
/// The octets that all edges' receive buffers together may ask for: 1 GiB.
const RECEIVE_BYTES_TOTAL: u32 = 1 << 30;
/// The receive buffer of the direct socket, which takes the whole population's traffic one datagram
/// at a time; the kernel counts about 1.3 KiB for each.
const DIRECT_RECEIVE_BYTES: u32 = 64 << 20;
/// The receive buffer of one edge at most: 256 trains of 64 SIRs.
const EDGE_RECEIVE_BYTES_MAX: u32 = 8 << 20;

/// Everything one load generator worker needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct LoadgenConfig {
    /// The core to pin the worker to; none leaves it to the scheduler.
    pub core: Option<usize>,
    /// The seed of every choice.
    pub seed: u64,
    /// Its number among the generators that run together, 0..[`GENERATORS_MAX`]: no two write one name.
    pub generator: u16,
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
    /// The devices of each identity, in the format of docs/population.md; without it, the device is the
    /// one that a Request-URI names.
    pub population: Option<PathBuf>,
    /// The namespace that IMEIs are obfuscated with, as the engine's.
    pub imei_namespace_file: Option<PathBuf>,
    /// The key that SIRs are checked with, as the engine's.
    pub sir_key_file: Option<PathBuf>,
    /// What devices of the mix's classes that answer 2xx do with a SIR; none builds no session.
    pub session: Option<SessionPolicy>,
    /// Classes with a policy of their own each, in place of the mix's.
    pub classes: Vec<ClassConfig>,
    /// The most calls at once, 1..=[`CALLS_MAX`]; 256 octets each once used.
    pub calls_max: usize,
    /// RFC 3261 17.1.1.1: T1 in milliseconds, 1 to 60,000.
    pub t1_ms: u32,
    /// What the network does to messages of sessions that leave.
    pub sent: Disturbance,
    /// What the network does to all messages that come; there is no reordering there.
    pub received: Disturbance,
    /// What each content must be; left out, any content will do.
    pub content: Option<String>,
    /// The same from a file, for other than text.
    pub content_file: Option<PathBuf>,
    /// Edges take SIP over TCP at their own address, or at a port of the kernel's choice beside it.
    pub listen_tcp: bool,
    /// The server that the sources call.
    pub target: Option<SocketAddr>,
    /// What challenges are answered with; without it, they are refusals.
    pub credentials: Option<Credentials>,
    /// Sessions that devices begin without a SIR.
    pub invite: Option<Invite>,
    /// INVITEs with forged tokens.
    pub flood: Option<Flood>,
    /// Registers the population.
    pub register: Option<Register>,
}

/// Where the devices of the population are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
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
    /// A policy breaks a rule.
    #[error("session of class {class}: {reason}")]
    Policy {
        /// The class.
        class: String,
        /// The rule, and what to do.
        reason: String,
    },
    /// A source of calls breaks a rule.
    #[error("{name}: {reason}")]
    Source {
        /// The source.
        name: &'static str,
        /// The rule, and what to do.
        reason: String,
    },
    /// A file that the configuration names does not serve.
    #[error("{name} {path}: {reason}")]
    File {
        /// The setting.
        name: &'static str,
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
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
            generator: 0,
            place: Place::default(),
            mix: Mix::all_ok(),
            record_sirs: None,
            idle: Idle::default(),
            backend: Backend::Auto,
            seen_entries: 1 << 24,
            late_slots: 1 << 16,
            train_segments: SEGMENTS_MAX,
            huge_pages: true,
            population: None,
            imei_namespace_file: None,
            sir_key_file: None,
            session: None,
            classes: Vec::new(),
            calls_max: 1 << 20,
            t1_ms: 500,
            sent: Disturbance::default(),
            received: Disturbance::default(),
            content: None,
            content_file: None,
            listen_tcp: false,
            target: None,
            credentials: None,
            invite: None,
            flood: None,
            register: None,
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
        bound("generator", self.generator.into(), 0, GENERATORS_MAX - 1)?;
        bound("late_slots", self.late_slots, 0, LATE_SLOTS_MAX)?;
        bound("calls_max", self.calls_max, 1, CALLS_MAX)?;
        bound("t1_ms", self.t1_ms as usize, 1, 60_000)?;
        for disturbance in [&self.sent, &self.received] {
            bound("per mille together", disturbance.sum_per_mille(), 0, 1000)?;
        }
        bound("train_segments", self.train_segments, 1, SEGMENTS_MAX)?;
        if let Place::Edges {
            count, port_base, ..
        } = self.place
        {
            bound("edges", usize::from(count), 1, usize::from(EDGES_MAX))?;
            let most = if self.listen_tcp {
                LISTENERS_MAX
            } else {
                usize::MAX
            };
            bound("edges that take connections", usize::from(count), 1, most)?;
            if port_base != 0 && port_base.checked_add(count - 1).is_none() {
                return Err(ConfigError::Ports { count, port_base });
            }
        } else if !self.mix.edges.is_empty() {
            return Err(ConfigError::NoEdges);
        }
        self.mix.validate()?;
        self.validate_sources()?;
        self.effective().map(|_| ())
    }

    /// Returns the mix of classes and what devices of each do with a SIR, by class index.
    ///
    /// # Errors
    /// A class or its policy breaks a rule.
    pub fn effective(&self) -> Result<(Mix, Vec<Option<SessionPolicy>>), ConfigError> {
        let mut mix = self.mix.clone();
        let mut policies: Vec<Option<SessionPolicy>> = mix
            .named_behaviours()
            .map(|(_, behaviour)| {
                let accepts = behaviour.status().is_some_and(|status| status < 300);
                self.session.clone().filter(|_| accepts)
            })
            .collect();
        if !self.classes.is_empty() {
            let texts: Vec<String> = self.classes.iter().map(ClassConfig::text).collect();
            let classes: Mix = texts.join(",").parse()?;
            policies.drain(..mix.classes.len());
            mix.classes = classes.classes;
            let own = self.classes.iter().map(|class| class.session.clone());
            policies.splice(..0, own);
            mix.validate()?;
        }
        let indices = Outcomes::new(&mix, &policies, None).statuses().len();
        if indices > CLASSES_MAX {
            return Err(ConfigError::Mix(MixError::Bounds(format!(
                "classes, overrides and what their devices may decide are {indices} kinds of answers; \
                 at most {CLASSES_MAX} are told apart: name fewer statuses or answer times"
            ))));
        }
        for (policy, (class, _)) in policies.iter().zip(mix.named_behaviours()) {
            let checked = policy.as_ref().map_or(Ok(()), SessionPolicy::check);
            checked.map_err(|reason| ConfigError::Policy {
                class: class.to_owned(),
                reason,
            })?;
        }
        Ok((mix, policies))
    }

    /// Reads what the sessions need; nothing when no class builds any.
    ///
    /// # Errors
    /// A class breaks a rule, or a file does not serve.
    pub(crate) fn sessions(&self) -> Result<Option<Sessions>, ConfigError> {
        let (_, policies) = self.effective()?;
        let has_sources = self.invite.is_some() || self.flood.is_some() || self.register.is_some();
        if policies.iter().all(Option::is_none) && !has_sources && !self.listen_tcp {
            return Ok(None);
        }
        let key = read_file("sir-key-file", self.sir_key_file.as_ref(), |text| {
            SirKey::from_hex(text).map_err(|error| error.to_string())
        })?;
        let namespace = read_file(
            "imei-namespace-file",
            self.imei_namespace_file.as_ref(),
            namespace,
        )?;
        let people = match &self.population {
            None => People::default(),
            Some(path) => People::read(path, namespace.as_ref(), has_sources).map_err(|error| {
                let path = path.display().to_string();
                let reason = error.to_string();
                ConfigError::File {
                    name: "population",
                    path,
                    reason,
                }
            })?,
        };
        let content = match (&self.content, &self.content_file) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(path)) => Some(
                std::fs::read(path)
                    .map_err(|error| file_error("content-file", path, error.to_string()))?,
            ),
            (None, None) => None,
        };
        let accounts = self.credentials.as_ref().map(|credentials| {
            let path = credentials.file.as_deref().unwrap_or(Path::new(""));
            Accounts::read(credentials).map_err(|reason| file_error("credentials", path, reason))
        });
        Ok(Some(Sessions {
            policies,
            calls_max: self.calls_max,
            t1_ns: u64::from(self.t1_ms) * 1_000_000,
            sent: self.sent,
            received: self.received,
            content,
            key,
            accounts: accounts.transpose()?,
            people,
            sources: self.sources()?,
        }))
    }

    /// Returns the number of listeners: one for each edge, or none.
    pub(crate) fn listener_count(&self) -> u16 {
        self.listeners().len() as u16
    }

    fn listeners(&self) -> Vec<ListenerConfig> {
        match self.place {
            Place::Edges {
                count,
                bind,
                port_base,
            } if self.listen_tcp => (0..count)
                .map(|edge| ListenerConfig::new(edge_address(bind, port_base, edge)))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Tells whether there are connections: content by MSRP, SIP over TCP.
    pub(crate) fn takes_streams(&self) -> bool {
        let classes = self
            .classes
            .iter()
            .filter_map(|class| class.session.as_ref());
        let callers = self.invite.iter().map(|invite| &invite.session);
        let mut policies = self.session.iter().chain(classes).chain(callers);
        let register = self.register.as_ref().map(|register| register.transport);
        self.listen_tcp
            || register == Some(Transport::Tcp)
            || policies.any(|policy| policy.takes(Take::Msrp) || policy.transport == Transport::Tcp)
    }

    fn sources(&self) -> Result<SourcesConfig, ConfigError> {
        let tokens = self
            .invite
            .as_ref()
            .and_then(|invite| invite.tokens.as_ref());
        let tokens = tokens.map(|path| {
            std::fs::read(path).map_err(|error| file_error("tokens", path, error.to_string()))
        });
        Ok(SourcesConfig {
            target: self.target,
            invite: self.invite.clone(),
            flood: self.flood.clone(),
            register: self.register.clone(),
            tokens: tokens.transpose()?.unwrap_or_default(),
        })
    }

    /// Checks the sources of calls.
    fn validate_sources(&self) -> Result<(), ConfigError> {
        let rates = [
            ("invite", self.invite.as_ref().map(|source| source.rate)),
            ("flood", self.flood.as_ref().map(|source| source.rate)),
            ("register", self.register.as_ref().map(|source| source.rate)),
        ];
        for (name, rate) in rates {
            let Some(rate) = rate else {
                continue;
            };
            let refused = |reason: &str| ConfigError::Source {
                name,
                reason: reason.to_owned(),
            };
            if self.target.is_none() {
                return Err(refused("it needs a target; name the server's address"));
            }
            if !(rate > 0.0 && rate <= RATE_MAX) {
                return Err(refused(
                    "its rate is above 0 and at most 10,000,000 a second",
                ));
            }
        }
        let policy = self
            .invite
            .as_ref()
            .map_or(Ok(()), |invite| invite.session.check());
        policy.map_err(|reason| ConfigError::Source {
            name: "invite",
            reason,
        })?;
        if self.register.is_some() && self.population.is_none() {
            return Err(ConfigError::Source {
                name: "register",
                reason: "it needs a population; name its file".to_owned(),
            });
        }
        Ok(())
    }

    /// Returns the number of sockets: one for each edge, or one.
    pub(crate) fn socket_count(&self) -> u16 {
        match self.place {
            Place::Edges { count, .. } => count,
            Place::Direct { .. } => 1,
        }
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
        if self.takes_streams() {
            config.streams_max = STREAMS_MAX;
            config.stream_buffers = STREAM_BUFFERS;
            config.listeners = self.listeners();
        }
        config.slab_bytes = TRAIN_BYTES_MAX as u32;
        config.backend = self.backend;
        config.huge_pages = self.huge_pages;
        config
    }
}

fn file_error(name: &'static str, path: &Path, reason: String) -> ConfigError {
    ConfigError::File {
        name,
        path: path.display().to_string(),
        reason,
    }
}

/// Reads a small text file that may not be named at all.
fn read_file<T>(
    name: &'static str,
    path: Option<&PathBuf>,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, ConfigError> {
    let Some(path) = path else {
        return Ok(None);
    };
    let text =
        std::fs::read_to_string(path).map_err(|error| file_error(name, path, error.to_string()))?;
    let read = parse(&text).map_err(|reason| file_error(name, path, reason))?;
    Ok(Some(read))
}

/// Parses the namespace of obfuscated IMEIs: a UUID, as a URN or bare.
fn namespace(text: &str) -> Result<[u8; 16], String> {
    let uuid = text.trim();
    let uuid = uuid.strip_prefix("urn:uuid:").unwrap_or(uuid);
    let digits: String = uuid.chars().filter(|&c| c != '-').collect();
    let number = u128::from_str_radix(&digits, 16)
        .ok()
        .filter(|_| digits.len() == 32);
    let number = number
        .ok_or("a namespace is a UUID; write one line such as urn:uuid: and a random UUID")?;
    Ok(number.to_be_bytes())
}

fn edge_address(bind: IpAddr, port_base: u16, edge: u16) -> SocketAddr {
    let port = if port_base == 0 { 0 } else { port_base + edge };
    SocketAddr::new(bind, port)
}

fn edge_socket(count: u16, bind: IpAddr, port_base: u16, edge: u16) -> SocketConfig {
    let mut socket = SocketConfig::new(edge_address(bind, port_base, edge));
    let share = RECEIVE_BYTES_TOTAL / u32::from(count);
    socket.receive_buffer_bytes = share.min(EDGE_RECEIVE_BYTES_MAX);
    socket
}

#[cfg(test)]
mod tests;
