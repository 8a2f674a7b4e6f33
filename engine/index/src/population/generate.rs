//! Seeded populations: the same devices as text or straight in memory.
//!
//! Every device is a function of seed, identity number and device number alone, so both outputs
//! agree and any slice can be made again. Nothing here resembles a real number or device: IMEIs
//! use the test TAC 00-440150. Called by the bench and by tests.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};

use crate::device::{Bearer, Device, DeviceEntry, DeviceId, DeviceKind};
use crate::device::{EXPIRES_NEVER, NEXT_HOP_DIRECT, StoredContact};
use crate::identity::{Identity, pack_number};
use crate::index::{Index, IndexError, NEXT_HOPS_MAX};
use crate::population::HEADER;
use crate::population::device_id::parse_device_id;
use crate::population::text::Text;

/// The first identity's number; the others count up from it, 13 digits all.
const NUMBER_FIRST: u64 = 8_613_800_000_000;

/// Identities at most: the numbers stay 13 digits.
const IDENTITIES_MAX: u64 = 1_386_200_000_000;

/// Devices of an identity at most: they share the low bits of a device's serial number.
const DEVICES_EACH_MAX: u32 = 1 << 20;

/// Direct contacts start at 127.1.0.0, which leaves 127.0.0.0/16 to everything else on the host.
const CONTACT_FIRST: u32 = 0x7f01_0000;

/// Direct contacts on one port; then the port counts up. The last address would be broadcast.
const CONTACTS_PER_PORT: u64 = 0x00fe_ffff;

/// Devices inserted at once at most.
const GROUP: usize = 16;

/// How many devices an identity has: `min` to `max` in turn, all equally often.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct DevicesEach {
    /// Fewest.
    pub min: u32,
    /// Most.
    pub max: u32,
}

impl DevicesEach {
    /// 1 to 4, so 2.5 on average.
    pub const TYPICAL: DevicesEach = DevicesEach { min: 1, max: 4 };

    /// The same number for all.
    pub fn exactly(count: u32) -> DevicesEach {
        DevicesEach {
            min: count,
            max: count,
        }
    }

    fn of(self, identity: u64) -> u32 {
        self.min + (identity % u64::from(self.max - self.min + 1)) as u32
    }
}

/// What population to make.
#[derive(Clone, PartialEq, Debug)]
pub struct GenerateSpec {
    /// User identities.
    pub identities: u64,
    /// Devices of each.
    pub devices: DevicesEach,
    /// Edges, one drawn for each device.
    pub next_hops: Vec<SocketAddr>,
    /// Deliver to contacts in 127.0.0.0/8 from this port on, instead of next hops.
    pub direct_port: Option<u16>,
    /// Domains, taken in turn.
    pub domains: Vec<String>,
    /// Kinds of device id with their weights; empty: all UUID.
    pub kinds: Vec<(DeviceKind, u32)>,
    /// Share of devices that have a session up, in 1/256.
    pub connected_per_256: u8,
    /// Seed.
    pub seed: u64,
}

impl Default for GenerateSpec {
    fn default() -> Self {
        GenerateSpec {
            identities: 1_000_000,
            devices: DevicesEach::TYPICAL,
            next_hops: vec![SocketAddr::from(([127, 0, 0, 1], 6000))],
            direct_port: None,
            domains: vec!["ims.example".to_owned()],
            kinds: Vec::new(),
            connected_per_256: 0,
            seed: 1,
        }
    }
}

