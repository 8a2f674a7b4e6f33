//! Times a population's ways to and from disk: generate, load, save, restore.
//!
//! `cargo run --release -p sirocco-index --example storage -- [identities] [directory]`; the
//! files (115 bytes of text and 43 of snapshot a device) are removed again. It asserts nothing.

#![allow(clippy::print_stdout)]

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use sirocco_index::Index;
use sirocco_index::population::{GenerateSpec, Policy, generate, load};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let identities = arguments
        .next()
        .map_or(Ok(1_000_000), |text| text.parse())?;
    let directory = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let text = directory.join("sirocco-storage.population");
    let snapshot = directory.join("sirocco-storage.snapshot");
    let spec = GenerateSpec {
        identities,
        next_hops: (0..16)
            .map(|at| SocketAddr::from(([127, 0, 0, 1], 6000 + at)))
            .collect(),
        ..GenerateSpec::default()
    };
    let devices = spec.devices_total() as f64 / 1e6;

    timed("generate", devices, || {
        Ok(generate(&spec, File::create(&text)?)?)
    })?;
    let mut index = Index::new(0)?;
    timed("load", devices, || {
        Ok(load(&text, &mut index, Policy::Stop)?)
    })?;
    timed("save", devices, || Ok(index.save(&snapshot)?))?;
    drop(index);
    let index = timed("restore", devices, || Ok(Index::restore(&snapshot)?))?;
    println!("{:?}", index.occupancy());
    std::fs::remove_file(text)?;
    std::fs::remove_file(snapshot)?;
    Ok(())
}

/// Runs `work` and prints its wall time, its rate and the CPU time of all threads.
fn timed<T>(name: &str, devices: f64, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    let (start, cpu) = (Instant::now(), cpu_s()?);
    let result = work()?;
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_s()? - cpu);
    println!(
        "{name:8} {wall:6.2} s, {:6.2} M devices/s, {cpu:5.2} s CPU",
        devices / wall
    );
    Ok(result)
}

/// User and system time of the process so far, in steps of 10 ms.
fn cpu_s() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().ok_or("no stat")?;
    let ticks = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}
