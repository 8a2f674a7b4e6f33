//! SIP and SIPS URIs (RFC 3261 19.1) with the GRUU parameter `gr` (RFC 5627): a borrowed view,
//! comparison and the canonical form under which identities are stored.
//!
//! No resolution, no tel URIs beyond their scheme.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use memchr::{memchr, memchr_iter, memchr2};

use super::token::decimal;
use crate::writer::{Overflow, Writer};

/// Most parameters, and most headers, of one URI: far above real ones, and comparison takes the square
/// of it.
pub const PARAMETERS_MAX: usize = 32;

/// A borrowed view of a SIP or SIPS URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SipUri<'a> {
    /// Whether the scheme is sips.
    pub secure: bool,
    /// User part without password, as written; `None` when there is no `@`.
    pub user: Option<&'a [u8]>,
    /// Password, as written.
    pub password: Option<&'a [u8]>,
    /// Host as written, an IPv6 reference with its brackets.
    pub host: &'a [u8],
    /// Port, when given.
    pub port: Option<u16>,
    /// Parameters without the leading `;`.
    params: &'a [u8],
    /// Headers without the leading `?`.
    headers: &'a [u8],
}

/// The port of a SIP URI or sent-by that names none (RFC 3261 18.1.1, 19.1.2).
pub const SIP_PORT: u16 = 5060;

/// Reads a host that is an address, an IPv6 one with or without its brackets; `None` for a name.
#[must_use]
pub fn numeric_host(host: &[u8]) -> Option<IpAddr> {
    let host = std::str::from_utf8(host).ok()?;
    host.trim_matches(['[', ']']).parse().ok()
}

/// Splits `host[:port]`; the port is `Some(0)` when it is no 16-bit number.
#[must_use]
pub fn split_host_port(text: &[u8]) -> (&[u8], Option<u16>) {
    let search = match text.first() {
        Some(b'[') => memchr(b']', text).unwrap_or(0),
        _ => 0,
    };
    let Some(colon) = memchr(b':', &text[search..]).map(|step| search + step) else {
        return (text.trim_ascii(), None);
    };
    let port = decimal(text[colon + 1..].trim_ascii()).and_then(|port| u16::try_from(port).ok());
    (text[..colon].trim_ascii(), Some(port.unwrap_or(0)))
}

/// RFC 3261 25.1, mark: unreserved octets beside letters and digits.
const MARK: &[u8] = b"-_.!~*'()";

/// Which octets a component may hold beside escapes, by octet.
type Octets = [bool; 256];

const USER: Octets = unreserved_and(b"&=+$,;?/");
const PASSWORD: Octets = unreserved_and(b"&=+$,");
const PARAMETERS: Octets = unreserved_and(b"[]/:&+$;=");
const HEADERS: Octets = unreserved_and(b"[]/?:+$&=");
const HOST_NAME: Octets = alphanumeric_and(b"-_.");

const fn alphanumeric_and(extra: &[u8]) -> Octets {
    let mut octets = [false; 256];
    let mut octet = 0;
    while octet < 128 {
        octets[octet] = (octet as u8).is_ascii_alphanumeric();
        octet += 1;
    }
    add(octets, extra)
}

const fn unreserved_and(extra: &[u8]) -> Octets {
    add(alphanumeric_and(MARK), extra)
}

const fn add(mut octets: Octets, extra: &[u8]) -> Octets {
    let mut at = 0;
    while at < extra.len() {
        octets[extra[at] as usize] = true;
        at += 1;
    }
    octets
}