/// Why a population cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The specification contradicts itself.
    #[error("population cannot be generated: {0}")]
    Spec(&'static str),
    /// The text cannot be written.
    #[error("population cannot be written: {0}")]
    Write(#[from] io::Error),
    /// The index cannot take it.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl GenerateSpec {
    /// Devices in the whole population.
    pub fn devices_total(&self) -> u64 {
        let span = u64::from(self.devices.max - self.devices.min + 1);
        let (rounds, rest) = (self.identities / span, self.identities % span);
        let each =
            |count: u64| count * u64::from(self.devices.min) + count * count.saturating_sub(1) / 2;
        rounds * each(span) + each(rest)
    }

    fn check(&self) -> Result<(), GenerateError> {
        let DevicesEach { min, max } = self.devices;
        let fault = if min == 0 || min > max || max > DEVICES_EACH_MAX {
            "devices of an identity must be 1 to 2^20, the fewest first"
        } else if self.identities > IDENTITIES_MAX {
            "more identities than 13-digit numbers"
        } else if self.direct_port.is_none() && self.next_hops.is_empty() {
            "it needs a next hop, or direct delivery"
        } else if self.next_hops.len() > NEXT_HOPS_MAX {
            "more than 65535 next hops"
        } else if self.domains.is_empty() {
            "it needs a domain"
        } else if self.domains.iter().any(|domain| !is_domain(domain)) {
            "a domain has 1 to 200 lower-case letters, digits, dots and hyphens"
        } else if !self.kinds.is_empty() && self.kinds.iter().all(|(_, weight)| *weight == 0) {
            "all kinds of device id have weight 0"
        } else if self.direct_port.is_some_and(|port| {
            self.devices_total() / CONTACTS_PER_PORT > u64::from(u16::MAX - port)
        }) {
            "more direct devices than addresses and ports from that port on"
        } else {
            return Ok(());
        };
        Err(GenerateError::Spec(fault))
    }
}

fn is_domain(domain: &str) -> bool {
    let fits = |octet: u8| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
    (1..=200).contains(&domain.len()) && domain.bytes().all(fits)
}

/// Writes the population as text, in the order of the identities.
///
/// # Errors
/// [`GenerateError::Spec`] or [`GenerateError::Write`].
pub fn generate(spec: &GenerateSpec, mut out: impl Write) -> Result<(), GenerateError> {
    spec.check()?;
    let mut text = Text::new(spec);
    out.write_all(HEADER)?;
    out.write_all(
        b"\n#aor\tdevice\tnext hop\tcontact\tbearer\tstate\tcapability\tpreference\t\
          subscription\texpires\n",
    )?;
    let mut devices = 0;
    for identity in 0..spec.identities {
        for device in 0..spec.devices.of(identity) {
            text.line(&Generated::new(spec, identity, device, devices));
            devices += 1;
        }
        text.flush_when_full(&mut out)?;
    }
    text.flush(&mut out)?;
    Ok(out.flush()?)
}

/// Makes the population in memory, as if its text had been loaded.
///
/// # Errors
/// [`GenerateError::Spec`] or [`GenerateError::Index`].
pub fn generate_into(spec: &GenerateSpec, index: &mut Index) -> Result<(), GenerateError> {
    spec.check()?;
    let mut shapes = Vec::new();
    for domain in &spec.domains {
        let aor = format!("sip:+{NUMBER_FIRST}@{domain}");
        shapes.push(index.intern(aor.as_bytes())?.shape);
    }
    let mut hops = Vec::new();
    for &address in &spec.next_hops {
        hops.push(index.intern_next_hop(address)?);
    }
    let mut devices = 0;
    for identity in 0..spec.identities {
        if identity + AHEAD < spec.identities {
            index.prefetch(identity_of(spec, &shapes, identity + AHEAD));
        }
        let packed = identity_of(spec, &shapes, identity);
        insert_devices(spec, index, (identity, packed), (&hops, &mut devices))?;
    }
    Ok(())
}

/// Identities ahead of the insertion whose table line is being loaded.
const AHEAD: u64 = 8;

fn identity_of(spec: &GenerateSpec, shapes: &[u32], identity: u64) -> Identity {
    let shape = shapes[(identity % spec.domains.len() as u64) as usize];
    Identity {
        key: pack_number(NUMBER_FIRST + identity),
        shape,
    }
}

fn insert_devices(
    spec: &GenerateSpec,
    index: &mut Index,
    (number, identity): (u64, Identity),
    (hops, devices): (&[u16], &mut u64),
) -> Result<(), GenerateError> {
    let mut group = [Device::default(); GROUP];
    let mut held = 0;
    for device in 0..spec.devices.of(number) {
        let generated = Generated::new(spec, number, device, *devices);
        *devices += 1;
        let entry = generated.entry(hops);
        let mut id = Text::default();
        let entry = match generated.kind {
            DeviceKind::Uuid => entry,
            _ => {
                id.device_id(&generated);
                let parsed = parse_device_id(id.bytes());
                let id = parsed.map_err(|_| GenerateError::Spec("device id of no kind"))?;
                DeviceEntry { id, ..entry }
            }
        };
        match entry.id {
            DeviceId::Packed { bytes, .. } => {
                group[held] = Device::new(bytes, false, &entry);
                group[held].put_contact(generated.contact.map(|(ip, port)| StoredContact {
                    ip: ip.to_bits(),
                    port,
                    ipv6: false,
                }));
                held += 1;
            }
            DeviceId::Text { .. } => {
                index.insert(identity, &entry)?;
            }
        }
        if held == GROUP {
            index.insert_plain(identity, &group)?;
            held = 0;
        }
    }
    if held > 0 {
        index.insert_plain(identity, &group[..held])?;
    }
    Ok(())
}

/// One device, before it is text or memory.
pub(super) struct Generated {
    /// The identity's number and the number of its domain.
    pub number: u64,
    pub domain: usize,
    pub kind: DeviceKind,
    /// 128 random bits, of which every kind takes what it needs.
    pub id: u128,
    /// Device number within the identity, which keeps short ids apart.
    pub device: u32,
    /// Number of the next hop; of no meaning when there is a contact.
    pub next_hop: usize,
    pub contact: Option<(Ipv4Addr, u16)>,
    pub connected: bool,
    pub capability: u8,
    pub preference: u8,
    pub subscription: u8,
}

impl Generated {
    /// `ordinal` counts the devices of the whole population.
    #[inline]
    fn new(spec: &GenerateSpec, identity: u64, device: u32, ordinal: u64) -> Generated {
        let mut stream = Stream(spec.seed ^ mix(identity << 20 | u64::from(device)));
        let id = u128::from(stream.next()) << 64 | u128::from(stream.next());
        let draw = stream.next();
        let below =
            |bits: u64, bound: usize| (((bits & 0xffff_ffff) * bound as u64) >> 32) as usize;
        let contact = spec.direct_port.map(|port| {
            let address = CONTACT_FIRST + (ordinal % CONTACTS_PER_PORT) as u32;
            (
                Ipv4Addr::from_bits(address),
                port + (ordinal / CONTACTS_PER_PORT) as u16,
            )
        });
        Generated {
            number: NUMBER_FIRST + identity,
            domain: (identity % spec.domains.len() as u64) as usize,
            kind: if spec.kinds.is_empty() {
                DeviceKind::Uuid
            } else {
                draw_kind(spec, &mut stream)
            },
            id: uuid_v4(id),
            device,
            next_hop: below(draw, spec.next_hops.len().max(1)),
            contact,
            connected: (draw >> 32) as u8 <= spec.connected_per_256 && spec.connected_per_256 > 0,
            capability: (draw >> 40) as u8,
            preference: (draw >> 48) as u8 & 15,
            subscription: (draw >> 56) as u8 | 1,
        }
    }

    #[inline]
    fn entry(&self, hops: &[u16]) -> DeviceEntry<'static> {
        DeviceEntry {
            id: DeviceId::Packed {
                kind: self.kind,
                bytes: self.id.to_be_bytes(),
            },
            next_hop: match self.contact {
                Some(_) => NEXT_HOP_DIRECT,
                None => hops[self.next_hop],
            },
            contact: self
                .contact
                .map(|(ip, port)| SocketAddr::new(ip.into(), port)),
            bearer: Bearer::SipUdp,
            connected: self.connected,
            capability: self.capability,
            preference: self.preference,
            subscription: self.subscription,
            expires_s: EXPIRES_NEVER,
        }
    }
}

fn draw_kind(spec: &GenerateSpec, stream: &mut Stream) -> DeviceKind {
    let total: u64 = spec
        .kinds
        .iter()
        .map(|(_, weight)| u64::from(*weight))
        .sum();
    let mut at = stream.next() % total.max(1);
    for &(kind, weight) in &spec.kinds {
        match at.checked_sub(u64::from(weight)) {
            Some(rest) => at = rest,
            None => return kind,
        }
    }
    DeviceKind::Uuid
}

/// RFC 9562 5.4: version 4, variant 10.
#[inline]
fn uuid_v4(random: u128) -> u128 {
    random & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62
}

/// `SplitMix64`: a counter-based generator, so any device can be made without its predecessors.
struct Stream(u64);

impl Stream {
    #[inline]
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

#[inline]
fn mix(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests;
