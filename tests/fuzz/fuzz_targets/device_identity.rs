//! Any octets as device identity: no panic, canonical text is a fixed point, packing loses nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sirocco_wire::identity::{DeviceIdentity, DeviceKind, PackedDevice};

fuzz_target!(|octets: &[u8]| {
    let packed = PackedDevice::pack(octets);
    let Some(identity) = DeviceIdentity::parse(octets) else {
        assert_eq!(packed, None);
        return;
    };
    assert!(identity.same_device(&identity) || identity.kind == DeviceKind::Uri);
    let canonical = identity.canonical();
    if let Some(packed) = packed {
        let mut out = vec![0; packed.urn_len()];
        assert_eq!(packed.write_urn(&mut out), out.len());
        assert_eq!(out, canonical.as_ref());
        let again = PackedDevice::pack(&out).expect("canonical text packs");
        assert_eq!(again.bytes, packed.bytes);
    }
    if identity.kind != DeviceKind::Gruu {
        let again = DeviceIdentity::parse(&canonical).expect("canonical text is an identity");
        assert_eq!(again.kind, identity.kind);
        assert_eq!(again.canonical(), canonical);
    }
});
