//! One run with sessions: the shard, a bad network, TCP, and devices that follow their SIRs.
//!
//! A turn does what the worker does, in its order: datagrams, connections, orders, timers, selection,
//! departures. After every turn the books have to balance.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::rc::Rc;

use sirocco_dispatch::order::Order;
use sirocco_dispatch::shard::{Keys, Shard};
use sirocco_dispatch::streams::{Taken, Told};
use sirocco_dispatch::templates::Sender;
use sirocco_session::{SessionConfig, StreamId, StreamKind};
use sirocco_wire::sip::message::{Message, Method};

use super::cables::Cables;
use super::call::{Call, Heard, Title};
use super::campaign::Campaign;
use super::msrp::Unfinished;
use super::plan::Plan;
use super::witness::Witness;
use crate::network::Network;
use crate::observer::{Breach, ensure};
use crate::outbox::Slabs;
use crate::people::{IMEI_NAMESPACE, People, Shape};
use crate::random::{Random, mix};
use crate::world::MS;

/// Where the shard is.
pub const SENT_BY: &str = "127.0.0.1:5070";
/// Where it listens for MSRP.
const MSRP: &str = "127.0.0.1:2855";
/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;
/// Unix time at which a run starts, in seconds.
const EPOCH_S: u64 = 1_700_000_000;
/// Longest simulated time of a run: every session's longest life, many times.
const RUN_NS_MAX: u64 = 7_200 * SECOND;
/// Turns in a row that do nothing though the shard asked for them.
const IDLE_TURNS_MAX: u32 = 300;
/// The longest sleep of a worker that has connections or sessions.
const SLEEP_NS_MAX: u64 = SECOND;

/// Something that happens at a time.
#[derive(Clone, Debug)]
pub enum Event {
    /// A datagram arrives at an edge or a device.
    ToDevice(Rc<[u8]>),
    /// A datagram arrives at the engine.
    ToEngine(SocketAddr, Rc<[u8]>),
    /// The kernel is done with a slab.
    SlabBack(usize, bool),
    /// An order comes in.
    Order(usize),
    /// A call begins.
    Begin(usize),
    /// A timer of a call may be due.
    Wake(usize),
    /// A device ends its session.
    HangUp(usize),
    /// Octets arrive at the engine over a connection.
    Octets(StreamId, Rc<[u8]>),
    /// A device reads from its connection.
    Read(StreamId),
    /// A forged INVITE leaves some address.
    Forged,
    /// The engine is told to end.
    Drain,
}

/// What a call needs of the world.
pub struct Sky<'a> {
    /// The time.
    pub now: u64,
    random: &'a mut Random,
    network: &'a mut Network<Event>,
}

impl Sky<'_> {
    /// Sends a datagram to the engine.
    pub fn send_to_engine(&mut self, peer: SocketAddr, octets: &Rc<[u8]>) {
        let event = Event::ToEngine(peer, octets.clone());
        self.network.carry(self.random, self.now, &event);
    }

    /// Calls a call at a time.
    pub fn wake(&mut self, at: u64, call: usize) {
        self.network.at(at, Event::Wake(call));
    }
}

/// All of one run.
pub struct World {
    pub(super) random: Random,
    pub(super) plan: Plan,
    pub(super) now: u64,
    pub(super) start: u64,
    pub(super) shard: Shard,
    slabs: Slabs,
    pub(super) network: Network<Event>,
    pub(super) people: People,
    pub(super) campaigns: Vec<Campaign>,
    pub(super) calls: Vec<Call>,
    /// SIRs that each device has seen, by Call-ID.
    pub(super) seen: HashSet<(usize, Vec<u8>)>,
    /// Devices of each identity.
    pub(super) devices_of: HashMap<String, Vec<usize>>,
    pub(super) cables: Cables,
    pub(super) unfinished: Unfinished,
    pub(super) witness: Witness,
    pub(super) is_drained: bool,
    pub(super) forged: u64,
    /// Allocations of the shard while it read what strangers forged.
    pub(super) forged_allocations: u64,
    pub(super) trace: u64,
    looked_ns: u64,
    bytes_max: usize,
}

