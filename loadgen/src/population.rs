//! The devices behind the edges, as one state machine without I/O: the octets of received trains in,
//! the octets of trains of answers out. It opens no socket and reads no clock.
//!
//! One received buffer (a train of SIRs from one peer) gives one train of answers back to it, in the
//! same order. A train must have segments of one length (UDP_SEGMENT, udp(7)), so answers are padded to
//! the length of the longest status line and fields of the mix. Called by `worker` and by benches.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io;
use std::net::{IpAddr, SocketAddr};

use hdrhistogram::Histogram;
use sirocco_wire::sip::{Message, SirKey};

use crate::desk::{Desk, Step, Train, Visit};
use crate::hash::{public_hash, seeded};
use crate::journal::{Journal, JournalTotals};
use crate::judge::{Judge, Keys};
use crate::late::{LateAnswers, LateTrain};
use crate::mix::{Behaviour, DELAY_MS_MAX, Mix};
use crate::mould::{Cast, Moulds};
use crate::outcome::Outcomes;
use crate::report::Lag;
use crate::script::Script;
use crate::seen::Seen;
use crate::session::people::People;
use crate::session::{
    Accounts, Calls, CallsConfig, Disturbance, Fate, Load, SessionCounts, SessionPolicy,
    SessionTotals, Sources, SourcesConfig,
};
use crate::source::Source;
use crate::tally::Tally;

/// The most answers in one train: UDP_MAX_SEGMENTS of Linux 6.9 and later.
pub const SEGMENTS_MAX: usize = 128;

/// Separates the fates of what is received from other choices.
const RECEIVED_SALT: u64 = 0x7265_6376;

/// Where a datagram came from and came to; its answer goes the same way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The index of the socket: the edge.
    pub socket: u16,
    /// Behind 0 for a datagram, the number of the connection and 1.
    pub stream: u16,
    /// The sender.
    pub peer: SocketAddr,
    /// The local address that was addressed, where the socket is bound to all of them.
    pub local: Option<IpAddr>,
}

/// One received buffer: datagrams of `segment` octets each, the last perhaps shorter.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Where it came from.
    pub origin: Origin,
    /// The length of each datagram but the last.
    pub segment: usize,
    /// All octets.
    pub bytes: &'a [u8],
}

/// The outcome of one call of [`Population::answer`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// The octets of the arrival that are dealt with; call again with the rest.
    pub consumed: usize,
    /// The octets of answers written; 0 when there is nothing to send.
    pub length: usize,
    /// The length of each answer.
    pub segment: usize,
    /// The answers written.
    pub answers: u32,
}

/// What the sessions of a population are made of.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    /// What devices of each class do once they have a SIR, by class index; behind the last, nothing.
    pub policies: Vec<Option<SessionPolicy>>,
    /// The most calls at once.
    pub calls_max: usize,
    /// RFC 3261 17.1.1.1: the estimate of the round trip, in nanoseconds.
    pub t1_ns: u64,
    /// What the network does to messages that leave.
    pub sent: Disturbance,
    /// What it does to messages that come; there is no reordering there.
    pub received: Disturbance,
    /// What each content must be, if that is known.
    pub content: Option<Vec<u8>>,
    /// The key that SIRs are checked with.
    pub key: Option<SirKey>,
    /// What challenges are answered with.
    pub(crate) accounts: Option<Accounts>,
    /// Who is known.
    pub(crate) people: People,
    /// Calls that nobody asked for.
    pub(crate) sources: SourcesConfig,
}

/// What a population is made of.
#[derive(Clone, Debug)]
pub struct PopulationConfig {
    /// The behaviour of the devices and edges.
    pub mix: Mix,
    /// The seed of every choice.
    pub seed: u64,
    /// Its number among the generators that run together: names of calls differ by it.
    pub generator: u16,
    /// How many requests are remembered for retransmissions; see [`Seen`].
    pub seen_entries: usize,
    /// How many late answers may wait.
    pub late_slots: usize,
    /// The most answers in one train, 1..=[`SEGMENTS_MAX`].
    pub segments_max: usize,
    /// Keep what is remembered on huge pages where the host has them.
    pub huge_pages: bool,
    /// Sessions, where devices build some.
    pub sessions: Option<Sessions>,
}

