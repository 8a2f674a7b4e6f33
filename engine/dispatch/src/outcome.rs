//! The outcome record: one fixed-size entry for each SIR that ended, for `--verify`.
//!
//! The bench holds it against the load generator's own record, SIR by SIR. Off by default: it renders
//! each Request-URI a second time. No I/O here; the worker's owner writes it.

use crate::branch::MAGIC_COOKIE;
use crate::kept::KeptTexts;
use crate::ledger::Outcome;
use crate::templates::packed;
use crate::transaction::Target;
use siphasher::sip::SipHasher13;
use sirocco_index::Index;
use std::hash::Hasher;
use std::io::{self, Write};

/// The public key of both records' hashes: they are names, not secrets.
pub const RECORD_KEY: [u64; 2] = [0x5352_4f43_434f_5352, 0x5649_4659_5649_4659];
/// Octets of one entry.
pub const ENTRY_BYTES: usize = 24;

/// How one SIR ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// SipHash-1-3 of the Request-URI.
    pub uri_hash: u64,
    /// SipHash-1-3 of the whole branch value.
    pub branch_hash: u64,
    /// [`Outcome::code`].
    pub outcome: u16,
}

/// The entries of one run.
#[derive(Debug, Default)]
pub struct OutcomeLog {
    entries: Vec<Entry>,
}

impl OutcomeLog {
    /// Adds the end of one SIR.
    pub fn push(&mut self, uri: &Uri, branch: &[u8; 32], outcome: Outcome) {
        let mut branch_hasher = hasher();
        branch_hasher.write(&[MAGIC_COOKIE.as_slice(), branch].concat());
        self.entries.push(Entry {
            uri_hash: hash(&uri.octets()),
            branch_hash: branch_hasher.finish(),
            outcome: outcome.code(),
        });
    }

    /// The entries.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Writes all entries, little-endian, [`ENTRY_BYTES`] each.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for entry in &self.entries {
            out.write_all(&entry.uri_hash.to_le_bytes())?;
            out.write_all(&entry.branch_hash.to_le_bytes())?;
            out.write_all(&u64::from(entry.outcome).to_le_bytes())?;
        }
        Ok(())
    }
}

/// The record's hash of some octets.
#[must_use]
pub fn hash(octets: &[u8]) -> u64 {
    let mut hasher = hasher();
    hasher.write(octets);
    hasher.finish()
}

fn hasher() -> SipHasher13 {
    SipHasher13::new_with_keys(RECORD_KEY[0], RECORD_KEY[1])
}

/// The Request-URI of a SIR that is routed by its device identity.
pub struct Uri {
    /// The AOR, or a GRUU that is the whole.
    pub aor: Vec<u8>,
    /// The value of `gr`, empty without one.
    pub device: Vec<u8>,
}

impl Uri {
    /// Spells the Request-URI of a target.
    #[must_use]
    pub fn of(index: &Index, kept: &KeptTexts, target: &Target) -> Self {
        if let Some(kept) = kept.of(target) {
            let (aor, device) = (kept.aor().to_vec(), kept.device().to_vec());
            return Self { aor, device };
        }
        let mut digits = [0; 16];
        let aor = index.unpack(target.identity(), &mut digits);
        let packed = packed(&target.device);
        let mut device = vec![0; packed.urn_len()];
        packed.write_urn(&mut device);
        Self {
            aor: [aor.prefix, aor.user, aor.suffix].concat(),
            device,
        }
    }

    /// The octets as they stand in the start line.
    #[must_use]
    pub fn octets(&self) -> Vec<u8> {
        if self.device.is_empty() {
            return self.aor.clone();
        }
        [&self.aor, &b";gr="[..], &self.device].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{index_of, target};

    #[test]
    fn an_entry_names_request_uri_and_branch_as_the_load_generator_does() {
        let line = "sip:+4930@ims.example\turn:dev:mac:0024befffe804ff1\t127.0.0.1:1\t-\tsip\tidle\t00\t0\t00\t-";
        let index = index_of(&[line.to_owned()]);
        let identity = index.pack(b"sip:+4930@ims.example").expect("known");
        let target = Target {
            key: identity.key,
            shape: identity.shape,
            device: index.devices(index.lookup(identity))[0],
            ..target(0, 0)
        };
        let uri = Uri::of(&index, &KeptTexts::new(None), &target);
        assert_eq!(
            uri.octets(),
            b"sip:+4930@ims.example;gr=urn:dev:mac:0024befffe804ff1"
        );
        let mut log = OutcomeLog::default();
        log.push(&uri, &[b'a'; 32], Outcome::Stored);
        let branch = [&MAGIC_COOKIE[..], &[b'a'; 32]].concat();
        let entry = Entry {
            uri_hash: hash(&uri.octets()),
            branch_hash: hash(&branch),
            outcome: 202,
        };
        assert_eq!(log.entries(), [entry]);
        let mut out = Vec::new();
        log.write(&mut out).expect("a vector grows");
        assert_eq!(out.len(), ENTRY_BYTES);
        assert_eq!(out[..8], entry.uri_hash.to_le_bytes());
        assert_eq!(out[8..16], entry.branch_hash.to_le_bytes());
        assert_eq!(out[16..], 202u64.to_le_bytes());
    }
}
