//! The observer: sees every datagram that leaves and every transaction that ends, knows what was
//! ordered, and says which rule was broken. It shares no state with the shard.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

use sirocco_dispatch::outcome::{self, Entry};
use sirocco_dispatch::transaction::{T1_NS, T2_NS, TIMER_F_NS};
use sirocco_wire::sip::header::HeaderName;
use sirocco_wire::sip::message::{Message, Method};
use sirocco_wire::sip::screen::{Transport, Verdict, screen};
use sirocco_wire::sip::template::REQUEST_BYTES_MAX;

use crate::network::Truth;
use crate::orders::Planned;
use crate::people::People;

/// How late a timer may be: a tick of the wheel, a departure time, and slabs to wait for.
const LATE_NS: u64 = 250_000_000;
/// How early Timer F may be: its start is kept in ticks of the wheel.
const EARLY_NS: u64 = 5_000_000;
/// Transmissions of one SIR over UDP (RFC 3261 17.1.2.2).
const TRANSMISSIONS_MAX: u32 = 11;

/// Outcome codes that no status is.
const TIMEOUT: u16 = 1000;
const TRANSPORT: u16 = 1001;
const EXPIRED: u16 = 1100;
const CANCELLED: u16 = 1101;

/// A broken rule, in words.
pub type Breach = String;

/// Limits that the shard was given.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Unanswered SIRs of one next hop.
    pub window: usize,
    /// Unanswered SIRs altogether.
    pub window_total: usize,
}

/// One SIR on the wire.
struct Flight {
    octets: Rc<[u8]>,
    device: usize,
    address: SocketAddr,
    is_direct: bool,
    application: String,
    first_ns: u64,
    due_ns: u64,
    transmissions: u32,
    proceeding: bool,
    is_open: bool,
}

/// What one device got under one application.
#[derive(Clone, Copy, Default)]
pub struct Count {
    /// SIRs, each transaction counted once.
    pub sirs: u64,
    /// Those of them that a 503 with Retry-After ended.
    pub shunned: u64,
}

/// Everything seen so far.
pub struct Observer {
    flights: HashMap<u64, Flight>,
    /// The open flight to each device.
    pending: HashMap<usize, u64>,
    /// Open flights younger than T1, by next hop; those to single devices stand under `None`.
    young: HashMap<Option<SocketAddr>, VecDeque<(u64, u64)>>,
    closed_until: HashMap<SocketAddr, u64>,
    /// When the orders of each application end; `u64::MAX` if never.
    deadlines: HashMap<String, u64>,
    /// What each device got, by application.
    pub counts: HashMap<(String, usize), Count>,
    /// Ends by outcome code.
    pub ends: HashMap<u16, u64>,
    /// Retransmissions seen.
    pub retransmissions: u64,
    open: u64,
    limits: Limits,
    read: usize,
}

impl Observer {
    /// Builds an observer that has seen nothing.
    pub fn new(limits: Limits) -> Self {
        Self {
            flights: HashMap::new(),
            pending: HashMap::new(),
            young: HashMap::new(),
            closed_until: HashMap::new(),
            deadlines: HashMap::new(),
            counts: HashMap::new(),
            ends: HashMap::new(),
            retransmissions: 0,
            open: 0,
            limits,
            read: 0,
        }
    }

    /// SIRs that were sent and have not ended.
    pub fn open(&self) -> u64 {
        self.open
    }

    /// Whether a SIR to a device under an application is open.
    pub fn is_pending(&self, device: usize, application: &str) -> bool {
        let flight = self
            .pending
            .get(&device)
            .and_then(|branch| self.flights.get(branch));
        flight.is_some_and(|flight| flight.application == application)
    }

    /// An order was accepted.
    pub fn accepted(&mut self, now: u64, order: &Planned) {
        let deadline = order.deadline_ns.map_or(u64::MAX, |ns| now + ns);
        let known = self
            .deadlines
            .entry(order.application.clone())
            .or_insert(deadline);
        *known = deadline.max(*known);
    }

    /// A datagram left for `target`.
    pub fn transmitted(
        &mut self,
        now: u64,
        target: SocketAddr,
        octets: &Rc<[u8]>,
        (people, orders): (&People, &[Planned]),
    ) -> Result<(), Breach> {
        let message =
            Message::parse(octets).map_err(|fault| format!("an unreadable SIR: {fault}"))?;
        let branch = message
            .top_via()
            .and_then(|via| via.branch)
            .ok_or("a SIR without a branch")?;
        let branch = outcome::hash(branch);
        if self
            .closed_until
            .get(&target)
            .is_some_and(|until| *until > now)
        {
            return Err(format!("a SIR to {target} while its Retry-After runs"));
        }
        if let Some(flight) = self.flights.get_mut(&branch) {
            flight.transmitted_again(now, target, octets)?;
            self.retransmissions += 1;
            let deadline = self.deadlines[&flight.application];
            return before(now, deadline, "a retransmission");
        }
        self.first(now, target, octets, (people, orders), (&message, branch))
    }

