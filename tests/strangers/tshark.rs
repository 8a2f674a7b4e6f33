//! tshark decodes every form of our SIR: no Malformed, and each field with its value.

use std::process::Command;

use sirocco_tests::process::{Directory, run};
use sirocco_tests::tools::TSHARK;
use sirocco_wire::sip::message::{Method, StartLine};
use sirocco_wire::sip::template::{DevicePosition, LengthClass, SirSpec, Slots, Template};
use sirocco_wire::sip::write;
use sirocco_wire::sir::{ContactPoint, SirFields};
use sirocco_wire::wsp::ApplicationId;

use crate::capture;

const UUID: &str = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
const BRANCH: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
const TOKEN: &[u8; 32] = b"fedcba9876543210fedcba9876543210";
const POSITIONS: [DevicePosition; 4] = [
    DevicePosition::None,
    DevicePosition::Header,
    DevicePosition::Value,
    DevicePosition::Body,
];

/// What tshark is asked for, in this order.
const FIELDS: [&str; 15] = [
    "sip.Method",
    "sip.r-uri",
    "sip.Max-Forwards",
    "sip.Via.branch",
    "sip.from.addr",
    "sip.to.addr",
    "sip.Call-ID",
    "sip.CSeq",
    "sip.Content-Type",
    "sip.Content-Length",
    "wap.sir.version",
    "wap.sir.app_id_list.length",
    "wap.sir.wsp_contact_points.length",
    "wap.sir.contact_points.length",
    "wap.sir.prov_url",
];

/// One SIR and what tshark has to read in it.
struct Sample {
    datagram: Vec<u8>,
    wanted: Vec<String>,
}

/// Decodes datagrams: a row of values for each, after the mark of what is malformed.
fn decode(tshark: &std::path::Path, datagrams: &[Vec<u8>]) -> Vec<Vec<String>> {
    let directory = Directory::new("tshark");
    let path = directory.file("sirs.pcap");
    capture::write(&path, datagrams);
    let mut command = Command::new(tshark);
    command
        .arg("-n")
        .arg("-r")
        .arg(&path)
        .args(["-T", "fields", "-E", "separator=|"]);
    command.args(["-e", "_ws.malformed", "-e", "_ws.expert.message"]);
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let ended = run(&mut command);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let row = |line: &str| line.split('|').map(str::to_owned).collect();
    ended.stdout.lines().map(row).collect()
}

fn check(samples: &[Sample], test: &str) {
    let Some(tshark) = TSHARK.path_or_skip(test) else {
        return;
    };
    let datagrams: Vec<_> = samples
        .iter()
        .map(|sample| sample.datagram.clone())
        .collect();
    let rows = decode(&tshark, &datagrams);
    assert_eq!(rows.len(), samples.len(), "a row for each datagram");
    for (row, sample) in rows.iter().zip(samples) {
        let text = String::from_utf8_lossy(&sample.datagram);
        assert_eq!(row[0], "", "malformed: {row:?}\n{text}");
        assert!(!row[1].contains("alformed"), "{row:?}\n{text}");
        for ((field, read), wanted) in FIELDS.iter().zip(&row[2..]).zip(&sample.wanted) {
            assert_eq!(read, wanted, "{field} in\n{text}");
        }
    }
}

