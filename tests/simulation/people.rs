//! The model of the population: every identity and device as the test knows them, apart from the index.
//!
//! Most identities are settled: nothing changes them, so what an order for them must do is known exactly.
//! The rest are volatile: they are inserted, moved and removed while dispatching, and may or may not get
//! what was ordered meanwhile, but nothing that was not.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::SocketAddr;

use sirocco_index::population::{Policy, load_from, parse_device_id};
use sirocco_index::{Bearer, Change, DeviceEntry, EXPIRES_NEVER, Index, NEXT_HOP_DIRECT};
use sirocco_wire::identity::{PackedDevice, obfuscate_imei};

use crate::random::Random;

/// Whether what the index keeps as text (names, some device ids, IPv6 contacts) changes as well.
const TEXTS_CHANGE: bool = true;

/// Under which IMEIs are obfuscated.
pub const IMEI_NAMESPACE: [u8; 16] = *b"simulated secret";

/// One device of the model.
pub struct Person {
    /// The user identity, as text.
    pub aor: String,
    /// The device identity as the population spells it.
    pub device: String,
    /// The Request-URI that its SIRs must have.
    pub uri: String,
    /// Every address that its SIRs may go to: one, unless it was moved.
    pub addresses: Vec<SocketAddr>,
    /// Whether its SIRs go to its own address.
    pub is_direct: bool,
    /// Capability bits.
    pub capability: u8,
    /// Preference, 0 to 15.
    pub preference: u8,
    /// Subscription bits.
    pub subscription: u8,
    /// Whether a session is up.
    pub connected: bool,
    /// Whether it was ever in the index.
    pub was_there: bool,
}

impl Person {
    /// The device identity as it is shown to others: an IMEI is obfuscated.
    pub fn shown(&self) -> &str {
        &self.uri[self.aor.len() + ";gr=".len()..]
    }
}

/// All identities and devices.
pub struct People {
    /// All devices.
    pub devices: Vec<Person>,
    /// Settled identities: their text and their devices.
    pub settled: Vec<(String, Vec<usize>)>,
    /// Volatile identities: their text and their devices, those still to come included.
    pub volatile: Vec<(String, Vec<usize>)>,
    /// Next hops.
    pub hops: Vec<SocketAddr>,
    by_uri: HashMap<String, usize>,
}

/// What a population is to be like.
pub struct Shape {
    /// Identities.
    pub identities: u64,
    /// Next hops.
    pub hops: u64,
    /// Devices that are addressed themselves, in a thousand.
    pub direct_per_mille: u64,
    /// Identities that change, in a thousand.
    pub volatile_per_mille: u64,
}

impl People {
    /// Draws a population.
    pub fn draw(random: &mut Random, shape: &Shape) -> Self {
        let hop = |number| SocketAddr::from(([127, 0, 0, 1], 10_000 + number as u16));
        let mut people = Self {
            devices: Vec::new(),
            settled: Vec::new(),
            volatile: Vec::new(),
            hops: (0..shape.hops).map(hop).collect(),
            by_uri: HashMap::new(),
        };
        for number in 0..shape.identities {
            let is_volatile = random.chance(shape.volatile_per_mille);
            let is_plain = is_volatile && !TEXTS_CHANGE;
            let aor = match random.below(12) {
                _ if is_plain => format!("sip:+86138{number:08}@ims.example"),
                0 => format!("sip:user-{number}.{}@ims.example", random.below(100)),
                1 => format!("sip:+49{number:09}@carrier.example"),
                2 => format!(
                    "sip:{number}@{}.example",
                    ["east", "west"][number as usize % 2]
                ),
                _ => format!("sip:+86138{number:08}@ims.example"),
            };
            let devices: Vec<_> = (0..random.between(1, 4))
                .map(|place| {
                    people.draw_device(random, shape, (&aor, is_plain), number * 4 + place)
                })
                .collect();
            if is_volatile {
                people.volatile.push((aor, devices));
            } else {
                people.settled.push((aor, devices));
            }
        }
        people
    }

    fn draw_device(
        &mut self,
        random: &mut Random,
        shape: &Shape,
        (aor, is_plain): (&str, bool),
        number: u64,
    ) -> usize {
        let device = draw_device_id(random, is_plain, number);
        let own = self.devices.len() as u32;
        let is_direct = random.chance(shape.direct_per_mille);
        let address = if is_direct && !is_plain && random.chance(200) {
            SocketAddr::from((
                [0xfd00, 0, 0, 0, 0, 0, (own >> 16) as u16, own as u16],
                5060,
            ))
        } else if is_direct {
            let [_, high, middle, low] = own.to_be_bytes();
            SocketAddr::from(([127, 1 + high, middle, low], 5060))
        } else {
            *random.pick(&self.hops)
        };
        let uri = format!("{aor};gr={}", spelled(&device));
        let was_new = self.by_uri.insert(uri.clone(), own as usize).is_none();
        assert!(was_new, "the model needs distinct Request-URIs: {uri}");
        self.devices.push(Person {
            aor: aor.to_owned(),
            device,
            uri,
            addresses: vec![address],
            is_direct,
            capability: random.word() as u8,
            preference: random.below(16) as u8,
            subscription: random.word() as u8,
            connected: random.chance(300),
            was_there: false,
        });
        own as usize
    }

