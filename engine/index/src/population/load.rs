//! Fills an index from a population file, on two threads.
//!
//! One thread reads and parses chunks of whole lines into fixed-size records; the caller's
//! thread inserts them, prefetched and grouped by identity. What a record cannot hold (text
//! ids, IPv6 contacts, users that are no numbers) is inserted from its line. Chunks are recycled,
//! so that memory stays constant whatever the file's size.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::device::{Device, NEXT_HOP_DIRECT};
use crate::identity::Identity;
use crate::index::{Index, IndexError};
use crate::population::line::{LineError, parse_line};
use parser::{Chunk, Parser, Record, SLOW};

mod parser;

/// Faults kept for the report; further ones are only counted.
const FAULTS_MAX: usize = 100;

/// Chunks in flight: one being filled, one being inserted, and two to even out their speeds.
const CHUNKS: usize = 4;

/// Devices of one identity inserted at once; what follows goes into the next group.
const GROUP: usize = 16;

/// Records ahead of the insertion whose table line is being loaded.
const PREFETCH_AHEAD: usize = 16;

/// What a bad line does.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Policy {
    /// The first one ends the load.
    Stop,
    /// Each is counted and skipped.
    Count,
}

/// A line that is not a device.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file}:{line}: {error}")]
pub struct LineFault {
    /// Name of the file.
    pub file: String,
    /// Line number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub error: LineError,
}

/// What a load did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LoadReport {
    /// Lines read, remarks and faults included.
    pub lines: u64,
    /// Lines that were devices, duplicates included.
    pub devices: u64,
    /// Lines that were faulty.
    pub faults: u64,
    /// The first hundred of them.
    pub first_faults: Vec<LineFault>,
}

/// Why a load ended early; the index then holds a part of the population.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read population {file}: {error}")]
    Read {
        /// Name of the file.
        file: String,
        /// The kernel's reason.
        error: io::Error,
    },
    /// The file has no header of this format.
    #[error("{file}:1: not a population file: its first line must be #sirocco-population 1")]
    Header {
        /// Name of the file.
        file: String,
    },
    /// A bad line under [`Policy::Stop`].
    #[error(transparent)]
    Line(#[from] LineFault),
    /// The index cannot take more.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Loads the population file at `path` into `index`, adding to what is there.
///
/// # Errors
/// Any of [`LoadError`].
pub fn load(path: &Path, index: &mut Index, policy: Policy) -> Result<LoadReport, LoadError> {
    let name = path.display().to_string();
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
    match opened {
        Ok((file_bytes, file)) => Load::new(index, &name, policy, file_bytes).run(file),
        Err(error) => Err(LoadError::Read { file: name, error }),
    }
}

/// Loads a population from any reader; `name` stands for the file in errors.
///
/// # Errors
/// Any of [`LoadError`].
pub fn load_from(
    reader: impl Read + Send,
    name: &str,
    index: &mut Index,
    policy: Policy,
) -> Result<LoadReport, LoadError> {
    Load::new(index, name, policy, 0).run(reader)
}

/// Why the reading thread stopped.
enum Stop {
    Read(io::Error),
    Header,
}

impl Stop {
    fn named(self, name: &str) -> LoadError {
        let file = name.to_owned();
        match self {
            Stop::Read(error) => LoadError::Read { file, error },
            Stop::Header => LoadError::Header { file },
        }
    }
}

/// The reading thread: ends with the input, or when the inserting side has hung up.
fn parse_all(
    mut reader: impl Read,
    filled: &SyncSender<Result<Chunk, Stop>>,
    spent: &Receiver<Chunk>,
) {
    let mut parser = Parser::new();
    while let Ok(mut chunk) = spent.recv() {
        let outcome = parser.fill(&mut reader, &mut chunk);
        let last = !matches!(outcome, Ok(true));
        if filled.send(outcome.map(|_| chunk)).is_err() || last {
            return;
        }
    }
}

/// The inserting side of one load.
struct Load<'a> {
    index: &'a mut Index,
    name: &'a str,
    policy: Policy,
    /// The index's numbers of the parser's shapes and next hops.
    shapes: Vec<u32>,
    hops: Vec<u16>,
    /// Bytes of the file, 0 when unknown.
    file_bytes: u64,
    report: LoadReport,
}

impl<'a> Load<'a> {
    fn new(index: &'a mut Index, name: &'a str, policy: Policy, file_bytes: u64) -> Self {
        let (shapes, hops, report) = (Vec::new(), Vec::new(), LoadReport::default());
        Load {
            index,
            name,
            policy,
            shapes,
            hops,
            file_bytes,
            report,
        }
    }

