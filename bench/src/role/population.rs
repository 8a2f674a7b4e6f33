//! `sirocco population generate|check`: populations as files, made and read by sirocco_index.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;

use sirocco_index::Index;
use sirocco_index::population::{DevicesEach, GenerateSpec, Policy, generate, load};

use super::{EXIT_INVALID, complain};
use crate::cli::{PopulationCommand, PopulationShape};
use crate::quantity::grouped;

/// Address of the first generated next hop; the others follow on the next ports.
pub const NEXT_HOP_FIRST: ([u8; 4], u16) = ([127, 0, 0, 1], 6000);

/// Runs the command; returns its exit code.
pub fn start(command: &PopulationCommand) -> u8 {
    let done = match command {
        PopulationCommand::Generate {
            file,
            identities,
            shape,
        } => make(
            file,
            &spec(*identities, shape, next_hops(shape.next_hop_count)),
        ),
        PopulationCommand::Check { file, show } => return check(file, *show),
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            complain(error);
            EXIT_INVALID
        }
    }
}

/// So many addresses from [`NEXT_HOP_FIRST`] on.
fn next_hops(count: u16) -> Vec<SocketAddr> {
    let (ip, first) = NEXT_HOP_FIRST;
    // Ports end at 65,535; a longer list goes on at the next address.
    let each = u16::MAX - first;
    (0..count)
        .map(|n| {
            let [a, b, c, d] = ip;
            SocketAddr::from(([a, b, c, d + (n / each) as u8], first + n % each))
        })
        .collect()
}

/// What to generate.
#[must_use]
pub fn spec(identities: u64, shape: &PopulationShape, next_hops: Vec<SocketAddr>) -> GenerateSpec {
    GenerateSpec {
        identities,
        devices: DevicesEach {
            min: u32::from(shape.devices_min),
            max: u32::from(shape.devices_max),
        },
        next_hops,
        direct_port: shape.direct_port,
        seed: shape.seed,
        ..GenerateSpec::default()
    }
}

fn make(file: &Path, spec: &GenerateSpec) -> Result<(), Box<dyn std::error::Error>> {
    if file
        .extension()
        .is_some_and(|extension| extension == "snapshot")
    {
        return snapshot(file, spec);
    }
    if file == Path::new("-") {
        return Ok(generate(spec, io::stdout().lock())?);
    }
    let out =
        File::create(file).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    let mut out = BufWriter::with_capacity(1 << 20, out);
    generate(spec, &mut out)?;
    out.flush()?;
    complain(format!(
        "{}: {} identities, {} devices",
        file.display(),
        grouped(spec.identities),
        grouped(spec.devices_total())
    ));
    Ok(())
}

fn snapshot(file: &Path, _spec: &GenerateSpec) -> Result<(), Box<dyn std::error::Error>> {
    Err(format!(
        "cannot write {}: snapshots are not offered here yet",
        file.display()
    )
    .into())
}

/// Reads the file and says what is wrong with it: exit code 0 without a fault, else 1.
fn check(file: &Path, show: u64) -> u8 {
    let report = Index::new(1 << 16)
        .map_err(Box::<dyn std::error::Error>::from)
        .and_then(|mut index| Ok((load(file, &mut index, Policy::Count)?, index)));
    let (report, index) = match report {
        Ok(read) => read,
        Err(error) => {
            complain(error);
            return 1;
        }
    };
    for fault in report
        .first_faults
        .iter()
        .take(usize::try_from(show).unwrap_or(usize::MAX))
    {
        complain(fault);
    }
    complain(format!(
        "{}: {} lines, {} identities, {} devices, {} next hops, {} faulty lines, {} bytes of index",
        file.display(),
        grouped(report.lines),
        grouped(index.len() as u64),
        grouped(index.devices_len() as u64),
        grouped(index.next_hops().len() as u64),
        grouped(report.faults),
        grouped(index.memory_bytes() as u64)
    ));
    u8::from(report.faults > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_hops_are_distinct_to_the_last() {
        let all: std::collections::HashSet<_> = next_hops(65_000).into_iter().collect();
        assert_eq!(all.len(), 65_000);
        assert_eq!(next_hops(2)[1], "127.0.0.1:6001".parse().unwrap());
    }
}