/// All devices of one worker.
pub struct Population {
    desk: Desk,
    moulds: Moulds,
    received: Disturbance,
    received_count: u64,
    sources: Sources,
    source_names: Vec<&'static str>,
    advanced_ns: u64,
    /// Where answers to messages of connections are written.
    stream_answers: Vec<u8>,
    /// How long late answers took, by class index.
    times: Vec<Option<Histogram<u64>>>,
}

/// What the first look at a datagram found.
#[derive(Clone, Copy, Default)]
struct Glance {
    cast: Option<Cast>,
    keys: Keys,
}

impl Population {
    /// Returns a population whose mix has been validated; all memory it needs is taken here.
    ///
    /// # Errors
    /// The host has not the memory for the requests to be remembered.
    pub fn new(config: PopulationConfig, journal: Option<Journal>) -> io::Result<Population> {
        let scripts = Script::compile_all(&config.mix);
        let copies = scripts.iter().map(|script| match script.behaviour {
            Behaviour::Duplicate { copies, .. } => usize::from(copies),
            _ => 0,
        });
        let answers_per_request_max = 1 + copies.max().unwrap_or(0);
        let received = config.sessions.as_ref().map(|sessions| sessions.received);
        let mut sources = config.sessions.as_ref().map(|s| s.sources.clone());
        let source_names = sources.iter().flat_map(SourcesConfig::classes);
        let source_names = source_names.map(|(name, _)| name).collect();
        let (mut calls, outcomes) = open_sessions(
            config.sessions,
            &config.mix,
            (config.seed, config.generator),
            config.segments_max,
        );
        let first = outcomes.statuses().len() as u8;
        let sources = calls
            .as_mut()
            .and_then(|calls| Some(Sources::new(sources.take()?, calls, first)))
            .unwrap_or_default();
        let mut scripts = scripts;
        scripts.extend(
            outcomes
                .named()
                .map(|(_, behaviour)| Script::compile(behaviour)),
        );
        let times: Vec<Option<Histogram<u64>>> = scripts
            .iter()
            .map(|script| (!script.behaviour.delay().is_none()).then(answer_times))
            .collect();
        let is_late = times.iter().any(Option::is_some);
        let late_slots = if is_late { config.late_slots } else { 0 };
        let desk = Desk {
            late: LateAnswers::new(late_slots),
            refusals: BTreeMap::new(),
            literal_bytes_max: scripts.iter().map(Script::literal_bytes).max().unwrap_or(0),
            answers_per_request_max,
            segments_max: config
                .segments_max
                .clamp(answers_per_request_max, SEGMENTS_MAX),
            judge: Judge {
                seen: Seen::with_capacity(config.seen_entries, config.huge_pages)?,
                tally: Tally::new(scripts.len()),
                mix: config.mix,
                seed: config.seed,
                journal,
                started_ns: 0,
                outcomes,
            },
            calls,
            scripts,
        };
        Ok(Population {
            desk,
            moulds: Moulds::default(),
            received: received.unwrap_or_default(),
            received_count: 0,
            sources,
            source_names,
            advanced_ns: 0,
            stream_answers: Vec::new(),
            times,
        })
    }

