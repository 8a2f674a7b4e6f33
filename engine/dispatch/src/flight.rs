//! The flight recorder: the last failures of each cause, with what was sent, what came and when.
//!
//! A SIR that succeeds leaves nothing here and costs nothing: its transaction holds all that is needed to render
//! it again, so it is rendered when it has failed. What a transaction does not hold is when it was sent again;
//! that is kept for some of those that Timer E has to repeat ([`Recorder::again`]), a bounded number at a time.
//! Each cause has a ring of its own, so that a flood of one failure does not wash out another. No clock, no file
//! and no words for people: the shard writes, `bench` makes the ladder and the capture.

use crate::branch::Handle;
use crate::report::Failures;
use std::net::SocketAddr;

/// Causes told apart: all that SIRs and sessions have, and two dozen status codes; failures of further ones are
/// counted and not kept.
const CAUSES_MAX: usize = 64;
/// Most failures that can be kept of each cause: `OCTETS_MAX` octets each at most.
pub const KEPT_MAX: usize = 1024;
/// Octets kept of one failure: a session of nine messages; what is beyond them is counted as cut.
const OCTETS_MAX: usize = 16_384;
/// Events kept of one failure: 11 transmissions over UDP and a few answers to each.
const EVENTS_MAX: usize = 48;
/// Transactions whose repetitions are timed at once: 150 KB.
const WATCHED: usize = 1024;
/// Repetitions and provisional responses timed of each: Timer F allows 10 of the first.
const TIMES_MAX: usize = 14;
/// A watched transaction that has not been heard of for so long is over: T2 and a late turn.
const SILENT_NS: u64 = 5_000_000_000;
/// Least distance between two recordings of a cause whose ring is full, in nanoseconds: 300 ns of rendering
/// each millisecond is no cost.
const EVERY_NS: u64 = 1_000_000;
/// The same for failures of which something is missing: complete ones tell more.
const EVERY_INCOMPLETE_NS: u64 = 1_000_000_000;

/// What happened at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// We sent these octets, the first time or again.
    Sent,
    /// These octets came.
    Received,
    /// A provisional response came, whose octets were not kept.
    Provisional(u16),
    /// It failed.
    Failed,
}

/// One event of a failure.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// When, in nanoseconds of the worker's clock.
    pub at_ns: u64,
    /// What.
    pub step: Step,
    /// The other side.
    pub peer: SocketAddr,
    /// Where its octets begin among those of the failure, and how many they are.
    octets: (u32, u32),
}

/// What failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subject {
    /// A SIR: one client transaction.
    #[default]
    Sir,
    /// A session that a device built, or wanted to.
    Session,
}

/// One failure.
#[derive(Clone, Debug, Default)]
pub struct Flight {
    /// What failed.
    pub subject: Subject,
    /// Why: the names of the ledger and of the session's counts.
    pub cause: String,
    /// Name of the order, empty where none is known.
    pub order: String,
    /// When the SIR was due, in nanoseconds of the worker's clock; 0 for a session.
    pub due_ns: u64,
    /// Earlier transactions of the same SIR that a 503 ended.
    pub retries: u8,
    /// Transmissions whose time was not kept; the events have the others.
    pub untimed: u8,
    /// Times are rounded down to this many nanoseconds in the first event, and exact in the others.
    pub first_within_ns: u64,
    events: Vec<Event>,
    octets: Vec<u8>,
}

impl Flight {
    /// What happened, in the order of time.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The octets of an event; none where they were not kept.
    #[must_use]
    pub fn octets(&self, event: &Event) -> &[u8] {
        let (start, length) = (event.octets.0 as usize, event.octets.1 as usize);
        self.octets.get(start..start + length).unwrap_or_default()
    }

    /// Room for the octets of a message, to be filled by `write`; returns where they are.
    pub fn keep(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> (u32, u32) {
        let start = self.octets.len();
        write(&mut self.octets);
        if self.octets.len() > OCTETS_MAX {
            self.octets.truncate(start);
        }
        (start as u32, (self.octets.len() - start) as u32)
    }

    /// Adds an event; beyond the bound none is added but the end.
    pub fn add(&mut self, at_ns: u64, step: Step, peer: SocketAddr, octets: (u32, u32)) {
        if self.events.len() < EVENTS_MAX || step == Step::Failed {
            self.events.push(Event {
                at_ns,
                step,
                peer,
                octets,
            });
        }
    }

    fn clear(&mut self) {
        self.cause.clear();
        self.order.clear();
        self.events.clear();
        self.octets.clear();
        (
            self.due_ns,
            self.retries,
            self.untimed,
            self.first_within_ns,
        ) = (0, 0, 0, 0);
    }
}

/// The last failures of one cause.
#[derive(Clone, Debug)]
struct Ring {
    code: (Subject, u16),
    flights: Vec<Flight>,
    next: usize,
    count: u64,
    recorded_ns: u64,
}

/// When one transaction was sent again, and which provisional responses came.
#[derive(Clone, Copy, Debug)]
struct Watched {
    handle: Handle,
    count: u8,
    at_ns: [u64; TIMES_MAX],
    status: [u16; TIMES_MAX],
}

/// What a transaction did between its first transmission and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repetition {
    /// When, in nanoseconds.
    pub at_ns: u64,
    /// The provisional response that came; none: it was sent again.
    pub status: Option<u16>,
}

