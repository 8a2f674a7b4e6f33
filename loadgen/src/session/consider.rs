//! The way in for SIRs: the edge finds the devices that one is for (all of an identity when it forks),
//! each device decides, and begins its session or returns why not.
//!
//! Returns the one final response that goes back (RFC 3261 16.7). Called by `desk` once for each SIR;
//! retransmissions do not come here.

use sirocco_wire::identity::DeviceIdentity;
use sirocco_wire::sip::uri::split_host_port;
use sirocco_wire::sip::{SealCheck, SirKey};
use sirocco_wire::sir::{Ask, Request, Sir, When};

use super::calls::{Calls, Start};
use super::decide::{Facts, Security, Word, best, decide, status};
use super::gateway::authority;
use super::policy::Traits;
use super::table::Told;
use super::write::LINE;
use crate::hash::{public_hash, scaled, seeded};
use crate::mix::Mix;
use crate::population::Origin;

/// RFC 5627 4.2: the parameter by which a Request-URI names one device.
const GRUU: &[u8] = b";gr=";
/// The most copies of one SIR whose responses are weighed; further devices decide all the same.
const FORKS_MAX: usize = 64;
const MOOD_SALT: u64 = 0x6d6f_6f64;

/// One SIR as an edge received it.
#[derive(Clone, Copy)]
pub(crate) struct Delivery<'a> {
    pub(crate) now_ns: u64,
    pub(crate) origin: Origin,
    pub(crate) request_uri: &'a [u8],
    /// The URI of To: the user's identity.
    pub(crate) aor: &'a [u8],
    pub(crate) body: &'a [u8],
    /// The class of the Request-URI, and whether an edge's override chose it.
    pub(crate) class: u8,
    pub(crate) is_ruled: bool,
    pub(crate) uri_hash: u64,
}

/// What decides beside the SIR: the same for all.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub(crate) mix: &'a Mix,
    pub(crate) seed: u64,
    pub(crate) key: Option<&'a SirKey>,
    /// The status each class answers with, 0 for silence.
    pub(crate) statuses: &'a [u16],
}

/// One device that a copy is for.
struct Device<'a> {
    text: &'a [u8],
    row: u32,
    class: u8,
    hash: u64,
}

/// What is read of a SIR once for all devices.
struct Reading<'a> {
    sir: Sir<'a>,
    ppg: Option<u16>,
    authority: &'a [u8],
    seal: SealCheck,
    ask: Ask,
    activation: Option<When>,
    device: Option<&'a [u8]>,
    group: u32,
}

impl Calls {
    /// Lets the devices decide that `copy` is for; returns the status to answer with, 0 for silence.
    pub(crate) fn consider(&mut self, copy: &Delivery<'_>, setting: &Setting<'_>) -> u16 {
        let of_class = |class: u8| setting.statuses[usize::from(class)];
        let Some(reading) = self.read(copy, setting) else {
            self.sheet(copy.class).not_begun("no-sir");
            return of_class(copy.class);
        };
        let named = device_of(copy.request_uri);
        let rows = self.people.devices(copy.aor);
        if named.is_empty() && !rows.is_empty() {
            return self.fork(copy, setting, &reading);
        }
        let device = Device {
            text: named,
            row: self.people.find(rows, named).unwrap_or(u32::MAX),
            class: copy.class,
            hash: copy.uri_hash,
        };
        self.ask(copy, setting, &reading, &device)
    }

    #[inline]
    fn read<'a>(&mut self, copy: &Delivery<'a>, setting: &Setting<'_>) -> Option<Reading<'a>> {
        let sir = Sir::parse(copy.body).ok()?;
        let gateway = sir.gateway();
        if gateway.is_empty() {
            return None;
        }
        let check = |key: &SirKey| key.check(&sir, copy.aor);
        Some(Reading {
            ppg: self.ppg(gateway),
            authority: authority(gateway),
            seal: setting.key.map_or(SealCheck::Unsealed, check),
            ask: sir.ask(),
            activation: sir.activation().map(|(_, when)| when),
            device: sir.device().map(|(_, device)| device),
            group: self.group(),
            sir,
        })
    }

    /// Copies a SIR to all devices of its identity, as a forking proxy does.
    fn fork(&mut self, copy: &Delivery<'_>, setting: &Setting<'_>, reading: &Reading<'_>) -> u16 {
        let mut statuses = [0; FORKS_MAX];
        let mut count = 0;
        for row in self.people.devices(copy.aor) {
            let mut buffer = [0; 256];
            let length = self.people.write_device(row, &mut buffer);
            let text = &buffer[..length];
            let hash = gruu_hash(copy.aor, text);
            // The same device is of the same class, however it is reached.
            let class = if copy.is_ruled {
                copy.class
            } else {
                setting.mix.class_of(setting.seed, hash) as u8
            };
            let device = Device {
                text,
                row,
                class,
                hash,
            };
            let answered = self.ask(copy, setting, reading, &device);
            if let Some(status) = statuses.get_mut(count) {
                *status = answered;
                count += 1;
            }
        }
        best(statuses[..count].iter().copied())
    }

