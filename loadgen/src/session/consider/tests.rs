//! Tests of the way in: who is meant, who decides how, what goes back and what is returned.

use sirocco_wire::sip::{Message, Method};
use sirocco_wire::sir::{DevicePosition, SirFields};

use super::*;
use crate::sample::origin;
use crate::session::calls::CallsConfig;
use crate::session::lanes::Disturbance;
use crate::session::people::People;
use crate::session::policy::SessionPolicy;

const AOR: &[u8] = b"sip:+861@ims.example";
const UUID: &str = "urn:uuid:910a2dec-8902-4cc1-beb8-d8ce2f3c1a95";
const OTHERS: [&str; 2] = [
    "urn:dev:mac:0024befffe804ff1",
    "urn:epc:id:sgtin:0614141.812345.6789",
];

fn people() -> People {
    let line = |device: &str, state: &str, preference: u8| {
        format!(
            "sip:+861@ims.example\t{device}\t127.0.0.1:1\t-\tsip\t{state}\tff\t{preference}\tff\t-\n"
        )
    };
    let text = [
        "#sirocco-population 1\n".to_owned(),
        line(UUID, "idle", 15),
        line(OTHERS[0], "idle", 3),
        line(OTHERS[1], "idle", 1),
    ]
    .concat();
    let name = format!("sirocco-consider-{:?}", std::thread::current().id());
    let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let people = People::read(&path, None, false).unwrap();
    std::fs::remove_file(&path).unwrap();
    people
}

fn calls(policy: SessionPolicy, people: People) -> Calls {
    let config = CallsConfig {
        generator: 0,
        seed: 7,
        calls_max: 64,
        segments_max: 64,
        t1_ns: 500_000_000,
        disturbance: Disturbance::default(),
        content: None,
        accounts: None,
        expires_s: 600,
        policies: vec![Some(policy)],
    };
    let mut calls = Calls::new(config, people, 0);
    calls.bind(&["127.0.0.1:6000".parse().unwrap()], &[]);
    calls
}

fn body(prov_url: &str, device: Option<(DevicePosition, &[u8])>) -> Vec<u8> {
    let fields = SirFields {
        version: 1,
        prov_url: prov_url.as_bytes(),
        device: device.map_or(&b""[..], |(_, device)| device),
        device_position: device.map_or(DevicePosition::None, |(position, _)| position),
        ..SirFields::default()
    };
    let mut out = vec![0; 512];
    let length = fields.write(&mut out).unwrap();
    out.truncate(length);
    out
}

const URL: &str = "sip:ppg@127.0.0.1:5070;t=00112233445566778899aabbccddeeff";

fn consider(calls: &mut Calls, uri: &[u8], body: &[u8], key: Option<&SirKey>) -> u16 {
    let mix = Mix::all_ok();
    let setting = Setting {
        mix: &mix,
        seed: 7,
        key,
        statuses: &[200],
    };
    let delivery = Delivery {
        now_ns: 1_000_000,
        origin: origin(),
        request_uri: uri,
        aor: AOR,
        body,
        class: 0,
        is_ruled: false,
        uri_hash: public_hash(uri),
    };
    calls.consider(&delivery, &setting)
}

/// What left, as texts.
fn sent(calls: &mut Calls) -> Vec<String> {
    let mut texts = Vec::new();
    calls.lanes.flush();
    calls.lanes.drain(|load| {
        for octets in load.octets.chunks(load.segment) {
            texts.push(String::from_utf8_lossy(octets).into_owned());
        }
    });
    texts
}

fn methods(texts: &[String]) -> Vec<String> {
    let name = |text: &String| {
        let message = Message::parse(text.as_bytes()).unwrap();
        let method = message.method().unwrap_or(Method::Other(b"response"));
        String::from_utf8_lossy(method.name()).into_owned()
    };
    texts.iter().map(name).collect()
}

fn word(calls: &Calls, word: Word) -> u64 {
    calls.sheets[0].words[word as usize]
}

#[test]
fn a_sir_for_an_identity_is_forked_to_all_its_devices() {
    let mut calls = calls(SessionPolicy::default(), people());
    assert_eq!(consider(&mut calls, AOR, &body(URL, None), None), 200);
    let texts = sent(&mut calls);
    assert_eq!(methods(&texts), ["INVITE"; 3]);
    for device in [UUID, OTHERS[0], OTHERS[1]] {
        let named = texts
            .iter()
            .filter(|text| text.contains(&format!("<{device}>")));
        assert_eq!(named.count(), 1, "{device}");
    }
    assert_eq!(calls.sheets[0].counts.copies, 3);
    // One user, one SIR: the second content of the three is a duplicate push.
    assert_eq!(
        [0, 0, 0].map(|group| calls.count_in_group(group)),
        [0, 1, 2]
    );
}

