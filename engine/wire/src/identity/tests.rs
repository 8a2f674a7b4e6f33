//! The nine kinds: recognition, canonical form, comparison, packing.

use super::*;

fn packed_text(text: &str) -> String {
    let packed = PackedDevice::pack(text.as_bytes()).expect(text);
    let mut out = vec![0; packed.urn_len()];
    assert_eq!(packed.write_urn(&mut out), out.len());
    let mut short = vec![0; out.len() - 1];
    assert_eq!(packed.write_urn(&mut short), 0);
    String::from_utf8(out).unwrap()
}

#[test]
fn packs_and_writes_canonical_text() {
    for (text, kind, canonical) in [
        (
            "urn:uuid:F81D4FAE-7dec-11d0-a765-00a0c91e6bf6",
            DeviceKind::Uuid,
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        ),
        (
            "sip:callee@example.com;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            DeviceKind::Gruu,
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        ),
        (
            "URN:gsma:imei:90420156-025763-0;vers=0",
            DeviceKind::Imei,
            "urn:gsma:imei:90420156-025763-0",
        ),
        (
            "urn:gsma:imei:90420156-025763-0;svn=42",
            DeviceKind::Imei,
            "urn:gsma:imei:90420156-025763-0%3Bsvn%3D42",
        ),
        (
            "urn:epc:id:sgtin:0614141.112345.400",
            DeviceKind::Rfid,
            "urn:epc:id:sgtin:0614141.112345.400",
        ),
        (
            "urn:epc:id:sscc:0614141.1234567890",
            DeviceKind::Rfid,
            "urn:epc:id:sscc:0614141.1234567890",
        ),
        (
            "urn:3gpp2:esn:80A1B2C3",
            DeviceKind::Esn,
            "urn:3gpp2:esn:80a1b2c3",
        ),
        (
            "urn:3gpp2:meid:A04B0D56-02A7E3",
            DeviceKind::Esn,
            "urn:3gpp2:meid:a04b0d56-02a7e3",
        ),
        (
            "urn:dev:mac:0024BEfffe804ff1",
            DeviceKind::Mac,
            "urn:dev:mac:0024befffe804ff1",
        ),
        (
            "00:24:be:80:4f:f1",
            DeviceKind::Mac,
            "urn:dev:mac:0024befffe804ff1",
        ),
        (
            "ni:///sha-256-128;f4OxZX_x_FO5LcGBSKHWXQ",
            DeviceKind::Fingerprint,
            "ni:///sha-256-128%3Bf4OxZX_x_FO5LcGBSKHWXQ",
        ),
        ("URN:ABC:Def", DeviceKind::Urn, "urn:abc:Def"),
        ("tel:+123", DeviceKind::Uri, "tel:+123"),
    ] {
        assert_eq!(packed_text(text), canonical);
        let identity = DeviceIdentity::parse(text.as_bytes()).expect(text);
        assert_eq!(identity.kind, kind, "{text}");
        // The canonical text packs to the same octets; a GRUU becomes the UUID it names.
        let again = PackedDevice::pack(canonical.as_bytes()).expect(canonical);
        assert_eq!(
            again.bytes,
            PackedDevice::pack(text.as_bytes()).unwrap().bytes,
            "{text}"
        );
    }
}

#[test]
fn compares_by_the_rules_of_the_kind() {
    const UUID: &str = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
    let same = |one: &str, other: &str| {
        let one = DeviceIdentity::parse(one.as_bytes()).expect(one);
        let other = DeviceIdentity::parse(other.as_bytes()).expect(other);
        assert_eq!(one.same_device(&other), other.same_device(&one));
        one.same_device(&other)
    };
    // RFC 4122 3: hexadecimal digits are case-insensitive on input.
    assert!(same(UUID, "URN:UUID:F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6"));
    // RFC 5627 3.1: the GRUU names the instance that its gr parameter names.
    assert!(same(UUID, &format!("sip:callee@example.com;gr={UUID}")));
    assert!(!same("sip:a@h;gr=x1", "sip:a@h;gr=x2"));
    // As URIs these are equivalent (RFC 5627 3.1), as devices they are not.
    assert!(!same("sip:a@h;gr=x1", "sip:a@h"));
    assert!(!same("sip:a@h;gr", "sip:a@h;gr=x1"));
    assert!(same("sip:tgruu.7h@h;gr", "sip:tgruu.7h@H;gr"));
    assert!(!same("sip:tgruu.7h@h;gr", "sip:tgruu.7H@h;gr"));
    // RFC 7254 3: vers=0 counts as absent; svn does not.
    let imei = "urn:gsma:imei:90420156-025763-0";
    assert!(same(imei, "urn:GSMA:imei:90420156-025763-0;vers=0"));
    assert!(!same(imei, "urn:gsma:imei:90420156-025763-0;svn=42"));
    // RFC 3261 19.1.4 for SIP, RFC 3986 6.2.2 for other URIs.
    assert!(same("sip:Al@EXAMPLE.com", "sip:Al@example.com;x=y"));
    assert!(!same("sip:Al@example.com", "sip:al@example.com"));
    assert!(same(
        "HTTP://Device.Example/a%2Fb",
        "http://device.example/a%2fb"
    ));
    assert!(!same("http://device.example/a", "http://device.example/A"));
    // RFC 8141 3.2.
    assert!(same(
        "urn:example:a123,z456",
        "URN:EXAMPLE:a123,z456?+abc#789"
    ));
    assert!(same("urn:example:a123%2Cz456", "urn:example:a123%2cz456"));
    assert!(!same("urn:example:a123,z456", "urn:example:A123,z456"));
    assert!(!same("urn:example:a123,z456", "urn:example:a123%2Cz456"));
    assert!(!same(
        "urn:epc:id:sgtin:0614141.112345.400",
        "urn:epc:id:sgtin:061414.1112345.400"
    ));
    assert!(same(
        "urn:3gpp2:meid:A04B0D56-02A7E3",
        "urn:3gpp2:meid:a04b0d56-02a7e3"
    ));
    assert!(same("00-24-BE-80-4F-F1", "urn:dev:mac:0024BEFFFE804FF1"));
    let hash = "f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk";
    assert!(same(
        &format!("ni:///sha-256;{hash}"),
        &format!("NI:///sha-256%3b{hash}")
    ));
}

