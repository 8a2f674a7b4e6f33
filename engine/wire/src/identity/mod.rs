//! Device identities: the nine kinds of the patent, their URN forms, comparison, and a fixed
//! 16-octet packing for the index.
//!
//! The text form written here may stand in a URI parameter, in a header and in a SIR body: it is
//! the URN, letters lower case where case does not matter, with `;` and whatever else would end a
//! URI parameter escaped. An IMEI is personal data: [`obfuscate_imei`] makes the form that may be sent.
//! No registry of devices, no proof that an identity is genuine.

mod epc;
mod hashed;
pub(crate) mod hex;
mod imei;
mod names;
mod packed;

pub use hashed::{obfuscate_imei, pseudo_esn};
pub use packed::PackedDevice;

use std::borrow::Cow;

/// The kinds of device identity that the patent names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DeviceKind {
    /// A SIP URI with `gr` (RFC 5627); its device part is the value of `gr`.
    Gruu = 0,
    /// `urn:uuid:` (RFC 4122).
    Uuid = 1,
    /// `urn:gsma:imei:` (RFC 7254).
    Imei = 2,
    /// Any other URI (RFC 3986).
    Uri = 3,
    /// Any other URN (RFC 8141).
    Urn = 4,
    /// `urn:epc:id:` (EPC Tag Data Standard).
    Rfid = 5,
    /// `urn:3gpp2:esn:`, an electronic serial number, or its successor `urn:3gpp2:meid:` (RFC 8464).
    Esn = 6,
    /// `urn:dev:mac:` (RFC 9039), EUI-64.
    Mac = 7,
    /// `ni:///sha-256;` (RFC 6920), a hash that names a device.
    Fingerprint = 8,
}

impl DeviceKind {
    /// All kinds in the order of their numbers.
    pub const ALL: [DeviceKind; 9] = [
        DeviceKind::Gruu,
        DeviceKind::Uuid,
        DeviceKind::Imei,
        DeviceKind::Uri,
        DeviceKind::Urn,
        DeviceKind::Rfid,
        DeviceKind::Esn,
        DeviceKind::Mac,
        DeviceKind::Fingerprint,
    ];

    /// Returns the kind with this number.
    #[must_use]
    pub fn of(number: u8) -> Option<DeviceKind> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Returns the name used in population files and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        [
            "gruu",
            "uuid",
            "imei",
            "uri",
            "urn",
            "rfid",
            "esn",
            "mac",
            "fingerprint",
        ][self as usize]
    }
}

/// Longest device identity accepted, in octets.
pub const DEVICE_TEXT_MAX: usize = 255;

/// A device identity: its kind and its text as received.
#[derive(Debug, Clone, Copy)]
pub struct DeviceIdentity<'a> {
    /// What the text is.
    pub kind: DeviceKind,
    /// The text as received.
    pub text: &'a [u8],
}

impl<'a> DeviceIdentity<'a> {
    /// Recognises and validates `text`; `None` when it is no identity of any kind.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<DeviceIdentity<'a>> {
        if text.is_empty() || text.len() > DEVICE_TEXT_MAX || !text.iter().all(u8::is_ascii_graphic)
        {
            return None;
        }
        let kind = names::recognise(text)?;
        Some(DeviceIdentity { kind, text })
    }

    /// Returns the canonical text: letters folded where their case does not matter.
    ///
    /// Equal texts mean the same device; SIP URIs may be the same with different texts, ask
    /// [`DeviceIdentity::same_device`].
    #[must_use]
    pub fn canonical(&self) -> Cow<'a, [u8]> {
        if let Some(packed) = PackedDevice::pack(self.text) {
            let mut out = vec![0; packed.urn_len()];
            packed.write_urn(&mut out);
            return Cow::Owned(out);
        }
        names::canonical(self.kind, self.text)
    }

    /// Returns the canonical text as it may stand in the `gr` parameter of a URI: octets that RFC
    /// 3261 25.1 does not allow in a parameter value are escaped.
    #[must_use]
    pub fn parameter_text(&self) -> Cow<'a, [u8]> {
        let canonical = self.canonical();
        if canonical.iter().all(names::in_parameter) {
            return canonical;
        }
        let mut escaped = vec![0; parameter_len(&canonical)];
        write_parameter(&canonical, &mut escaped);
        Cow::Owned(escaped)
    }

    /// Tells whether both name the same device, by the comparison rules of their kind.
    ///
    /// A GRUU and the URN in its `gr` parameter are the same device.
    #[must_use]
    pub fn same_device(&self, other: &DeviceIdentity<'_>) -> bool {
        let is_sip = |kind| matches!(kind, DeviceKind::Uri | DeviceKind::Gruu);
        if is_sip(self.kind) && self.kind == other.kind && names::same_uri(self.text, other.text) {
            return true;
        }
        self.canonical() == other.canonical()
    }
}

/// Returns the length of what [`write_parameter`] writes for `text`.
#[inline]
#[must_use]
pub fn parameter_len(text: &[u8]) -> usize {
    text.len()
        + 2 * text
            .iter()
            .filter(|octet| !names::in_parameter(octet))
            .count()
}

/// Writes identity text as it may stand in a URI parameter, without allocation, and returns its
/// length; 0 when `out` is too short. For texts that do not pack and are canonical already.
#[inline]
pub fn write_parameter(text: &[u8], out: &mut [u8]) -> usize {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let len = parameter_len(text);
    let Some(mut rest) = out.get_mut(..len) else {
        return 0;
    };
    for octet in text {
        let escape = [
            b'%',
            DIGITS[usize::from(octet >> 4)],
            DIGITS[usize::from(octet & 0x0F)],
        ];
        let piece = if names::in_parameter(octet) {
            &[*octet][..]
        } else {
            &escape[..]
        };
        let (head, tail) = rest.split_at_mut(piece.len());
        head.copy_from_slice(piece);
        rest = tail;
    }
    len
}

#[cfg(test)]
mod tests;
