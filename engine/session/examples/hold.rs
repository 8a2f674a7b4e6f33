//! Builds sessions and holds them: how many octets each takes, tables included.
//!
//! `cargo run --release -p sirocco-session --example hold -- 1000000` prints octets a session by our own count and by
//! what the process grew. Devices are alike in length, as behind the edges of a bench.

#![expect(
    clippy::print_stdout,
    reason = "an example that prints what it measures"
)]

use granting::Granting;
use sirocco_session::{End, Outbox, Path, SessionConfig, Sessions, StreamId};
use sirocco_wire::sip::{Message, Status, write};
use std::net::SocketAddr;
use std::time::Instant;

#[path = "../benches/granting/mod.rs"]
mod granting;

struct Last(Vec<u8>, usize);

impl Outbox for Last {
    fn datagram(&mut self, _: SocketAddr, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        self.1 = write(&mut self.0);
        true
    }
    fn stream(&mut self, _: StreamId, _: &[u8]) -> bool {
        false
    }
    fn close(&mut self, _: StreamId) {}
}

fn build(sessions: &mut Sessions, out: &mut Last, number: u64, now: u64) {
    let path = Path::Datagram {
        peer: SocketAddr::from(([127, 0, 0, 1], 6001)),
    };
    let body = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n";
    let from = format!("From: <sip:+86138{number:08}@ims.example>;tag={number:08x}\r\n");
    let call_id = format!("Call-ID: {number:032x}\r\n");
    let via = "Via: SIP/2.0/UDP 127.0.0.1:6001;branch=z9hG4bK";
    let invite = format!(
        "INVITE sip:ppg@127.0.0.1:5070;t=0123456789abcdef0123456789abcdef SIP/2.0\r\n\
         {via}{number:x}\r\n{from}To: <sip:ppg@127.0.0.1:5070>\r\n{call_id}CSeq: 1 INVITE\r\n\
         Contact: <sip:+86138{number:08}@127.0.0.1:6001;gr=urn:uuid:f81d4fae-7dec-11d0-a765-{number:012x}>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut room = [0; 2_048];
    let invite = Message::parse(invite.as_bytes()).expect("an INVITE");
    sessions.request(now, path, &invite, &mut Granting(&[b'x'; 200]), out);
    let accepted = Message::parse(&out.0[..out.1]).expect("a 200");
    let tag = String::from_utf8_lossy(accepted.to_tag().expect("a tag")).into_owned();
    let ack = format!(
        "ACK sip:ppg@127.0.0.1:5070 SIP/2.0\r\n{via}a{number:x}\r\n{from}\
         To: <sip:ppg@127.0.0.1:5070>;tag={tag}\r\n{call_id}CSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"
    );
    let ack = Message::parse(ack.as_bytes()).expect("an ACK");
    sessions.request(now, path, &ack, &mut Granting(&[b'x'; 200]), out);
    let pushed = Message::parse(&out.0[..out.1]).expect("a MESSAGE");
    let length = write::response(&mut room, &pushed, Status::OK, b"", &[]).expect("room");
    let answer = Message::parse(&room[..length]).expect("a 200");
    sessions.response(now, path, &answer, &mut Granting(&[b'x'; 200]), out);
}

/// Resident octets of this process; 0 where it cannot be told.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
}

fn main() {
    let wanted: u64 = std::env::args()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .unwrap_or(1_000_000);
    let config = SessionConfig {
        sessions_max: u32::try_from(wanted).expect("at most 2^24 sessions"),
        end: End::Device,
        ..SessionConfig::default()
    };
    let before = resident_bytes();
    let mut sessions = Sessions::new(config, [1, 2], 0);
    let mut out = Last(vec![0; 2_048], 0);
    let start = Instant::now();
    let mut now = 0;
    for number in 0..wanted {
        // 100,000 sessions a second of the sessions' clock.
        now = number * 10_000;
        build(&mut sessions, &mut out, number, now);
        if number.is_multiple_of(512) {
            sessions.expire(now, &mut Granting(&[b'x'; 200]), &mut out);
        }
    }
    let elapsed = start.elapsed();
    // A minute passes: every timer has fired once at least.
    for step in 0..1_200 {
        sessions.expire(
            now + step * 50_000_000,
            &mut Granting(&[b'x'; 200]),
            &mut out,
        );
    }
    let grown = resident_bytes() - before;
    let held = sessions.len() as u64;
    println!("{held} sessions held, built in {elapsed:?}");
    println!(
        "{} octets a session by count, {} resident",
        sessions.memory_bytes() as u64 / held.max(1),
        grown / held.max(1)
    );
    println!("residue {}", sessions.counts().residue());
}
