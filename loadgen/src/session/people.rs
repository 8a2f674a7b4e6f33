//! The population that edges and devices know: which devices share a user identity, and what each is.
//!
//! A reader of its own for the format of docs/population.md: the load generator does not link the
//! engine it judges. It takes what devices need (identity, state, capability, preference, subscription)
//! and passes over where they are reached. A device takes 22 octets, an identity 16 to 32.
//! Called by `worker` at the start, by `consider` for each SIR.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;

use sirocco_wire::identity::{DeviceIdentity, DeviceKind, PackedDevice, obfuscate_imei};
use sirocco_wire::sip::SipUri;

use super::policy::Traits;
use crate::hash::public_hash;

/// The first line of a population file.
const HEADING: &str = "#sirocco-population 1";
/// The longest line (docs/population.md).
const LINE_BYTES_MAX: usize = 1280;
/// The most devices: rows are numbered by 32 bits, and one number means none.
const ROWS_MAX: usize = u32::MAX as usize - 1;
/// The kind of a row whose identity is kept as text.
const TEXT: u8 = 0xff;
const BUFFER_BYTES: usize = 1 << 20;

/// Why a population was not read.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// The file could not be read.
    #[error("population {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A line breaks the format.
    #[error("{path}:{line}: {reason}; see docs/population.md")]
    Line {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
}

/// One device.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// The packed identity, or offset and length of its text.
    id: [u8; 16],
    kind: u8,
    capability: u8,
    preference: u8,
    subscription: u8,
    is_connected: bool,
    /// The sessions it has or builds.
    open: u8,
}

/// The devices of one identity: consecutive rows.
#[derive(Clone, Copy, Debug, Default)]
struct Household {
    hash: u64,
    first: u32,
    count: u32,
}

/// All devices known.
#[derive(Clone, Debug, Default)]
pub(crate) struct People {
    /// Open addressing by hash, a power of two of places at most half full.
    households: Vec<Household>,
    rows: Vec<Row>,
    texts: Vec<u8>,
    /// Identity texts by row, where callers need them.
    aors: Vec<Range<u32>>,
}

