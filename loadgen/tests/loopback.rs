//! A whole load generator on loopback, with a simple sender on the other side: what it counts is what
//! was sent, and what it answers arrives.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sirocco_loadgen::{Control, ENTRY_BYTES, Live, LoadgenConfig, Place, public_hash, run};
use sirocco_ring::{Backend, Port, PortConfig, SocketConfig, Train, Wait};
use sirocco_wire::sip::{DevicePosition, LengthClass, Message, SirSpec, Slots, Template};

mod running;

use running::{PATIENCE, Running};

const SPEC: SirSpec<'static> = SirSpec {
    sent_by: "127.0.0.1:5070",
    from: "sip:ppg@ims.example",
    from_tag: "ppg1",
    ppg_uri: "sip:ppg@127.0.0.1:5070",
    application: "push.sia",
    device_position: DevicePosition::None,
    routed: false,
    expires_s: None,
    ask: "",
    activate: None,
    sealed: None,
};
fn config(mix: &str, edges: u16) -> LoadgenConfig {
    LoadgenConfig {
        seed: 7,
        place: Place::Edges {
            count: edges,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port_base: 0,
        },
        mix: mix.parse().unwrap(),
        seen_entries: 1 << 16,
        late_slots: 1 << 12,
        huge_pages: false,
        ..LoadgenConfig::default()
    }
}

/// Sends SIRs and listens to answers.
struct Sender {
    port: Port,
    template: Template,
}

impl Sender {
    fn open() -> Sender {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut config = PortConfig::new(vec![SocketConfig::new(loopback)]);
        config.huge_pages = false;
        let class = LengthClass::of("sip:+8613800000000@ims.example".len(), 0, &SPEC).unwrap();
        let template = Template::compile(&SPEC, class).unwrap();
        Sender {
            port: Port::open(&config).unwrap(),
            template,
        }
    }

    fn request(&self, n: u64) -> Vec<u8> {
        let mut request = vec![0; self.template.len()];
        self.template.fill(&mut request);
        let hex: [u8; 32] = format!("{n:032x}").into_bytes().try_into().unwrap();
        let user = format!("86138{n:08}");
        let slots = Slots {
            aor_prefix: b"sip:+",
            aor_user: user.as_bytes(),
            aor_suffix: b"@ims.example",
            device: b"",
            branch: hex,
            token: hex,
        };
        self.template.patch(&mut request, &slots);
        request
    }

    /// Sends SIRs `first..first + count` as one train.
    fn send(&mut self, target: SocketAddr, first: u64, count: u64) {
        let bytes: Vec<u8> = (first..first + count)
            .flat_map(|n| self.request(n))
            .collect();
        self.send_bytes(target, &bytes, self.template.len());
    }

    fn send_bytes(&mut self, target: SocketAddr, bytes: &[u8], segment: usize) {
        let slab = self.port.take_slab().unwrap();
        self.port.slab_mut(&slab)[..bytes.len()].copy_from_slice(bytes);
        let (length, segment) = (bytes.len() as u32, segment as u16);
        self.port.send(
            slab,
            Train {
                socket: 0,
                target,
                source: None,
                length,
                segment,
                tag: 0,
            },
        );
        self.port.turn(Wait::No).unwrap();
        self.port
            .sent(|sent| assert!(sent.result.is_ok(), "{:?}", sent.result));
    }

    /// Listens until `count` answers came; returns them with who sent them.
    fn answers(&mut self, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut answers = Vec::new();
        let started = Instant::now();
        while answers.len() < count {
            assert!(
                started.elapsed() < PATIENCE,
                "{} of {count} answers",
                answers.len()
            );
            self.port
                .turn(Wait::Until(Duration::from_millis(20)))
                .unwrap();
            self.port.receive(usize::MAX, |received| {
                let each = received
                    .datagrams()
                    .map(|bytes| (received.peer, bytes.to_vec()));
                answers.extend(each);
            });
        }
        answers
    }
}

fn status(answer: &[u8]) -> u16 {
    Message::parse(answer).unwrap().status_code().unwrap()
}

fn call_id(answer: &[u8]) -> Vec<u8> {
    Message::parse(answer).unwrap().call_id().unwrap().to_vec()
}

