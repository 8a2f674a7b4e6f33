//! Calls that nobody asked for: an open-loop source of INVITEs, as engineers use a UAC, a flood of INVITEs
//! with forged tokens, and the registration of a population.
//!
//! Open loop: what is due is begun at its time, whether earlier calls were answered or not; what could
//! not be begun is counted as behind. Called by `population` once a turn.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::calls::{Calls, Start};
use super::dialog::FLOOD_SLOT;
use super::lanes::Kind;
use super::name::Name;
use super::policy::{SessionPolicy, Traits, Transport};
use super::write::{Offer, Party};
use crate::hash::seeded;
use crate::population::Origin;

/// Calls begun in one turn at most, so that they cannot hold up what arrives.
const BURST_MAX: u64 = 256;
/// The highest rate accepted.
pub const RATE_MAX: f64 = 10_000_000.0;
/// A token is 32 hexadecimal digits.
const TOKEN_BYTES: usize = 32;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// A source of INVITEs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Invite {
    /// Sessions begun a second.
    pub rate: f64,
    /// Sessions begun in all; 0 for no bound.
    pub count: u64,
    /// How long sessions are begun, in seconds; 0 for no bound.
    pub seconds: f64,
    /// The Request-URI; left out, `sip:service@` and the target.
    pub uri: Option<String>,
    /// A file of tokens, one a line, used in turn, each once; left out, there is none.
    pub tokens: Option<PathBuf>,
    /// What the callers do: what they take, when they hang up, their fault.
    pub session: SessionPolicy,
}

/// A source of INVITEs with forged tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Flood {
    /// INVITEs a second.
    pub rate: f64,
    /// When it begins, in seconds after the start.
    pub after: f64,
    /// How long it lasts, in seconds; 0 for no bound.
    pub seconds: f64,
    /// The Request-URI without its token; left out, `sip:ppg@` and the target.
    pub uri: Option<String>,
}

/// The registration of the population.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Register {
    /// REGISTERs a second.
    pub rate: f64,
    /// How long a registration lasts, in seconds; it is refreshed at half of it.
    pub expires: u32,
    /// The registrar's URI; left out, `sip:` and the target.
    pub uri: Option<String>,
    /// Over what the REGISTERs go.
    pub transport: Transport,
}

impl Default for Invite {
    fn default() -> Invite {
        Invite {
            rate: 10.0,
            count: 0,
            seconds: 0.0,
            uri: None,
            tokens: None,
            session: SessionPolicy {
                hang_up: Some(super::Delay::None),
                ..SessionPolicy::default()
            },
        }
    }
}

impl Default for Flood {
    fn default() -> Flood {
        Flood {
            rate: 1000.0,
            after: 0.0,
            seconds: 0.0,
            uri: None,
        }
    }
}

impl Default for Register {
    fn default() -> Register {
        Register {
            rate: 100.0,
            expires: 3600,
            uri: None,
            transport: Transport::Udp,
        }
    }
}

/// How many events are due and done.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    rate: f64,
    after_ns: u64,
    /// Events in all; `u64::MAX` for no bound.
    count: u64,
    done: u64,
}

impl Pace {
    fn new(rate: f64, after_s: f64, seconds: f64, count: u64) -> Pace {
        let of_time = if seconds > 0.0 {
            (rate * seconds) as u64
        } else {
            u64::MAX
        };
        let of_count = if count > 0 { count } else { u64::MAX };
        Pace {
            rate,
            after_ns: (after_s * 1e9) as u64,
            count: of_time.min(of_count),
            done: 0,
        }
    }

    /// Returns how many events are due and not done, `elapsed_ns` after the start.
    fn behind(&self, elapsed_ns: u64) -> u64 {
        let Some(since_ns) = elapsed_ns.checked_sub(self.after_ns) else {
            return 0;
        };
        let due = (since_ns as f64 * self.rate / 1e9) as u64;
        due.min(self.count).saturating_sub(self.done)
    }

    fn is_over(&self) -> bool {
        self.done >= self.count
    }
}

/// One source: its pace, where it calls, and the class it counts in.
#[derive(Clone, Debug)]
struct Stream {
    pace: Pace,
    ppg: u16,
    class: u8,
}

/// All sources of one worker.
#[derive(Default)]
pub(crate) struct Sources {
    invite: Option<Stream>,
    flood: Option<Stream>,
    register: Option<Stream>,
    tokens: Vec<u8>,
    /// When they began; before that they stand.
    started_ns: Option<u64>,
}

