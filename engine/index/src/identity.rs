//! User identities (AORs): canonical form, and the packed form of those that are numbers.
//!
//! A number of 1 to 15 digits packs into 60 bits of BCD with its length in the top nibble; the
//! rest of the AOR is its shape. No table is touched here: `names` interns shapes and texts.

/// Octets of an AOR at most; the length of a Request-URI that fits a SIR.
pub const AOR_MAX: usize = 255;

/// Digits that fit the packed form.
const DIGITS_MAX: usize = 15;

/// Top nibble of a key that refers to text.
pub(crate) const TEXT_NIBBLE: u64 = 0xf;

/// A user identity of one index: packed, comparable, and hashable.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Identity {
    /// BCD digits with their count in the top nibble, or a reference to text.
    pub key: u64,
    /// The interned rest of the AOR.
    pub shape: u32,
}

/// An identity as text in three parts, to be written one after the other.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct IdentityText<'a> {
    /// Scheme and perhaps `+`, for example `sip:+`.
    pub prefix: &'a [u8],
    /// The user part that varies.
    pub user: &'a [u8],
    /// The rest, for example `@ims.example`.
    pub suffix: &'a [u8],
}

impl IdentityText<'_> {
    /// Octets of the whole AOR.
    #[inline]
    pub fn len(&self) -> usize {
        self.prefix.len() + self.user.len() + self.suffix.len()
    }

    /// Whether the text is empty; it never is for an identity of an index.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a text is not a user identity.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AorError {
    /// Not `sip:`, `sips:` or `tel:`.
    #[error("user identity must start with sip:, sips: or tel:")]
    Scheme,
    /// No user part, or no host after `@`.
    #[error("user identity must read sip:user@host or tel:number")]
    Parts,
    /// White space, control or other octets that no URI has.
    #[error("user identity has an octet that no URI has")]
    Octet,
    /// RFC 3261 25.1: not of the characters of a user, or an escape that is none.
    #[error("user part has a character that must be escaped, or a password: write %HH")]
    User,
    /// RFC 3261 25.1: not a host with perhaps a port.
    #[error("behind @ stands a host with perhaps a port, without parameters or headers")]
    Host,
    /// RFC 3966 3: not a number with perhaps parameters.
    #[error("tel: is followed by + and digits, and perhaps by parameters")]
    Number,
    /// Longer than [`AOR_MAX`].
    #[error("user identity is longer than 255 octets")]
    Length,
}

/// Where the parts of an AOR end.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct AorParts {
    /// Octets before the varying user part, `+` included when digits follow.
    pub prefix: usize,
    /// Octets up to the end of the user part.
    pub user_end: usize,
    /// Packed digits, when the user part is 1 to 15 of them.
    pub digits: Option<u64>,
}

/// Splits an AOR without canonicalising it.
#[inline]
pub(crate) fn split(text: &[u8]) -> Result<AorParts, AorError> {
    if text.len() > AOR_MAX {
        return Err(AorError::Length);
    }
    let scheme = scheme_len(text)?;
    let tel = scheme == 4 && text[0] | 0x20 == b't';
    let user_end = if tel {
        memchr::memchr(b';', text).unwrap_or(text.len())
    } else {
        let at = memchr::memrchr(b'@', text).ok_or(AorError::Parts)?;
        if at + 1 == text.len() {
            return Err(AorError::Parts);
        }
        at
    };
    if user_end <= scheme {
        return Err(AorError::Parts);
    }
    let plus = usize::from(text[scheme] == b'+');
    match pack_digits(text, scheme + plus, user_end) {
        Some(key) => Ok(AorParts {
            prefix: scheme + plus,
            user_end,
            digits: Some(key),
        }),
        None => Ok(AorParts {
            prefix: scheme,
            user_end,
            digits: None,
        }),
    }
}

#[inline]
fn scheme_len(text: &[u8]) -> Result<usize, AorError> {
    let folded = |range: std::ops::Range<usize>, name: &[u8]| {
        text.get(range)
            .is_some_and(|part| part.eq_ignore_ascii_case(name))
    };
    if folded(0..4, b"sip:") || folded(0..4, b"tel:") {
        Ok(4)
    } else if folded(0..5, b"sips:") {
        Ok(5)
    } else {
        Err(AorError::Scheme)
    }
}

/// Packs `text[start..end]` when it is 1 to 15 digits.
#[inline]
fn pack_digits(text: &[u8], start: usize, end: usize) -> Option<u64> {
    let count = end.wrapping_sub(start);
    if count == 0 || count > DIGITS_MAX {
        return None;
    }
    // The 16 octets that end where the digits end; what precedes them is shifted out.
    let mut window = [0u8; 16];
    match end.checked_sub(16).and_then(|from| text.get(from..end)) {
        Some(octets) => window.copy_from_slice(octets),
        None => window[16 - count..].copy_from_slice(&text[start..end]),
    }
    let octets = u128::from_be_bytes(window);
    let wanted = u128::MAX >> (128 - 8 * count);
    let values = (octets ^ 0x3030_3030_3030_3030_3030_3030_3030_3030) & wanted;
    // A digit's value is 0 to 9: no high nibble, and adding 6 does not reach it.
    let sums = values.wrapping_add(0x0606_0606_0606_0606_0606_0606_0606_0606 & wanted);
    if (values | sums) & 0xf0f0_f0f0_f0f0_f0f0_f0f0_f0f0_f0f0_f0f0 != 0 {
        return None;
    }
    let key = u64::from(squeeze((values >> 64) as u64)) << 32 | u64::from(squeeze(values as u64));
    Some(key | (count as u64) << 60)
}

