//! What an order puts into its SIRs beside an address, and what comes back of it: identities as data,
//! applications, questions, another gateway, the seal. docs/patent.md names these tests.

use super::*;
use crate::returned::ReturnedCounts;
use sirocco_index::Device;
use sirocco_wire::sip::seal::{SealCheck, SirKey};
use sirocco_wire::sir::{DevicePosition, When};

/// A device identity of each of the nine kinds, in the order of `DeviceKind`, and how a SIR carries it.
const NINE: [(&str, &str); 9] = [
    ("sip:alice@ims.example;gr=kjh29x97us97d", ""),
    (PHONE, PHONE),
    // RFC 7255 7: never as it is.
    ("urn:gsma:imei:90420156-025763-0", "urn:uuid:"),
    (
        "https://ims.example/tv?a=1",
        "https://ims.example/tv%3Fa%3D1",
    ),
    ("urn:example:set-top-box-7", "urn:example:set-top-box-7"),
    ("urn:epc:id:sgtin:1.2.3", "urn:epc:id:sgtin:1.2.3"),
    ("urn:3gpp2:esn:80a1b2c3", "urn:3gpp2:esn:80a1b2c3"),
    (
        "urn:dev:mac:0024befffe804ff1",
        "urn:dev:mac:0024befffe804ff1",
    ),
    (
        "ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk",
        "ni:///sha-256%3Bf4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk",
    ),
];

fn body_of(sir: &[u8]) -> Vec<u8> {
    let message = Message::parse(sir).expect("a SIR");
    message.body().to_vec()
}

fn order_with(fields: &str) -> Order {
    order(&format!(
        r#"{{"order":"a","to":{{"identity":"{AOR}"}},{fields}}}"#
    ))
}

impl Rig {
    /// Returns information as a SIR asked for it; the status of the answer.
    fn tell(&mut self, caller: &Caller, token: &str, lines: &str) -> Option<u16> {
        let uri = format!("sip:ppg@127.0.0.1:5070;t={token}");
        let message = caller.request("MESSAGE", &uri, "<sip:ppg@127.0.0.1:5070>", 1);
        let about = format!(
            "Content-Type: text/parameters\r\nContent-Length: {}\r\n\r\n{lines}",
            lines.len()
        );
        let answers = self.ask(&message.replace("Content-Length: 0\r\n\r\n", &about));
        let answer = Message::parse(answers.first()?).expect("an answer");
        answer.status_code()
    }

    fn device(&self, number: usize) -> Device {
        let identity = self.shard.index.pack(AOR.as_bytes()).expect("an AOR");
        let run = self.shard.index.lookup(identity);
        self.shard.index.devices(run)[number]
    }
}

