//! MSRP URIs (RFC 4975 6): a borrowed view and the comparison of section 6.1.
//!
//! Host names are not resolved here; whoever connects gives addresses.

use memchr::{memchr, memrchr};

use crate::sip::uri::{is_host, same_escaped, same_host, split_host_port};

/// A borrowed view of an MSRP URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MsrpUri<'a> {
    /// `msrps`: over TLS.
    pub secure: bool,
    /// Host name, IPv4 address or IPv6 address in brackets.
    pub host: &'a [u8],
    /// The port, if it is explicit.
    pub port: Option<u16>,
    /// The session id, `None` for the URI of a host.
    pub session: Option<&'a [u8]>,
    /// The transport, `tcp` in any case of letters.
    pub transport: &'a [u8],
}

impl<'a> MsrpUri<'a> {
    /// Reads a URI; `None` when it is no MSRP URI. User information and parameters behind the transport
    /// are passed over: no comparison looks at them.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<MsrpUri<'a>> {
        let colon = memchr(b':', text)?;
        let scheme = &text[..colon];
        let secure = scheme.eq_ignore_ascii_case(b"msrps");
        if !secure && !scheme.eq_ignore_ascii_case(b"msrp") {
            return None;
        }
        let rest = text[colon + 1..].strip_prefix(b"//")?;
        let semicolon = memchr(b';', rest)?;
        let (place, parameters) = (&rest[..semicolon], &rest[semicolon + 1..]);
        let slash = memchr(b'/', place).unwrap_or(place.len());
        let session = place.get(slash + 1..);
        let authority = &place[..slash];
        let authority = &authority[memrchr(b'@', authority).map_or(0, |at| at + 1)..];
        let (host, port) = split_host_port(authority);
        let transport = &parameters[..memchr(b';', parameters).unwrap_or(parameters.len())];
        let is_session = |octet: &u8| octet.is_ascii_alphanumeric() || b"-._~+=/%".contains(octet);
        let sound = is_name(host)
            && port != Some(0)
            && session.is_none_or(|id| !id.is_empty() && id.iter().all(is_session))
            && !transport.is_empty()
            && transport.iter().all(u8::is_ascii_alphanumeric);
        sound.then_some(MsrpUri {
            secure,
            host,
            port,
            session,
            transport,
        })
    }

    /// Compares two URIs.
    ///
    /// RFC 4975 6.1: scheme, host and transport without case, addresses as addresses, the session id
    /// with case; an explicit port or session id never equals a missing one.
    #[must_use]
    pub fn equivalent(&self, other: &MsrpUri<'_>) -> bool {
        self.secure == other.secure
            && self.port == other.port
            && self.session == other.session
            && self.transport.eq_ignore_ascii_case(other.transport)
            && (same_host(self.host, other.host)
                || same_escaped(Some(self.host), Some(other.host), true))
    }
}

/// Tells whether a host is one of SIP's, or a name with escapes (RFC 3986 3.2.2).
fn is_name(host: &[u8]) -> bool {
    let fits = |octet: &u8| octet.is_ascii_alphanumeric() || b"-._~%".contains(octet);
    is_host(host) || (!host.is_empty() && host.iter().all(fits))
}

/// Tells whether two texts are the same URI; equal octets need no reading.
#[must_use]
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    one == other
        || MsrpUri::parse(one)
            .zip(MsrpUri::parse(other))
            .is_some_and(|(one, other)| one.equivalent(&other))
}
