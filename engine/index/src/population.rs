//! Populations as text: the format, its reader, its loader and its generator.
//!
//! One line a device, documented in docs/population.md. `line` reads one line, `device_id` its
//! second column; `load` fills an index from a file on two threads; `generate` makes a seeded
//! population as text or straight in memory. Called by the bench's `population` command.

mod device_id;
mod generate;
mod line;
mod load;
mod text;

pub use device_id::parse_device_id;
pub use generate::{DevicesEach, GenerateError, GenerateSpec, generate, generate_into};
pub use line::{Column, Line, LineError, Reason, is_remark, parse_line};
pub use load::{LineFault, LoadError, LoadReport, Policy, load, load_from};

/// The first line of every population file, without its line end.
pub const HEADER: &[u8] = b"#sirocco-population 1";

/// Octets of a line at most: two texts of 255, two addresses of 47 and short fields, doubled.
pub const LINE_BYTES_MAX: usize = 1280;

/// Eight hexadecimal digits to four bytes' worth of value, two digits a byte.
#[inline]
fn hex_word(text: [u8; 8]) -> Option<u32> {
    let octets = u64::from_be_bytes(text);
    let letters = octets & 0x4040_4040_4040_4040;
    let values = (octets & 0x0f0f_0f0f_0f0f_0f0f) + (letters >> 6) * 9;
    if (values & 0xf0f0_f0f0_f0f0_f0f0) != 0 || hex_digits(values) != octets | letters >> 1 {
        return None;
    }
    let pairs = (values | values >> 4) & 0x00ff_00ff_00ff_00ff;
    let quads = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    Some((quads | quads >> 16) as u32)
}

/// Eight values below 16 to their lower-case hexadecimal digits.
#[inline]
fn hex_digits(values: u64) -> u64 {
    let letters = (values + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    values + 0x3030_3030_3030_3030 + letters * 0x27
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_words_read_and_render() {
        assert_eq!(hex_word(*b"0019aAfF"), Some(0x0019_aaff));
        assert_eq!(
            hex_digits(0x0001_090a_0a0f_0f0f).to_be_bytes(),
            *b"019aafff"
        );
        for octet in 0..=255u8 {
            for at in 0..8 {
                let mut text = *b"12345678";
                text[at] = octet;
                let expected = std::str::from_utf8(&text)
                    .ok()
                    .filter(|_| octet.is_ascii_hexdigit())
                    .and_then(|text| u32::from_str_radix(text, 16).ok());
                assert_eq!(hex_word(text), expected, "{octet:#x} at {at}");
            }
        }
    }
}
