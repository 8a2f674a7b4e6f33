//! Device identities in 16 octets and a kind: what the index stores and the hot path renders.

use super::hex;
use super::names::{
    EPC_PREFIX, ESN_PREFIX, IMEI_PREFIX, MAC_PREFIX, MEID_PREFIX, UUID_PREFIX, canonical_urn,
    sha_256_128, strip_prefix_fold,
};
use super::{DeviceIdentity, DeviceKind, epc, imei};
use crate::sip::uri::SipUri;
use crate::writer::{Overflow, Writer};

/// Longest text kept as it is: 15 octets and their count.
const INLINE_MAX: usize = 15;

/// Length of a UUID URN.
const UUID_URN_LEN: usize = 45;

/// Octets of a MEID.
pub(super) const MEID_LEN: usize = 7;

/// Marks a MEID among the identities of kind ESN.
const MEID_MARK: u8 = 1;

/// A device identity in fixed size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PackedDevice {
    /// A [`DeviceKind`] number.
    pub kind: u8,
    /// The identity, coded as its kind wants it.
    pub bytes: [u8; 16],
}

impl PackedDevice {
    /// Packs identity text; `None` when it is no identity or does not fit 16 octets.
    ///
    /// Fits: UUID, GRUU with a UUID, IMEI, ESN, MEID, MAC, EPC with decimal fields,
    /// sha-256-128 fingerprints, and other URIs and URNs of up to 15 octets that need no escape.
    #[must_use]
    pub fn pack(text: &[u8]) -> Option<PackedDevice> {
        if let Some(bytes) = uuid(text) {
            return Some(Self::of(DeviceKind::Uuid, bytes));
        }
        let kind = DeviceIdentity::parse(text)?.kind;
        let bytes = match kind {
            DeviceKind::Uuid => uuid(text)?,
            DeviceKind::Gruu => uuid(SipUri::parse(text)?.gruu()?)?,
            DeviceKind::Imei => imei::parse(strip_prefix_fold(text, IMEI_PREFIX)?)?.pack(),
            DeviceKind::Rfid => epc::pack(strip_prefix_fold(text, EPC_PREFIX)?)?,
            DeviceKind::Esn => esn(text)?,
            DeviceKind::Mac => mac(text)?,
            DeviceKind::Fingerprint => sha_256_128(text)?,
            DeviceKind::Urn => inline(&canonical_urn(text))?,
            DeviceKind::Uri => inline(text)?,
        };
        Some(Self::of(kind, bytes))
    }

    fn of(kind: DeviceKind, bytes: [u8; 16]) -> PackedDevice {
        PackedDevice {
            kind: kind as u8,
            bytes,
        }
    }

    /// Returns the length of the text that [`PackedDevice::write_urn`] writes; 0 for a kind that
    /// is none.
    #[inline]
    #[must_use]
    pub fn urn_len(&self) -> usize {
        if self.kind <= DeviceKind::Uuid as u8 {
            return UUID_URN_LEN;
        }
        match DeviceKind::of(self.kind) {
            Some(DeviceKind::Mac) => MAC_PREFIX.len() + 16,
            Some(DeviceKind::Esn) if is_meid(&self.bytes) => MEID_PREFIX.len() + 15,
            Some(DeviceKind::Esn) => ESN_PREFIX.len() + 8,
            Some(DeviceKind::Uri | DeviceKind::Urn) => usize::from(self.bytes[15]).min(INLINE_MAX),
            Some(_) => self.written_len(),
            None => 0,
        }
    }

    fn written_len(&self) -> usize {
        let mut out = [0u8; 64];
        self.write_urn(&mut out)
    }

    /// Writes the canonical text to the start of `out` and returns its length, 0 when `out` is
    /// too short. A GRUU is written as the value of its `gr` parameter.
    #[inline]
    pub fn write_urn(&self, out: &mut [u8]) -> usize {
        if self.kind <= DeviceKind::Uuid as u8 {
            let Some(out) = out.first_chunk_mut::<UUID_URN_LEN>() else {
                return 0;
            };
            write_uuid(&self.bytes, out);
            return UUID_URN_LEN;
        }
        let mut writer = Writer::new(out);
        match self.put_rare(&mut writer) {
            Ok(()) => writer.len(),
            Err(Overflow) => 0,
        }
    }

