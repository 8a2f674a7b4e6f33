//! Time of rendering one SIR: patching a filled segment, with and without the device's URN, and
//! the same request by the plain writer.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sirocco_wire::identity::PackedDevice;
use sirocco_wire::sip::template::REQUEST_BYTES_MAX;
use sirocco_wire::sip::{
    DevicePosition, LengthClass, Message, SirKey, SirSpec, Slots, Template, write,
};
use sirocco_wire::sir::Sir;

const SPEC: SirSpec<'static> = SirSpec {
    sent_by: "127.0.0.1:5070",
    from: "sip:ppg@ims.example",
    from_tag: "a1b2c3d4",
    ppg_uri: "sip:ppg@127.0.0.1:5070",
    application: "push.sia",
    device_position: DevicePosition::None,
    routed: true,
    expires_s: None,
    ask: "",
    activate: None,
    sealed: None,
};

const DEVICE: &[u8] = b"urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";

fn slots(device: &[u8]) -> Slots<'_> {
    Slots {
        aor_prefix: b"sip:+",
        aor_user: b"8613800001111",
        aor_suffix: b"@ims.example",
        device,
        branch: *b"0123456789abcdef0123456789abcdef",
        token: *b"fedcba9876543210fedcba9876543210",
    }
}

fn template(criterion: &mut Criterion) {
    let class = LengthClass::of(30, DEVICE.len(), &SPEC).expect("the widths are in bounds");
    let template = Template::compile(&SPEC, class).expect("the specification is valid");
    let packed = PackedDevice::pack(DEVICE).expect("a UUID packs");
    let mut segment = vec![0; template.len()];
    template.fill(&mut segment);

    let mut group = criterion.benchmark_group("template");
    let ready = slots(DEVICE);
    group.bench_function("patch", |bencher| {
        bencher.iter(|| template.patch(black_box(&mut segment), black_box(&ready)));
    });
    group.bench_function("write UUID URN", |bencher| {
        let mut urn = [0u8; 64];
        bencher.iter(|| black_box(&packed).write_urn(black_box(&mut urn)));
    });
    group.bench_function("write UUID URN and patch", |bencher| {
        let mut urn = [0u8; 64];
        bencher.iter(|| {
            let len = black_box(&packed).write_urn(&mut urn);
            let slots = Slots {
                device: &urn[..len],
                ..*black_box(&ready)
            };
            template.patch(black_box(&mut segment), &slots)
        });
    });
    let key = SirKey::new([1, 2]);
    let sealed = SirSpec {
        sealed: Some(&key),
        device_position: DevicePosition::Value,
        ..SPEC
    };
    let class = LengthClass::of(30, DEVICE.len(), &sealed).expect("the widths are in bounds");
    let template = Template::compile(&sealed, class).expect("the specification is valid");
    let mut segment = vec![0; template.len()];
    template.fill(&mut segment);
    group.bench_function("patch and seal", |bencher| {
        bencher.iter(|| template.patch(black_box(&mut segment), black_box(&ready)));
    });
    let message = Message::parse(&segment).expect("the template is a request");
    let sir = Sir::parse(message.body()).expect("the template has a SIR");
    group.bench_function("check seal", |bencher| {
        bencher.iter(|| {
            key.check(
                black_box(&sir),
                black_box(b"sip:+8613800001111@ims.example"),
            )
        });
    });
    group.bench_function("plain writer", |bencher| {
        let mut out = vec![0; REQUEST_BYTES_MAX];
        bencher.iter(|| write::sir_request(black_box(&mut out), &SPEC, black_box(&ready)));
    });
    group.finish();
}

criterion_group!(benches, template);
criterion_main!(benches);