/// The failures of one shard.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    kept_each: usize,
    rings: Vec<Ring>,
    watched: Vec<Watched>,
    /// Failures of causes beyond [`CAUSES_MAX`].
    beyond: u64,
}

impl Recorder {
    /// A recorder that keeps the last `kept_each` failures of each cause; 0 is none at all.
    #[must_use]
    pub fn new(kept_each: usize) -> Self {
        Self {
            kept_each: kept_each.min(KEPT_MAX),
            rings: Vec::new(),
            watched: Vec::new(),
            beyond: 0,
        }
    }

    /// Whether it records.
    #[inline]
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.kept_each > 0
    }

    /// Notes that a SIR is sent again.
    #[inline(never)]
    pub fn again(&mut self, now: u64, handle: Handle) {
        self.note(now, handle, 0);
    }

    /// Notes a provisional response.
    #[cold]
    pub fn provisional(&mut self, now: u64, handle: Handle, status: u16) {
        self.note(now, handle, status);
    }

    fn note(&mut self, now: u64, handle: Handle, status: u16) {
        if !self.is_on() {
            return;
        }
        if self.watched.is_empty() {
            let vacant = Watched {
                handle,
                count: 0,
                at_ns: [0; TIMES_MAX],
                status: [0; TIMES_MAX],
            };
            self.watched.resize(WATCHED, vacant);
        }
        let place = &mut self.watched[handle.slot as usize % WATCHED];
        let last_ns = (usize::from(place.count).checked_sub(1)).map_or(0, |last| place.at_ns[last]);
        if place.handle != handle {
            // Another transaction in the same slot follows one that is over.
            let is_over = place.handle.slot == handle.slot || now >= last_ns + SILENT_NS;
            if place.count > 0 && !is_over {
                return;
            }
            (place.handle, place.count) = (handle, 0);
        }
        let count = usize::from(place.count);
        if count < TIMES_MAX {
            (place.at_ns[count], place.status[count]) = (now, status);
            place.count += 1;
        }
    }

    /// What was noted of a transaction, as far as it was watched.
    pub fn repetitions(&self, handle: Handle) -> impl Iterator<Item = Repetition> + Clone + use<> {
        let place = self.watched.get(handle.slot as usize % WATCHED);
        let place = place.filter(|place| place.handle == handle).copied();
        place.into_iter().flat_map(|place| {
            (0..usize::from(place.count)).map(move |number| Repetition {
                at_ns: place.at_ns[number],
                status: (place.status[number] > 0).then_some(place.status[number]),
            })
        })
    }

    /// A place for one more failure, cleared; none where the recorder is off, has no room for another cause, or
    /// has recorded enough of this one just now.
    pub fn begin(
        &mut self,
        now: u64,
        (subject, code): (Subject, u16),
        is_complete: bool,
    ) -> Option<&mut Flight> {
        if !self.is_on() {
            return None;
        }
        let ring = self
            .rings
            .iter()
            .position(|ring| ring.code == (subject, code));
        let ring = match ring {
            Some(ring) => ring,
            None if self.rings.len() < CAUSES_MAX => {
                self.rings.push(Ring {
                    code: (subject, code),
                    flights: Vec::new(),
                    next: 0,
                    count: 0,
                    recorded_ns: 0,
                });
                self.rings.len() - 1
            }
            None => {
                self.beyond += 1;
                return None;
            }
        };
        let ring = &mut self.rings[ring];
        ring.count += 1;
        if ring.flights.len() < self.kept_each {
            ring.flights.push(Flight::default());
        } else {
            let every_ns = if is_complete {
                EVERY_NS
            } else {
                EVERY_INCOMPLETE_NS
            };
            if now < ring.recorded_ns + every_ns {
                return None;
            }
        }
        ring.recorded_ns = now;
        let place = ring.next;
        ring.next = (place + 1) % self.kept_each;
        let flight = &mut ring.flights[place];
        flight.clear();
        flight.subject = subject;
        Some(flight)
    }

    /// All that is kept, and how many failures there were.
    #[must_use]
    pub fn log(&self) -> FlightLog {
        let kept = self.rings.iter().flat_map(|ring| ring.flights.iter());
        let mut flights: Vec<Flight> = kept
            .filter(|flight| !flight.events.is_empty())
            .cloned()
            .collect();
        flights.sort_by_key(|flight| flight.events.first().map(|event| event.at_ns));
        FlightLog {
            failures: self.failures().seen,
            flights,
        }
    }

    /// How many failures there were, and how many are kept.
    #[must_use]
    pub fn failures(&self) -> Failures {
        let kept = self.rings.iter().map(|ring| ring.flights.len() as u64);
        Failures {
            seen: self.rings.iter().map(|ring| ring.count).sum::<u64>() + self.beyond,
            kept: kept.sum(),
        }
    }
}

