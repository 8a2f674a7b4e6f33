//! A flood of forged INVITEs beside legitimate sessions: each with a token that the engine never made,
//! names of its own, and a length like the others', in trains, at a fixed rate. It reads no answers:
//! what a flooder does not read costs the flooded nothing more. Called by `plan`.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use super::plan::{PlanError, system};
use crate::quantity::Rate;
use crate::record::{FloodFigures, RunFigures};
use crate::role::protocol::Counters;
use crate::statistics::Spread;

/// Time between two trains' worth of INVITEs.
const TICK: Duration = Duration::from_millis(1);

/// INVITEs of one train: 64 of them would be longer than one send carries.
const TRAIN: u64 = 48;

/// A flood under way.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    begin: Instant,
    sender: JoinHandle<u64>,
}

impl Flood {
    /// Floods the engine at `address` with `times` forged INVITEs for each order of `rate`.
    ///
    /// # Errors
    /// When the address is none, or the socket cannot be opened.
    pub fn start(address: &str, rate: Rate, times: u32) -> Result<Self, PlanError> {
        let failed = |error| system("opening the flood's socket", error);
        let target: SocketAddr = address
            .parse()
            .map_err(|_| failed(io::ErrorKind::InvalidInput.into()))?;
        let Rate::PerSecond(rate) = rate else {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        };
        let socket = UdpSocket::bind("127.0.0.1:0").map_err(failed)?;
        socket.connect(target).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let mut forge = Forge::new(target);
        let length = i32::try_from(forge.invite().len()).unwrap_or(i32::MAX);
        setsockopt(&socket, sockopt::UdpGsoSegment, &length)
            .map_err(|errno| failed(errno.into()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let sender = thread::Builder::new().name("flood".to_owned()).spawn({
            let stop = Arc::clone(&stop);
            move || pour(&socket, &mut forge, rate * u64::from(times), &stop)
        });
        let sender = sender.map_err(failed)?;
        Ok(Self {
            stop,
            begin: Instant::now(),
            sender,
        })
    }

    /// Ends it; how many INVITEs left, and how many a second.
    #[must_use]
    pub fn stop(self) -> (u64, f64) {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().unwrap_or(0);
        (sent, sent as f64 / self.begin.elapsed().as_secs_f64())
    }
}

/// Sends at `per_s` until told to stop.
fn pour(socket: &UdpSocket, forge: &mut Forge, per_s: u64, stop: &AtomicBool) -> u64 {
    let (begin, mut sent) = (Instant::now(), 0);
    let mut train = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let due = (begin.elapsed().as_secs_f64() * per_s as f64) as u64;
        while sent < due {
            let count = TRAIN.min(due - sent);
            train.clear();
            for _ in 0..count {
                train.extend_from_slice(forge.invite());
            }
            // A full socket loses a train, as a full line would.
            if socket.send(&train).is_err() {
                break;
            }
            sent += count;
        }
        thread::sleep(TICK);
    }
    sent
}

/// Makes INVITEs of one length, no two alike.
struct Forge {
    text: Vec<u8>,
    /// Where the hexadecimal names begin, 32 digits each.
    names: Vec<usize>,
    state: u64,
}

/// Stands in the text where a name goes.
const NAME: &str = "00210021002100210021002100210021";

impl Forge {
    fn new(target: SocketAddr) -> Self {
        let body = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n";
        let text = format!(
            "INVITE sip:ppg@{target};t={NAME} SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{NAME}\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:+8613800000001@ims.example>;tag={NAME}\r\n\
             To: <sip:ppg@{target}>\r\n\
             Call-ID: {NAME}\r\n\
             CSeq: 1 INVITE\r\n\
             Contact: <sip:flood@127.0.0.1:9>\r\n\
             Allow: INVITE, ACK, BYE, CANCEL, MESSAGE\r\n\
             Content-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Self {
            names: text.match_indices(NAME).map(|(at, _)| at).collect(),
            text: text.into_bytes(),
            state: 0x5349_524f_4343_4f00,
        }
    }

