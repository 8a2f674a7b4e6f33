//! The head of a snapshot file: preface, section lengths, and a CRC-32 for each block.
//!
//! Preface (48 bytes): magic, byte-order mark (native), version, section count, CRC of all of
//! the head that follows it, length of the head, length of the file. Then the section lengths
//! (u64), then the CRCs of each section's blocks (u32). Little endian, except the mark.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::SnapshotError;

/// Bytes under one CRC: small enough to share work between threads, large enough to stream.
pub(super) const BLOCK_BYTES: usize = 4 << 20;

/// Changes with any change of the layout of a section.
pub(super) const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"SIROCIDX";
const ORDER_MARK: u32 = 0x0102_0304;
const PREFACE_BYTES: usize = 48;

/// Bytes of a head at most: a CRC for each block of 100 GB takes a hundredth of it.
const HEAD_BYTES_MAX: u64 = 16 << 20;

/// Sections of a snapshot.
pub(super) const SECTIONS: usize = 11;

/// The sections in the order of the file.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Section {
    State,
    Shapes,
    NextHops,
    Contacts,
    Buckets,
    Overflow,
    Runs,
    Texts,
    TextBuckets,
    TextOverflow,
    DeviceTexts,
}

impl Section {
    pub const ALL: [Section; SECTIONS] = [
        Section::State,
        Section::Shapes,
        Section::NextHops,
        Section::Contacts,
        Section::Buckets,
        Section::Overflow,
        Section::Runs,
        Section::Texts,
        Section::TextBuckets,
        Section::TextOverflow,
        Section::DeviceTexts,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Section::State => "its state",
            Section::Shapes => "its domains",
            Section::NextHops => "its next hops",
            Section::Contacts => "its contacts",
            Section::Buckets => "its table",
            Section::Overflow => "its table overflow",
            Section::Runs => "its devices",
            Section::Texts => "its identity texts",
            Section::TextBuckets => "its text table",
            Section::TextOverflow => "its text table overflow",
            Section::DeviceTexts => "its device texts",
        }
    }
}

/// The head, decoded.
pub(super) struct Header {
    lengths: [u64; SECTIONS],
    crcs: Vec<u32>,
}

impl Header {
    /// The head of a file with these sections.
    pub fn describe(sections: &[&[u8]; SECTIONS]) -> Header {
        Header {
            lengths: sections.map(|section| section.len() as u64),
            crcs: sections
                .iter()
                .flat_map(|section| section.chunks(BLOCK_BYTES))
                .map(crc32fast::hash)
                .collect(),
        }
    }

    fn head_bytes(&self) -> u64 {
        (PREFACE_BYTES + SECTIONS * 8 + self.crcs.len() * 4) as u64
    }

    pub fn encode(&self) -> Vec<u8> {
        let file_bytes = self.head_bytes() + self.lengths.iter().sum::<u64>();
        let mut rest = Vec::new();
        rest.extend_from_slice(&self.head_bytes().to_le_bytes());
        rest.extend_from_slice(&file_bytes.to_le_bytes());
        rest.extend_from_slice(&[0; 8]);
        for length in self.lengths {
            rest.extend_from_slice(&length.to_le_bytes());
        }
        for crc in &self.crcs {
            rest.extend_from_slice(&crc.to_le_bytes());
        }
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&ORDER_MARK.to_ne_bytes());
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&(SECTIONS as u32).to_le_bytes());
        head.extend_from_slice(&crc32fast::hash(&rest).to_le_bytes());
        head.append(&mut rest);
        head
    }

    /// Reads and verifies the head of `file`.
    pub fn read(file: &File, path: &Path) -> Result<Header, SnapshotError> {
        let path = || path.to_owned();
        let fault = |error| SnapshotError::File {
            path: path(),
            error,
        };
        let found = file.metadata().map_err(fault)?.len();
        let mut preface = [0; PREFACE_BYTES];
        let there = (PREFACE_BYTES as u64).min(found) as usize;
        file.read_exact_at(&mut preface[..there], 0)
            .map_err(fault)?;
        if there < MAGIC.len() || preface[..MAGIC.len()] != MAGIC {
            return Err(SnapshotError::Foreign { path: path() });
        }
        if there < PREFACE_BYTES {
            return Err(SnapshotError::Torn {
                path: path(),
                found,
                expected: PREFACE_BYTES as u64,
            });
        }
        if word(&preface, 8).to_le_bytes() != ORDER_MARK.to_ne_bytes() {
            return Err(SnapshotError::ByteOrder { path: path() });
        }
        let version = word(&preface, 12);
        if version != VERSION {
            return Err(SnapshotError::Version {
                path: path(),
                found: version,
                expected: VERSION,
            });
        }
        let damaged = || SnapshotError::Damaged {
            path: path(),
            section: "its head",
        };
        let (head_bytes, expected) = (long(&preface, 24), long(&preface, 32));
        if !(PREFACE_BYTES as u64..=HEAD_BYTES_MAX).contains(&head_bytes) {
            return Err(damaged());
        }
        if found != expected || found < head_bytes {
            return Err(SnapshotError::Torn {
                path: path(),
                found,
                expected,
            });
        }
        let mut head = vec![0; head_bytes as usize];
        file.read_exact_at(&mut head, 0).map_err(fault)?;
        let header = Header::decode(&head).ok_or_else(damaged)?;
        let total = header
            .lengths
            .iter()
            .try_fold(head_bytes, |sum, &each| sum.checked_add(each));
        if total == Some(found) {
            Ok(header)
        } else {
            Err(damaged())
        }
    }

    fn decode(head: &[u8]) -> Option<Header> {
        if word(head, 16) as usize != SECTIONS || word(head, 20) != crc32fast::hash(&head[24..]) {
            return None;
        }
        let table = head.get(PREFACE_BYTES..PREFACE_BYTES + SECTIONS * 8)?;
        let mut lengths = [0; SECTIONS];
        for (length, bytes) in lengths.iter_mut().zip(table.chunks_exact(8)) {
            *length = long(bytes, 0);
        }
        let crcs = &head[PREFACE_BYTES + SECTIONS * 8..];
        let crcs: Vec<_> = crcs.chunks_exact(4).map(|bytes| word(bytes, 0)).collect();
        let blocks: u64 = lengths
            .iter()
            .map(|length| length.div_ceil(BLOCK_BYTES as u64))
            .sum();
        (blocks == crcs.len() as u64).then_some(Header { lengths, crcs })
    }

    /// Bytes of section `number`.
    pub fn section_bytes(&self, number: usize) -> usize {
        self.lengths[number] as usize
    }

    /// Where section `number` starts in the file.
    pub fn offset(&self, number: usize) -> u64 {
        self.head_bytes() + self.lengths[..number].iter().sum::<u64>()
    }

    /// The CRCs of the blocks of section `number`.
    pub fn crcs(&self, number: usize) -> &[u32] {
        let count = |length: &u64| length.div_ceil(BLOCK_BYTES as u64) as usize;
        let start: usize = self.lengths[..number].iter().map(count).sum();
        &self.crcs[start..start + count(&self.lengths[number])]
    }
}

/// The little-endian number at `at`, inside `bytes` by the caller's checks.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
