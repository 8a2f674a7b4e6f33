//! The token of a SIR: what a device's session has to show, checked later without any state.
//!
//! 32 hexadecimal digits: order number, expiry in seconds of Unix time, and a keyed tag over both, the
//! user identity and the device identity. It rides in the ProvURL of the SIR body. Whoever lacks the key
//! can make none; whoever has one can use it for its device and until its expiry only. The tag is
//! SipHash-1-3 under a key that lives as long as the process: a guess has to be tried against this
//! engine, one in 2^64 holds, and a token is worth minutes (docs/decisions/0010-token-tag.md).

use crate::branch::hexadecimal;
use crate::transaction::Target;
use siphasher::sip::SipHasher13;
use std::cell::Cell;
use std::hash::Hasher;

/// How long a session may follow its SIR, in seconds: Timer F and ten minutes for a user to decide.
pub const TOKEN_LIFETIME_S: u64 = 632;

/// Makes tokens under one secret key.
pub struct TokenKey {
    /// The last claim and its digits: one order has one claim a second.
    claimed: Cell<(u64, [u8; 16])>,
    hasher: SipHasher13,
    /// Unix time at which the worker's clock was 0, in seconds.
    epoch_s: u64,
}

impl TokenKey {
    /// Builds a maker from a secret 128-bit key; `epoch_s` is the Unix time of the clock's zero.
    #[must_use]
    pub fn new(key: [u64; 2], epoch_s: u64) -> Self {
        Self {
            claimed: Cell::new((0, hexadecimal(0))),
            hasher: SipHasher13::new_with_keys(key[0], key[1]),
            epoch_s,
        }
    }

    /// Renders the token of one target; the same target gives the same token in each transmission.
    #[inline]
    #[must_use]
    pub fn token(&self, target: &Target) -> [u8; 32] {
        let claim = self.claim(target);
        let device = u128::from_le_bytes(*target.device.packed_id());
        let mut hasher = self.hasher;
        hasher.write_u64(claim);
        hasher.write_u64(target.key);
        hasher.write_u64(u64::from(target.shape) << 8 | target.device.kind() as u64);
        hasher.write_u64(device as u64);
        hasher.write_u64((device >> 64) as u64);
        self.written(claim, hasher.finish())
    }

    /// Renders the token of a target whose identities are text, bound to the octets of its Request-URI.
    #[must_use]
    pub fn token_of_text(&self, target: &Target, octets: &[u8]) -> [u8; 32] {
        let claim = self.claim(target);
        let mut hasher = self.hasher;
        hasher.write_u64(claim);
        hasher.write(octets);
        self.written(claim, hasher.finish())
    }

    #[inline]
    fn written(&self, claim: u64, tag: u64) -> [u8; 32] {
        let mut digits = [0; 32];
        digits[..16].copy_from_slice(&self.claim_digits(claim));
        digits[16..].copy_from_slice(&hexadecimal(tag));
        digits
    }

    #[inline]
    fn claim_digits(&self, claim: u64) -> [u8; 16] {
        let (known, digits) = self.claimed.get();
        if known == claim {
            return digits;
        }
        let digits = hexadecimal(claim);
        self.claimed.set((claim, digits));
        digits
    }

    #[inline]
    fn claim(&self, target: &Target) -> u64 {
        let expiry = self.epoch_s + target.due_ns / 1_000_000_000 + TOKEN_LIFETIME_S;
        u64::from(target.order) << 32 | expiry & 0xffff_ffff
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::target;

    #[test]
    fn a_token_is_bound_to_all_that_it_names() {
        let key = TokenKey::new([1, 2], 1_000);
        let base = target(0, 1);
        let token = key.token(&base);
        assert_eq!(token, key.token(&base));
        let others = [
            Target {
                key: base.key ^ 1,
                ..base
            },
            Target {
                shape: base.shape ^ 1,
                ..base
            },
            Target { order: 2, ..base },
            Target {
                due_ns: base.due_ns + 1_000_000_000,
                ..base
            },
            Target {
                device: crate::testing::device(0, 2),
                ..base
            },
        ];
        for other in others {
            assert_ne!(key.token(&other), token, "{other:?}");
        }
        assert_ne!(token, TokenKey::new([1, 3], 1_000).token(&base));
        let text = String::from_utf8(token.to_vec()).expect("digits");
        assert_eq!(text[8..16], format!("{:08x}", 1_000 + TOKEN_LIFETIME_S));
    }
}
