//! Lexical rules shared by the SIP readers: tokens, white space, numbers, quoted strings,
//! parameters (RFC 3261 25.1). Nothing here allocates; every scan is linear.

use memchr::{memchr, memchr3};

/// Tells whether `octet` may stand in a token (RFC 3261 25.1).
#[must_use]
pub const fn is_token_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric()
        || matches!(
            octet,
            b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
        )
}

/// Which octets may stand in a token, by octet.
const TOKEN_OCTETS: [bool; 256] = {
    let mut table = [false; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = is_token_octet(octet as u8);
        octet += 1;
    }
    table
};

/// Tells whether `octets` is one token: not empty, token octets only.
#[inline]
#[must_use]
pub fn is_token(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().all(|&octet| TOKEN_OCTETS[usize::from(octet)])
}

/// Tells whether `octet` is white space inside a header field; CR and LF count, as folding
/// (RFC 3261 7.3.1) leaves them in borrowed values.
#[inline]
#[must_use]
pub const fn is_white(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

/// Cuts white space off both ends.
#[inline]
#[must_use]
pub fn trim(mut octets: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = octets {
        if !is_white(*first) {
            break;
        }
        octets = rest;
    }
    while let [rest @ .., last] = octets {
        if !is_white(*last) {
            break;
        }
        octets = rest;
    }
    octets
}

/// Cuts white space off the front.
#[inline]
#[must_use]
pub fn trim_start(octets: &[u8]) -> &[u8] {
    let start = octets
        .iter()
        .position(|&octet| !is_white(octet))
        .unwrap_or(octets.len());
    &octets[start..]
}

/// Reads decimal digits only; `None` when empty, not digits, or above `u32::MAX`.
#[inline]
#[must_use]
pub fn decimal(octets: &[u8]) -> Option<u32> {
    if octets.is_empty() {
        return None;
    }
    let mut value: u32 = 0;
    for &octet in octets {
        if !octet.is_ascii_digit() {
            return None;
        }
        value = value
            .checked_mul(10)?
            .checked_add(u32::from(octet - b'0'))?;
    }
    Some(value)
}

/// Splits leading decimal digits off `octets`; `None` when there are none or they exceed `u32`.
#[inline]
#[must_use]
pub fn leading_decimal(octets: &[u8]) -> Option<(u32, &[u8])> {
    let count = octets
        .iter()
        .take_while(|octet| octet.is_ascii_digit())
        .count();
    let (digits, rest) = octets.split_at(count);
    Some((decimal(digits)?, rest))
}

/// Returns the length of the quoted string that `octets` starts with, both quotes included;
/// `None` when it does not start with a quote or never ends.
#[must_use]
pub fn quoted_len(octets: &[u8]) -> Option<usize> {
    if octets.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    while at < octets.len() {
        let step = memchr::memchr2(b'"', b'\\', octets.get(at..)?)?;
        if octets[at + step] == b'"' {
            return Some(at + step + 1);
        }
        // RFC 3261 25.1: a backslash quotes the octet that follows it.
        at += step + 2;
    }
    None
}

/// Returns the offset of the first `a` or `b` outside quoted strings, or the length.
#[must_use]
pub fn find_unquoted(octets: &[u8], a: u8, b: u8) -> usize {
    let mut at = 0;
    while let Some(step) = memchr3(a, b, b'"', &octets[at..]) {
        at += step;
        if octets[at] != b'"' {
            return at;
        }
        match quoted_len(&octets[at..]) {
            Some(len) => at += len,
            None => break,
        }
    }
    octets.len()
}

/// One `;name=value` parameter; the value is empty when there is no `=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param<'a> {
    /// The name as written.
    pub name: &'a [u8],
    /// The value as written, quotes included; `None` when the parameter is a bare name.
    pub value: Option<&'a [u8]>,
}

/// Iterates over `;name=value;...`, ending at an unquoted comma.
#[derive(Debug, Clone, Copy)]
pub struct Params<'a> {
    rest: &'a [u8],
}

impl<'a> Params<'a> {
    /// Starts at `octets`, which is empty or begins with white space or `;`.
    #[must_use]
    pub fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    /// Returns the first parameter called `name` (case does not matter).
    #[must_use]
    pub fn find(mut self, name: &[u8]) -> Option<Param<'a>> {
        Iterator::find(&mut self, |param| param.name.eq_ignore_ascii_case(name))
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = Param<'a>;

