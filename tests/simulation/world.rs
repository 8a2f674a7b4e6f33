//! One run: a shard, a network, devices and orders, all drawn from one seed, driven to the end.
//!
//! A turn does what the worker does, in its order: answers, slabs, commands, timers, selection,
//! departures. Time goes from event to event, so an hour takes as long as what happens in it.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use sirocco_dispatch::config::EngineConfig;
use sirocco_dispatch::intake::Summary;
use sirocco_dispatch::shard::{Keys, Remainder, Shard};
use sirocco_dispatch::templates::Sender;
use sirocco_wire::sip::message::Message;

use crate::devices::{self, Behaviour, Mix};
use crate::network::{Event, Faults, Network, Truth};
use crate::observer::{Breach, Limits, Observer, ensure};
use crate::orders::Planned;
use crate::outbox::Slabs;
use crate::people::{IMEI_NAMESPACE, People, Shape};
use crate::random::Random;

/// Where the shard is.
const SENT_BY: &str = "127.0.0.1:5070";
/// Where answers come from: every simulated next hop has this address.
const EDGE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 20_000));
/// Nanoseconds of a millisecond.
pub const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
/// Unix time at which a run starts, in seconds.
const EPOCH_S: u64 = 1_700_000_000;
/// Longest simulated time of a run: many times what the longest order takes.
const RUN_NS_MAX: u64 = 3_600 * SECOND;
/// Turns in a row that do nothing though the shard asked for them: beyond it a worker would burn a core.
const IDLE_TURNS_MAX: u32 = 300;
/// A backlog that no run fills.
const BACKLOG_ROOMY: usize = 1 << 20;
/// Simulated time between two looks at all timers.
const LOOK_EVERY_NS: u64 = 50 * MS;

/// What a run is like, drawn from its seed.
#[derive(Debug)]
pub(crate) struct Plan {
    faults: Faults,
    mixture: Mix,
    orders: u64,
    orders_within_ns: u64,
    changes: u64,
    slab_back_ns: u64,
    refused_per_mille: u64,
    drain_at: Option<u64>,
    drain_ns: u64,
    stop_at: Option<u64>,
    pub(crate) config: EngineConfig,
}

/// What came of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// Units accepted.
    pub accepted: u64,
    /// Units delivered.
    pub delivered: u64,
    /// SIRs sent.
    pub sirs_sent: u64,
    /// Transmissions by Timer E.
    pub retransmissions: u64,
    /// Units failed for all causes.
    pub failed: u64,
    /// Units expired.
    pub expired: u64,
    /// Units cancelled.
    pub cancelled: u64,
    /// Simulated time in milliseconds.
    pub simulated_ms: u64,
    /// A hash of everything that was sent, when and where to.
    pub trace: u64,
}

/// All of one run.
pub struct World {
    random: Random,
    seed: u64,
    pub(crate) plan: Plan,
    pub(crate) now: u64,
    pub(crate) start: u64,
    pub(crate) shard: Shard,
    slabs: Slabs,
    network: Network<Event>,
    pub(crate) people: People,
    pub(crate) orders: Vec<Planned>,
    pub(crate) taken: HashSet<usize>,
    pub(crate) observer: Observer,
    pub(crate) summaries: Vec<Summary>,
    pub(crate) names: Vec<Remainder>,
    pub(crate) drain_until: Option<u64>,
    stopped: bool,
    looked_ns: u64,
    pub(crate) trace: u64,
}

/// Runs a seed.
pub fn run(seed: u64) -> Result<Story, Breach> {
    let mut world = World::new(seed);
    let ended = world.live().and_then(|()| world.reckon());
    ended.map_err(|breach| {
        let after = (world.now - world.start) as f64 / 1e9;
        format!("after {after:.6} s of simulated time: {breach}")
    })
}

impl Plan {
    /// Whether there may be no room to wait.
    pub(crate) fn sheds(&self) -> bool {
        self.config.backlog_total < BACKLOG_ROOMY
    }

