//! Sessions between real processes over a network that loses, doubles and overtakes: devices that vanish,
//! half-open connections, slow readers, SIP over TCP, a flood of forged INVITEs, devices that are killed
//! together, and the engine's memory over many rounds.

use std::net::UdpSocket;
use std::path::Path;

use serde_json::{Value, json};

use crate::process::{Directory, wait_for};
use crate::roles::Role;
use crate::sirocco;

/// Identities of the population, with 1 to 4 devices each: ten identities have 25.
const IDENTITIES: u64 = 400;
const DEVICES: u64 = 1_000;
/// Octets of a content that does not fit a MESSAGE: three chunks.
const LONG_CONTENT_BYTES: usize = 5_000;

/// A tenth of all datagrams is lost, doubled, overtaken; of the devices, some are gone once their session is
/// built, some offer MSRP and never connect, some read it slowly, some speak SIP over TCP.
const BAD_DEVICES: &str = r#"
seed = 7
idle = "wait"
huge-pages = false

[place.edges]
count = 1
bind = "127.0.0.1"
port-base = 0

[sent]
loss-per-mille = 100
duplicate-per-mille = 100
reorder-per-mille = 100

[received]
loss-per-mille = 100
duplicate-per-mille = 100

[[classes]]
name = "sound"
weight = 60
[classes.session]
takes = ["message", "msrp"]
think = "uniform(1ms,500ms)"

[[classes]]
name = "gone"
weight = 10
[classes.session]
fault = "vanish-established"

[[classes]]
name = "half-open"
weight = 10
[classes.session]
takes = ["msrp"]
fault = "half-open"

[[classes]]
name = "slow"
weight = 10
answer-time = "uniform(1ms,400ms)"
[classes.session]
takes = ["msrp"]
msrp-read-rate = 200000

[[classes]]
name = "over-tcp"
weight = 10
answer-time = "exponential(50ms)"
[classes.session]
transport = "tcp"
takes = ["message", "msrp"]
bye-delay = "uniform(1ms,200ms)"
"#;

/// Devices that do as they should.
const SOUND_DEVICES: &str = r#"
idle = "wait"
huge-pages = false

[place.edges]
count = 1
bind = "127.0.0.1"
port-base = 0

[session]
takes = ["message"]
"#;

/// Strangers that call with tokens which nobody made.
const STRANGERS: &str = r#"
idle = "wait"
huge-pages = false

[flood]
rate = 5000
seconds = 4
"#;

fn devices(directory: &Directory, scenario: &str, port: Option<&str>) -> (Role, String) {
    std::fs::write(directory.file("devices.toml"), scenario).expect("a writable directory");
    let mut command = sirocco(directory.path());
    command.args(["loadgen", "--scenario", "devices.toml"]);
    let role = Role::start(command.args(port.map(|port| format!("--port-base={port}"))));
    let ready = role.event("ready");
    let edge = ready["addresses"][0].as_str().expect("an address");
    (role, edge.to_owned())
}

fn engine(directory: &Path, edge: &str) -> (Role, String) {
    let config = json!({
        "idle": "wait",
        "drain-ms": 2_000,
        "msrp-bind": "127.0.0.1:0",
        "sessions-max": 20_000,
        "tokens-remembered": 1 << 16,
    });
    let mut command = sirocco(directory);
    command.args(["engine", "--next-hops", edge, "--next-hop-count", "1"]);
    command.args(["--generate", &IDENTITIES.to_string()]);
    let role = Role::start(command.args(["--config-json", &config.to_string()]));
    let ready = role.event("ready");
    assert_eq!(ready["devices"], DEVICES);
    let address = ready["address"].as_str().expect("an address");
    (role, address.to_owned())
}

fn push(name: &str, content: &str) -> String {
    let content = json!({ "type": "text/plain", "text": content });
    let order = json!({ "order": name, "mode": "fan-out", "to": { "everybody": true }, "content": content });
    order.to_string()
}

/// What an engine says of its books now.
fn books(engine: &mut Role) -> Value {
    engine.tell("books");
    let books = engine.event("drained");
    assert_balanced(&books);
    books
}

fn count(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no count"))
}

/// How many sessions ended for a cause; the books between have flat names, the last report has objects.
fn ended(sessions: &Value, cause: &str) -> u64 {
    let flat = sessions.get(format!("ended.{cause}"));
    count(flat.unwrap_or_else(|| &sessions["ended"][cause]))
}

