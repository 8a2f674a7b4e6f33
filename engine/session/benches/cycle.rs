//! Time of one whole session on the engine's side, message by message, parsing included and alone.
//!
//! Batches of 64 sessions, as trains bring them; no network and no host: the time is the sessions' own and the
//! parser's, which stands below alone.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use granting::Granting;
use sirocco_session::{Outbox, Path, SessionConfig, Sessions, StreamId};
use sirocco_wire::sip::{Message, Status, write};
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

mod granting;

/// Sessions in one batch: the messages of a train come one after another.
const BATCH: usize = 64;

/// Holds the datagrams of one train.
struct Train {
    room: Vec<u8>,
    ends: Vec<usize>,
}

impl Outbox for Train {
    fn datagram(&mut self, _: SocketAddr, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        let start = self.ends.last().copied().unwrap_or(0);
        self.ends.push(start + write(&mut self.room[start..]));
        true
    }
    fn stream(&mut self, _: StreamId, _: &[u8]) -> bool {
        false
    }
    fn close(&mut self, _: StreamId) {}
}

impl Train {
    fn new() -> Self {
        Self {
            room: vec![0; BATCH * 1_024],
            ends: Vec::with_capacity(BATCH),
        }
    }

    /// The datagrams, each as its answer says.
    fn answered(&mut self, mut answer: impl FnMut(usize, &Message<'_>) -> Vec<u8>) -> Vec<Vec<u8>> {
        let mut start = 0;
        let mut answers = Vec::with_capacity(BATCH);
        for (at, end) in self.ends.drain(..).enumerate() {
            let message = Message::parse(&self.room[start..end]).expect("SIP");
            answers.push(answer(at, &message));
            start = end;
        }
        answers
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

fn ok(message: &Message<'_>) -> Vec<u8> {
    let mut room = [0; 2_048];
    let length = write::response(&mut room, message, Status::OK, b"", &[]).expect("room");
    room[..length].to_vec()
}

/// The four messages of a batch of sessions, timed one kind after another.
fn cycle(
    (sessions, host, out): (&mut Sessions, &mut Granting, &mut Train),
    first: u64,
) -> [Duration; 4] {
    let peer = SocketAddr::from(([127, 0, 0, 1], 6001));
    let path = Path::Datagram { peer };
    let now = first * 1_000;
    let mut times = [Duration::ZERO; 4];
    let mut texts: Vec<_> = (first..first + BATCH as u64).map(invite).collect();
    for (round, time) in times.iter_mut().enumerate() {
        let start = Instant::now();
        for text in &texts {
            if sessions.familiar(now, peer, text, host, out) {
                continue;
            }
            let message = Message::parse(text).expect("SIP");
            if round < 2 {
                sessions.request(now, path, &message, host, out);
            } else {
                sessions.response(now, path, &message, host, out);
            }
        }
        *time = start.elapsed();
        texts = out.answered(|at, message| match round {
            0 => {
                let tag = message.to_tag().expect("a tag");
                let tag = std::str::from_utf8(tag).expect("digits");
                ack(first + at as u64, tag)
            }
            _ => ok(message),
        });
    }
    times
}

fn messages(criterion: &mut Criterion) {
    let mut sessions = Sessions::new(SessionConfig::default(), [1, 2], 0);
    let mut host = Granting(&[b'x'; 200]);
    let mut out = Train::new();
    let mut number = 1;
    let mut group = criterion.benchmark_group("cycle");
    group.throughput(Throughput::Elements(BATCH as u64));
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
                    number += BATCH as u64;
                    sum += cycle((&mut sessions, &mut host, &mut out), number)[at];
                    sessions.expire(number * 1_000, &mut host, &mut out);
                }
                sum
            });
        });
    }
    group.throughput(Throughput::Elements(1));
    assert!(sessions.is_empty() && sessions.counts().residue() == 0);
    let text = invite(1);
    group.bench_function("parsing an INVITE alone", |bencher| {
        bencher.iter(|| Message::parse(black_box(&text)).is_ok());
    });
    let text = ack(1, "0123456789abcdef0123456789abcdef");
    group.bench_function("parsing an ACK alone", |bencher| {
        bencher.iter(|| Message::parse(black_box(&text)).is_ok());
    });
    group.finish();
}

criterion_group!(benches, messages);
criterion_main!(benches);
