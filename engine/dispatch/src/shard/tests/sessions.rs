//! Sessions through the shard: from the token of a SIR to BYE, in each addressing mode.

use super::*;
use crate::config::SessionEnd;
use crate::pushes::PushBalance;
use sirocco_wire::sir::Sir;

mod asked;

const AOR: &str = "sip:+4930000000@ims.example";
const PHONE: &str = "urn:uuid:f81d4fae-7dec-11d0-a765-000000000001";
const TABLET: &str = "urn:uuid:f81d4fae-7dec-11d0-a765-000000000002";

/// Two devices of one identity, of which one has the capability bit.
fn two_devices() -> Vec<String> {
    let device = |urn: &str, capability: &str| {
        format!("{AOR}\t{urn}\t127.0.0.1:20000\t-\tsip\tidle\t{capability}\t5\t00\t-")
    };
    vec![device(PHONE, "01"), device(TABLET, "00")]
}

fn push(mode: &str, select: &str) -> Order {
    order(&format!(
        r#"{{"order":"p","mode":"{mode}","to":{{"identity":"{AOR}"}},{select}
            "content":{{"type":"text/plain","text":"hello"}}}}"#
    ))
}

fn token_of(sir: &[u8]) -> String {
    let message = Message::parse(sir).expect("a SIR");
    let sir = Sir::parse(message.body()).expect("a body");
    let token = sir.prov_parameter(b"t").expect("a token");
    String::from_utf8(token.to_vec()).expect("digits")
}

/// A device that follows a SIR with a session.
struct Caller {
    device: String,
    call: u32,
}

impl Caller {
    fn new(device: &str, call: u32) -> Self {
        Self {
            device: device.to_owned(),
            call,
        }
    }

    fn request(&self, method: &str, uri: &str, to: &str, cseq: u32) -> String {
        let (call, device) = (self.call, &self.device);
        let instance = match device.as_str() {
            "" => String::new(),
            device => format!(";+sip.instance=\"<{device}>\""),
        };
        let body = if method == "INVITE" {
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        } else {
            ""
        };
        let about = if body.is_empty() {
            String::new()
        } else {
            "Content-Type: application/sdp\r\n".to_owned()
        };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:20000;branch=z9hG4bK-{call}-{method}\r\n\
             Max-Forwards: 70\r\nFrom: <{AOR}>;tag=d{call}\r\nTo: {to}\r\nCall-ID: c{call}@edge\r\n\
             CSeq: {cseq} {method}\r\n\
             Contact: <sip:+4930000000@127.0.0.1:20000>{instance}\r\n\
             Allow: INVITE, ACK, BYE, MESSAGE\r\n{about}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn invite(&self, token: &str) -> String {
        let uri = format!("sip:ppg@127.0.0.1:5070;t={token}");
        self.request("INVITE", &uri, "<sip:ppg@127.0.0.1:5070>", 1)
    }
}

impl Rig {
    fn ask(&mut self, request: &str) -> Vec<Vec<u8>> {
        (self.shard).answer(self.now, EDGE, request.as_bytes(), request.len(), &mut ());
        self.turn()
    }

    /// Builds a session and takes its content; the octets of the content.
    fn follow(&mut self, caller: &Caller, token: &str) -> Option<Vec<u8>> {
        let answers = self.ask(&caller.invite(token));
        let answer = Message::parse(answers.first()?).expect("an answer");
        if answer.status_code() != Some(200) {
            return None;
        }
        let to = String::from_utf8_lossy(answer.to().expect("To")).into_owned();
        let contact = answer.header(HeaderName::Contact).expect("Contact");
        let uri = String::from_utf8_lossy(contact)
            .trim_matches(['<', '>'])
            .to_owned();
        let uri = uri.split('>').next().expect("a URI").to_owned();
        let sent = self.ask(&caller.request("ACK", &uri, &to, 1));
        let message = sent.first().expect("the content");
        let content = Message::parse(message).expect("a MESSAGE").body().to_vec();
        self.answer(message, 200, &[]);
        for bye in self.turn() {
            self.answer(&bye, 200, &[]);
        }
        Some(content)
    }

