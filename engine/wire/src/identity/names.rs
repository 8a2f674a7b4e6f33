//! Recognition of identity text by its prefix, and the canonical form of what does not pack.

use std::borrow::Cow;

use super::{DeviceKind, epc, hex, imei, packed};
use crate::sip::uri::{SipUri, scheme};

pub(super) const UUID_PREFIX: &[u8] = b"urn:uuid:";
pub(super) const IMEI_PREFIX: &[u8] = b"urn:gsma:imei:";
pub(super) const EPC_PREFIX: &[u8] = b"urn:epc:id:";
pub(super) const ESN_PREFIX: &[u8] = b"urn:3gpp2:esn:";
pub(super) const MEID_PREFIX: &[u8] = b"urn:3gpp2:meid:";
pub(super) const MAC_PREFIX: &[u8] = b"urn:dev:mac:";

/// Strips `prefix`, case folded.
pub(super) fn strip_prefix_fold<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Reads an `ni` URI: algorithm and digest text; `;` may be escaped.
///
/// RFC 6920 3: authority and query do not change what is named.
fn named_information(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = strip_prefix_fold(text, b"ni://")?;
    let rest = &rest[memchr::memchr(b'/', rest)? + 1..];
    let rest = &rest[..memchr::memchr(b'?', rest).unwrap_or(rest.len())];
    let end = memchr::memchr2(b';', b'%', rest)?;
    let (algorithm, digest) = rest.split_at(end);
    let digest = strip_prefix_fold(digest, b";").or_else(|| strip_prefix_fold(digest, b"%3B"))?;
    Some((algorithm, digest))
}

/// Reads a fingerprint that keeps the first 128 bits of a SHA-256.
pub(super) fn sha_256_128(text: &[u8]) -> Option<[u8; 16]> {
    let (algorithm, digest) = named_information(text)?;
    let known = algorithm.eq_ignore_ascii_case(b"sha-256-128");
    known.then(|| hex::from_base64url(digest)).flatten()
}

/// Reads a fingerprint that is a whole SHA-256, as its text.
fn sha_256(text: &[u8]) -> Option<&[u8]> {
    let (algorithm, digest) = named_information(text)?;
    let whole = algorithm.eq_ignore_ascii_case(b"sha-256");
    (whole && hex::from_base64url::<32>(digest).is_some()).then_some(digest)
}

/// Names the kind of `text` after validating it.
pub(super) fn recognise(text: &[u8]) -> Option<DeviceKind> {
    if packed::uuid(text).is_some() {
        return Some(DeviceKind::Uuid);
    }
    if packed::mac(text).is_some() {
        return Some(DeviceKind::Mac);
    }
    if strip_prefix_fold(text, b"ni:").is_some() {
        let known = sha_256_128(text).is_some() || sha_256(text).is_some();
        return known.then_some(DeviceKind::Fingerprint);
    }
    if strip_prefix_fold(text, b"urn:").is_some() {
        return recognise_urn(text);
    }
    if let Some(uri) = SipUri::parse(text) {
        return Some(if uri.gruu().is_some() {
            DeviceKind::Gruu
        } else {
            DeviceKind::Uri
        });
    }
    let scheme = scheme(text)?;
    let is_sip = scheme.eq_ignore_ascii_case(b"sip") || scheme.eq_ignore_ascii_case(b"sips");
    let octets_fit = text.iter().all(|octet| !b"\"<>\\^`{|}".contains(octet));
    (!is_sip && octets_fit && text.len() > scheme.len() + 1).then_some(DeviceKind::Uri)
}

fn recognise_urn(text: &[u8]) -> Option<DeviceKind> {
    if let Some(rest) = strip_prefix_fold(text, IMEI_PREFIX) {
        return imei::parse(rest).map(|_| DeviceKind::Imei);
    }
    if let Some(rest) = strip_prefix_fold(text, EPC_PREFIX) {
        return epc::is_valid(rest).then_some(DeviceKind::Rfid);
    }
    if strip_prefix_fold(text, b"urn:3gpp2:").is_some() {
        return packed::esn(text).map(|_| DeviceKind::Esn);
    }
    if strip_prefix_fold(text, UUID_PREFIX).is_some()
        || strip_prefix_fold(text, MAC_PREFIX).is_some()
    {
        return None;
    }
    // RFC 8141 2: the namespace has 2 to 32 letters, digits and hyphens, none at its ends.
    let rest = &text[4..];
    let colon = memchr::memchr(b':', rest)?;
    let (namespace, specific) = (&rest[..colon], &rest[colon + 1..]);
    let edge = |octet: Option<&u8>| octet.is_some_and(u8::is_ascii_alphanumeric);
    let namespace_fits = (2..=32).contains(&namespace.len())
        && edge(namespace.first())
        && edge(namespace.last())
        && namespace
            .iter()
            .all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-');
    let name = &specific[..components_start(specific)];
    // RFC 8141 2: a slash may follow, not lead; a question mark only opens a component.
    let name_fits = !name.is_empty() && name[0] != b'/' && !name.contains(&b'?');
    let octets_fit = specific
        .iter()
        .all(|octet| !b"\"<>\\^`{|}[]".contains(octet));
    (namespace_fits && name_fits && octets_fit).then_some(DeviceKind::Urn)
}