    fn run(mut self, reader: impl Read + Send) -> Result<LoadReport, LoadError> {
        let (filled_sender, filled) = sync_channel(CHUNKS);
        let (spent, spent_receiver) = sync_channel(CHUNKS);
        for _ in 0..CHUNKS {
            // The channel has room for all of them.
            let _ = spent.send(Chunk::new());
        }
        std::thread::scope(|scope| {
            scope.spawn(move || parse_all(reader, &filled_sender, &spent_receiver));
            for chunk in filled {
                let mut chunk: Chunk = chunk.map_err(|stop| stop.named(self.name))?;
                self.insert(&mut chunk)?;
                let _ = spent.send(chunk);
            }
            Ok(self.report)
        })
    }

    /// Sizes an empty table by the share of the file that the first chunk is.
    fn expect_identities(&mut self, chunk: &Chunk) -> Result<(), IndexError> {
        if self.report.lines > 0 || chunk.bytes() == 0 {
            return Ok(());
        }
        let pairs = chunk.records.windows(2);
        let identities = 1 + pairs.filter(|pair| pair[0].key != pair[1].key).count() as u64;
        let expected = self.file_bytes.saturating_mul(identities) / chunk.bytes();
        Ok(self.index.directory.expect_entries(expected as usize)?)
    }

    fn insert(&mut self, chunk: &mut Chunk) -> Result<(), LoadError> {
        self.expect_identities(chunk)?;
        for aor in chunk.new_shapes.drain(..) {
            self.shapes.push(self.index.intern(&aor)?.shape);
        }
        for address in chunk.new_hops.drain(..) {
            self.hops.push(self.index.intern_next_hop(address)?);
        }
        let mut at = 0;
        while at < chunk.records.len() {
            let group = group_at(&chunk.records, at);
            let first = &chunk.records[at];
            if first.shape == SLOW {
                self.insert_line(chunk.slow_line(first))?;
            } else {
                self.insert_group(group)?;
            }
            self.prefetch(&chunk.records, at, group.len());
            at += group.len();
        }
        self.report.lines += chunk.lines;
        self.report.devices += chunk.records.len() as u64;
        self.report_faults(chunk)
    }

    fn insert_group(&mut self, group: &[Record]) -> Result<(), LoadError> {
        let mut devices = [Device::default(); GROUP];
        for (device, record) in devices.iter_mut().zip(group) {
            *device = record.device;
            if device.next_hop != NEXT_HOP_DIRECT {
                device.next_hop = self.hops[usize::from(device.next_hop)];
            }
        }
        let identity = self.identity(&group[0]);
        Ok(self.index.insert_plain(identity, &devices[..group.len()])?)
    }

    fn insert_line(&mut self, line: &[u8]) -> Result<(), LoadError> {
        // The parser accepted this line already.
        let Ok(mut line) = parse_line(line) else {
            return Ok(());
        };
        let identity = self.index.intern(line.aor)?;
        if let Some(address) = line.next_hop {
            line.entry.next_hop = self.index.intern_next_hop(address)?;
        }
        self.index.insert(identity, &line.entry)?;
        Ok(())
    }

    #[inline]
    fn identity(&self, record: &Record) -> Identity {
        Identity {
            key: record.key,
            shape: self.shapes[record.shape as usize],
        }
    }

    /// Starts loading the table lines of the identities that come some records later.
    fn prefetch(&self, records: &[Record], at: usize, count: usize) {
        for ahead in at + PREFETCH_AHEAD..at + PREFETCH_AHEAD + count {
            let Some(record) = records.get(ahead) else {
                return;
            };
            if record.shape != SLOW && record.key != records[ahead - 1].key {
                self.index.prefetch(self.identity(record));
            }
        }
    }

    fn report_faults(&mut self, chunk: &Chunk) -> Result<(), LoadError> {
        self.report.faults += chunk.fault_count;
        for &(line, error) in &chunk.faults {
            let fault = LineFault {
                file: self.name.to_owned(),
                line,
                error,
            };
            if self.policy == Policy::Stop {
                return Err(fault.into());
            }
            if self.report.first_faults.len() < FAULTS_MAX {
                self.report.first_faults.push(fault);
            }
        }
        Ok(())
    }
}

/// The records from `at` on that belong to one identity; a slow one stands alone.
fn group_at(records: &[Record], at: usize) -> &[Record] {
    let first = &records[at];
    let rest = &records[at + 1..records.len().min(at + GROUP)];
    if first.shape == SLOW {
        return &records[at..=at];
    }
    let same = |record: &&Record| record.key == first.key && record.shape == first.shape;
    let count = rest.iter().take_while(same).count();
    &records[at..=at + count]
}

#[cfg(test)]
mod tests;