    /// Answers as many datagrams of `arrival` as fit one train into `out`; call again with what was
    /// not consumed and a fresh buffer. Each call consumes at least one datagram.
    pub fn answer(&mut self, now_ns: u64, arrival: &Arrival<'_>, out: &mut [u8]) -> Answered {
        if arrival.bytes.is_empty() {
            self.desk.judge.tally.datagrams += 1;
            self.desk.judge.tally.drop_for("empty");
            return Answered::default();
        }
        let segment = arrival.segment.max(1);
        let mut glances = [Glance::default(); SEGMENTS_MAX];
        let count = self.glance(arrival.bytes.chunks(segment), &mut glances);
        let ruled = self.desk.judge.override_of(arrival.origin.socket, now_ns);
        let visit = Visit {
            now_ns,
            origin: arrival.origin,
            ruled,
        };
        let lone = arrival.bytes.len() <= segment;
        let mut train = Train {
            out,
            length: 0,
            segment: 0,
            answers: 0,
            lone,
        };
        let mut consumed = 0;
        let mut lesson = None;
        for (datagram, glance) in arrival.bytes.chunks(segment).zip(&glances[..count]) {
            let fate = self.fate();
            let mut treat = || match glance.cast {
                Some(cast) => {
                    let source = Source::Cast {
                        moulds: &self.moulds,
                        cast,
                        datagram,
                    };
                    self.desk.answer(&visit, source, glance.keys, &mut train)
                }
                None => self.desk.answer_parsed(&visit, datagram, &mut train),
            };
            let step = match fate {
                Fate::Lost => Step::Done,
                Fate::Doubled => match treat() {
                    Step::TrainFull => Step::TrainFull,
                    // What finds no room the second time was lost after all.
                    step => {
                        treat();
                        step
                    }
                },
                Fate::Passes | Fate::Held => treat(),
            };
            match step {
                Step::TrainFull => break,
                Step::Learn => lesson = lesson.or(Some(datagram)),
                Step::Done => {}
            }
            consumed += datagram.len();
            self.desk.judge.tally.datagrams += 1;
        }
        // Learning moves moulds, so it waits until no cast of this buffer is in use.
        if let Some(message) = lesson.and_then(|datagram| Message::parse(datagram).ok()) {
            self.moulds.learn(&message);
        }
        Answered {
            consumed,
            length: train.length,
            segment: train.segment,
            answers: train.answers as u32,
        }
    }

