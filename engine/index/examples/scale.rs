//! Builds a large population in memory and reports its size and speed.
//!
//! `cargo run --release -p sirocco-index --example scale -- [identities] [lookups]`; 40,000,000
//! identities hold 100,000,000 devices. A figure for docs/memory.md, not a test: it asserts
//! nothing about time.

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use sirocco_index::population::{GenerateSpec, generate_into};
use sirocco_index::{Identity, Index};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |text| text.parse());
    let (identities, lookups) = (number(40_000_000)?, number(40_000_000)?);

    let start = Instant::now();
    let mut index = Index::new(identities as usize)?;
    generate_into(
        &GenerateSpec {
            identities,
            ..GenerateSpec::default()
        },
        &mut index,
    )?;
    let build_s = start.elapsed().as_secs_f64();
    let occupancy = index.occupancy();
    println!("{occupancy:?}");
    println!(
        "built in {build_s:.1} s, {:.2} M identities/s, {:.2} M devices/s",
        occupancy.identities as f64 / build_s / 1e6,
        occupancy.devices as f64 / build_s / 1e6
    );
    println!(
        "{:.1} bytes a device by accounting, resident {:.2} GiB",
        occupancy.memory_bytes as f64 / occupancy.devices as f64,
        resident_bytes()? as f64 / (1u64 << 30) as f64
    );

    let start = Instant::now();
    let mut keys: Vec<Identity> = index.keys().collect();
    println!(
        "listed {} identities in {:.2} s",
        keys.len(),
        start.elapsed().as_secs_f64()
    );
    shuffle(&mut keys);
    keys.truncate(lookups as usize);

    for round in 0..3 {
        let cpu = on_cpu_ns()?;
        let (seconds, checksum) = look_up(&index, &keys);
        println!(
            "round {round}: {:.2} M batched lookups/s, {:.1} ns each, {:.1} ns CPU (checksum {checksum:x})",
            keys.len() as f64 / seconds / 1e6,
            seconds * 1e9 / keys.len() as f64,
            (on_cpu_ns()? - cpu) as f64 / keys.len() as f64
        );
    }
    Ok(())
}

/// Looks all keys up in batches of 64 and reads the first device of each.
fn look_up(index: &Index, keys: &[Identity]) -> (f64, u64) {
    let mut runs = Vec::with_capacity(64);
    let mut checksum = 0u64;
    let start = Instant::now();
    for batch in keys.chunks(64) {
        index.lookup_batch(batch, &mut runs);
        for &run in &runs {
            let first = &index.devices(run)[0];
            checksum =
                checksum.wrapping_add(u64::from(first.packed_id()[0]) + u64::from(first.next_hop));
        }
    }
    (start.elapsed().as_secs_f64(), black_box(checksum))
}

fn shuffle(keys: &mut [Identity]) {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    for at in (1..keys.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        keys.swap(at, (state % (at as u64 + 1)) as usize);
    }
}

/// Time on CPU, which other load on the machine does not lengthen.
fn on_cpu_ns() -> Result<u64, Box<dyn std::error::Error>> {
    let schedule = std::fs::read_to_string("/proc/self/schedstat")?;
    Ok(schedule
        .split_whitespace()
        .next()
        .ok_or("no schedstat")?
        .parse()?)
}

fn resident_bytes() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .ok_or("no VmRSS")?;
    let kilobytes: u64 = line.split_whitespace().nth(1).ok_or("no VmRSS")?.parse()?;
    Ok(kilobytes * 1024)
}
