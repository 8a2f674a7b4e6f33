//! The torture messages of RFC 4475 and RFC 5118: every file of `tests/data` has an outcome here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sirocco_wire::sip::{
    Address, DropReason, HeaderName, Message, ParseError, Role, SipUri, Transport, Verdict, screen,
    screen_as,
};

const ACCEPT: Verdict = Verdict::Accept;

const fn reject(code: u16) -> Verdict {
    Verdict::Reject { code }
}

const fn drop(reason: DropReason) -> Verdict {
    Verdict::Drop { reason }
}

/// File, outcome in every role, as proxy, as endpoint.
const RFC_4475: [(&str, Verdict, Verdict, Verdict); 50] = [
    ("badaspec.dat", reject(400), reject(400), reject(400)),
    ("badbranch.dat", reject(400), reject(400), reject(400)),
    ("baddate.dat", ACCEPT, ACCEPT, ACCEPT),
    ("baddn.dat", reject(400), reject(400), reject(400)),
    ("badinv01.dat", reject(400), reject(400), reject(400)),
    ("badvers.dat", reject(505), reject(505), reject(505)),
    (
        "bcast.dat",
        drop(DropReason::BroadcastVia),
        drop(DropReason::BroadcastVia),
        drop(DropReason::BroadcastVia),
    ),
    ("bext01.dat", reject(420), reject(420), reject(420)),
    (
        "bigcode.dat",
        drop(DropReason::NotSip(ParseError::StartLine)),
        drop(DropReason::NotSip(ParseError::StartLine)),
        drop(DropReason::NotSip(ParseError::StartLine)),
    ),
    ("clerr.dat", reject(400), reject(400), reject(400)),
    ("cparam01.dat", ACCEPT, ACCEPT, ACCEPT),
    ("cparam02.dat", ACCEPT, ACCEPT, ACCEPT),
    ("dblreq.dat", ACCEPT, ACCEPT, ACCEPT),
    ("esc01.dat", ACCEPT, ACCEPT, ACCEPT),
    ("esc02.dat", ACCEPT, ACCEPT, ACCEPT),
    ("escnull.dat", ACCEPT, ACCEPT, ACCEPT),
    ("escruri.dat", reject(400), reject(400), reject(400)),
    ("insuf.dat", reject(400), reject(400), reject(400)),
    ("intmeth.dat", ACCEPT, ACCEPT, ACCEPT),
    ("inv2543.dat", ACCEPT, ACCEPT, ACCEPT),
    ("invut.dat", ACCEPT, ACCEPT, reject(415)),
    ("longreq.dat", ACCEPT, ACCEPT, ACCEPT),
    ("ltgtruri.dat", reject(400), reject(400), reject(400)),
    ("lwsdisp.dat", ACCEPT, ACCEPT, ACCEPT),
    ("lwsruri.dat", reject(400), reject(400), reject(400)),
    ("lwsstart.dat", reject(400), reject(400), reject(400)),
    ("mcl01.dat", reject(400), reject(400), reject(400)),
    ("mismatch01.dat", reject(400), reject(400), reject(400)),
    ("mismatch02.dat", reject(501), reject(501), reject(501)),
    ("mpart01.dat", ACCEPT, ACCEPT, ACCEPT),
    ("multi01.dat", reject(400), reject(400), reject(400)),
    ("ncl.dat", reject(400), reject(400), reject(400)),
    ("noreason.dat", ACCEPT, ACCEPT, ACCEPT),
    ("novelsc.dat", reject(416), reject(416), reject(416)),
    ("quotbal.dat", reject(400), reject(400), reject(400)),
    ("regaut01.dat", ACCEPT, ACCEPT, ACCEPT),
    ("regbadct.dat", reject(400), reject(400), reject(400)),
    ("regescrt.dat", ACCEPT, ACCEPT, ACCEPT),
    ("scalar02.dat", reject(400), reject(400), reject(400)),
    (
        "scalarlg.dat",
        drop(DropReason::ResponseFields),
        drop(DropReason::ResponseFields),
        drop(DropReason::ResponseFields),
    ),
    ("sdp01.dat", ACCEPT, ACCEPT, reject(406)),
    ("semiuri.dat", ACCEPT, ACCEPT, ACCEPT),
    (
        "test.dat",
        drop(DropReason::NotSip(ParseError::StartLine)),
        drop(DropReason::NotSip(ParseError::StartLine)),
        drop(DropReason::NotSip(ParseError::StartLine)),
    ),
    ("transports.dat", ACCEPT, ACCEPT, ACCEPT),
    ("trws.dat", ACCEPT, ACCEPT, ACCEPT),
    ("unkscm.dat", reject(416), reject(416), reject(416)),
    ("unksm2.dat", ACCEPT, ACCEPT, ACCEPT),
    ("unreason.dat", ACCEPT, ACCEPT, ACCEPT),
    ("wsinv.dat", ACCEPT, ACCEPT, ACCEPT),
    ("zeromf.dat", ACCEPT, reject(483), ACCEPT),
];

