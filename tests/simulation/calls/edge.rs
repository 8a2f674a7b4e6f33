//! What happens at the edges: SIRs are forked, devices follow them honestly or not, strangers forge.

use std::net::SocketAddr;
use std::rc::Rc;

use sirocco_ring::allocation::allocations_on_this_thread;
use sirocco_wire::sip::header::HeaderName;
use sirocco_wire::sip::message::Message;
use sirocco_wire::sip::status::Status;
use sirocco_wire::sip::write;
use sirocco_wire::sir::Sir;

use super::call::{Call, Title};
use super::world::{Event, SECOND, SENT_BY, World};
use crate::observer::{Breach, ensure};
use crate::world::MS;

impl World {
    /// An INVITE of a stranger, with a token that nobody made.
    pub(super) fn forge(&mut self) {
        self.forged += 1;
        let number = self.forged;
        let peer = SocketAddr::from(([127, 9, (number >> 8) as u8, number as u8], 5060));
        let (high, low) = (self.random.word(), self.random.word());
        let person = self.random.pick(&self.people.devices);
        let method = *self
            .random
            .pick(&["INVITE", "INVITE", "BYE", "ACK", "MESSAGE"]);
        let tag = if method == "INVITE" {
            String::new()
        } else {
            format!(";tag={low:032x}")
        };
        let octets = format!(
            "{method} sip:ppg@{SENT_BY};t={high:016x}{low:016x} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {peer};branch=z9hG4bKf{number}\r\nMax-Forwards: 70\r\n\
             From: <{}>;tag=f{number}\r\nTo: <sip:ppg@{SENT_BY}>{tag}\r\nCall-ID: forged-{number}\r\n\
             CSeq: 1 {method}\r\nContact: <sip:x@{peer}>;+sip.instance=\"<{}>\"\r\n\
             Content-Length: 0\r\n\r\n",
            person.aor,
            person.shown(),
        );
        let before = allocations_on_this_thread();
        self.shard
            .answer(self.now, peer, octets.as_bytes(), octets.len(), &mut ());
        self.forged_allocations += allocations_on_this_thread() - before;
    }

    /// A SIR reaches an edge, which answers it and forks it to the devices that it is for.
    pub(super) fn take_sir(&mut self, sir: &Message<'_>) -> Result<(), Breach> {
        let uri = sir.request_uri().unwrap_or(b"");
        let text = String::from_utf8_lossy(uri).into_owned();
        let devices = match self.people.by_uri(uri) {
            Some(device) => vec![device],
            None => self.devices_of.get(&text).cloned().unwrap_or_default(),
        };
        ensure(!devices.is_empty(), || format!("a SIR to nobody: {text}"))?;
        let body = Sir::parse(sir.body()).map_err(|fault| fault.to_string())?;
        let token = String::from_utf8_lossy(body.token().unwrap_or(b"")).into_owned();
        let application = sir.header(HeaderName::of(b"X-Wap-Application-Id"));
        let application = String::from_utf8_lossy(application.unwrap_or(b"")).into_owned();
        let place = self
            .campaigns
            .iter()
            .position(|campaign| application.ends_with(&format!(":{}", campaign.application)));
        let place = place.ok_or_else(|| format!("a SIR of {application}, which nobody ordered"))?;
        let named = body.device().map(|(_, device)| device);
        let call_id = sir.call_id().unwrap_or(b"").to_vec();
        for &device in &devices {
            let is_new = self.seen.insert((device, call_id.clone()));
            let campaign = &self.campaigns[place];
            if is_new && campaign.is_followed(&self.people.devices[device], named) {
                self.follow((device, place), &token);
            }
        }
        let mut out = [0; 2_048];
        let length = write::response(&mut out, sir, Status::OK, b"edge", &[]).expect("room");
        let octets: Rc<[u8]> = out[..length].into();
        let peer = self.people.devices[devices[0]].addresses[0];
        let event = Event::ToEngine(peer, octets);
        self.network.carry(&mut self.random, self.now, &event);
        Ok(())
    }

    /// A device follows a SIR, honestly or not.
    fn follow(&mut self, (device, campaign): (usize, usize), token: &str) {
        let who = (device, campaign);
        let think = *self.random.pick(&[1, 50 * MS, 5 * SECOND]);
        self.call(who, token, Title::Own, think);
        if !self.random.chance(self.plan.cheating_per_mille) {
            return;
        }
        let lifetime_ns = u64::from(self.plan.config.token_lifetime_s) * SECOND;
        match self.random.below(4) {
            0 => self.call(who, token, Title::Used, 30 * SECOND),
            1 => {
                let number = self.calls.len();
                self.call(who, token, Title::Expired, 1);
                let at = self.now + lifetime_ns + 2 * SECOND;
                self.network.at(at, Event::Begin(number));
            }
            2 => {
                let mut forged = token.to_owned().into_bytes();
                let at = self.random.below(32) as usize;
                forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
                let forged = String::from_utf8(forged).expect("digits");
                self.call(who, &forged, Title::Forged, 1);
            }
            _ => {
                let aor = self.people.devices[device].aor.clone();
                let thief = self.random.below(self.people.devices.len() as u64) as usize;
                if self.people.devices[thief].aor != aor {
                    self.call((thief, campaign), token, Title::Stolen, 1);
                }
            }
        }
    }

    /// Prepares a call, which begins within `think_ns`; one that comes after its time is begun by others.
    pub(super) fn call(
        &mut self,
        (device, campaign): (usize, usize),
        token: &str,
        title: Title,
        think_ns: u64,
    ) {
        let number = self.calls.len();
        let mut call = Call::new(
            number,
            (device, campaign),
            &self.people.devices[device],
            token,
            title,
        );
        self.plan.shape(&mut self.random, &mut call);
        self.calls.push(call);
        if title != Title::Expired {
            let at = self.now + self.random.below(think_ns);
            self.network.at(at, Event::Begin(number));
        }
    }
}