    /// Looks at the datagrams of one train: those that fit a mould are known by their hashes, and the
    /// cache lines of the table of seen requests are asked for together.
    #[inline]
    fn glance<'a>(
        &mut self,
        datagrams: impl Iterator<Item = &'a [u8]>,
        glances: &mut [Glance; SEGMENTS_MAX],
    ) -> usize {
        let mut count = 0;
        for (datagram, glance) in datagrams.zip(glances.iter_mut()) {
            count += 1;
            let Some(cast) = self.moulds.fit(datagram) else {
                continue;
            };
            let (uri, branch) = self.moulds.keys(cast, datagram);
            let keys = Keys {
                uri_hash: public_hash(uri),
                branch_hash: public_hash(branch),
            };
            *glance = Glance {
                cast: Some(cast),
                keys,
            };
        }
        let seen = &mut self.desk.judge.seen;
        let mut touch = |sum: u64, glance: &Glance| sum ^ seen.touch(glance.keys.branch_hash);
        black_box(glances[..count].iter().fold(0, &mut touch));
        count
    }

    /// Draws what the network does to the next datagram that came.
    #[inline]
    fn fate(&mut self) -> Fate {
        if self.received.is_none() {
            return Fate::Passes;
        }
        self.received_count += 1;
        let salted = self.desk.judge.seed ^ RECEIVED_SALT;
        let fate = self.received.fate(seeded(salted, self.received_count));
        if fate == Fate::Lost {
            self.desk.judge.tally.drop_for("lost_on_purpose");
        }
        fate
    }

    /// Tells the addresses of the sockets, in order, and where each takes connections: calls name them.
    pub fn bind(&mut self, addresses: &[SocketAddr], listeners: &[SocketAddr]) {
        if let Some(calls) = &mut self.desk.calls {
            calls.bind(addresses, listeners);
        }
    }

    /// Does what calls have due at `now_ns`; returns how many did something.
    #[inline]
    pub fn advance(&mut self, now_ns: u64) -> usize {
        let Some(calls) = &mut self.desk.calls else {
            return 0;
        };
        self.advanced_ns = now_ns;
        let begun = self.sources.drive(now_ns, calls);
        begun as usize + calls.advance(now_ns)
    }

    /// Tells whether calls have timers armed, so that time must be told to them.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        let calls = self.desk.calls.as_ref();
        self.sources.is_active() || calls.is_some_and(|calls| calls.is_timed())
    }

    /// Tells whether a bounded source of INVITEs has begun all its calls and all calls are over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let calls = self.desk.calls.as_ref();
        self.sources.is_finished() && calls.is_some_and(|calls| calls.own_calls() == 0)
    }

    /// Gives the trains that calls have filled; with `all` those too that have room left.
    #[inline]
    pub(crate) fn depart(&mut self, all: bool, send: impl FnMut(&Load)) {
        let Some(calls) = &mut self.desk.calls else {
            return;
        };
        if all {
            calls.lanes.flush();
        }
        let Calls { lanes, links, .. } = &mut **calls;
        let mut send = send;
        lanes.drain(|load| match load.origin.stream {
            0 => send(load),
            _ => links.put_sip(&load.origin, &load.octets),
        });
    }

    /// Returns the connections of calls, where there are calls.
    #[inline]
    pub(crate) fn links(&mut self) -> Option<&mut Calls> {
        self.desk.calls.as_deref_mut()
    }

    /// Returns what devices did with SIRs and sessions, by the name of their class.
    #[must_use]
    pub fn sessions(&self) -> BTreeMap<String, SessionCounts> {
        let Some(calls) = &self.desk.calls else {
            return BTreeMap::new();
        };
        let names = self.named_behaviours().map(|(name, _)| name);
        let names = names.chain(self.source_names.iter().copied());
        let names = names.map(str::to_owned);
        let told = calls.sheets.iter().map(|sheet| sheet.told());
        let told = names.zip(told);
        told.filter(|(_, counts)| *counts != SessionCounts::default())
            .collect()
    }

    /// Returns the setup times of sessions: of each class that built any, and of all together (no name).
    pub(crate) fn setups(&self) -> Vec<(Option<String>, Histogram<u64>)> {
        let Some(calls) = &self.desk.calls else {
            return Vec::new();
        };
        let mut setups = Vec::new();
        let mut all: Option<Histogram<u64>> = None;
        let names = self.named_behaviours().map(|(name, _)| name);
        let names = names.chain(self.source_names.iter().copied());
        for (name, sheet) in names.zip(&calls.sheets) {
            match &mut all {
                // Equal bounds: adding cannot fail.
                Some(all) => all.add(&sheet.setup).unwrap_or_default(),
                None => all = Some(sheet.setup.clone()),
            }
            if !sheet.setup.is_empty() {
                setups.push((Some(name.to_owned()), sheet.setup.clone()));
            }
        }
        setups.extend(all.map(|all| (None, all)));
        setups
    }

    /// Returns sessions begun, sessions established, and calls that are not over.
    #[inline]
    #[must_use]
    pub fn session_progress(&self) -> [u64; 3] {
        self.desk
            .calls
            .as_ref()
            .map_or([0; 3], |calls| calls.progress())
    }

    /// Returns what devices of all classes did, and what stands at the end.
    #[must_use]
    pub fn session_totals(&self) -> SessionTotals {
        let Some(calls) = &self.desk.calls else {
            return SessionTotals::default();
        };
        SessionTotals {
            flood_sent: self.sources.flooded(),
            behind: self.sources.behind(self.advanced_ns),
            ..calls.totals()
        }
    }

    /// Iterates over names and behaviours in the order of their class index.
    pub(crate) fn named_behaviours(&self) -> impl Iterator<Item = (&str, Behaviour)> {
        let judge = &self.desk.judge;
        judge.mix.named_behaviours().chain(judge.outcomes.named())
    }

    /// Writes one train of late answers that are due into `out`; nothing when no more is due. Call it
    /// until then.
    pub fn release_late(&mut self, now_ns: u64, out: &mut [u8]) -> Option<LateTrain> {
        let Population { desk, times, .. } = self;
        let Desk {
            late,
            judge,
            segments_max,
            ..
        } = desk;
        late.release(now_ns, *segments_max, out, |class, waited_ns| {
            let counts = judge.counts(class);
            counts.late_sent += 1;
            counts.answers += 1;
            if let Some(times) = &mut times[usize::from(class)] {
                times.saturating_record(waited_ns);
            }
        })
    }

    /// Returns how long the late answers of each class took, from the SIR to their leaving.
    #[must_use]
    pub fn answer_times(&self) -> BTreeMap<String, Lag> {
        let heard = self.answer_histograms();
        heard
            .map(|(name, times)| (name.to_owned(), Lag::of(times)))
            .collect()
    }

    /// Returns the same as histograms, by class.
    pub(crate) fn answer_histograms(&self) -> impl Iterator<Item = (&str, &Histogram<u64>)> {
        let names = self.named_behaviours().map(|(name, _)| name);
        let times = names.zip(&self.times);
        let heard = times.filter_map(|(name, times)| Some((name, times.as_ref()?)));
        heard.filter(|(_, times)| !times.is_empty())
    }

    /// Tells whether [`Population::release_late`] may have something to write at `now_ns`.
    #[must_use]
    pub fn late_is_due(&self, now_ns: u64) -> bool {
        self.desk.late.is_due(now_ns)
    }

    /// Returns when late answers next leave, in monotonic nanoseconds, if any waits.
    #[must_use]
    pub fn late_due_ns(&self) -> Option<u64> {
        self.desk.late.next_release_ns()
    }

    /// Returns how many late answers wait.
    #[must_use]
    pub fn late_waiting(&self) -> usize {
        self.desk.late.waiting()
    }

    /// Returns the counts so far.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.desk.judge.tally
    }

    /// Returns how many unanswered requests were forgotten before their Timer F: above 0, some of the
    /// distinct SIRs counted were retransmissions.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.desk.judge.seen.forgotten()
    }

    /// Returns the mix it was made of.
    #[must_use]
    pub fn mix(&self) -> &Mix {
        &self.desk.judge.mix
    }

    /// Lets the times of overrides count from `now_ns`.
    pub(crate) fn begin(&mut self, now_ns: u64) {
        self.desk.judge.started_ns = now_ns;
    }

    /// Zeroes the counts; what is remembered of requests stays, and so does the record.
    pub fn reset(&mut self) {
        self.desk.judge.tally.reset();
        self.times.iter_mut().flatten().for_each(Histogram::reset);
        if let Some(calls) = &mut self.desk.calls {
            calls.reset();
        }
    }

    /// Starts the clock of edge overrides at `now_ns`.
    pub fn start(&mut self, now_ns: u64) {
        self.desk.judge.started_ns = now_ns;
        self.sources.start(now_ns);
    }

    /// Finishes the record, if one is kept.
    ///
    /// # Errors
    /// The record could not be written.
    pub fn finish(self) -> io::Result<Option<JournalTotals>> {
        self.desk.judge.journal.map(Journal::finish).transpose()
    }
}

