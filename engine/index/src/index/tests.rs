//! The index against plain maps, and its promises one by one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::device::{
    Bearer, Change, DeviceEntry, DeviceId, DeviceKind, EXPIRES_NEVER, NEXT_HOP_DIRECT,
};
use crate::edit::Inserted;
use crate::population::{DevicesEach, GenerateSpec, generate_into};

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

fn number(at: u64) -> Vec<u8> {
    format!("sip:+86138{at:08}@ims.example").into_bytes()
}

#[test]
fn finds_what_was_inserted_and_nothing_else() {
    let mut index = index_with_hop();
    for at in 0..5000u64 {
        let identity = index.intern(&number(at)).unwrap();
        for device in 0..1 + at % 4 {
            index
                .insert(identity, &entry(u128::from(at << 8 | device)))
                .unwrap();
        }
    }
    let ids: Vec<_> = (0..6000)
        .map(|at| index.pack(&number(at)).unwrap())
        .collect();
    let mut runs = Vec::new();
    index.lookup_batch(&ids, &mut runs);
    for (at, run) in runs.iter().enumerate() {
        assert_eq!(
            index.devices(*run).len(),
            if at < 5000 { 1 + at % 4 } else { 0 }
        );
        assert_eq!(index.lookup(ids[at]), *run);
        if run.is_some() {
            assert_eq!(index.identity(*run), ids[at]);
            let mut digits = [0; 16];
            let parts = index.unpack(ids[at], &mut digits);
            assert_eq!(
                [parts.prefix, parts.user, parts.suffix].concat(),
                number(at as u64)
            );
            assert_eq!(parts.len(), number(at as u64).len());
        }
    }
}

/// What a model device keeps, apart from its id.
type Fields = (u16, Option<SocketAddr>, bool, u8, u8, u8, u32);

#[derive(Clone, Debug)]
enum Step {
    Insert(u8, u8, Fields),
    Update(u8, u8, Fields),
    Remove(u8, u8),
    RemoveIdentity(u8),
    Expire(u32),
}

fn fields() -> impl Strategy<Value = Fields> {
    let contact = prop_oneof![
        Just(None),
        (0..9u8, any::<u16>())
            .prop_map(|(host, port)| { Some(SocketAddr::from(([127, 1, 0, host], port))) }),
        (0..9u16, any::<u16>()).prop_map(|(host, port)| {
            Some(SocketAddr::from((
                [0x2001, 0xdb8, 0, 0, 0, 0, 0, host],
                port,
            )))
        }),
    ];
    let next_hop = prop_oneof![Just(0u16), Just(1), Just(2), Just(NEXT_HOP_DIRECT)];
    let expires = prop_oneof![0..100u32, Just(EXPIRES_NEVER)];
    (
        next_hop,
        contact,
        any::<bool>(),
        any::<u8>(),
        0..16u8,
        any::<u8>(),
        expires,
    )
}

fn step() -> impl Strategy<Value = Step> {
    let (who, device) = (0..24u8, 0..14u8);
    prop_oneof![
        8 => (who.clone(), device.clone(), fields()).prop_map(|(a, b, c)| Step::Insert(a, b, c)),
        3 => (who.clone(), device.clone(), fields()).prop_map(|(a, b, c)| Step::Update(a, b, c)),
        3 => (who.clone(), device).prop_map(|(a, b)| Step::Remove(a, b)),
        1 => who.prop_map(Step::RemoveIdentity),
        1 => (0..100u32).prop_map(Step::Expire),
    ]
}

fn aor(who: u8) -> String {
    match who % 3 {
        0 => format!("sip:+8613{who}@ims.example"),
        1 => format!("sip:user{who}@ims.example"),
        _ => format!("tel:+49{who}"),
    }
}

