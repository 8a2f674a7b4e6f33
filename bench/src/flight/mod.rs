//! What the engine's flight recorder has kept, for people and for decoders: a ladder in text and a capture.
//!
//! The octets are those that were sent and came; nothing is rendered here. A message over TCP is in the ladder
//! only. Called by the engine role, at its end and when asked.

mod capture;
mod ladder;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use sirocco_dispatch::flight::FlightLog;
use sirocco_ring::clock;

/// Where and when a log was made: what its clock and its addresses mean.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The engine's address.
    pub local: SocketAddr,
    /// Unix time at which the worker's clock was 0, in nanoseconds.
    pub epoch_ns: u64,
}

impl Origin {
    /// The origin of a log of this process, whose engine is at `local`.
    #[must_use]
    pub fn here(local: SocketAddr) -> Self {
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let unix_ns = u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX);
        Self {
            local,
            epoch_ns: unix_ns.saturating_sub(clock::now_ns()),
        }
    }

    fn unix_ns(&self, at_ns: u64) -> u64 {
        self.epoch_ns.saturating_add(at_ns)
    }
}

/// Event `flight`: what was written.
#[derive(Debug, Serialize)]
pub struct Written {
    /// Failures since the start.
    pub failures: u64,
    /// Those that are in the files.
    pub kept: usize,
    /// The ladder.
    pub text: PathBuf,
    /// The capture.
    pub pcap: PathBuf,
}

/// The two files of a prefix: `PREFIX.txt` and `PREFIX.pcap`.
#[must_use]
pub fn files(prefix: &Path) -> [PathBuf; 2] {
    ["txt", "pcap"].map(|ending| {
        let mut path = prefix.as_os_str().to_owned();
        path.push(".");
        path.push(ending);
        PathBuf::from(path)
    })
}

/// Writes both files of a log, in place of earlier ones; none where nothing was kept.
///
/// # Errors
/// The system's, with the name of the file.
pub fn write(log: &FlightLog, origin: Origin, prefix: &Path) -> io::Result<Option<Written>> {
    if log.flights.is_empty() {
        return Ok(None);
    }
    let [text, pcap] = files(prefix);
    let named = |path: &Path, error: io::Error| {
        io::Error::new(error.kind(), format!("writing {}: {error}", path.display()))
    };
    let ladder = ladder::text(log, origin);
    std::fs::write(&text, ladder).map_err(|error| named(&text, error))?;
    let capture = || {
        let mut out = BufWriter::new(File::create(&pcap)?);
        capture::write(log, origin, &mut out)?;
        out.flush()
    };
    capture().map_err(|error| named(&pcap, error))?;
    Ok(Some(Written {
        failures: log.failures,
        kept: log.flights.len(),
        text,
        pcap,
    }))
}
