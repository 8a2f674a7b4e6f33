//! The device id column: nine kinds, told apart by how the text starts.
//!
//! UUID, GRUU of a UUID, IMEI, ESN, MEID and MAC go into 16 bytes, laid out as the wire crate's
//! `PackedDevice` reads them; the rest stays text. Whether a text keeps all the rules of its kind
//! is the wire crate's business. Called by `line` and, for generated ids, by `generate`.

use crate::device::{DEVICE_TEXT_MAX, DeviceId, DeviceKind};
use crate::population::hex_word;
use crate::population::line::Reason;

const UUID_START: &[u8] = b"urn:uuid:";

/// Namespaces with a kind of their own; the first match counts.
const NAMESPACES: [(&[u8], DeviceKind); 6] = [
    (b"urn:gsma:imei:", DeviceKind::Imei),
    (b"urn:dev:mac:", DeviceKind::Mac),
    (b"urn:epc:id:", DeviceKind::Rfid),
    (b"urn:3gpp2:esn:", DeviceKind::Esn),
    (b"urn:3gpp2:meid:", DeviceKind::Esn),
    (b"urn:", DeviceKind::Urn),
];

/// Last byte of a packed MEID, which tells it from an ESN.
const MEID_MARK: u8 = 1;

/// Byte 8 of a packed IMEI without software version.
const IMEI_NO_SOFTWARE: u8 = 0xff;

/// Reads a device id as the population format writes it.
///
/// # Errors
/// A [`Reason`]: unknown start, too long, an octet no id has, or a form its kind forbids.
#[inline]
pub fn parse_device_id(text: &[u8]) -> Result<DeviceId<'_>, Reason> {
    if let Some(uuid) = text.strip_prefix(UUID_START) {
        let bytes = parse_uuid(uuid).ok_or(Reason::Uuid)?;
        return Ok(DeviceId::Packed {
            kind: DeviceKind::Uuid,
            bytes,
        });
    }
    parse_other(text)
}

fn parse_other(text: &[u8]) -> Result<DeviceId<'_>, Reason> {
    if text.len() > DEVICE_TEXT_MAX {
        return Err(Reason::DeviceLength);
    }
    if !text.iter().all(|octet| matches!(octet, 0x21..=0x7e)) {
        return Err(Reason::Octet);
    }
    if let Some(uuid) = strip_start(text, UUID_START) {
        let bytes = parse_uuid(uuid).ok_or(Reason::Uuid)?;
        return Ok(DeviceId::Packed {
            kind: DeviceKind::Uuid,
            bytes,
        });
    }
    for (start, kind) in NAMESPACES {
        if let Some(rest) = strip_start(text, start) {
            return parse_urn(text, rest, start, kind);
        }
    }
    if strip_start(text, b"ni:").is_some() {
        return Ok(DeviceId::Text {
            kind: DeviceKind::Fingerprint,
            text,
        });
    }
    parse_uri(text)
}

fn parse_urn<'a>(
    text: &'a [u8],
    rest: &'a [u8],
    start: &[u8],
    kind: DeviceKind,
) -> Result<DeviceId<'a>, Reason> {
    if rest.is_empty() {
        return Err(Reason::DeviceKind);
    }
    let packed = match kind {
        DeviceKind::Mac => Some(parse_mac(rest).ok_or(Reason::Mac)?),
        DeviceKind::Esn => Some(parse_esn(rest, start.ends_with(b"meid:")).ok_or(Reason::Esn)?),
        // With parameters an IMEI stays text.
        DeviceKind::Imei if rest.len() == 17 => Some(parse_imei(rest).ok_or(Reason::Imei)?),
        _ => None,
    };
    Ok(match packed {
        Some(bytes) => DeviceId::Packed { kind, bytes },
        None => DeviceId::Text { kind, text },
    })
}

fn parse_uri(text: &[u8]) -> Result<DeviceId<'_>, Reason> {
    let colon = memchr::memchr(b':', text).ok_or(Reason::DeviceKind)?;
    let scheme = &text[..colon];
    let in_scheme = |octet: &u8| octet.is_ascii_alphanumeric() || b"+-.".contains(octet);
    let starts_well = scheme.first().is_some_and(u8::is_ascii_alphabetic);
    if !starts_well || !scheme.iter().all(in_scheme) || colon + 1 == text.len() {
        return Err(Reason::DeviceKind);
    }
    let sip = scheme.eq_ignore_ascii_case(b"sip") || scheme.eq_ignore_ascii_case(b"sips");
    let mut parameters = text.split(|&octet| octet == b';').skip(1);
    let gruu = parameters.find_map(|parameter| strip_start(parameter, b"gr"));
    match gruu {
        Some(value) if sip && (value.is_empty() || value[0] == b'=') => {
            let value = value.strip_prefix(b"=").unwrap_or(value);
            let uuid = strip_start(value, UUID_START).and_then(parse_uuid);
            Ok(match uuid {
                Some(bytes) => DeviceId::Packed {
                    kind: DeviceKind::Gruu,
                    bytes,
                },
                None => DeviceId::Text {
                    kind: DeviceKind::Gruu,
                    text,
                },
            })
        }
        _ => Ok(DeviceId::Text {
            kind: DeviceKind::Uri,
            text,
        }),
    }
}

/// Strips `start`, which is lower case, in either case.
fn strip_start<'a>(text: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(start.len())?;
    head.eq_ignore_ascii_case(start).then_some(rest)
}

/// RFC 9039 4.1: an EUI-64 of 16 hexadecimal digits; bytes 0 to 7.
fn parse_mac(text: &[u8]) -> Option<[u8; 16]> {
    let (high, low) = text.split_first_chunk::<8>()?;
    let mut out = [0; 16];
    out[..4].copy_from_slice(&hex_word(*high)?.to_be_bytes());
    out[4..8].copy_from_slice(&hex_word(low.try_into().ok()?)?.to_be_bytes());
    Some(out)
}

