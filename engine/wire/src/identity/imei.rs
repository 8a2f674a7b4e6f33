//! The IMEI URN of RFC 7254: `urn:gsma:imei:TTTTTTTT-SSSSSS-C[;svn=dd][;vers=0]`.

use super::names::strip_prefix_fold;

/// What follows `urn:gsma:imei:`, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Imei {
    /// Type allocation code, serial number and spare digit.
    pub digits: [u8; 15],
    /// Software version number.
    pub software: Option<[u8; 2]>,
}

/// Reads the part behind `urn:gsma:imei:`; `;` and `=` may be escaped.
pub(super) fn parse(text: &[u8]) -> Option<Imei> {
    let (number, mut rest) = text.split_at_checked(17)?;
    let [tac @ .., b'-', s0, s1, s2, s3, s4, s5, b'-', spare] = number else {
        return None;
    };
    let mut digits = [0u8; 15];
    digits[..8].copy_from_slice(tac);
    digits[8..].copy_from_slice(&[*s0, *s1, *s2, *s3, *s4, *s5, *spare]);
    let mut software = None;
    if let Some(after) = parameter(rest, b"svn") {
        let (version, after) = after.split_first_chunk::<2>()?;
        software = Some(*version);
        rest = after;
    }
    if let Some(after) = parameter(rest, b"vers") {
        // RFC 7254 3: `vers=0` counts as absent when comparing; no other version is defined.
        rest = after.strip_prefix(b"0")?;
    }
    let numeric = digits
        .iter()
        .chain(software.iter().flatten())
        .all(u8::is_ascii_digit);
    (rest.is_empty() && numeric).then_some(Imei { digits, software })
}

/// Strips `;name=`, where both marks may be escaped.
fn parameter<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let text = strip_prefix_fold(text, b";").or_else(|| strip_prefix_fold(text, b"%3B"))?;
    let text = strip_prefix_fold(text, name)?;
    strip_prefix_fold(text, b"=").or_else(|| strip_prefix_fold(text, b"%3D"))
}

impl Imei {
    /// Packs two digits an octet; octet 8 has the software version, 0xFF without one.
    pub(super) fn pack(&self) -> [u8; 16] {
        let mut out = [0u8; 16];
        for (index, pair) in self.digits.chunks(2).enumerate() {
            let low = pair.get(1).map_or(0x0F, |digit| digit - b'0');
            out[index] = (pair[0] - b'0') << 4 | low;
        }
        out[8] = match self.software {
            Some([tens, units]) => (tens - b'0') << 4 | (units - b'0'),
            None => 0xFF,
        };
        out
    }

    pub(super) fn unpack(packed: &[u8; 16]) -> Imei {
        let digit = |index: usize| {
            let octet = packed[index / 2];
            b'0' + if index.is_multiple_of(2) {
                octet >> 4
            } else {
                octet & 0x0F
            }
        };
        let software = (packed[8] != 0xFF).then(|| [digit(16), digit(17)]);
        Imei {
            digits: std::array::from_fn(digit),
            software,
        }
    }

    /// Writes the 17 characters `TTTTTTTT-SSSSSS-C`.
    pub(super) fn number(&self) -> [u8; 17] {
        let mut out = [b'-'; 17];
        out[..8].copy_from_slice(&self.digits[..8]);
        out[9..15].copy_from_slice(&self.digits[8..14]);
        out[16] = self.digits[14];
        out
    }
}
