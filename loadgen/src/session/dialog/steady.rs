//! The steady state of whole sessions allocates nothing: counted around everything that calls do.

use sirocco_ring::allocation::allocations_on_this_thread;
use sirocco_wire::sip::{HeaderName, Message};

use super::tests::{S, calls, start};
use crate::sample::origin;
use crate::session::calls::Calls;
use crate::session::policy::SessionPolicy;

/// Sessions before the count begins: every buffer has its size by then.
const WARM_UP: u64 = 2_000;
const COUNTED: u64 = 2_000;

/// Lets messages leave; returns the last of them, copied into `kept`.
fn depart(calls: &mut Calls, kept: &mut Vec<u8>) {
    calls.lanes.flush();
    calls.lanes.drain(|load| {
        kept.clear();
        kept.extend_from_slice(&load.octets);
    });
}

/// Does `step` and adds what it allocates.
fn counted(sum: &mut u64, step: impl FnOnce()) {
    let before = allocations_on_this_thread();
    step();
    *sum += allocations_on_this_thread() - before;
}

fn text(value: Option<&[u8]>) -> String {
    String::from_utf8_lossy(value.unwrap()).into_owned()
}

/// One session: INVITE, 200, ACK, content, 200, BYE, 200; returns what it allocated.
fn session(calls: &mut Calls, now_ns: u64, kept: &mut Vec<u8>) -> u64 {
    let mut sum = 0;
    counted(&mut sum, || {
        assert!(calls.begin(now_ns, &start()));
        depart(calls, kept);
    });
    let invite = kept.clone();
    let invite = Message::parse(&invite).unwrap();
    let (via, from) = (text(invite.header(HeaderName::Via)), text(invite.from()));
    let (to, name) = (text(invite.to()), text(invite.call_id()));
    let ok = format!(
        "SIP/2.0 200 OK\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to};tag=1\r\nCall-ID: {name}\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:ppg@127.0.0.1:5070>\r\nContent-Length: 0\r\n\r\n"
    );
    let request = |method: &str, cseq: u32| {
        format!(
            "{method} sip:alice@127.0.0.1:6000 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;\
             branch=z9hG4bK{method}{name}\r\nFrom: {to};tag=1\r\nTo: {from}\r\nCall-ID: {name}\r\n\
             CSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let (content, bye) = (request("MESSAGE", 1), request("BYE", 2));
    let ok = Message::parse(ok.as_bytes()).unwrap();
    let requests = [&content, &bye].map(|request| Message::parse(request.as_bytes()).unwrap());
    counted(&mut sum, || {
        assert!(calls.response(now_ns, origin(), &ok));
        depart(calls, kept);
        for request in &requests {
            let name = calls.name(request.to_tag().unwrap()).unwrap();
            calls.request(now_ns, origin(), name, request);
            depart(calls, kept);
        }
        calls.advance(now_ns);
    });
    sum
}

#[test]
fn a_session_allocates_nothing_once_buffers_have_their_size() {
    let mut calls = calls(SessionPolicy::default());
    let mut kept = Vec::with_capacity(4096);
    let mut run = |from: u64, count: u64| -> u64 {
        // A hundred sessions a second, so that the wheel holds as many alarms as ever.
        let at = |n: u64| n * S / 100;
        (from..from + count)
            .map(|n| session(&mut calls, at(n), &mut kept))
            .sum()
    };
    assert!(run(0, WARM_UP) > 0, "the count counts");
    assert_eq!(run(WARM_UP, COUNTED), 0);
    let counts = &calls.sheets[0].counts;
    assert_eq!((counts.contents, counts.ended_by_peer), (4_000, 4_000));
}
