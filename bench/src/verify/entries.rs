//! The record files of both processes: fixed little-endian entries of 24 bytes, hash of the
//! Request-URI, hash of the branch, and 8 bytes that are the outcome (engine) or the time of the first
//! transmission (loadgen). A file that ends inside an entry is refused: it was torn.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::{Booked, Received};

/// Bytes of one entry.
pub const ENTRY_BYTES: usize = 24;

/// Most entries read from one file: 64 million, 1.5 GB, far above any population that is verified.
const ENTRIES_MAX: usize = 1 << 26;

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EntriesError {
    /// The file cannot be read.
    #[error("cannot read record {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file ends inside an entry.
    #[error(
        "record {path} ends inside an entry: the process that wrote it did not finish; run again"
    )]
    Torn {
        /// The file.
        path: PathBuf,
    },
    /// More entries than are compared.
    #[error("record {path} has more than 67108864 entries; verify a smaller population")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

/// Reads the engine's record.
///
/// # Errors
/// [`EntriesError`] when the file is missing, torn or too long.
pub fn booked(path: &Path) -> Result<Vec<Booked>, EntriesError> {
    read(path, |uri_hash, branch_hash, last| Booked {
        uri_hash,
        branch_hash,
        outcome: u16::from_le_bytes([last[0], last[1]]),
    })
}

/// Reads the loadgen's record.
///
/// # Errors
/// [`EntriesError`] when the file is missing, torn or too long.
pub fn received(path: &Path) -> Result<Vec<Received>, EntriesError> {
    read(path, |uri_hash, branch_hash, _| Received {
        uri_hash,
        branch_hash,
    })
}

fn read<T>(path: &Path, entry: impl Fn(u64, u64, [u8; 8]) -> T) -> Result<Vec<T>, EntriesError> {
    let unreadable = |error| EntriesError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let Some(count) = usize::try_from(length)
        .ok()
        .map(|length| length / ENTRY_BYTES)
    else {
        return Err(EntriesError::TooLong {
            path: path.to_owned(),
        });
    };
    if count > ENTRIES_MAX {
        return Err(EntriesError::TooLong {
            path: path.to_owned(),
        });
    }
    if length % ENTRY_BYTES as u64 != 0 {
        return Err(EntriesError::Torn {
            path: path.to_owned(),
        });
    }
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        let mut words = [[0u8; 8]; 3];
        for word in &mut words {
            reader.read_exact(word).map_err(unreadable)?;
        }
        list.push(entry(
            u64::from_le_bytes(words[0]),
            u64::from_le_bytes(words[1]),
            words[2],
        ));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(name: &str, bytes: &[u8], check: impl FnOnce(&Path)) {
        let name = format!("sirocco-entries-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        check(&path);
        std::fs::remove_file(&path).unwrap();
    }

    fn entry(uri: u64, branch: u64, last: u64) -> Vec<u8> {
        [uri, branch, last]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    #[test]
    fn entries_are_read_as_they_were_written() {
        let bytes = [entry(1, 2, 486), entry(u64::MAX, 4, 1000)].concat();
        with_file("good", &bytes, |path| {
            let read = booked(path).unwrap();
            assert_eq!(
                read[0],
                Booked {
                    uri_hash: 1,
                    branch_hash: 2,
                    outcome: 486
                }
            );
            assert_eq!(read[1].outcome, 1000);
            assert_eq!(
                received(path).unwrap()[1],
                Received {
                    uri_hash: u64::MAX,
                    branch_hash: 4
                }
            );
        });
    }

    #[test]
    fn a_torn_or_missing_record_is_refused() {
        with_file("torn", &entry(1, 2, 3)[..23], |path| {
            assert!(
                booked(path)
                    .expect_err("torn")
                    .to_string()
                    .contains("ends inside")
            );
        });
        let error = booked(Path::new("/nowhere/record"))
            .expect_err("missing")
            .to_string();
        assert!(error.contains("/nowhere/record"), "{error}");
    }
}
