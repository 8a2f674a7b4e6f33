//! Strict reading of address values: From, To, Contact, Route (RFC 3261 20.10, 25.1).
//!
//! The hot path reads tags with [`super::token::address_params`] and does not come here; `screen`
//! does, for requests that a receiver must refuse.

use memchr::memchr;

use super::token::{is_token_octet, is_white, quoted_len, strict_params, trim, trim_start};
use super::uri::{SipUri, scheme};

/// One value of an address header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address<'a> {
    /// The display name as written, quotes included, empty for none.
    pub display_name: &'a [u8],
    /// The URI without angle brackets.
    pub uri: &'a [u8],
    /// The header parameters, from the first `;` on.
    pub params: &'a [u8],
}

impl<'a> Address<'a> {
    /// Splits the first value off a comma-separated list; what follows starts behind the comma.
    ///
    /// `None` when the value does not follow the grammar.
    #[must_use]
    pub fn split(list: &'a [u8]) -> Option<(Address<'a>, &'a [u8])> {
        let (display_name, uri, rest) = split_uri(trim_start(list))?;
        if !is_well_formed_uri(uri) {
            return None;
        }
        let after = strict_params(rest)?;
        let params = trim(&rest[..rest.len() - after.len()]);
        let rest = match after {
            // A list does not end in a comma.
            [b',', next @ ..] if !trim(next).is_empty() => next,
            [] => after,
            _ => return None,
        };
        Some((
            Address {
                display_name,
                uri,
                params,
            },
            rest,
        ))
    }

    /// Tells whether every value of a comma-separated list follows the grammar.
    #[must_use]
    pub fn is_list(list: &[u8]) -> bool {
        let mut rest = list;
        loop {
            match Address::split(rest) {
                Some((_, [])) => return true,
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
    }
}

/// Splits off display name and URI, in either form.
fn split_uri(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    if text.first() == Some(&b'"') {
        let (name, rest) = text.split_at(quoted_len(text)?);
        let (uri, rest) = bracketed(trim_start(rest))?;
        return Some((name, uri, rest));
    }
    let end = text
        .iter()
        .position(|octet| b"<,;".contains(octet))
        .unwrap_or(text.len());
    if text.get(end) == Some(&b'<') {
        let name = trim(&text[..end]);
        // RFC 3261 25.1: a display name without quotes is tokens and white space.
        let fits = name
            .iter()
            .all(|&octet| is_token_octet(octet) || is_white(octet));
        let (uri, rest) = bracketed(&text[end..]).filter(|_| fits)?;
        return Some((name, uri, rest));
    }
    let uri = trim(&text[..end]);
    // RFC 3261 20.10: a URI with a question mark must stand in angle brackets.
    if memchr(b'?', uri).is_some() {
        return None;
    }
    Some((&[], uri, &text[end..]))
}

fn bracketed(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = text.strip_prefix(b"<")?;
    let end = memchr(b'>', inner)?;
    Some((&inner[..end], &inner[end + 1..]))
}

/// Tells whether `uri` is a valid SIP URI, or looks like a URI of another scheme.
fn is_well_formed_uri(uri: &[u8]) -> bool {
    let Some(scheme) = scheme(uri) else {
        return false;
    };
    if scheme.eq_ignore_ascii_case(b"sip") || scheme.eq_ignore_ascii_case(b"sips") {
        return SipUri::parse(uri).is_some();
    }
    uri.len() > scheme.len() + 1
        && uri
            .iter()
            .all(|octet| octet.is_ascii_graphic() && !b"<>\"".contains(octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_all_forms() {
        let list = b"\"A, <b>\" <sip:a@h;x=y>;q=0.3;e=\"f,g\" , sip:c@h;tag=1,T. W<tel:+1>";
        let (first, rest) = Address::split(list).unwrap();
        assert_eq!(first.display_name, b"\"A, <b>\"");
        assert_eq!(first.uri, b"sip:a@h;x=y");
        assert_eq!(first.params, b";q=0.3;e=\"f,g\"");
        let (second, rest) = Address::split(rest).unwrap();
        assert_eq!(
            (second.uri, second.params),
            (&b"sip:c@h"[..], &b";tag=1"[..])
        );
        let (third, rest) = Address::split(rest).unwrap();
        assert_eq!(
            (third.display_name, third.uri),
            (&b"T. W"[..], &b"tel:+1"[..])
        );
        assert!(rest.is_empty());
        assert!(Address::is_list(list));
    }

    #[test]
    fn refuses_what_the_grammar_refuses() {
        for list in [
            "",
            ",",
            "sip:a@h,",
            "\"A <sip:a@h>",
            "A, B <sip:a@h>",
            "< sip:a@h>",
            "<sip:a@h",
            "sip:a@h?x=y",
            "<sip:a@h>;;",
            "<sip:a@h>;=x",
            "<sip:a@h> x",
            "sip:a@h x",
            "nouri",
            "<sip:a@h>;tag=a b",
        ] {
            assert!(!Address::is_list(list.as_bytes()), "{list}");
        }
    }
}
