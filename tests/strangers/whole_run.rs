//! tshark decodes whole runs of engine and load generator as they were on the loopback device: every octet
//! of SIP, SDP, MSRP and SIR, none malformed, no expert's error.
//!
//! Trains of one segment: a longer train is one packet there, which no decoder takes apart. And tshark reads
//! one MSRP message in a segment of TCP, so that those messages are cut out of the stream for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sirocco_dispatch::config::EngineConfig;
use sirocco_dispatch::order::Order;
use sirocco_loadgen::{LoadgenConfig, Mix, SessionPolicy, Take};
use sirocco_tests::process::{Directory, Guarded, run, wait_for};
use sirocco_tests::tools::{TSHARK, in_ci};

use crate::calls::{CONTENT, assert_settled, at_port, report_when};
use crate::capture::{self, STREAM_PORT};
use crate::devices::{self, Devices};
use crate::engine::{Engine, population};
use crate::{free_port, loopback};

/// Identities of each run, with one device each.
const IDENTITIES: u64 = 24;
/// The last datagram of a capture.
const LAST: &[u8] = b"the capture may end";
/// Severity of an expert's error (PI_ERROR of Wireshark's epan/proto.h).
const SEVERITY_ERROR: u64 = 0x0080_0000;

/// What tshark is asked for of each packet, in this order.
const FIELDS: [&str; 18] = [
    "_ws.malformed",
    "_ws.expert.severity",
    "_ws.expert.message",
    "sip.Method",
    "sip.Status-Code",
    "sip.r-uri",
    "sdp.version",
    "msrp.method",
    "msrp.status.code",
    "msrp.content.type",
    "msrp.cnt.flg",
    "wap.sir.version",
    "wap.sir.prov_url",
    "wsp.header_text_value",
    "udp.payload",
    "tcp.stream",
    "tcp.srcport",
    "tcp.payload",
];

/// A packet as tshark reads it: the values of [`FIELDS`].
struct Packet(Vec<String>);

impl Packet {
    fn of(&self, field: &str) -> &str {
        let place = FIELDS.iter().position(|name| *name == field);
        &self.0[place.expect("a field that was asked for")]
    }
}

/// A capture of the loopback device in progress.
struct Capture {
    tshark: PathBuf,
    path: PathBuf,
    ports: [u16; 2],
    running: Guarded,
}

impl Capture {
    /// Begins to capture what goes over a UDP and a TCP port; `None` and a loud line where that is not
    /// permitted.
    fn start(test: &str, directory: &Directory, udp: u16, tcp: u16) -> Option<Self> {
        let tshark = TSHARK.path_or_skip(test)?;
        let path = directory.file("run.pcapng");
        let log = directory.file("capture.txt");
        let filter = format!("udp port {udp} or tcp port {tcp}");
        let mut command = Command::new(&tshark);
        command.args(["-q", "-n", "-i", "lo", "-B", "16", "-f", &filter, "-w"]);
        let errors = File::create(&log).expect("a writable directory");
        command
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let mut running = Guarded::start(command.stderr(errors));
        let told = || std::fs::read_to_string(&log).unwrap_or_default();
        let mut refused = false;
        wait_for("a capture to begin", || {
            refused = matches!(running.0.try_wait(), Ok(Some(_)));
            refused || told().contains("Capturing on") && path.exists()
        });
        if refused {
            assert!(!in_ci(), "{test} cannot capture: {}", told());
            let line = format!("SKIPPED {test}: no permission to capture; run it as root\n");
            std::io::stderr().write_all(line.as_bytes()).ok();
            return None;
        }
        let capture = Self {
            tshark,
            path,
            ports: [udp, tcp],
            running,
        };
        capture.await_mark(b"the capture has begun");
        Some(capture)
    }

    /// Sends a datagram until it is in the file.
    fn await_mark(&self, mark: &[u8]) {
        let socket = UdpSocket::bind(loopback(0)).expect("a free port");
        wait_for("a datagram to be captured", || {
            socket.send_to(mark, loopback(self.ports[0])).ok();
            let written = std::fs::read(&self.path).unwrap_or_default();
            written.windows(mark.len()).any(|window| window == mark)
        });
    }

    /// Ends it and decodes all of it; marks are left out.
    fn decode(mut self) -> Decoded {
        self.await_mark(LAST);
        self.running.signal("INT");
        self.running.exit_code();
        let [udp, tcp] = self.ports;
        let protocols = [
            format!("udp.port=={udp},sip"),
            format!("tcp.port=={tcp},msrp"),
        ];
        // The marks are no SIP.
        let packets = decode(&self.tshark, &self.path, &protocols, "sip or tcp");
        for packet in &packets {
            assert_sound(packet);
        }
        let path = self.path.with_extension("msrp");
        capture::write_stream(&path, &messages(&packets));
        let protocols = [format!("tcp.port=={STREAM_PORT},msrp")];
        let messages = decode(&self.tshark, &path, &protocols, "tcp");
        for message in &messages {
            assert_sound(message);
        }
        Decoded { packets, messages }
    }
}

