//! The branch of a SIR: the name by which its answer finds its transaction again.
//!
//! A branch is 32 hexadecimal digits after the magic cookie: slot, generation and a keyed tag. The slot
//! is an array index, so an answer needs no hash lookup; the generation makes late answers harmless; the
//! tag makes a forged answer cost as much as guessing 64 bits. It does not parse SIP: `sirocco_wire`
//! hands it the branch value. The shard is its only caller.

use siphasher::sip::SipHasher13;
pub use sirocco_session::hexadecimal::{hexadecimal, value};
pub use sirocco_session::wheel::Handle;
use std::hash::Hasher;

/// The magic cookie of RFC 3261 8.1.1.7, which every branch begins with.
pub const MAGIC_COOKIE: &[u8; 7] = b"z9hG4bK";

/// Why a branch names no transaction of this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BranchFault {
    /// Not the magic cookie and 32 lower-case hexadecimal digits.
    Foreign,
    /// The right form, but the tag is not ours: forged, or sent before a restart.
    Forged,
}

/// Names transactions and recognises their names, with a key drawn at start.
#[derive(Clone)]
pub struct BranchKey {
    hasher: SipHasher13,
}

impl BranchKey {
    /// Builds the naming from a secret 128-bit key; a new key makes every older branch `Forged`.
    #[must_use]
    pub fn new(key: [u64; 2]) -> Self {
        Self {
            hasher: SipHasher13::new_with_keys(key[0], key[1]),
        }
    }

    /// Renders the 32 digits that follow the magic cookie; they serve as the Call-ID as well.
    #[inline]
    #[must_use]
    pub fn name(&self, handle: Handle) -> [u8; 32] {
        let word = pack(handle);
        let mut digits = [0; 32];
        digits[..16].copy_from_slice(&hexadecimal(word));
        digits[16..].copy_from_slice(&hexadecimal(self.tag(word)));
        digits
    }

    /// Reads a whole branch value (cookie and digits) back.
    ///
    /// # Errors
    /// [`BranchFault`] says whether the form or the tag is not ours.
    #[inline]
    pub fn recognise(&self, branch: &[u8]) -> Result<Handle, BranchFault> {
        let digits = branch
            .strip_prefix(MAGIC_COOKIE.as_slice())
            .ok_or(BranchFault::Foreign)?;
        let digits: &[u8; 32] = digits.try_into().map_err(|_| BranchFault::Foreign)?;
        let word = value(digits.first_chunk::<16>().ok_or(BranchFault::Foreign)?);
        let tag = value(digits.last_chunk::<16>().ok_or(BranchFault::Foreign)?);
        let (Some(word), Some(tag)) = (word, tag) else {
            return Err(BranchFault::Foreign);
        };
        if self.tag(word) != tag {
            return Err(BranchFault::Forged);
        }
        Ok(Handle {
            slot: (word >> 32) as u32,
            generation: word as u32,
        })
    }

    #[inline]
    fn tag(&self, word: u64) -> u64 {
        let mut hasher = self.hasher;
        hasher.write_u64(word);
        hasher.finish()
    }
}

#[inline]
fn pack(handle: Handle) -> u64 {
    u64::from(handle.slot) << 32 | u64::from(handle.generation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(digits: [u8; 32]) -> Vec<u8> {
        [MAGIC_COOKIE.as_slice(), &digits].concat()
    }

    proptest! {
        #[test]
        fn a_name_is_recognised(slot: u32, generation: u32, key: [u64; 2]) {
            let names = BranchKey::new(key);
            let handle = Handle { slot, generation };
            prop_assert_eq!(names.recognise(&whole(names.name(handle))), Ok(handle));
        }

        #[test]
        fn any_other_octets_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(BranchKey::new([1, 2]).recognise(&bytes).is_err());
        }
    }

    #[test]
    fn a_changed_digit_is_forged_and_a_foreign_form_is_foreign() {
        let names = BranchKey::new([3, 4]);
        let mut branch = whole(names.name(Handle {
            slot: 7,
            generation: 9,
        }));
        for index in MAGIC_COOKIE.len()..branch.len() {
            let kept = branch[index];
            branch[index] = if kept == b'0' { b'1' } else { b'0' };
            assert_eq!(
                names.recognise(&branch),
                Err(BranchFault::Forged),
                "digit {index}"
            );
            branch[index] = kept;
        }
        assert_eq!(names.recognise(b"z9hG4bK-other"), Err(BranchFault::Foreign));
        branch[10] = b'A';
        assert_eq!(names.recognise(&branch), Err(BranchFault::Foreign));
        let restarted = BranchKey::new([3, 5]);
        branch = whole(names.name(Handle {
            slot: 7,
            generation: 9,
        }));
        assert_eq!(restarted.recognise(&branch), Err(BranchFault::Forged));
    }
}