impl People {
    /// Reads a population file. With `namespace`, devices known by IMEI go by its obfuscated form
    /// (RFC 7255); with `keeps_aors`, identities can be listed.
    pub(crate) fn read(
        path: &Path,
        namespace: Option<&[u8; 16]>,
        keeps_aors: bool,
    ) -> Result<People, PeopleError> {
        let name = path.display().to_string();
        let failed = |source| PeopleError::Read {
            path: name.clone(),
            source,
        };
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, File::open(path).map_err(failed)?);
        let mut people = People::default();
        let mut found = Vec::new();
        let mut text = Vec::with_capacity(LINE_BYTES_MAX);
        for line in 1.. {
            text.clear();
            if reader.read_until(b'\n', &mut text).map_err(failed)? == 0 {
                break;
            }
            let read = people.read_line(line, text.trim_ascii_end(), namespace, keeps_aors);
            let row = read.map_err(|reason| PeopleError::Line {
                path: name.clone(),
                line,
                reason,
            })?;
            found.extend(row);
        }
        people.settle(found);
        Ok(people)
    }

    #[expect(clippy::type_complexity, reason = "one row on its way into the table")]
    fn read_line(
        &mut self,
        line: usize,
        text: &[u8],
        namespace: Option<&[u8; 16]>,
        keeps_aors: bool,
    ) -> Result<Option<(u64, Row, Range<u32>)>, &'static str> {
        if line == 1 && text != HEADING.as_bytes() {
            return Err("the first line must be `#sirocco-population 1`");
        }
        if text.is_empty() || text[0] == b'#' {
            return Ok(None);
        }
        if text.len() > LINE_BYTES_MAX {
            return Err("a line has at most 1280 octets");
        }
        let mut columns = text.split(|&octet| octet == b'\t');
        let mut next = || columns.next().ok_or("a line has ten columns");
        let (aor, device) = (next()?, next()?);
        let (_, _, _) = (next()?, next()?, next()?);
        let state = next()?;
        let (capability, preference, subscription) = (next()?, next()?, next()?);
        next()?;
        let (id, kind) = self
            .pack(device, namespace)
            .ok_or("column 2: no device identity")?;
        let row = Row {
            id,
            kind,
            capability: hex(capability).ok_or("column 7: two hexadecimal digits")?,
            preference: decimal(preference).ok_or("column 8: 0 to 15")?,
            subscription: hex(subscription).ok_or("column 9: two hexadecimal digits")?,
            is_connected: state == b"connected",
            open: 0,
        };
        let start = self.texts.len() as u32;
        if keeps_aors {
            self.texts.extend_from_slice(aor);
        }
        Ok(Some((aor_hash(aor), row, start..self.texts.len() as u32)))
    }

    fn pack(&mut self, text: &[u8], namespace: Option<&[u8; 16]>) -> Option<([u8; 16], u8)> {
        let identity = DeviceIdentity::parse(text)?;
        let hidden = (identity.kind == DeviceKind::Imei)
            .then(|| obfuscate_imei(text, namespace?))
            .flatten();
        // A GRUU is known by the device in it.
        let gruu = (identity.kind == DeviceKind::Gruu)
            .then(|| PackedDevice::pack(SipUri::parse(text)?.gruu()?))
            .flatten();
        if let Some(packed) = hidden.or(gruu).or_else(|| PackedDevice::pack(text)) {
            return Some((packed.bytes, packed.kind));
        }
        let offset = u32::try_from(self.texts.len()).ok()?;
        self.texts.extend_from_slice(text);
        let mut id = [0; 16];
        id[..4].copy_from_slice(&offset.to_le_bytes());
        id[4] = text.len() as u8;
        Some((id, TEXT))
    }

    /// Orders rows by identity and makes the table of households.
    fn settle(&mut self, mut found: Vec<(u64, Row, Range<u32>)>) {
        found.truncate(ROWS_MAX);
        found.sort_by_key(|(hash, ..)| *hash);
        let count = found.chunk_by(|a, b| a.0 == b.0).count();
        self.households = vec![Household::default(); (2 * count).next_power_of_two()];
        let mut first = 0;
        for household in found.chunk_by(|a, b| a.0 == b.0) {
            let (hash, count) = (household[0].0, household.len() as u32);
            let place = self.place(hash);
            self.households[place] = Household { hash, first, count };
            first += count;
        }
        self.rows = found.iter().map(|(_, row, _)| *row).collect();
        self.aors = found.into_iter().map(|(.., aor)| aor).collect();
        if self.aors.iter().all(Range::is_empty) {
            self.aors = Vec::new();
        }
    }

    /// Returns where the household with this hash is, or would be.
    fn place(&self, hash: u64) -> usize {
        let mask = self.households.len() - 1;
        let mut at = hash as usize & mask;
        // At most half full, so there is an end.
        while self.households[at].count > 0 && self.households[at].hash != hash {
            at = (at + 1) & mask;
        }
        at
    }

    /// Returns the rows of an identity, none when it is unknown.
    #[inline]
    pub(crate) fn devices(&self, aor: &[u8]) -> Range<u32> {
        if self.households.is_empty() {
            return 0..0;
        }
        let household = self.households[self.place(aor_hash(aor))];
        household.first..household.first + household.count
    }

    /// Returns the row of the device among `rows` that `device` names.
    #[inline]
    pub(crate) fn find(&self, mut rows: Range<u32>, device: &[u8]) -> Option<u32> {
        let packed = PackedDevice::pack(device);
        rows.find(|&row| match packed {
            Some(packed) => {
                let row = &self.rows[row as usize];
                row.kind == packed.kind && row.id == packed.bytes
            }
            None => self.text(&self.rows[row as usize]).is_some_and(|text| {
                text == device
                    || DeviceIdentity::parse(text)
                        .is_some_and(|own| *own.parameter_text() == *device)
            }),
        })
    }

    fn text(&self, row: &Row) -> Option<&[u8]> {
        let [a, b, c, d, length, ..] = row.id;
        let start = u32::from_le_bytes([a, b, c, d]) as usize;
        (row.kind == TEXT).then(|| &self.texts[start..start + usize::from(length)])
    }

    /// Writes a device's identity as it may be shown to others; an IMEI may not (RFC 7255).
    #[inline]
    pub(crate) fn device<'a>(&'a self, row: u32, buffer: &'a mut [u8; 256]) -> &'a [u8] {
        let row = &self.rows[row as usize];
        if let Some(text) = self.text(row) {
            return text;
        }
        if row.kind == DeviceKind::Imei as u8 {
            return b"";
        }
        let packed = PackedDevice {
            kind: row.kind,
            bytes: row.id,
        };
        let length = packed.write_urn(buffer);
        &buffer[..length]
    }

    /// Writes a device's identity as [`People::device`] gives it; returns its length.
    #[inline]
    pub(crate) fn write_device(&self, row: u32, out: &mut [u8; 256]) -> usize {
        let mut buffer = [0; 256];
        let device = self.device(row, &mut buffer);
        out[..device.len()].copy_from_slice(device);
        device.len()
    }

    /// Returns what a device can and wants.
    #[inline]
    pub(crate) fn traits(&self, row: u32) -> Traits {
        let row = &self.rows[row as usize];
        Traits {
            capability: row.capability,
            preference: row.preference,
            subscription: row.subscription,
        }
    }

    /// Tells whether a device has a session, by the population or since.
    #[inline]
    pub(crate) fn is_connected(&self, row: u32) -> bool {
        let row = &self.rows[row as usize];
        row.is_connected || row.open > 0
    }

    /// Notes that a device begins a session.
    #[inline]
    pub(crate) fn open(&mut self, row: u32) {
        if let Some(row) = self.rows.get_mut(row as usize) {
            row.open = row.open.saturating_add(1);
        }
    }

    /// Notes that a session of a device is over.
    #[inline]
    pub(crate) fn close(&mut self, row: u32) {
        if let Some(row) = self.rows.get_mut(row as usize) {
            row.open = row.open.saturating_sub(1);
        }
    }

    /// Returns the number of devices.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the identity of a device, where identities are kept.
    pub(crate) fn aor(&self, row: u32) -> &[u8] {
        self.aors.get(row as usize).map_or(b"", |range| {
            &self.texts[range.start as usize..range.end as usize]
        })
    }
}

