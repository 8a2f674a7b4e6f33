//! Many devices and the sessions over a network that loses, doubles and reorders, by seed.
//!
//! The devices are a second reading of RFC 3261: a client with its own timers that knows nothing of the server but
//! what came over the network. What both sides saw is compared at the end.

use super::*;
use crate::{Content, Host, Invitation, Outbox, StreamId};
use sirocco_wire::sip::{Message, Method, Status, write};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

const DEVICES: usize = 120;
/// Edges that the devices stand behind, and the port of the first.
const EDGES: u16 = 4;
const EDGE_PORT: u16 = 10_000;
const MS: u64 = 1_000_000;
const SEEDS: u64 = 24;

/// SplitMix64: the whole run follows from the seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    fn percent(&mut self, share: u64) -> bool {
        self.next() % 100 < share
    }
}

/// What a network does to datagrams, in percent, and how long it takes them.
#[derive(Clone, Copy)]
struct Weather {
    lost: u64,
    doubled: u64,
    delay_ms_max: u64,
}

/// Datagrams on their way, by arrival.
struct Air {
    chance: Chance,
    weather: Weather,
    now: u64,
    serial: u64,
    on_its_way: BTreeMap<(u64, u64), (SocketAddr, Vec<u8>)>,
}

impl Air {
    fn send(&mut self, target: SocketAddr, octets: &[u8]) {
        if self.chance.percent(self.weather.lost) {
            return;
        }
        let copies = 1 + usize::from(self.chance.percent(self.weather.doubled));
        for _ in 0..copies {
            let delay = 1 + self.chance.next() % (self.weather.delay_ms_max * MS);
            self.serial += 1;
            self.on_its_way
                .insert((self.now + delay, self.serial), (target, octets.to_vec()));
        }
    }
}

impl Outbox for Air {
    fn datagram(&mut self, peer: SocketAddr, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        let mut room = [0; 2_048];
        let length = write(&mut room);
        assert!(length > 0 && length.is_multiple_of(16));
        self.send(peer, &room[..length]);
        true
    }

    fn stream(&mut self, _: StreamId, _: &[u8]) -> bool {
        unreachable!("no device has a connection")
    }

    fn close(&mut self, _: StreamId) {}
}

/// Grants each token once; the owner is the device's number.
#[derive(Default)]
struct Ledger {
    used: HashMap<Vec<u8>, u64>,
    events: HashMap<u64, Vec<SessionEvent>>,
    content: Vec<u8>,
}

impl Host for Ledger {
    fn admit(
        &mut self,
        _: u64,
        invitation: &Invitation<'_>,
        takes: impl FnOnce(&Content<'_>) -> bool,
    ) -> Result<Grant, Refusal> {
        let number = std::str::from_utf8(invitation.token)
            .ok()
            .and_then(|token| token.parse().ok());
        let Some(number) = number else {
            return Err(Refusal::TokenForged);
        };
        if !self
            .content([0; 2], 1)
            .is_some_and(|content| takes(&content))
        {
            return Err(Refusal::ContentUntaken);
        }
        if self
            .used
            .insert(invitation.token.to_vec(), number)
            .is_some()
        {
            return Err(Refusal::TokenUsed);
        }
        Ok(Grant {
            content: 1,
            owner: [number, 0],
        })
    }

    fn content(&self, _: [u64; 2], _: u16) -> Option<Content<'_>> {
        Some(Content {
            content_type: "text/plain",
            octets: &self.content,
            prefer: Push::Auto,
        })
    }

    fn returned(&mut self, _: u64, _: &Invitation<'_>, _: &[u8]) -> Result<(), Refusal> {
        Err(Refusal::TokenForged)
    }

    fn register(&mut self, _: u64, _: &Invitation<'_>, _: &[u8], _: u32) -> Result<(), Refusal> {
        Err(Refusal::TokenForged)
    }

    fn note(&mut self, _: u64, owner: [u64; 2], _: u16, event: SessionEvent) {
        self.events.entry(owner[0]).or_default().push(event);
    }
}

/// A request of a device that is repeated until it is answered.
struct Pending {
    octets: Vec<u8>,
    method: Method<'static>,
    next: u64,
    interval: u64,
    until: u64,
}

/// One device: a client of RFC 3261, in few words.
struct Caller {
    number: usize,
    address: SocketAddr,
    token: String,
    pending: Option<Pending>,
    ack: Option<Vec<u8>>,
    tag: String,
    contents: Vec<u32>,
    byes: u32,
    refused: Option<u16>,
    /// Sends BYE itself once it has the content.
    ends: bool,
    /// Says nothing any more from this moment on.
    vanishes: u64,
    cseq: u32,
}