/// The packed key of a number of at most 15 digits, without leading zeros.
#[inline]
pub(crate) fn pack_number(number: u64) -> u64 {
    let (mut rest, mut key, mut count) = (number, 0u64, 0u64);
    while count < DIGITS_MAX as u64 && (rest > 0 || count == 0) {
        key |= (rest % 10) << (4 * count);
        rest /= 10;
        count += 1;
    }
    key | count << 60
}

/// Eight octets below 16 to eight nibbles.
#[inline]
fn squeeze(octets: u64) -> u32 {
    let pairs = (octets | octets >> 4) & 0x00ff_00ff_00ff_00ff;
    let quads = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    (quads | quads >> 16) as u32
}

/// Eight nibbles to eight octets.
#[inline]
pub(crate) fn spread(nibbles: u32) -> u64 {
    let quads = (u64::from(nibbles) | u64::from(nibbles) << 16) & 0x0000_ffff_0000_ffff;
    let pairs = (quads | quads << 8) & 0x00ff_00ff_00ff_00ff;
    (pairs | pairs << 4) & 0x0f0f_0f0f_0f0f_0f0f
}

/// Writes the digits of a packed key and returns them.
#[inline]
pub(crate) fn unpack_digits(key: u64, digits: &mut [u8; 16]) -> &[u8] {
    let count = ((key >> 60) as usize).min(DIGITS_MAX);
    let high = spread((key >> 32) as u32) | 0x3030_3030_3030_3030;
    let low = spread(key as u32) | 0x3030_3030_3030_3030;
    digits[..8].copy_from_slice(&high.to_be_bytes());
    digits[8..].copy_from_slice(&low.to_be_bytes());
    &digits[16 - count..]
}

/// Writes the canonical form of `text`, whose parts are `parts`, and returns its length.
///
/// RFC 3261 19.1.4: scheme and host compare without regard to case, the user part with it, and
/// an escaped character equals itself unescaped when it needs no escape.
pub(crate) fn canonical(
    text: &[u8],
    out: &mut [u8; AOR_MAX],
) -> Result<(usize, AorParts), AorError> {
    let parts = split(text)?;
    let mut length = 0;
    let mut at = 0;
    while at < text.len() {
        let (octet, taken) = if text[at] == b'%' {
            unescape(&text[at..])
        } else {
            (text[at], 1)
        };
        if !(0x21..0x7f).contains(&octet) || matches!(octet, b'<' | b'>' | b'"') {
            return Err(AorError::Octet);
        }
        let in_user = at >= parts.prefix && at < parts.user_end;
        let kept = if in_user {
            &text[at..at + taken]
        } else {
            &[octet.to_ascii_lowercase()][..]
        };
        let kept = if in_user && taken == 3 {
            &[octet][..]
        } else {
            kept
        };
        out[length..length + kept.len()].copy_from_slice(kept);
        length += kept.len();
        at += taken;
    }
    // Unescaping may have made a number, or moved the parts.
    let parts = split(&out[..length])?;
    check(&out[..length], &parts)?;
    Ok((length, parts))
}

/// Checks the parts of a canonical AOR against the grammar of their scheme.
fn check(text: &[u8], parts: &AorParts) -> Result<(), AorError> {
    let (head, rest) = text.split_at(parts.user_end);
    let user = &head[parts.prefix..];
    if text.starts_with(b"tel:") {
        let is_number = |octet: &u8| octet.is_ascii_hexdigit() || b"+-.()*#".contains(octet);
        let fits = user.iter().all(is_number) && is_of(rest, b"-_.!~*'()[]/:&+$;=");
        return if fits { Ok(()) } else { Err(AorError::Number) };
    }
    if !is_of(user, b"-_.!~*'()&=+$,;?/") {
        return Err(AorError::User);
    }
    if is_host_port(&rest[1..]) {
        Ok(())
    } else {
        Err(AorError::Host)
    }
}

/// Whether there are only letters, digits, complete escapes and the octets of `extra`.
fn is_of(text: &[u8], extra: &[u8]) -> bool {
    let mut rest = text;
    while let [octet, after @ ..] = rest {
        rest = match after {
            [high, low, after @ ..]
                if *octet == b'%' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                after
            }
            _ if octet.is_ascii_alphanumeric() || extra.contains(octet) => after,
            _ => return false,
        };
    }
    true
}

