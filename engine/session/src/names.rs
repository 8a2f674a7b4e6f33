//! The names of sessions on the wire: To tag, branch and MSRP session of ours, and how they are recognised.
//!
//! Each is the session's handle and a keyed tag in hexadecimal digits. The tag of a To tag covers Call-ID and the
//! peer's tag as well, so one comparison says that a request belongs to the dialog, without looking at its texts and
//! even after it has ended. Other widths than a SIR's branch, so the two are never mixed up.

use crate::hexadecimal::{hexadecimal, value};
use crate::wheel::Handle;
use siphasher::sip::SipHasher13;
use sirocco_wire::sip::via::BRANCH_COOKIE;
use std::hash::Hasher;
use std::net::IpAddr;

/// Octets of a branch of ours: cookie, `s`, handle, CSeq number, tag.
pub const BRANCH_BYTES: usize = 7 + 1 + 16 + 8 + 16;

/// Why a To tag names no session of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFault {
    /// Not the form of ours: of somebody else, or of a refusal.
    Foreign,
    /// The right form, but not for this dialog: forged, or from before a restart.
    Forged,
}

/// What a keyed hash is for, so that no name serves as another.
#[derive(Clone, Copy)]
enum Domain {
    Dialog = 1,
    ToTag,
    Branch,
    Refusal,
    Transaction,
    Msrp,
    MsrpEnd,
    Source,
}

/// Octets of a session's name in our MSRP path: handle, tag of 128 bits.
pub const MSRP_SESSION_BYTES: usize = 48;

/// Gives and recognises names under one secret key.
pub struct Names {
    hasher: SipHasher13,
}

impl Names {
    /// Builds the naming from a secret 128-bit key.
    pub fn new(key: [u64; 2]) -> Self {
        Self {
            hasher: SipHasher13::new_with_keys(key[0], key[1]),
        }
    }

    /// What Call-ID and the peer's tag come to: half of a dialog's identity.
    #[inline]
    pub fn fingerprint(&self, call_id: &[u8], from_tag: &[u8]) -> u64 {
        let mut hasher = self.hasher;
        hasher.write(call_id);
        hasher.write(from_tag);
        hasher.write_u64((call_id.len() as u64) << 8 | Domain::Dialog as u64);
        hasher.finish()
    }

    /// What identifies an INVITE's transaction (RFC 3261 17.2.3) within its dialog, in 16 bits.
    #[inline]
    pub fn transaction(&self, branch: &[u8], sent_by: &[u8]) -> u16 {
        let mut hasher = self.hasher;
        hasher.write(branch);
        hasher.write(sent_by);
        hasher.write_u64((branch.len() as u64) << 8 | Domain::Transaction as u64);
        hasher.finish() as u16
    }

    /// The To tag of a session: 32 digits.
    #[inline]
    pub fn to_tag(&self, handle: Handle, fingerprint: u64) -> [u8; 32] {
        let word = pack(handle);
        let mut digits = [0; 32];
        digits[..16].copy_from_slice(&hexadecimal(word));
        digits[16..].copy_from_slice(&hexadecimal(self.tag(word, fingerprint, Domain::ToTag)));
        digits
    }

    /// The name of a session in our MSRP path. RFC 4975 14.1: who knows it may bind the session, so it cannot be told
    /// from the To tag and has 128 bits that nobody guesses.
    pub fn msrp_session(&self, handle: Handle, fingerprint: u64) -> [u8; MSRP_SESSION_BYTES] {
        let word = pack(handle);
        let mut digits = [0; MSRP_SESSION_BYTES];
        digits[..16].copy_from_slice(&hexadecimal(word));
        digits[16..32].copy_from_slice(&hexadecimal(self.tag(word, fingerprint, Domain::Msrp)));
        digits[32..].copy_from_slice(&hexadecimal(self.tag(word, fingerprint, Domain::MsrpEnd)));
        digits
    }

    /// The handle that a To tag names in the dialog of `fingerprint`; the session may be over.
    #[inline]
    pub fn recognise(&self, tag: &[u8], fingerprint: u64) -> Result<Handle, NameFault> {
        let (word, known) = halves(tag).ok_or(NameFault::Foreign)?;
        if self.tag(word, fingerprint, Domain::ToTag) != known {
            return Err(NameFault::Forged);
        }
        Ok(unpack(word))
    }

    /// The To tag of a refusal, the same for each retransmission (RFC 3261 8.2.7): 16 digits.
    #[inline]
    pub fn refusal_tag(&self, fingerprint: u64) -> [u8; 16] {
        hexadecimal(self.tag(0, fingerprint, Domain::Refusal))
    }

