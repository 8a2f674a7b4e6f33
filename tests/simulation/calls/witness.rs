//! The witness of sessions: sees what leaves the engine and what devices got, and says which rule was
//! broken. It shares no state with the shard.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use sirocco_dispatch::transaction::{T1_NS, T2_NS, TIMER_F_NS};
use sirocco_wire::sip::message::{Message, Method};

use super::call::{Call, Title};
use super::campaign::Campaign;
use crate::observer::{Breach, ensure};
use crate::people::Person;

/// How early or late a repetition may be: a tick of the wheel, and slabs to wait for.
const SLACK_NS: u64 = 250_000_000;
/// Transmissions in 64*T1, of a 2xx, MESSAGE or BYE.
const TRANSMISSIONS_MAX: u32 = 11;

struct Repeated {
    octets: Rc<[u8]>,
    first_ns: u64,
    last_ns: u64,
    count: u32,
}

/// Everything seen so far.
#[derive(Default)]
pub struct Witness {
    /// What the engine repeats by timers: by call, kind and number.
    repeated: HashMap<(usize, &'static str, u32), Repeated>,
    /// When each session was accepted.
    pub accepted_ns: Vec<u64>,
    /// Calls that were accepted, by token and device.
    uses: HashMap<(String, usize), usize>,
    /// Contents that devices got, by order.
    pub got: HashMap<(usize, usize), u64>,
    /// Each content once, by call and number.
    known: HashSet<(usize, Vec<u8>)>,
    /// Repetitions by timers.
    pub repetitions: u64,
}

impl Witness {
    /// A message to a call left the engine.
    pub fn left(&mut self, now: u64, octets: &Rc<[u8]>, call: &Call) -> Result<(), Breach> {
        let message = Message::parse(octets).map_err(|fault| fault.to_string())?;
        let cseq = message.cseq().ok_or("a message without CSeq")?;
        let kind = match (message.status_code(), cseq.method) {
            (Some(200), Method::Invite) => "200",
            (None, Method::Message) => "MESSAGE",
            (None, Method::Bye) => "BYE",
            (None, other) => return Err(format!("the engine sent {other:?}")),
            _ => return Ok(()),
        };
        let key = (call.number, kind, cseq.number);
        if let Some(known) = self.repeated.get_mut(&key) {
            self.repetitions += 1;
            return known
                .again(now, octets)
                .map_err(|breach| format!("{kind} {breach}"));
        }
        let first = Repeated {
            octets: octets.clone(),
            first_ns: now,
            last_ns: now,
            count: 1,
        };
        self.repeated.insert(key, first);
        if kind == "200" {
            self.accepted(now, call)?;
        }
        Ok(())
    }

    fn accepted(&mut self, now: u64, call: &Call) -> Result<(), Breach> {
        self.accepted_ns.push(now);
        ensure(matches!(call.title, Title::Own | Title::Used), || {
            format!(
                "call {} was accepted with a token that is {:?}",
                call.number, call.title
            )
        })?;
        let other = self
            .uses
            .insert((call.token.clone(), call.device), call.number);
        ensure(other.is_none(), || {
            format!(
                "calls {} and {other:?} were accepted with one token",
                call.number
            )
        })
    }

    /// Sessions that may still be open when none is held longer than `held_ns`.
    pub fn may_be_open(&self, now: u64, held_ns: u64) -> usize {
        let recent = self.accepted_ns.iter().rev();
        recent.take_while(|since| **since + held_ns >= now).count()
    }

    /// A device got a content; `number` names it within its call.
    pub fn got(
        &mut self,
        (call, number): (&Call, &[u8]),
        content: &[u8],
        person: &Person,
        campaigns: &[Campaign],
    ) -> Result<(), Breach> {
        let place = campaigns
            .iter()
            .position(|campaign| campaign.content.as_bytes() == content);
        let place =
            place.ok_or_else(|| format!("call {} got octets that nobody ordered", call.number))?;
        let campaign = &campaigns[place];
        let is_right =
            campaign.wants(person) || campaign.mode == "prior-art" && campaign.is_for(person);
        ensure(is_right, || {
            format!(
                "{} got the content of {}, which is not for it",
                person.uri, campaign.json
            )
        })?;
        if !self.known.insert((call.number, number.to_owned())) {
            return Ok(());
        }
        let count = self.got.entry((place, call.device)).or_default();
        *count += 1;
        ensure(*count == 1, || {
            format!(
                "{} got the content of order {place} {count} times",
                person.uri
            )
        })
    }

    /// Whether a device has the content of an order.
    pub fn has(&self, campaign: usize, device: usize) -> bool {
        self.got.contains_key(&(campaign, device))
    }
}

impl Repeated {
    /// RFC 3261 13.3.1.4, 17.1.2.2: the same octets, intervals from T1 doubling to T2, for 64*T1.
    fn again(&mut self, now: u64, octets: &Rc<[u8]>) -> Result<(), Breach> {
        ensure(*octets == self.octets, || {
            "was repeated with other octets".to_owned()
        })?;
        let wait = (T1_NS << (self.count - 1).min(3)).min(T2_NS);
        ensure(now + SLACK_NS >= self.last_ns + wait, || {
            format!("was repeated after {} ns, not {wait}", now - self.last_ns)
        })?;
        self.count += 1;
        self.last_ns = now;
        let is_bounded =
            self.count <= TRANSMISSIONS_MAX && now <= self.first_ns + TIMER_F_NS + SLACK_NS;
        ensure(is_bounded, || {
            format!("left {} times in {} ns", self.count, now - self.first_ns)
        })
    }
}
