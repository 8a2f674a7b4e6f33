//! Texts that a target carries with it: what does not fit a transaction slot and may leave the index.
//!
//! A SIR is rendered anew for each transmission, perhaps long after its device has left the index, and
//! the numbers under which the index keeps texts and IPv6 contacts are used again then. So a target whose
//! Request-URI or address is not all in its 64 bytes gets an entry here for as long as it lives. The
//! entry has the final octets: `gr` escaped, an IMEI obfuscated, a GRUU as the whole Request-URI. Targets
//! of packed identities and packed devices have none and pay one branch.

use crate::ledger::Cause;
use crate::pending::{Fingerprint, Pending};
use crate::templates::packed;
use crate::transaction::Target;
use sirocco_index::{
    DEVICE_TEXT_MAX, Device, DeviceKind, Identity, IdentityText, Index, NEXT_HOP_DIRECT,
};
use sirocco_wire::identity::{PackedDevice, obfuscate_imei, parameter_len, write_parameter};
use sirocco_wire::sip::uri::SipUri;
use std::net::SocketAddr;

/// Set in the shape of a target whose key is the number of an entry: shapes have 20 bits.
const KEPT: u32 = 1 << 31;
/// Top nibble of an identity's key that refers to text in the index.
const TEXT_NIBBLE: u64 = 0xf;

/// Stands for the device where the Request-URI has none.
pub const NO_DEVICE: [u8; 16] = [0; 16];

/// Where a SIR carries the device identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In its Request-URI, perhaps in its body too.
    #[default]
    RequestUri,
    /// In its body alone.
    Body,
    /// Nowhere.
    Nowhere,
}

/// What one target carries.
pub struct Kept {
    octets: Vec<u8>,
    aor_len: usize,
    contact: Option<SocketAddr>,
    fingerprint: Fingerprint,
}

impl Kept {
    /// The AOR, or a GRUU that is a Request-URI by itself.
    #[inline]
    #[must_use]
    pub fn aor(&self) -> &[u8] {
        &self.octets[..self.aor_len]
    }

    /// The value of `gr`; empty where the Request-URI has none of ours.
    #[inline]
    #[must_use]
    pub fn device(&self) -> &[u8] {
        &self.octets[self.aor_len..]
    }

    /// Both, as one text that names the Request-URI.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Where a direct device is.
    #[must_use]
    pub fn contact(&self) -> Option<SocketAddr> {
        self.contact
    }

