//! Words as hexadecimal digits, without a table or a division on the way out.
//!
//! Names of transactions, sessions and tokens are made of them. Lower case only, fixed width only:
//! text that people type is read elsewhere.

/// Renders a word as 16 lower-case hexadecimal digits, most significant first, eight at a time.
#[inline]
#[must_use]
pub fn hexadecimal(word: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    digits[..8].copy_from_slice(&eight_digits((word >> 32) as u32).to_be_bytes());
    digits[8..].copy_from_slice(&eight_digits(word as u32).to_be_bytes());
    digits
}

/// Spreads eight nibbles over eight bytes and turns each into its ASCII digit, without a table.
#[inline]
fn eight_digits(half: u32) -> u64 {
    const NIBBLES: u64 = 0x0f0f_0f0f_0f0f_0f0f;
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut spread = u64::from(half);
    spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    spread = (spread | spread << 4) & NIBBLES;
    // Bit 4 of (nibble + 6) is set for 10..=15 only: those take the letters' distance as well.
    let letters = (spread + ONES * 6) >> 4 & ONES;
    // The distance from '9' + 1 to 'a' is 39 = 32 + 8 - 1; no multiplication, which SSE2 lacks.
    spread + ONES * 0x30 + (letters << 5) + (letters << 3) - letters
}

/// Reads 16 lower-case hexadecimal digits; `None` on any other octet.
#[inline]
#[must_use]
pub fn value(digits: &[u8; 16]) -> Option<u64> {
    let mut word = 0u64;
    let mut fault = 0u8;
    for &digit in digits {
        let nibble = NIBBLE[usize::from(digit)];
        fault |= nibble;
        word = word << 4 | u64::from(nibble & 0x0f);
    }
    (fault & 0x80 == 0).then_some(word)
}

/// The value of each octet as a lower-case hexadecimal digit; 0x80 where it is none.
const NIBBLE: [u8; 256] = {
    let mut table = [0x80; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn hexadecimal_is_what_the_standard_library_prints(word: u64) {
            let digits = hexadecimal(word);
            prop_assert_eq!(String::from_utf8_lossy(&digits), format!("{word:016x}"));
            prop_assert_eq!(value(&digits), Some(word));
        }
    }

    #[test]
    fn other_octets_have_no_value() {
        for octet in [b'A', b'g', b' ', b'/', b':', 0, 255] {
            let mut digits = *b"0123456789abcdef";
            digits[7] = octet;
            assert_eq!(value(&digits), None, "{octet}");
        }
    }
}
