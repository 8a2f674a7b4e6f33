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

use sirocco_wire::sip::Message;

use crate::desk::{Desk, Step, Train, Visit};
use crate::hash::public_hash;
use crate::journal::{Journal, JournalTotals};
use crate::judge::{Judge, Keys};
use crate::late::{LateAnswers, LateTrain};
use crate::mix::{Behaviour, Mix};
use crate::mould::{Cast, Moulds};
use crate::script::Script;
use crate::seen::Seen;
use crate::source::Source;
use crate::tally::Tally;

/// The most answers in one train: UDP_MAX_SEGMENTS of Linux 6.9 and later.
pub const SEGMENTS_MAX: usize = 128;

/// Where a datagram came from and came to; its answer goes the same way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The index of the socket: the edge.
    pub socket: u16,
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

/// What a population is made of.
#[derive(Clone, Debug)]
pub struct PopulationConfig {
    /// The behaviour of the devices and edges.
    pub mix: Mix,
    /// The seed of every choice.
    pub seed: u64,
    /// How many requests are remembered for retransmissions; see [`Seen`].
    pub seen_entries: usize,
    /// How many late answers may wait.
    pub late_slots: usize,
    /// The most answers in one train, 1..=[`SEGMENTS_MAX`].
    pub segments_max: usize,
    /// Keep what is remembered on huge pages where the host has them.
    pub huge_pages: bool,
}

/// All devices of one worker.
pub struct Population {
    desk: Desk,
    moulds: Moulds,
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
        let delay_ms = |script: &Script| match script.behaviour {
            Behaviour::Late { delay_ms, .. } => Some(delay_ms),
            _ => None,
        };
        let delays: Vec<Option<u32>> = scripts.iter().map(delay_ms).collect();
        let desk = Desk {
            late: LateAnswers::new(&delays, config.late_slots),
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
            },
            scripts,
        };
        Ok(Population {
            desk,
            moulds: Moulds::default(),
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
            let step = match glance.cast {
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
        let Train {
            length,
            segment,
            answers,
            ..
        } = train;
        Answered {
            consumed,
            length,
            segment,
            answers: answers as u32,
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

    /// Writes one train of late answers that are due into `out`; nothing when no more is due. Call it
    /// until then.
    pub fn release_late(&mut self, now_ns: u64, out: &mut [u8]) -> Option<LateTrain> {
        let Desk {
            late,
            judge,
            segments_max,
            ..
        } = &mut self.desk;
        late.release(now_ns, *segments_max, out, |class| {
            let counts = judge.counts(class);
            counts.late_sent += 1;
            counts.answers += 1;
        })
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

    /// Zeroes the counts; what is remembered of requests stays, and so does the record.
    pub fn reset(&mut self) {
        self.desk.judge.tally.reset();
    }

    /// Starts the clock of edge overrides at `now_ns`.
    pub fn start(&mut self, now_ns: u64) {
        self.desk.judge.started_ns = now_ns;
    }

    /// Finishes the record, if one is kept.
    ///
    /// # Errors
    /// The record could not be written.
    pub fn finish(self) -> io::Result<Option<JournalTotals>> {
        self.desk.judge.journal.map(Journal::finish).transpose()
    }
}

#[cfg(test)]
mod tests;
