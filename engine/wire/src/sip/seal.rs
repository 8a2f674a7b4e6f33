//! The keyed tag by which a device tells that a SIR comes from a gateway it shares a key with.
//!
//! SipHash-2-4 under 128 bits over the ProvURL before `;a=`, the AOR in To and the device identity that
//! the body carries, a line feed between them: none of the three can hold one. It proves origin to
//! whoever has the key and nothing to others; a replay of the whole SIR is not its concern, the token
//! is. The template computes it for the sender, [`SirKey::check`] for the receiver.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::identity::hex;
use crate::sir::Sir;

/// Length of the tag in the ProvURL parameter `a`: 16 lower-case hexadecimal digits.
pub const SEAL_LEN: usize = 16;

/// Octets of a key.
const KEY_LEN: usize = 16;

/// The text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key of SIRs is not 32 hexadecimal digits; write 16 random octets in hexadecimal")]
pub struct SirKeyError;

/// The key that a gateway and its devices share.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SirKey([u64; 2]);

impl std::fmt::Debug for SirKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A key does not get into logs.
        formatter.write_str("SirKey")
    }
}

/// What a device finds of the tag of a SIR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SealCheck {
    /// The tag is right.
    Authentic,
    /// The tag is wrong: the SIR was made or changed by somebody without the key.
    Forged,
    /// There is no tag.
    Unsealed,
}

impl SirKey {
    /// Makes a key of its two words.
    #[must_use]
    pub const fn new(words: [u64; 2]) -> SirKey {
        SirKey(words)
    }

    /// Reads the text of a key file: 32 hexadecimal digits of either case, white space around them.
    ///
    /// Fails on anything else.
    pub fn from_hex(text: &str) -> Result<SirKey, SirKeyError> {
        let octets: [u8; KEY_LEN] = hex::octets(text.trim().as_bytes()).ok_or(SirKeyError)?;
        let both = u128::from_le_bytes(octets);
        Ok(SirKey([both as u64, (both >> 64) as u64]))
    }

    /// Returns the tag over a ProvURL up to its seal, the URI of To and the device identity that the
    /// body carries (empty for none).
    #[must_use]
    pub fn seal(&self, prov_url_before_seal: &[u8], aor: &[u8], device: &[u8]) -> u64 {
        let mut sealing = self.start(prov_url_before_seal);
        sealing.finish(&[], aor, device)
    }

    /// Starts a tag whose first octets are `prefix`.
    pub(super) fn start(&self, prefix: &[u8]) -> Sealing {
        let mut hasher = SipHasher24::new_with_keys(self.0[0], self.0[1]);
        hasher.write(prefix);
        Sealing { hasher }
    }

    /// Judges the tag of a received SIR whose To names `aor`; takes the same time for every wrong tag.
    #[must_use]
    pub fn check(&self, sir: &Sir<'_>, aor: &[u8]) -> SealCheck {
        let Some((covered, found)) = sir.split_seal() else {
            return SealCheck::Unsealed;
        };
        let device = sir.device().map_or(&b""[..], |(_, device)| device);
        let right = text(self.seal(covered, aor, device));
        let Ok(found) = <[u8; SEAL_LEN]>::try_from(found) else {
            return SealCheck::Forged;
        };
        // One comparison of 16 octets: nothing of the right tag shows in the time.
        if u128::from_ne_bytes(found) == u128::from_ne_bytes(right) {
            SealCheck::Authentic
        } else {
            SealCheck::Forged
        }
    }
}

/// Returns a tag as it stands in a SIR.
#[inline]
#[must_use]
pub fn text(seal: u64) -> [u8; SEAL_LEN] {
    hex::digits(seal.to_be_bytes())
}

/// A tag under way: what all SIRs of one template have in common is hashed once.
#[derive(Clone, Copy)]
pub(super) struct Sealing {
    hasher: SipHasher24,
}

impl std::fmt::Debug for Sealing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The state tells the key.
        formatter.write_str("Sealing")
    }
}

impl Sealing {
    /// Returns the tag over what was hashed, `rest` of the ProvURL, the AOR and the device.
    #[inline]
    pub(super) fn finish(&mut self, rest: &[u8], aor: &[u8], device: &[u8]) -> u64 {
        let hasher = &mut self.hasher;
        hasher.write(rest);
        hasher.write_u8(b'\n');
        hasher.write(aor);
        hasher.write_u8(b'\n');
        hasher.write(device);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sir::{DevicePosition, SirFields};
    use crate::wsp::ApplicationId;

    const KEY: &str = " 000102030405060708090A0B0C0D0E0F\n";
    const URL: &[u8] = b"sip:ppg@192.0.2.1;t=00";
    const AOR: &[u8] = b"sip:+1@h";

    #[test]
    fn the_tag_is_siphash_2_4_of_the_reference() {
        let key = SirKey::from_hex(KEY).expect("a key");
        // The vectors of the paper are over 0, 1, 2 ...; vector 15 is the one it prints.
        let octets: Vec<u8> = (0..15).collect();
        let mut hasher = key.start(&octets).hasher;
        assert_eq!(hasher.finish(), 0xa129_ca61_49be_45e5);
        hasher.write(b"\n\n");
        assert_eq!(key.seal(&octets, b"", b""), hasher.finish());
    }

    #[test]
    fn each_part_counts() {
        let key = SirKey::from_hex(KEY).expect("a key");
        let tag = key.seal(URL, AOR, b"urn:x:1");
        assert_ne!(tag, key.seal(URL, AOR, b"urn:x:2"));
        assert_ne!(tag, key.seal(URL, b"sip:+2@h", b"urn:x:1"));
        assert_ne!(tag, key.seal(b"sip:ppg@192.0.2.2;t=00", AOR, b"urn:x:1"));
        assert_ne!(tag, SirKey::new([1, 2]).seal(URL, AOR, b"urn:x:1"));
        assert_ne!(key.seal(b"a", b"b", b""), key.seal(b"", b"a", b"b"));
    }

    #[test]
    fn unfit_keys_are_refused() {
        for key in [
            "",
            "00",
            "zz0102030405060708090a0b0c0d0e0f",
            "000102030405060708090a0b0c0d0e0f00",
        ] {
            assert_eq!(SirKey::from_hex(key), Err(SirKeyError), "{key}");
        }
        assert_eq!(format!("{:?}", SirKey::new([1, 2])), "SirKey");
    }

    fn check(prov_url: &[u8], device: &[u8]) -> SealCheck {
        let fields = SirFields {
            version: 1,
            applications: &[ApplicationId::Number(1)],
            prov_url,
            device,
            device_position: DevicePosition::Value,
            ..SirFields::default()
        };
        let mut body = [0u8; 256];
        let len = fields.write(&mut body).expect("room");
        let sir = Sir::parse(&body[..len]).expect("a SIR");
        SirKey::from_hex(KEY).expect("a key").check(&sir, AOR)
    }

    #[test]
    fn a_device_tells_right_from_wrong_and_missing_tags() {
        let key = SirKey::from_hex(KEY).expect("a key");
        let device = b"urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
        let tag = text(key.seal(URL, AOR, device));
        let sealed = [URL, b";a=", &tag].concat();
        assert_eq!(check(&sealed, device), SealCheck::Authentic);
        assert_eq!(check(&sealed, b"urn:x:1"), SealCheck::Forged);
        assert_eq!(
            check(&sealed[..sealed.len() - 1], device),
            SealCheck::Forged
        );
        assert_eq!(check(&[URL, b";a="].concat(), device), SealCheck::Forged);
        assert_eq!(check(URL, device), SealCheck::Unsealed);
    }
}
