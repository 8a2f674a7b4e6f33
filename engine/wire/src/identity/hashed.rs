//! Identities derived by SHA-1: the obfuscated form of an IMEI, and the pseudo-ESN of a MEID.
//!
//! SHA-1 is what the standards name; no secrecy rests on its collision resistance, but that of an
//! obfuscated IMEI rests on the namespace: IMEIs are few enough to be tried one by one.

use super::{DeviceIdentity, DeviceKind, PackedDevice, imei, packed};

/// First octet of every pseudo-ESN: a manufacturer code that no ESN has.
const PSEUDO_ESN: u8 = 0x80;

/// Returns the identity under which a device with an IMEI may be named to others: a UUID.
///
/// RFC 7255 requires a registrar to obfuscate an IMEI before it makes a `gr` of it. The UUID is
/// name-based (RFC 4122 4.3, version 5) over type allocation code and serial number, so software
/// updates do not change it. `namespace` is secret and random, one for an operator. `None` when
/// `text` is no IMEI URN.
#[must_use]
pub fn obfuscate_imei(text: &[u8], namespace: &[u8; 16]) -> Option<PackedDevice> {
    let device = DeviceIdentity::parse(text).filter(|device| device.kind == DeviceKind::Imei)?;
    let packed = PackedDevice::pack(device.text)?;
    let mut number = imei::Imei::unpack(&packed.bytes).number();
    // RFC 7254 4.2.3: the spare digit is 0 on the wire, whatever check digit a data base keeps there.
    number[16] = b'0';
    let mut hash = sha1_smol::Sha1::new();
    hash.update(namespace);
    hash.update(b"urn:gsma:imei:");
    hash.update(&number);
    let digest = hash.digest().bytes();
    let mut bytes: [u8; 16] = std::array::from_fn(|index| digest[index]);
    // RFC 4122 4.1.1, 4.1.3: version 5, variant 1 0 x.
    bytes[6] = bytes[6] & 0x0F | 0x50;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    Some(PackedDevice {
        kind: DeviceKind::Uuid as u8,
        bytes,
    })
}

/// Returns the pseudo-ESN of a MEID URN: 0x80 and the last 24 bits of its SHA-1.
///
/// Several MEIDs share one pseudo-ESN: it is no proof of identity. `None` when `text` is no MEID.
#[must_use]
pub fn pseudo_esn(text: &[u8]) -> Option<PackedDevice> {
    let meid = packed::esn(text).filter(packed::is_meid)?;
    let digest = sha1_smol::Sha1::from(&meid[..packed::MEID_LEN])
        .digest()
        .bytes();
    let mut bytes = [0u8; 16];
    bytes[0] = PSEUDO_ESN;
    bytes[1..4].copy_from_slice(&digest[17..]);
    Some(PackedDevice {
        kind: DeviceKind::Esn as u8,
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(packed: PackedDevice) -> String {
        let mut out = vec![0; packed.urn_len()];
        packed.write_urn(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn obfuscation_keeps_the_device_and_hides_the_number() {
        let namespace = b"\xf8\x1d\x4f\xae\x7d\xec\x11\xd0\xa7\x65\x00\xa0\xc9\x1e\x6b\xf6";
        let plain = obfuscate_imei(b"urn:gsma:imei:90420156-025763-0", namespace).unwrap();
        // Computed with an independent implementation of version 5 UUIDs.
        assert_eq!(text(plain), "urn:uuid:bd3c1181-12e1-5530-b3d7-d44cb7c9e268");
        let updated = obfuscate_imei(b"urn:gsma:imei:90420156-025763-0;svn=42", namespace);
        assert_eq!(updated, Some(plain));
        let checked = obfuscate_imei(b"urn:gsma:imei:90420156-025763-7", namespace);
        assert_eq!(checked, Some(plain), "a check digit is not hashed");
        let elsewhere = obfuscate_imei(b"urn:gsma:imei:90420156-025763-0", &[7; 16]);
        assert_ne!(elsewhere, Some(plain));
        assert_eq!(
            obfuscate_imei(b"urn:dev:mac:0024befffe804ff1", namespace),
            None
        );
    }

    #[test]
    fn pseudo_esn_of_a_known_meid() {
        let esn = pseudo_esn(b"urn:3gpp2:meid:AF012345-0ABCDE").unwrap();
        assert_eq!(text(esn), "urn:3gpp2:esn:8016b128");
        assert_eq!(pseudo_esn(b"urn:3gpp2:esn:8016b128"), None);
    }
}
