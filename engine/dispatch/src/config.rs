//! Every setting of one engine worker, once: name, unit, default and bound.
//!
//! The command line and docs/configuration.md are made from this; nothing else holds a default. It reads
//! no file and no environment.

use crate::flight::KEPT_MAX;
use crate::token::{TOKEN_LIFETIME_S, TOKEN_LIFETIME_S_MAX};
use crate::transaction::RETRIES_MAX;
use crate::used::{REMEMBERED_MAX, REMEMBERED_MIN};
use serde::{Deserialize, Serialize};
use sirocco_session::{End, SessionConfig};
use sirocco_wire::identity::{DeviceKind, PackedDevice};
use sirocco_wire::sip::seal::{SirKey, SirKeyError};
use sirocco_wire::sip::template::URI_MAX;
use sirocco_wire::sip::uri::SipUri;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;

/// Segments the kernel takes in one UDP_SEGMENT send (UDP_MAX_SEGMENTS, Linux 6.9 and later).
pub const TRAIN_SEGMENTS_MAX: usize = 128;
/// Open transactions a worker can be given room for: 1 GiB of slots.
pub const TRANSACTIONS_MAX: usize = 1 << 24;

/// Longest wait for a train, in microseconds: far beyond use, so that a slip of units is noticed.
const DEPARTURE_US_MAX: u64 = 10_000_000;
/// Longest drain, in milliseconds: one hour, a Retry-After that is honoured.
const DRAIN_MS_MAX: u64 = 3_600_000;

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

/// The kernel interface under the sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// io_uring where all of it is there, else as `Mmsg` with a notice.
    #[default]
    Auto,
    /// io_uring, or no start.
    Uring,
    /// sendmmsg(2) and recvmmsg(2).
    Mmsg,
}

/// How io_uring takes the octets of a slab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SendPath {
    /// The kernel copies at submission.
    #[default]
    Copy,
    /// The device reads the slab.
    ZeroCopy,
    /// The same out of registered buffers.
    ZeroCopyFixed,
}

/// Who ends a session whose content is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionEnd {
    /// The engine sends BYE.
    #[default]
    Engine,
    /// The device sends BYE.
    Device,
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
    /// File with the operator's secret namespace of obfuscated IMEIs, a UUID as text; none = SIRs to
    /// devices named by an IMEI fail.
    pub imei_namespace_file: Option<PathBuf>,
    /// Socket interface.
    pub backend: Backend,
    /// Send path of io_uring.
    pub send_path: SendPath,
    /// Bytes asked of the kernel for each socket buffer.
    pub socket_buffer_bytes: u32,
    /// Receive buffers of 64 KiB at least; a quarter of the next hops, up to 256, if that is more.
    pub receive_buffers: u32,
    /// Send slabs, each for one train.
    pub slabs: u32,
    /// Whether the outcome of each SIR is kept for `--verify`.
    pub record_outcomes: bool,
    /// File with the key that seals SIRs, 32 hexadecimal digits, which the devices have too; none = SIRs
    /// are not sealed.
    pub sir_key_file: Option<PathBuf>,
    /// Where devices build their sessions, if not with this worker: the SIP URI of another gateway.
    pub ppg_uri: Option<String>,
    /// Sessions open at once; further INVITEs get 503.
    pub sessions_max: u32,
    /// Sessions whose push is under way before new SIRs wait: more would only be served later.
    pub session_window: u64,
    /// Who ends a session whose content is delivered.
    pub session_end: SessionEnd,
    /// Time between the last delivery and the engine's BYE, in milliseconds.
    pub session_linger_ms: u32,
    /// Address of the MSRP listener; none = content goes as MESSAGE only.
    pub msrp_bind: Option<SocketAddr>,
    /// TCP connections at once, SIP and MSRP together; 0 = no listener.
    pub streams_max: u32,
    /// How long a session may follow its SIR, in seconds.
    pub token_lifetime_s: u32,
    /// Used tokens remembered in each of two generations, 5 to 8 bytes each; more sessions than that
    /// within a token's life shorten it.
    pub tokens_remembered: usize,
    /// Whether the worker tells where its time goes; off only to measure what that costs.
    pub stages: bool,
    /// Failures of each cause that the flight recorder keeps; 0 = none.
    pub flight_recorder: usize,
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
            imei_namespace_file: None,
            backend: Backend::Auto,
            send_path: SendPath::Copy,
            socket_buffer_bytes: 64 << 20,
            receive_buffers: 16,
            slabs: 64,
            record_outcomes: false,
            sir_key_file: None,
            ppg_uri: None,
            sessions_max: 1 << 20,
            session_window: 16_384,
            session_end: SessionEnd::Engine,
            session_linger_ms: 0,
            msrp_bind: None,
            streams_max: 1024,
            token_lifetime_s: TOKEN_LIFETIME_S,
            tokens_remembered: 1 << 22,
            stages: true,
            flight_recorder: 32,
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

