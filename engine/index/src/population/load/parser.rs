//! The reading side of a load: bytes -> chunks of fixed-size records.
//!
//! Owns no index: shapes and next hops get numbers of its own, and a chunk brings along what is
//! new in it. Accepts or refuses every line for good, so that inserting meets no bad line.

use std::collections::HashMap;
use std::io::Read;
use std::net::SocketAddr;

use super::{FAULTS_MAX, Stop};
use crate::device::{Device, DeviceId, NEXT_HOP_DIRECT, StoredContact};
use crate::identity::{AOR_MAX, canonical};
use crate::population::HEADER;
use crate::population::line::{Column, Line, LineError, Reason, is_remark, parse_line};

/// Bytes of text in a chunk: its text and its records fit a core's second-level cache.
const CHUNK_BYTES: usize = 256 << 10;

/// `Record::shape` of a line that is inserted from its text.
pub(super) const SLOW: u32 = u32::MAX;

/// Entries of the direct-mapped cache in front of the next-hop map.
const HOP_CACHE: usize = 1024;

/// A device line, digested.
pub(super) struct Record {
    /// Packed digits; of a slow line its number in `Chunk::slow`.
    pub key: u64,
    /// The parser's number of the shape, or [`SLOW`].
    pub shape: u32,
    /// The device; `next_hop` is the parser's number.
    pub device: Device,
}

/// Whole lines and what became of them.
pub(super) struct Chunk {
    bytes: Vec<u8>,
    slow: Vec<(u32, u32)>,
    pub records: Vec<Record>,
    /// An AOR of each new shape, and the new next hops, in the order of their numbers.
    pub new_shapes: Vec<Box<[u8]>>,
    pub new_hops: Vec<SocketAddr>,
    pub faults: Vec<(u64, LineError)>,
    pub fault_count: u64,
    pub lines: u64,
}

impl Chunk {
    pub fn new() -> Self {
        Chunk {
            bytes: Vec::with_capacity(CHUNK_BYTES),
            slow: Vec::new(),
            records: Vec::new(),
            new_shapes: Vec::new(),
            new_hops: Vec::new(),
            faults: Vec::new(),
            fault_count: 0,
            lines: 0,
        }
    }

    /// Bytes of text.
    pub fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The text of a slow record.
    pub fn slow_line(&self, record: &Record) -> &[u8] {
        let (start, end) = self.slow[record.key as usize];
        &self.bytes[start as usize..end as usize]
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.slow.clear();
        self.records.clear();
        self.new_shapes.clear();
        self.new_hops.clear();
        self.faults.clear();
        self.fault_count = 0;
        self.lines = 0;
    }
}

/// The shape of the last number: most lines have the same.
struct LastShape {
    prefix: Vec<u8>,
    suffix: Vec<u8>,
    number: u32,
}

/// What lasts from chunk to chunk.
pub(super) struct Parser {
    /// Start of the line that the last chunk cut.
    carry: Vec<u8>,
    /// Whether the rest of an overlong line is being skipped.
    skipping: bool,
    line: u64,
    shapes: HashMap<Box<[u8]>, u32>,
    last_shape: LastShape,
    hops: HashMap<SocketAddr, u16>,
    hop_cache: Vec<(Option<SocketAddr>, u16)>,
}

impl Parser {
    pub fn new() -> Self {
        Parser {
            carry: Vec::new(),
            skipping: false,
            line: 0,
            shapes: HashMap::new(),
            last_shape: LastShape {
                prefix: Vec::new(),
                suffix: Vec::new(),
                number: SLOW,
            },
            hops: HashMap::new(),
            hop_cache: vec![(None, 0); HOP_CACHE],
        }
    }

    /// Fills a chunk; `Ok(false)` when the input ended with it.
    pub fn fill(&mut self, reader: &mut impl Read, chunk: &mut Chunk) -> Result<bool, Stop> {
        chunk.clear();
        let mut bytes = std::mem::take(&mut chunk.bytes);
        bytes.append(&mut self.carry);
        let more = read_full(reader, &mut bytes)?;
        let whole = match memchr::memrchr(b'\n', &bytes) {
            _ if !more => bytes.len(),
            Some(at) => at + 1,
            None => bytes.len(),
        };
        let cut = whole == bytes.len() && more && bytes.last() != Some(&b'\n');
        self.carry.extend_from_slice(&bytes[whole..]);
        bytes.truncate(whole);
        let outcome = self.read_lines(&bytes, chunk, cut);
        chunk.bytes = bytes;
        outcome.map(|()| more)
    }

    /// Reads the lines of `bytes`; `cut` says that they are the middle of one overlong line.
    fn read_lines(&mut self, bytes: &[u8], chunk: &mut Chunk, cut: bool) -> Result<(), Stop> {
        let mut start = 0;
        while start < bytes.len() || self.line == 0 {
            let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |at| start + at);
            let line = &bytes[start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if self.skipping {
                self.skipping = cut;
            } else {
                self.line += 1;
                chunk.lines += 1;
                if self.line == 1 && line != HEADER {
                    return Err(Stop::Header);
                }
                if !is_remark(line) {
                    self.read_line(line, start as u32, chunk);
                }
                self.skipping = cut;
            }
            start = end + 1;
        }
        Ok(())
    }

