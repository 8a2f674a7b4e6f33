//! Any octets as population text: no panic, every line is a device or a named fault, and what the
//! index packs into 16 octets is what the wire crate reads out of them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sirocco_index::DeviceId;
use sirocco_index::population::{Column, is_remark, parse_device_id, parse_line};
use sirocco_wire::identity::{DeviceIdentity, PackedDevice};

fuzz_target!(|octets: &[u8]| {
    for line in octets.split(|&octet| octet == b'\n') {
        if is_remark(line) {
            continue;
        }
        match parse_line(line) {
            Ok(device) => {
                assert!(line.starts_with(device.aor));
                check_device(line.split(|&octet| octet == b'\t').nth(1).unwrap_or(&[]));
            }
            Err(fault) => {
                assert!((1..=Column::Expires as u8).contains(&(fault.column as u8)));
                assert!(!fault.to_string().is_empty());
            }
        }
    }
    check_device(octets);
});

fn check_device(text: &[u8]) {
    let Ok(DeviceId::Packed { kind, bytes }) = parse_device_id(text) else {
        return;
    };
    let device = PackedDevice {
        kind: kind as u8,
        bytes,
    };
    let mut urn = vec![0; device.urn_len()];
    assert_eq!(device.write_urn(&mut urn), urn.len());
    assert!(!urn.is_empty());
    if let Some(identity) = DeviceIdentity::parse(text) {
        assert_eq!(identity.canonical().as_ref(), urn);
    }
}
