//! The shard against an outbox in memory: one clock that the test moves, answers that it writes.

use super::*;
use crate::order::Order;
use crate::testing::{Yard, answer_to, branch_of, shard_over, uri_of};
use crate::transaction::TIMER_F_NS;
use sirocco_wire::sip::header::HeaderName;
use sirocco_wire::sip::message::Message;
use std::net::SocketAddrV4;

mod answers;
mod flight;
mod sessions;
mod waiting;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
/// Where answers come from: the address of every next hop here.
const EDGE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 20_000));
const UUID: &str = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";

fn line(aor: &str, device: &str, hop: &str) -> String {
    format!("{aor}\t{device}\t{hop}\t-\tsip\tidle\t00\t0\t00\t-")
}

fn order(json: &str) -> Order {
    Order::read(json).expect("an order")
}

fn to(aor: &str) -> Order {
    order(&format!(r#"{{"order":"o","to":{{"identity":"{aor}"}}}}"#))
}

/// A shard and what it sends, driven turn by turn.
struct Rig {
    shard: Shard,
    yard: Yard,
    now: u64,
}

impl Rig {
    fn new(config: &EngineConfig, people: &[String]) -> Self {
        Self {
            shard: shard_over(config, people),
            yard: Yard::new(config.slabs as usize),
            now: SECOND,
        }
    }

    fn accept(&mut self, order: Order) {
        self.shard.accept(self.now, order).expect("room");
    }

    /// One turn; the SIRs that left in it.
    fn turn(&mut self) -> Vec<Vec<u8>> {
        self.shard.expire(self.now);
        self.shard.select(self.now, &mut ());
        self.shard.depart(self.now, &mut self.yard, &mut ());
        self.check();
        let mut sirs = Vec::new();
        for (slab, datagrams) in self.yard.take_departed() {
            sirs.extend(datagrams.into_iter().map(|(_, octets)| octets));
            self.shard.sent(self.now, slab, false);
        }
        sirs
    }

    /// Turns when the shard asks for them until `until`; what left when.
    fn run_until(&mut self, until: u64) -> Vec<(u64, Vec<u8>)> {
        let mut left = Vec::new();
        let mut turns = 0;
        loop {
            left.extend(self.turn().into_iter().map(|sir| (self.now, sir)));
            let due = self.shard.next_due_ns(self.now).unwrap_or(until);
            if due >= until {
                self.now = until;
                return left;
            }
            turns += 1;
            assert!(turns < 10_000, "it spins at {}", self.now);
            self.now = due.max(self.now + 1_000);
        }
    }

    fn run_for(&mut self, ns: u64) -> Vec<(u64, Vec<u8>)> {
        self.run_until(self.now + ns)
    }

    fn answer(&mut self, sir: &[u8], status: u16, extra: &[(&[u8], &[u8])]) {
        let answer = answer_to(sir, status, extra);
        self.shard
            .answer(self.now, EDGE, &answer, answer.len(), &mut ());
        self.check();
    }

    fn check(&self) {
        assert_eq!(self.shard.ledger.residue(self.shard.in_flight()), 0);
    }

    fn causes(&self) -> Vec<(String, u64)> {
        self.shard.ledger.failed_by_cause().into_iter().collect()
    }
}

fn people(count: usize, hop: &str) -> Vec<String> {
    let person = |number| {
        let device = format!("urn:uuid:f81d4fae-7dec-11d0-a765-{number:012x}");
        line(&format!("sip:+4930{number:06}@ims.example"), &device, hop)
    };
    (0..count).map(person).collect()
}

/// A device identity of sip:alice@ims.example and the Request-URI of its SIRs; of an obfuscated IMEI the
/// beginning.
const ADDRESSED: &[(&str, &str)] = &[
    (
        UUID,
        "sip:alice@ims.example;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
    ),
    (
        "urn:dev:mac:0024befffe804ff1",
        "sip:alice@ims.example;gr=urn:dev:mac:0024befffe804ff1",
    ),
    (
        "urn:epc:id:sgtin:1.2.3",
        "sip:alice@ims.example;gr=urn:epc:id:sgtin:1.2.3",
    ),
    (
        "urn:3gpp2:esn:80a1b2c3",
        "sip:alice@ims.example;gr=urn:3gpp2:esn:80a1b2c3",
    ),
    (
        "https://h/tv?a=1;b",
        "sip:alice@ims.example;gr=https://h/tv%3Fa%3D1%3Bb",
    ),
    (
        "urn:example:a;b=c",
        "sip:alice@ims.example;gr=urn:example:a%3Bb%3Dc",
    ),
    (
        "ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk",
        "sip:alice@ims.example;gr=ni:///sha-256%3Bf4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk",
    ),
    // RFC 5627 4.5: a GRUU is the Request-URI, whole.
    (
        "sip:tgruu.7hs==jd7@ims.example;gr",
        "sip:tgruu.7hs==jd7@ims.example;gr",
    ),
    (
        "sip:alice@ims.example;gr=kjh29x97us97d",
        "sip:alice@ims.example;gr=kjh29x97us97d",
    ),
    (
        "urn:gsma:imei:90420156-025763-0",
        "sip:alice@ims.example;gr=urn:uuid:",
    ),
    (
        "urn:gsma:imei:90420156-025764-0;svn=42",
        "sip:alice@ims.example;gr=urn:uuid:",
    ),
];

#[test]
fn every_kind_of_device_gets_its_own_request_uri() {
    let aor = "sip:alice@ims.example";
    for (device, uri) in ADDRESSED {
        let config = EngineConfig {
            record_outcomes: true,
            ..EngineConfig::default()
        };
        let mut rig = Rig::new(&config, &[line(aor, device, "127.0.0.1:1")]);
        rig.accept(to(aor));
        let left = rig.run_for(MS);
        assert_eq!(left.len(), 1, "{device}");
        let sent = uri_of(&left[0].1);
        assert!(sent.starts_with(uri), "{device}: {sent}");
        assert!(sent == *uri || device.contains("imei"), "{device}: {sent}");
        assert!(
            !String::from_utf8_lossy(&left[0].1).contains("imei"),
            "{device}"
        );
        rig.answer(&left[0].1, 200, &[]);
        assert_eq!(rig.shard.ledger.delivered, 1, "{device}");
        let log = rig.shard.outcomes.as_ref().expect("it is on").entries();
        assert_eq!(
            log[0].uri_hash,
            crate::outcome::hash(sent.as_bytes()),
            "{device}"
        );
        assert!(
            rig.shard.kept.is_empty() && rig.shard.pending.is_empty(),
            "{device}"
        );
    }
}

#[test]
fn tel_and_sips_users_and_sips_gruus_are_unroutable() {
    let gruu = "sips:alice@ims.example;gr=kjh29x97us97d";
    for (aor, device) in [
        ("tel:+493012345", UUID),
        ("tel:+493012345", "urn:example:a"),
        ("sips:+493012345@ims.example", UUID),
        ("sips:alice@ims.example", UUID),
        ("sips:alice@ims.example", "sip:alice@ims.example;gr=x"),
        ("sip:alice@ims.example", gruu),
    ] {
        let mut rig = Rig::new(
            &EngineConfig::default(),
            &[line(aor, device, "127.0.0.1:1")],
        );
        rig.accept(to(aor));
        assert!(rig.run_for(MS).is_empty(), "{aor} {device}");
        assert_eq!(rig.causes(), [("unroutable".to_owned(), 1)], "{aor}");
        assert!(rig.shard.is_idle() && rig.shard.kept.is_empty(), "{aor}");
    }
}

#[test]
fn what_cannot_be_named_on_the_wire_fails_by_its_cause() {
    let aor = "sip:+493012345@ims.example";
    let long = format!("urn:example:{}", "a;".repeat(110));
    let people = [
        line(aor, "sip:a@h;gr=x?Subject=y", "127.0.0.1:1"),
        line(aor, &long, "127.0.0.1:1"),
        line(aor, "urn:gsma:imei:90420156-025763-0", "127.0.0.1:1"),
    ];
    let mut rig = Rig::new(&EngineConfig::default(), &people);
    rig.shard.kept = KeptTexts::new(None);
    rig.accept(to(aor));
    assert!(rig.run_for(MS).is_empty());
    let expected = [("imei-namespace", 1), ("too-long", 1), ("unroutable", 1)];
    assert_eq!(
        rig.causes(),
        expected.map(|(cause, count)| (cause.to_owned(), count))
    );
    assert!(rig.shard.kept.is_empty() && rig.shard.is_idle());
}

/// A device identity, a name for it, and whether it names the device.
const COMPARED: [(&str, &str, bool); 15] = [
    (
        "urn:gsma:imei:90420156-025763-0",
        "URN:GSMA:IMEI:90420156-025763-0;vers=0",
        true,
    ),
    (
        "urn:gsma:imei:90420156-025763-0;vers=0",
        "urn:gsma:imei:90420156-025763-0",
        true,
    ),
    (
        "urn:dev:mac:0024befffe804ff1",
        "urn:dev:mac:0024BEFFFE804FF1",
        true,
    ),
    (
        "urn:3gpp2:meid:A04B0D56-02A7E3",
        "urn:3gpp2:meid:a04b0d56-02a7e3",
        true,
    ),
    (
        "urn:3gpp2:meid:A04B0D56-02A7E3",
        "urn:3gpp2:esn:a04b0d56",
        false,
    ),
    ("urn:epc:id:sgtin:1.2.3", "URN:EPC:ID:sgtin:1.2.3", true),
    ("urn:epc:id:sgtin:1.2.3", "urn:epc:id:sgtin:1.2.4", false),
    ("urn:Example:a%3ab", "URN:example:a%3Ab", true),
    ("urn:example:a", "urn:example:A", false),
    ("HTTPS://Host/Tv", "https://host/Tv", true),
    ("https://host/Tv", "https://host/tv", false),
    (
        "ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk",
        "ni://h/sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk?x",
        true,
    ),
    (
        "sip:tgruu.7@ims.example;gr",
        "sip:tgruu.7@IMS.example;gr",
        true,
    ),
    (
        "sip:tgruu.7@ims.example;gr",
        "sip:tgruu.8@ims.example;gr",
        false,
    ),
    ("x-odd:~", "x-odd:~", true),
];

#[test]
fn selectors_find_each_kind_by_its_rules_of_comparison() {
    let aor = "sip:alice@ims.example";
    let gruu = format!("sip:alice@ims.example;gr={UUID}");
    let hidden = sirocco_wire::identity::obfuscate_imei(
        b"urn:gsma:imei:90420156-025763-0",
        &crate::testing::IMEI_NAMESPACE,
    );
    let mut octets = [0; 45];
    hidden.expect("an IMEI").write_urn(&mut octets);
    let hidden = String::from_utf8_lossy(&octets).into_owned();
    let upper = UUID.to_uppercase();
    let made = [
        (UUID, upper.as_str(), true),
        (UUID, gruu.as_str(), true),
        (gruu.as_str(), UUID, true),
        (UUID, "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf7", false),
        ("urn:gsma:imei:90420156-025763-0", hidden.as_str(), true),
    ];
    for (held, named, is_same) in made.into_iter().chain(COMPARED) {
        let mut rig = Rig::new(&EngineConfig::default(), &[line(aor, held, "127.0.0.1:1")]);
        let json = serde_json::json!({
            "order": "o", "to": { "identity": aor }, "select": { "devices": [named] }
        });
        rig.accept(order(&json.to_string()));
        assert_eq!(
            rig.run_for(MS).len(),
            usize::from(is_same),
            "{held} by {named}"
        );
        if !is_same {
            assert_eq!(
                rig.causes(),
                [("no-device".to_owned(), 1)],
                "{held} by {named}"
            );
        }
    }
}

#[test]
fn a_retransmission_is_the_same_when_its_device_is_gone_and_its_number_another_ones() {
    let (alice, bob) = ("sip:alice@ims.example", "sip:bobby@ims.example");
    let tag = "urn:epc:id:sgtin:1.2.3";
    let mut rig = Rig::new(&EngineConfig::default(), &[line(alice, tag, "127.0.0.1:1")]);
    rig.accept(to(alice));
    let first = rig.run_for(MS);
    let lines = [
        line(bob, "urn:epc:id:sgtin:9.9.9", "127.0.0.1:1"),
        line(bob, tag, "127.0.0.1:1"),
    ];
    rig.shard.change(|index| {
        let gone = index.pack(alice.as_bytes()).expect("known");
        assert_eq!(index.remove_identity(gone), 1);
        for line in &lines {
            let put = crate::change::IndexChange::Put(line.clone());
            put.apply(index).expect("room");
        }
    });
    let again = rig.run_for(SECOND);
    assert_eq!(again.len(), 1);
    assert_eq!(first[0].1, again[0].1);
    rig.answer(&again[0].1, 200, &[]);
    assert!(rig.shard.is_idle() && rig.shard.kept.is_empty());
}

#[test]
fn a_text_identity_that_waits_for_selection_is_looked_up_anew_after_a_change() {
    let (alice, bob) = ("sip:alice@ims.example", "sip:bobby@ims.example");
    let config = EngineConfig {
        window_total: 1,
        ..EngineConfig::default()
    };
    let mut filler = people(1, "127.0.0.1:1");
    filler.push(line(alice, UUID, "127.0.0.1:1"));
    let mut rig = Rig::new(&config, &filler);
    let json = format!(
        r#"{{"order":"o","to":{{"identities":["sip:+4930000000@ims.example","{alice}"]}}}}"#
    );
    rig.accept(order(&json));
    let first = rig.run_for(MS);
    assert_eq!((first.len(), rig.shard.candidates.len()), (1, 1));
    rig.shard.change(|index| {
        let gone = index.pack(alice.as_bytes()).expect("known");
        index.remove_identity(gone);
        let put = crate::change::IndexChange::Put(line(bob, UUID, "127.0.0.1:1"));
        put.apply(index).expect("room");
    });
    rig.answer(&first[0].1, 200, &[]);
    assert!(rig.run_for(MS).is_empty(), "nothing for alice goes to bob");
    assert_eq!(rig.causes(), [("unknown-identity".to_owned(), 1)]);
}

#[test]
fn expired_devices_are_passed_over_and_swept() {
    let aor = "sip:+493012345@ims.example";
    let now_s = crate::testing::EPOCH_S + 1;
    let other = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf7";
    let ended = line(aor, UUID, "127.0.0.1:1").replace("00\t-", &format!("00\t{now_s}"));
    let lasting = line(aor, other, "127.0.0.1:1").replace("00\t-", &format!("00\t{}", now_s + 5));
    let mut rig = Rig::new(&EngineConfig::default(), &[ended, lasting]);
    rig.accept(to(aor));
    let left = rig.run_for(MS);
    assert_eq!(left.len(), 1);
    assert!(
        uri_of(&left[0].1).ends_with(other),
        "{}",
        uri_of(&left[0].1)
    );
    rig.answer(&left[0].1, 200, &[]);
    assert_eq!(rig.shard.sweep(rig.now), 1);
    assert_eq!(
        rig.shard.sweep(rig.now),
        0,
        "not twice in the same millisecond"
    );
    rig.now += 10 * SECOND;
    rig.accept(to(aor));
    assert!(rig.run_for(MS).is_empty());
    assert_eq!(rig.causes(), [("no-device".to_owned(), 1)]);
    assert_eq!(rig.shard.sweep(rig.now), 1);
    assert_eq!(rig.shard.index.len(), 0);
}

#[test]
fn a_cancel_names_every_unit_wherever_it_waits() {
    let config = EngineConfig {
        window_per_next_hop: 2,
        backlog_per_next_hop: 2,
        ..EngineConfig::default()
    };
    let mut all = people(70, "127.0.0.1:1");
    all.push(line(
        "sip:alice@ims.example",
        "urn:gsma:imei:90420156-025763-0",
        "127.0.0.1:2",
    ));
    let mut rig = Rig::new(&config, &all);
    rig.accept(to("sip:alice@ims.example"));
    rig.accept(to("sip:alice@ims.example"));
    rig.run_for(MS);
    rig.accept(order(r#"{"order":"e","to":{"everybody":true}}"#));
    rig.run_for(MS);
    let mut named = Vec::new();
    rig.shard.cancel(rig.now, |remainder| named.push(remainder));
    rig.check();
    let ledger = &rig.shard.ledger;
    assert_eq!(
        (named.len() as u64, ledger.accepted),
        (ledger.cancelled, ledger.cancelled)
    );
    assert_eq!(ledger.cancelled, 73);
    assert!(rig.shard.is_idle() && rig.shard.kept.is_empty());
    assert!(named.iter().any(|unit| unit.sent) && named.iter().any(|unit| !unit.sent));
    assert!(named.iter().any(|unit| unit.device.is_none()));
    assert!(
        named
            .iter()
            .all(|unit| !format!("{unit:?}").contains("imei"))
    );
    assert!(matches!(
        rig.shard.accept(rig.now, to("sip:a@h")),
        Err(Refusal::Draining)
    ));
}

#[test]
fn the_order_source_is_behind_by_what_was_due_before_the_selection() {
    let mut rig = Rig::new(&EngineConfig::default(), &people(100, "127.0.0.1:1"));
    let identities: Vec<_> = rig.shard.index.keys().collect();
    let load = crate::load::Load::new(identities.into(), crate::load::Wanted::All, Some(1e6), 100);
    let audience = crate::order::Audience::Load(load);
    rig.accept(Order {
        audience,
        ..to("sip:a@h")
    });
    rig.now += 9_500;
    rig.shard.select(rig.now, &mut ());
    assert_eq!(
        rig.shard.behind(),
        10,
        "ten were due and none was taken yet"
    );
    rig.shard.select(rig.now, &mut ());
    assert_eq!(rig.shard.behind(), 0);
}