/// The canonical form of what does not pack.
pub(super) fn canonical(kind: DeviceKind, text: &[u8]) -> Cow<'_, [u8]> {
    match kind {
        DeviceKind::Gruu => {
            // The device part of a public GRUU, which compares without case; a temporary one has
            // no device part but itself.
            match SipUri::parse(text).and_then(|uri| uri.gruu()) {
                Some(instance) if !instance.is_empty() => Cow::Owned(instance.to_ascii_lowercase()),
                _ => Cow::Owned(canonical_uri(text)),
            }
        }
        DeviceKind::Urn => Cow::Owned(canonical_urn(text)),
        DeviceKind::Uri => Cow::Owned(canonical_uri(text)),
        DeviceKind::Fingerprint => match sha_256(text) {
            Some(hash) => Cow::Owned([&b"ni:///sha-256%3B"[..], hash].concat()),
            None => Cow::Borrowed(text),
        },
        DeviceKind::Rfid => match strip_prefix_fold(text, EPC_PREFIX) {
            Some(rest) => Cow::Owned([EPC_PREFIX, rest].concat()),
            None => Cow::Borrowed(text),
        },
        _ => Cow::Borrowed(text),
    }
}

/// Returns where the r-, q- or f-component starts, or the length (RFC 8141 2.3).
fn components_start(text: &[u8]) -> usize {
    let opens = |pair: &[u8]| pair == b"?+" || pair == b"?=";
    let query = text.windows(2).position(opens).unwrap_or(text.len());
    memchr::memchr(b'#', text).unwrap_or(query).min(query)
}

/// RFC 8141 3.1: `urn` and the namespace fold case, percent escapes fold case, the rest does not;
/// r-, q- and f-components do not count.
pub(super) fn canonical_urn(text: &[u8]) -> Vec<u8> {
    let text = &text[..components_start(text)];
    let mut out = text.to_vec();
    let namespace = memchr::memchr_iter(b':', text).nth(1).unwrap_or(text.len());
    out[..namespace].make_ascii_lowercase();
    fold_escapes(&mut out);
    out
}

fn canonical_uri(text: &[u8]) -> Vec<u8> {
    let mut out = text.to_vec();
    let scheme_end = memchr::memchr(b':', text).unwrap_or(0);
    out[..scheme_end].make_ascii_lowercase();
    if out[scheme_end..].starts_with(b"://") {
        // RFC 3986 6.2.2.1: the host folds case.
        let start = scheme_end + 3;
        let len = out[start..].iter().position(|octet| b"/?#".contains(octet));
        let end = len.map_or(out.len(), |len| start + len);
        out[start..end].make_ascii_lowercase();
    }
    fold_escapes(&mut out);
    out
}

fn fold_escapes(text: &mut [u8]) {
    let mut at = 0;
    while let Some(step) = memchr::memchr(b'%', &text[at..]) {
        at += step + 1;
        let end = text.len().min(at + 2);
        text[at..end].make_ascii_uppercase();
    }
}

/// Tells whether an octet may stand in a URI parameter as it is; `%` starts an escape.
pub(super) fn in_parameter(octet: &u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-_.!~*'()[]/:&+$%".contains(octet)
}

/// Compares two URIs: SIP by RFC 3261 19.1.4, others by RFC 3986 6.2.2.
pub(super) fn same_uri(one: &[u8], other: &[u8]) -> bool {
    match (SipUri::parse(one), SipUri::parse(other)) {
        (Some(one), Some(other)) => one.equivalent(&other),
        (None, None) => canonical_uri(one) == canonical_uri(other),
        _ => false,
    }
}
