//! What a load reports, and that chunk borders do not matter.

use super::*;
use crate::population::line::{Column, Reason};
use crate::population::{GenerateSpec, LINE_BYTES_MAX, generate};

const GOOD: &str = "sip:+8613800001111@ims.example\turn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6\t127.0.0.1:6000\t-\tsip\tidle\t03\t5\ta1\t-";
const HEADER: &str = "#sirocco-population 1\n";

fn load_text(text: &str, policy: Policy) -> (Index, Result<LoadReport, LoadError>) {
    let mut index = Index::new(0).unwrap();
    let report = load_from(text.as_bytes(), "people.txt", &mut index, policy);
    (index, report)
}

#[test]
fn a_bad_line_stops_the_load_with_file_line_and_reason() {
    let text = format!("{HEADER}# remark\n{GOOD}\n\n{GOOD}x\n{GOOD}\n");
    let (_, outcome) = load_text(&text, Policy::Stop);
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "people.txt:5: column 10 (expires): expected seconds from 0 to 4294967294, or - for never"
    );
}

#[test]
fn bad_lines_are_counted_and_the_first_hundred_kept() {
    let mut text = HEADER.to_owned();
    for number in 0..250 {
        text.push_str(&GOOD.replace("1111@", &format!("{number:04}@")));
        text.push_str("\r\nnonsense\n");
    }
    let (index, outcome) = load_text(&text, Policy::Count);
    let report = outcome.unwrap();
    assert_eq!(
        (report.lines, report.devices, report.faults),
        (501, 250, 250)
    );
    assert_eq!(index.len(), 250);
    let lines: Vec<_> = report.first_faults.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, (0..100).map(|at| 3 + 2 * at).collect::<Vec<_>>());
}

#[test]
fn a_repeated_device_is_an_update_also_when_its_lines_are_apart() {
    let other = GOOD.replace("1111@", "2222@");
    let later = GOOD
        .replace("idle", "connected")
        .replace("-\tsip", "[2001:db8::1]:9\tsip");
    let text = format!("{HEADER}{GOOD}\n{GOOD}\n{other}\n{later}\n");
    let (index, outcome) = load_text(&text, Policy::Stop);
    assert_eq!(outcome.unwrap().devices, 4);
    assert_eq!((index.len(), index.devices_len()), (2, 2));
    let run = index.lookup(index.pack(b"sip:+8613800001111@ims.example").unwrap());
    let device = index.devices(run)[0];
    assert!(device.connected());
    assert_eq!(
        index.contact(&device),
        Some("[2001:db8::1]:9".parse().unwrap())
    );
}

#[test]
fn text_users_text_ids_and_odd_case_are_loaded_too() {
    let text = format!(
        "{HEADER}{}\n{}\n{}\n",
        GOOD.replace("+8613800001111@ims.example", "alice@ims.example"),
        GOOD.replace(
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "urn:dev:org:32473-1"
        ),
        GOOD.replace(
            "sip:+8613800001111@ims.example",
            "SIP:+8613800001111@IMS.example"
        )
    );
    let (index, outcome) = load_text(&text, Policy::Stop);
    assert_eq!(outcome.unwrap().devices, 3);
    let alice = index.lookup(index.pack(b"sip:alice@IMS.EXAMPLE").unwrap());
    assert_eq!(index.devices(alice).len(), 1);
    let number = index.lookup(index.pack(b"sip:+8613800001111@ims.example").unwrap());
    let texts: Vec<_> = index
        .devices(number)
        .iter()
        .map(|device| index.device_id_text(device))
        .collect();
    assert_eq!(texts, [&b"urn:dev:org:32473-1"[..], b""]);
}

#[test]
fn bad_octets_in_an_aor_are_faults_of_their_line() {
    for bad in [
        "sip:+8613800001111@ims<example",
        "sip:al\u{1}ice@h",
        "sip:+1@\u{e9}",
    ] {
        let text = format!(
            "{HEADER}{}\n",
            GOOD.replace("sip:+8613800001111@ims.example", bad)
        );
        let (_, outcome) = load_text(&text, Policy::Count);
        let fault = outcome.unwrap().first_faults[0].clone();
        let reason = Reason::Aor(crate::AorError::Octet);
        assert_eq!(
            (fault.line, fault.error.column, fault.error.reason),
            (2, Column::Aor, reason)
        );
    }
}

#[test]
fn a_foreign_file_is_refused_by_its_first_line() {
    for text in [
        "",
        "\n",
        "PK\u{3}\u{4}",
        &format!("{GOOD}\n"),
        "#sirocco-population 2\n",
    ] {
        let (_, outcome) = load_text(text, Policy::Count);
        assert!(matches!(outcome, Err(LoadError::Header { .. })), "{text}");
    }
    let (index, outcome) = load_text(HEADER, Policy::Stop);
    assert_eq!((index.len(), outcome.unwrap().lines), (0, 1));
}

#[test]
fn an_overlong_line_is_one_fault_whatever_its_length() {
    for length in [
        LINE_BYTES_MAX + 1,
        300_000,
        600_000,
        262_144,
        262_143 - HEADER.len(),
    ] {
        let text = format!("{HEADER}{}\n{GOOD}\n", "x".repeat(length));
        let (index, outcome) = load_text(&text, Policy::Count);
        let report = outcome.unwrap();
        assert_eq!(
            (report.lines, report.faults, index.len()),
            (3, 1, 1),
            "{length}"
        );
        assert_eq!(report.first_faults[0].error.reason, Reason::LineLength);
        assert_eq!(report.first_faults[0].line, 2);
    }
}

/// Hands out a few bytes at a time, and fails at the end when asked to.
struct Trickle<'a>(&'a [u8], bool);

impl Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() && self.1 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let count = self.0.len().min(out.len()).min(4001);
        out[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

#[test]
fn chunk_borders_and_short_reads_do_not_matter() {
    let spec = GenerateSpec {
        identities: 4000,
        ..GenerateSpec::default()
    };
    let mut text = Vec::new();
    generate(&spec, &mut text).unwrap();
    assert!(text.len() > 1 << 20, "several chunks");
    text.pop(); // A last line without line end counts too.
    let mut index = Index::new(0).unwrap();
    let report = load_from(Trickle(&text, false), "x", &mut index, Policy::Stop).unwrap();
    assert_eq!(report.devices, spec.devices_total());
    assert_eq!(index.devices_len() as u64, spec.devices_total());
    let failed = load_from(Trickle(&text, true), "x", &mut index, Policy::Stop);
    assert!(matches!(failed, Err(LoadError::Read { .. })));
}

#[test]
fn a_missing_file_is_named() {
    let mut index = Index::new(0).unwrap();
    let missing = load(
        Path::new("/nonexistent/people.txt"),
        &mut index,
        Policy::Stop,
    );
    assert!(
        missing
            .unwrap_err()
            .to_string()
            .contains("/nonexistent/people.txt")
    );
}