    /// The fingerprint of the Request-URI.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// All entries of one shard; as many as there are open and waiting targets that need one.
pub struct KeptTexts {
    entries: Vec<Kept>,
    free: Vec<u32>,
    /// The operator's secret namespace of obfuscated IMEIs.
    imei_namespace: Option<[u8; 16]>,
}

/// Whether an identity's user part is text in the index, whose number may come to mean another one.
#[inline]
#[must_use]
pub fn is_text(identity: Identity) -> bool {
    identity.key >> 60 == TEXT_NIBBLE
}

/// Whether a target of this identity and device needs an entry. Claim 4: of a device that its SIR does not
/// name the identity is not looked at, so neither its text nor its obfuscated form is kept.
#[inline]
#[must_use]
pub fn needs_keeping(identity: Identity, device: &Device, place: Place) -> bool {
    let is_named = place != Place::Nowhere;
    is_text(identity)
        || (is_named && (device.has_text_id() || device.kind() == DeviceKind::Imei))
        || (device.next_hop == NEXT_HOP_DIRECT && device.contact_v4().is_none())
}

/// The number of a target's entry, if it has one.
#[inline]
#[must_use]
fn number(target: &Target) -> Option<u32> {
    (target.shape & KEPT != 0).then_some(target.key as u32)
}

impl KeptTexts {
    /// Builds an empty collection; IMEIs are obfuscated under `imei_namespace`.
    #[must_use]
    pub fn new(imei_namespace: Option<[u8; 16]>) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            imei_namespace,
        }
    }

    /// Keeps what a target needs and returns the key and shape that stand for it.
    ///
    /// # Errors
    /// The cause why no SIR can be made: an IMEI without namespace, a user or GRUU that is no Request-URI.
    pub fn keep(
        &mut self,
        (index, pending): (&Index, &Pending),
        identity: Identity,
        (device, place): (&Device, Place),
    ) -> Result<Identity, Cause> {
        let number = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Kept {
                octets: Vec::with_capacity(2 * DEVICE_TEXT_MAX),
                aor_len: 0,
                contact: None,
                fingerprint: pending.fingerprint(identity, device.packed_id()),
            });
            (self.entries.len() - 1) as u32
        });
        let kept = &mut self.entries[number as usize];
        let mut digits = [0; 16];
        let aor = index.unpack(identity, &mut digits);
        let spelled = kept.spell(&aor, (index, device), place, self.imei_namespace.as_ref());
        if let Err(cause) = spelled {
            self.free.push(number);
            return Err(cause);
        }
        kept.contact = index.contact(device);
        let is_packed =
            !is_text(identity) && !device.has_text_id() && device.kind() != DeviceKind::Imei;
        // The same Request-URI has one fingerprint, whether its target needs an entry or not.
        kept.fingerprint = if place != Place::RequestUri {
            match is_text(identity) {
                true => pending.fingerprint_text(kept.aor()),
                false => pending.fingerprint(identity, &NO_DEVICE),
            }
        } else if is_packed {
            pending.fingerprint(identity, device.packed_id())
        } else {
            pending.fingerprint_text(&kept.octets)
        };
        Ok(Identity {
            key: u64::from(number),
            shape: KEPT,
        })
    }

    /// What a target carries; `None` if all of it is in the target.
    #[inline]
    #[must_use]
    pub fn of(&self, target: &Target) -> Option<&Kept> {
        number(target).map(|number| &self.entries[number as usize])
    }

    /// Lets go of what a target carries; the target has ended.
    #[inline]
    pub fn release(&mut self, target: &Target) {
        if let Some(number) = number(target) {
            self.free.push(number);
        }
    }

    /// The obfuscated form of an IMEI, the only one that leaves the engine; `text` is the identity
    /// where it is not packed.
    #[must_use]
    pub fn obfuscated(&self, imei: &Device, text: &[u8]) -> Option<PackedDevice> {
        obfuscated(imei, text, self.imei_namespace.as_ref())
    }

    /// Entries in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether no target carries anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Kept {
    /// Writes the Request-URI's AOR and device in their final octets.
    fn spell(
        &mut self,
        aor: &IdentityText<'_>,
        (index, device): (&Index, &Device),
        place: Place,
        namespace: Option<&[u8; 16]>,
    ) -> Result<(), Cause> {
        self.octets.clear();
        let text = index.device_id_text(device);
        // RFC 3261 8.1.2, 26.2.2: what a SIPS URI names is reached over TLS only.
        if aor.prefix.starts_with(b"sips:") {
            return Err(Cause::Unroutable);
        }
        if place == Place::RequestUri && device.has_text_id() && device.kind() == DeviceKind::Gruu {
            // RFC 5627 4.5: a request to a GRUU has it as its Request-URI, whole.
            let uri = SipUri::parse(text);
            let uri = uri.filter(|uri| !uri.secure && uri.headers().next().is_none());
            uri.and_then(|uri| uri.gruu()).ok_or(Cause::Unroutable)?;
            self.octets.extend_from_slice(text);
            self.aor_len = text.len();
            return Ok(());
        }
        // RFC 5627 3.1: a GRUU is a SIP URI, so that a `tel` URI takes no `gr`.
        if !aor.prefix.starts_with(b"sip:") {
            return Err(Cause::Unroutable);
        }
        for part in [aor.prefix, aor.user, aor.suffix] {
            self.octets.extend_from_slice(part);
        }
        self.aor_len = self.octets.len();
        if place == Place::Nowhere {
            return Ok(());
        }
        if device.kind() == DeviceKind::Imei {
            let hidden = obfuscated(device, text, namespace);
            self.put_packed(&hidden.ok_or(Cause::ImeiNamespace)?);
        } else if device.has_text_id() {
            let length = self.aor_len + parameter_len(text);
            self.octets.resize(length, 0);
            write_parameter(text, &mut self.octets[self.aor_len..]);
        } else {
            self.put_packed(&packed(device));
        }
        Ok(())
    }

    fn put_packed(&mut self, device: &PackedDevice) {
        self.octets.resize(self.aor_len + device.urn_len(), 0);
        device.write_urn(&mut self.octets[self.aor_len..]);
    }
}

fn obfuscated(imei: &Device, text: &[u8], namespace: Option<&[u8; 16]>) -> Option<PackedDevice> {
    if imei.has_text_id() {
        return obfuscate_imei(text, namespace?);
    }
    let mut urn = [0; DEVICE_TEXT_MAX];
    let length = packed(imei).write_urn(&mut urn);
    obfuscate_imei(&urn[..length], namespace?)
}
