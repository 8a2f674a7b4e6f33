//! A snapshot gives the same index back, and nothing else passes for one.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::population::{DevicesEach, GenerateSpec, generate_into};
use crate::{Change, DeviceId, DeviceKind, Occupancy};

/// A directory of its own for each test, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("sirocco-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An index with everything in it: texts, IPv6 contacts, holes, overflow chains.
fn busy_index(identities: u64) -> Index {
    let spec = GenerateSpec {
        identities,
        devices: DevicesEach { min: 1, max: 5 },
        kinds: DeviceKind::ALL.iter().map(|&kind| (kind, 1)).collect(),
        ..GenerateSpec::default()
    };
    let mut index = Index::new(0).unwrap();
    generate_into(&spec, &mut index).unwrap();
    let keys: Vec<_> = index.keys().collect();
    for (at, &identity) in keys.iter().enumerate().filter(|(at, _)| at % 7 == 0) {
        let device = index.devices(index.lookup(identity))[0];
        let text = index.device_id_text(&device).to_vec();
        let id = match device.has_text_id() {
            true => DeviceId::Text {
                kind: device.kind(),
                text: &text,
            },
            false => DeviceId::Packed {
                kind: device.kind(),
                bytes: *device.packed_id(),
            },
        };
        if at % 2 == 0 {
            assert!(index.remove(identity, &id));
        } else {
            let contact = format!("[2001:db8::{at:x}]:5060").parse().unwrap();
            let change = Change {
                contact: Some(Some(contact)),
                ..Change::default()
            };
            assert!(index.update(identity, &id, &change).unwrap());
        }
    }
    let alice = index.intern(b"sip:alice@ims.example").unwrap();
    let entry = crate::DeviceEntry {
        id: DeviceId::Packed {
            kind: DeviceKind::Uuid,
            bytes: [9; 16],
        },
        next_hop: 0,
        contact: None,
        bearer: crate::Bearer::Sms,
        connected: true,
        capability: 1,
        preference: 2,
        subscription: 3,
        expires_s: 4,
    };
    index.insert(alice, &entry).unwrap();
    index
}

fn contents(index: &Index) -> Vec<String> {
    let mut lines = Vec::new();
    for identity in index.keys() {
        let mut digits = [0; 16];
        let parts = index.unpack(identity, &mut digits);
        let aor = [parts.prefix, parts.user, parts.suffix].concat();
        for device in index.devices(index.lookup(identity)) {
            let (text, contact) = (index.device_id_text(device), index.contact(device));
            lines.push(format!("{aor:?} {device:?} {text:?} {contact:?}"));
        }
    }
    lines.sort();
    lines
}

#[test]
fn a_restored_index_holds_the_same_and_goes_on_working() {
    let scratch = Scratch::new("round-trip");
    let path = scratch.0.join("index.snapshot");
    let index = busy_index(40_000);
    index.save(&path).unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        std::fs::read_dir(&scratch.0).unwrap().count(),
        1,
        "no partial file is left"
    );
    let mut restored = Index::restore(&path).unwrap();
    assert_eq!(restored.next_hops(), index.next_hops());
    // The spare capacity of small tables may differ, nothing else.
    let occupancy = Occupancy {
        memory_bytes: index.memory_bytes(),
        ..restored.occupancy()
    };
    assert_eq!(occupancy, index.occupancy());
    let lines = contents(&index);
    assert_eq!(contents(&restored), lines);
    // The same changes on both give the same again, free lists included.
    let mut index = index;
    for index in [&mut index, &mut restored] {
        generate_into(
            &GenerateSpec {
                identities: 60_000,
                ..GenerateSpec::default()
            },
            index,
        )
        .unwrap();
        assert_eq!(index.expire_some(5, usize::MAX), 1);
        assert_eq!(index.pack(b"sip:alice@ims.example"), None);
    }
    assert_eq!(contents(&restored), contents(&index));
    assert_eq!(restored.free_bytes(), index.free_bytes());
    restored.save(&path).unwrap();
    assert_eq!(contents(&Index::restore(&path).unwrap()), contents(&index));
}

#[test]
fn an_empty_index_survives_too() {
    let scratch = Scratch::new("empty");
    let path = scratch.0.join("index.snapshot");
    Index::new(0).unwrap().save(&path).unwrap();
    assert!(Index::restore(&path).unwrap().is_empty());
}

#[test]
fn a_torn_file_is_refused_wherever_it_ends() {
    let scratch = Scratch::new("torn");
    let path = scratch.0.join("index.snapshot");
    busy_index(300).save(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let cuts = (0..400)
        .chain((400..whole.len()).step_by(4099))
        .chain([whole.len() - 1]);
    for cut in cuts {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let error = Index::restore(&path).err().unwrap();
        let expected = match cut {
            0..8 => matches!(error, SnapshotError::Foreign { .. }),
            _ => matches!(error, SnapshotError::Torn { .. }),
        };
        assert!(expected, "cut at {cut}: {error}");
    }
    std::fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
    assert!(matches!(
        Index::restore(&path),
        Err(SnapshotError::Torn { .. })
    ));
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let scratch = Scratch::new("flipped");
    let path = scratch.0.join("index.snapshot");
    busy_index(300).save(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let places = (0..600)
        .chain((600..whole.len()).step_by(997))
        .chain([whole.len() - 1]);
    for place in places {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        std::fs::write(&path, &bytes).unwrap();
        let error = Index::restore(&path).err().unwrap();
        let expected = match place {
            0..8 => matches!(error, SnapshotError::Foreign { .. }),
            8..12 => matches!(error, SnapshotError::ByteOrder { .. }),
            12..16 => matches!(error, SnapshotError::Version { .. }),
            24..40 => {
                matches!(
                    error,
                    SnapshotError::Torn { .. } | SnapshotError::Damaged { .. }
                )
            }
            _ => matches!(error, SnapshotError::Damaged { .. }),
        };
        assert!(expected, "bit in byte {place}: {error}");
    }
}

#[test]
fn errors_say_which_file_and_what_to_do() {
    let scratch = Scratch::new("errors");
    let path = scratch.0.join("other.bin");
    std::fs::write(&path, b"something else entirely").unwrap();
    let error = Index::restore(&path).err().unwrap().to_string();
    assert!(
        error.contains("other.bin") && error.contains("load the text population"),
        "{error}"
    );
    let missing = Index::restore(&scratch.0.join("absent")).err().unwrap();
    assert!(matches!(missing, SnapshotError::File { .. }));
    let refused = Index::new(0)
        .unwrap()
        .save(Path::new("/nonexistent/index.snapshot"));
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("/nonexistent/index.snapshot")
    );
}