/// What tshark reads in a capture.
struct Decoded {
    /// Packets as they were captured.
    packets: Vec<Packet>,
    /// Messages of MSRP, each by itself.
    messages: Vec<Packet>,
}

fn decode(tshark: &Path, path: &Path, protocols: &[String], filter: &str) -> Vec<Packet> {
    let mut command = Command::new(tshark);
    command.arg("-n").arg("-r").arg(path);
    for protocol in protocols {
        command.args(["-d", protocol]);
    }
    command.args(["-Y", filter, "-T", "fields", "-E", "separator=|"]);
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let ended = run(&mut command);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let packet = |line: &str| Packet(line.split('|').map(str::to_owned).collect());
    ended.stdout.lines().map(packet).collect()
}

/// Cuts the streams of a capture into messages (RFC 4975 5: an end line closes each).
fn messages(packets: &[Packet]) -> Vec<Vec<u8>> {
    let mut streams: BTreeMap<(&str, &str), Vec<u8>> = BTreeMap::new();
    for packet in packets {
        let direction = (packet.of("tcp.stream"), packet.of("tcp.srcport"));
        let octets = octets(packet.of("tcp.payload"));
        streams.entry(direction).or_default().extend(octets);
    }
    streams.values().flat_map(|stream| cut(stream)).collect()
}

fn cut(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while !stream.is_empty() {
        let line =
            String::from_utf8_lossy(stream.split(|&octet| octet == b'\r').next().unwrap_or(b""));
        let transaction = line.split(' ').nth(1).expect("a start line").to_owned();
        let end_line = format!("-------{transaction}");
        let mut windows = stream.windows(end_line.len());
        let at = windows.position(|window| window == end_line.as_bytes());
        // Behind it stand the flag and CRLF.
        let end = at.expect("an end line") + end_line.len() + 3;
        all.push(stream[..end].to_vec());
        stream = &stream[end..];
    }
    all
}

/// The octets that a field shows in hexadecimal digits.
fn octets(hexadecimal: &str) -> impl Iterator<Item = u8> {
    let digits: Vec<_> = hexadecimal.bytes().filter(|octet| *octet != b':').collect();
    let pairs: Vec<_> = digits.chunks(2).map(<[u8]>::to_vec).collect();
    pairs.into_iter().map(|pair| {
        let text = String::from_utf8(pair).expect("digits");
        u8::from_str_radix(&text, 16).expect("hexadecimal digits")
    })
}

/// What the devices of a run do.
fn loadgen(directory: &Path, takes: &[Take]) -> LoadgenConfig {
    LoadgenConfig {
        train_segments: 1,
        sir_key_file: Some(directory.join("key.txt")),
        content: Some(CONTENT.to_owned()),
        session: Some(SessionPolicy {
            takes: takes.to_vec(),
            sealed_only: true,
            ..SessionPolicy::default()
        }),
        ..devices::config(Mix::all_ok())
    }
}

/// Runs orders, one after the other, under a capture; each is JSON without its name, recipients and content.
fn captured(test: &str, orders: &[&str]) -> Option<Decoded> {
    let directory = Directory::new("whole-run");
    std::fs::write(
        directory.file("key.txt"),
        "00112233445566778899aabbccddeeff\n",
    )
    .expect("a writable directory");
    let config = EngineConfig {
        train_segments: 1,
        sir_key_file: Some(directory.file("key.txt")),
        msrp_bind: Some(loopback(free_port())),
        ..at_port()
    };
    let msrp = config.msrp_bind.expect("it was set").port();
    let capture = Capture::start(test, &directory, config.bind.port(), msrp)?;
    let devices = Devices::start_with(loadgen(directory.path(), &[Take::Message, Take::Msrp]));
    let engine = Engine::start(config, population(IDENTITIES, 1, &[devices.edge]));
    for (number, order) in orders.iter().enumerate() {
        let text = format!(
            r#"{{"order":"{number}","to":{{"everybody":true}},"content":{{"type":"text/plain","text":"{CONTENT}"}}{order}}}"#
        );
        engine.order(Order::read(&text).expect("a sound order"));
        let wanted = (number as u64 + 1) * IDENTITIES;
        report_when("the sessions of an order to end", &engine, |report| {
            report.sessions.ended.total() == wanted && report.sessions.delivered == wanted
        });
    }
    let (report, _) = engine.stop();
    let told = devices.stop();
    assert_settled(&report);
    assert_eq!(told.sessions.counts.contents_corrupt, 0);
    Some(capture.decode())
}

