//! The token of a SIR: what a device's session has to show, checked later without any state.
//!
//! 32 hexadecimal digits: order number, expiry in seconds of Unix time, and a keyed tag over both, the
//! user identity and the device identity. It rides in the ProvURL of the SIR body. Whoever lacks the key
//! can make none; whoever has one can use it for its device and until its expiry only.

use crate::branch::hexadecimal;
use crate::transaction::Target;
use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// How long a session may follow its SIR, in seconds: Timer F and ten minutes for a user to decide.
pub const TOKEN_LIFETIME_S: u64 = 632;

/// Makes tokens under one secret key.
pub struct TokenKey {
    hasher: SipHasher24,
    /// Unix time at which the worker's clock was 0, in seconds.
    epoch_s: u64,
}

impl TokenKey {
    /// Builds a maker from a secret 128-bit key; `epoch_s` is the Unix time of the clock's zero.
    #[must_use]
    pub fn new(key: [u64; 2], epoch_s: u64) -> Self {
        Self {
            hasher: SipHasher24::new_with_keys(key[0], key[1]),
            epoch_s,
        }
    }

    /// Renders the token of one target; the same target gives the same token in each transmission.
    #[inline]
    #[must_use]
    pub fn token(&self, target: &Target) -> [u8; 32] {
        let expiry = self.epoch_s + target.due_ns / 1_000_000_000 + TOKEN_LIFETIME_S;
        let claim = u64::from(target.order) << 32 | expiry & 0xffff_ffff;
        let device = u128::from_le_bytes(*target.device.packed_id());
        let mut hasher = self.hasher;
        hasher.write_u64(claim);
        hasher.write_u64(target.key);
        hasher.write_u64(u64::from(target.shape) << 8 | target.device.kind() as u64);
        hasher.write_u64(device as u64);
        hasher.write_u64((device >> 64) as u64);
        let mut digits = [0; 32];
        digits[..16].copy_from_slice(&hexadecimal(claim));
        digits[16..].copy_from_slice(&hexadecimal(hasher.finish()));
        digits
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