/// An ESN of 8 hexadecimal digits, or (RFC 8464) a MEID of 8, a hyphen and 6; bytes 0 to 6.
fn parse_esn(text: &[u8], meid: bool) -> Option<[u8; 16]> {
    let (first, rest) = text.split_first_chunk::<8>()?;
    let mut out = [0; 16];
    out[..4].copy_from_slice(&hex_word(*first)?.to_be_bytes());
    if !meid {
        return rest.is_empty().then_some(out);
    }
    let &[b'-', a, b, c, d, e, f] = rest else {
        return None;
    };
    let serial = hex_word([b'0', b'0', a, b, c, d, e, f])?;
    out[4..7].copy_from_slice(&serial.to_be_bytes()[1..]);
    out[15] = MEID_MARK;
    Some(out)
}

/// RFC 7254: 8 digits, 6 digits and a spare one; two a byte, then 15 for the empty half.
fn parse_imei(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() != 17 || text[8] != b'-' || text[15] != b'-' {
        return None;
    }
    let digits = text
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != 8 && *at != 15);
    let mut out = [0; 16];
    (out[7], out[8]) = (0x0f, IMEI_NO_SOFTWARE);
    for (at, (_, octet)) in digits.enumerate() {
        let digit = octet.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        out[at / 2] |= if at % 2 == 0 { digit << 4 } else { digit };
    }
    Some(out)
}

/// 8-4-4-4-12 hexadecimal digits in either case, RFC 9562 4.
#[inline]
fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.try_into().ok()?;
    if [text[8], text[13], text[18], text[23]] != [b'-'; 4] {
        return None;
    }
    let word = |a: usize, b: usize| {
        [
            text[a],
            text[a + 1],
            text[a + 2],
            text[a + 3],
            text[b],
            text[b + 1],
            text[b + 2],
            text[b + 3],
        ]
    };
    let words = [
        hex_word(word(0, 4))?,
        hex_word(word(9, 14))?,
        hex_word(word(19, 24))?,
        hex_word(word(28, 32))?,
    ];
    let value = words
        .iter()
        .fold(0u128, |value, &word| value << 32 | u128::from(word));
    Some(value.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: u128 = 0xf81d_4fae_7dec_11d0_a765_00a0_c91e_6bf6;

    #[test]
    fn what_fits_16_bytes_packs_in_either_case() {
        let gruu = "sip:a@h;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
        for (text, kind, value) in [
            (
                "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
                DeviceKind::Uuid,
                UUID,
            ),
            (gruu, DeviceKind::Gruu, UUID),
            (
                "urn:gsma:imei:90420156-025763-0",
                DeviceKind::Imei,
                0x9042_0156_0257_630f_ff00_0000_0000_0000,
            ),
            (
                "urn:dev:mac:0024befffe804ff1",
                DeviceKind::Mac,
                0x0024_beff_fe80_4ff1_0000_0000_0000_0000,
            ),
            (
                "urn:3gpp2:esn:80a1b2c3",
                DeviceKind::Esn,
                0x80a1_b2c3_0000_0000_0000_0000_0000_0000,
            ),
            (
                "urn:3gpp2:meid:A04B0D56-02A7E3",
                DeviceKind::Esn,
                0xa04b_0d56_02a7_e300_0000_0000_0000_0001,
            ),
        ] {
            let packed = Ok(DeviceId::Packed {
                kind,
                bytes: value.to_be_bytes(),
            });
            assert_eq!(parse_device_id(text.as_bytes()), packed, "{text}");
            assert_eq!(
                parse_device_id(text.to_ascii_uppercase().as_bytes()),
                packed,
                "{text}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_stays_text() {
        for (text, kind) in [
            ("sip:tgruu.7hs==jd7@example.com;gr", DeviceKind::Gruu),
            ("sip:a@h;transport=tcp;gr=x", DeviceKind::Gruu),
            ("sip:a@h;grid=x", DeviceKind::Uri),
            ("https://h/tv", DeviceKind::Uri),
            ("urn:gsma:imei:90420156-025763-0;svn=42", DeviceKind::Imei),
            ("urn:dev:org:32473-1", DeviceKind::Urn),
            ("urn:epc:id:sgtin:1.2.3", DeviceKind::Rfid),
            (
                "ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk",
                DeviceKind::Fingerprint,
            ),
        ] {
            let kept = Ok(DeviceId::Text {
                kind,
                text: text.as_bytes(),
            });
            assert_eq!(parse_device_id(text.as_bytes()), kept, "{text}");
        }
    }

    #[test]
    fn what_is_no_device_id_is_refused() {
        let long = format!("x:{}", "a".repeat(256));
        for (text, reason) in [
            ("urn:uuid:f81d4fae", Reason::Uuid),
            (
                "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bfg",
                Reason::Uuid,
            ),
            ("phone", Reason::DeviceKind),
            ("1x:y", Reason::DeviceKind),
            ("urn:", Reason::DeviceKind),
            ("x:", Reason::DeviceKind),
            ("urn:dev:mac:0024be", Reason::Mac),
            ("urn:3gpp2:esn:80a1b2c3d4", Reason::Esn),
            ("urn:3gpp2:meid:80a1b2c3", Reason::Esn),
            ("urn:gsma:imei:90420156-02576x-0", Reason::Imei),
            ("uri:a b", Reason::Octet),
            (&long, Reason::DeviceLength),
        ] {
            assert_eq!(parse_device_id(text.as_bytes()), Err(reason), "{text}");
        }
    }
}