    /// What stands for a source address; nobody can choose another address that has the same.
    pub fn source(&self, ip: IpAddr) -> u64 {
        let bits = match ip.to_canonical() {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            // A host has a whole network of /64 to send from.
            IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
        };
        self.tag(bits, 0, Domain::Source)
    }

    /// The branch of request `cseq` of a session.
    #[inline]
    pub fn branch(&self, handle: Handle, cseq: u32) -> [u8; BRANCH_BYTES] {
        let word = pack(handle);
        let mut branch = [b's'; BRANCH_BYTES];
        branch[..7].copy_from_slice(BRANCH_COOKIE);
        branch[8..24].copy_from_slice(&hexadecimal(word));
        branch[24..32].copy_from_slice(&hexadecimal(u64::from(cseq))[8..]);
        let tag = self.tag(word, u64::from(cseq), Domain::Branch);
        branch[32..].copy_from_slice(&hexadecimal(tag));
        branch
    }

    /// The session and CSeq number that a branch names; `None` when it is none of ours.
    #[inline]
    pub fn recognise_branch(&self, branch: &[u8]) -> Option<(Handle, u32)> {
        let branch: &[u8; BRANCH_BYTES] = branch.try_into().ok()?;
        if &branch[..7] != BRANCH_COOKIE || branch[7] != b's' {
            return None;
        }
        let word = value(branch[8..].first_chunk()?)?;
        // The digits from the handle's last eight on are those of the CSeq number behind them.
        let cseq = value(branch[16..].first_chunk()?)? as u32;
        let known = value(branch.last_chunk()?)?;
        let tag = self.tag(word, u64::from(cseq), Domain::Branch);
        (tag == known).then(|| (unpack(word), cseq))
    }

    #[inline]
    fn tag(&self, word: u64, other: u64, domain: Domain) -> u64 {
        let mut hasher = self.hasher;
        hasher.write_u64(word);
        hasher.write_u64(other ^ (domain as u64) << 56);
        hasher.finish()
    }
}

/// The handle that a session's name in an MSRP path says; whether the name holds is told by comparison.
pub fn msrp_handle(name: &[u8]) -> Option<Handle> {
    Some(unpack(value(name.first_chunk()?)?))
}

#[inline]
fn pack(handle: Handle) -> u64 {
    u64::from(handle.slot) << 32 | u64::from(handle.generation)
}

#[inline]
fn unpack(word: u64) -> Handle {
    Handle {
        slot: (word >> 32) as u32,
        generation: word as u32,
    }
}

#[inline]
fn halves(digits: &[u8]) -> Option<(u64, u64)> {
    let digits: &[u8; 32] = digits.try_into().ok()?;
    Some((value(digits.first_chunk()?)?, value(digits.last_chunk()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_are_recognised_for_their_own_dialog_only(
            slot: u32, generation: u32, cseq: u32, fingerprint: u64, other: u64,
        ) {
            let names = Names::new([1, 2]);
            let handle = Handle { slot, generation };
            let tag = names.to_tag(handle, fingerprint);
            prop_assert_eq!(names.recognise(&tag, fingerprint), Ok(handle));
            prop_assume!(other != fingerprint);
            prop_assert_eq!(names.recognise(&tag, other), Err(NameFault::Forged));
            let branch = names.branch(handle, cseq);
            prop_assert_eq!(names.recognise_branch(&branch), Some((handle, cseq)));
        }

        #[test]
        fn other_octets_are_refused(octets in proptest::collection::vec(any::<u8>(), 0..64)) {
            let names = Names::new([1, 2]);
            prop_assert!(names.recognise(&octets, 1).is_err());
            prop_assert!(names.recognise_branch(&octets).is_none());
        }
    }

    #[test]
    fn a_changed_digit_is_no_name() {
        let names = Names::new([3, 4]);
        let handle = Handle {
            slot: 7,
            generation: 9,
        };
        let branch = names.branch(handle, 2);
        for index in 0..branch.len() {
            let mut changed = branch;
            changed[index] = if changed[index] == b'0' { b'1' } else { b'0' };
            assert!(names.recognise_branch(&changed).is_none(), "octet {index}");
        }
        let tag = names.to_tag(handle, 5);
        for index in 0..tag.len() {
            let mut changed = tag;
            changed[index] = if changed[index] == b'0' { b'1' } else { b'0' };
            assert_eq!(names.recognise(&changed, 5), Err(NameFault::Forged));
        }
    }

    #[test]
    fn what_stands_in_the_call_id_is_not_what_stands_in_the_tag() {
        let names = Names::new([1, 2]);
        assert_ne!(
            names.fingerprint(b"ab", b"c"),
            names.fingerprint(b"a", b"bc")
        );
        assert_ne!(
            names.transaction(b"ab", b"c"),
            names.transaction(b"a", b"bc")
        );
    }
}
