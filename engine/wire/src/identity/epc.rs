//! EPC pure identity URIs of RFID tags (EPC Tag Data Standard 6): `urn:epc:id:sgtin:P.I.S` and its
//! relatives with decimal fields, packed into 16 octets.

use crate::writer::{Overflow, Writer};

const SCHEMES: [&[u8]; 6] = [b"sgtin", b"sscc", b"sgln", b"grai", b"gsrn", b"gdti"];

/// Most digits of the first two fields together: 10^17 fits 57 bits.
const LEADING_DIGITS_MAX: usize = 17;

/// Most digits of the third field: 10^14 fits 48 bits.
const SERIAL_DIGITS_MAX: usize = 14;

/// Third field absent.
const NO_SERIAL: u64 = (1 << 48) - 1;

/// Tells whether `text`, what follows `urn:epc:id:`, is a scheme and dot-separated fields.
pub(super) fn is_valid(text: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', text) else {
        return false;
    };
    let (scheme, fields) = (&text[..colon], &text[colon + 1..]);
    let octet_fits =
        |octet: &u8| octet.is_ascii_alphanumeric() || b"!'()*+,-%&/_$=;".contains(octet);
    !scheme.is_empty()
        && scheme.iter().all(u8::is_ascii_alphanumeric)
        && fields
            .split(|&octet| octet == b'.')
            .all(|field| field.iter().all(octet_fits))
}

fn number(digits: &[u8], digits_max: usize) -> Option<u64> {
    if digits.is_empty() || digits.len() > digits_max {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        digit
            .is_ascii_digit()
            .then(|| value * 10 + u64::from(digit - b'0'))
    })
}

/// Packs two or three decimal fields; serials with leading zeros do not fit.
pub(super) fn pack(text: &[u8]) -> Option<[u8; 16]> {
    let colon = memchr::memchr(b':', text)?;
    let scheme = SCHEMES
        .iter()
        .position(|known| known.eq_ignore_ascii_case(&text[..colon]))?;
    let mut fields = text[colon + 1..].split(|&octet| octet == b'.');
    let (company, item) = (fields.next()?, fields.next()?);
    if company.len() > 15 || item.len() > 15 {
        return None;
    }
    let leading = number(&[company, item].concat(), LEADING_DIGITS_MAX)?;
    let serial = match fields.next() {
        None => NO_SERIAL,
        Some([b'0', _, ..]) => return None,
        Some(digits) => number(digits, SERIAL_DIGITS_MAX)?,
    };
    if fields.next().is_some() {
        return None;
    }
    let mut out = [0u8; 16];
    out[0] = scheme as u8;
    out[1] = (company.len() << 4 | item.len()) as u8;
    out[2..10].copy_from_slice(&leading.to_be_bytes());
    out[10..].copy_from_slice(&serial.to_be_bytes()[2..]);
    Some(out)
}

/// Writes what follows `urn:epc:id:`.
pub(super) fn write(packed: &[u8; 16], writer: &mut Writer<'_>) -> Result<(), Overflow> {
    let scheme = SCHEMES
        .get(usize::from(packed[0]))
        .copied()
        .unwrap_or(b"raw");
    let (company, item) = (usize::from(packed[1] >> 4), usize::from(packed[1] & 0x0F));
    let mut leading = [0u8; 8];
    leading.copy_from_slice(&packed[2..10]);
    let mut serial = [0u8; 8];
    serial[2..].copy_from_slice(&packed[10..]);
    let digits = padded(u64::from_be_bytes(leading));
    writer.put(scheme)?;
    writer.put_octet(b':')?;
    let start = digits.len().saturating_sub(company + item);
    writer.put(&digits[start..digits.len() - item])?;
    writer.put_octet(b'.')?;
    writer.put(&digits[digits.len() - item..])?;
    let serial = u64::from_be_bytes(serial);
    if serial != NO_SERIAL {
        let digits = padded(serial);
        let first = digits
            .iter()
            .position(|&digit| digit != b'0')
            .unwrap_or(digits.len() - 1);
        writer.put_octet(b'.')?;
        writer.put(&digits[first..])?;
    }
    Ok(())
}

fn padded(value: u64) -> [u8; 30] {
    let mut digits = [b'0'; 30];
    let mut rest = value;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits
}