    fn next(&mut self) -> Option<Param<'a>> {
        let mut start = self.rest;
        while let [first, rest @ ..] = start {
            if !is_white(*first) {
                break;
            }
            start = rest;
        }
        let [b';', body @ ..] = start else {
            self.rest = &[];
            return None;
        };
        let end = find_unquoted(body, b';', b',');
        self.rest = &body[end..];
        let text = &body[..end];
        Some(match memchr(b'=', text) {
            Some(equals) => Param {
                name: trim(&text[..equals]),
                value: Some(trim(&text[equals + 1..])),
            },
            None => Param {
                name: trim(text),
                value: None,
            },
        })
    }
}

/// Checks `;name=value` parameters against the grammar and returns what follows them: nothing, or
/// the comma that ends the value they belong to. `None` when they are malformed.
///
/// A value is a quoted string or octets of tokens and hosts, IPv6 addresses with or without
/// brackets (RFC 5118 4.5).
#[must_use]
pub fn strict_params(octets: &[u8]) -> Option<&[u8]> {
    let mut rest = trim_start(octets);
    while let [b';', after @ ..] = rest {
        rest = trim_start(after);
        let name = rest
            .iter()
            .take_while(|&&octet| is_token_octet(octet))
            .count();
        if name == 0 {
            return None;
        }
        rest = trim_start(&rest[name..]);
        let [b'=', after @ ..] = rest else {
            continue;
        };
        rest = trim_start(after);
        let value = match quoted_len(rest) {
            Some(len) => len,
            None => {
                let fits =
                    |octet: &&u8| TOKEN_OCTETS[usize::from(**octet)] || b"[]:".contains(octet);
                rest.iter().take_while(fits).count()
            }
        };
        if value == 0 {
            return None;
        }
        rest = trim_start(&rest[value..]);
    }
    (rest.is_empty() || rest[0] == b',').then_some(rest)
}

/// Returns the parameters that follow the address of a From, To or Contact value.
///
/// RFC 3261 20: without angle brackets every `;` parameter belongs to the header field.
#[must_use]
pub fn address_params(value: &[u8]) -> Params<'_> {
    let mut at = find_unquoted(value, b'<', b'<');
    if at < value.len() {
        at += memchr(b'>', &value[at..]).map_or(value.len() - at, |step| step + 1);
        return Params::new(&value[at..]);
    }
    at = find_unquoted(value, b';', b',');
    Params::new(&value[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_respect_quotes_and_commas() {
        let mut params = Params::new(b" ;a=\"x;,\\\"y\" ; B ;c= d , ;e=f");
        assert_eq!(params.next().unwrap().value, Some(&b"\"x;,\\\"y\""[..]));
        assert_eq!(
            params.next(),
            Some(Param {
                name: b"B",
                value: None
            })
        );
        assert_eq!(
            params.next(),
            Some(Param {
                name: b"c",
                value: Some(b"d")
            })
        );
        assert_eq!(params.next(), None);
    }

    #[test]
    fn address_params_skip_display_name_and_uri() {
        let value = b"\"a <b;tag=no\" <sip:x@y;tag=no>;tag=yes";
        assert_eq!(
            address_params(value).find(b"TAG").unwrap().value,
            Some(&b"yes"[..])
        );
        let bare = b"sip:x@y;tag=1";
        assert_eq!(
            address_params(bare).find(b"tag").unwrap().value,
            Some(&b"1"[..])
        );
    }

    #[test]
    fn numbers_do_not_overflow() {
        assert_eq!(decimal(b"4294967295"), Some(u32::MAX));
        assert_eq!(decimal(b"4294967296"), None);
        assert_eq!(decimal(b""), None);
        assert_eq!(decimal(b"-1"), None);
        assert_eq!(leading_decimal(b"12 x"), Some((12, &b" x"[..])));
    }

    #[test]
    fn unbalanced_quote_has_no_length() {
        assert_eq!(quoted_len(b"\"abc\\\""), None);
        assert_eq!(quoted_len(b"\"ab\\\"c\" x"), Some(7));
        assert_eq!(quoted_len(b"\"\\"), None);
    }
}