impl World {
    /// Builds the world of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(mix(seed ^ 0x6361_6c6c_7300));
        let plan = Plan::draw(&mut random);
        Self::with_plan(random, plan)
    }

    /// Builds a world of its own plan.
    pub fn with_plan(mut random: Random, plan: Plan) -> Self {
        let shape = Shape {
            identities: plan.identities,
            hops: random.between(1, 24),
            direct_per_mille: plan.direct_per_mille,
            volatile_per_mille: 0,
        };
        let mut people = People::draw(&mut random, &shape);
        let index = people.load(&mut random);
        let start = random.below(1 << 50);
        let session = SessionConfig {
            hold_ms_max: plan.hold_ms,
            ..plan
                .config
                .sessions(address(SENT_BY), plan.has_msrp.then(|| address(MSRP)))
        };
        let sender = Sender {
            sent_by: SENT_BY.to_owned(),
            from: plan.config.from.clone(),
            from_tag: "0f1e2d3c".to_owned(),
            ppg_uri: format!("sip:ppg@{SENT_BY}"),
            sir_key: None,
        };
        let time = (start, EPOCH_S - start / SECOND);
        let keys = draw_keys(&mut random);
        let shard = Shard::new(&plan.config, index, sender, &keys, session, time);
        let campaigns = (0..plan.orders as usize)
            .map(|number| Campaign::draw(&mut random, &people, number))
            .collect();
        let devices_of = people.settled.iter().cloned().collect();
        let mut world = Self {
            slabs: Slabs::new(plan.config.slabs as usize),
            network: Network::new(plan.faults),
            random,
            now: start,
            start,
            bytes_max: 0,
            shard,
            people,
            campaigns,
            calls: Vec::new(),
            seen: HashSet::new(),
            devices_of,
            cables: Cables::default(),
            unfinished: Unfinished::new(),
            witness: Witness::default(),
            is_drained: false,
            forged: 0,
            forged_allocations: 0,
            trace: 0,
            looked_ns: start,
            plan,
        };
        world.bytes_max = world.bytes_bound();
        world.schedule();
        world
    }

    /// What sessions may cost at most, whoever sends what.
    fn bytes_bound(&self) -> usize {
        let session = SessionConfig::default();
        let each = 1_024 + session.text_bytes_per_session_max;
        let stream = 2_048 + session.stream_bytes_max;
        let config = &self.plan.config;
        self.shard.session_bytes()
            + config.sessions_max as usize * each
            + (config.streams_max as usize * stream).min(session.stream_bytes_total_max)
            + (4 << 20)
    }

    fn schedule(&mut self) {
        for number in 0..self.campaigns.len() {
            let at = self.start + self.random.below(self.plan.orders_within_ns);
            self.network.at(at, Event::Order(number));
        }
        if let Some(at) = self.plan.drain_at {
            self.network.at(self.start + at, Event::Drain);
        }
    }

    /// Turns until everything has ended and nothing is under way.
    pub fn live(&mut self) -> Result<(), Breach> {
        let mut idle = 0;
        loop {
            let busy = self.turn()?;
            idle = if busy { 0 } else { idle + 1 };
            let due = self.shard.next_due_ns(self.now);
            let holds = self.cables.len() > 0 || self.shard.session_counts().open > 0;
            let sleeps = holds.then_some(self.now + SLEEP_NS_MAX);
            let next = [self.network.next_ns(), due, sleeps];
            let Some(next) = next.into_iter().flatten().min() else {
                return ensure(self.shard.is_idle(), || {
                    format!(
                        "{} sessions wait for nothing",
                        self.shard.session_counts().open
                    )
                });
            };
            ensure(next > self.now || idle < IDLE_TURNS_MAX, || {
                "the shard asks for turns and does nothing in them".to_owned()
            })?;
            ensure(self.now - self.start < RUN_NS_MAX, || {
                "the run does not end".to_owned()
            })?;
            self.now = next.max(self.now + 1_000);
        }
    }

    /// One turn of the worker; whether anything happened.
    pub(super) fn turn(&mut self) -> Result<bool, Breach> {
        let mut busy = self.happen()?;
        busy |= self.serve_cables()?;
        self.shard.expire(self.now);
        self.shard.sweep(self.now);
        busy |= self.shard.select(self.now, &mut ()) > 0;
        self.shard.depart(self.now, &mut self.slabs, &mut ());
        busy |= self.carry()?;
        busy |= self.serve_cables()?;
        while self.shard.finished(self.now).is_some() {}
        self.check()?;
        Ok(busy)
    }

    /// Lets every event happen that is due; datagrams of one peer and length arrive as one train.
    fn happen(&mut self) -> Result<bool, Breach> {
        let mut busy = false;
        let mut train: Vec<u8> = Vec::new();
        let mut of = (address(SENT_BY), 0);
        while let Some(event) = self.network.take(self.now) {
            busy = true;
            let Event::ToEngine(peer, octets) = event else {
                self.arrive(&mut train, of);
                self.obey(event)?;
                continue;
            };
            if of != (peer, octets.len()) {
                self.arrive(&mut train, of);
                of = (peer, octets.len());
            }
            train.extend_from_slice(&octets);
        }
        self.arrive(&mut train, of);
        Ok(busy)
    }

    fn arrive(&mut self, train: &mut Vec<u8>, (peer, segment): (SocketAddr, usize)) {
        if !train.is_empty() {
            self.shard.answer(self.now, peer, train, segment, &mut ());
            self.shard.reply(&mut self.slabs);
            train.clear();
        }
    }

    fn obey(&mut self, event: Event) -> Result<(), Breach> {
        match event {
            Event::ToDevice(octets) => return self.deliver(&octets),
            Event::ToEngine(..) => {}
            Event::SlabBack(slab, refused) => {
                self.shard.sent(self.now, slab, refused);
                self.slabs.give_back(slab);
            }
            Event::Order(number) => {
                let order = Order::read(&self.campaigns[number].json).expect("a sound order");
                let taken = self.shard.accept(self.now, order);
                return ensure(taken.is_ok() || self.is_drained, || format!("{taken:?}"));
            }
            Event::Begin(number) => {
                for _ in 0..self.plan.flood {
                    let at = self.now + self.random.below(100 * MS);
                    self.network.at(at, Event::Forged);
                }
                self.with_call(number, Call::begin);
            }
            Event::Wake(number) => self.with_call(number, Call::wake),
            Event::HangUp(number) => self.with_call(number, Call::hang_up),
            Event::Octets(stream, octets) => {
                if self.cables.find(stream).is_some() {
                    self.shard.stream_octets(self.now, stream, &octets);
                }
            }
            Event::Read(stream) => return self.read(stream),
            Event::Forged => self.forge(),
            Event::Drain => {
                self.is_drained = true;
                self.shard.drain();
                self.shard.hang_up(self.now);
            }
        }
        Ok(())
    }

    fn with_call<T>(&mut self, number: usize, act: impl FnOnce(&mut Call, &mut Sky<'_>) -> T) -> T {
        let mut sky = Sky {
            now: self.now,
            random: &mut self.random,
            network: &mut self.network,
        };
        act(&mut self.calls[number], &mut sky)
    }

    /// A datagram reaches the devices: a SIR, or a message of a call.
    fn deliver(&mut self, octets: &[u8]) -> Result<(), Breach> {
        let message = Message::parse(octets).map_err(|fault| fault.to_string())?;
        let call_id = message.call_id().unwrap_or(b"");
        let Some(number) = Call::number_of(call_id) else {
            return self.take_sir(&message);
        };
        match self.with_call(number, |call, sky| call.hear(sky, &message)) {
            Heard::Nothing => {}
            Heard::Accepted(path) => {
                if let Some(path) = path {
                    self.bind(number, &path);
                }
            }
            Heard::Content(cseq, content) => {
                self.note_content(number, &cseq.to_be_bytes(), &content)?;
            }
            Heard::Restarted => {
                let Call {
                    device,
                    campaign,
                    token,
                    ..
                } = &self.calls[number];
                let (who, token) = ((*device, *campaign), token.clone());
                self.call(who, &token, Title::Used, 2 * SECOND);
            }
        }
        Ok(())
    }

    pub(super) fn note_content(
        &mut self,
        number: usize,
        name: &[u8],
        content: &[u8],
    ) -> Result<(), Breach> {
        let call = &self.calls[number];
        let person = &self.people.devices[call.device];
        self.witness
            .got((call, name), content, person, &self.campaigns)?;
        if let Some(after) = call.hangs_up_ns {
            self.network.at(self.now + after, Event::HangUp(number));
        }
        Ok(())
    }

    /// Carries what has departed into the network; whether anything has.
    fn carry(&mut self) -> Result<bool, Breach> {
        let departed = std::mem::take(&mut self.slabs.departed);
        let busy = !departed.is_empty();
        for departure in departed {
            let refused = self.random.chance(self.plan.refused_per_mille);
            for (target, octets) in departure.datagrams {
                let hash =
                    sirocco_dispatch::outcome::hash(&octets) ^ self.now ^ u64::from(target.port());
                self.trace = self.trace.rotate_left(7) ^ hash;
                if self.note_departure(&octets)? && !refused {
                    let event = Event::ToDevice(octets);
                    self.network.carry(&mut self.random, self.now, &event);
                }
            }
            let back = self.now + self.random.below(100_000);
            self.network
                .at(back, Event::SlabBack(departure.slab, refused));
        }
        Ok(busy)
    }

    /// Checks a datagram that leaves; whether a device is to get it.
    fn note_departure(&mut self, octets: &Rc<[u8]>) -> Result<bool, Breach> {
        let message = Message::parse(octets).map_err(|fault| fault.to_string())?;
        let call_id = message.call_id().unwrap_or(b"");
        if call_id.starts_with(b"forged-") {
            let status = message.status_code();
            return ensure(status.is_some_and(|status| status >= 400), || {
                format!("a forged request got {status:?}")
            })
            .map(|()| false);
        }
        if let Some(number) = Call::number_of(call_id) {
            self.witness.left(self.now, octets, &self.calls[number])?;
        } else {
            ensure(message.method() == Some(Method::Message), || {
                "neither SIR nor of a call".to_owned()
            })?;
        }
        Ok(true)
    }

    /// The books after a turn.
    fn check(&mut self) -> Result<(), Breach> {
        let residue = self.shard.ledger.residue(self.shard.in_flight());
        ensure(residue == 0, || format!("the ledger is out by {residue}"))?;
        let counts = self.shard.session_counts();
        ensure(counts.residue() == 0, || {
            format!("sessions are out by {}", counts.residue())
        })?;
        if self.now < self.looked_ns + 20 * MS {
            return Ok(());
        }
        self.looked_ns = self.now;
        let pushes = self.shard.pushes();
        ensure(pushes.residue == 0, || {
            format!("pushes are out: {pushes:?}")
        })?;
        let may_be_open = self
            .witness
            .may_be_open(self.now, self.plan.session_ns_max());
        ensure(counts.open as usize <= may_be_open, || {
            format!("{} sessions are open, {may_be_open} may be", counts.open)
        })?;
        let bytes = self.shard.session_bytes();
        ensure(bytes <= self.bytes_max, || {
            format!("sessions take {bytes} octets, more than {}", self.bytes_max)
        })
    }

    /// Moves octets of connections between the shard and the devices; whether there were any.
    fn serve_cables(&mut self) -> Result<bool, Breach> {
        let mut busy = self.hand_over();
        for stream in self.shard.replies().streams.take_drained() {
            let cables = &mut self.cables;
            let send = |octets: &[u8]| cables.send(stream, octets);
            if self.shard.replies().streams.drained(stream, send) {
                self.shard.stream_drained(self.now, stream);
                busy = true;
            }
        }
        while let Some(stream) = self.shard.replies().streams.take_gone() {
            self.shard.stream_closed(self.now, stream);
            busy = true;
        }
        busy |= self.hand_over();
        let now = self.now;
        for (stream, cable) in self.cables.unread() {
            cable.is_reading = true;
            self.network
                .at(now + cable.reader.every_ns, Event::Read(stream));
        }
        Ok(busy)
    }

    fn hand_over(&mut self) -> bool {
        let writes = &mut self.shard.replies().streams;
        if writes.is_empty() {
            return false;
        }
        let (cables, mut lost) = (&mut self.cables, Vec::new());
        writes.hand_over(|stream, told| match told {
            Told::Octets(octets) => cables.send(stream, octets),
            Told::Close => {
                lost.extend(cables.close(stream));
                Taken::All
            }
        });
        for call in lost {
            self.calls[call].lost_cable = true;
        }
        true
    }

    /// A connection is reset by its device.
    fn reset(&mut self, stream: StreamId) {
        for call in self.cables.close(stream) {
            self.calls[call].lost_cable = true;
        }
        self.shard.replies().streams.note_gone(stream);
    }

    pub(super) fn read(&mut self, stream: StreamId) -> Result<(), Breach> {
        let Some(cable) = self.cables.find(stream) else {
            return Ok(());
        };
        if cable.read() {
            self.shard.replies().streams.note_drained(stream);
        }
        if cable.reset_after == Some(0) {
            self.reset(stream);
            return Ok(());
        }
        self.take_messages(stream)
    }

    pub(super) fn open_cable(&mut self, stream: StreamId, peer: SocketAddr) {
        self.shard
            .stream_opened(self.now, stream, StreamKind::Msrp, peer);
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn draw_keys(random: &mut Random) -> Keys {
    let mut word = || random.word();
    Keys {
        branch: [word(), word()],
        token: [word(), word()],
        session: [word(), word()],
        owner: [word(), word()],
        pending: [word(), word(), word(), word()],
        imei: Some(IMEI_NAMESPACE),
    }
}