/// Returns the hash of an identity in canonical form.
#[inline]
fn aor_hash(aor: &[u8]) -> u64 {
    let plain =
        |octet: &u8| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b':' | b'+' | b'@' | b'.' | b'-');
    if aor.iter().all(plain) {
        return public_hash(aor);
    }
    let mut out = [0; 512];
    let written = SipUri::parse(aor).and_then(|uri| uri.write_aor(&mut out).ok());
    written.map_or_else(|| public_hash(aor), |length| public_hash(&out[..length]))
}

fn hex(text: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.len() == 2)?;
    u8::from_str_radix(text, 16).ok()
}

fn decimal(text: &[u8]) -> Option<u8> {
    let value: u8 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (value <= super::policy::PREFERENCE_MAX).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "#sirocco-population 1\n#remark\n\
        sip:+861@ims.example\turn:uuid:910a2dec-8902-4cc1-beb8-d8ce2f3c1a95\t127.0.0.1:6000\t-\tsip\tidle\tb1\t5\t73\t-\n\
        sip:alice@ims.example\turn:dev:mac:0024befffe804ff1\tdirect\t[2001:db8::7]:5060\tsip\tidle\t00\t0\t00\t-\r\n\
        sip:+861@ims.example\turn:epc:id:sgtin:0614141.812345.6789\t127.0.0.1:6001\t-\tsip\tconnected\t03\t15\t01\t1767225600\n\
        sip:+861@ims.example\turn:gsma:imei:90420156-025763-0\t127.0.0.1:6001\t-\tsip\tidle\t03\t15\t01\t-\n";

    fn read(text: &str, namespace: Option<&[u8; 16]>) -> Result<People, PeopleError> {
        let unique = public_hash(text.as_bytes());
        let name = format!("sirocco-people-{}-{unique:x}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        let people = People::read(&path, namespace, true);
        std::fs::remove_file(&path).unwrap();
        people
    }

    #[test]
    fn the_devices_of_an_identity_are_found_wherever_their_lines_stand() {
        let people = read(FILE, None).unwrap();
        let rows = people.devices(b"sip:+861@IMS.example");
        assert_eq!((rows.len(), people.len()), (3, 4));
        let mut buffer = [0; 256];
        let uuid = b"urn:uuid:910a2dec-8902-4cc1-beb8-d8ce2f3c1a95";
        let row = people.find(rows.clone(), uuid).unwrap();
        assert_eq!(people.device(row, &mut buffer), uuid);
        assert_eq!(
            (people.traits(row).capability, people.traits(row).preference),
            (0xb1, 5)
        );
        let rfid = people
            .find(rows.clone(), b"urn:epc:id:sgtin:0614141.812345.6789")
            .unwrap();
        assert!(people.is_connected(rfid) && !people.is_connected(row));
        assert_eq!(people.aor(rfid), b"sip:+861@ims.example");
        assert!(people.devices(b"sip:bob@ims.example").is_empty());
        assert!(people.find(rows, b"urn:dev:mac:0024befffe804ff1").is_none());
    }

    #[test]
    fn an_imei_is_shown_only_in_its_obfuscated_form() {
        let imei = b"urn:gsma:imei:90420156-025763-0";
        let mut buffer = [0; 256];
        let plain = read(FILE, None).unwrap();
        let row = plain
            .find(plain.devices(b"sip:+861@ims.example"), imei)
            .unwrap();
        assert_eq!(plain.device(row, &mut buffer), b"");
        let namespace = [7; 16];
        let hidden = read(FILE, Some(&namespace)).unwrap();
        let mut urn = [0; 64];
        let length = obfuscate_imei(imei, &namespace)
            .unwrap()
            .write_urn(&mut urn);
        let row = hidden
            .find(hidden.devices(b"sip:+861@ims.example"), &urn[..length])
            .unwrap();
        assert_eq!(hidden.device(row, &mut buffer), &urn[..length]);
    }

    #[test]
    fn a_device_is_connected_while_a_session_is_open() {
        let mut people = read(FILE, None).unwrap();
        let row = people.devices(b"sip:alice@ims.example").start;
        people.open(row);
        people.open(row);
        people.close(row);
        assert!(people.is_connected(row));
        people.close(row);
        assert!(!people.is_connected(row));
        people.open(u32::MAX);
    }

    #[test]
    fn a_bad_line_is_named() {
        let bad = FILE.replace("\t5\t", "\t16\t");
        assert!(
            read(&bad, None)
                .unwrap_err()
                .to_string()
                .contains(":3: column 8")
        );
        assert!(
            read("sip:a@b", None)
                .unwrap_err()
                .to_string()
                .contains(":1: ")
        );
        let short = "#sirocco-population 1\nsip:a@b\turn:uuid:1\n";
        assert!(
            read(short, None)
                .unwrap_err()
                .to_string()
                .contains("ten columns")
        );
    }
}