#[test]
fn refuses_what_is_no_identity() {
    for text in [
        "",
        "x",
        "urn:uuid:f81d4fae",
        "urn:uuid:g81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "urn:gsma:imei:9042015-6025763-0",
        "urn:gsma:imei:90420156-025763-0;vers=1",
        "urn:gsma:imei:90420156-025763-0;vers=0;svn=01",
        "urn:dev:mac:0024be804ff1",
        "urn:3gpp2:meid:A04B0D5602A7E3",
        "urn:3gpp2:esn:123",
        "urn:epc:id:sgtin",
        "urn:x:y",
        "urn:example:",
        "urn:gsma:#x",
        "urn:-a:b",
        "ni:///sha-256;AAAA",
        "ni:///md5;AAAA",
        "sip:",
        "tel:",
        "00:24:be:80:4f",
        "tel:a b",
        "tel:\r\nX: y",
        "1tel:+1",
    ] {
        assert!(DeviceIdentity::parse(text.as_bytes()).is_none(), "{text}");
        assert_eq!(PackedDevice::pack(text.as_bytes()), None, "{text}");
    }
    assert!(DeviceIdentity::parse(&[b'a'; DEVICE_TEXT_MAX + 1]).is_none());
}

#[test]
fn what_does_not_fit_stays_text() {
    for text in [
        "urn:example:longer-than-fifteen",
        "https://device.example/very/long/name",
        "ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk",
        "urn:epc:id:sgtin:0614141.112345.0400",
        "urn:epc:id:giai:0614141.ABC",
        "sip:a@h;gr",
        "sip:tgruu.7h@h;gr",
        "sip:a@h;gr=xyz",
    ] {
        assert!(DeviceIdentity::parse(text.as_bytes()).is_some(), "{text}");
        assert_eq!(PackedDevice::pack(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn kinds_have_stable_numbers_and_names() {
    for (number, kind) in DeviceKind::ALL.into_iter().enumerate() {
        assert_eq!(kind as usize, number);
        assert_eq!(DeviceKind::of(number as u8), Some(kind));
    }
    assert_eq!(DeviceKind::of(9), None);
    assert_eq!(DeviceKind::Fingerprint.name(), "fingerprint");
}

#[test]
fn parameter_text_stands_in_a_uri() {
    for (text, expected) in [
        ("tel:+1;ext=2", "tel:+1%3Bext%3D2"),
        ("mailto:a@b.example?x#y", "mailto:a%40b.example%3Fx%23y"),
        ("urn:example:a,b%2c", "urn:example:a%2Cb%2C"),
        (
            "urn:gsma:imei:90420156-025763-0;svn=42",
            "urn:gsma:imei:90420156-025763-0%3Bsvn%3D42",
        ),
        ("sip:a@h;gr=X%2cY", "x%2cy"),
    ] {
        let device = DeviceIdentity::parse(text.as_bytes()).expect(text);
        assert_eq!(device.parameter_text().escape_ascii().to_string(), expected);
        let uri = [&b"sip:a@h;gr="[..], &device.parameter_text()].concat();
        let uri = crate::sip::SipUri::parse(&uri).expect(text);
        assert_eq!(uri.gruu(), Some(&device.parameter_text()[..]));
    }
}

#[test]
fn escaping_fits_exactly_or_writes_nothing() {
    let text = b"x:a;b=c";
    assert_eq!(parameter_len(text), 11);
    let mut out = [0u8; 11];
    assert_eq!(write_parameter(text, &mut out), 11);
    assert_eq!(&out, b"x:a%3Bb%3Dc");
    assert_eq!(write_parameter(text, &mut out[..10]), 0);
}

proptest::proptest! {
    /// A packed device comes out of memory and files: no octets may panic or lie about their length.
    #[test]
    fn any_packed_octets_are_written(kind: u8, bytes: [u8; 16]) {
        for kind in [kind, kind % 9] {
            let packed = PackedDevice { kind, bytes };
            let mut out = [0u8; 64];
            proptest::prop_assert_eq!(packed.write_urn(&mut out), packed.urn_len());
        }
    }
}
