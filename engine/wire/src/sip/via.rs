//! The Via header field (RFC 3261 20.42): where a response goes and which transaction it closes.

use memchr::memchr;

use super::token::{Params, find_unquoted, is_token, is_white, strict_params, trim, trim_start};
use super::uri::is_host;

/// RFC 3261 8.1.1.7: every branch of a compliant element starts with this.
pub const BRANCH_COOKIE: &[u8] = b"z9hG4bK";

/// The first value of a Via header field.
#[derive(Debug, Clone, Copy)]
pub struct Via<'a> {
    /// The transport as written, such as `UDP`.
    pub transport: &'a [u8],
    /// Host and optional port of the element that sent the request, as written.
    pub sent_by: &'a [u8],
    /// The branch parameter, cookie included.
    pub branch: Option<&'a [u8]>,
    /// All parameters.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Parses the first value of a Via header field; `None` when it has no protocol, transport or
    /// sent-by.
    #[inline]
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Via<'a>> {
        let (transport, rest) = match value.strip_prefix(b"SIP/2.0/UDP ") {
            Some(rest) => (&value[8..11], rest),
            None => Self::protocol(value)?,
        };
        let end = find_unquoted(rest, b';', b',');
        let sent_by = trim(&rest[..end]);
        if sent_by.is_empty() {
            return None;
        }
        let params = Params::new(&rest[end..]);
        let branch = leading_branch(&rest[end..])
            .or_else(|| params.find(b"branch").and_then(|param| param.value));
        Some(Via {
            transport,
            sent_by,
            branch,
            params,
        })
    }

    /// Reads `SIP / 2.0 / transport` with the white space RFC 3261 25.1 allows around slashes.
    fn protocol(value: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let slash = memchr(b'/', value)?;
        let rest = &value[slash + 1..];
        let second = memchr(b'/', rest)?;
        let name_fits = trim(&value[..slash]).eq_ignore_ascii_case(b"SIP");
        if !name_fits || trim(&rest[..second]) != b"2.0" {
            return None;
        }
        let mut rest = &rest[second + 1..];
        while rest.first().is_some_and(|&octet| is_white(octet)) {
            rest = &rest[1..];
        }
        let end = rest.iter().position(|&octet| is_white(octet))?;
        is_token(&rest[..end]).then(|| rest.split_at(end))
    }

    /// Tells whether every value of a Via header field follows the grammar and names a host.
    ///
    /// A branch of the cookie alone is malformed: it identifies no transaction (RFC 4475 3.2.1).
    #[must_use]
    pub fn is_list(list: &[u8]) -> bool {
        let mut rest = list;
        loop {
            match Via::split(rest) {
                Some((_, [])) => return true,
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
    }

    /// Splits the first value off a comma-separated list, strictly; `None` when it is malformed.
    #[must_use]
    pub fn split(list: &'a [u8]) -> Option<(Via<'a>, &'a [u8])> {
        let text = trim_start(list);
        let via = Via::parse(text)?;
        let (host, port) = via.host_port();
        if !is_host(host) || port == Some(0) || via.branch == Some(BRANCH_COOKIE) {
            return None;
        }
        let after = strict_params(&text[find_unquoted(text, b';', b',')..])?;
        match after {
            [b',', next @ ..] if !trim(next).is_empty() => Some((via, next)),
            [] => Some((via, after)),
            _ => None,
        }
    }

    /// Returns the branch behind the cookie, when the branch has the cookie.
    #[inline]
    #[must_use]
    pub fn branch_after_cookie(&self) -> Option<&'a [u8]> {
        self.branch?.strip_prefix(BRANCH_COOKIE)
    }

    /// Splits sent-by into host and port; the port is `Some(0)` when it is no 16-bit number.
    #[must_use]
    pub fn host_port(&self) -> (&'a [u8], Option<u16>) {
        super::uri::split_host_port(self.sent_by)
    }
}

/// Reads the branch where most elements put it, first and without white space.
#[inline]
fn leading_branch(params: &[u8]) -> Option<&[u8]> {
    let rest = params.strip_prefix(b";branch=")?;
    let end = find_unquoted(rest, b';', b',');
    let branch = &rest[..end];
    let [first, .., last] = branch else {
        return None;
    };
    (!is_white(*first) && !is_white(*last)).then_some(branch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_first_value() {
        let value = b"SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKab;rport, SIP/2.0/TCP x;branch=no";
        let via = Via::parse(value).unwrap();
        assert_eq!(via.transport, b"UDP");
        assert_eq!(via.sent_by, b"127.0.0.1:5070");
        assert_eq!(via.branch_after_cookie(), Some(&b"ab"[..]));
        assert_eq!(via.params.count(), 2);
        assert_eq!(via.host_port(), (&b"127.0.0.1"[..], Some(5070)));
    }

    #[test]
    fn white_space_may_surround_slashes_and_parameters() {
        let via = Via::parse(b"SIP  / 2.0\r\n / UDP\r\n  [::1]:5060 ; BRANCH = z9hG4bKx").unwrap();
        assert_eq!(via.transport, b"UDP");
        assert_eq!(via.sent_by, b"[::1]:5060");
        assert_eq!(via.branch, Some(&b"z9hG4bKx"[..]));
    }

    #[test]
    fn refuses_what_names_no_sender() {
        for value in [
            &b""[..],
            b"SIP/2.0/UDP",
            b"SIP/2.0/UDP ;branch=x",
            b"HTTP/1.1/TCP h",
        ] {
            assert!(Via::parse(value).is_none(), "{}", value.escape_ascii());
        }
    }
}