#[test]
fn a_sir_for_one_device_reaches_that_one() {
    let mut calls = calls(SessionPolicy::default(), people());
    for parameter in ["gr", "line"] {
        let uri = format!("sip:+861@ims.example;{parameter}={}", OTHERS[0]);
        assert_eq!(
            consider(&mut calls, uri.as_bytes(), &body(URL, None), None),
            200
        );
        let texts = sent(&mut calls);
        assert_eq!(texts.len(), 1);
        assert!(
            texts[0].contains(&format!(";gr={}>", OTHERS[0])),
            "{}",
            texts[0]
        );
        let uri = "INVITE sip:ppg@127.0.0.1:5070;t=00112233445566778899aabbccddeeff SIP/2.0";
        assert!(texts[0].starts_with(uri));
        calls.people.close(1);
        (0..3).for_each(|row| calls.people.close(row));
    }
}

#[test]
fn a_device_that_is_not_meant_stays_silent_wherever_the_identity_stands() {
    for position in [
        DevicePosition::Header,
        DevicePosition::Value,
        DevicePosition::Body,
    ] {
        let mut calls = calls(SessionPolicy::default(), people());
        let url = if position == DevicePosition::Value {
            URL.replace(";t=", &format!(";gr={UUID};t="))
        } else {
            URL.to_owned()
        };
        let device = (position != DevicePosition::Value).then_some((position, UUID.as_bytes()));
        assert_eq!(consider(&mut calls, AOR, &body(&url, device), None), 200);
        assert_eq!(sent(&mut calls).len(), 1, "{position:?}");
        assert_eq!(
            (word(&calls, Word::Accepted), word(&calls, Word::Unmatched)),
            (1, 2)
        );
    }
}

#[test]
fn device_identities_of_all_kinds_are_compared_by_their_own_rules() {
    for (meant, own) in [
        ("urn:uuid:910A2DEC-8902-4CC1-BEB8-D8CE2F3C1A95", UUID),
        (
            "urn:gsma:imei:90420156-025763-0",
            "urn:gsma:imei:90420156-025763-0;vers=0",
        ),
        ("urn:dev:mac:0024BEFFFE804FF1", OTHERS[0]),
        (
            "urn:3gpp2:meid:A04B0D56-02A7E3",
            "urn:3gpp2:meid:a04b0d56-02a7e3",
        ),
        ("urn:3gpp2:esn:8016B128", "urn:3gpp2:esn:8016b128"),
        (OTHERS[1], OTHERS[1]),
        ("URN:example:device-7", "urn:example:device-7"),
        (
            "ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk",
            "ni:///sha-256%3Bf4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk",
        ),
        (
            "sip:a@ims.example;gr=urn:uuid:910a2dec-8902-4cc1-beb8-d8ce2f3c1a95",
            UUID,
        ),
        (
            "http://ims.example/devices/7",
            "http://ims.example/devices/7",
        ),
    ] {
        assert!(is_same(meant.as_bytes(), own.as_bytes()), "{meant} {own}");
        assert!(!is_same(
            meant.as_bytes(),
            b"urn:uuid:00000000-0000-0000-0000-000000000000"
        ));
    }
    assert!(!is_same(b"", UUID.as_bytes()) && !is_same(b"rubbish", UUID.as_bytes()));
}

#[test]
fn the_tag_is_checked_and_a_wrong_one_is_refused() {
    let key = SirKey::new([1, 2]);
    let tag = sirocco_wire::sip::seal::text(key.seal(URL.as_bytes(), AOR, b""));
    let tag = String::from_utf8_lossy(&tag).into_owned();
    let policy = || SessionPolicy {
        sealed_only: true,
        ..SessionPolicy::default()
    };
    let uri = format!("sip:+861@ims.example;gr={UUID}");
    let answer = |url: &str, key: Option<&SirKey>| {
        let mut calls = calls(policy(), people());
        let status = consider(&mut calls, uri.as_bytes(), &body(url, None), key);
        (status, sent(&mut calls).len(), calls)
    };
    let (status, count, _) = answer(&format!("{URL};a={tag}"), Some(&key));
    assert_eq!((status, count), (200, 1));
    let (status, count, calls) = answer(&format!("{URL};a=0000000000000000"), Some(&key));
    assert_eq!((status, count, word(&calls, Word::Forged)), (603, 0, 1));
    let (status, _, calls) = answer(URL, Some(&key));
    assert_eq!((status, word(&calls, Word::Unsealed)), (603, 1));
}

#[test]
fn the_ppg_that_the_sir_names_must_be_on_the_list() {
    let listed = |address: &str| {
        let policy = SessionPolicy {
            ppg_list: vec![address.to_owned()],
            ..SessionPolicy::default()
        };
        let mut calls = calls(policy, people());
        let uri = format!("sip:+861@ims.example;gr={UUID}");
        consider(&mut calls, uri.as_bytes(), &body(URL, None), None)
    };
    assert_eq!(listed("127.0.0.1"), 200);
    assert_eq!(listed("127.0.0.1:5070"), 200);
    assert_eq!(listed("127.0.0.1:5071"), 603);
    assert_eq!(listed("ppg.example"), 603);
}