    /// The next one.
    fn invite(&mut self) -> &[u8] {
        for &at in &self.names {
            for digit in &mut self.text[at..at + NAME.len()] {
                // SplitMix64's step is enough to tell names apart.
                self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                *digit = b"0123456789abcdef"[((self.state ^ self.state >> 29) >> 33 & 15) as usize];
            }
        }
        &self.text
    }
}

/// What the flood cost, from the runs with and without it and the engine's last books.
#[must_use]
pub fn figures(runs: &[RunFigures], sessions: &Counters) -> Option<FloodFigures> {
    let rates = |purpose: &str| {
        let of_purpose = runs.iter().filter(|run| run.purpose == purpose);
        let sessions = of_purpose.filter_map(|run| run.sessions.as_ref());
        Spread::of(sessions.map(|run| run.cycles_per_s).collect())
    };
    let flooded: Vec<&RunFigures> = runs.iter().filter(|run| run.purpose == "flood").collect();
    let forged = |run: &&RunFigures| run.sessions.as_ref().map_or(0, |sessions| sessions.forged);
    let sent: u64 = flooded.iter().map(forged).sum();
    if flooded.is_empty() {
        return None;
    }
    let seen = sessions.get("refused.token-forged").copied().unwrap_or(0);
    let (alone, with) = (rates("rate"), rates("flood"));
    let per_s = flooded
        .iter()
        .filter_map(|run| run.sessions.as_ref())
        .map(|sessions| sessions.forged_per_s);
    Some(FloodFigures {
        kept_share: with.median / alone.median.max(f64::MIN_POSITIVE),
        forged_per_s: Spread::of(per_s.collect()),
        refused_share: seen as f64 / sent.max(1) as f64,
        alone_per_s: alone,
        flooded_per_s: with,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SessionRun;
    use sirocco_wire::sip::message::{Message, StartLine};

    #[test]
    fn forged_invites_are_sip_of_one_length_and_no_two_alike() {
        let mut forge = Forge::new("127.0.0.1:5070".parse().unwrap());
        let first = forge.invite().to_vec();
        let second = forge.invite();
        assert_eq!(first.len(), second.len());
        assert_ne!(first, second);
        assert!(first.len() * TRAIN as usize <= 65_507);
        for invite in [&first[..], second] {
            let message = Message::parse(invite).unwrap();
            assert!(matches!(message.start_line(), StartLine::Request { .. }));
            assert!(message.top_via().is_some() && message.cseq().is_some());
        }
    }

    #[test]
    fn a_flood_arrives_and_is_counted() {
        let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = sink.local_addr().unwrap().to_string();
        let flood = Flood::start(&address, Rate::PerSecond(1000), 10).unwrap();
        let mut buffer = [0; 2048];
        let length = sink.recv(&mut buffer).unwrap();
        assert!(buffer[..length].starts_with(b"INVITE sip:ppg@"));
        let (sent, per_s) = flood.stop();
        assert!(sent > 0 && per_s > 0.0);
        assert!(Flood::start("nowhere", Rate::PerSecond(1), 1).is_err());
    }

    #[test]
    fn the_cost_is_the_rate_with_over_the_rate_without() {
        let run = |purpose: &str, cycles_per_s: f64, forged: u64| RunFigures {
            purpose: purpose.to_owned(),
            wall_ns: 1_000_000_000,
            sessions: Some(SessionRun {
                cycles_per_s,
                forged,
                forged_per_s: forged as f64,
                ..SessionRun::default()
            }),
            ..RunFigures::default()
        };
        let runs = [run("rate", 1000.0, 0), run("flood", 900.0, 10_000)];
        let books = [("refused.token-forged".to_owned(), 9_900)].into();
        let figures = figures(&runs, &books).unwrap();
        assert_eq!((figures.kept_share, figures.refused_share), (0.9, 0.99));
        assert_eq!(figures.forged_per_s.median, 10_000.0);
        assert!(super::figures(&runs[..1], &books).is_none());
    }
}
