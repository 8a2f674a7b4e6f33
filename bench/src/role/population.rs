//! `sirocco population generate|check`: populations as files, made and read by sirocco_index.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::net::SocketAddr;
use std::path::Path;

use sirocco_index::Index;
use sirocco_index::population::{
    DevicesEach, GenerateSpec, HEADER, LoadReport, Policy, generate, generate_into, load,
};

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
#[must_use]
pub fn next_hops(count: u16) -> Vec<SocketAddr> {
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

fn snapshot(file: &Path, spec: &GenerateSpec) -> Result<(), Box<dyn std::error::Error>> {
    let mut index = Index::new(usize::try_from(spec.identities)?)?;
    generate_into(spec, &mut index)?;
    index.save(file)?;
    complain(format!(
        "{}: {} identities, {} devices",
        file.display(),
        grouped(index.len() as u64),
        grouped(index.devices_len() as u64)
    ));
    Ok(())
}

/// Fills an index from a population or a snapshot, told apart by the first line.
///
/// # Errors
/// The reader's, which name file and line, or the snapshot's.
pub fn read(
    file: &Path,
    policy: Policy,
) -> Result<(Index, LoadReport), Box<dyn std::error::Error + Send + Sync>> {
    let mut first = vec![0; HEADER.len()];
    let is_text = File::open(file)
        .map_err(|error| format!("cannot read population {}: {error}", file.display()))?
        .read_exact(&mut first)
        .is_ok_and(|()| first == HEADER);
    // A text of another sort is named as no population; anything binary, as no snapshot.
    if !is_text && !first.starts_with(b"#") {
        return Ok((Index::restore(file)?, LoadReport::default()));
    }
    let mut index = Index::new(1 << 20)?;
    let report = load(file, &mut index, policy)?;
    Ok((index, report))
}

/// Reads the file and says what is wrong with it: exit code 0 without a fault, else 1.
fn check(file: &Path, show: u64) -> u8 {
    let (index, report) = match read(file, Policy::Count) {
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
    fn text_and_snapshot_of_one_population_are_told_apart_and_alike() {
        let folder = std::env::temp_dir().join(format!("sirocco-people-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let spec = GenerateSpec {
            identities: 200,
            ..GenerateSpec::default()
        };
        for name in ["people.tsv", "people.snapshot"] {
            make(&folder.join(name), &spec).unwrap();
            let (index, report) = read(&folder.join(name), Policy::Stop).unwrap();
            assert_eq!(
                (index.len(), index.devices_len() as u64),
                (200, spec.devices_total())
            );
            assert_eq!(report.faults, 0);
        }
        std::fs::write(folder.join("other.tsv"), "# something else\n").unwrap();
        std::fs::write(folder.join("other.bin"), [1, 2, 3]).unwrap();
        for name in ["other.tsv", "other.bin", "absent"] {
            let error = read(&folder.join(name), Policy::Stop)
                .err()
                .expect(name)
                .to_string();
            assert!(error.contains(name), "{error}");
            assert_eq!(check(&folder.join(name), 1), 1);
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn next_hops_are_distinct_to_the_last() {
        let all: std::collections::HashSet<_> = next_hops(65_000).into_iter().collect();
        assert_eq!(all.len(), 65_000);
        assert_eq!(next_hops(2)[1], "127.0.0.1:6001".parse().unwrap());
    }
}