/// What sources are made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourcesConfig {
    pub(crate) target: Option<SocketAddr>,
    pub(crate) invite: Option<Invite>,
    pub(crate) flood: Option<Flood>,
    pub(crate) register: Option<Register>,
    /// The tokens in turn, each closed by LF.
    pub(crate) tokens: Vec<u8>,
}

impl SourcesConfig {
    /// Returns the names and policies of the classes that sources count in.
    pub(crate) fn classes(&self) -> Vec<(&'static str, Option<SessionPolicy>)> {
        let invite = self.invite.as_ref();
        let register = self.register.as_ref().map(|register| SessionPolicy {
            transport: register.transport,
            ..SessionPolicy::default()
        });
        vec![
            ("invite", invite.map(|invite| invite.session.clone())),
            ("register", register),
        ]
    }
}

impl Sources {
    /// Makes the sources; their classes begin with `class`.
    pub(crate) fn new(config: SourcesConfig, calls: &mut Calls, class: u8) -> Sources {
        let Some(target) = config.target else {
            return Sources::default();
        };
        let people = calls.people.len() as u64;
        let mut ppg = |uri: &Option<String>, user: &str| {
            let written = uri.clone().unwrap_or_else(|| format!("sip:{user}{target}"));
            calls.add_ppg(written.as_bytes(), target)
        };
        let invite = config.invite.as_ref().map(|invite| Stream {
            pace: Pace::new(invite.rate, 0.0, invite.seconds, invite.count),
            ppg: ppg(&invite.uri, "service@"),
            class,
        });
        let flood = config.flood.as_ref().map(|flood| Stream {
            pace: Pace::new(flood.rate, flood.after, flood.seconds, 0),
            ppg: ppg(&flood.uri, "ppg@"),
            class,
        });
        let register = config.register.as_ref().map(|register| Stream {
            pace: Pace::new(register.rate, 0.0, 0.0, people),
            ppg: ppg(&register.uri, ""),
            class: class + 1,
        });
        Sources {
            invite,
            flood,
            register: register.filter(|_| people > 0),
            tokens: config.tokens,
            started_ns: None,
        }
    }

    /// Starts the clock of all sources.
    pub(crate) fn start(&mut self, now_ns: u64) {
        self.started_ns = Some(now_ns);
    }

    /// Begins what is due; returns how much that was.
    pub(crate) fn drive(&mut self, now_ns: u64, calls: &mut Calls) -> u64 {
        let Some(started_ns) = self.started_ns else {
            return 0;
        };
        let elapsed_ns = now_ns.saturating_sub(started_ns);
        let due = |stream: &Option<Stream>| {
            let behind = stream.as_ref().map_or(0, |s| s.pace.behind(elapsed_ns));
            behind.min(BURST_MAX)
        };
        let counts = [due(&self.register), due(&self.invite), due(&self.flood)];
        (0..counts[0]).for_each(|_| self.register_next(now_ns, calls));
        (0..counts[1]).for_each(|_| self.invite_next(now_ns, calls));
        (0..counts[2]).for_each(|_| self.flood_next(calls));
        counts.iter().sum()
    }

    /// Tells whether any source may still begin something.
    pub(crate) fn is_active(&self) -> bool {
        let sources = [&self.invite, &self.flood, &self.register];
        let active = |stream: &Stream| !stream.pace.is_over();
        sources.into_iter().flatten().any(active)
    }

    /// Tells whether the source of INVITEs had a bound and has reached it.
    pub(crate) fn is_finished(&self) -> bool {
        self.invite
            .as_ref()
            .is_some_and(|stream| stream.pace.is_over())
    }

    /// Returns how many forged INVITEs were sent.
    pub(crate) fn flooded(&self) -> u64 {
        self.flood.as_ref().map_or(0, |stream| stream.pace.done)
    }

    /// Returns what was due and not begun by `now_ns`.
    pub(crate) fn behind(&self, now_ns: u64) -> u64 {
        let Some(started_ns) = self.started_ns else {
            return 0;
        };
        let elapsed_ns = now_ns.saturating_sub(started_ns);
        let sources = [&self.invite, &self.flood, &self.register];
        let behind = |stream: &Stream| stream.pace.behind(elapsed_ns);
        sources.into_iter().flatten().map(behind).sum()
    }

    fn register_next(&mut self, now_ns: u64, calls: &mut Calls) {
        let Some(stream) = &mut self.register else {
            return;
        };
        let row = stream.pace.done as u32;
        stream.pace.done += 1;
        let (ppg, class) = (stream.ppg, stream.class);
        caller(calls, row, row, |calls, who| {
            let start = who.start(ppg, class, b"");
            calls.register(now_ns, &start);
        });
    }