/// A SIR rendered from the template for an AOR and a device.
fn rendered(aor_user: &str, device: &str, spec: &SirSpec<'_>) -> Sample {
    let aor = format!("sip:+{aor_user}@ims.example");
    let class = LengthClass::of(aor.len(), device.len(), spec).expect("short enough");
    let template = Template::compile(spec, class).expect("a sound specification");
    let mut datagram = vec![0; template.len()];
    template.fill(&mut datagram);
    let slots = Slots {
        aor_prefix: b"sip:+",
        aor_user: aor_user.as_bytes(),
        aor_suffix: b"@ims.example",
        device: device.as_bytes(),
        branch: *BRANCH,
        token: *TOKEN,
    };
    template.patch(&mut datagram, &slots);
    let is_routed = spec.routed && !device.is_empty();
    let uri = if is_routed {
        format!("{aor};gr={device}")
    } else {
        aor.clone()
    };
    let token = String::from_utf8_lossy(TOKEN);
    let mut prov_url = format!("{};t={token}", spec.ppg_uri);
    if spec.device_position == DevicePosition::Value && !device.is_empty() {
        prov_url = format!("{prov_url};gr={device}");
    }
    let body_at = datagram.windows(4).position(|window| window == b"\r\n\r\n");
    let body = &datagram[body_at.expect("an end of the header") + 4..];
    let wanted = [
        "MESSAGE".to_owned(),
        uri,
        "70".to_owned(),
        format!("z9hG4bK{}", String::from_utf8_lossy(BRANCH)),
        spec.from.to_owned(),
        aor,
        String::from_utf8_lossy(BRANCH).into_owned(),
        "1 MESSAGE".to_owned(),
        "application/vnd.wap.sia".to_owned(),
        body.len().to_string(),
        "1".to_owned(),
        body[1].to_string(),
        "0".to_owned(),
        "0".to_owned(),
        prov_url,
    ];
    Sample {
        wanted: wanted.into(),
        datagram,
    }
}

fn spec(device_position: DevicePosition, routed: bool, expires_s: Option<u32>) -> SirSpec<'static> {
    SirSpec {
        sent_by: "127.0.0.1:5070",
        from: "sip:ppg@ims.example",
        from_tag: "a1b2c3d4",
        ppg_uri: "sip:ppg@127.0.0.1:5070",
        application: "push.sia",
        device_position,
        routed,
        expires_s,
        ask: "",
        activate: None,
        sealed: None,
    }
}

#[test]
fn tshark_reads_every_form_of_the_template() {
    let mut samples = Vec::new();
    for device_position in POSITIONS {
        for routed in [false, true] {
            for expires_s in [None, Some(3_600)] {
                let spec = spec(device_position, routed, expires_s);
                samples.push(rendered("8613800000000", UUID, &spec));
            }
        }
    }
    check(&samples, "tshark_reads_every_form_of_the_template");
}

#[test]
fn tshark_reads_every_width_of_padding() {
    // 1 to 40 digits: every number of padding spaces, before Max-Forwards and behind To.
    let widths = (1..=40).map(|digits| "7".repeat(digits));
    let spec = spec(DevicePosition::None, true, None);
    let samples: Vec<_> = widths.map(|user| rendered(&user, UUID, &spec)).collect();
    check(&samples, "tshark_reads_every_width_of_padding");
}

#[test]
fn tshark_reads_every_kind_of_device() {
    let devices = [
        UUID,
        "urn:gsma:imei:90420156-025763-0",
        "urn:dev:mac:0024befffe804ff1",
        "urn:3gpp2:meid:a04b0d56-02a7e3",
        "urn:3gpp2:esn:80a1b2c3",
        "urn:epc:id:sgtin:0614141.112345.400",
        "urn:example:set-top-box-7",
        // As a parameter's value carries them: a URI, a fingerprint, a GRUU.
        "https://ims.example/tv%3Fa%3D1",
        "ni:///sha-256%3Bf4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk",
        "sip:alice@ims.example%3Bgr%3Dkjh29x97us97d",
    ];
    let specs = POSITIONS.map(|position| spec(position, true, None));
    let pairs = specs
        .iter()
        .flat_map(|spec| devices.map(|device| (spec, device)));
    let samples: Vec<_> = pairs
        .map(|(spec, device)| rendered("8613800000000", device, spec))
        .collect();
    check(&samples, "tshark_reads_every_kind_of_device");
}