fn ended_in_all(sessions: &Value) -> u64 {
    let flat = sessions.as_object().expect("counters").iter();
    let flat = flat.filter(|(name, _)| name.starts_with("ended."));
    let nested = sessions["ended"].as_object().into_iter().flatten();
    flat.chain(nested).map(|(_, ends)| count(ends)).sum()
}

/// Whatever happened: nothing is lost from the books.
fn assert_balanced(report: &Value) {
    assert_eq!(report["ledger"]["residue"], 0, "{}", report["ledger"]);
    assert_eq!(report["pushes"]["residue"], 0, "{}", report["pushes"]);
    let sessions = &report["sessions"];
    let (opened, open) = (count(&sessions["opened"]), count(&sessions["open"]));
    assert_eq!(opened, ended_in_all(sessions) + open, "{sessions}");
}

/// The last report of a role that ended well.
fn last_report(role: Role) -> Value {
    let (events, code) = role.end();
    assert_eq!(code, Some(0));
    let report = events
        .into_iter()
        .rev()
        .find(|event| event["event"] == "report");
    report.expect("a report")
}

/// Devices that read slowly or speak over TCP have all their contents, in their own time.
fn assert_slow_and_connected(devices: &Value) {
    for class in ["slow", "over-tcp"] {
        let counts = &devices["sessions_by_class"][class];
        assert!(count(&counts["attempts"]) > 0, "{class}");
        assert_eq!(counts["contents"], counts["attempts"], "{class}: {counts}");
        let times = devices["answer_time_us"].as_object().expect("classes");
        let times = times
            .get(class)
            .unwrap_or_else(|| panic!("{class}: {times:?}"));
        assert!(
            count(&times["count"]) >= count(&counts["attempts"]),
            "{class}: {times}"
        );
    }
    let all = &devices["sessions"];
    assert_eq!(all["sip_connections"], 1, "one edge, one engine: {all}");
    // What a device says over TCP comes back as 200 to INVITE, MESSAGE and BYE at least.
    let over_tcp = count(&devices["sessions_by_class"]["over-tcp"]["attempts"]);
    assert!(count(&all["sip_stream_messages"]) >= 2 * over_tcp, "{all}");
}

#[test]
fn a_bad_network_and_bad_devices_leave_no_session_behind() {
    let directory = Directory::new("bad-devices");
    let (mut devices, edge) = devices(&directory, BAD_DEVICES, None);
    let (mut engine, address) = engine(directory.path(), &edge);
    std::fs::write(directory.file("flood.toml"), STRANGERS).expect("a writable directory");
    let mut command = sirocco(directory.path());
    command.args(["loadgen", "--edges", "1", "--scenario", "flood.toml"]);
    let strangers = Role::start(command.args(["--target", &address]));
    strangers.event("ready");

    engine.tell(&push("short", &"s".repeat(200)));
    engine.tell(&push("long", &"l".repeat(LONG_CONTENT_BYTES)));
    for _ in 0..2 {
        let finished = engine.event("finished");
        assert_eq!(finished["accepted"], DEVICES, "{finished}");
    }
    // 32 s of Timer F for those that are gone, less for all others.
    let mut last = Value::Null;
    wait_for("the last session to end", || {
        last = books(&mut engine);
        let sessions = &last["sessions"];
        ended(sessions, "no-answer") > 0 && sessions["open"] == 0
    });
    strangers.child.signal("INT");
    let flooded = last_report(strangers);
    devices.tell("stop");
    let devices = last_report(devices);
    engine.tell("stop");
    let report = last_report(engine);
    assert_balanced(&report);

    let (sessions, pushes) = (&report["sessions"], &report["pushes"]);
    assert_eq!(sessions["open"], 0, "{sessions}");
    for cause in ["engine", "no-answer", "not-connected"] {
        assert!(ended(sessions, cause) > 0, "{cause}: {sessions}");
    }
    assert!(count(&sessions["chunks"]) > 0 && count(&sessions["retransmissions"]) > 0);
    assert_eq!(
        (&pushes["duplicates"], &pushes["unwanted"]),
        (&0.into(), &0.into())
    );
    let flood_sent = count(&flooded["sessions"]["flood_sent"]);
    assert!(flood_sent > 0 && flooded["sessions"]["established"] == 0);
    assert!(
        count(&sessions["refused"]["token-forged"]) > 0,
        "{sessions}"
    );

    let sound = &devices["sessions_by_class"]["sound"];
    assert!(count(&sound["attempts"]) > DEVICES, "{sound}");
    assert_eq!(sound["established"], sound["attempts"], "{sound}");
    assert_eq!(sound["contents"], sound["attempts"], "{sound}");
    assert_slow_and_connected(&devices);
    let all = &devices["sessions"];
    assert_eq!(
        (&all["duplicate_pushes"], &all["contents_corrupt"]),
        (&0.into(), &0.into())
    );
    assert!(
        count(&pushes["delivered"]) <= count(&all["contents"]),
        "{pushes} {all}"
    );
}

