//! URI comparison by the examples of RFC 3261 19.1.4 and RFC 5627.

use super::*;

fn same(one: &str, other: &str) -> bool {
    let one = SipUri::parse(one.as_bytes()).expect(one);
    let other = SipUri::parse(other.as_bytes()).expect(other);
    assert_eq!(one.equivalent(&other), other.equivalent(&one));
    one.equivalent(&other)
}

#[test]
fn equivalent_by_rfc_3261_19_1_4() {
    for (one, other) in [
        (
            "sip:%61lice@atlanta.com;transport=TCP",
            "sip:alice@AtLanTa.CoM;Transport=tcp",
        ),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        (
            "sip:a@h;gr=urn:uuid:F81D4FAE-7DEC",
            "sip:a@h;gr=urn:uuid:f81d4fae-7dec",
        ),
        ("sip:a@h;gr=x", "sip:a@h"),
        ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0:0::1]"),
    ] {
        assert!(same(one, other), "{one} {other}");
    }
}

#[test]
fn different_by_rfc_3261_19_1_4() {
    for (one, other) in [
        (
            "SIP:ALICE@AtLanTa.CoM;Transport=udp",
            "sip:alice@AtLanTa.CoM;Transport=UDP",
        ),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        (
            "sip:bob@biloxi.com",
            "sip:bob@biloxi.com:6000;transport=tcp",
        ),
        (
            "sip:carol@chicago.com",
            "sip:carol@chicago.com?Subject=next%20meeting",
        ),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        (
            "sip:carol@chicago.com;security=on",
            "sip:carol@chicago.com;security=off",
        ),
        ("sip:a@h", "sips:a@h"),
        ("sip:a@h;gr=y", "sip:a@h;gr=x"),
        ("sip:h", "sip:a@h"),
    ] {
        assert!(!same(one, other), "{one} {other}");
    }
}

#[test]
fn reads_every_component() {
    let uri = SipUri::parse(b"sips:al%20:pw@[::1]:5061;gr=urn:x:1;lr?a=b&c=d").unwrap();
    assert!(uri.secure);
    assert_eq!(uri.user, Some(&b"al%20"[..]));
    assert_eq!(uri.password, Some(&b"pw"[..]));
    assert_eq!((uri.host, uri.port), (&b"[::1]"[..], Some(5061)));
    assert_eq!(uri.gruu(), Some(&b"urn:x:1"[..]));
    assert_eq!(uri.param(b"LR"), Some(&b""[..]));
    assert_eq!(uri.headers().count(), 2);
}

#[test]
fn refuses_malformed_text() {
    for text in [
        "tel:+1",
        "sip:",
        "sip:@h",
        "sip:a@",
        "sip:a@h:0",
        "sip:a@h:70000",
        "sip:a@h:x",
        "sip:a b@h",
        "sip:a@h ",
        "sip:a@h;x y",
        "sip:a@h?x=<",
        "sip:a%2@h",
        "sip:a@[::1",
        "sip:a@2001:db8::10",
        "sip:a@h..x",
        "<sip:a@h>",
    ] {
        assert!(SipUri::parse(text.as_bytes()).is_none(), "{text}");
    }
}

#[test]
fn aor_form_is_canonical() {
    let mut out = [0u8; 64];
    let uri = SipUri::parse(b"SIP:Al:pw@ExAmple.COM:5060;gr=x;lr?y=z").unwrap();
    let len = uri.write_aor(&mut out).unwrap();
    assert_eq!(&out[..len], b"sip:Al@example.com:5060");
    assert_eq!(uri.write_aor(&mut [0u8; 4]), Err(Overflow));
}

#[test]
fn parameters_are_bounded() {
    let uri = |count: usize| format!("sip:a@h{}", ";x=y".repeat(count));
    assert!(SipUri::parse(uri(PARAMETERS_MAX).as_bytes()).is_some());
    assert!(SipUri::parse(uri(PARAMETERS_MAX + 1).as_bytes()).is_none());
}

#[test]
fn an_address_is_what_the_host_names_by_number() {
    let address = |text: &str| SipUri::parse(text.as_bytes()).and_then(|uri| uri.address());
    let read = |text: &str| Some(text.parse().expect("an address"));
    assert_eq!(address("sip:a@192.0.2.1"), read("192.0.2.1:5060"));
    assert_eq!(
        address("sip:[2001:db8::1]:5070;lr"),
        read("[2001:db8::1]:5070")
    );
    assert_eq!(address("sip:a@ims.example"), None);
}