/// Tells whether `text` holds only allowed octets and complete escapes.
fn is_escaped_text(text: &[u8], allowed: &Octets) -> bool {
    let mut rest = text;
    while let [octet, after @ ..] = rest {
        rest = match (octet, after) {
            (b'%', [high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                after
            }
            _ if allowed[usize::from(*octet)] => after,
            _ => return false,
        };
    }
    true
}

/// Tells whether `host` is a host name, an IPv4 address or an IPv6 reference.
#[must_use]
pub fn is_host(host: &[u8]) -> bool {
    if host.first() == Some(&b'[') {
        return ipv6_reference(host).is_some();
    }
    let name = host.strip_suffix(b".").unwrap_or(host);
    let starts = name.first().is_some_and(|first| *first != b'.') && name.last() != Some(&b'.');
    starts
        && name.iter().all(|octet| HOST_NAME[usize::from(*octet)])
        && !name.windows(2).any(|pair| pair == b"..")
}

impl<'a> SipUri<'a> {
    /// Parses a SIP or SIPS URI strictly; `None` for other schemes, for malformed text and
    /// beyond [`PARAMETERS_MAX`].
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<SipUri<'a>> {
        let colon = memchr(b':', text)?;
        let secure = match &text[..colon] {
            scheme if scheme.eq_ignore_ascii_case(b"sip") => false,
            scheme if scheme.eq_ignore_ascii_case(b"sips") => true,
            _ => return None,
        };
        let rest = &text[colon + 1..];
        // RFC 3261 25.1: an unescaped `@` stands only behind the user information; `;` and `?`
        // may be part of it.
        let (userinfo, rest) = match memchr(b'@', rest) {
            Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
            None => (None, rest),
        };
        let host_end = memchr2(b';', b'?', rest).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(host_end);
        let (params, headers) = match memchr(b'?', rest) {
            Some(mark) => (&rest[..mark], &rest[mark + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        let (host, port) = split_host_port(authority);
        let (user, password) = match userinfo.map(|info| (info, memchr(b':', info))) {
            None => (None, None),
            Some((info, None)) => (Some(info), None),
            Some((info, Some(colon))) => (Some(&info[..colon]), Some(&info[colon + 1..])),
        };
        let params = params.strip_prefix(b";").unwrap_or(params);
        let uri = SipUri {
            secure,
            user,
            password,
            host,
            port,
            params,
            headers,
        };
        let trimmed = authority.len() == authority.trim_ascii().len();
        (trimmed && uri.is_well_formed()).then_some(uri)
    }

    fn is_well_formed(&self) -> bool {
        let user = self.user.unwrap_or(b"x");
        !user.is_empty()
            && is_escaped_text(user, &USER)
            && is_escaped_text(self.password.unwrap_or(b""), &PASSWORD)
            && is_host(self.host)
            && self.port != Some(0)
            && is_escaped_text(self.params, &PARAMETERS)
            && is_escaped_text(self.headers, &HEADERS)
            && memchr_iter(b';', self.params).count() < PARAMETERS_MAX
            && memchr_iter(b'&', self.headers).count() < PARAMETERS_MAX
    }

    /// Iterates over the parameters: name and value, the value empty for a bare name.
    pub fn params(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        pairs(self.params, b';')
    }

    /// Iterates over the headers: name and value.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        pairs(self.headers, b'&')
    }

    /// Returns the value of the parameter `name`; a bare name has an empty value.
    #[must_use]
    pub fn param(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.params()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.unwrap_or(b""))
    }

    /// Returns the address that the URI names by number, with [`SIP_PORT`] where it has no port; `None` for a name.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        let ip = numeric_host(self.host)?;
        Some(SocketAddr::new(ip, self.port.unwrap_or(SIP_PORT)))
    }

    /// Returns the `gr` parameter of a GRUU, empty for a temporary one; `None` when this is no
    /// GRUU (RFC 5627 3.1).
    #[must_use]
    pub fn gruu(&self) -> Option<&'a [u8]> {
        self.param(b"gr")
    }

    /// Compares two URIs by RFC 3261 19.1.4.
    ///
    /// RFC 5627 3.1: a public GRUU is equivalent to its AOR, for `gr` in one of them only does not
    /// count. In both, its values compare without case, as all URI components but userinfo do.
    #[must_use]
    pub fn equivalent(&self, other: &SipUri<'_>) -> bool {
        self.secure == other.secure
            && same_escaped(self.user, other.user, false)
            && same_escaped(self.password, other.password, false)
            && same_host(self.host, other.host)
            && self.port == other.port
            && self.params_agree(other)
            && self.headers_agree(other)
    }

    /// RFC 3261 19.1.4: parameters in both must match; user, ttl, method, maddr and transport must
    /// not stand in one only.
    fn params_agree(&self, other: &SipUri<'_>) -> bool {
        const DECISIVE: [&[u8]; 5] = [b"user", b"ttl", b"method", b"maddr", b"transport"];
        let matched = |(name, value): (&[u8], Option<&[u8]>), side: &SipUri<'_>| {
            let mut found = side
                .params()
                .filter(|(known, _)| same_text(known, name, true));
            match found.next() {
                Some((_, other)) => same_escaped(value, other, true),
                None => !DECISIVE
                    .iter()
                    .any(|decisive| same_text(decisive, name, true)),
            }
        };
        self.params().all(|param| matched(param, other))
            && other.params().all(|param| matched(param, self))
    }

    fn headers_agree(&self, other: &SipUri<'_>) -> bool {
        let present = |(name, value): (&[u8], Option<&[u8]>), side: &SipUri<'_>| {
            side.headers().any(|(known, other)| {
                same_text(known, name, true) && same_escaped(value, other, true)
            })
        };
        self.headers().count() == other.headers().count()
            && self.headers().all(|header| present(header, other))
            && other.headers().all(|header| present(header, self))
    }

    /// Writes the canonical form that names an address of record: lower-case scheme and host, no
    /// password, port as given, no parameters, no headers. Returns its length.
    pub fn write_aor(&self, out: &mut [u8]) -> Result<usize, Overflow> {
        let mut writer = Writer::new(out);
        writer.put(if self.secure { b"sips:" } else { b"sip:" })?;
        if let Some(user) = self.user {
            writer.put(user)?;
            writer.put(b"@")?;
        }
        for octet in self.host {
            writer.put_octet(octet.to_ascii_lowercase())?;
        }
        if let Some(port) = self.port {
            writer.put(b":")?;
            writer.put_decimal(u32::from(port))?;
        }
        Ok(writer.len())
    }
}