/// RFC 3261 25.1, hostport: a name or IPv4 address, or an IPv6 reference, and perhaps a port.
fn is_host_port(text: &[u8]) -> bool {
    let (host, port) = match memchr::memchr(b']', text) {
        Some(end) => text.split_at(end + 1),
        None => text.split_at(memchr::memchr(b':', text).unwrap_or(text.len())),
    };
    let is_known = match host {
        [b'[', address @ .., b']'] => str::from_utf8(address)
            .is_ok_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        name => {
            let in_name = |octet: &u8| octet.is_ascii_alphanumeric() || b"-.".contains(octet);
            !name.is_empty() && name.iter().all(in_name)
        }
    };
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => {
            (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    is_known && is_port
}

/// The octet that an escape stands for when RFC 3261 calls it unreserved, and the octets taken.
fn unescape(text: &[u8]) -> (u8, usize) {
    let digit = |octet: &u8| char::from(*octet).to_digit(16);
    let (Some(high), Some(low)) = (text.get(1).and_then(digit), text.get(2).and_then(digit)) else {
        return (b'%', 1);
    };
    let octet = (high * 16 + low) as u8;
    let mark = matches!(
        octet,
        b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')'
    );
    if octet.is_ascii_alphanumeric() || mark {
        (octet, 3)
    } else {
        (b'%', 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical_text(text: &str) -> Result<String, AorError> {
        let mut out = [0; AOR_MAX];
        let (length, _) = canonical(text.as_bytes(), &mut out)?;
        Ok(String::from_utf8(out[..length].to_vec()).unwrap())
    }

    #[test]
    fn numbers_of_1_to_15_digits_pack_and_unpack() {
        for digits in [
            "0",
            "8",
            "007",
            "8613800001111",
            "999999999999999",
            "123456789012345",
        ] {
            for (text, prefix) in [
                (format!("sip:+{digits}@ims.example"), 5),
                (format!("sip:{digits}@h"), 4),
            ] {
                let parts = split(text.as_bytes()).unwrap();
                assert_eq!(parts.prefix, prefix);
                let mut out = [0; 16];
                assert_eq!(
                    unpack_digits(parts.digits.unwrap(), &mut out),
                    digits.as_bytes()
                );
            }
        }
    }

    #[test]
    fn other_users_are_text() {
        for text in [
            "sip:alice@h",
            "sip:1234567890123456@h",
            "sip:12:4@h",
            "sip:12/4@h",
            "sip:+@h",
        ] {
            let parts = split(text.as_bytes()).unwrap();
            assert_eq!((parts.digits, parts.prefix), (None, 4), "{text}");
        }
    }

    #[test]
    fn case_and_needless_escapes_do_not_matter_where_rfc_3261_says_so() {
        assert_eq!(
            canonical_text("SIP:Alice@IMS.Example").unwrap(),
            "sip:Alice@ims.example"
        );
        assert_eq!(canonical_text("sip:%61lice@h").unwrap(), "sip:alice@h");
        assert_eq!(canonical_text("sip:a%40b@h").unwrap(), "sip:a%40b@h");
        assert_eq!(canonical_text("TEL:+86138").unwrap(), "tel:+86138");
        let mut out = [0; AOR_MAX];
        let (_, parts) = canonical(b"sip:+%38613@h", &mut out).unwrap();
        assert_eq!(parts.digits, split(b"sip:+8613@h").unwrap().digits);
    }

    #[test]
    fn what_rfc_3261_allows_in_user_and_host_is_kept() {
        for text in [
            "sip:a;b?c/d&e=f+g$h,i-_.!~*'()@h",
            "sip:a%20b@1.2.3.4:5060",
            "sip:a@[2001:db8::1]:5060",
            "sip:a@ims.mnc001.example.",
            "tel:+49-30(1)",
            "tel:7042;phone-context=example.com",
        ] {
            assert_eq!(canonical_text(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_no_aor_is_refused() {
        assert_eq!(canonical_text("http://h"), Err(AorError::Scheme));
        assert_eq!(canonical_text("sip:alice"), Err(AorError::Parts));
        assert_eq!(canonical_text("sip:@h"), Err(AorError::Parts));
        assert_eq!(canonical_text("sip:alice@"), Err(AorError::Parts));
        assert_eq!(canonical_text("sip:al ice@h"), Err(AorError::Octet));
        for text in [
            "sip:a@b@h",
            "sip:a:pw@h",
            "sip:a%4@h",
            "sip:a[b@h",
            "sip:a#@h",
        ] {
            assert_eq!(canonical_text(text), Err(AorError::User), "{text}");
        }
        for text in [
            "sip:+49@h;transport=tcp",
            "sip:+49@h?Subject=x",
            "sip:a@h,i",
            "sip:a@h_i",
            "sip:a@:5060",
            "sip:a@h:",
            "sip:a@h:5060:1",
            "sip:a@h:123456",
            "sip:a@[::1",
            "sip:a@[x]",
            "sip:a@[::1]5060",
        ] {
            assert_eq!(canonical_text(text), Err(AorError::Host), "{text}");
        }
        for text in ["tel:+49@h", "tel:alice", "tel:+49;x,y"] {
            assert_eq!(canonical_text(text), Err(AorError::Number), "{text}");
        }
        assert_eq!(
            canonical_text(&format!("sip:a@{}", "h".repeat(256))),
            Err(AorError::Length)
        );
    }
}