fn assert_sound(packet: &Packet) {
    assert_eq!(packet.of("_ws.malformed"), "", "{:?}", packet.0);
    let severities = packet.of("_ws.expert.severity").split(',');
    let worst = severities
        .filter_map(|severity| severity.parse().ok())
        .max();
    assert!(worst.unwrap_or(0) < SEVERITY_ERROR, "{:?}", packet.0);
}

/// The packets with a value of a field.
fn with(packets: &[Packet], field: &str, value: &str) -> u64 {
    let is_with = |packet: &&Packet| packet.of(field).split(',').any(|each| each == value);
    packets.iter().filter(is_with).count() as u64
}

/// The packets with a SIR.
fn sirs(packets: &[Packet]) -> Vec<&Packet> {
    let is_sir = |packet: &&Packet| !packet.of("wap.sir.version").is_empty();
    packets.iter().filter(is_sir).collect()
}

#[test]
fn tshark_reads_a_whole_run_with_contents_as_messages_and_by_msrp() {
    let test = "tshark_reads_a_whole_run_with_contents_as_messages_and_by_msrp";
    let orders = [r#","push":"message""#, r#","push":"msrp""#];
    let Some(Decoded { packets, messages }) = captured(test, &orders) else {
        return;
    };
    let both = 2 * IDENTITIES;
    for (method, count) in [
        ("INVITE", both),
        ("ACK", both),
        ("BYE", both),
        ("MESSAGE", 3 * IDENTITIES),
    ] {
        assert_eq!(with(&packets, "sip.Method", method), count, "{method}");
    }
    // Answers to SIR, INVITE and BYE, and to the content that came as MESSAGE.
    assert_eq!(
        with(&packets, "sip.Status-Code", "200"),
        3 * both + IDENTITIES
    );
    // Offers and answers.
    assert_eq!(with(&packets, "sdp.version", "0"), 2 * both);
    assert_eq!(sirs(&packets).len() as u64, both);
    // To bind its session each device sends one without content (RFC 4975 5.4).
    let contents = messages
        .iter()
        .filter(|message| message.of("msrp.content.type") == "text/plain");
    assert_eq!(contents.count() as u64, IDENTITIES);
    assert_eq!(with(&messages, "msrp.method", "SEND"), both);
    // RFC 4975 9: Content-Type and an empty line are there with content only.
    for message in messages
        .iter()
        .filter(|message| message.of("msrp.content.type").is_empty())
    {
        let text: Vec<_> = octets(message.of("tcp.payload")).collect();
        let text = String::from_utf8_lossy(&text);
        assert!(
            !text.contains("Content-Type") && !text.contains("\r\n\r\n"),
            "{text}"
        );
    }
    assert_eq!(with(&messages, "msrp.status.code", "200"), both);
    let ended = messages
        .iter()
        .filter(|message| message.of("msrp.cnt.flg") == "$");
    assert_eq!(ended.count(), messages.len());
}

#[test]
fn tshark_reads_sealed_sirs_that_ask_activate_and_name_the_device_in_each_position() {
    let test = "tshark_reads_sealed_sirs_that_ask_activate_and_name_the_device_in_each_position";
    let asks = r#","ask":["capability","preference","security","subscription","refusal","register","capability-message"],
        "activate":{"application":"mms.ua","when":"before"}"#;
    let positions = ["none", "header", "value", "body"];
    let orders = positions.map(|position| format!(r#","device-position":"{position}"{asks}"#));
    let orders = orders.each_ref().map(String::as_str);
    let Some(Decoded { packets, .. }) = captured(test, &orders) else {
        return;
    };
    let sirs = sirs(&packets);
    assert_eq!(sirs.len(), positions.len() * IDENTITIES as usize);
    for (number, sir) in sirs.iter().enumerate() {
        let device = sir.of("sip.r-uri").split(";gr=").nth(1).expect("a GRUU");
        let url = sir.of("wap.sir.prov_url");
        let parameters: Vec<_> = url.split(';').skip(1).collect();
        let value = |name| {
            let mut values = parameters.iter().filter_map(|each| each.strip_prefix(name));
            values.next().unwrap_or_else(|| panic!("{name} in {url}"))
        };
        assert_eq!(
            (value("ask=").len(), value("app="), value("when=")),
            (7, "mms.ua", "before")
        );
        assert_eq!((value("t=").len(), value("a=").len()), (32, 16), "{url}");
        // The orders went one after the other.
        let position = positions[number / IDENTITIES as usize];
        assert_eq!(
            position == "value",
            url.contains(&format!(";gr={device}")),
            "{url}"
        );
        let header = sir.of("wsp.header_text_value");
        assert_eq!(position == "header", header.contains(device), "{header}");
        // What stands behind the last field is no field: the decoder passes over it, the payload has it.
        let payload: Vec<_> = octets(sir.of("udp.payload")).collect();
        assert_eq!(
            position == "body",
            payload.ends_with(device.as_bytes()),
            "{:?}",
            sir.0
        );
    }
}