/// What a recorder has kept.
#[derive(Clone, Debug, Default)]
pub struct FlightLog {
    /// Failures since the start, kept or not.
    pub failures: u64,
    /// Those that are kept, in the order of their first events.
    pub flights: Vec<Flight>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5060);

    fn handle(slot: u32, generation: u32) -> Handle {
        Handle { slot, generation }
    }

    fn fail(recorder: &mut Recorder, now: u64, code: u16, is_complete: bool) -> bool {
        let Some(flight) = recorder.begin(now, (Subject::Sir, code), is_complete) else {
            return false;
        };
        let octets = flight.keep(|out| out.extend_from_slice(&code.to_be_bytes()));
        flight.add(now, Step::Sent, PEER, octets);
        true
    }

    #[test]
    fn each_cause_keeps_its_last_ones_and_a_flood_of_one_leaves_the_others() {
        let mut recorder = Recorder::new(2);
        fail(&mut recorder, 5, 486, true);
        for number in 0..100 {
            fail(&mut recorder, 10 + number * EVERY_NS, 1000, true);
        }
        let log = recorder.log();
        assert_eq!((log.failures, log.flights.len()), (101, 3));
        let times: Vec<_> = log
            .flights
            .iter()
            .map(|flight| flight.events[0].at_ns)
            .collect();
        assert_eq!(times, [5, 10 + 98 * EVERY_NS, 10 + 99 * EVERY_NS]);
        let first = &log.flights[0];
        assert_eq!(first.octets(&first.events[0]), 486_u16.to_be_bytes());
    }

    #[test]
    fn a_full_ring_takes_one_a_millisecond_and_incomplete_ones_each_second() {
        let mut recorder = Recorder::new(1);
        assert!(fail(&mut recorder, 1, 1, true));
        assert!(!fail(&mut recorder, EVERY_NS, 1, true));
        assert!(fail(&mut recorder, EVERY_NS + 1, 1, true));
        assert!(!fail(&mut recorder, EVERY_INCOMPLETE_NS, 1, false));
        assert!(fail(&mut recorder, 3 * EVERY_INCOMPLETE_NS, 1, false));
        assert_eq!(recorder.log().failures, 5);
    }

    #[test]
    fn repetitions_are_told_of_the_transaction_that_holds_the_place() {
        let mut recorder = Recorder::new(1);
        recorder.again(500, handle(7, 0));
        recorder.provisional(600, handle(7, 0), 100);
        recorder.again(700, handle(7 + WATCHED as u32, 3));
        let told: Vec<_> = recorder.repetitions(handle(7, 0)).collect();
        let repetition = |at_ns, status| Repetition { at_ns, status };
        assert_eq!(told, [repetition(500, None), repetition(600, Some(100))]);
        assert_eq!(
            recorder.repetitions(handle(7 + WATCHED as u32, 3)).count(),
            0
        );
        recorder.again(600 + SILENT_NS, handle(7 + WATCHED as u32, 3));
        assert_eq!(
            recorder.repetitions(handle(7 + WATCHED as u32, 3)).count(),
            1
        );
        assert_eq!(recorder.repetitions(handle(7, 0)).count(), 0);
    }

    #[test]
    fn what_is_kept_is_bounded_whatever_fails() {
        let mut recorder = Recorder::new(1);
        let flight = recorder
            .begin(0, (Subject::Session, 0), true)
            .expect("room");
        let octets = flight.keep(|out| out.resize(OCTETS_MAX + 1, 0));
        assert_eq!(octets.1, 0);
        for _ in 0..1_000 {
            flight.add(1, Step::Received, PEER, octets);
        }
        flight.add(2, Step::Failed, PEER, (0, 0));
        assert_eq!(flight.events.len(), EVENTS_MAX + 1);
        for code in 0..1_000 {
            fail(&mut recorder, 0, code, true);
        }
        assert_eq!(recorder.log().flights.len(), CAUSES_MAX);
        assert_eq!(recorder.log().failures, 1_001);
        let mut off = Recorder::new(0);
        off.again(0, handle(0, 0));
        assert!(!fail(&mut off, 0, 1, true) && off.watched.is_empty());
    }

    #[test]
    fn repetitions_beyond_the_bound_are_not_kept() {
        let mut recorder = Recorder::new(1);
        (0..100).for_each(|number| recorder.again(number, handle(0, 0)));
        assert_eq!(recorder.repetitions(handle(0, 0)).count(), TIMES_MAX);
    }
}
