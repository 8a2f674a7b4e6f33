//! The token of a SIR: what a device's session has to show, checked without any state.
//!
//! 32 hexadecimal digits: a claim (content, binding, expiry) and a keyed tag over it, the user identity
//! and, where the SIR was for one device, the device identity. It rides in the ProvURL of the SIR body.
//! Whoever lacks the key can make none; whoever has one can use it for its device and until its expiry
//! only. That it is used once is for [`crate::used`] to see to. The tag is SipHash-1-3 under a key that
//! lives as long as the process: a guess has to be tried against this engine, one in 2^64 holds, and a
//! token is worth minutes (docs/decisions/0010-token-tag.md).

use crate::branch::{hexadecimal, value};
use siphasher::sip::SipHasher13;
use sirocco_index::{DeviceKind, Identity};
use std::hash::Hasher;

/// How long a session may follow its SIR by default, in seconds: Timer F and ten minutes for a user to
/// decide.
pub const TOKEN_LIFETIME_S: u32 = 632;
/// Longest lifetime that can be set, in seconds: an hour.
pub const TOKEN_LIFETIME_S_MAX: u32 = 3_600;
/// Length of one tick of a token's expiry, in nanoseconds: 38 bits of it last 407 days.
pub const TICK_NS: u64 = 128_000;
/// Ticks in one second, rounded down.
pub const TICKS_PER_S: u64 = 1_000_000_000 / TICK_NS;
/// Contents that a claim can tell apart.
pub const CONTENTS_MAX: usize = 1 << 24;

const EXPIRY_BITS: u32 = 38;
const EXPIRY_MASK: u64 = (1 << EXPIRY_BITS) - 1;
const BOUND: u64 = 1 << EXPIRY_BITS;
const TEXT: u64 = 1 << (EXPIRY_BITS + 1);
const CONTENT_SHIFT: u32 = EXPIRY_BITS + 2;
/// Stands for the device in the tag of a token that any device of the user may use.
const ANY_DEVICE: u64 = 0xff;

/// Whom a token is for, as its tag covers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder<'a> {
    /// A packed user identity; its packed device, or none where any of its devices may come.
    Packed(Identity, Option<(DeviceKind, &'a [u8; 16])>),
    /// Texts: the AOR, or a GRUU that is a Request-URI by itself, and the device, empty where the AOR is
    /// a GRUU or any device may come.
    Text(&'a [u8], &'a [u8]),
}

/// What a token says of itself. Nothing of it holds before [`TokenKey::verify`] says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    word: u64,
    tag: u64,
}

impl Claim {
    /// Reads 32 lower-case hexadecimal digits; `None` if it is anything else.
    #[must_use]
    pub fn read(token: &[u8]) -> Option<Self> {
        let digits: &[u8; 32] = token.try_into().ok()?;
        let word = value(digits.first_chunk()?)?;
        let tag = value(digits.last_chunk()?)?;
        Some(Self { word, tag })
    }

    /// The content that its session is for.
    #[must_use]
    pub fn content(&self) -> u32 {
        (self.word >> CONTENT_SHIFT) as u32
    }

    /// Whether it is for one device and not for any of its user's.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.word & BOUND != 0
    }

    /// Whether its tag covers texts.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.word & TEXT != 0
    }

    /// Ticks from `now` to its expiry, negative when it is over.
    #[must_use]
    pub fn left(&self, now: Tick) -> i64 {
        let left = (self.word & EXPIRY_MASK).wrapping_sub(now.0) & EXPIRY_MASK;
        (left << (64 - EXPIRY_BITS)) as i64 >> (64 - EXPIRY_BITS)
    }

    /// A number that stands for this token: no two tokens of one process share it, but for chance.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.tag
    }
}

/// Unix time in ticks of [`TICK_NS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u64);

/// Makes and checks tokens under one secret key.
pub struct TokenKey {
    hasher: SipHasher13,
    /// Unix time at which the worker's clock was 0, in nanoseconds.
    epoch_ns: u64,
    lifetime: u64,
}

impl TokenKey {
    /// Builds a maker from a secret 128-bit key; `epoch_s` is the Unix time of the clock's zero and
    /// `lifetime_s` how long a session may follow its SIR, both in seconds.
    #[must_use]
    pub fn new(key: [u64; 2], epoch_s: u64, lifetime_s: u32) -> Self {
        Self {
            hasher: SipHasher13::new_with_keys(key[0], key[1]),
            epoch_ns: epoch_s * 1_000_000_000,
            lifetime: u64::from(lifetime_s) * TICKS_PER_S,
        }
    }

    /// The tick of a time of the worker's clock, in nanoseconds.
    #[inline]
    #[must_use]
    pub fn tick(&self, now: u64) -> Tick {
        Tick((self.epoch_ns + now) / TICK_NS)
    }

    /// The second of Unix time in which the token of a SIR that was due at `due_ns` expires.
    #[inline]
    #[must_use]
    pub fn expiry_s(&self, due_ns: u64) -> u64 {
        (self.tick(due_ns).0 + self.lifetime) / TICKS_PER_S
    }

    /// The tick at which a claim was issued, given the present one.
    #[must_use]
    pub fn issued(&self, claim: &Claim, now: Tick) -> Tick {
        let expiry = now.0.wrapping_add_signed(claim.left(now));
        Tick(expiry.saturating_sub(self.lifetime))
    }

    /// How long tokens live, in ticks.
    #[must_use]
    pub fn lifetime(&self) -> u64 {
        self.lifetime
    }