    fn sirs(&mut self, order: Order) -> Vec<Vec<u8>> {
        self.accept(order);
        let sirs: Vec<_> = self.run_for(MS).into_iter().map(|(_, sir)| sir).collect();
        sirs.iter().for_each(|sir| self.answer(sir, 200, &[]));
        sirs
    }

    fn pushes(&self) -> PushBalance {
        let balance = self.shard.pushes();
        assert_eq!(balance.residue, 0, "{balance:?}");
        balance
    }
}

#[test]
fn a_targeted_device_gets_its_content_once() {
    let mut rig = Rig::new(&EngineConfig::default(), &two_devices());
    let select = format!(r#""select":{{"devices":["{PHONE}"]}},"#);
    let sirs = rig.sirs(push("targeted", &select));
    assert_eq!(sirs.len(), 1);
    let token = token_of(&sirs[0]);
    let phone = Caller::new(PHONE, 1);
    assert!(
        rig.follow(&Caller::new(TABLET, 9), &token).is_none(),
        "another device's token"
    );
    assert_eq!(rig.follow(&phone, &token).as_deref(), Some(&b"hello"[..]));
    assert!(rig.follow(&Caller::new(PHONE, 2), &token).is_none(), "used");
    let (pushes, counts) = (rig.pushes(), rig.shard.session_counts());
    assert_eq!((pushes.due, pushes.built, pushes.delivered), (1, 1, 1));
    assert_eq!(
        (pushes.unwanted, pushes.duplicates, pushes.waiting),
        (0, 0, 0)
    );
    assert_eq!(
        (counts.refused.token_forged, counts.refused.token_used),
        (1, 1)
    );
    assert_eq!((counts.opened, counts.open), (1, 0));
    assert!(rig.shard.is_idle());
}

#[test]
fn in_the_prior_art_every_device_connects_and_duplicates_appear() {
    let mut rig = Rig::new(&EngineConfig::default(), &two_devices());
    let sirs = rig.sirs(push("prior-art", r#""select":{"capability":1},"#));
    assert_eq!(sirs.len(), 1, "the network forks it");
    assert_eq!(uri_of(&sirs[0]), AOR);
    assert!(!String::from_utf8_lossy(&sirs[0]).contains("urn:uuid"));
    let token = token_of(&sirs[0]);
    for (call, device) in [TABLET, PHONE].into_iter().enumerate() {
        let caller = Caller::new(device, call as u32);
        assert_eq!(rig.follow(&caller, &token).as_deref(), Some(&b"hello"[..]));
        assert!(
            rig.follow(&Caller::new(device, 7), &token).is_none(),
            "each once"
        );
    }
    assert!(
        rig.follow(&Caller::new(UUID, 8), &token).is_none(),
        "a stranger"
    );
    let pushes = rig.pushes();
    assert_eq!((pushes.due, pushes.built, pushes.again), (1, 1, 1));
    assert_eq!(
        (pushes.unwanted, pushes.delivered, pushes.duplicates),
        (1, 2, 1)
    );
}

#[test]
fn a_matched_sir_goes_to_the_identity_and_names_the_device_as_data() {
    for position in ["header", "value", "body"] {
        let mut rig = Rig::new(&EngineConfig::default(), &two_devices());
        let select =
            format!(r#""select":{{"devices":["{PHONE}"]}},"device-position":"{position}","#);
        let sirs = rig.sirs(push("matched", &select));
        assert_eq!(sirs.len(), 1);
        assert_eq!(uri_of(&sirs[0]), AOR);
        let message = Message::parse(&sirs[0]).expect("a SIR");
        let body = Sir::parse(message.body()).expect("a body");
        assert_eq!(
            body.device().map(|(_, device)| device),
            Some(PHONE.as_bytes())
        );
        let token = token_of(&sirs[0]);
        assert!(rig.follow(&Caller::new(TABLET, 1), &token).is_none());
        assert!(rig.follow(&Caller::new(PHONE, 2), &token).is_some());
        assert_eq!(rig.pushes().unwanted, 0);
    }
}

#[test]
fn a_sole_device_is_not_named_if_the_order_skips_the_lookup() {
    let mut rig = Rig::new(&EngineConfig::default(), &two_devices()[..1]);
    let sirs = rig.sirs(push("targeted", r#""skip-lookup":true,"#));
    assert_eq!(uri_of(&sirs[0]), AOR);
    assert!(
        rig.follow(&Caller::new(PHONE, 1), &token_of(&sirs[0]))
            .is_some()
    );
    let mut rig = Rig::new(&EngineConfig::default(), &two_devices());
    let select = format!(r#""skip-lookup":true,"select":{{"devices":["{PHONE}"]}},"#);
    let sirs = rig.sirs(push("targeted", &select));
    assert!(uri_of(&sirs[0]).ends_with(PHONE), "it is one of two");
}

/// What a SIR to the only device of an identity costs: octets written, texts kept.
fn cost_of_sole(device: &str, skips: bool) -> (u64, usize) {
    let person = format!("{AOR}\t{device}\t127.0.0.1:20000\t-\tsip\tidle\t01\t5\t00\t-");
    let mut rig = Rig::new(&EngineConfig::default(), &[person]);
    rig.accept(push("targeted", &format!(r#""skip-lookup":{skips},"#)));
    let sirs: Vec<_> = rig.run_for(MS).into_iter().map(|(_, sir)| sir).collect();
    assert_eq!(sirs.len(), 1);
    let cost = (rig.shard.ledger.bytes_written, rig.shard.kept.len());
    rig.answer(&sirs[0], 200, &[]);
    let caller = Caller::new(device, 1);
    assert!(rig.follow(&caller, &token_of(&sirs[0])).is_some());
    cost
}

#[test]
fn the_identity_of_a_sole_device_is_neither_kept_nor_written_if_the_order_skips_the_lookup() {
    // One that is packed in the index, and one whose text lies there.
    for (device, kept) in [(PHONE, 0), ("urn:example:the-phone-of-a-user", 1)] {
        let (named, unnamed) = (cost_of_sole(device, false), cost_of_sole(device, true));
        assert_eq!((named.1, unnamed.1), (kept, 0), "{device}");
        assert!(
            named.0 >= unnamed.0 + device.len() as u64,
            "{device}: {named:?} {unnamed:?}"
        );
    }
}

#[test]
fn a_connected_device_gets_the_next_push_without_a_sir() {
    let config = EngineConfig {
        session_end: SessionEnd::Device,
        ..EngineConfig::default()
    };
    let mut rig = Rig::new(&config, &two_devices()[..1]);
    let sirs = rig.sirs(push("targeted", ""));
    let phone = Caller::new(PHONE, 1);
    assert!(rig.follow(&phone, &token_of(&sirs[0])).is_some());
    rig.accept(push("targeted", ""));
    let sent = rig.turn();
    assert_eq!(sent.len(), 1, "the content itself");
    let message = Message::parse(&sent[0]).expect("a MESSAGE");
    assert_eq!(message.body(), b"hello");
    rig.answer(&sent[0], 200, &[]);
    let pushes = rig.pushes();
    assert_eq!((pushes.due, pushes.direct, pushes.delivered), (1, 1, 2));
    assert_eq!(pushes.duplicates, 0);
    assert_eq!(rig.shard.ledger.sirs_sent, 1);
    rig.shard.hang_up(rig.now);
    for bye in rig.turn() {
        rig.answer(&bye, 200, &[]);
    }
    assert!(rig.shard.is_idle());
}

#[test]
fn a_token_expires_and_what_nobody_built_is_settled() {
    let config = EngineConfig {
        token_lifetime_s: 10,
        ..EngineConfig::default()
    };
    let mut rig = Rig::new(&config, &two_devices()[..1]);
    let sirs = rig.sirs(push("targeted", ""));
    rig.run_for(12 * SECOND);
    assert!(
        rig.follow(&Caller::new(PHONE, 1), &token_of(&sirs[0]))
            .is_none()
    );
    assert_eq!(rig.shard.session_counts().refused.token_expired, 1);
    let pushes = rig.pushes();
    assert_eq!((pushes.due, pushes.unbuilt, pushes.waiting), (1, 1, 0));
}

#[test]
fn what_a_device_returns_decides_the_next_selection() {
    let mut rig = Rig::new(&EngineConfig::default(), &two_devices());
    let wanted = r#""select":{"capability":2},"ask":["capability","refusal"],"#;
    assert!(
        rig.sirs(push("targeted", wanted)).is_empty(),
        "nobody has bit 2 yet"
    );
    let all = rig.sirs(push("targeted", r#""ask":["capability","refusal"],"#));
    let body = Message::parse(&all[0]).expect("a SIR").body().to_vec();
    let prov_url = String::from_utf8_lossy(&body).into_owned();
    assert!(prov_url.contains(";ask=cr;t="), "{prov_url}");
    let token = token_of(&all[0]);
    let lines = "device: x\r\ncapability: 3\r\nrefusal: busy\r\n";
    let phone = Caller::new(PHONE, 1);
    let uri = format!("sip:ppg@127.0.0.1:5070;t={token}");
    let message = phone.request("MESSAGE", &uri, "<sip:ppg@127.0.0.1:5070>", 1);
    let message = message.replace(
        "Content-Length: 0\r\n\r\n",
        &format!(
            "Content-Type: text/parameters\r\nContent-Length: {}\r\n\r\n{lines}",
            lines.len()
        ),
    );
    let answers = rig.ask(&message);
    let status = Message::parse(&answers[0])
        .expect("an answer")
        .status_code();
    assert_eq!(
        status,
        Some(200),
        "{}",
        String::from_utf8_lossy(&answers[0])
    );
    assert_eq!(rig.pushes().refused, 1);
    assert_eq!(rig.sirs(push("targeted", wanted)).len(), 1);
}

#[test]
fn a_device_that_the_index_keeps_as_text_is_one_of_its_users() {
    // An EPC in its pure form has a packed one, but is kept as it is spelled.
    let tag = "urn:epc:id:sgtin:0614141.112345.400";
    let population = [format!(
        "{AOR}\t{tag}\t127.0.0.1:20000\t-\tsip\tidle\t01\t5\t00\t-"
    )];
    for mode in ["prior-art", "self-select", "targeted"] {
        let mut rig = Rig::new(&EngineConfig::default(), &population);
        let sirs = rig.sirs(push(mode, ""));
        let token = token_of(&sirs[0]);
        let stranger = Caller::new("urn:epc:id:sgtin:0614141.112345.401", 1);
        assert!(rig.follow(&stranger, &token).is_none(), "{mode}");
        let content = rig.follow(&Caller::new(tag, 2), &token);
        assert_eq!(content.as_deref(), Some(&b"hello"[..]), "{mode}");
    }
}

#[test]
fn a_user_agent_that_names_no_device_is_the_only_one_of_its_user() {
    let nameless = |call| {
        let mut caller = Caller::new(PHONE, call);
        caller.device = String::new();
        caller
    };
    let mut rig = Rig::new(&EngineConfig::default(), &two_devices()[..1]);
    let sirs = rig.sirs(push("self-select", ""));
    let token = token_of(&sirs[0]);
    assert!(rig.follow(&nameless(1), &token).is_some());
    assert!(rig.follow(&Caller::new(PHONE, 2), &token).is_none(), "used");
    let mut rig = Rig::new(&EngineConfig::default(), &two_devices());
    let sirs = rig.sirs(push("self-select", ""));
    let token = token_of(&sirs[0]);
    assert!(rig.follow(&nameless(1), &token).is_none(), "one of two");
}
