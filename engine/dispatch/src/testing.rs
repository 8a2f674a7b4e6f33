//! Targets for the unit tests of this crate.

use crate::transaction::Target;
use sirocco_index::{Bearer, Device, DeviceEntry, DeviceId, DeviceKind, Index};

/// A device behind `next_hop`, whose identity ends in the octet `number`.
pub fn device(next_hop: u16, number: u8) -> Device {
    let mut index = Index::new(1).expect("memory");
    for hop in 0..=next_hop.min(16) {
        let address = format!("127.0.0.1:{}", 10_000 + hop)
            .parse()
            .expect("address");
        index.intern_next_hop(address).expect("room");
    }
    let mut bytes = [7; 16];
    bytes[15] = number;
    let entry = DeviceEntry {
        id: DeviceId::Packed {
            kind: DeviceKind::Uuid,
            bytes,
        },
        next_hop,
        contact: None,
        bearer: Bearer::SipUdp,
        connected: false,
        capability: 0,
        preference: 0,
        subscription: 0,
        expires_s: sirocco_index::EXPIRES_NEVER,
    };
    let identity = index
        .intern(b"sip:+8613800000000@ims.example")
        .expect("an AOR");
    index.insert(identity, &entry).expect("room");
    index.devices(index.lookup(identity))[0]
}

/// A target behind `next_hop` for the order in slot `order`.
pub fn target(next_hop: u16, order: u16) -> Target {
    Target {
        key: 1,
        due_ns: 0,
        device: device(next_hop, 1),
        shape: 2,
        order,
        template: 0,
    }
}
