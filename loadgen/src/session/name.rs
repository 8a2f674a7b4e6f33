//! The name of a call: branch, tag and Call-ID in one, from which its slot is found without a search.
//!
//! A letter of the generator, eight digits of slot, eight of generation, eight of a keyed mix of both. A
//! name that was not made here is told at sight, and so is one of a call that is over; generators that run
//! together write no name twice, whatever their seeds. This keeps strays out, not
//! attackers. It has no 32 digits, which the engine's branches have. Called by `calls`.

use crate::hash::seeded;

/// The octets of a name.
pub(crate) const NAME_BYTES: usize = 25;
const DIGITS: &[u8; 16] = b"0123456789abcdef";
const NAME_SALT: u64 = 0x6e61_6d65;
/// The first octet of a name, by generator; no digit is among them.
const LETTERS: &[u8; 32] = b"dghijklmnopqrstuvwxyzABCDEFGHIJK";
/// The most generators that run together.
pub const GENERATORS_MAX: usize = LETTERS.len();

/// Who makes names: its seed and its number among the generators that run together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Maker {
    pub(crate) seed: u64,
    /// 0..[`GENERATORS_MAX`], which the configuration bounds.
    pub(crate) generator: u16,
}

impl Maker {
    #[inline]
    fn letter(self) -> u8 {
        LETTERS[usize::from(self.generator) % LETTERS.len()]
    }
}

/// What a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl Name {
    fn check(self, seed: u64) -> u32 {
        let both = u64::from(self.slot) << 32 | u64::from(self.generation);
        seeded(seed ^ NAME_SALT, both) as u32
    }

    /// Writes the name.
    #[inline]
    pub(crate) fn text(self, maker: Maker) -> [u8; NAME_BYTES] {
        let mut text = [maker.letter(); NAME_BYTES];
        for (at, word) in [self.slot, self.generation, self.check(maker.seed)]
            .into_iter()
            .enumerate()
        {
            text[1 + 8 * at..9 + 8 * at].copy_from_slice(&digits(word));
        }
        text
    }

    /// Reads a name that `maker` made.
    #[inline]
    pub(crate) fn read(text: &[u8], maker: Maker) -> Option<Name> {
        let text: &[u8; NAME_BYTES] = text.try_into().ok()?;
        let word = |at: usize| number(&text[1 + 8 * at..9 + 8 * at]);
        let name = Name {
            slot: word(0)?,
            generation: word(1)?,
        };
        (text[0] == maker.letter() && word(2)? == name.check(maker.seed)).then_some(name)
    }

    /// Reads a branch: a cookie, the name, a letter for the request, its CSeq where it is not 1.
    #[inline]
    pub(crate) fn of_branch(branch: &[u8], maker: Maker) -> Option<(Name, u8, u32)> {
        let (name, rest) = branch
            .strip_prefix(b"z9hG4bK")?
            .split_at_checked(NAME_BYTES)?;
        let (&letter, digits) = rest.split_first()?;
        let cseq = if digits.is_empty() {
            1
        } else {
            std::str::from_utf8(digits).ok()?.parse().ok()?
        };
        Some((Name::read(name, maker)?, letter, cseq))
    }
}

#[inline]
fn digits(word: u32) -> [u8; 8] {
    std::array::from_fn(|at| DIGITS[(word >> (28 - 4 * at) & 0xf) as usize])
}

#[inline]
fn number(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0u32, |value, &digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u32::from(nibble))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_no_other_text_is_one() {
        let name = Name {
            slot: 0x0012_3456,
            generation: 0xfedc_ba98,
        };
        let maker = |seed, generator| Maker { seed, generator };
        let own = maker(7, 0);
        let text = name.text(own);
        assert!(text.starts_with(b"d00123456fedcba98"));
        assert_eq!(Name::read(&text, own), Some(name));
        assert_eq!(Name::read(&text, maker(8, 0)), None, "of another run");
        let mut texts: Vec<_> = (0..GENERATORS_MAX as u16)
            .map(|n| name.text(maker(7, n)))
            .collect();
        texts.dedup();
        assert_eq!(texts.len(), GENERATORS_MAX);
        for (n, text) in (0..).zip(&texts[1..]) {
            assert_eq!(Name::read(text, own), None, "of generator {}", n + 1);
        }
        for at in 0..NAME_BYTES {
            let mut other = text;
            other[at] = if other[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(Name::read(&other, own), None);
        }
        let branch = [b"z9hG4bK", &text[..], b"i"].concat();
        assert_eq!(Name::of_branch(&branch, own), Some((name, b'i', 1)));
        let branch = [&branch[..], b"23"].concat();
        assert_eq!(Name::of_branch(&branch, own), Some((name, b'i', 23)));
        assert_eq!(Name::of_branch(&[&branch[..], b"x"].concat(), own), None);
        assert_eq!(Name::of_branch(&text, own), None);
        assert_eq!(Name::of_branch(b"z9hG4bK", own), None);
    }
}
