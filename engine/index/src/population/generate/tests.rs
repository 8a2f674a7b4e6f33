//! Generated text and generated memory hold the same population.

use super::*;
use crate::population::{Policy, load_from};

fn contents(index: &Index) -> Vec<String> {
    let mut lines = Vec::new();
    for identity in index.keys() {
        let mut digits = [0; 16];
        let parts = index.unpack(identity, &mut digits);
        let aor = [parts.prefix, parts.user, parts.suffix].concat();
        for device in index.devices(index.lookup(identity)) {
            lines.push(format!(
                "{} {:?} {:02x?} {:?} {:?} {} {} {} {} {}",
                String::from_utf8_lossy(&aor),
                device.kind(),
                if device.has_text_id() {
                    index.device_id_text(device)
                } else {
                    device.packed_id()
                },
                index.target(device),
                device.bearer(),
                device.connected(),
                device.capability,
                device.preference(),
                device.subscription,
                device.expires_s,
            ));
        }
    }
    lines.sort();
    lines
}

fn agree(spec: &GenerateSpec) -> Vec<String> {
    let mut text = Vec::new();
    generate(spec, &mut text).unwrap();
    let mut loaded = Index::new(0).unwrap();
    let report = load_from(&text[..], "generated", &mut loaded, Policy::Stop).unwrap();
    assert_eq!(report.devices, spec.devices_total());
    let mut made = Index::new(0).unwrap();
    generate_into(spec, &mut made).unwrap();
    let lines = contents(&made);
    assert_eq!(lines.len() as u64, spec.devices_total());
    assert_eq!(contents(&loaded), lines);
    lines
}

#[test]
fn text_and_memory_agree_behind_next_hops() {
    let spec = GenerateSpec {
        identities: 5003,
        next_hops: (0..16)
            .map(|at| SocketAddr::from(([127, 0, 0, 1], 6000 + at)))
            .collect(),
        domains: vec!["ims.example".to_owned(), "b.example".to_owned()],
        connected_per_256: 30,
        ..GenerateSpec::default()
    };
    let lines = agree(&spec);
    assert!(lines.iter().any(|line| line.contains("127.0.0.1:6015")));
    assert!(lines.iter().any(|line| line.contains(" true ")));
}

#[test]
fn text_and_memory_agree_for_every_kind_of_device_id() {
    let spec = GenerateSpec {
        identities: 2000,
        devices: DevicesEach { min: 1, max: 40 },
        kinds: DeviceKind::ALL.iter().map(|&kind| (kind, 1)).collect(),
        ..GenerateSpec::default()
    };
    let lines = agree(&spec);
    for kind in DeviceKind::ALL {
        assert!(
            lines
                .iter()
                .any(|line| line.contains(&format!(" {kind:?} "))),
            "{kind:?}"
        );
    }
}

#[test]
fn direct_devices_have_distinct_contacts() {
    let spec = GenerateSpec {
        identities: 3000,
        direct_port: Some(5060),
        ..GenerateSpec::default()
    };
    let mut targets: Vec<_> = agree(&spec)
        .iter()
        .map(|line| {
            line.split("Some(")
                .nth(1)
                .unwrap()
                .split(')')
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    targets.sort();
    targets.dedup();
    assert_eq!(targets.len() as u64, spec.devices_total());
    let far = Generated::new(&spec, 0, 0, CONTACTS_PER_PORT - 1).contact;
    assert_eq!(far, Some((Ipv4Addr::new(127, 255, 255, 254), 5060)));
    let wrapped = Generated::new(&spec, 0, 0, CONTACTS_PER_PORT).contact;
    assert_eq!(wrapped, Some((Ipv4Addr::new(127, 1, 0, 0), 5061)));
}

#[test]
fn the_seed_decides() {
    let spec = GenerateSpec {
        identities: 100,
        ..GenerateSpec::default()
    };
    assert_eq!(agree(&spec), agree(&spec));
    assert_ne!(
        agree(&spec),
        agree(&GenerateSpec {
            seed: 2,
            ..spec.clone()
        })
    );
}

#[test]
fn what_contradicts_itself_is_refused() {
    let good = GenerateSpec {
        identities: 1,
        ..GenerateSpec::default()
    };
    let refused = |spec: GenerateSpec| generate(&spec, io::sink()).is_err();
    assert!(!refused(good.clone()));
    assert!(refused(GenerateSpec {
        devices: DevicesEach::exactly(0),
        ..good.clone()
    }));
    assert!(refused(GenerateSpec {
        next_hops: Vec::new(),
        ..good.clone()
    }));
    assert!(refused(GenerateSpec {
        domains: vec!["A b".to_owned()],
        ..good.clone()
    }));
    assert!(refused(GenerateSpec {
        kinds: vec![(DeviceKind::Uri, 0)],
        ..good
    }));
}
