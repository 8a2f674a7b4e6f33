//! The simulated devices: each answers a SIR as its seeded behaviour says, written by the wire crate.
//!
//! A device is stateless: it behaves alike at each transmission, which is what a server transaction
//! amounts to. What an answer really is rides beside it as [`Truth`].

use std::rc::Rc;

use sirocco_dispatch::outcome;
use sirocco_wire::sip::message::Message;
use sirocco_wire::sip::status::Status;
use sirocco_wire::sip::write;

use crate::network::Truth;
use crate::random::{Random, mix};

/// Longest response that is written.
const RESPONSE_BYTES_MAX: usize = 2_048;

/// What a device does with a SIR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers with a status at once.
    Answer(u16),
    /// 503 with Retry-After, in seconds.
    Overloaded(u32),
    /// Answers nothing.
    Silent,
    /// A provisional response first, the final one later.
    Slow,
    /// Answers after Timer F.
    Late,
    /// Answers two times.
    Twice,
    /// Sends a forged answer first.
    Forged,
    /// Sends garbage first.
    Garbage,
    /// Answers another method first.
    OtherMethod,
    /// Answers with a Via of another sender on top first, or with one below ours.
    Foreign,
}

/// Share of devices that are no plain 200, and whose answers close next hops.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Devices that do anything but answer 200, in a thousand.
    pub odd_per_mille: u64,
    /// Those among them that say 503 with Retry-After, in a thousand.
    pub overloaded_per_mille: u64,
}

impl Behaviour {
    /// The behaviour of the device number `device` under a seed.
    pub fn of(seed: u64, device: usize, mixture: Mix) -> Self {
        let mut random = Random::new(mix(seed ^ 0x6465_7669_6365) ^ device as u64);
        if !random.chance(mixture.odd_per_mille) {
            return Behaviour::Answer(200);
        }
        if random.chance(mixture.overloaded_per_mille) {
            return Behaviour::Overloaded(random.between(1, 4) as u32);
        }
        let statuses = [
            202, 202, 200, 204, 302, 404, 415, 480, 486, 487, 500, 503, 600, 603, 699,
        ];
        match random.below(16) {
            0..=5 => Behaviour::Answer(*random.pick(&statuses)),
            6 | 7 => Behaviour::Silent,
            8 => Behaviour::Slow,
            9 => Behaviour::Late,
            10 | 11 => Behaviour::Twice,
            12 => Behaviour::Forged,
            13 => Behaviour::Garbage,
            14 => Behaviour::OtherMethod,
            _ => Behaviour::Foreign,
        }
    }
}

/// One answer: after how many nanoseconds, its octets, and what it is.
pub type Answer = (u64, Rc<[u8]>, Truth);

/// The answers of a device to one transmission.
pub fn answer(random: &mut Random, behaviour: Behaviour, request: &Message<'_>) -> Vec<Answer> {
    let branch = request.top_via().and_then(|via| via.branch).unwrap_or(b"");
    let hash = outcome::hash(branch);
    let plain = |after, status| {
        (
            after,
            respond(request, status, &[]),
            Truth::Final(hash, status, None),
        )
    };
    let noise = |octets: Rc<[u8]>| (0, octets, Truth::Noise);
    let think = random.below(3_000_000);
    match behaviour {
        Behaviour::Answer(status) => vec![plain(think, status)],
        Behaviour::Overloaded(seconds) => {
            let value = seconds.to_string();
            let octets = respond(request, 503, &[(b"Retry-After", value.as_bytes())]);
            vec![(think, octets, Truth::Final(hash, 503, Some(seconds)))]
        }
        Behaviour::Silent => Vec::new(),
        Behaviour::Slow => {
            let trying = (think, respond(request, 100, &[]), Truth::Provisional(hash));
            vec![trying, plain(random.below(9_000_000_000), 200)]
        }
        Behaviour::Late => vec![plain(random.between(32_100_000_000, 40_000_000_000), 200)],
        Behaviour::Twice => vec![
            plain(think, 200),
            plain(think + random.below(900_000_000), 200),
        ],
        Behaviour::Forged => {
            let mut octets = respond(request, 200, &[]).to_vec();
            change_last_digit(&mut octets, branch);
            vec![noise(octets.into()), plain(think, 200)]
        }
        Behaviour::Garbage => {
            let length = random.below(600) as usize;
            let mut octets: Vec<u8> = (0..length).map(|_| random.word() as u8).collect();
            if random.chance(500) {
                octets = respond(request, 200, &[]).to_vec();
                octets.truncate(random.below(octets.len() as u64 / 2) as usize);
            }
            vec![noise(octets.into()), plain(think, 200)]
        }
        Behaviour::OtherMethod => {
            let octets = respond(request, 200, &[]);
            let text = String::from_utf8_lossy(&octets).replace("1 MESSAGE", "1 INVITE");
            vec![noise(text.into_bytes().into()), plain(think, 200)]
        }
        Behaviour::Foreign => {
            let octets = respond(request, 200, &[]);
            let text = String::from_utf8_lossy(&octets);
            let via = "Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKother\r\n";
            let at = if random.chance(500) {
                text.find("Via:")
            } else {
                text.find("From:")
            };
            let at = at.expect("a field of every response");
            let text = [&text[..at], via, &text[at..]].concat();
            vec![noise(text.into_bytes().into()), plain(think, 200)]
        }
    }
}

fn respond(request: &Message<'_>, status: u16, extra: &[(&[u8], &[u8])]) -> Rc<[u8]> {
    let mut out = [0; RESPONSE_BYTES_MAX];
    let written = write::response(&mut out, request, Status::of(status), b"device", extra);
    out[..written.expect("a response fits")].into()
}

/// Changes the last digit of the branch where it stands in the Via.
fn change_last_digit(octets: &mut [u8], branch: &[u8]) {
    let at = octets
        .windows(branch.len())
        .position(|window| window == branch);
    let last = at.expect("the Via is copied") + branch.len() - 1;
    octets[last] = if octets[last] == b'0' { b'1' } else { b'0' };
}