fn pairs(text: &[u8], separator: u8) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    text.split(move |&octet| octet == separator)
        .filter(|pair| !pair.is_empty())
        .map(|pair| match memchr(b'=', pair) {
            Some(equals) => (&pair[..equals], Some(&pair[equals + 1..])),
            None => (pair, None),
        })
}

/// Replaces escapes of unreserved characters, which RFC 3261 19.1.4 calls equivalent to the
/// characters themselves; reserved ones keep their escape.
fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        let code = match (octet, after) {
            (b'%', [high, low, ..]) => hex_pair(*high, *low),
            _ => None,
        };
        match code {
            Some(code) if code.is_ascii_alphanumeric() || MARK.contains(&code) => {
                out.push(code);
                rest = &after[2..];
            }
            Some(_) => {
                out.push(b'%');
                out.extend(after[..2].iter().map(u8::to_ascii_uppercase));
                rest = &after[2..];
            }
            None => out.push(octet),
        }
    }
    Cow::Owned(out)
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |octet: u8| char::from(octet).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

fn same_text(one: &[u8], other: &[u8], fold_case: bool) -> bool {
    if fold_case {
        one.eq_ignore_ascii_case(other)
    } else {
        one == other
    }
}

pub(crate) fn same_escaped(one: Option<&[u8]>, other: Option<&[u8]>, fold_case: bool) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => same_text(&unescaped(one), &unescaped(other), fold_case),
        _ => false,
    }
}

/// Reads an IPv6 address in brackets.
///
/// RFC 5118 4.10: the grammar of RFC 3261 yields three colons before an IPv4 part; they count as two.
fn ipv6_reference(host: &[u8]) -> Option<Ipv6Addr> {
    let inner = host.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let text = std::str::from_utf8(inner).ok()?;
    text.parse()
        .ok()
        .or_else(|| text.replacen(":::", "::", 1).parse().ok())
}

/// RFC 5954 4.1: IPv6 references compare as addresses, not as text.
pub(crate) fn same_host(one: &[u8], other: &[u8]) -> bool {
    match (ipv6_reference(one), ipv6_reference(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one.eq_ignore_ascii_case(other),
    }
}

/// Returns the scheme of any URI, `None` when `text` does not start with one.
#[must_use]
pub fn scheme(text: &[u8]) -> Option<&[u8]> {
    let scheme = &text[..memchr(b':', text)?];
    let fits = |octet: &u8| octet.is_ascii_alphanumeric() || b"+-.".contains(octet);
    let starts = scheme.first().is_some_and(u8::is_ascii_alphabetic);
    (starts && scheme.iter().all(fits)).then_some(scheme)
}

#[cfg(test)]
mod tests;
