//! Time of recognising the messages of a session's train by comparison, beside the parse it saves.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sirocco_wire::sip::Message;
use sirocco_wire::sip::mould::{Mould, tag_of};

const FIELDS: &str = "Via: SIP/2.0/UDP 127.0.0.1:6001;branch=z9hG4bK0123456789abcdef01234567\r\n\
    From: <sip:+8613800001111@ims.example>;tag=0a0b0c0d0e0f0011\r\n\
    To: <sip:ppg@127.0.0.1:5070>;tag=0123456789abcdef01234567\r\n\
    Call-ID: 00112233445566778899aabbccddeeff\r\n";

fn samples() -> [(&'static str, String); 4] {
    let line = "sip:ppg@127.0.0.1:5070;s=0123456789abcdef SIP/2.0\r\nMax-Forwards:     70\r\n";
    let device =
        "sip:+8613800001111@127.0.0.1:6001;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
    [
        (
            "ACK",
            format!("ACK {line}{FIELDS}CSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"),
        ),
        (
            "BYE",
            format!("BYE {line}{FIELDS}CSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n"),
        ),
        (
            "200 to MESSAGE",
            format!("SIP/2.0 200 OK\r\n{FIELDS}CSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"),
        ),
        (
            "INVITE",
            format!(
                "INVITE {line}{FIELDS}CSeq: 1 INVITE\r\nContact: <{device}>;+sip.instance=\
                 \"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"\r\nAllow: INVITE, ACK, BYE, CANCEL, MESSAGE\r\n\
                 Content-Type: application/sdp\r\nContent-Length: 90\r\n\r\n{}",
                "v".repeat(90)
            ),
        ),
    ]
}

fn moulds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mould");
    for (name, text) in samples() {
        let datagram = text.as_bytes();
        let message = Message::parse(datagram).expect("the sample is SIP");
        let mould = Mould::learn(&message).expect("the sample teaches");
        group.bench_function(
            format!("fit {name}, {} octets", datagram.len()),
            |bencher| {
                bencher.iter(|| {
                    black_box(&mould)
                        .fit(black_box(datagram))
                        .map(|cast| cast.cseq_number())
                });
            },
        );
        group.bench_function(format!("fit {name} and read its dialog"), |bencher| {
            bencher.iter(|| {
                let cast = black_box(&mould).fit(black_box(datagram))?;
                let tags = tag_of(cast.from())?.len() + tag_of(cast.to())?.len();
                Some(tags + cast.branch().len() + cast.call_id().len())
            });
        });
        group.bench_function(format!("parse {name} and read its dialog"), |bencher| {
            bencher.iter(|| {
                let message = Message::parse(black_box(datagram)).ok()?;
                let tags = message.from_tag()?.len() + message.to_tag()?.len();
                Some(tags + message.top_via()?.branch?.len() + message.call_id()?.len())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, moulds);
criterion_main!(benches);
