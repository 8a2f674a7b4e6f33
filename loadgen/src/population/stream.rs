//! SIP over connections: octets become messages, and what answers them goes back the same way. What a
//! message is makes no difference: `desk` treats it as it does datagrams.
//!
//! Called by the worker.

use sirocco_wire::sip::stream::Step as Found;

use super::Population;
use crate::desk::{Train, Visit};

/// Room for the answers to one message.
const ANSWER_BYTES_MAX: usize = 65_535;
/// RFC 5626 4.4.1: what a ping is answered with.
const PONG: &[u8] = b"\r\n";

impl Population {
    /// Takes octets of a connection; of one that carries MSRP nothing more is to be done here.
    pub(crate) fn stream_received(&mut self, now_ns: u64, number: u32, octets: &[u8]) {
        let Some(calls) = self.desk.calls.as_deref_mut() else {
            return;
        };
        let origin = calls.links.sip_origin(number);
        let Some((origin, (mut inbox, mut framer))) = origin.zip(calls.links.take_inbox(number))
        else {
            return calls.link_received(number, octets);
        };
        let visit = Visit {
            now_ns,
            origin,
            ruled: self.desk.judge.override_of(origin.socket, now_ns),
        };
        inbox.extend_from_slice(octets);
        let mut at = 0;
        let can_go_on = loop {
            let step = match framer.step(&inbox[at..]) {
                Ok(Found::Whole { len, .. }) => {
                    self.answer_whole(&visit, &inbox[at..at + len]);
                    len
                }
                Ok(Found::Ping) => {
                    self.put_back(&visit, PONG);
                    4
                }
                Ok(Found::Pong) => 2,
                Ok(Found::More(_)) => break true,
                Err(_) => break false,
            };
            at += step;
        };
        inbox.drain(..at);
        if let Some(calls) = self.desk.calls.as_deref_mut() {
            let kept = can_go_on.then_some((inbox, framer));
            calls.links.keep_inbox(number, kept);
        }
    }

    fn answer_whole(&mut self, visit: &Visit, message: &[u8]) {
        if let Some(calls) = self.desk.calls.as_deref_mut() {
            calls.links.sip_messages += 1;
        }
        let mut out = std::mem::take(&mut self.stream_answers);
        out.resize(ANSWER_BYTES_MAX, 0);
        let mut train = Train {
            out: &mut out,
            length: 0,
            segment: 0,
            answers: 0,
            lone: true,
        };
        self.desk.answer_parsed(visit, message, &mut train);
        let length = train.length;
        if length > 0 {
            self.put_back(visit, &out[..length]);
        }
        self.stream_answers = out;
    }

    fn put_back(&mut self, visit: &Visit, octets: &[u8]) {
        if let Some(calls) = self.desk.calls.as_deref_mut() {
            calls.links.put_sip(&visit.origin, octets);
        }
    }
}