/// Returns room for the times of one class's answers, to [`DELAY_MS_MAX`] and what a busy worker adds.
fn answer_times() -> Histogram<u64> {
    let most_ns = 2 * u64::from(DELAY_MS_MAX) * 1_000_000;
    Histogram::new_with_bounds(100_000, most_ns, 3).expect("constant bounds are in order")
}

/// Makes the calls of a population and what their decisions are answered with.
fn open_sessions(
    sessions: Option<Sessions>,
    mix: &Mix,
    (seed, generator): (u64, u16),
    segments_max: usize,
) -> (Option<Box<Calls>>, Outcomes) {
    let Some(sessions) = sessions else {
        return (None, Outcomes::new(mix, &[], None));
    };
    let outcomes = Outcomes::new(mix, &sessions.policies, sessions.key);
    let mut policies = sessions.policies;
    policies.resize(outcomes.statuses().len(), None);
    let classes = sessions.sources.classes().into_iter();
    policies.extend(classes.map(|(_, policy)| policy));
    let registration = sessions.sources.register.as_ref();
    let config = CallsConfig {
        seed,
        generator,
        calls_max: sessions.calls_max,
        segments_max,
        t1_ns: sessions.t1_ns,
        disturbance: sessions.sent,
        content: sessions.content,
        accounts: sessions.accounts,
        expires_s: registration.map_or(3600, |register| register.expires),
        policies,
    };
    let calls = Calls::new(config, sessions.people, 0);
    (Some(Box::new(calls)), outcomes)
}

mod stream;
#[cfg(test)]
mod tests;
