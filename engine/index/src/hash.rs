//! The keyed hash of the index: SipHash-1-3, which resists flooding by whoever lacks the key.
//!
//! The 12-byte case (a packed identity) is written out, because the general hasher's buffering
//! costs more than its rounds; a test holds it equal to the `siphasher` crate. Called by `index`.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// The two words of a SipHash key; random for each index, kept in its snapshot.
#[derive(Copy, Clone, PartialEq, Eq)]
pub struct HashKey(pub [u64; 2]);

impl HashKey {
    /// A fresh key from the operating system's randomness.
    pub fn random() -> Self {
        use std::hash::{BuildHasher, RandomState};
        // Each RandomState draws on the process' random seed; two of them give 128 bits.
        let word = |salt: u64| RandomState::new().hash_one(salt);
        HashKey([word(0x5349_524f), word(0x434f_4b45)])
    }

    /// Hashes a packed identity: the 12 bytes of `key` then `shape`, little endian.
    #[inline]
    pub fn hash_packed(self, key: u64, shape: u32) -> u64 {
        let mut state = State::new(self);
        state.absorb(key);
        state.absorb(u64::from(shape) | (12 << 56));
        state.finish()
    }

    /// Hashes text under a 32-bit context, for texts that are interned per context.
    pub fn hash_text(self, context: u32, text: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.0[0], self.0[1]);
        hasher.write(&context.to_le_bytes());
        hasher.write(text);
        hasher.finish()
    }
}

struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    #[inline]
    fn new(key: HashKey) -> Self {
        let [k0, k1] = key.0;
        State {
            v0: k0 ^ 0x736f_6d65_7073_6575,
            v1: k1 ^ 0x646f_7261_6e64_6f6d,
            v2: k0 ^ 0x6c79_6765_6e65_7261,
            v3: k1 ^ 0x7465_6462_7974_6573,
        }
    }

    #[inline]
    fn absorb(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.v0 ^= word;
    }

    #[inline]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
    }

    #[inline]
    fn finish(mut self) -> u64 {
        self.v2 ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_general_siphash_13() {
        let key = HashKey([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
        for (word, shape) in [(0, 0u32), (u64::MAX, 7), (0x1234_5678_9abc_def0, 0xf_ffff)] {
            let mut hasher = SipHasher13::new_with_keys(key.0[0], key.0[1]);
            hasher.write(&word.to_le_bytes());
            hasher.write(&shape.to_le_bytes());
            assert_eq!(key.hash_packed(word, shape), hasher.finish());
        }
    }

    #[test]
    fn keys_differ_between_indexes() {
        assert!(HashKey::random() != HashKey::random());
    }
}