    /// Renders the token of a SIR that was due at `due_ns` for a content; the same SIR gets the same
    /// token in each transmission. `is_bound`: the holder is one device.
    #[inline]
    #[must_use]
    pub fn token(&self, due_ns: u64, content: u32, holder: Holder<'_>, is_bound: bool) -> [u8; 32] {
        let expiry = self.tick(due_ns).0 + self.lifetime;
        let bound = if is_bound { BOUND } else { 0 };
        let flags = match holder {
            Holder::Packed(..) => bound,
            Holder::Text(..) => bound | TEXT,
        };
        let word = u64::from(content) << CONTENT_SHIFT | flags | expiry & EXPIRY_MASK;
        let mut digits = [0; 32];
        digits[..16].copy_from_slice(&hexadecimal(word));
        digits[16..].copy_from_slice(&hexadecimal(self.tag(word, holder)));
        digits
    }

    /// Whether a claim was made by this key for this holder: one comparison of two words, whose time
    /// tells nothing of where they differ.
    #[inline]
    #[must_use]
    pub fn verify(&self, claim: &Claim, holder: Holder<'_>) -> bool {
        self.tag(claim.word, holder) ^ claim.tag == 0
    }

    #[inline]
    fn tag(&self, word: u64, holder: Holder<'_>) -> u64 {
        let mut hasher = self.hasher;
        hasher.write_u64(word);
        match holder {
            Holder::Text(aor, device) => {
                hasher.write_usize(aor.len());
                hasher.write(aor);
                hasher.write(device);
            }
            Holder::Packed(identity, device) => {
                let class = device.map_or(ANY_DEVICE, |(kind, _)| kind_class(kind));
                let id = device.map_or(0, |(_, id)| u128::from_le_bytes(*id));
                hasher.write_u64(identity.key);
                hasher.write_u64(u64::from(identity.shape) << 8 | class);
                hasher.write_u64(id as u64);
                hasher.write_u64((id >> 64) as u64);
            }
        }
        hasher.finish()
    }
}

/// A GRUU and the UUID in its `gr` parameter are one device.
#[inline]
fn kind_class(kind: DeviceKind) -> u64 {
    (kind as u64).max(DeviceKind::Uuid as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::target;
    use crate::transaction::Target;

    const NOW: u64 = 5_000_000_000;

    fn key() -> TokenKey {
        TokenKey::new([1, 2], 1_000, 632)
    }

    fn holder(target: &Target) -> Holder<'_> {
        let device = (target.device.kind(), target.device.packed_id());
        Holder::Packed(target.identity(), Some(device))
    }

    #[test]
    fn a_token_is_bound_to_all_that_it_names() {
        let key = key();
        let base = Target {
            due_ns: NOW,
            ..target(0, 1)
        };
        let token = key.token(base.due_ns, 7, holder(&base), true);
        assert_eq!(token, key.token(base.due_ns, 7, holder(&base), true));
        let claim = Claim::read(&token).expect("digits");
        assert!(key.verify(&claim, holder(&base)));
        assert_eq!(
            (claim.content(), claim.is_bound(), claim.is_text()),
            (7, true, false)
        );
        let others = [
            Target {
                key: base.key ^ 1,
                ..base
            },
            Target {
                shape: base.shape ^ 1,
                ..base
            },
            Target {
                device: crate::testing::device(0, 2),
                ..base
            },
        ];
        for other in others {
            assert!(!key.verify(&claim, holder(&other)), "{other:?}");
        }
        assert!(!key.verify(&claim, Holder::Packed(base.identity(), None)));
        assert!(!TokenKey::new([1, 3], 1_000, 632).verify(&claim, holder(&base)));
        // The claim is covered: another content or expiry needs another tag.
        for digit in 0..32 {
            let mut forged = token;
            forged[digit] = if forged[digit] == b'0' { b'1' } else { b'0' };
            let forged = Claim::read(&forged).expect("digits");
            assert!(!key.verify(&forged, holder(&base)), "digit {digit}");
        }
    }

    #[test]
    fn a_gruu_and_its_uuid_are_one_holder() {
        let (key, base) = (key(), target(0, 1));
        let id = base.device.packed_id();
        let gruu = Holder::Packed(base.identity(), Some((DeviceKind::Gruu, id)));
        let uuid = Holder::Packed(base.identity(), Some((DeviceKind::Uuid, id)));
        let claim = Claim::read(&key.token(base.due_ns, 0, gruu, true)).expect("digits");
        assert!(key.verify(&claim, uuid));
    }

    #[test]
    fn a_token_tells_its_expiry_and_its_issue() {
        let key = key();
        let base = Target {
            due_ns: NOW,
            ..target(0, 1)
        };
        let claim = Claim::read(&key.token(base.due_ns, 0, holder(&base), true)).expect("digits");
        let now = key.tick(NOW);
        assert_eq!(claim.left(now), key.lifetime() as i64);
        assert_eq!(key.issued(&claim, now), now);
        let later = key.tick(NOW + 633_000_000_000);
        assert!(claim.left(later) < 0);
        assert_eq!(key.issued(&claim, later), now);
    }

    #[test]
    fn what_is_no_token_is_not_read() {
        for wrong in [
            &b""[..],
            b"0123",
            &[b'0'; 31],
            &[b'0'; 33],
            &[b'A'; 32],
            &[b'g'; 32],
        ] {
            assert!(Claim::read(wrong).is_none(), "{wrong:?}");
        }
    }
}
