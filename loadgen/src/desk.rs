//! Where an accepted request becomes answers in the train being written, or a late answer in its slot.
//!
//! A train needs answers of one length: the first answer fixes it, with room for the longest literal
//! parts of the mix, and a request that needs more closes the train. Called by `population`.

use std::collections::BTreeMap;

use sirocco_wire::sip::screen::{DropReason, Role, screen_as};
use sirocco_wire::sip::{HeaderName, Message, Method, ParseError, Transport, Verdict};

use crate::hash::{public_hash, seeded};
use crate::judge::{Action, Judge, Keys};
use crate::late::LateAnswers;
use crate::population::Origin;
use crate::script::{Script, tag};
use crate::session::{Calls, Delivery, Setting};
use crate::source::Source;

/// Separates To tags from other choices made of the same hash.
const TAG_SALT: u64 = 0x7461_6700_0000_0000;
/// The steps in which the length of parsed requests' answers grows, so that requests of almost one
/// length share a train.
const PARSED_STEP: usize = 32;

/// The circumstances of one received buffer.
#[derive(Clone, Copy)]
pub(crate) struct Visit {
    pub(crate) now_ns: u64,
    pub(crate) origin: Origin,
    /// The class index of the override that rules the edge now.
    pub(crate) ruled: Option<u8>,
}

/// The train being written.
pub(crate) struct Train<'a> {
    pub(crate) out: &'a mut [u8],
    pub(crate) length: usize,
    /// The length of each answer, once the first is written.
    pub(crate) segment: usize,
    pub(crate) answers: usize,
    /// A lone datagram gets a lone answer, which needs no padding.
    pub(crate) lone: bool,
}

/// Whether a datagram was dealt with, or must wait for the next train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Dealt with.
    Done,
    /// Dealt with by the parser, and worth learning from.
    Learn,
    /// Untouched: it needs a train of its own.
    TrainFull,
}

/// What turns a request into answers.
pub(crate) struct Desk {
    pub(crate) judge: Judge,
    /// The sessions of devices, where any class builds some.
    pub(crate) calls: Option<Box<Calls>>,
    pub(crate) late: LateAnswers,
    pub(crate) scripts: Vec<Script>,
    pub(crate) refusals: BTreeMap<u16, Script>,
    /// The most octets any answer of the mix has besides what it copies.
    pub(crate) literal_bytes_max: usize,
    /// The most answers one request can give at once.
    pub(crate) answers_per_request_max: usize,
    pub(crate) segments_max: usize,
}