    fn draw(random: &mut Random) -> Self {
        let window_total = random.between(8, 2_000) as usize;
        let roomy = random.chance(800);
        let backlog = if roomy {
            1 << 20
        } else {
            random.between(2, 200) as usize
        };
        let calm = random.chance(150);
        let share = |random: &mut Random, high| if calm { 0 } else { random.between(0, high) };
        let config = EngineConfig {
            window_total,
            window_per_next_hop: random.between(1, 600) as usize,
            transactions: window_total + random.between(0, 4_000) as usize,
            backlog_total: backlog,
            backlog_per_next_hop: if roomy {
                backlog
            } else {
                random.between(1, backlog as u64) as usize
            },
            train_segments: random.between(1, 128) as usize,
            departure_us: random.between(0, 2_000),
            retries_max: random.between(0, 3) as u8,
            slabs: random.between(4, 64) as u32,
            record_outcomes: true,
            // No device follows with a session here: tables for millions would be made for nothing.
            sessions_max: 16,
            tokens_remembered: 1 << 10,
            ..EngineConfig::default()
        };
        let ending = random.below(10);
        Self {
            faults: Faults {
                lost_per_mille: share(random, 200),
                doubled_per_mille: share(random, 150),
                held_per_mille: share(random, 200),
                held_ns_max: random.between(1, 3_000) * MS,
                delay_ns: random.between(10_000, 40 * MS),
                grain_ns: *random.pick(&[1, 10_000, 200_000, 2 * MS]),
            },
            mixture: Mix {
                odd_per_mille: share(random, 700),
                overloaded_per_mille: if random.chance(400) {
                    random.between(1, 60)
                } else {
                    0
                },
            },
            orders: random.between(1, 12),
            orders_within_ns: random.between(1, 20_000) * MS,
            changes: random.below(400),
            slab_back_ns: random.between(1, 100_000),
            refused_per_mille: share(random, 15),
            drain_at: (ending < 3).then(|| random.below(25 * SECOND)),
            drain_ns: random.between(0, 40) * SECOND,
            stop_at: (ending == 3).then(|| random.below(40 * SECOND)),
            config,
        }
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::draw(&mut random);
        let shape = Shape {
            identities: random
                .clone()
                .between(1, *random.pick(&[20, 200, 1_000, 3_000])),
            hops: random.between(1, 24),
            direct_per_mille: *random.pick(&[0, 0, 100, 1_000]),
            volatile_per_mille: *random.pick(&[0, 100, 400]),
        };
        let mut people = People::draw(&mut random, &shape);
        let index = people.load(&mut random);
        let start = random.below(1 << 50);
        let mut word = || random.word();
        let keys = Keys {
            branch: [word(), word()],
            token: [word(), word()],
            session: [word(), word()],
            owner: [word(), word()],
            pending: [word(), word(), word(), word()],
            imei: Some(IMEI_NAMESPACE),
        };
        let sender = Sender {
            sent_by: SENT_BY.to_owned(),
            from: plan.config.from.clone(),
            from_tag: "0f1e2d3c".to_owned(),
            ppg_uri: "sip:ppg@127.0.0.1:5070".to_owned(),
            sir_key: None,
        };
        let limits = Limits {
            window: plan.config.window_per_next_hop,
            window_total: plan.config.window_total,
        };
        let count = if people.settled.is_empty() {
            0
        } else {
            plan.orders
        };
        let orders = (0..count as usize).map(|number| Planned::draw(&mut random, &people, number));
        let orders: Vec<_> = orders.collect();
        let mut world = Self {
            shard: Shard::new(
                &plan.config,
                index,
                sender,
                &keys,
                plan.config
                    .sessions(SENT_BY.parse().expect("an address"), None),
                (start, EPOCH_S - start / SECOND),
            ),
            slabs: Slabs::new(plan.config.slabs as usize),
            network: Network::new(plan.faults),
            observer: Observer::new(limits),
            random,
            seed,
            plan,
            now: start,
            start,
            people,
            orders,
            taken: HashSet::new(),
            summaries: Vec::new(),
            names: Vec::new(),
            drain_until: None,
            stopped: false,
            looked_ns: start,
            trace: 0,
        };
        world.schedule();
        world
    }

    fn schedule(&mut self) {
        for number in 0..self.orders.len() {
            let at = self.start + self.random.below(self.plan.orders_within_ns);
            self.network.at(at, Event::Order(number));
        }
        for _ in 0..self.plan.changes {
            let at = self.start + self.random.below(self.plan.orders_within_ns + SECOND);
            self.network.at(at, Event::Change);
        }
        for (at, event) in [
            (self.plan.drain_at, Event::Drain),
            (self.plan.stop_at, Event::Stop),
        ] {
            if let Some(at) = at {
                self.network.at(self.start + at, event);
            }
        }
    }