    /// Lets one device decide and act; returns the status it answers with.
    #[inline]
    fn ask(
        &mut self,
        copy: &Delivery<'_>,
        setting: &Setting<'_>,
        reading: &Reading<'_>,
        device: &Device<'_>,
    ) -> u16 {
        let of_class = setting.statuses[usize::from(device.class)];
        let Some(policy) = &self.policies[usize::from(device.class)] else {
            return of_class;
        };
        let is_known = device.row != u32::MAX;
        let traits = if is_known {
            self.people.traits(device.row)
        } else {
            policy.device
        };
        let listed = policy.ppg_list.is_empty()
            || policy
                .ppg_list
                .iter()
                .any(|one| is_at(one, reading.authority));
        let security = Security::of(reading.seal, listed);
        // The draw depends on the SIR, so that a user may decline one and accept the next.
        let mood = seeded(
            setting.seed ^ MOOD_SALT,
            device.hash ^ public_hash(reading.sir.prov_url),
        );
        let facts = Facts {
            is_meant: reading
                .device
                .is_none_or(|meant| is_same(meant, device.text)),
            is_connected: is_known && self.people.is_connected(device.row),
            security,
            traits,
            mood: scaled(mood, 1000),
        };
        let word = decide(policy, &facts);
        let answered = status(policy, word, of_class);
        let sheet = self.sheet(device.class);
        sheet.counts.copies += 1;
        sheet.words[word as usize] += 1;
        self.act(copy, reading, device, (word, security, traits));
        answered
    }

    /// Begins what follows from a decision.
    #[inline]
    fn act(
        &mut self,
        copy: &Delivery<'_>,
        reading: &Reading<'_>,
        device: &Device<'_>,
        (word, security, traits): (Word, Security, Traits),
    ) {
        if word == Word::Unmatched {
            return;
        }
        let Some(ppg) = reading.ppg else {
            return self.sheet(device.class).not_begun("ppg-address");
        };
        let start = Start {
            origin: copy.origin,
            class: device.class,
            aor: copy.aor,
            device: device.text,
            row: device.row,
            group: reading.group,
            ppg,
            token: reading.sir.token().unwrap_or(b""),
            activates_after: reading.activation == Some(When::After),
            is_own: false,
            traits,
            hash: device.hash,
        };
        if word == Word::Accepted {
            let before = reading.activation == Some(When::Before);
            self.sheet(device.class).counts.activated_before += u64::from(before);
            self.begin(copy.now_ns, &start);
        }
        if !reading.ask.is_empty() {
            self.comply(copy.now_ns, &start, reading.ask, (word, security));
        }
    }

    /// Returns and sends what a SIR asks for beside the session (claims 5, 6, 12 and 13).
    #[cold]
    fn comply(
        &mut self,
        now_ns: u64,
        start: &Start<'_>,
        ask: Ask,
        (word, security): (Word, Security),
    ) {
        let refuses = word != Word::Accepted;
        let wanted = ask.requests().filter(|request| match request {
            Request::Refusal => refuses,
            Request::Register => false,
            _ => true,
        });
        let told = Told {
            ask: wanted.fold(Ask::NOTHING, Ask::with),
            word,
            security,
        };
        if !told.ask.is_empty() {
            self.tell(now_ns, start, &told);
        }
        if ask.has(Request::Register) {
            self.register(now_ns, start);
        }
    }
}

/// Returns the device that a Request-URI names, empty for none.
#[inline]
fn device_of(uri: &[u8]) -> &[u8] {
    let Some(semicolon) = memchr::memchr(b';', uri) else {
        return b"";
    };
    let parameters = &uri[semicolon..];
    let value = [GRUU, LINE].into_iter().find_map(|name| {
        let at = memchr::memmem::find(parameters, name)?;
        Some(&parameters[at + name.len()..])
    });
    let value = value.unwrap_or(b"");
    &value[..memchr::memchr(b';', value).unwrap_or(value.len())]
}

/// Returns the hash of the URI that names one device of an identity.
#[inline]
fn gruu_hash(aor: &[u8], device: &[u8]) -> u64 {
    let mut uri = [0u8; 768];
    let parts = [aor, GRUU, device];
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let Some(mut rest) = uri.get_mut(..length) else {
        return public_hash(device);
    };
    for part in parts {
        let (head, tail) = rest.split_at_mut(part.len());
        head.copy_from_slice(part);
        rest = tail;
    }
    public_hash(&uri[..length])
}

/// Tells whether `listed`, a host or `host:port`, names the PPG at `authority`.
fn is_at(listed: &str, authority: &[u8]) -> bool {
    let listed = listed.as_bytes();
    let host = split_host_port(authority).0;
    authority.eq_ignore_ascii_case(listed) || host.eq_ignore_ascii_case(listed)
}

/// Tells whether a SIR means this device, by the comparison rules of its kind.
#[inline]
fn is_same(meant: &[u8], own: &[u8]) -> bool {
    if meant == own {
        return true;
    }
    is_equivalent(meant, own)
}

#[cold]
fn is_equivalent(meant: &[u8], own: &[u8]) -> bool {
    let Some(meant) = DeviceIdentity::parse(meant) else {
        return false;
    };
    // `own` may stand as in a URI parameter, where some octets are escaped.
    *meant.parameter_text() == *own
        || DeviceIdentity::parse(own).is_some_and(|own| meant.same_device(&own))
}

#[cfg(test)]
mod tests;