impl Desk {
    /// Treats an accepted SIR.
    #[inline]
    pub(crate) fn answer(
        &mut self,
        visit: &Visit,
        source: Source<'_>,
        keys: Keys,
        train: &mut Train<'_>,
    ) -> Step {
        let copied = source.copied_bytes_max();
        let width = round(&source, copied + self.literal_bytes_max);
        match train.room(width, self.answers_per_request_max, self.segments_max) {
            Room::Here => {}
            Room::NextTrain => return Step::TrainFull,
            Room::Nowhere => {
                self.judge.tally.drop_for("answer_too_long");
                return Step::Done;
            }
        }
        let Desk { judge, calls, .. } = self;
        let consider = |class: u8, setting: &Setting<'_>| {
            let calls = calls.as_deref_mut()?;
            let delivery = Delivery {
                now_ns: visit.now_ns,
                origin: visit.origin,
                request_uri: source.request_uri(),
                aor: source.aor(),
                body: source.body(),
                class,
                is_ruled: visit.ruled.is_some(),
                uri_hash: keys.uri_hash,
            };
            Some(calls.consider(&delivery, setting))
        };
        let (class, action) = judge.decide(keys, visit.now_ns, visit.ruled, consider);
        let script = &self.scripts[usize::from(class)];
        let tag = tag(seeded(self.judge.seed ^ TAG_SALT, keys.uri_hash));
        match action {
            Action::Withhold => {}
            Action::Answer { copies } => {
                let width = if train.lone {
                    copied + script.literal_bytes()
                } else {
                    width
                };
                if !train.put(width, copies, |out| source.write(script, tag, out)) {
                    self.judge.tally.drop_for("unwritable");
                }
            }
            Action::Defer { delay_ns } => {
                let write = |slot: &mut [u8]| {
                    let out = slot.get_mut(..width)?;
                    source.write(script, tag, out).then_some(width)
                };
                let stored = self
                    .late
                    .store(class, (visit.now_ns, delay_ns), visit.origin, write);
                let counts = self.judge.counts(class);
                counts.late_stored += u64::from(stored);
                counts.late_dropped += u64::from(!stored);
            }
        }
        Step::Done
    }

    /// Treats a datagram that fits no mould: the wire crate says what it is.
    pub(crate) fn answer_parsed(
        &mut self,
        visit: &Visit,
        datagram: &[u8],
        train: &mut Train<'_>,
    ) -> Step {
        if self.answer_in_dialog(visit, datagram) {
            return Step::Done;
        }
        let tally = &mut self.judge.tally;
        tally.parsed += 1;
        let transport = match visit.origin.stream {
            0 => Transport::Datagram,
            _ => Transport::Stream,
        };
        let refusal = match screen_as(datagram, transport, Role::Endpoint) {
            Verdict::Drop {
                reason: DropReason::NotSip(ParseError::KeepAlive),
            } => {
                tally.drop_for("keep_alive");
                return Step::Done;
            }
            Verdict::Drop { .. } => {
                tally.malformed += 1;
                return Step::Done;
            }
            Verdict::Reject { code } => Some(code),
            Verdict::Accept => None,
        };
        let Ok((message, _)) = Message::scan(datagram) else {
            tally.malformed += 1;
            return Step::Done;
        };
        let cause = match message.method() {
            None => Some("response"),
            Some(Method::Ack) => Some("ack"),
            Some(_) if !is_answerable(&message) => Some("unanswerable"),
            Some(_) => None,
        };
        if let Some(cause) = cause {
            tally.drop_for(cause);
            return Step::Done;
        }
        if let Some(code) = refusal {
            return self.refuse(&message, code, train);
        }
        if message.method() != Some(Method::Message) {
            return self.refuse(&message, 405, train);
        }
        match self.answer(visit, Source::Parsed(&message), keys_of(&message), train) {
            Step::Done => Step::Learn,
            other => other,
        }
    }

    /// Treats what belongs to a call of ours: a response with a branch, a request with a tag of ours.
    #[inline]
    fn answer_in_dialog(&mut self, visit: &Visit, datagram: &[u8]) -> bool {
        let Some(calls) = self.calls.as_deref_mut() else {
            return false;
        };
        let Ok(message) = Message::parse(datagram) else {
            return false;
        };
        if message.status_code().is_some() {
            return calls.response(visit.now_ns, visit.origin, &message);
        }
        let tag = message.to_tag().unwrap_or(b"");
        let Some(name) = calls.name(tag) else {
            return false;
        };
        calls.request(visit.now_ns, visit.origin, name, &message);
        true
    }

    /// Answers a request that is not accepted with `code`.
    pub(crate) fn refuse(
        &mut self,
        message: &Message<'_>,
        code: u16,
        train: &mut Train<'_>,
    ) -> Step {
        let source = Source::Parsed(message);
        let unsupported = (code == 420).then(|| Script::unsupported(message));
        let script = unsupported.as_ref().unwrap_or_else(|| {
            let known = self.refusals.entry(code);
            known.or_insert_with(|| Script::refusal(code))
        });
        let needed = source.copied_bytes_max() + script.literal_bytes();
        let width = if train.lone {
            needed
        } else {
            round(&source, needed)
        };
        match train.room(width, 1, self.segments_max) {
            Room::Here => {}
            Room::NextTrain => return Step::TrainFull,
            Room::Nowhere => {
                self.judge.tally.drop_for("answer_too_long");
                return Step::Done;
            }
        }
        let tag = tag(u64::from(code));
        if train.put(width, 0, |out| source.write(script, tag, out)) {
            self.judge.tally.refuse_with(code);
        } else {
            self.judge.tally.drop_for("unwritable");
        }
        Step::Done
    }
}

/// Tells whether a request has the fields that every response copies (RFC 3261 8.2.6.2).
fn is_answerable(message: &Message<'_>) -> bool {
    let has = |name| message.header(name).is_some();
    message.top_via().is_some()
        && has(HeaderName::From)
        && has(HeaderName::To)
        && has(HeaderName::CallId)
        && has(HeaderName::CSeq)
}

/// Returns the hashes of a parsed request; without a branch (RFC 2543) the whole Via stands for it.
fn keys_of(message: &Message<'_>) -> Keys {
    let via = message.header(HeaderName::Via).unwrap_or(b"");
    let branch = message.top_via().and_then(|via| via.branch).unwrap_or(via);
    let uri = message.request_uri().unwrap_or(b"");
    Keys {
        uri_hash: public_hash(uri),
        branch_hash: public_hash(branch),
    }
}

#[inline]
fn round(source: &Source<'_>, width: usize) -> usize {
    match source {
        Source::Cast { .. } => width,
        Source::Parsed(_) => width.next_multiple_of(PARSED_STEP),
    }
}

/// Where answers of some length fit.
enum Room {
    Here,
    NextTrain,
    Nowhere,
}

impl Train<'_> {
    /// Tells where `count` answers of up to `width` octets fit.
    #[inline]
    fn room(&self, width: usize, count: usize, segments_max: usize) -> Room {
        let taken = self.segment.max(width);
        let fits = self.length + count * taken <= self.out.len();
        let begun = self.answers > 0;
        if fits && (!begun || width <= self.segment) && self.answers + count <= segments_max {
            Room::Here
        } else if begun {
            Room::NextTrain
        } else {
            Room::Nowhere
        }
    }

    /// Appends one answer and its copies; the first fixes the length. `room` was asked before.
    #[inline]
    fn put(&mut self, width: usize, copies: u8, write: impl FnOnce(&mut [u8]) -> bool) -> bool {
        let segment = if self.answers == 0 {
            width
        } else {
            self.segment
        };
        let start = self.length;
        let Some(target) = self.out.get_mut(start..start + segment) else {
            return false;
        };
        if !write(target) {
            return false;
        }
        for copy in 1..=usize::from(copies) {
            self.out
                .copy_within(start..start + segment, start + copy * segment);
        }
        self.segment = segment;
        self.answers += 1 + usize::from(copies);
        self.length = start + segment * (1 + usize::from(copies));
        true
    }
}