/// Why the namespace of obfuscated IMEIs cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The file cannot be read.
    #[error("cannot read imei-namespace-file {path}: {error}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file holds something else.
    #[error("imei-namespace-file {path} holds no UUID; write one line such as urn:uuid: and a random UUID", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
    },
}

/// Why the key of sealed SIRs cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read sir-key-file {path}: {error}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file holds something else.
    #[error("sir-key-file {path}: {error}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: SirKeyError,
    },
}

/// A numeric setting: name, value, least, most, and the bounds in words.
type Bound = (&'static str, u64, u64, u64, &'static str);

impl EngineConfig {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first setting outside its bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (setting, value, low, high, bounds) in self.bounds() {
            if !(low..=high).contains(&value) {
                return Err(ConfigError {
                    setting,
                    value: value.to_string(),
                    bounds,
                });
            }
        }
        if self.bind.ip().is_unspecified() || self.bind.ip().is_multicast() {
            return Err(ConfigError {
                setting: "bind",
                value: self.bind.to_string(),
                bounds: "a local address: it stands in Via, where answers go",
            });
        }
        let uri = self.ppg_uri.as_deref();
        if let Some(uri) = uri.filter(|uri| !is_from(uri)) {
            return Err(ConfigError {
                setting: "ppg-uri",
                value: format!("{uri:?}"),
                bounds: "a SIP URI of at most 255 octets such as sip:ppg@192.0.2.1:5070",
            });
        }
        if !is_from(&self.from) {
            return Err(ConfigError {
                setting: "from",
                value: format!("{:?}", self.from),
                bounds: "a SIP URI of at most 255 octets such as sip:ppg@ims.example",
            });
        }
        Ok(())
    }

    fn bounds(&self) -> impl Iterator<Item = Bound> {
        let waits = self.bounds_of_waits();
        let memory = self.bounds_of_memory();
        waits.into_iter().chain(memory)
    }

    /// How much may be under way and wait, and how long.
    fn bounds_of_waits(&self) -> [Bound; 11] {
        const COUNT: &str = "1 to 16777216";
        const TEN_SECONDS: &str = "0 to 10000000, ten seconds";
        let count = |setting, value: usize| (setting, value as u64, 1, 1 << 24, COUNT);
        let wait = |setting, value| (setting, value, 0, DEPARTURE_US_MAX, TEN_SECONDS);
        let (segments, window) = (self.train_segments as u64, self.window_total as u64);
        let (transactions, retries) = (self.transactions as u64, u64::from(self.retries_max));
        let retries_max = u64::from(RETRIES_MAX);
        let lifetime = u64::from(self.token_lifetime_s);
        let lifetime_max = u64::from(TOKEN_LIFETIME_S_MAX);
        [
            (
                "train-segments",
                segments,
                1,
                TRAIN_SEGMENTS_MAX as u64,
                "1 to 128",
            ),
            count("transactions", self.transactions),
            ("window-total", window, 1, transactions, "1 to transactions"),
            count("window-per-next-hop", self.window_per_next_hop),
            count("backlog-total", self.backlog_total),
            count("backlog-per-next-hop", self.backlog_per_next_hop),
            wait("departure-us", self.departure_us),
            wait("departure-busy-us", self.departure_busy_us),
            ("retries-max", retries, 0, retries_max, "0 to 15"),
            (
                "drain-ms",
                self.drain_ms,
                0,
                DRAIN_MS_MAX,
                "0 to 3600000, one hour",
            ),
            (
                "token-lifetime-s",
                lifetime,
                1,
                lifetime_max,
                "1 to 3600, one hour",
            ),
        ]
    }

    /// What memory is taken at the start.
    fn bounds_of_memory(&self) -> [Bound; 5] {
        const BUFFERS: &str = "4 to 4096";
        let octets = u64::from(self.socket_buffer_bytes);
        let remembered = self.tokens_remembered as u64;
        let (low, high) = (REMEMBERED_MIN as u64, REMEMBERED_MAX as u64);
        [
            ("slabs", u64::from(self.slabs), 4, 4096, BUFFERS),
            (
                "receive-buffers",
                u64::from(self.receive_buffers),
                4,
                4096,
                BUFFERS,
            ),
            (
                "socket-buffer-bytes",
                octets,
                4096,
                1 << 30,
                "4096 to 1073741824",
            ),
            (
                "tokens-remembered",
                remembered,
                low,
                high,
                "1024 to 268435456",
            ),
            (
                "flight-recorder",
                self.flight_recorder as u64,
                0,
                KEPT_MAX as u64,
                "0 to 1024",
            ),
        ]
    }

    /// Whether sessions outlive their push, so that a later push may find its device connected.
    #[must_use]
    pub fn keeps_sessions(&self) -> bool {
        self.session_end == SessionEnd::Device || self.session_linger_ms > 0
    }

    /// The settings of the sessions of a worker at `address`, with MSRP at `msrp`.
    #[must_use]
    pub fn sessions(&self, address: SocketAddr, msrp: Option<SocketAddr>) -> SessionConfig {
        SessionConfig {
            address,
            msrp,
            sessions_max: self.sessions_max,
            end: match self.session_end {
                SessionEnd::Device => End::Device,
                SessionEnd::Engine => End::Engine {
                    linger_ms: self.session_linger_ms,
                },
            },
            streams_max: self.streams_max.max(1),
            ..SessionConfig::default()
        }
    }

    /// Reads the key of sealed SIRs, if a file is named.
    ///
    /// # Errors
    /// [`KeyError`]; the content of the file is never part of it.
    pub fn sir_key(&self) -> Result<Option<SirKey>, KeyError> {
        let Some(path) = &self.sir_key_file else {
            return Ok(None);
        };
        let path = path.clone();
        match std::fs::read_to_string(&path) {
            Err(error) => Err(KeyError::Read { path, error }),
            Ok(text) => SirKey::from_hex(text.trim())
                .map(Some)
                .map_err(|error| KeyError::Content { path, error }),
        }
    }

    /// Reads the namespace of obfuscated IMEIs, if a file is named.
    ///
    /// # Errors
    /// [`NamespaceError`]; the content of the file is never part of it.
    pub fn imei_namespace(&self) -> Result<Option<[u8; 16]>, NamespaceError> {
        let Some(path) = &self.imei_namespace_file else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path).map_err(|error| NamespaceError::Read {
            path: path.clone(),
            error,
        })?;
        let text = text.trim();
        let urn = format!(
            "urn:uuid:{}",
            text.strip_prefix("urn:uuid:").unwrap_or(text)
        );
        let packed = PackedDevice::pack(urn.as_bytes());
        match packed.filter(|packed| packed.kind == DeviceKind::Uuid as u8) {
            Some(packed) => Ok(Some(packed.bytes)),
            None => Err(NamespaceError::Content { path: path.clone() }),
        }
    }
}