/// A MESSAGE around a body that only the writer makes: version 0, contact points, options, CPI tags.
fn written(fields: &SirFields<'_>, lengths: [&str; 3], prov_url: &str) -> Sample {
    let mut body = [0; 1_000];
    let length = fields.write(&mut body).expect("a short body");
    let via = format!(
        "SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK{}",
        String::from_utf8_lossy(BRANCH)
    );
    let head: [(&[u8], &[u8]); 7] = [
        (b"Max-Forwards", b"70"),
        (b"Via", via.as_bytes()),
        (b"From", b"<sip:ppg@ims.example>;tag=1"),
        (b"To", b"<sip:+1@ims.example>"),
        (b"Call-ID", BRANCH),
        (b"CSeq", b"1 MESSAGE"),
        (b"Content-Type", b"application/vnd.wap.sia"),
    ];
    let line = StartLine::Request {
        method: Method::Message,
        uri: b"sip:+1@ims.example",
    };
    let mut datagram = vec![0; 1_300];
    let total = write::request(&mut datagram, line, &head, &body[..length]).expect("room");
    datagram.truncate(total);
    let wanted = [
        "MESSAGE",
        "sip:+1@ims.example",
        "70",
        &format!("z9hG4bK{}", String::from_utf8_lossy(BRANCH)),
        "sip:ppg@ims.example",
        "sip:+1@ims.example",
        &String::from_utf8_lossy(BRANCH),
        "1 MESSAGE",
        "application/vnd.wap.sia",
        &length.to_string(),
        &fields.version.to_string(),
        lengths[0],
        lengths[1],
        lengths[2],
        prov_url,
    ];
    Sample {
        wanted: wanted.map(str::to_owned).into(),
        datagram,
    }
}

#[test]
fn tshark_reads_both_versions_of_the_body() {
    let application = [ApplicationId::of(b"push.sia")];
    let gateway = [ContactPoint {
        bearer: Some(0x0b),
        port: Some(9_200),
        address: &[192, 0, 2, 1],
    }];
    let mut samples = Vec::new();
    for device_position in POSITIONS {
        let old = SirFields {
            version: 0,
            applications: &application,
            wsp_contact_points: &gateway,
            device: UUID.as_bytes(),
            device_position,
            ..SirFields::default()
        };
        let list = if device_position == DevicePosition::Header {
            "60"
        } else {
            "2"
        };
        if device_position != DevicePosition::Value {
            samples.push(written(&old, [list, "8", ""], ""));
        }
        let fresh = SirFields {
            version: 1,
            contact_points: &gateway,
            protocol_options: &[1],
            prov_url: b"sip:ppg@ims.example",
            cpi_tags: &[[1, 2, 3, 4]],
            ..old
        };
        let gruu = format!("sip:ppg@ims.example;gr={UUID}");
        let prov_url = match device_position {
            DevicePosition::Value => gruu.as_str(),
            _ => "sip:ppg@ims.example",
        };
        samples.push(written(&fresh, [list, "8", "8"], prov_url));
    }
    check(&samples, "tshark_reads_both_versions_of_the_body");
}

#[test]
fn tshark_tells_a_torn_body() {
    let Some(tshark) = TSHARK.path_or_skip("tshark_tells_a_torn_body") else {
        return;
    };
    // The judge must be able to condemn, or its verdicts above are worth nothing.
    let whole = rendered(
        "8613800000000",
        UUID,
        &spec(DevicePosition::None, true, None),
    )
    .datagram;
    let text = String::from_utf8_lossy(&whole);
    let length = text
        .split("Content-Length: ")
        .nth(1)
        .and_then(|rest| rest.split('\r').next());
    let length: usize = length
        .and_then(|digits| digits.parse().ok())
        .expect("a length");
    let body_at = whole.len() - length;
    let mut torn = whole[..body_at].to_vec();
    let at = torn
        .windows(16)
        .position(|window| window == b"Content-Length: ")
        .expect("it is there");
    torn.splice(at + 16..at + 18, *b"09");
    torn.extend_from_slice(&whole[body_at..body_at + 9]);
    let rows = decode(&tshark, &[torn]);
    assert!(
        !rows[0][0].is_empty() || rows[0][1].contains("alformed"),
        "{rows:?}"
    );
}