#[test]
fn every_sir_is_answered_once_from_its_edge() {
    for backend in [Backend::Auto, Backend::Mmsg] {
        let running = Running::start(LoadgenConfig {
            backend,
            ..config("200:1", 4)
        });
        let mut sender = Sender::open();
        let mut heard = BTreeSet::new();
        for (n, &edge) in running.addresses.iter().cycle().take(20).enumerate() {
            sender.send(edge, n as u64 * 64, 64);
            for (peer, answer) in sender.answers(64) {
                assert_eq!((peer, status(&answer)), (edge, 200));
                assert!(heard.insert(call_id(&answer)), "answered twice");
            }
        }
        let report = running.stop();
        assert_eq!(heard.len(), 1280);
        assert_eq!((report.sirs_received, report.responses_sent), (1280, 1280));
        assert_eq!(
            (report.datagrams_received, report.retransmissions_received),
            (1280, 0)
        );
        assert_eq!(report.by_status, BTreeMap::from([(200, 1280)]));
        assert_eq!((report.malformed, &report.dropped), (0, &BTreeMap::new()));
        assert!(report.parsed <= 64, "{}", report.parsed);
        assert_eq!(report.lag_us.count, 1280);
        assert_eq!(
            report.segments_per_train_out.max,
            report.segments_per_train_in.max
        );
    }
}

#[test]
fn a_mix_is_counted_exactly_and_the_record_names_every_sir() {
    let path: PathBuf = std::env::temp_dir().join(format!("sirocco-record-{}", std::process::id()));
    let mut config = config("200:60,486:20,silent:20", 2);
    config.record_sirs = Some(path.clone());
    let mix = config.mix.clone();
    let running = Running::start(config);
    let mut sender = Sender::open();
    let mut expected = [0u64; 3];
    let mut wanted = BTreeSet::new();
    for n in 0..1000 {
        let request = sender.request(n);
        let message = Message::parse(&request).unwrap();
        let uri_hash = public_hash(message.request_uri().unwrap());
        expected[mix.class_of(7, uri_hash)] += 1;
        wanted.insert((
            uri_hash,
            public_hash(message.top_via().unwrap().branch.unwrap()),
        ));
    }
    for first in (0..1000).step_by(50) {
        let edge = running.addresses[first as usize / 50 % 2];
        // Each train twice: the second is all retransmissions.
        sender.send(edge, first, 50);
        sender.send(edge, first, 50);
    }
    let answers = sender.answers(2 * (expected[0] + expected[1]) as usize);
    running.until(|shown| shown.datagrams_received >= 2000);
    let report = running.stop();
    assert_eq!(
        (report.sirs_received, report.retransmissions_received),
        (1000, 1000)
    );
    let by_class = [
        ("200", expected[0]),
        ("486", expected[1]),
        ("silent", expected[2]),
    ];
    assert_eq!(
        report.by_class,
        by_class
            .map(|(name, count)| (name.to_owned(), count))
            .into()
    );
    assert_eq!(report.classes["silent"].withheld, 2 * expected[2]);
    let heard = answers
        .iter()
        .filter(|(_, answer)| status(answer) == 486)
        .count() as u64;
    assert_eq!(heard, 2 * expected[1]);
    assert_eq!((report.record_entries, report.record_left_out), (1000, 0));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let word = |entry: &[u8], at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().unwrap());
    let entries = bytes
        .chunks(ENTRY_BYTES)
        .map(|entry| (word(entry, 0), word(entry, 8)));
    assert_eq!(entries.collect::<BTreeSet<_>>(), wanted);
}