impl Caller {
    fn request(&self, method: &str, cseq: u32) -> Vec<u8> {
        let to_tag = if self.tag.is_empty() {
            String::new()
        } else {
            format!(";tag={}", self.tag)
        };
        let uri = if method == "INVITE" {
            format!(";t={}", self.token)
        } else {
            String::new()
        };
        let contact = format!("Contact: <sip:d@{}>\r\n", self.address);
        format!(
            "{method} sip:ppg@127.0.0.1:5070{uri} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {};branch=z9hG4bK{method}{cseq}n{}\r\n\
             From: <sip:d@h>;tag=f{}\r\nTo: <sip:ppg@127.0.0.1:5070>{to_tag}\r\n\
             Call-ID: call{}\r\nCSeq: {cseq} {method}\r\n{contact}Content-Length: 0\r\n\r\n",
            self.address, self.number, self.number, self.number,
        )
        .into_bytes()
    }

    fn begin(&mut self, air: &mut Air, method: Method<'static>) {
        self.cseq += 1;
        let name = std::str::from_utf8(method.name()).expect("a name");
        let octets = self.request(name, self.cseq);
        air.send(engine(), &octets);
        self.pending = Some(Pending {
            octets,
            method,
            next: air.now + T1_NS,
            interval: T1_NS,
            until: air.now + TRANSACTION_NS,
        });
    }

    fn tick(&mut self, air: &mut Air) {
        let Some(pending) = &mut self.pending else {
            return;
        };
        if air.now >= pending.until || air.now >= self.vanishes {
            self.pending = None;
            return;
        }
        if air.now >= pending.next {
            air.send(engine(), &pending.octets);
            pending.interval = (2 * pending.interval).min(T2_NS);
            pending.next += pending.interval;
        }
    }

    fn hear(&mut self, air: &mut Air, octets: &[u8]) {
        if air.now >= self.vanishes {
            return;
        }
        let message = Message::parse(octets).expect("the engine sends SIP");
        let Some(method) = message.method() else {
            self.answered(air, &message);
            return;
        };
        let cseq = message.cseq().expect("a CSeq").number;
        match method {
            Method::Message => {
                if !self.contents.contains(&cseq) {
                    self.contents.push(cseq);
                }
            }
            Method::Bye => self.byes += 1,
            _ => panic!("the engine sent {method:?}"),
        }
        let mut room = [0; 2_048];
        let length = write::response(&mut room, &message, Status::OK, b"", &[]).expect("room");
        air.send(engine(), &room[..length]);
        let first = self.contents.len() == 1 && self.pending.is_none();
        if method == Method::Message && self.ends && first && self.cseq == 1 {
            self.begin(air, Method::Bye);
        }
    }

    fn answered(&mut self, air: &mut Air, message: &Message<'_>) {
        let status = message.status_code().expect("a response");
        let cseq = message.cseq().expect("a CSeq");
        let settles = self
            .pending
            .as_ref()
            .is_some_and(|pending| pending.method == cseq.method);
        if cseq.method == Method::Invite && status == 200 {
            let tag = message.to_tag().expect("a tag");
            self.tag = String::from_utf8_lossy(tag).into_owned();
            let ack = self.ack.take().unwrap_or_else(|| self.request("ACK", 1));
            air.send(engine(), &ack);
            self.ack = Some(ack);
        } else if settles && status >= 300 {
            self.refused = Some(status);
        }
        if settles {
            self.pending = None;
        }
    }
}

fn engine() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5070))
}

struct World {
    sessions: Sessions,
    ledger: Ledger,
    air: Air,
    callers: Vec<Caller>,
    /// Messages that were recognised without parsing.
    familiar: u64,
}

impl World {
    fn new(seed: u64, weather: Weather, end: End) -> Self {
        let config = SessionConfig {
            end,
            hold_ms_max: 60_000,
            sessions_max: 1_000,
            ..config()
        };
        let mut chance = Chance(seed);
        let callers = (0..DEVICES).map(|number| Caller {
            number,
            address: SocketAddr::from(([10, 0, 0, 1], EDGE_PORT + number as u16 % EDGES)),
            // Some tokens are forged, some are used twice.
            token: match chance.next() % 10 {
                0 => "forged".to_owned(),
                1 => (number.saturating_sub(1)).to_string(),
                _ => number.to_string(),
            },
            pending: None,
            ack: None,
            tag: String::new(),
            contents: vec![],
            byes: 0,
            refused: None,
            ends: chance.percent(if end == End::Device { 90 } else { 20 }),
            vanishes: if chance.percent(10) {
                chance.next() % (2_000 * MS)
            } else {
                u64::MAX
            },
            cseq: 0,
        });
        let callers = callers.collect();
        let air = Air {
            chance,
            weather,
            now: 0,
            serial: 0,
            on_its_way: BTreeMap::new(),
        };
        let ledger = Ledger {
            content: vec![b'x'; 200],
            ..Ledger::default()
        };
        Self {
            sessions: Sessions::new(config, [seed, 1], 0),
            ledger,
            air,
            callers,
            familiar: 0,
        }
    }

