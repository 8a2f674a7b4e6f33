//! The record of distinct requests received, so that a ledger can be checked against it request by
//! request: fixed 24-byte little-endian entries {uri_hash u64, branch_hash u64, first_seen_ns u64}.
//!
//! The worker fills chunks and a helper thread writes them to the file; the chunks are made at start
//! and circulate. When the file is slower than the network, no chunk is free and entries are left out
//! and counted: a record with a count above 0 proves nothing. Called by `population` and `worker`.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

/// The octets of one entry.
pub const ENTRY_BYTES: usize = 24;
/// Entries per chunk: 1.5 MiB, a write long enough to be cheap.
const CHUNK_ENTRIES: usize = 1 << 16;
/// Chunks in circulation: 96 MiB, a second of three million requests per second and some more.
const CHUNKS: usize = 64;

/// The worker's side of the record.
pub struct Journal {
    chunk: Vec<u8>,
    full: Option<SyncSender<Vec<u8>>>,
    empty: Receiver<Vec<u8>>,
    writer: Option<JoinHandle<io::Result<()>>>,
    entries: u64,
    left_out: u64,
}

/// What a finished record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalTotals {
    /// Entries written.
    pub entries: u64,
    /// Entries left out because the file was too slow.
    pub left_out: u64,
}

impl Journal {
    /// Creates the file, replacing one of that name, and starts the helper thread.
    ///
    /// # Errors
    /// The file cannot be created or the thread not started.
    pub fn create(path: &Path) -> io::Result<Journal> {
        let mut file = File::create(path)?;
        let (full, chunks) = sync_channel::<Vec<u8>>(CHUNKS);
        let (give_back, empty) = sync_channel(CHUNKS);
        for _ in 1..CHUNKS {
            give_back
                .try_send(Vec::with_capacity(CHUNK_ENTRIES * ENTRY_BYTES))
                .ok();
        }
        let writer = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || {
                for mut chunk in chunks {
                    file.write_all(&chunk)?;
                    chunk.clear();
                    // The worker may be gone already; then the chunk is freed here.
                    give_back.try_send(chunk).ok();
                }
                file.sync_data()
            })?;
        Ok(Journal {
            chunk: Vec::with_capacity(CHUNK_ENTRIES * ENTRY_BYTES),
            full: Some(full),
            empty,
            writer: Some(writer),
            entries: 0,
            left_out: 0,
        })
    }

    /// Notes one distinct request.
    #[inline]
    pub fn note(&mut self, uri_hash: u64, branch_hash: u64, first_seen_ns: u64) {
        if self.chunk.len() == CHUNK_ENTRIES * ENTRY_BYTES && !self.exchange() {
            self.left_out += 1;
            return;
        }
        let mut entry = [0; ENTRY_BYTES];
        entry[..8].copy_from_slice(&uri_hash.to_le_bytes());
        entry[8..16].copy_from_slice(&branch_hash.to_le_bytes());
        entry[16..].copy_from_slice(&first_seen_ns.to_le_bytes());
        self.chunk.extend_from_slice(&entry);
        self.entries += 1;
    }

    /// Gives a full chunk away and takes an empty one; false when none is free.
    fn exchange(&mut self) -> bool {
        let Some(full) = &self.full else { return false };
        match self.empty.try_recv() {
            Ok(empty) => full
                .try_send(std::mem::replace(&mut self.chunk, empty))
                .is_ok(),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => false,
        }
    }

    /// Writes what is left, waits for the helper thread and returns the totals.
    ///
    /// # Errors
    /// The file could not be written; the record is then useless.
    pub fn finish(mut self) -> io::Result<JournalTotals> {
        let last = std::mem::take(&mut self.chunk);
        if let Some(full) = self.full.take() {
            // A send fails only when the helper ended early, and then `join` says why.
            full.send(last).ok();
        }
        if let Some(writer) = self.writer.take() {
            let panicked = || io::Error::other("the thread that writes the record panicked");
            writer.join().map_err(|_| panicked())??;
        }
        Ok(JournalTotals {
            entries: self.entries,
            left_out: self.left_out,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("sirocco-{}-{name}", std::process::id()))
    }

    #[test]
    fn every_entry_reaches_the_file_in_order() {
        let path = path("journal");
        let mut journal = Journal::create(&path).unwrap();
        let count = CHUNK_ENTRIES as u64 + 1000;
        for n in 0..count {
            journal.note(n, n << 32, n * 7);
        }
        let totals = journal.finish().unwrap();
        assert_eq!(
            totals,
            JournalTotals {
                entries: count,
                left_out: 0
            }
        );
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(bytes.len() as u64, count * ENTRY_BYTES as u64);
        for (n, entry) in bytes.chunks(ENTRY_BYTES).enumerate() {
            let word = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().unwrap());
            let n = n as u64;
            assert_eq!((word(0), word(8), word(16)), (n, n << 32, n * 7));
        }
    }

    #[test]
    fn a_file_that_cannot_be_made_is_an_error() {
        assert!(Journal::create(Path::new("/nonexistent/record")).is_err());
    }

    #[test]
    fn a_file_that_takes_nothing_is_an_error_at_the_end() {
        let Ok(mut journal) = Journal::create(Path::new("/dev/full")) else {
            return;
        };
        journal.note(1, 2, 3);
        assert!(journal.finish().is_err());
    }
}
