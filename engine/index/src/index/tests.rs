//! The index against a plain map, and its promises one by one.

use std::net::SocketAddr;

use super::*;
use crate::device::{Bearer, DeviceEntry, DeviceId, DeviceKind, EXPIRES_NEVER};

fn entry(number: u128) -> DeviceEntry<'static> {
    DeviceEntry {
        id: DeviceId::Packed {
            kind: DeviceKind::Uuid,
            bytes: number.to_be_bytes(),
        },
        next_hop: 0,
        contact: None,
        bearer: Bearer::SipUdp,
        connected: false,
        capability: 0,
        preference: 0,
        subscription: 0,
        expires_s: EXPIRES_NEVER,
    }
}

fn index_with_hop() -> Index {
    let mut index = Index::new(0).unwrap();
    index
        .intern_next_hop("127.0.0.1:6000".parse::<SocketAddr>().unwrap())
        .unwrap();
    index
}

#[test]
fn finds_what_was_inserted_and_nothing_else() {
    let mut index = index_with_hop();
    for number in 0..5000u32 {
        let aor = format!("sip:+86138{number:08}@ims.example");
        let identity = index.intern(aor.as_bytes()).unwrap();
        for device in 0..1 + number % 4 {
            index
                .insert(
                    identity,
                    &entry(u128::from(number) << 8 | u128::from(device)),
                )
                .unwrap();
        }
    }
    let ids: Vec<_> = (0..6000u32)
        .map(|number| {
            let aor = format!("sip:+86138{number:08}@ims.example");
            index.pack(aor.as_bytes()).unwrap()
        })
        .collect();
    let mut runs = Vec::new();
    index.lookup_batch(&ids, &mut runs);
    for (number, run) in runs.iter().enumerate() {
        let expected = if number < 5000 { 1 + number % 4 } else { 0 };
        assert_eq!(index.devices(*run).len(), expected);
        if expected > 0 {
            assert_eq!(index.identity(*run), ids[number]);
            let text = format!("sip:+86138{number:08}@ims.example");
            let mut digits = [0; 16];
            let parts = index.unpack(ids[number], &mut digits);
            assert_eq!(
                [parts.prefix, parts.user, parts.suffix].concat(),
                text.as_bytes()
            );
        }
    }
}