    /// The device with a Request-URI.
    pub fn by_uri(&self, uri: &[u8]) -> Option<usize> {
        let uri = std::str::from_utf8(uri).ok()?;
        self.by_uri.get(uri).copied()
    }

    /// Loads the population into an index, as text; half of the volatile devices are yet to come.
    pub fn load(&mut self, random: &mut Random) -> Index {
        let mut text = String::from("#sirocco-population 1\n");
        let mut there: Vec<usize> = self
            .settled
            .iter()
            .flat_map(|(_, list)| list.clone())
            .collect();
        let volatile = self.volatile.iter().flat_map(|(_, list)| list);
        there.extend(volatile.filter(|_| random.chance(500)));
        for &number in &there {
            let person = &mut self.devices[number];
            person.was_there = true;
            let address = person.addresses[0];
            let (hop, contact) = if person.is_direct {
                ("direct".to_owned(), address.to_string())
            } else {
                (address.to_string(), "-".to_owned())
            };
            let Person {
                aor,
                device,
                capability,
                preference,
                subscription,
                ..
            } = &*person;
            let state = if person.connected {
                "connected"
            } else {
                "idle"
            };
            writeln!(
                text,
                "{aor}\t{device}\t{hop}\t{contact}\tsip\t{state}\t{capability:02x}\t{preference}\t{subscription:02x}\t-"
            )
            .expect("a string grows");
        }
        let mut index = Index::with_known_key(self.devices.len(), [random.word(), random.word()])
            .expect("memory");
        let loaded = load_from(text.as_bytes(), "drawn", &mut index, Policy::Stop);
        assert_eq!(
            loaded.expect("a sound population").devices,
            there.len() as u64
        );
        index
    }

    /// Changes the index at random in a volatile identity.
    pub fn change(&mut self, random: &mut Random, index: &mut Index, now_s: u32) {
        if self.volatile.is_empty() {
            return;
        }
        let (aor, devices) = random.pick(&self.volatile);
        let number = *random.pick(devices);
        let identity = index.intern(aor.as_bytes()).expect("room");
        let person = &mut self.devices[number];
        let id = parse_device_id(person.device.as_bytes()).expect("a device id");
        match random.below(8) {
            0 => assert!(index.remove_identity(identity) <= devices.len()),
            1 => {
                index.expire_some(now_s, 200);
            }
            2 | 3 => {
                index.remove(identity, &id);
            }
            4 if !person.is_direct => {
                let address = *random.pick(&self.hops);
                let next_hop = Some(index.intern_next_hop(address).expect("room"));
                let change = Change {
                    next_hop,
                    ..Change::default()
                };
                if index
                    .update(identity, &id, &change)
                    .expect("a sound change")
                {
                    person.addresses.push(address);
                }
            }
            _ => {
                let is_short = random.chance(500);
                person.was_there = true;
                let address = *person.addresses.last().expect("one at least");
                let next_hop = if person.is_direct {
                    NEXT_HOP_DIRECT
                } else {
                    index.intern_next_hop(address).expect("room")
                };
                let entry = DeviceEntry {
                    id,
                    next_hop,
                    contact: person.is_direct.then_some(address),
                    bearer: Bearer::SipUdp,
                    connected: person.connected,
                    capability: person.capability,
                    preference: person.preference,
                    subscription: person.subscription,
                    expires_s: if is_short { now_s + 2 } else { EXPIRES_NEVER },
                };
                index.insert(identity, &entry).expect("room");
            }
        }
    }
}

/// A device id of one of the kinds that name a device of its own in a Request-URI.
fn draw_device_id(random: &mut Random, is_plain: bool, number: u64) -> String {
    match random.below(if is_plain { 3 } else { 10 }) {
        0 => format!(
            "urn:gsma:imei:{:08}-{:06}-0",
            90_000_000 + number / 1_000_000,
            number % 1_000_000
        ),
        1 => format!("urn:dev:mac:0024befffe{number:06x}"),
        2 => format!("urn:3gpp2:meid:A04B0D56-{number:06X}"),
        3 => format!("urn:epc:id:sgtin:0614141.112345.{number}"),
        4 => format!("urn:example:device-of-some-length-{number}"),
        _ => {
            let (high, low) = (random.word(), random.word());
            format!(
                "urn:uuid:{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
                high >> 32,
                high >> 16 & 0xffff,
                high & 0xfff,
                low >> 52,
                low & 0xffff_ffff_0000 | number,
            )
        }
    }
}

/// A device identity as it rides in a Request-URI: canonical where it is packed, else as it came.
fn spelled(device: &str) -> String {
    if let Some(hidden) = obfuscate_imei(device.as_bytes(), &IMEI_NAMESPACE) {
        return urn(&hidden);
    }
    let is_text = matches!(
        parse_device_id(device.as_bytes()),
        Ok(sirocco_index::DeviceId::Text { .. })
    );
    match PackedDevice::pack(device.as_bytes()).filter(|_| !is_text) {
        Some(packed) => urn(&packed),
        None => device.to_owned(),
    }
}

fn urn(packed: &PackedDevice) -> String {
    let mut urn = vec![0; packed.urn_len()];
    packed.write_urn(&mut urn);
    String::from_utf8(urn).expect("URNs are ASCII")
}
