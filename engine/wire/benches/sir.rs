//! Time of reading and writing one SIR body.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sirocco_wire::sir::{DevicePosition, Sir, SirFields};
use sirocco_wire::wsp::ApplicationId;

fn sir(criterion: &mut Criterion) {
    let fields = SirFields {
        version: 1,
        applications: &[ApplicationId::Number(1)],
        prov_url: b"sip:ppg@127.0.0.1:5070;t=fedcba9876543210fedcba9876543210",
        device: b"urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        device_position: DevicePosition::Value,
        ..SirFields::default()
    };
    let mut body = [0u8; 256];
    let len = fields.write(&mut body).expect("the buffer is large enough");

    let mut group = criterion.benchmark_group("sir");
    group.bench_function("write", |bencher| {
        let mut out = [0u8; 256];
        bencher.iter(|| black_box(&fields).write(black_box(&mut out)));
    });
    group.bench_function("read fields", |bencher| {
        bencher.iter(|| Sir::parse(black_box(&body[..len])).map(|sir| sir.prov_url.len()));
    });
    group.bench_function("read device and token", |bencher| {
        bencher.iter(|| {
            let sir = Sir::parse(black_box(&body[..len])).ok()?;
            Some((sir.device()?.1.len(), sir.prov_parameter(b"t")?.len()))
        });
    });
    group.finish();
}

criterion_group!(benches, sir);
criterion_main!(benches);