    fn first(
        &mut self,
        now: u64,
        target: SocketAddr,
        octets: &Rc<[u8]>,
        (people, orders): (&People, &[Planned]),
        (message, branch): (&Message<'_>, u64),
    ) -> Result<(), Breach> {
        // A tel URI is refused by many a receiver, but it is no fault of form (RFC 3261 8.2.2.1: 416).
        let verdict = screen(octets, Transport::Datagram);
        let is_sound = matches!(verdict, Verdict::Accept | Verdict::Reject { code: 416 })
            && message.method() == Some(Method::Message)
            && octets.len() <= REQUEST_BYTES_MAX;
        ensure(is_sound, || {
            "a SIR that a strict receiver refuses".to_owned()
        })?;
        let uri = message.request_uri().unwrap_or(b"");
        let device = people.by_uri(uri);
        let device =
            device.ok_or_else(|| format!("a SIR to nobody: {}", String::from_utf8_lossy(uri)))?;
        let person = &people.devices[device];
        ensure(
            person.was_there && person.addresses.contains(&target),
            || {
                format!(
                    "a SIR for {} went to {target}, not to {:?}",
                    person.uri, person.addresses
                )
            },
        )?;
        let application = message.header(HeaderName::of(b"X-Wap-Application-Id"));
        let application = application.and_then(|value| value.strip_prefix(b"x-wap-application:"));
        let application = String::from_utf8_lossy(application.unwrap_or(b"")).into_owned();
        let mut same = orders
            .iter()
            .filter(|order| order.application == application);
        ensure(same.any(|order| order.times(person) > 0), || {
            format!(
                "{} got a SIR of {application}, which no order wants",
                person.uri
            )
        })?;
        let deadline = self.deadlines.get(&application).copied().unwrap_or(0);
        before(now, deadline, "a SIR")?;
        if let Some(other) = self.pending.insert(device, branch) {
            let since = now - self.flights[&other].first_ns;
            return Err(format!(
                "a second SIR to {} while one is pending for {since} ns",
                person.uri
            ));
        }
        self.counts
            .entry((application.clone(), device))
            .or_default()
            .sirs += 1;
        let flight = Flight {
            octets: octets.clone(),
            device,
            address: target,
            is_direct: person.is_direct,
            application,
            first_ns: now,
            due_ns: now + T1_NS,
            transmissions: 1,
            proceeding: false,
            is_open: true,
        };
        self.flights.insert(branch, flight);
        self.open += 1;
        self.check_window(now, (!person.is_direct).then_some(target), branch)
    }

    /// Those sent less than T1 ago and open count against their window, whatever else does.
    fn check_window(
        &mut self,
        now: u64,
        hop: Option<SocketAddr>,
        branch: u64,
    ) -> Result<(), Breach> {
        let young = self.young.entry(hop).or_default();
        young.push_back((now, branch));
        while young.front().is_some_and(|(since, _)| since + T1_NS <= now) {
            young.pop_front();
        }
        let window = if hop.is_some() {
            self.limits.window
        } else {
            self.limits.window_total
        };
        if young.len() <= window {
            return Ok(());
        }
        let flights = &self.flights;
        young.retain(|(_, branch)| flights[branch].is_open);
        let inside = young.len();
        ensure(inside <= window, || {
            format!("{inside} SIRs in flight to {hop:?}, its window is {window}")
        })
    }

    /// An answer is handed to the shard: the end that it must bring, if any.
    pub fn answered(&mut self, now: u64, truth: Truth) -> Option<(u64, u16)> {
        match truth {
            Truth::Noise => None,
            Truth::Provisional(branch) => {
                if let Some(flight) = self.flights.get_mut(&branch) {
                    flight.proceeding = true;
                }
                None
            }
            Truth::Final(branch, status, retry_after) => {
                let flight = self
                    .flights
                    .get_mut(&branch)
                    .filter(|flight| flight.is_open)?;
                if let Some(seconds) = retry_after.filter(|_| !flight.is_direct) {
                    let until = now + u64::from(seconds) * 1_000_000_000;
                    let known = self.closed_until.entry(flight.address).or_insert(until);
                    *known = until.max(*known);
                    let count = (flight.application.clone(), flight.device);
                    self.counts.entry(count).or_default().shunned += 1;
                }
                let code = if (200..300).contains(&status) && status != 202 {
                    200
                } else {
                    status
                };
                self.close(branch, code);
                Some((branch, code))
            }
        }
    }

    fn close(&mut self, branch: u64, code: u16) {
        *self.ends.entry(code).or_default() += 1;
        let flight = self.flights.get_mut(&branch).expect("an open flight");
        flight.is_open = false;
        self.pending.remove(&flight.device);
        self.open -= 1;
    }

    /// Compares the ends that answers had to bring with those that the shard booked.
    pub fn ended_by_answers(&mut self, due: &[(u64, u16)], log: &[Entry]) -> Result<(), Breach> {
        let fresh: Vec<_> = log[self.read..]
            .iter()
            .map(|entry| (entry.branch_hash, entry.outcome))
            .collect();
        self.read = log.len();
        ensure(fresh == due, || {
            format!("answers had to end {due:?}, but {fresh:?} ended")
        })
    }

    /// Checks the ends that came otherwise: timers, refusals, deadlines, stops.
    pub fn ended_otherwise(&mut self, now: u64, log: &[Entry]) -> Result<(), Breach> {
        for entry in &log[self.read..] {
            let Entry {
                branch_hash,
                outcome,
                ..
            } = *entry;
            match self
                .flights
                .get(&branch_hash)
                .filter(|flight| flight.is_open)
            {
                Some(flight) => {
                    self.check_end(now, flight, outcome)?;
                    self.close(branch_hash, outcome);
                }
                None => {
                    let may_be_unsent = matches!(outcome, EXPIRED | CANCELLED);
                    let sent = self.flights.contains_key(&branch_hash);
                    ensure(may_be_unsent && !sent, || {
                        format!("end {outcome} of a SIR that is not in flight")
                    })?;
                    *self.ends.entry(outcome).or_default() += 1;
                }
            }
        }
        self.read = log.len();
        Ok(())
    }

    fn check_end(&self, now: u64, flight: &Flight, outcome: u16) -> Result<(), Breach> {
        let age = now - flight.first_ns;
        let closed_ns = self.closed_until.get(&flight.address).copied().unwrap_or(0);
        let patience = if closed_ns > flight.due_ns { T1_NS } else { 0 } + LATE_NS;
        match outcome {
            TIMEOUT => {
                let in_time = age + EARLY_NS >= TIMER_F_NS && age <= TIMER_F_NS + patience;
                ensure(in_time, || format!("Timer F after {age} ns"))?;
                let is_complete = flight.transmissions == TRANSMISSIONS_MAX;
                let is_short = flight.proceeding || closed_ns > flight.first_ns;
                ensure(is_complete || is_short, || {
                    format!("Timer F after {} transmissions", flight.transmissions)
                })
            }
            EXPIRED => ensure(self.deadlines[&flight.application] <= now, || {
                "expired before the deadline".to_owned()
            }),
            TRANSPORT | CANCELLED => Ok(()),
            other => Err(format!("end {other} without an answer")),
        }
    }

    /// Every open flight must have its next timer ahead of it, or just behind.
    pub fn check_timers(&self, now: u64) -> Result<(), Breach> {
        for flight in self.pending.values().map(|branch| &self.flights[branch]) {
            let closed_ns = self.closed_until.get(&flight.address).copied().unwrap_or(0);
            let due = flight.due_ns.max(closed_ns + T1_NS) + LATE_NS;
            ensure(now <= due, || {
                let late = now - flight.due_ns;
                format!(
                    "a timer of transmission {} is {late} ns overdue",
                    flight.transmissions
                )
            })?;
        }
        Ok(())
    }
}

impl Flight {
    /// RFC 3261 17.1.2.2: the same octets, Timer E doubling from T1 to T2, 11 times in 32 s.
    fn transmitted_again(
        &mut self,
        now: u64,
        target: SocketAddr,
        octets: &Rc<[u8]>,
    ) -> Result<(), Breach> {
        ensure(self.is_open, || {
            "a retransmission of a SIR that has ended".to_owned()
        })?;
        ensure(target == self.address, || {
            format!("a retransmission to {target}, not {}", self.address)
        })?;
        ensure(*octets == self.octets, || {
            let [first, again] =
                [&self.octets, octets].map(|octets| String::from_utf8_lossy(octets).into_owned());
            format!("a retransmission of other octets:\n{first}\n{again}")
        })?;
        ensure(now >= self.due_ns, || {
            format!(
                "transmission {} is {} ns early",
                self.transmissions + 1,
                self.due_ns - now
            )
        })?;
        ensure(now < self.first_ns + TIMER_F_NS, || {
            "a retransmission after Timer F".to_owned()
        })?;
        self.transmissions += 1;
        ensure(self.transmissions <= TRANSMISSIONS_MAX, || {
            "a twelfth transmission".to_owned()
        })?;
        let timer_e = if self.proceeding {
            T2_NS
        } else {
            (T1_NS << (self.transmissions - 1).min(3)).min(T2_NS)
        };
        let timer_f = (self.first_ns + TIMER_F_NS)
            .saturating_sub(EARLY_NS)
            .saturating_sub(now);
        self.due_ns = now + timer_e.min(timer_f);
        Ok(())
    }
}

fn before(now: u64, deadline: u64, what: &str) -> Result<(), Breach> {
    ensure(now < deadline, || {
        format!("{what} {} ns after its order's deadline", now - deadline)
    })
}

/// Turns a condition into a breach.
pub fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), Breach> {
    if holds { Ok(()) } else { Err(what()) }
}