    fn put_rare(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        let bytes = &self.bytes;
        let first_half: [u8; 8] = std::array::from_fn(|index| bytes[index]);
        let digits = hex::digits(first_half);
        match DeviceKind::of(self.kind).ok_or(Overflow)? {
            DeviceKind::Imei => {
                let imei = imei::Imei::unpack(bytes);
                writer.put(IMEI_PREFIX)?;
                writer.put(&imei.number())?;
                if let Some(software) = imei.software {
                    writer.put(b"%3Bsvn%3D")?;
                    writer.put(&software)?;
                }
                Ok(())
            }
            DeviceKind::Rfid => {
                writer.put(EPC_PREFIX)?;
                epc::write(bytes, writer)
            }
            DeviceKind::Esn if is_meid(bytes) => {
                writer.put(MEID_PREFIX)?;
                writer.put(&digits[..8])?;
                writer.put(b"-")?;
                writer.put(&digits[8..14])
            }
            DeviceKind::Esn => {
                writer.put(ESN_PREFIX)?;
                writer.put(&digits[..8])
            }
            DeviceKind::Mac => {
                writer.put(MAC_PREFIX)?;
                writer.put(&digits)
            }
            DeviceKind::Fingerprint => {
                writer.put(b"ni:///sha-256-128%3B")?;
                writer.put(&hex::base64url(*bytes))
            }
            DeviceKind::Uri | DeviceKind::Urn => {
                let len = usize::from(bytes[15]);
                writer.put(bytes.get(..len.min(INLINE_MAX)).unwrap_or(&[]))
            }
            DeviceKind::Gruu | DeviceKind::Uuid => Err(Overflow),
        }
    }
}

/// Writes `urn:uuid:` and the 36 characters of a UUID.
#[inline]
fn write_uuid(bytes: &[u8; 16], out: &mut [u8; UUID_URN_LEN]) {
    let [
        b0,
        b1,
        b2,
        b3,
        b4,
        b5,
        b6,
        b7,
        c0,
        c1,
        c2,
        c3,
        c4,
        c5,
        c6,
        c7,
    ] = *bytes;
    let high = hex::digits([b0, b1, b2, b3, b4, b5, b6, b7]);
    let low = hex::digits([c0, c1, c2, c3, c4, c5, c6, c7]);
    *out = *b"urn:uuid:--------------------------------????";
    out[9..17].copy_from_slice(&high[..8]);
    out[18..22].copy_from_slice(&high[8..12]);
    out[23..27].copy_from_slice(&high[12..]);
    out[28..32].copy_from_slice(&low[..4]);
    out[33..].copy_from_slice(&low[4..]);
}

/// Reads a UUID with or without `urn:uuid:`.
pub(super) fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let text = match text.len() {
        UUID_URN_LEN => strip_prefix_fold(text, UUID_PREFIX)?,
        36 => text,
        _ => return None,
    };
    if text[8] != b'-' || text[13] != b'-' || text[18] != b'-' || text[23] != b'-' {
        return None;
    }
    let mut digits = [0u8; 32];
    digits[..8].copy_from_slice(&text[..8]);
    digits[8..12].copy_from_slice(&text[9..13]);
    digits[12..16].copy_from_slice(&text[14..18]);
    digits[16..20].copy_from_slice(&text[19..23]);
    digits[20..].copy_from_slice(&text[24..]);
    hex::octets(&digits)
}

/// Reads a MAC address: the EUI-64 of `urn:dev:mac:`, or six octets with colons or hyphens.
pub(super) fn mac(text: &[u8]) -> Option<[u8; 16]> {
    let mut out = [0u8; 16];
    if let Some(digits) = strip_prefix_fold(text, MAC_PREFIX) {
        out[..8].copy_from_slice(&hex::octets::<8>(digits)?);
        return Some(out);
    }
    if text.len() != 17 {
        return None;
    }
    let mut octets = text.split(|octet| matches!(octet, b':' | b'-'));
    for index in [0, 1, 2, 5, 6, 7] {
        out[index] = hex::octets::<1>(octets.next()?)?[0];
    }
    // RFC 9039 4.1: an EUI-48 becomes an EUI-64 by inserting FF FE in the middle.
    out[3..5].copy_from_slice(&[0xFF, 0xFE]);
    octets.next().is_none().then_some(out)
}

/// Tells whether what [`esn`] read is a MEID.
pub(super) fn is_meid(bytes: &[u8; 16]) -> bool {
    bytes[15] == MEID_MARK
}

/// Reads an ESN of eight digits or a MEID of eight and six.
pub(super) fn esn(text: &[u8]) -> Option<[u8; 16]> {
    let mut out = [0u8; 16];
    if let Some(digits) = strip_prefix_fold(text, ESN_PREFIX) {
        out[..4].copy_from_slice(&hex::octets::<4>(digits)?);
        return Some(out);
    }
    let digits = strip_prefix_fold(text, MEID_PREFIX)?;
    let (manufacturer, serial) = digits.split_at_checked(8)?;
    out[..4].copy_from_slice(&hex::octets::<4>(manufacturer)?);
    out[4..MEID_LEN].copy_from_slice(&hex::octets::<3>(serial.strip_prefix(b"-")?)?);
    out[15] = MEID_MARK;
    Some(out)
}

fn inline(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() > INLINE_MAX || !text.iter().all(super::names::in_parameter) {
        return None;
    }
    let mut out = [0u8; 16];
    out[..text.len()].copy_from_slice(text);
    out[15] = text.len() as u8;
    Some(out)
}