#[test]
fn one_with_the_highest_preference_answers_and_the_others_decline() {
    let policy = SessionPolicy {
        preference_min: 15,
        declined_status: 480,
        ..SessionPolicy::default()
    };
    let mut calls = calls(policy, people());
    assert_eq!(consider(&mut calls, AOR, &body(URL, None), None), 200);
    assert_eq!(sent(&mut calls).len(), 1);
    assert_eq!(word(&calls, Word::Preference), 2);
}

#[test]
fn a_connected_device_builds_no_second_session() {
    let mut calls = calls(SessionPolicy::default(), people());
    let uri = format!("sip:+861@ims.example;gr={UUID}");
    assert_eq!(
        consider(&mut calls, uri.as_bytes(), &body(URL, None), None),
        200
    );
    assert_eq!(
        consider(&mut calls, uri.as_bytes(), &body(URL, None), None),
        0
    );
    assert_eq!(
        (sent(&mut calls).len(), word(&calls, Word::Connected)),
        (1, 1)
    );
}

#[test]
fn what_a_sir_asks_for_is_returned() {
    let policy = SessionPolicy {
        accept_per_mille: 0,
        ..SessionPolicy::default()
    };
    let mut refusing = calls(policy, people());
    let uri = format!("sip:+861@ims.example;gr={UUID}");
    let url = URL.replace(";t=", ";ask=cpsbrg;t=");
    assert_eq!(
        consider(&mut refusing, uri.as_bytes(), &body(&url, None), None),
        603
    );
    let texts = sent(&mut refusing);
    assert_eq!(methods(&texts), ["MESSAGE", "REGISTER"]);
    let lines = format!(
        "\r\n\r\ndevice: {UUID}\r\ncapability: 255\r\npreference: 15\r\nsubscription: 255\r\nsecurity: unsealed\r\nrefusal: declined\r\n"
    );
    assert!(texts[0].ends_with(&lines), "{}", texts[0]);
    assert!(
        texts[1].starts_with("REGISTER sip:127.0.0.1:5070;t=0011"),
        "{}",
        texts[1]
    );
    let mut accepting = calls(SessionPolicy::default(), people());
    consider(&mut accepting, uri.as_bytes(), &body(&url, None), None);
    let texts = sent(&mut accepting);
    assert_eq!(methods(&texts), ["INVITE", "MESSAGE", "REGISTER"]);
    assert!(!texts[1].contains("refusal"), "nothing was refused");
}

#[test]
fn an_application_is_activated_before_or_after() {
    let mut calls = calls(SessionPolicy::default(), people());
    let url = URL.replace(";t=", ";app=mms.ua;when=before;t=");
    let uri = format!("sip:+861@ims.example;gr={UUID}");
    consider(&mut calls, uri.as_bytes(), &body(&url, None), None);
    assert_eq!(calls.sheets[0].counts.activated_before, 1);
    assert_eq!(calls.sheets[0].counts.activated_after, 0);
    let url = URL.replace(";t=", ";app=mms.ua;when=after;t=");
    let uri = format!("sip:+861@ims.example;gr={}", OTHERS[0]);
    consider(&mut calls, uri.as_bytes(), &body(&url, None), None);
    assert_eq!(calls.sheets[0].counts.activated_before, 1);
    let texts = sent(&mut calls);
    let invite = Message::parse(texts[1].as_bytes()).unwrap();
    let response = format!(
        "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=x\r\nCall-ID: {}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:ppg@127.0.0.1:5070>\r\nContent-Length: 0\r\n\r\n",
        String::from_utf8_lossy(invite.header(sirocco_wire::sip::HeaderName::Via).unwrap()),
        String::from_utf8_lossy(invite.from().unwrap()),
        String::from_utf8_lossy(invite.to().unwrap()),
        String::from_utf8_lossy(invite.call_id().unwrap()),
    );
    let message = Message::parse(response.as_bytes()).unwrap();
    assert!(calls.response(2_000_000, origin(), &message));
    assert_eq!(calls.sheets[0].counts.activated_after, 1);
    assert_eq!(methods(&sent(&mut calls)), ["ACK"]);
}

#[test]
fn octets_that_are_no_sir_begin_nothing() {
    let mut calls = calls(SessionPolicy::default(), people());
    assert_eq!(consider(&mut calls, AOR, b"\x07rubbish", None), 200);
    assert_eq!(
        consider(&mut calls, AOR, &body("sip:ppg@ppg.example", None), None),
        200
    );
    assert!(sent(&mut calls).is_empty());
    assert_eq!(calls.sheets[0].counts.not_begun["no-sir"], 1);
    assert_eq!(calls.sheets[0].counts.not_begun["ppg-address"], 3);
}