#[test]
fn devices_that_are_killed_leave_the_engine_up_and_its_books_balanced() {
    let directory = Directory::new("killed-devices");
    // They think and read slowly, so that many are in the midst of it.
    let slow = BAD_DEVICES.replace("uniform(1ms,500ms)", "uniform(1ms,3s)");
    let (first, edge) = devices(&directory, &slow, None);
    let (mut engine, _) = engine(directory.path(), &edge);
    engine.tell(&push("long", &"l".repeat(LONG_CONTENT_BYTES)));
    wait_for("some sessions to be open", || {
        let books = books(&mut engine);
        count(&books["sessions"]["open"]) > 20 && count(&books["pushes"]["delivered"]) > 20
    });
    first.child.signal("KILL");
    assert_eq!(first.end().1, None, "a signal ended it");

    // The kernel closes the sockets of a ring some time after the end of its process.
    wait_for("the edge's address to be free", || {
        UdpSocket::bind(&edge).is_ok()
    });

    let port = edge.rsplit(':').next();
    let (mut second, again) = devices(&directory, SOUND_DEVICES, port);
    assert_eq!(again, edge);
    let before = count(&books(&mut engine)["pushes"]["delivered"]);
    engine.tell(&push("short", "after the fall"));
    wait_for("the devices that came after to be served", || {
        count(&books(&mut engine)["pushes"]["delivered"]) >= before + DEVICES
    });
    engine.tell("stop");
    let report = last_report(engine);
    assert_balanced(&report);
    second.tell("stop");
    let devices = last_report(second);
    assert!(
        count(&devices["sessions"]["contents"]) >= DEVICES,
        "{devices}"
    );
}

/// Resident octets of a process.
fn resident(role: &Role) -> u64 {
    let path = format!("/proc/{}/status", role.child.0.id());
    let status = std::fs::read_to_string(path).expect("our own child");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes
        .and_then(|text| text.trim().parse::<u64>().ok())
        .expect("a number")
        * 1024
}

#[test]
fn the_memory_of_an_engine_stays_on_its_plateau_over_rounds_of_sessions_and_forgers() {
    const ROUNDS: usize = 30;
    const WARM: usize = 10;
    // A thousand sessions are some 300 KB: twenty rounds that leave theirs behind would be 6 MB.
    const SLACK_BYTES: u64 = 2 << 20;
    let directory = Directory::new("plateau");
    let both = SOUND_DEVICES.replace(r#"["message"]"#, r#"["message", "msrp"]"#);
    let (mut devices, edge) = devices(&directory, &both, None);
    let (mut engine, address) = engine(directory.path(), &edge);
    let flood = STRANGERS.replace("seconds = 4", "seconds = 0");
    std::fs::write(directory.file("flood.toml"), flood).expect("a writable directory");
    let mut command = sirocco(directory.path());
    command.args(["loadgen", "--edges", "1", "--scenario", "flood.toml"]);
    let strangers = Role::start(command.args(["--target", &address]));
    strangers.event("ready");
    let (mut levels, mut due) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        let content = if round % 2 == 0 {
            200
        } else {
            LONG_CONTENT_BYTES
        };
        engine.tell(&push("round", &"r".repeat(content)));
        due += DEVICES;
        wait_for("the sessions of a round to end", || {
            let books = books(&mut engine);
            count(&books["pushes"]["delivered"]) == due && books["sessions"]["open"] == 0
        });
        levels.push(resident(&engine));
    }
    strangers.child.signal("INT");
    let flooded = last_report(strangers);
    assert!(count(&flooded["sessions"]["flood_sent"]) > 0);
    engine.tell("stop");
    assert_balanced(&last_report(engine));
    devices.tell("stop");
    drop(last_report(devices));
    let warm = levels[..WARM].iter().max().expect("rounds");
    let late = levels[WARM..].iter().max().expect("rounds");
    assert!(*late <= warm + SLACK_BYTES, "{levels:?}");
}
