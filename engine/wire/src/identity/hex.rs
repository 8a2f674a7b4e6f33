//! Hexadecimal and base64url text of binary identities.

const NIBBLES: u128 = 0x0F0F_0F0F_0F0F_0F0F_0F0F_0F0F_0F0F_0F0F;

/// Writes eight octets as sixteen lower-case digits, all at once in one 128-bit word.
#[inline]
pub(crate) fn digits(octets: [u8; 8]) -> [u8; 16] {
    let mut spread = u128::from(u64::from_be_bytes(octets));
    spread = (spread | spread << 32) & 0x0000_0000_FFFF_FFFF_0000_0000_FFFF_FFFF;
    spread = (spread | spread << 16) & 0x0000_FFFF_0000_FFFF_0000_FFFF_0000_FFFF;
    spread = (spread | spread << 8) & 0x00FF_00FF_00FF_00FF_00FF_00FF_00FF_00FF;
    spread = (spread | spread << 4) & NIBBLES;
    // A nibble above 9 carries into bit 4 when 6 is added.
    let letters = (spread + (NIBBLES / 15) * 6) >> 4 & (NIBBLES / 15);
    (spread + (NIBBLES / 15) * 0x30 + letters * 0x27).to_be_bytes()
}

/// Reads 2 N digits of either case into N octets.
pub(crate) fn octets<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut out = [0u8; N];
    for (octet, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *octet = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(out)
}

#[inline]
fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Writes 16 octets as 22 base64url characters without padding (RFC 4648 5).
pub(super) fn base64url(octets: [u8; 16]) -> [u8; 22] {
    let mut rest = u128::from_be_bytes(octets);
    let mut out = [0u8; 22];
    // 128 bits are 21 groups of six and two bits that the last character holds at its top.
    out[21] = ALPHABET[((rest & 3) << 4) as usize];
    rest >>= 2;
    for place in out[..21].iter_mut().rev() {
        *place = ALPHABET[(rest & 63) as usize];
        rest >>= 6;
    }
    out
}

/// Reads base64url text of N octets; `None` for other lengths, characters and stray bits.
pub(super) fn from_base64url<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != (N * 8).div_ceil(6) {
        return None;
    }
    let mut out = [0u8; N];
    let mut bits = 0u32;
    let mut held = 0;
    let mut at = 0;
    for character in text {
        let six = ALPHABET.iter().position(|known| known == character)? as u32;
        bits = bits << 6 | six;
        held += 6;
        if held >= 8 {
            held -= 8;
            out[at] = (bits >> held) as u8;
            at += 1;
            bits &= (1 << held) - 1;
        }
    }
    (bits == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_round_trip() {
        let all = [0x00, 0x19, 0x9A, 0xAF, 0xF0, 0x7E, 0xC5, 0xFF];
        assert_eq!(&digits(all), b"00199aaff07ec5ff");
        assert_eq!(octets::<8>(b"00199AAFf07ec5ff"), Some(all));
        assert_eq!(octets::<8>(b"00199AAFf07ec5fg"), None);
        assert_eq!(octets::<8>(b"00"), None);
    }

    #[test]
    fn base64url_round_trips() {
        let octets = *b"\x00\xff\x10 device id 9\xfe";
        assert_eq!(from_base64url::<16>(&base64url(octets)), Some(octets));
        // RFC 6920 8.1: the SHA-256 of "Hello World!".
        let hash = b"f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk";
        assert_eq!(from_base64url::<32>(hash).unwrap()[..3], [0x7F, 0x83, 0xB1]);
        assert_eq!(from_base64url::<16>(b"AAAAAAAAAAAAAAAAAAAAAB"), None);
    }
}
