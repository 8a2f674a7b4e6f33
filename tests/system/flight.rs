//! The flight recorder of a real engine, its capture judged by tshark: what failed is there as SIP, packet by
//! packet, with sound checksums and nothing malformed.

use std::process::Command;
use std::sync::PoisonError;

use crate::bench::TURN;
use crate::process::{Directory, run};
use crate::sirocco;
use crate::tools::TSHARK;

/// Fields of each packet that tshark is asked for.
const FIELDS: [&str; 9] = [
    "_ws.malformed",
    "ip.checksum.status",
    "udp.checksum.status",
    "sip.Method",
    "sip.Status-Code",
    "sip.r-uri",
    "wap.sir.version",
    "udp.srcport",
    "udp.dstport",
];

#[test]
fn a_bench_whose_devices_refuse_leaves_a_ladder_and_a_capture_that_tshark_reads() {
    let directory = Directory::new("flight");
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut bench = sirocco(directory.path());
    bench.args([
        "bench",
        "--scenario",
        "dispatch",
        "--identities",
        "1000",
        "--rate",
        "2000",
        "--duration",
        "500ms",
        "--repetitions",
        "1",
        "--no-ceiling",
        "--mix",
        "200:80,486:15,404:5",
        "--quiet",
        "--allow-shared-core",
    ]);
    let ended = run(&mut bench);
    drop(turn);
    let folder = directory.path().join("target/sirocco");
    let ladder = std::fs::read_to_string(folder.join("flight.txt"));
    let ladder = ladder.unwrap_or_else(|error| panic!("{error}: {}", ended.stderr));
    let failed = |cause: &str| ladder.matches(&format!("SIR failed: {cause}\n")).count();
    let (busy, unknown) = (failed("486"), failed("404"));
    assert!(busy > 0 && unknown > 0, "{ladder}");
    assert_eq!(ladder.matches("|--- MESSAGE sip:").count(), busy + unknown);
    assert_eq!(ladder.matches("|<-- 486 ").count(), busy);

    let test = "a_bench_whose_devices_refuse_leaves_a_ladder_and_a_capture_that_tshark_reads";
    let Some(tshark) = TSHARK.path_or_skip(test) else {
        return;
    };
    let mut decode = Command::new(tshark);
    // Checksums are judged only where they are asked for.
    decode.args([
        "-n",
        "-o",
        "ip.check_checksum:TRUE",
        "-o",
        "udp.check_checksum:TRUE",
    ]);
    decode.arg("-r").arg(folder.join("flight.pcap"));
    decode.args(["-T", "fields", "-E", "separator=|"]);
    FIELDS.iter().for_each(|field| {
        decode.args(["-e", field]);
    });
    let ended = run(&mut decode);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let packets: Vec<Vec<&str>> = (ended.stdout.lines())
        .map(|line| line.split('|').collect())
        .collect();
    assert_eq!(packets.len(), 2 * (busy + unknown), "{}", ended.stdout);
    for packet in &packets {
        // 1 is good.
        assert_eq!(packet[..3], ["", "1", "1"], "{packet:?}");
    }
    let with = |field: usize, value: &str| {
        packets
            .iter()
            .filter(|packet| packet[field] == value)
            .count()
    };
    assert_eq!(with(3, "MESSAGE"), busy + unknown);
    assert_eq!((with(4, "486"), with(4, "404")), (busy, unknown));
    let sirs = packets.iter().filter(|packet| {
        !packet[6].is_empty() && ladder.contains(&format!("MESSAGE {} SIP/2.0\n", packet[5]))
    });
    assert_eq!(sirs.count(), busy + unknown);
}
