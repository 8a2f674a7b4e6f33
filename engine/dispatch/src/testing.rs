//! Targets, an outbox in memory and answers for the unit tests of this crate.

use crate::config::EngineConfig;
use crate::shard::{Keys, Shard};
use crate::templates::Sender;
use crate::train::{Outbox, TRAIN_BYTES_MAX};
use crate::transaction::Target;
use sirocco_index::population::{HEADER, Policy, load_from};
use sirocco_index::{Device, Index};
use sirocco_wire::sip::message::Message;
use sirocco_wire::sip::status::Status;
use sirocco_wire::sip::write;
use std::net::SocketAddr;

/// Unix time at which the clock of the tests is 0, in seconds.
pub const EPOCH_S: u64 = 1_700_000_000;
/// Where the shard of the tests is.
pub const SENT_BY: &str = "127.0.0.1:5070";
/// Under which IMEIs are obfuscated.
pub const IMEI_NAMESPACE: [u8; 16] = *b"a tested secret.";

/// An index of population lines.
pub fn index_of(people: &[String]) -> Index {
    let mut text = String::from_utf8_lossy(HEADER).into_owned();
    for line in people {
        text.push('\n');
        text.push_str(line);
    }
    let mut index = Index::with_known_key(people.len().max(1), [1, 2]).expect("memory");
    load_from(text.as_bytes(), "people", &mut index, Policy::Stop).expect("a population");
    index
}

/// A shard over population lines.
pub fn shard_over(config: &EngineConfig, people: &[String]) -> Shard {
    let keys = Keys {
        branch: [1, 2],
        token: [3, 4],
        session: [9, 10],
        owner: [11, 12],
        pending: [5, 6, 7, 8].map(|word: u64| word.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        imei: Some(IMEI_NAMESPACE),
    };
    let own = sender();
    let sender = Sender {
        ppg_uri: config.ppg_uri.clone().unwrap_or(own.ppg_uri),
        sir_key: config.sir_key().expect("a key"),
        ..own
    };
    let session = config.sessions(SENT_BY.parse().expect("an address"), None);
    Shard::new(
        config,
        index_of(people),
        sender,
        &keys,
        session,
        (0, EPOCH_S),
    )
}

/// What all SIRs of the tests have in common.
pub fn sender() -> Sender {
    Sender {
        sent_by: SENT_BY.to_owned(),
        from: "sip:ppg@ims.example".to_owned(),
        from_tag: "a1b2c3d4".to_owned(),
        ppg_uri: "sip:ppg@127.0.0.1:5070".to_owned(),
        sir_key: None,
    }
}

/// One slab on its way: its number, its datagrams and their targets.
pub type Departed = (usize, Vec<(SocketAddr, Vec<u8>)>);

/// An outbox of slabs in memory.
pub struct Yard {
    slabs: Vec<Box<[u8]>>,
    free: Vec<usize>,
    departed: Vec<Departed>,
}

impl Yard {
    /// Free slabs.
    pub fn new(count: usize) -> Self {
        Self {
            slabs: (0..count)
                .map(|_| vec![0; TRAIN_BYTES_MAX].into())
                .collect(),
            free: (0..count).rev().collect(),
            departed: Vec::new(),
        }
    }

    /// What has left; its slabs are free again.
    pub fn take_departed(&mut self) -> Vec<Departed> {
        self.free
            .extend(self.departed.iter().map(|(slab, _)| *slab));
        std::mem::take(&mut self.departed)
    }

    fn depart(&mut self, slab: usize, segment: usize, targets: impl Iterator<Item = SocketAddr>) {
        let segments = self.slabs[slab].chunks_exact(segment).map(<[u8]>::to_vec);
        self.departed.push((slab, targets.zip(segments).collect()));
    }
}

impl Outbox for Yard {
    type Slab = usize;

    fn take_slab(&mut self) -> Option<usize> {
        self.free.pop()
    }

    fn number(slab: &usize) -> usize {
        *slab
    }

    fn octets(&mut self, slab: &usize) -> &mut [u8] {
        &mut self.slabs[*slab]
    }

    fn send_train(&mut self, slab: usize, target: SocketAddr, length: usize, segment: usize) {
        assert!(length.is_multiple_of(segment) && length <= TRAIN_BYTES_MAX);
        self.depart(slab, segment, std::iter::repeat_n(target, length / segment));
    }

    fn send_each(&mut self, slab: usize, targets: &[SocketAddr], segment: usize) {
        self.depart(slab, segment, targets.iter().copied());
    }

    fn release(&mut self, slab: usize) {
        self.free.push(slab);
    }
}

/// The answer of a device to a SIR.
pub fn answer_to(sir: &[u8], status: u16, extra: &[(&[u8], &[u8])]) -> Vec<u8> {
    let request = Message::parse(sir).expect("a SIR");
    let mut out = vec![0; 2048];
    let length = write::response(&mut out, &request, Status::of(status), b"d", extra);
    out.truncate(length.expect("room"));
    out
}

/// The branch of a SIR.
pub fn branch_of(sir: &[u8]) -> String {
    let message = Message::parse(sir).expect("a SIR");
    let branch = message.top_via().and_then(|via| via.branch);
    String::from_utf8_lossy(branch.expect("a branch")).into_owned()
}

/// The Request-URI of a SIR.
pub fn uri_of(sir: &[u8]) -> String {
    let message = Message::parse(sir).expect("a SIR");
    String::from_utf8_lossy(message.request_uri().expect("a request")).into_owned()
}

/// A device behind `next_hop`, whose identity ends in the octet `number`.
pub fn device(next_hop: u16, number: u8) -> Device {
    let line = |hop: u16| {
        let last = if hop == next_hop { number } else { 0 };
        format!(
            "sip:+86138{hop:08}@ims.example\turn:uuid:07070707-0707-0707-0707-0707070707{last:02x}\t\
             127.0.0.1:{}\t-\tsip\tidle\t00\t0\t00\t-",
            10_000 + hop
        )
    };
    let index = index_of(&(0..=next_hop.min(16)).map(line).collect::<Vec<_>>());
    let aor = format!("sip:+86138{next_hop:08}@ims.example");
    let identity = index.pack(aor.as_bytes()).expect("an AOR");
    index.devices(index.lookup(identity))[0]
}

/// A target behind `next_hop` for the order in slot `order`.
pub fn target(next_hop: u16, order: u16) -> Target {
    Target {
        key: 1,
        due_ns: 0,
        device: device(next_hop, 1),
        shape: 2,
        order,
        template: 0,
    }
}
