//! Time of one whole session on the engine's side, message by message, parsing included and alone.
//!
//! One device, no network: what is measured is the sessions' own work in warm caches.

use criterion::{Criterion, criterion_group, criterion_main};
use sirocco_session::{
    Content, Grant, Host, Invitation, Outbox, Path, Push, Refusal, SessionConfig, SessionEvent,
    Sessions, StreamId,
};
use sirocco_wire::sip::{Message, Status, write};
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

struct Granting(Vec<u8>);

impl Host for Granting {
    fn admit(&mut self, _: u64, _: &Invitation<'_>) -> Result<Grant, Refusal> {
        Ok(Grant {
            content: 1,
            owner: [1, 2],
        })
    }
    fn content(&self, _: u16) -> Option<Content<'_>> {
        Some(Content {
            content_type: "text/plain",
            octets: &self.0,
            prefer: Push::Auto,
        })
    }
    fn returned(&mut self, _: u64, _: &Invitation<'_>, _: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }
    fn register(&mut self, _: u64, _: &Invitation<'_>, _: &[u8], _: u32) -> Result<(), Refusal> {
        Ok(())
    }
    fn note(&mut self, _: u64, _: [u64; 2], _: u16, _: SessionEvent) {}
}

/// Holds the last datagram.
struct Last(Box<[u8; 2_048]>, usize);

impl Outbox for Last {
    fn datagram(&mut self, _: SocketAddr, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        self.1 = write(&mut self.0[..]);
        true
    }
    fn stream(&mut self, _: StreamId, _: &[u8]) -> bool {
        false
    }
    fn close(&mut self, _: StreamId) {}
}

impl Last {
    fn octets(&self) -> &[u8] {
        &self.0[..self.1]
    }
}

fn invite(number: u64) -> Vec<u8> {
    let body = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n";
    format!(
        "INVITE sip:ppg@127.0.0.1:5070;t=0123456789abcdef0123456789abcdef SIP/2.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.1:6001;branch=z9hG4bK{number:016x}\r\nMax-Forwards: 70\r\n\
         From: <sip:+8613800001111@ims.example>;tag=0a1b2c3d\r\nTo: <sip:ppg@127.0.0.1:5070>\r\n\
         Call-ID: {number:032x}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:+8613800001111@127.0.0.1:6001;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>;\
         +sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, MESSAGE\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn ack(number: u64, tag: &str) -> Vec<u8> {
    format!(
        "ACK sip:ppg@127.0.0.1:5070 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.1:6001;branch=z9hG4bKa{number:016x}\r\nMax-Forwards: 70\r\n\
         From: <sip:+8613800001111@ims.example>;tag=0a1b2c3d\r\n\
         To: <sip:ppg@127.0.0.1:5070>;tag={tag}\r\nCall-ID: {number:032x}\r\nCSeq: 1 ACK\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// The four messages of one session, timed one by one.
fn cycle(
    sessions: &mut Sessions,
    host: &mut Granting,
    out: &mut Last,
    number: u64,
) -> [Duration; 4] {
    let path = Path::Datagram {
        peer: SocketAddr::from(([127, 0, 0, 1], 6001)),
    };
    let now = number * 1_000;
    let mut room = [0; 2_048];
    let mut times = [Duration::ZERO; 4];
    let text = invite(number);
    let start = Instant::now();
    let message = Message::parse(&text).expect("an INVITE");
    sessions.request(now, path, &message, host, out);
    times[0] = start.elapsed();
    let tag = Message::parse(out.octets())
        .expect("a 200")
        .to_tag()
        .expect("a tag");
    let text = ack(number, std::str::from_utf8(tag).expect("digits"));
    let start = Instant::now();
    let message = Message::parse(&text).expect("an ACK");
    sessions.request(now, path, &message, host, out);
    times[1] = start.elapsed();
    for time in &mut times[2..] {
        let asked = Message::parse(out.octets()).expect("a request");
        let length = write::response(&mut room, &asked, Status::OK, b"", &[]).expect("room");
        let start = Instant::now();
        let message = Message::parse(&room[..length]).expect("a response");
        sessions.response(now, path, &message, host, out);
        *time = start.elapsed();
    }
    times
}

fn messages(criterion: &mut Criterion) {
    let mut sessions = Sessions::new(SessionConfig::default(), [1, 2], 0);
    let mut host = Granting(vec![b'x'; 200]);
    let mut out = Last(Box::new([0; 2_048]), 0);
    let mut number = 1;
    let mut group = criterion.benchmark_group("cycle");
    let names = [
        "INVITE to 200",
        "ACK to MESSAGE",
        "200 to BYE",
        "200 to the end",
    ];
    for (at, name) in names.into_iter().enumerate() {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let mut sum = Duration::ZERO;
                for _ in 0..rounds {
                    number += 1;
                    sum += cycle(&mut sessions, &mut host, &mut out, number)[at];
                    if number.is_multiple_of(1_024) {
                        sessions.expire(number * 1_000, &mut host, &mut out);
                    }
                }
                sum
            });
        });
    }
    assert!(sessions.is_empty() && sessions.counts().residue() == 0);
    let text = invite(1);
    group.bench_function("parsing an INVITE alone", |bencher| {
        bencher.iter(|| Message::parse(black_box(&text)).is_ok());
    });
    let text = ack(1, "0123456789abcdef0123456789abcdef");
    group.bench_function("parsing an ACK alone", |bencher| {
        bencher.iter(|| Message::parse(black_box(&text)).is_ok());
    });
    group.bench_function("an empty measurement", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut sum = Duration::ZERO;
            for _ in 0..rounds {
                sum += Instant::now().elapsed();
            }
            sum
        });
    });
    group.finish();
}

criterion_group!(benches, messages);
criterion_main!(benches);
