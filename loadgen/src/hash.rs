//! The hashes a population decides with: SipHash-1-3 under a fixed public key for the record, and a
//! cheap seeded mix of those values for choices.
//!
//! Nothing here defends against a hostile sender: the load generator answers only its own bench. The
//! key is public so that another process can compute the same values and compare records.
//! Called by `population` (once per received SIR) and by tests that predict a choice.

use siphasher::sip::SipHasher13;

/// The public key of the record hashes, so that every process of a bench computes the same values.
pub const PUBLIC_KEY: (u64, u64) = (0x5352_4f43_434f_5352, 0x5649_4659_5649_4659);

/// Returns SipHash-1-3 of `bytes` under [`PUBLIC_KEY`]; of a Request-URI it is the record's `uri_hash`,
/// of a whole Via branch (with its magic cookie) the record's `branch_hash`.
#[inline]
#[must_use]
pub fn public_hash(bytes: &[u8]) -> u64 {
    SipHasher13::new_with_keys(PUBLIC_KEY.0, PUBLIC_KEY.1).hash(bytes)
}

/// Returns `value` mixed with `seed`, all 64 bits depending on all bits of both (the finaliser of
/// SplitMix64).
#[inline]
#[must_use]
pub fn seeded(seed: u64, value: u64) -> u64 {
    let mut mixed = value ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Returns `value` scaled to `0..bound`, without bias beyond `bound / 2^64` and without a division.
#[inline]
#[must_use]
pub fn scaled(value: u64, bound: u32) -> u32 {
    ((u128::from(value) * u128::from(bound)) >> 64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_hash_is_fixed_for_ever() {
        // The record format promises this value; a change here breaks every reader of records.
        assert_eq!(public_hash(b"sip:+8613800001111@ims.example"), GOLDEN);
    }

    /// Computed by another implementation of SipHash-1-3.
    const GOLDEN: u64 = 17_606_655_879_318_069_416;

    #[test]
    fn a_scaled_value_stays_below_its_bound_and_reaches_every_share() {
        let mut seen = [0u32; 7];
        for n in 0..7000 {
            seen[scaled(seeded(1, n), 7) as usize] += 1;
        }
        assert!(seen.iter().all(|&count| count > 800), "{seen:?}");
        assert_eq!(scaled(u64::MAX, 7), 6);
        assert_eq!(scaled(0, 7), 0);
    }

    #[test]
    fn another_seed_gives_another_choice() {
        let differing = (0..1000u64)
            .filter(|&n| seeded(1, n) != seeded(2, n))
            .count();
        assert_eq!(differing, 1000);
    }
}