    /// Turns until everything has ended and nothing is under way.
    fn live(&mut self) -> Result<(), Breach> {
        let mut idle = 0;
        loop {
            let busy = self.turn()?;
            idle = if busy { 0 } else { idle + 1 };
            let due = if self.stopped {
                None
            } else {
                self.shard.next_due_ns(self.now)
            };
            let next = [
                self.network.next_ns(),
                due,
                self.drain_until.filter(|_| !self.stopped),
            ];
            let Some(next) = next.into_iter().flatten().min() else {
                return ensure(self.stopped || self.shard.is_idle(), || {
                    format!("{} units wait for nothing", self.shard.in_flight())
                });
            };
            if self.is_over() {
                return Ok(());
            }
            ensure(next > self.now || idle < IDLE_TURNS_MAX, || {
                "the shard asks for turns and does nothing in them".to_owned()
            })?;
            ensure(self.now - self.start < RUN_NS_MAX, || {
                "the run does not end".to_owned()
            })?;
            // A turn takes time: a microsecond at least.
            self.now = next.max(self.now + 1_000);
        }
    }

    /// Whether nothing is left that could change anything.
    fn is_over(&self) -> bool {
        (self.stopped || self.shard.is_idle()) && self.network.next_ns().is_none()
    }

    /// One turn of the worker; whether anything happened.
    fn turn(&mut self) -> Result<bool, Breach> {
        let mut busy = self.happen()?;
        if self.stopped {
            return Ok(true);
        }
        self.shard.expire(self.now);
        self.shard.sweep(self.now);
        self.note_ends()?;
        busy |= self.shard.select(self.now, &mut ()) > 0;
        self.shard.depart(self.now, &mut self.slabs, &mut ());
        busy |= self.carry()?;
        self.note_ends()?;
        self.end_drain()?;
        let finished = || self.shard.finished(self.now);
        self.summaries.extend(std::iter::from_fn(finished));
        self.check_turn()?;
        Ok(busy)
    }

    /// Lets every event happen that is due; answers of one moment and length arrive as one train.
    fn happen(&mut self) -> Result<bool, Breach> {
        let mut busy = false;
        let mut train: Vec<u8> = Vec::new();
        let mut segment = 0;
        let mut truths: Vec<Truth> = Vec::new();
        while let Some(event) = self.network.take(self.now) {
            busy = true;
            let Event::Response(octets, truth) = event else {
                self.arrive(&mut train, segment, &mut truths)?;
                self.obey(event)?;
                continue;
            };
            // UDP_GRO: equal lengths, of which the last may be shorter.
            let fits =
                !train.is_empty() && octets.len() <= segment && train.len().is_multiple_of(segment);
            if !fits || octets.is_empty() {
                self.arrive(&mut train, segment, &mut truths)?;
                segment = octets.len();
            }
            train.extend_from_slice(&octets);
            truths.push(truth);
        }
        self.arrive(&mut train, segment, &mut truths)?;
        Ok(busy)
    }

    fn arrive(
        &mut self,
        train: &mut Vec<u8>,
        segment: usize,
        truths: &mut Vec<Truth>,
    ) -> Result<(), Breach> {
        if !truths.is_empty() && !self.stopped {
            let due: Vec<_> = truths
                .iter()
                .filter_map(|truth| self.observer.answered(self.now, *truth))
                .collect();
            self.shard.answer(self.now, EDGE, train, segment, &mut ());
            let log = self.shard.outcomes.as_ref().expect("it is on");
            self.observer.ended_by_answers(&due, log.entries())?;
        }
        train.clear();
        truths.clear();
        Ok(())
    }

    fn obey(&mut self, event: Event) -> Result<(), Breach> {
        match event {
            Event::Request(address, octets) => self.ask(address, &octets)?,
            Event::Response(..) => {}
            Event::SlabBack(slab, refused) => {
                if !self.stopped {
                    self.shard.sent(self.now, slab, refused);
                    self.note_ends()?;
                }
                self.slabs.give_back(slab);
            }
            Event::Order(number) => self.order(number)?,
            Event::Change => {
                let now_s = (EPOCH_S - self.start / SECOND + self.now / SECOND) as u32;
                let (people, random) = (&mut self.people, &mut self.random);
                self.shard
                    .change(|index| people.change(random, index, now_s));
            }
            Event::Drain => {
                self.shard.drain();
                self.drain_until
                    .get_or_insert(self.now + self.plan.drain_ns);
            }
            Event::Stop => self.stop()?,
        }
        Ok(())
    }

