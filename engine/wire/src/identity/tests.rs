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
            "urn:gsma:imei:90420156-025763-0%3Bsvn=42",
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