const RFC_5118: [(&str, Verdict); 12] = [
    ("ipv4-mapped-ipv6", ACCEPT),
    ("ipv6-bad", reject(400)),
    ("ipv6-bug-abnf-3-colons", ACCEPT),
    ("ipv6-correct-abnf-2-colons", ACCEPT),
    ("ipv6-good", ACCEPT),
    ("ipv6-in-sdp", ACCEPT),
    ("mult-ip-in-header", ACCEPT),
    ("mult-ip-in-sdp", ACCEPT),
    ("port-ambiguous", ACCEPT),
    ("port-unambiguous", ACCEPT),
    ("via-received-param-no-delim", ACCEPT),
    ("via-received-param-with-delim", ACCEPT),
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn octets(rfc: &str, name: &str) -> Vec<u8> {
    std::fs::read(folder(rfc).join(name)).expect("test data lies beside this file")
}

/// Repairs what the archive of RFC 5118 does to its messages: line ends are LF, two files lack the
/// empty line, and Content-Length counts neither LF nor CRLF in `ipv6-in-sdp` (268 for 251).
fn repaired(message: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(message);
    let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let body = body.replace('\n', "\r\n");
    let lines = head.lines().map(|line| match line.split_once(':') {
        Some(("Content-Length", _)) => format!("Content-Length: {}\r\n", body.len()),
        _ => format!("{line}\r\n"),
    });
    format!("{}\r\n{body}", lines.collect::<String>()).into_bytes()
}

fn files(rfc: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder(rfc)).expect("test data lies beside this file");
    let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    entries.flatten().map(name).collect()
}

#[test]
fn every_file_has_an_outcome() {
    let named: BTreeSet<String> = RFC_4475.iter().map(|row| row.0.to_owned()).collect();
    assert_eq!(files("rfc4475"), named);
    let named: BTreeSet<String> = RFC_5118.iter().map(|row| row.0.to_owned()).collect();
    assert_eq!(files("rfc5118"), named);
}

#[test]
fn rfc_4475_outcomes() {
    let mut wrong = Vec::new();
    for (name, every_role, proxy, endpoint) in RFC_4475 {
        let message = octets("rfc4475", name);
        let verdicts = (
            screen(&message, Transport::Datagram),
            screen_as(&message, Transport::Datagram, Role::Proxy),
            screen_as(&message, Transport::Datagram, Role::Endpoint),
        );
        if verdicts != (every_role, proxy, endpoint) {
            wrong.push(format!("{name}: {verdicts:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rfc_5118_outcomes() {
    let mut wrong = Vec::new();
    for (name, outcome) in RFC_5118 {
        let message = repaired(&octets("rfc5118", name));
        let verdict = screen(&message, Transport::Datagram);
        if verdict != outcome {
            wrong.push(format!("{name}: {verdict:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// LF alone ends no line: a message that two readers would frame differently is no message.
#[test]
fn bare_line_feeds_are_refused() {
    let verdict = screen(&octets("rfc5118", "ipv6-good"), Transport::Datagram);
    assert_eq!(verdict, drop(DropReason::NotSip(ParseError::StartLine)));
    let inside = b"OPTIONS sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\rX: y\r\n\r\n";
    assert_eq!(Message::parse(inside).err(), Some(ParseError::HeaderLine));
}

#[test]
fn a_truncated_body_waits_on_a_stream() {
    let verdict = screen(&octets("rfc4475", "clerr.dat"), Transport::Stream);
    assert_eq!(verdict, drop(DropReason::Incomplete));
    // RFC 3261 18.3: a stream needs Content-Length.
    assert_eq!(
        screen(&octets("rfc4475", "inv2543.dat"), Transport::Stream),
        reject(400)
    );
}

#[test]
fn octets_behind_the_body_are_ignored() {
    let datagram = octets("rfc4475", "dblreq.dat");
    let message = Message::parse(&datagram).unwrap();
    assert!(message.body().is_empty());
    assert_eq!(message.values(HeaderName::Via).count(), 1);
}

#[test]
fn the_short_tortuous_invite_reads_whole() {
    let datagram = octets("rfc4475", "wsinv.dat");
    let message = Message::parse(&datagram).unwrap();
    assert_eq!(message.to_tag(), Some(&b"1918181833n"[..]));
    assert_eq!(message.from_tag(), Some(&b"98asjd8"[..]));
    assert_eq!(message.cseq().unwrap().number, 9);
    assert_eq!(message.body().len(), 150);
    assert_eq!(message.top_via().unwrap().branch, Some(&b"390skdjuw"[..]));
    assert_eq!(message.values(HeaderName::Via).count(), 2);
    assert_eq!(message.headers().count(), 14);
}

#[test]
fn contact_parameters_stay_where_they_were() {
    let read = |name: &str| {
        let datagram = octets("rfc4475", name);
        let message = Message::parse(&datagram).unwrap();
        let (contact, _) = Address::split(message.header(HeaderName::Contact).unwrap()).unwrap();
        (contact.uri.to_vec(), contact.params.to_vec())
    };
    let (uri, params) = read("cparam01.dat");
    assert_eq!(
        (&uri[..], &params[..]),
        (
            &b"sip:+19725552222@gw1.example.net"[..],
            &b";unknownparam"[..]
        )
    );
    let (uri, params) = read("cparam02.dat");
    assert!(
        SipUri::parse(&uri)
            .unwrap()
            .param(b"unknownparam")
            .is_some()
            && params.is_empty()
    );
    let (uri, _) = read("regescrt.dat");
    assert_eq!(SipUri::parse(&uri).unwrap().headers().count(), 1);
}

#[test]
fn escapes_are_not_taken_where_they_are_none() {
    let datagram = octets("rfc4475", "esc02.dat");
    let message = Message::parse(&datagram).unwrap();
    assert_eq!(message.values(HeaderName::Contact).count(), 2);
    let datagram = octets("rfc4475", "semiuri.dat");
    let message = Message::parse(&datagram).unwrap();
    let uri = SipUri::parse(message.request_uri().unwrap()).unwrap();
    assert_eq!(uri.user, Some(&b"user;par=u%40example.net"[..]));
}
