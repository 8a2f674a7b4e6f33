//! An index as a file: saved whole, restored in about the time it takes to read.
//!
//! The memory of tables and heaps is written as it lies, in blocks with a CRC-32 each, so that
//! two threads read and verify in parallel. A file that is torn, foreign, of another version or
//! byte order is refused before anything of it is used. Called by the bench and the engine's
//! start; holds no orders and no ledger.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::index::{Index, IndexError};
use format::{BLOCK_BYTES, Header, SECTIONS, Section};

mod format;
mod state;

/// Threads that read and verify; more would wait for the same memory.
const THREADS: usize = 2;

/// Why a snapshot cannot be saved or restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The kernel refused a file operation.
    #[error("snapshot {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        error: io::Error,
    },
    /// The file is something else.
    #[error("{path} is not an index snapshot: name the right file, or load the text population")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Another version wrote the file.
    #[error(
        "snapshot {path} has format {found}, this build reads {expected}: load the text population and save again"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// A machine of the other byte order wrote the file.
    #[error("snapshot {path} is from a machine of other byte order: load the text population here")]
    ByteOrder {
        /// The file.
        path: PathBuf,
    },
    /// The file is shorter or longer than it says.
    #[error(
        "snapshot {path} is torn ({found} of {expected} bytes): load the text population and save again"
    )]
    Torn {
        /// The file.
        path: PathBuf,
        /// Bytes there.
        found: u64,
        /// Bytes there should be.
        expected: u64,
    },
    /// Bytes of the file changed after it was written.
    #[error("snapshot {path} is damaged in {section}: load the text population and save again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Name of the section.
        section: &'static str,
    },
    /// The index cannot be built.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// A block of a section, waiting to be read and verified.
struct Block<'a> {
    section: Section,
    offset: u64,
    crc: u32,
    target: &'a mut [u8],
}

impl Index {
    /// Saves the index to `path`, which is replaced at once and only when all is on disk.
    ///
    /// # Errors
    /// [`SnapshotError::File`]; what was at `path` is then still there.
    pub fn save(&self, path: &Path) -> Result<(), SnapshotError> {
        let fault = |error| SnapshotError::File {
            path: path.to_owned(),
            error,
        };
        let mut name = path
            .file_name()
            .ok_or(io::ErrorKind::InvalidInput)
            .map_err(|kind| fault(kind.into()))?
            .to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let partial = path.with_file_name(name);
        let saved = self.write_snapshot(&partial).and_then(|()| {
            std::fs::rename(&partial, path)?;
            // The rename itself is on disk only when the directory is.
            let parent = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
        });
        saved.map_err(|error| {
            // Nothing to do about a leftover beyond naming the first error.
            let _ = std::fs::remove_file(&partial);
            fault(error)
        })
    }

    fn write_snapshot(&self, path: &Path) -> io::Result<()> {
        let small = state::encode(self);
        let sections = self.sections(&small);
        let header = Header::describe(&sections);
        // It holds subscribers' identities and the hash key: for the owner's eyes only.
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(&header.encode())?;
        for section in sections {
            file.write_all(section)?;
        }
        file.sync_all()
    }

    /// The sections of a snapshot in the order of [`Section`].
    fn sections<'a>(&'a self, small: &'a [Vec<u8>; state::SMALL]) -> [&'a [u8]; SECTIONS] {
        let [buckets, overflow] = self.directory.sections();
        let [text_buckets, text_overflow] = self.names.directory.sections();
        [
            &small[0],
            &small[1],
            &small[2],
            &small[3],
            buckets,
            overflow,
            self.runs.section(),
            self.names.texts.section(),
            text_buckets,
            text_overflow,
            self.device_texts.section(),
        ]
    }

    /// Restores an index from the snapshot at `path`.
    ///
    /// # Errors
    /// Any of [`SnapshotError`], each saying what to do.
    pub fn restore(path: &Path) -> Result<Index, SnapshotError> {
        let file_fault = |error| SnapshotError::File {
            path: path.to_owned(),
            error,
        };
        let file = File::open(path).map_err(file_fault)?;
        let header = Header::read(&file, path)?;
        let mut small: [Vec<u8>; state::SMALL] = Default::default();
        for (number, bytes) in small.iter_mut().enumerate() {
            bytes.resize(header.section_bytes(number), 0);
        }
        let blocks = small.iter_mut().enumerate();
        let blocks = blocks
            .flat_map(|(number, bytes)| header.blocks(number, bytes))
            .collect();
        read_blocks(&file, path, blocks)?;
        let damaged = |section| SnapshotError::Damaged {
            path: path.to_owned(),
            section,
        };
        let mut index = state::decode(&small).map_err(|refused| match refused {
            state::Refused::Content => damaged(Section::State.name()),
            state::Refused::Index(error) => error.into(),
        })?;
        index.read_sections(&file, path, &header)?;
        if index.is_sound() {
            Ok(index)
        } else {
            Err(damaged(Section::State.name()))
        }
    }

    fn read_sections(
        &mut self,
        file: &File,
        path: &Path,
        header: &Header,
    ) -> Result<(), SnapshotError> {
        let [buckets, overflow] = self.directory.sections_mut();
        let [text_buckets, text_overflow] = self.names.directory.sections_mut();
        let targets = [
            buckets,
            overflow,
            self.runs.section_mut(),
            self.names.texts.section_mut(),
            text_buckets,
            text_overflow,
            self.device_texts.section_mut(),
        ];
        let mut blocks = Vec::new();
        for (number, target) in (state::SMALL..).zip(targets) {
            if target.len() != header.section_bytes(number) {
                let section = Section::ALL[number].name();
                return Err(SnapshotError::Damaged {
                    path: path.to_owned(),
                    section,
                });
            }
            blocks.extend(header.blocks(number, target));
        }
        read_blocks(file, path, blocks)
    }

    fn is_sound(&self) -> bool {
        self.runs.live_runs() == Some(self.len())
            && self.directory.is_sound(self.runs.numbers_max())
            && self
                .names
                .directory
                .is_sound(self.names.texts.numbers_max())
    }
}

/// Reads and verifies blocks, on two threads when there is more than one.
fn read_blocks(file: &File, path: &Path, mut blocks: Vec<Block<'_>>) -> Result<(), SnapshotError> {
    // Taken from the end: in the order of the file again.
    blocks.reverse();
    let threads = THREADS.min(blocks.len());
    let queue = Mutex::new(blocks);
    let work = || -> Result<(), SnapshotError> {
        loop {
            let Some(block) = queue.lock().ok().and_then(|mut blocks| blocks.pop()) else {
                return Ok(());
            };
            let fault = |error| SnapshotError::File {
                path: path.to_owned(),
                error,
            };
            file.read_exact_at(block.target, block.offset)
                .map_err(fault)?;
            if crc32fast::hash(block.target) != block.crc {
                let section = block.section.name();
                return Err(SnapshotError::Damaged {
                    path: path.to_owned(),
                    section,
                });
            }
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut outcome = work();
        for other in others {
            let theirs = other
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            outcome = outcome.and(theirs);
        }
        outcome
    })
}

impl Header {
    /// The blocks of section `number`, to be read into `target`.
    fn blocks<'a>(&self, number: usize, target: &'a mut [u8]) -> Vec<Block<'a>> {
        let (section, start, crcs) = (Section::ALL[number], self.offset(number), self.crcs(number));
        let chunks = target.chunks_mut(BLOCK_BYTES).zip(crcs).enumerate();
        chunks
            .map(|(at, (target, &crc))| Block {
                section,
                offset: start + (at * BLOCK_BYTES) as u64,
                crc,
                target,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