    fn invite_next(&mut self, now_ns: u64, calls: &mut Calls) {
        let Some(stream) = &mut self.invite else {
            return;
        };
        let number = stream.pace.done;
        stream.pace.done += 1;
        let (ppg, class) = (stream.ppg, stream.class);
        let people = calls.people.len() as u64;
        let row = number
            .checked_rem(people)
            .map_or(u32::MAX, |row| row as u32);
        // What is used once is gone: the file ends, and then there is no token.
        let end = self.tokens.iter().position(|&octet| octet == b'\n');
        let rest = self
            .tokens
            .split_off(end.map_or(self.tokens.len(), |end| end + 1));
        let token = std::mem::replace(&mut self.tokens, rest);
        caller(calls, row, number as u32, |calls, who| {
            let start = who.start(ppg, class, token.trim_ascii_end());
            calls.begin(now_ns, &start);
        });
    }

    fn flood_next(&mut self, calls: &mut Calls) {
        let Some(stream) = &mut self.flood else {
            return;
        };
        let number = stream.pace.done;
        stream.pace.done += 1;
        let name = Name {
            slot: FLOOD_SLOT,
            generation: number as u32,
        };
        let mut token = [0u8; TOKEN_BYTES];
        for (at, digit) in token.iter_mut().enumerate() {
            let hash = seeded(number, at as u64 / 16);
            *digit = DIGITS[(hash >> (4 * (at % 16)) & 0xf) as usize];
        }
        calls.flood(name, stream.ppg, &token);
    }
}

/// Who calls without having been asked.
struct Caller<'a> {
    origin: Origin,
    aor: &'a [u8],
    device: &'a [u8],
    row: u32,
    number: u32,
}

impl<'a> Caller<'a> {
    fn start(&self, ppg: u16, class: u8, token: &'a [u8]) -> Start<'a> {
        Start {
            origin: self.origin,
            class,
            aor: self.aor,
            device: self.device,
            row: self.row,
            group: self.number,
            ppg,
            token,
            activates_after: false,
            is_own: true,
            traits: Traits::default(),
            hash: seeded(u64::from(class), u64::from(self.number)),
        }
    }
}

/// Names a caller: a device of the population, or one made up for `number`.
fn caller(calls: &mut Calls, row: u32, number: u32, begin: impl FnOnce(&mut Calls, &Caller<'_>)) {
    let origin = calls.edges.origin(number);
    let (mut aor, mut device) = ([0u8; 256], [0u8; 256]);
    let lengths = if row == u32::MAX {
        let text = format!("sip:load{number:08}@sirocco.invalid");
        aor[..text.len()].copy_from_slice(text.as_bytes());
        (text.len(), 0)
    } else {
        let text = calls.people.aor(row);
        aor[..text.len()].copy_from_slice(text);
        (text.len(), calls.people.write_device(row, &mut device))
    };
    let who = Caller {
        origin,
        aor: &aor[..lengths.0],
        device: &device[..lengths.1],
        row,
        number,
    };
    begin(calls, &who);
}

impl Calls {
    /// Sends one INVITE that belongs to no call.
    fn flood(&mut self, name: Name, ppg: u16, token: &[u8]) {
        let text = name.text(self.config.maker());
        let mut origin = self.edges.origin(name.generation);
        let Calls {
            lanes,
            edges,
            draft,
            ppgs,
            ..
        } = self;
        let ppg = &ppgs[usize::from(ppg)];
        origin.peer = ppg.address();
        let mut buffer = [0; 64];
        let party = Party {
            edge: edges.text(&origin, &mut buffer),
            aor: b"sip:forger@sirocco.invalid",
            device: b"",
            name: &text,
            branch: &text,
            cseq: 1,
            credentials: b"",
            is_stream: false,
        };
        let offer = Offer {
            message: true,
            msrp: false,
        };
        if draft.invite(&party, ppg.uri(), token, offer) {
            lanes.put(Kind::Invite, origin, draft);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_loop_keeps_its_pace_and_its_bound() {
        let mut pace = Pace::new(1000.0, 0.5, 2.0, 0);
        assert_eq!(pace.behind(400_000_000), 0);
        assert_eq!(pace.behind(600_000_000), 100);
        pace.done = 100;
        assert_eq!(pace.behind(600_000_000), 0);
        assert_eq!(pace.behind(60_000_000_000), 1900, "two seconds of it");
        pace.done = 2000;
        assert!(pace.is_over());
        assert_eq!(Pace::new(10.0, 0.0, 0.0, 7).behind(u64::MAX), 7);
    }
}