    fn run(&mut self) {
        for step in 0..40_000u64 {
            self.air.now = step * 5 * MS;
            if step.is_multiple_of(2)
                && let Some(caller) = self.callers.get_mut(step as usize / 2)
            {
                caller.begin(&mut self.air, Method::Invite);
            }
            while let Some(entry) = self.air.on_its_way.first_entry() {
                if entry.key().0 > self.air.now {
                    break;
                }
                let (target, octets) = entry.remove();
                self.arrive(target, &octets);
            }
            self.sessions
                .expire(self.air.now, &mut self.ledger, &mut self.air);
            self.callers
                .iter_mut()
                .for_each(|caller| caller.tick(&mut self.air));
            assert_eq!(self.sessions.counts().residue(), 0);
        }
    }

    fn arrive(&mut self, target: SocketAddr, octets: &[u8]) {
        let message = Message::parse(octets).expect("both sides send SIP");
        let call_id = message.call_id().expect("a Call-ID");
        let number = std::str::from_utf8(&call_id[4..])
            .ok()
            .and_then(|number| number.parse().ok());
        let caller: &mut Caller = &mut self.callers[number.unwrap_or(usize::MAX)];
        if target.port() >= EDGE_PORT {
            caller.hear(&mut self.air, octets);
            return;
        }
        let (now, peer) = (self.air.now, caller.address);
        let (ledger, air) = (&mut self.ledger, &mut self.air);
        if self.sessions.familiar(now, peer, octets, ledger, air) {
            self.familiar += 1;
            return;
        }
        let path = Path::Datagram { peer };
        if message.status_code().is_some() {
            assert!(self.sessions.response(now, path, &message, ledger, air));
        } else {
            self.sessions.request(now, path, &message, ledger, air);
        }
    }

    fn verify(&self, seed: u64) {
        let counts = self.sessions.counts();
        assert_eq!(self.sessions.len(), 0, "seed {seed}: {counts:?}");
        assert_eq!(counts.opened as usize, self.ledger.events.len());
        for (owner, events) in &self.ledger.events {
            let of = |wanted: fn(&SessionEvent) -> bool| {
                events.iter().filter(|event| wanted(event)).count()
            };
            let settled = of(|event| {
                matches!(
                    event,
                    SessionEvent::Delivered | SessionEvent::Failed(_) | SessionEvent::Missed(_)
                )
            });
            let ended = of(|event| matches!(event, SessionEvent::Ended { .. }));
            assert_eq!(
                (settled, ended),
                (1, 1),
                "seed {seed}, device {owner}: {events:?}"
            );
            assert!(matches!(events.last(), Some(SessionEvent::Ended { .. })));
        }
        let mut delivered = 0;
        for caller in &self.callers {
            assert!(caller.contents.len() <= 1, "seed {seed}: pushed twice");
            delivered += caller.contents.len() as u64;
        }
        assert!(
            counts.delivered <= delivered,
            "seed {seed}: nobody claims what did not arrive"
        );
    }
}

#[test]
fn nothing_leaks_and_nothing_is_claimed_over_a_bad_network() {
    for seed in 0..SEEDS {
        let end = if seed % 2 == 0 {
            End::Engine {
                linger_ms: seed as u32 % 3 * 700,
            }
        } else {
            End::Device
        };
        let weather = Weather {
            lost: seed % 11,
            doubled: seed % 10,
            delay_ms_max: 1 + seed % 5 * 200,
        };
        let mut world = World::new(seed, weather, end);
        world.run();
        world.verify(seed);
    }
}

#[test]
fn over_a_good_network_every_session_delivers() {
    let mut world = World::new(
        7,
        Weather {
            lost: 0,
            doubled: 0,
            delay_ms_max: 20,
        },
        End::Engine { linger_ms: 0 },
    );
    world.callers.iter_mut().for_each(|caller| {
        caller.vanishes = u64::MAX;
        caller.ends = false;
        caller.token = caller.number.to_string();
    });
    world.run();
    world.verify(7);
    assert!(
        world.familiar > DEVICES as u64,
        "devices of one kind are familiar"
    );
    let counts = world.sessions.counts();
    let expected = DEVICES as u64;
    assert_eq!(
        (counts.opened, counts.established, counts.delivered),
        (expected, expected, expected)
    );
    assert_eq!(
        (
            counts.retransmissions,
            counts.refused.total(),
            counts.strays.total()
        ),
        (0, 0, 0)
    );
    assert!(world.callers.iter().all(|caller| caller.refused.is_none()));
}

#[test]
fn memory_follows_what_is_open_and_stays() {
    let mut device = Device::new(SessionConfig {
        sessions_max: 1_000,
        refusals_per_s_max: 1_000_000,
        ..config()
    });
    let mut plateau = 0;
    for round in 0..40 {
        for call in 0..100 {
            device.call_id = format!("call-{round}-{call}");
            device.people.verdict = match call % 3 {
                0 => Err(Refusal::TokenForged),
                _ => People::new().verdict,
            };
            device.say(&device.invite(""));
            let response = device.net.one();
            if response.starts_with("SIP/2.0 200") {
                device.learn_tag(&response);
                device.say(&device.inside("BYE", 2, "", ""));
                device.net.datagrams.clear();
            }
        }
        device.wait(SECOND);
        if round == 4 {
            plateau = device.sessions.memory_bytes();
        }
    }
    assert_eq!(device.sessions.memory_bytes(), plateau);
}