/// Ids that pack and ids that do not, some alike but for their kind.
fn device_id(device: u8, text: &mut String) -> DeviceId<'_> {
    let kind = DeviceKind::ALL[usize::from(device) % 9];
    *text = format!("urn:dev:{}:x", device / 2);
    match device % 2 {
        0 => DeviceId::Packed {
            kind,
            bytes: [device / 4; 16],
        },
        _ => DeviceId::Text {
            kind,
            text: text.as_bytes(),
        },
    }
}

fn device_entry<'a>(id: DeviceId<'a>, fields: &Fields) -> DeviceEntry<'a> {
    let &(next_hop, contact, connected, capability, preference, subscription, expires_s) = fields;
    let bearer = Bearer::ALL[usize::from(capability) % 8];
    DeviceEntry {
        id,
        next_hop,
        contact,
        bearer,
        connected,
        capability,
        preference,
        subscription,
        expires_s,
    }
}

type Model = BTreeMap<u8, BTreeMap<u8, Fields>>;

fn insert(index: &mut Index, model: &mut Model, (who, device): (u8, u8), fields: &Fields) {
    let mut text = String::new();
    let identity = index.intern(aor(who).as_bytes()).unwrap();
    let routed = fields.0 != NEXT_HOP_DIRECT || fields.1.is_some();
    let outcome = index.insert(
        identity,
        &device_entry(device_id(device, &mut text), fields),
    );
    if !routed {
        assert!(matches!(outcome, Err(IndexError::ContactMissing)));
        if !model.contains_key(&who) {
            assert_eq!(index.remove_identity(identity), 0);
        }
        return;
    }
    let expected = match model.get(&who).map(|devices| devices.contains_key(&device)) {
        None => Inserted::Identity,
        Some(false) => Inserted::Device,
        Some(true) => Inserted::Updated,
    };
    assert_eq!(outcome.unwrap(), expected);
    model.entry(who).or_default().insert(device, *fields);
}

fn apply(index: &mut Index, model: &mut Model, step: &Step) {
    let mut text = String::new();
    match step {
        Step::Insert(who, device, fields) => insert(index, model, (*who, *device), fields),
        Step::Update(who, device, fields) => {
            let Some(identity) = index.pack(aor(*who).as_bytes()) else {
                assert!(!model.contains_key(who));
                return;
            };
            let entry = device_entry(device_id(*device, &mut text), fields);
            let change = Change {
                next_hop: Some(entry.next_hop),
                contact: Some(entry.contact),
                bearer: Some(entry.bearer),
                connected: Some(entry.connected),
                capability: Some(entry.capability),
                preference: Some(entry.preference),
                subscription: Some(entry.subscription),
                expires_s: Some(entry.expires_s),
            };
            let held = model
                .get_mut(who)
                .and_then(|devices| devices.get_mut(device));
            let routed = fields.0 != NEXT_HOP_DIRECT || fields.1.is_some();
            match (index.update(identity, &entry.id, &change), held) {
                (Ok(true), Some(held)) if routed => *held = *fields,
                (Err(IndexError::ContactMissing), Some(_)) if !routed => {}
                (Ok(false), None) => {}
                (outcome, held) => panic!("{outcome:?} {held:?}"),
            }
        }
        Step::Remove(who, device) => {
            let removed = index
                .pack(aor(*who).as_bytes())
                .is_some_and(|identity| index.remove(identity, &device_id(*device, &mut text)));
            let devices = model.get_mut(who);
            assert_eq!(
                removed,
                devices.is_some_and(|devices| devices.remove(device).is_some())
            );
        }
        Step::RemoveIdentity(who) => {
            let identity = index.pack(aor(*who).as_bytes());
            let count = identity.map_or(0, |identity| index.remove_identity(identity));
            assert_eq!(count, model.remove(who).map_or(0, |devices| devices.len()));
        }
        Step::Expire(now_s) => {
            let mut removed = 0;
            for _ in 0..200 {
                removed += index.expire_some(*now_s, 3);
            }
            let mut expected = 0;
            for devices in model.values_mut() {
                let before = devices.len();
                devices.retain(|_, fields| fields.6 > *now_s);
                expected += before - devices.len();
            }
            assert_eq!(removed, expected);
        }
    }
    model.retain(|_, devices| !devices.is_empty());
}

