//! Digest authentication (RFC 7616; MD5 and SHA-256 as RFC 8760 has them for SIP): reads a challenge and
//! writes the credentials that answer it, `auth` only.
//!
//! It keeps no nonce: each challenge is answered once, with `nc` 1. Called by `credentials`.

use md5::{Digest, Md5};
use sha2::Sha256;
use sirocco_wire::sip::list::list_values;

/// The hash of a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Md5,
    Sha256,
}

/// What a server asks with 401 or 407.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Challenge<'a> {
    realm: &'a [u8],
    nonce: &'a [u8],
    opaque: Option<&'a [u8]>,
    algorithm: Algorithm,
    /// The algorithm as the challenge names it; RFC 7616 3.4: sent back as it came.
    algorithm_name: Option<&'a [u8]>,
    /// `-sess`: RFC 7616 3.4.2 mixes the nonces into the first hash.
    is_session: bool,
    has_qop: bool,
}

/// Who answers, and for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) user: &'a [u8],
    pub(crate) password: &'a [u8],
    pub(crate) method: &'a [u8],
    /// The Request-URI.
    pub(crate) uri: &'a [u8],
    pub(crate) client_nonce: &'a [u8],
}

impl<'a> Challenge<'a> {
    /// Reads the value of WWW-Authenticate or Proxy-Authenticate; nothing when it is no Digest, or asks
    /// for a hash or a protection that is not known here.
    pub(crate) fn parse(value: &'a [u8]) -> Option<Challenge<'a>> {
        let (scheme, rest) = value.trim_ascii().split_at_checked(7)?;
        if !scheme.eq_ignore_ascii_case(b"Digest ") {
            return None;
        }
        let (mut realm, mut nonce, mut opaque) = (None, None, None);
        let (mut algorithm_name, mut qop) = (None, None);
        for parameter in list_values(rest) {
            let equals = parameter.iter().position(|&octet| octet == b'=')?;
            let name = parameter[..equals].trim_ascii();
            let value = unquoted(parameter[equals + 1..].trim_ascii())?;
            let place = match name.to_ascii_lowercase().as_slice() {
                b"realm" => &mut realm,
                b"nonce" => &mut nonce,
                b"opaque" => &mut opaque,
                b"algorithm" => &mut algorithm_name,
                b"qop" => &mut qop,
                _ => continue,
            };
            *place = Some(value);
        }
        let (algorithm, is_session) = known(algorithm_name.unwrap_or(b"MD5"))?;
        let is_auth = |word: &[u8]| word.eq_ignore_ascii_case(b"auth");
        if qop.is_some_and(|words| !list_values(words).any(is_auth)) {
            return None;
        }
        Some(Challenge {
            realm: realm?,
            nonce: nonce?,
            opaque,
            algorithm,
            algorithm_name,
            is_session,
            has_qop: qop.is_some(),
        })
    }

    /// Writes the credentials behind `field`, the name of the header field, as one line.
    pub(crate) fn answer(&self, field: &[u8], answer: &Answer<'_>) -> Vec<u8> {
        let hash = |parts: &[&[u8]]| self.algorithm.hex(parts);
        let mut first = hash(&[answer.user, self.realm, answer.password]);
        if self.is_session {
            first = hash(&[&first, self.nonce, answer.client_nonce]);
        }
        let second = hash(&[answer.method, answer.uri]);
        let response = if self.has_qop {
            let nonces = [self.nonce, b"00000001", answer.client_nonce, b"auth"];
            hash(&[&first, nonces[0], nonces[1], nonces[2], nonces[3], &second])
        } else {
            // RFC 2617 3.2.2.1: a server that names no protection knows no count either.
            hash(&[&first, self.nonce, &second])
        };
        let mut line = field.to_vec();
        line.extend_from_slice(b": Digest ");
        let mut quoted = |name: &[u8], value: &[u8]| {
            line.extend_from_slice(&[name, b"=\"", value, b"\", "].concat());
        };
        quoted(b"username", answer.user);
        quoted(b"realm", self.realm);
        quoted(b"nonce", self.nonce);
        quoted(b"uri", answer.uri);
        if let Some(opaque) = self.opaque {
            quoted(b"opaque", opaque);
        }
        if self.has_qop || self.is_session {
            quoted(b"cnonce", answer.client_nonce);
        }
        quoted(b"response", &response);
        if let Some(name) = self.algorithm_name {
            line.extend_from_slice(&[b"algorithm=", name, b", "].concat());
        }
        if self.has_qop {
            line.extend_from_slice(b"qop=auth, nc=00000001, ");
        }
        line.truncate(line.len() - 2);
        line.extend_from_slice(b"\r\n");
        line
    }
}

impl Algorithm {
    /// Returns the hash of the parts with colons between them, in lower-case digits.
    fn hex(self, parts: &[&[u8]]) -> Vec<u8> {
        let joined = parts.join(&b':');
        let digits = |octets: &[u8]| -> Vec<u8> {
            let pairs = octets.iter().flat_map(|&octet| [octet >> 4, octet & 0xf]);
            pairs
                .map(|nibble| b"0123456789abcdef"[usize::from(nibble)])
                .collect()
        };
        match self {
            Algorithm::Md5 => digits(&Md5::digest(&joined)),
            Algorithm::Sha256 => digits(&Sha256::digest(&joined)),
        }
    }
}

/// Returns the hash of this name, and whether it is of a session.
fn known(name: &[u8]) -> Option<(Algorithm, bool)> {
    let upper = name.to_ascii_uppercase();
    let (base, is_session) = match upper.strip_suffix(b"-SESS") {
        Some(base) => (base, true),
        None => (&upper[..], false),
    };
    match base {
        b"MD5" => Some((Algorithm::Md5, is_session)),
        b"SHA-256" => Some((Algorithm::Sha256, is_session)),
        _ => None,
    }
}

/// Returns a value without its quotes; escapes stay, for what is hashed is what is sent back. Nothing
/// when it holds what may not stand in a line.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    let inner = value
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .unwrap_or(value);
    (!inner.iter().any(u8::is_ascii_control)).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 3.9.1.
    const CHALLENGE: &str = "realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
        nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
        opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
    const ANSWER: Answer<'static> = Answer {
        user: b"Mufasa",
        password: b"Circle of Life",
        method: b"GET",
        uri: b"/dir/index.html",
        client_nonce: b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    };

    fn answered(challenge: &str, answer: &Answer<'_>) -> String {
        let challenge = Challenge::parse(challenge.as_bytes()).unwrap();
        String::from_utf8(challenge.answer(b"Authorization", answer)).unwrap()
    }

    #[test]
    fn the_examples_of_the_rfcs_are_answered_as_printed() {
        let md5 = answered(&format!("Digest algorithm=MD5, {CHALLENGE}"), &ANSWER);
        assert!(
            md5.contains("response=\"8ca523f5e9506fed4657c9700eebdbec\""),
            "{md5}"
        );
        let sha = answered(&format!("digest algorithm=SHA-256, {CHALLENGE}"), &ANSWER);
        let expected = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
        assert!(sha.contains(expected), "{sha}");
        assert!(
            sha.contains("algorithm=SHA-256, qop=auth, nc=00000001\r\n"),
            "{sha}"
        );
        // RFC 2617 3.5, without a protection: the form of RFC 2069.
        let old = Answer {
            password: b"CircleOfLife",
            ..ANSWER
        };
        let old = answered(
            "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"",
            &old,
        );
        assert!(
            old.contains("response=\"1949323746fe6a43ef61f9606e7febea\""),
            "{old}"
        );
        assert!(!old.contains("qop") && !old.contains("algorithm"), "{old}");
    }

    #[test]
    fn what_cannot_be_answered_is_refused() {
        for challenge in [
            "Basic realm=\"x\"",
            "Digest realm=\"x\"",
            "Digest nonce=\"x\"",
            "Digest realm=\"x\", nonce=\"y\", algorithm=SHA-512-256",
            "Digest realm=\"x\", nonce=\"y\", qop=\"auth-int\"",
            "Digest realm=\"x\r\n y\", nonce=\"y\"",
            "Digest realm",
            "",
        ] {
            assert!(
                Challenge::parse(challenge.as_bytes()).is_none(),
                "{challenge}"
            );
        }
        let session = answered(
            "Digest realm=\"a\", nonce=\"b\", algorithm=MD5-sess",
            &ANSWER,
        );
        assert!(session.contains("cnonce=\"f2/") && session.contains("MD5-sess"));
    }
}