/// Whether a text may stand between the angle brackets of From: a SIP URI without headers (RFC 3261
/// 19.1.1), of octets that a template takes.
fn is_from(text: &str) -> bool {
    let octets_fit = text
        .bytes()
        .all(|octet| octet.is_ascii_graphic() && !b"\"<>,".contains(&octet));
    let uri = SipUri::parse(text.as_bytes());
    octets_fit && text.len() <= URI_MAX && uri.is_some_and(|uri| uri.headers().next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut EngineConfig)) -> &'static str {
        let mut config = EngineConfig::default();
        change(&mut config);
        let fault = config.check().expect_err("out of bounds");
        assert!(fault.to_string().contains(fault.bounds), "{fault}");
        fault.setting
    }

    #[test]
    fn every_bound_is_checked_and_named() {
        assert_eq!(EngineConfig::default().check(), Ok(()));
        for (setting, _, low, high, _) in EngineConfig::default().bounds() {
            let json = |value: u64| {
                let mut settings =
                    serde_json::to_value(EngineConfig::default()).expect("plain data");
                settings[setting] = value.into();
                serde_json::from_value::<EngineConfig>(settings)
            };
            // A value that its type cannot hold is refused when it is read.
            if let Ok(config) = json(high + 1) {
                assert_eq!(config.check().expect_err(setting).setting, setting);
            }
            if let Some(below) = low.checked_sub(1) {
                let config = json(below).expect("a number");
                assert_eq!(config.check().expect_err(setting).setting, setting);
            }
        }
    }

    #[test]
    fn from_has_to_be_a_sip_uri() {
        for from in [
            "",
            "ppg",
            "tel:+4930",
            "sip:",
            "sip:a b@h",
            "sip:a@h>;tag=1",
            "sip:a@h?Subject=x",
            "sip:a@h\r\nX: y",
            "https://h/",
        ] {
            assert_eq!(
                refused(|config| config.from = from.to_owned()),
                "from",
                "{from:?}"
            );
        }
        let long = format!("sip:{}@h", "a".repeat(255));
        assert_eq!(refused(|config| config.from = long), "from");
        let whole = EngineConfig {
            from: "sips:push@[2001:db8::1]:5061;transport=udp".to_owned(),
            ..EngineConfig::default()
        };
        assert_eq!(whole.check(), Ok(()));
    }

    #[test]
    fn answers_need_an_address_to_come_to() {
        for address in ["0.0.0.0:5060", "[::]:0", "224.0.0.1:5060"] {
            let address = address.parse().expect("an address");
            assert_eq!(refused(|config| config.bind = address), "bind");
        }
    }

    #[test]
    fn words_are_read_as_documented_and_others_are_refused() {
        let json =
            r#"{"backend":"mmsg","send-path":"zero-copy-fixed","idle":"spin","sink":"null"}"#;
        let config: EngineConfig = serde_json::from_str(json).expect("known words");
        assert_eq!(
            (config.backend, config.send_path, config.idle, config.sink),
            (
                Backend::Mmsg,
                SendPath::ZeroCopyFixed,
                Idle::Spin,
                Sink::Null
            )
        );
        for json in [r#"{"backend":"epoll"}"#, r#"{"send-path":"Copy"}"#] {
            let fault = serde_json::from_str::<EngineConfig>(json).expect_err(json);
            assert!(fault.to_string().contains("expected one of"), "{fault}");
        }
    }

    #[test]
    fn the_namespace_comes_from_a_file_and_is_never_shown() {
        let path = std::env::temp_dir().join(format!("sirocco-namespace-{}", std::process::id()));
        let config = EngineConfig {
            imei_namespace_file: Some(path.clone()),
            ..EngineConfig::default()
        };
        assert!(matches!(
            config.imei_namespace(),
            Err(NamespaceError::Read { .. })
        ));
        std::fs::write(&path, "f81d4fae-7dec-11d0-a765-00a0c91e6bf6\n").expect("a file");
        let namespace = config
            .imei_namespace()
            .expect("a UUID")
            .expect("a namespace");
        assert_eq!(namespace[..4], [0xf8, 0x1d, 0x4f, 0xae]);
        std::fs::write(&path, "secret\n").expect("a file");
        let fault = config.imei_namespace().expect_err("no UUID").to_string();
        std::fs::remove_file(&path).expect("a file");
        assert!(
            fault.contains("no UUID") && !fault.contains("secret"),
            "{fault}"
        );
        assert!(matches!(EngineConfig::default().imei_namespace(), Ok(None)));
    }
}