    #[inline]
    fn read_line(&mut self, text: &[u8], start: u32, chunk: &mut Chunk) {
        let fault = match parse_line(text) {
            Ok(line) => match self.record(&line, chunk) {
                Ok(Some(record)) => return chunk.records.push(record),
                Ok(None) => {
                    let key = chunk.slow.len() as u64;
                    chunk.slow.push((start, start + text.len() as u32));
                    let device = Device::default();
                    return chunk.records.push(Record {
                        key,
                        shape: SLOW,
                        device,
                    });
                }
                Err(fault) => fault,
            },
            Err(fault) => fault,
        };
        chunk.fault_count += 1;
        if chunk.faults.len() < FAULTS_MAX {
            chunk.faults.push((self.line, fault));
        }
    }

    /// The record of a line; `None` when it needs more than a record holds.
    #[inline]
    fn record(&mut self, line: &Line<'_>, chunk: &mut Chunk) -> Result<Option<Record>, LineError> {
        let shape = self.shape(line, chunk)?;
        let DeviceId::Packed { bytes, .. } = line.entry.id else {
            return Ok(None);
        };
        let Some(key) = line.parts.digits else {
            return Ok(None);
        };
        let mut device = Device::new(bytes, false, &line.entry);
        match line.entry.contact {
            Some(SocketAddr::V4(contact)) => device.put_contact(Some(StoredContact {
                ip: contact.ip().to_bits(),
                port: contact.port(),
                ipv6: false,
            })),
            Some(SocketAddr::V6(_)) => return Ok(None),
            None => {}
        }
        device.next_hop = match line.next_hop {
            None => NEXT_HOP_DIRECT,
            Some(address) => match self.hop(address, chunk) {
                Some(number) => number,
                None => return Ok(None),
            },
        };
        Ok(Some(Record { key, shape, device }))
    }

    /// The number of what surrounds the digits of a line's AOR. [`SLOW`] for a user that is no
    /// number: it is only checked.
    #[inline]
    fn shape(&mut self, line: &Line<'_>, chunk: &mut Chunk) -> Result<u32, LineError> {
        let (prefix, suffix) = (
            &line.aor[..line.parts.prefix],
            &line.aor[line.parts.user_end..],
        );
        let last = &self.last_shape;
        if line.parts.digits.is_some() && last.prefix == prefix && last.suffix == suffix {
            return Ok(last.number);
        }
        self.find_shape(line, chunk)
    }

    fn find_shape(&mut self, line: &Line<'_>, chunk: &mut Chunk) -> Result<u32, LineError> {
        if line.parts.digits.is_none() {
            check_aor(line.aor)?;
            return Ok(SLOW);
        }
        let (prefix, suffix) = (
            &line.aor[..line.parts.prefix],
            &line.aor[line.parts.user_end..],
        );
        // A prefix ends before digits and a suffix starts after them, so 0 parts them.
        let name = [prefix, b"0", suffix].concat();
        let number = match self.shapes.get(name.as_slice()) {
            Some(&number) => number,
            None => {
                check_aor(line.aor)?;
                let number = self.shapes.len() as u32;
                self.shapes.insert(name.into(), number);
                chunk.new_shapes.push(line.aor.into());
                number
            }
        };
        self.last_shape = LastShape {
            prefix: prefix.into(),
            suffix: suffix.into(),
            number,
        };
        Ok(number)
    }

    /// The number of a next hop; `None` when there are too many for the fast path.
    #[inline]
    fn hop(&mut self, address: SocketAddr, chunk: &mut Chunk) -> Option<u16> {
        let spread = match address {
            SocketAddr::V4(address) => address
                .ip()
                .to_bits()
                .wrapping_mul(31)
                .wrapping_add(u32::from(address.port())),
            SocketAddr::V6(address) => u32::from(address.port()),
        };
        let slot = spread as usize % HOP_CACHE;
        if self.hop_cache[slot].0 == Some(address) {
            return Some(self.hop_cache[slot].1);
        }
        let number = match self.hops.get(&address) {
            Some(&number) => number,
            None if self.hops.len() == usize::from(NEXT_HOP_DIRECT) => return None,
            None => {
                let number = self.hops.len() as u16;
                self.hops.insert(address, number);
                chunk.new_hops.push(address);
                number
            }
        };
        self.hop_cache[slot] = (Some(address), number);
        Some(number)
    }
}

fn check_aor(aor: &[u8]) -> Result<(), LineError> {
    let outcome = canonical(aor, &mut [0; AOR_MAX]);
    let fault = |error| LineError {
        column: Column::Aor,
        reason: Reason::Aor(error),
    };
    outcome.map(|_| ()).map_err(fault)
}

/// Reads until `bytes` is a chunk's worth; false when the input ended.
fn read_full(reader: &mut impl Read, bytes: &mut Vec<u8>) -> Result<bool, Stop> {
    let wanted = CHUNK_BYTES - bytes.len();
    let taken = reader
        .by_ref()
        .take(wanted as u64)
        .read_to_end(bytes)
        .map_err(Stop::Read)?;
    Ok(taken == wanted)
}