fn compare(index: &Index, model: &Model) {
    assert_eq!(index.len(), model.len());
    assert_eq!(
        index.devices_len(),
        model.values().map(BTreeMap::len).sum::<usize>()
    );
    let mut text = String::new();
    for (who, devices) in model {
        let run = index.lookup(index.pack(aor(*who).as_bytes()).unwrap());
        assert_eq!(index.devices(run).len(), devices.len());
        for (device, fields) in devices {
            let id = device_id(*device, &mut text);
            let held = index.devices(run).iter().find(|held| match id {
                DeviceId::Packed { kind, bytes } => {
                    held.kind() == kind && !held.has_text_id() && *held.packed_id() == bytes
                }
                DeviceId::Text { kind, text } => {
                    held.kind() == kind && index.device_id_text(held) == text
                }
            });
            let held = held.unwrap();
            let found = (
                held.next_hop,
                index.contact(held),
                held.connected(),
                held.capability,
                held.preference(),
                held.subscription,
                held.expires_s,
            );
            assert_eq!(&found, fields);
            assert_eq!(held.bearer(), Bearer::ALL[usize::from(held.capability) % 8]);
        }
    }
    let listed: HashSet<_> = index.keys().collect();
    assert_eq!(listed.len(), model.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_plain_map(steps in prop::collection::vec(step(), 1..300)) {
        let mut index = Index::new(0).unwrap();
        for port in 0..3 {
            index.intern_next_hop(SocketAddr::from(([127, 0, 0, 1], 6000 + port))).unwrap();
        }
        let mut model = Model::new();
        for (at, step) in steps.iter().enumerate() {
            apply(&mut index, &mut model, step);
            if at % 16 == 0 {
                compare(&index, &model);
            }
        }
        compare(&index, &model);
        // Emptied, it owns no text and no contact any more.
        for who in model.keys() {
            let identity = index.pack(aor(*who).as_bytes()).unwrap();
            index.remove_identity(identity);
        }
        let occupancy = index.occupancy();
        prop_assert_eq!((occupancy.identities, occupancy.devices, occupancy.text_bytes), (0, 0, 0));
        prop_assert_eq!(index.contacts_v6.len(), index.contacts_v6_free.len());
    }
}

#[test]
fn grows_by_splits_and_shrinks_again_without_losing_anybody() {
    let mut index = index_with_hop();
    let mut held: HashMap<u64, usize> = HashMap::new();
    for at in 0..60_000u64 {
        let identity = index.intern(&number(at)).unwrap();
        index.insert(identity, &entry(u128::from(at))).unwrap();
        held.insert(at, 1);
        // Some gain devices while the table splits, and some go.
        if at % 3 == 0 {
            let early = index.intern(&number(at / 3)).unwrap();
            index
                .insert(early, &entry(u128::from(at) + 1_000_000))
                .unwrap();
            *held.entry(at / 3).or_default() += 1;
        }
        if at % 5 == 0 && at > 10 {
            let gone = index.intern(&number(at / 2)).unwrap();
            assert_eq!(
                index.remove_identity(gone),
                held.remove(&(at / 2)).unwrap_or(0)
            );
        }
    }
    assert_eq!(index.len(), held.len());
    assert_eq!(index.devices_len(), held.values().sum::<usize>());
    for at in 0..60_000 {
        let run = index.lookup(index.pack(&number(at)).unwrap());
        assert_eq!(
            index.devices(run).len(),
            held.get(&at).copied().unwrap_or(0),
            "{at}"
        );
    }
    for at in 0..60_000 {
        let identity = index.pack(&number(at)).unwrap();
        assert_eq!(
            index.remove_identity(identity),
            held.remove(&at).unwrap_or(0)
        );
    }
    let occupancy = index.occupancy();
    assert_eq!((occupancy.identities, occupancy.overflow_buckets), (0, 0));
    assert_eq!(occupancy.chain_buckets_longest, 1);
}

#[test]
fn a_walk_visits_everybody_once_while_the_table_changes() {
    let mut index = index_with_hop();
    for at in 0..10_000 {
        let identity = index.intern(&number(at)).unwrap();
        index.insert(identity, &entry(u128::from(at))).unwrap();
    }
    let mut seen: HashMap<Identity, usize> = HashMap::new();
    let mut cursor = WalkCursor::START;
    let mut runs = Vec::new();
    let mut fresh = 10_000;
    while !cursor.finished() {
        cursor = index.walk(cursor, 100, &mut runs);
        for &run in &runs {
            *seen.entry(index.identity(run)).or_default() += 1;
        }
        // The table doubles meanwhile, and odd numbers below 1000 go.
        for _ in 0..130 {
            let identity = index.intern(&number(fresh)).unwrap();
            index.insert(identity, &entry(u128::from(fresh))).unwrap();
            if fresh % 2 == 1 && fresh < 11_000 {
                index.remove_identity(index.pack(&number(fresh - 10_000)).unwrap());
            }
            fresh += 1;
        }
    }
    assert!(fresh > 20_000 && (cursor.progress() - 1.0).abs() < 1e-9);
    for at in 0..10_000 {
        let visits = seen
            .get(&index.pack(&number(at)).unwrap())
            .copied()
            .unwrap_or(0);
        if at < 1000 && at % 2 == 1 {
            assert!(visits <= 1);
        } else {
            assert_eq!(visits, 1, "{at}");
        }
    }
    assert!(seen.values().all(|&visits| visits == 1));
}

#[test]
fn keys_chosen_against_another_hash_key_do_not_pile_up() {
    let guess = HashKey([0, 0]);
    let mut index = Index::with_hash_key(0, HashKey([0x1234_5678, 0x9abc_def0])).unwrap();
    index
        .intern_next_hop(SocketAddr::from(([127, 0, 0, 1], 6000)))
        .unwrap();
    let shape = index
        .intern(b"sip:+8613800001111@ims.example")
        .unwrap()
        .shape;
    let mut chosen = 0;
    // All of these share the low 10 bits under the guessed key: one bucket of a thousand.
    for at in 0..4_000_000u64 {
        let key = crate::identity::pack_number(8_613_800_000_000 + at);
        if guess.hash_packed(key, shape) & 0x3ff == 0 {
            index
                .insert(Identity { key, shape }, &entry(u128::from(at)))
                .unwrap();
            chosen += 1;
        }
    }
    let occupancy = index.occupancy();
    assert!(chosen > 3000 && occupancy.identities == chosen);
    assert!(occupancy.chain_buckets_longest <= 4, "{occupancy:?}");
    // The same keys do pile up under the guessed key, so the test shows something.
    let mut victim = Index::with_hash_key(0, guess).unwrap();
    victim
        .intern_next_hop(SocketAddr::from(([127, 0, 0, 1], 6000)))
        .unwrap();
    let keys: Vec<_> = index.keys().collect();
    for identity in keys {
        victim.insert(identity, &entry(1)).unwrap();
    }
    assert!(victim.occupancy().chain_buckets_longest > 100);
}

#[test]
fn one_identity_may_have_ten_thousand_devices() {
    let mut index = index_with_hop();
    let other = index.intern(b"sip:other@ims.example").unwrap();
    let identity = index.intern(b"sip:everyone@ims.example").unwrap();
    for device in 0..10_000u128 {
        index.insert(identity, &entry(device)).unwrap();
        if device % 1000 == 0 {
            index.insert(other, &entry(device)).unwrap();
        }
    }
    let ids: HashSet<_> = index
        .devices(index.lookup(identity))
        .iter()
        .map(|device| *device.packed_id())
        .collect();
    assert_eq!(ids.len(), 10_000);
    for device in 0..9_990u128 {
        assert!(index.remove(identity, &entry(device).id));
    }
    assert_eq!(index.devices(index.lookup(identity)).len(), 10);
    assert_eq!(index.devices(index.lookup(other)).len(), 10);
}

#[test]
fn expiry_is_swept_in_bounded_steps() {
    let mut index = index_with_hop();
    for at in 0..3000u64 {
        let identity = index.intern(&number(at)).unwrap();
        for device in 0..2u128 {
            let expires_s = if device == 0 {
                at as u32
            } else {
                EXPIRES_NEVER
            };
            index
                .insert(
                    identity,
                    &DeviceEntry {
                        expires_s,
                        ..entry(device)
                    },
                )
                .unwrap();
        }
    }
    let mut steps = 0;
    let mut removed = 0;
    while removed < 1000 {
        let gone = index.expire_some(999, 64);
        assert!(gone <= 64);
        removed += gone;
        steps += 1;
    }
    assert_eq!(removed, 1000);
    assert!(steps >= 1000 * 2 / 65, "{steps} steps");
    assert_eq!(index.devices_len(), 5000);
    assert_eq!(
        index.len(),
        3000,
        "the devices that never expire are still there"
    );
}

#[test]
fn memory_for_a_device_stays_small() {
    let spec = GenerateSpec {
        identities: 400_000,
        devices: DevicesEach::TYPICAL,
        ..GenerateSpec::default()
    };
    let mut index = Index::new(0).unwrap();
    generate_into(&spec, &mut index).unwrap();
    assert_eq!(index.devices_len(), 1_000_000);
    // 32 for the device, 16 / 2.5 for its share of the run's header, 64 / 6 / 2.5 for its share
    // of the table; overflow buckets and whole huge pages come on top.
    let (devices, fixed) = (44 * index.devices_len(), 14 << 20);
    assert!(
        index.memory_bytes() < devices + fixed,
        "{:?}",
        index.occupancy()
    );
    assert_eq!(index.free_bytes(), 0);
}

#[test]
fn limits_are_errors_and_change_nothing() {
    let mut index = index_with_hop();
    let identity = index.intern(b"sip:alice@ims.example").unwrap();
    let unknown = DeviceEntry {
        next_hop: 7,
        ..entry(1)
    };
    assert!(matches!(
        index.insert(identity, &unknown),
        Err(IndexError::NextHopUnknown)
    ));
    let long = [b'x'; 256];
    let id = DeviceId::Text {
        kind: DeviceKind::Uri,
        text: &long,
    };
    let entry = DeviceEntry { id, ..entry(1) };
    assert!(matches!(
        index.insert(identity, &entry),
        Err(IndexError::DeviceIdLength)
    ));
    for port in 1..=u16::MAX {
        let hop = SocketAddr::from(([127, 0, 0, 2], port));
        let outcome = index.intern_next_hop(hop);
        assert_eq!(outcome.is_err(), port == u16::MAX, "{port}");
    }
    assert_eq!(index.next_hops().len(), NEXT_HOPS_MAX);
    assert!(index.is_empty());
}

#[test]
fn a_packed_text_that_is_gone_is_unknown_and_harmless() {
    let mut index = index_with_hop();
    let alice = index.intern(b"sip:alice@ims.example").unwrap();
    index.insert(alice, &entry(1)).unwrap();
    assert_eq!(index.remove_identity(alice), 1);
    let carol = index.intern(b"sip:carol@ims.example").unwrap();
    index.insert(carol, &entry(1)).unwrap();
    assert!(!index.lookup(alice).is_some());
    assert_eq!(index.pack(b"sip:alice@ims.example"), None);
    let mut digits = [0; 16];
    let stranger = Identity {
        key: u64::MAX,
        shape: u32::MAX,
    };
    assert!(index.unpack(stranger, &mut digits).is_empty());
    assert_eq!(index.devices(index.lookup(stranger)), []);
}