#[test]
fn each_kind_of_identity_is_carried_in_each_position() {
    for (device, carried) in NINE {
        for (position, name) in [
            (DevicePosition::Header, "header"),
            (DevicePosition::Value, "value"),
            (DevicePosition::Body, "body"),
        ] {
            let people = [line(AOR, device, "127.0.0.1:1")];
            let mut rig = Rig::new(&EngineConfig::default(), &people);
            let fields = format!(r#""device-position":"{name}","#);
            let sirs = rig.sirs(push("matched", &fields));
            assert_eq!(sirs.len(), 1, "{device} as {name}: {:?}", rig.causes());
            assert_eq!(uri_of(&sirs[0]), AOR, "data, and nothing to route by");
            assert!(!String::from_utf8_lossy(&sirs[0]).contains("imei"));
            let body = body_of(&sirs[0]);
            let found = Sir::parse(&body).expect("a body").device();
            let (at, text) = found.expect("a device");
            let text = String::from_utf8_lossy(text).into_owned();
            assert_eq!(at, position, "{device}");
            assert!(text.starts_with(carried), "{device} as {name}: {text}");
            let token = token_of(&sirs[0]);
            assert!(rig.follow(&Caller::new(UUID, 1), &token).is_none());
            let own = if device.contains("imei") {
                &text
            } else {
                device
            };
            assert!(
                rig.follow(&Caller::new(own, 2), &token).is_some(),
                "{device} as {name}"
            );
        }
    }
}

#[test]
fn a_self_select_sir_names_no_device_and_those_who_stay_silent_cost_nothing() {
    let mut rig = Rig::new(&EngineConfig::default(), &two_devices());
    let sirs = rig.sirs(push("self-select", r#""select":{"capability":1},"#));
    assert_eq!((sirs.len(), uri_of(&sirs[0])), (1, AOR.to_owned()));
    assert!(!String::from_utf8_lossy(&sirs[0]).contains("urn:uuid"));
    let content = rig.follow(&Caller::new(PHONE, 1), &token_of(&sirs[0]));
    assert_eq!(content.as_deref(), Some(&b"hello"[..]));
    let pushes = rig.pushes();
    assert_eq!((pushes.due, pushes.built, pushes.delivered), (1, 1, 1));
    assert_eq!(
        (pushes.again, pushes.unwanted, pushes.duplicates),
        (0, 0, 0)
    );
}

#[test]
fn a_sir_asks_for_each_of_the_seven_by_its_letter() {
    for (word, letter) in [
        ("capability", "c"),
        ("preference", "p"),
        ("security", "s"),
        ("subscription", "b"),
        ("refusal", "r"),
        ("register", "g"),
        ("capability-message", "m"),
    ] {
        let mut rig = Rig::new(&EngineConfig::default(), &two_devices()[..1]);
        let sirs = rig.sirs(order_with(&format!(r#""ask":["{word}"]"#)));
        let body = body_of(&sirs[0]);
        let sir = Sir::parse(&body).expect("a body");
        assert_eq!(sir.ask().letters(), letter, "{word}");
        assert_eq!(sir.ask().requests().count(), 1);
    }
}

#[test]
fn preference_and_subscription_that_come_back_decide_the_next_selection() {
    let mut rig = Rig::new(&EngineConfig::default(), &two_devices());
    let prefers = r#""select":{"preference":9}"#;
    let subscribes = r#""select":{"subscription":4}"#;
    assert!(rig.sirs(order_with(prefers)).is_empty());
    assert!(rig.sirs(order_with(subscribes)).is_empty());
    let asking = r#""ask":["preference","subscription","security"]"#;
    let sirs = rig.sirs(order_with(asking));
    let lines = "preference: 9\r\nsubscription: 4\r\nsecurity: authentic\r\n";
    let (phone, stranger) = (Caller::new(PHONE, 1), Caller::new(TABLET, 2));
    let token = token_of(&sirs[0]);
    assert_eq!(rig.tell(&stranger, &token, lines), Some(403));
    assert!(rig.sirs(order_with(prefers)).is_empty());
    assert_eq!(rig.tell(&phone, &token, lines), Some(200));
    for selecting in [prefers, subscribes] {
        let sirs = rig.sirs(order_with(selecting));
        assert_eq!(sirs.len(), 1, "{selecting}");
        assert!(uri_of(&sirs[0]).ends_with(PHONE));
    }
    let returned = ReturnedCounts {
        updates: 1,
        authentic: 1,
        ..ReturnedCounts::default()
    };
    assert_eq!(rig.shard.returned(), returned);
}

#[test]
fn a_register_that_a_sir_asked_for_moves_its_binding_and_ends_it() {
    let mut rig = Rig::new(&EngineConfig::default(), &two_devices()[..1]);
    let sirs = rig.sirs(order_with(r#""ask":["register"]"#));
    let phone = Caller::new(PHONE, 1);
    let uri = format!("sip:127.0.0.1:5070;t={}", token_of(&sirs[0]));
    let register = phone.request("REGISTER", &uri, &format!("<{AOR}>"), 1);
    let register = register
        .replace("@127.0.0.1:20000>;+sip", "@127.0.0.1:6060>;+sip")
        .replace("Content-Length", "Expires: 100\r\nContent-Length");
    let answers = rig.ask(&register);
    let answer = Message::parse(&answers[0]).expect("an answer");
    assert_eq!(answer.status_code(), Some(200));
    let contact = "127.0.0.1:6060".parse().expect("an address");
    assert_eq!(rig.device(0).contact_v4(), Some(contact));
    rig.ask(&register.replace("127.0.0.1:6060", "192.0.2.9:6060"));
    let kept = rig.device(0).contact_v4();
    assert_eq!(kept, Some(contact), "it came from elsewhere");
    rig.run_for(90 * SECOND);
    assert_eq!(rig.sirs(order_with(r#""priority":"high""#)).len(), 1);
    rig.run_for(20 * SECOND);
    assert!(
        rig.sirs(order_with(r#""priority":"high""#)).is_empty(),
        "it registered for 100 s"
    );
    assert_eq!(rig.shard.returned().registered, 2);
}

#[test]
fn a_sir_names_the_application_to_activate_and_when() {
    for (when, read) in [("before", When::Before), ("after", When::After)] {
        let mut rig = Rig::new(&EngineConfig::default(), &two_devices()[..1]);
        let fields = format!(r#""activate":{{"application":"mms.ua","when":"{when}"}}"#);
        let sirs = rig.sirs(order_with(&fields));
        let body = body_of(&sirs[0]);
        let sir = Sir::parse(&body).expect("a body");
        assert_eq!(sir.activation(), Some((&b"mms.ua"[..], read)));
    }
    let mut rig = Rig::new(&EngineConfig::default(), &two_devices()[..1]);
    let sirs = rig.sirs(order_with(r#""application":"mms.ua""#));
    let text = String::from_utf8_lossy(&sirs[0]).into_owned();
    assert!(text.contains("\r\nX-Wap-Application-Id: x-wap-application:mms.ua\r\n"));
    assert!(text.contains("+g.oma.pusheventapp=\"mms.ua\";require;explicit"));
    let body = body_of(&sirs[0]);
    let sir = Sir::parse(&body).expect("a body");
    assert_eq!(sir.activation(), None, "it is addressed, not activated");
}

#[test]
fn the_gateway_that_a_sir_names_may_be_another_one_than_its_sender() {
    let config = EngineConfig {
        ppg_uri: Some("sip:content@192.0.2.7:5080".to_owned()),
        ..EngineConfig::default()
    };
    let mut rig = Rig::new(&config, &two_devices()[..1]);
    let sirs = rig.sirs(order_with(r#""mode":"targeted""#));
    let body = body_of(&sirs[0]);
    let sir = Sir::parse(&body).expect("a body");
    assert_eq!(sir.gateway(), b"sip:content@192.0.2.7:5080");
    let message = Message::parse(&sirs[0]).expect("a SIR");
    let via = message.top_via().expect("Via");
    assert_eq!(via.sent_by, b"127.0.0.1:5070", "answers come to the sender");
}

#[test]
fn a_sealed_sir_is_authentic_for_whoever_has_the_key() {
    let name = format!("sirocco-seal-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let key = "000102030405060708090a0b0c0d0e0f";
    std::fs::write(&path, key).expect("a file");
    let config = EngineConfig {
        sir_key_file: Some(path.clone()),
        ..EngineConfig::default()
    };
    let mut rig = Rig::new(&config, &two_devices()[..1]);
    std::fs::remove_file(&path).expect("it was written");
    let key = SirKey::from_hex(key).expect("a key");
    for fields in [
        r#""mode":"targeted""#,
        r#""mode":"matched","device-position":"body","ask":["security"]"#,
    ] {
        let sirs = rig.sirs(order_with(fields));
        let body = body_of(&sirs[0]);
        let sir = Sir::parse(&body).expect("a body");
        assert_eq!(key.check(&sir, AOR.as_bytes()), SealCheck::Authentic);
        let other = b"sip:+4930000001@ims.example";
        assert_eq!(key.check(&sir, other), SealCheck::Forged);
        let stranger = SirKey::new([1, 2]);
        assert_eq!(stranger.check(&sir, AOR.as_bytes()), SealCheck::Forged);
    }
}