    /// A SIR reaches its device, which answers.
    fn ask(&mut self, address: SocketAddr, octets: &[u8]) -> Result<(), Breach> {
        let request = Message::parse(octets).map_err(|fault| fault.to_string())?;
        let device = self.people.by_uri(request.request_uri().unwrap_or(b""));
        let device = device.ok_or_else(|| format!("{address} does not know the device"))?;
        let behaviour = Behaviour::of(self.seed, device, self.plan.mixture);
        for (after, octets, truth) in devices::answer(&mut self.random, behaviour, &request) {
            let event = Event::Response(octets, truth);
            self.network
                .carry(&mut self.random, self.now + after, &event);
        }
        Ok(())
    }

    fn order(&mut self, number: usize) -> Result<(), Breach> {
        if self.stopped {
            return Ok(());
        }
        let planned = &self.orders[number];
        let order = planned.order(&self.shard.index);
        match self.shard.accept(self.now, order) {
            Ok(()) => {
                self.taken.insert(number);
                self.observer.accepted(self.now, planned);
                Ok(())
            }
            Err(refusal) => ensure(self.shard.is_draining(), || {
                format!("an order was refused: {refusal}")
            }),
        }
    }

    /// Carries what has departed into the network; whether anything has.
    fn carry(&mut self) -> Result<bool, Breach> {
        let departed = std::mem::take(&mut self.slabs.departed);
        let busy = !departed.is_empty();
        for departure in departed {
            let refused = self.random.chance(self.plan.refused_per_mille);
            for (target, octets) in departure.datagrams {
                self.observer.transmitted(
                    self.now,
                    target,
                    &octets,
                    (&self.people, &self.orders),
                )?;
                self.note_trace(target, &octets);
                if !refused {
                    let event = Event::Request(target, octets);
                    self.network.carry(&mut self.random, self.now, &event);
                }
            }
            let back = self.now + self.random.below(self.plan.slab_back_ns);
            self.network
                .at(back, Event::SlabBack(departure.slab, refused));
        }
        Ok(busy)
    }

    fn note_trace(&mut self, target: SocketAddr, octets: &[u8]) {
        let hash = sirocco_dispatch::outcome::hash(octets) ^ self.now ^ u64::from(target.port());
        self.trace = self.trace.rotate_left(7) ^ hash;
    }

    fn note_ends(&mut self) -> Result<(), Breach> {
        let log = self.shard.outcomes.as_ref().expect("it is on");
        self.observer.ended_otherwise(self.now, log.entries())
    }

    fn end_drain(&mut self) -> Result<(), Breach> {
        match self.drain_until {
            Some(until) if until <= self.now || self.shard.is_idle() => self.stop(),
            _ => Ok(()),
        }
    }

    /// The engine ends: what is left is cancelled and named.
    fn stop(&mut self) -> Result<(), Breach> {
        if self.stopped {
            return Ok(());
        }
        self.stopped = true;
        let names = &mut self.names;
        self.shard
            .cancel(self.now, |remainder| names.push(remainder));
        for name in &self.names {
            self.check_name(name)?;
        }
        self.note_ends()?;
        let finished = || self.shard.finished(self.now);
        self.summaries.extend(std::iter::from_fn(finished));
        self.check_turn()
    }

    /// A cancelled unit is named as it was ordered, and says truly whether its SIR was sent.
    fn check_name(&self, name: &Remainder) -> Result<(), Breach> {
        let order = self.orders.iter().find(|order| order.name == name.order);
        let order = order.ok_or_else(|| format!("{} is no order", name.order))?;
        let Some(device) = &name.device else {
            return ensure(!name.sent, || "a SIR was sent to no device".to_owned());
        };
        let uri = format!("{};gr={device}", name.identity);
        let device = self.people.by_uri(uri.as_bytes());
        let device = device.ok_or_else(|| format!("{uri} was cancelled, but is nobody"))?;
        ensure(order.times(&self.people.devices[device]) > 0, || {
            format!("{uri} was not wanted")
        })?;
        ensure(
            !name.sent || self.observer.is_pending(device, &order.application),
            || format!("{uri} has no SIR in flight, though it says so"),
        )
    }

    fn check_turn(&mut self) -> Result<(), Breach> {
        let residue = self.shard.ledger.residue(self.shard.in_flight());
        ensure(residue == 0, || format!("the ledger is out by {residue}"))?;
        let (open, seen) = (self.shard.transactions_open() as u64, self.observer.open());
        ensure(open >= seen, || {
            format!("{open} transactions for {seen} SIRs in flight")
        })?;
        if self.now >= self.looked_ns + LOOK_EVERY_NS && self.slabs.free() > 0 && !self.stopped {
            self.looked_ns = self.now;
            self.observer.check_timers(self.now)?;
        }
        Ok(())
    }
}