#[test]
fn late_duplicate_and_lossy_devices_keep_their_word() {
    let running = Running::start(config("late(300ms,202):1", 1));
    let mut sender = Sender::open();
    sender.send(running.addresses[0], 0, 40);
    running.until(|shown| shown.datagrams_received >= 40);
    assert_eq!(running.live.read().responses_sent, 0);
    assert!(
        sender
            .answers(40)
            .iter()
            .all(|(_, answer)| status(answer) == 202)
    );
    let report = running.stop();
    assert_eq!(
        (
            report.classes["late-300ms-202"].late_sent,
            report.late_waiting
        ),
        (40, 0)
    );
    assert_eq!(report.lateness_us.count, 40);

    let running = Running::start(config("dup(200,2):1", 1));
    sender.send(running.addresses[0], 0, 64);
    let mut times = BTreeMap::new();
    for (_, answer) in sender.answers(192) {
        *times.entry(call_id(&answer)).or_insert(0) += 1;
    }
    assert!(times.len() == 64 && times.values().all(|&count| count == 3));
    assert_eq!(running.stop().responses_sent, 192);

    let running = Running::start(config("lossy(500,200):1", 1));
    (0..4).for_each(|_| sender.send(running.addresses[0], 0, 64));
    running.until(|shown| shown.datagrams_received >= 256);
    let report = running.stop();
    let lost = report.dropped["lossy"];
    assert_eq!(
        (report.sirs_received, lost + report.responses_sent),
        (64, 256)
    );
    assert_eq!(
        sender.answers(report.responses_sent as usize).len() as u64,
        256 - lost
    );
}

#[test]
fn strange_datagrams_are_counted_and_do_not_stop_it() {
    let running = Running::start(config("200:1", 1));
    let edge = running.addresses[0];
    let mut sender = Sender::open();
    for datagram in [
        &b"\0"[..],
        b"\r\n\r\n",
        b"SIP/2.0",
        &[0xff; 1400],
        b"MESSAGE a SIP/2.0\r\n",
    ] {
        sender.send_bytes(edge, datagram, datagram.len());
    }
    sender.send_bytes(edge, &[b'x'; 6400], 100);
    sender.send(edge, 0, 10);
    assert_eq!(sender.answers(10).len(), 10);
    running.until(|shown| shown.datagrams_received >= 79);
    let report = running.stop();
    assert_eq!((report.datagrams_received, report.sirs_received), (79, 10));
    assert_eq!(report.dropped["keep_alive"], 1);
    let refused: u64 = report.screen_rejects.values().sum();
    let dropped: u64 = report.dropped.values().sum();
    assert_eq!(report.malformed + refused + dropped, 69);
}

#[test]
fn in_direct_mode_the_address_that_was_asked_answers() {
    let place = Place::Direct { port: 0 };
    let running = Running::start(LoadgenConfig {
        place,
        ..config("200:3,dup(486,1):1", 1)
    });
    let port = running.addresses[0].port();
    let mut sender = Sender::open();
    let mut asked = BTreeMap::new();
    for n in 0..300u64 {
        let device = SocketAddr::from(([127, 3, (n / 200) as u8, 1 + (n % 200) as u8], port));
        asked.insert(call_id(&sender.request(n)), device);
        sender.send(device, n, 1);
    }
    running.until(|shown| shown.datagrams_received >= 300);
    let sent = running.stop().responses_sent as usize;
    assert!(sent > 300);
    let mut heard = BTreeSet::new();
    for (peer, answer) in sender.answers(sent) {
        assert_eq!(peer, asked[&call_id(&answer)]);
        heard.insert(call_id(&answer));
    }
    assert_eq!(heard.len(), 300);
}

#[test]
fn a_reset_cuts_the_warm_up_off() {
    let running = Running::start(config("200:1", 1));
    let mut sender = Sender::open();
    sender.send(running.addresses[0], 0, 30);
    sender.answers(30);
    running.control.reset();
    let started = Instant::now();
    while running.live.read().sirs_received != 0 {
        assert!(started.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(1));
    }
    sender.send(running.addresses[0], 0, 40);
    sender.answers(40);
    let report = running.stop();
    assert_eq!(
        (report.sirs_received, report.retransmissions_received),
        (10, 30)
    );
    assert_eq!(report.responses_sent, 40);
}

#[test]
fn a_configuration_out_of_bounds_is_refused() {
    let config = LoadgenConfig {
        train_segments: 0,
        ..config("200:1", 1)
    };
    let error = run(&config, &Live::new(), &Control::new(), |_| {}).unwrap_err();
    assert!(error.to_string().contains("train_segments"), "{error}");
}
