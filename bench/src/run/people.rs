//! A population in a file that both sides read, where edges have to know which devices share an identity:
//! generated, with one device in each identity that its user prefers. Called by `plan`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use sirocco_index::population::generate;

use super::checked::population;
use super::launch::Folder;
use super::plan::{PlanError, system};
use crate::role::population::next_hops;
use crate::scenario::Scenario;

/// Preference of the wanted device, the highest a population can state (docs/population.md).
const WANTED_PREFERENCE: u8 = 15;

/// Preference of the others.
const OTHER_PREFERENCE: u8 = 1;

/// Columns of a population line before the preference.
const PREFERENCE_COLUMN: usize = 7;

/// The scenario with its population in a file, where it asks for that, and with devices that know which
/// content to expect, so that each one they receive is compared octet by octet.
///
/// # Errors
/// When the file cannot be written.
pub fn staged(scenario: &Scenario, folder: &Folder) -> Result<Scenario, PlanError> {
    let mut scenario = scenario.clone();
    let fields = scenario.order_fields();
    if let Some(text) = fields
        .get("content")
        .and_then(|content| content["text"].as_str())
    {
        let expected = scenario.loadgen.entry("content");
        expected.or_insert_with(|| text.into());
    }
    if !scenario.population.shared {
        return Ok(scenario);
    }
    if scenario.population.file.is_none() {
        let file = folder.file("population.txt");
        write(&scenario, &file)?;
        scenario.population.file = Some(file);
    }
    if let Some(file) = &scenario.population.file {
        let file = file.display().to_string();
        scenario
            .loadgen
            .insert("population".to_owned(), file.into());
    }
    Ok(scenario)
}

/// Writes the generated population, one preferred device in each identity.
///
/// # Errors
/// The system's.
fn write(scenario: &Scenario, file: &Path) -> Result<(), PlanError> {
    let failed = |error| system("writing the population", error);
    let hops = next_hops(scenario.next_hops);
    let out = BufWriter::with_capacity(1 << 20, File::create(file).map_err(failed)?);
    let mut preferring = Preferring {
        out,
        line: Vec::new(),
        aor: Vec::new(),
    };
    generate(&population(scenario, hops), &mut preferring)?;
    preferring.out.flush().map_err(failed)
}

/// Passes population lines on, with a high preference for the first device of each identity and a low
/// one for the others.
struct Preferring<W> {
    out: W,
    line: Vec<u8>,
    aor: Vec<u8>,
}

impl<W: Write> Preferring<W> {
    fn pass(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        if line.starts_with(b"#") {
            return self.out.write_all(&line);
        }
        let columns: Vec<&[u8]> = line.split(|octet| *octet == b'\t').collect();
        let is_first = columns[0] != self.aor;
        if is_first {
            self.aor = columns[0].to_vec();
        }
        let preference = if is_first {
            WANTED_PREFERENCE
        } else {
            OTHER_PREFERENCE
        };
        for (number, column) in columns.iter().enumerate() {
            if number > 0 {
                self.out.write_all(b"\t")?;
            }
            match number {
                PREFERENCE_COLUMN => write!(self.out, "{preference}")?,
                _ => self.out.write_all(column)?,
            }
        }
        Ok(())
    }
}

impl<W: Write> Write for Preferring<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|octet| *octet == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.pass()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::population::read;
    use sirocco_index::population::Policy;

    #[test]
    fn devices_are_told_which_content_to_expect() {
        let folder = Folder::make().unwrap();
        let staged = staged(&Scenario::find("sessions").unwrap(), &folder).unwrap();
        assert_eq!(staged.loadgen["content"].as_str().map(str::len), Some(200));
        staged.loadgen_config().unwrap();
        let without = super::staged(&Scenario::find("dispatch").unwrap(), &folder).unwrap();
        assert!(without.loadgen.is_empty());
    }

    #[test]
    fn each_identity_of_the_population_has_one_wanted_device() {
        let path = std::env::temp_dir().join(format!("sirocco-modes-{}", std::process::id()));
        let mut scenario = Scenario::find("addressing").unwrap();
        scenario.population.identities = 50;
        write(&scenario, &path).unwrap();
        let (index, report) = read(&path, Policy::Stop).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((index.len(), report.faults), (50, 0));
        let preferred = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter(|line| line.split('\t').nth(PREFERENCE_COLUMN) == Some("15"));
        assert_eq!(preferred.count(), 50);
        assert!(index.devices_len() > 50);
    }
}
