//! Header field names: the ones Sirocco reads have a slot in every parsed message, all others are
//! [`HeaderName::Other`] and reachable by iteration only.

/// A header field name; long and compact form are the same name (RFC 3261 7.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "each variant is the header field of that name")]
pub enum HeaderName {
    Via,
    From,
    To,
    CallId,
    CSeq,
    MaxForwards,
    ContentLength,
    ContentType,
    Contact,
    Expires,
    RetryAfter,
    Require,
    ProxyRequire,
    Route,
    RecordRoute,
    Date,
    AcceptContact,
    XWapApplicationId,
    Authorization,
    ContentEncoding,
    Supported,
    Event,
    Warning,
    Accept,
    Unsupported,
    Timestamp,
    Allow,
    /// A name without a slot.
    Other,
}

/// Number of names that have a slot in a parsed message.
pub const KNOWN_COUNT: usize = HeaderName::Other as usize;

/// Packs up to 16 octets, lower case, little endian, for one-comparison matching.
const fn key(name: &str) -> u128 {
    let octets = name.as_bytes();
    let mut value = 0u128;
    let mut at = octets.len();
    while at > 0 {
        at -= 1;
        value = value << 8 | octets[at] as u128;
    }
    value
}

const LOWER: u128 = u128::from_le_bytes([0x20; 16]);
const BIT_6: u128 = u128::from_le_bytes([0x40; 16]);

impl HeaderName {
    /// Recognises a name of at most 16 octets given as the line's first 16 octets.
    #[inline]
    fn from_key(first: u128, len: usize) -> HeaderName {
        let mask = u128::MAX >> (128 - 8 * len);
        let octets = first & mask;
        // Octets below 0x20 would turn into letters or hyphens when lowered: no such name is ours.
        if (octets | octets << 1) & BIT_6 & mask != BIT_6 & mask {
            return HeaderName::Other;
        }
        let lowered = octets | (LOWER & mask);
        match len {
            1 => match lowered as u8 {
                b'v' => HeaderName::Via,
                b'f' => HeaderName::From,
                b't' => HeaderName::To,
                b'i' => HeaderName::CallId,
                b'l' => HeaderName::ContentLength,
                b'c' => HeaderName::ContentType,
                b'm' => HeaderName::Contact,
                b'a' => HeaderName::AcceptContact,
                b'e' => HeaderName::ContentEncoding,
                b'k' => HeaderName::Supported,
                b'o' => HeaderName::Event,
                _ => HeaderName::Other,
            },
            _ => Self::from_long(lowered),
        }
    }

    #[inline]
    fn from_long(lowered: u128) -> HeaderName {
        const VIA: u128 = key("via");
        const FROM: u128 = key("from");
        const TO: u128 = key("to");
        const CALL_ID: u128 = key("call-id");
        const CSEQ: u128 = key("cseq");
        const CONTENT_LENGTH: u128 = key("content-length");
        const MAX_FORWARDS: u128 = key("max-forwards");
        const CONTENT_TYPE: u128 = key("content-type");
        match lowered {
            VIA => HeaderName::Via,
            FROM => HeaderName::From,
            TO => HeaderName::To,
            CALL_ID => HeaderName::CallId,
            CSEQ => HeaderName::CSeq,
            CONTENT_LENGTH => HeaderName::ContentLength,
            MAX_FORWARDS => HeaderName::MaxForwards,
            CONTENT_TYPE => HeaderName::ContentType,
            _ => Self::from_rare(lowered),
        }
    }

    fn from_rare(lowered: u128) -> HeaderName {
        const RARE: [(u128, HeaderName); 17] = [
            (key("contact"), HeaderName::Contact),
            (key("expires"), HeaderName::Expires),
            (key("retry-after"), HeaderName::RetryAfter),
            (key("require"), HeaderName::Require),
            (key("proxy-require"), HeaderName::ProxyRequire),
            (key("route"), HeaderName::Route),
            (key("record-route"), HeaderName::RecordRoute),
            (key("date"), HeaderName::Date),
            (key("accept-contact"), HeaderName::AcceptContact),
            (key("authorization"), HeaderName::Authorization),
            (key("content-encoding"), HeaderName::ContentEncoding),
            (key("supported"), HeaderName::Supported),
            (key("event"), HeaderName::Event),
            (key("warning"), HeaderName::Warning),
            (key("accept"), HeaderName::Accept),
            (key("unsupported"), HeaderName::Unsupported),
            (key("timestamp"), HeaderName::Timestamp),
        ];
        if lowered == key("allow") {
            return HeaderName::Allow;
        }
        let found = RARE.iter().find(|(name, _)| *name == lowered);
        found.map_or(HeaderName::Other, |(_, name)| *name)
    }

    /// Recognises the name that takes the first `len` octets of `line`.
    #[inline]
    pub(crate) fn of_line(line: &[u8], len: usize) -> HeaderName {
        if len == 0 {
            return HeaderName::Other;
        }
        if len > 16 {
            return match line.get(..len) {
                Some(name) if name.eq_ignore_ascii_case(b"X-Wap-Application-Id") => {
                    HeaderName::XWapApplicationId
                }
                _ => HeaderName::Other,
            };
        }
        if let Some(first) = line.first_chunk::<16>() {
            return Self::from_key(u128::from_le_bytes(*first), len);
        }
        let mut first = [0u8; 16];
        let available = line.len().min(16);
        first[..available].copy_from_slice(&line[..available]);
        Self::from_key(u128::from_le_bytes(first), len.min(available.max(1)))
    }

    /// Recognises `name`, in long or compact form and any case.
    #[must_use]
    pub fn of(name: &[u8]) -> HeaderName {
        Self::of_line(name, name.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_compact_forms_are_one_name() {
        for (name, expected) in [
            (&b"Via"[..], HeaderName::Via),
            (b"v", HeaderName::Via),
            (b"I", HeaderName::CallId),
            (b"cAlL-iD", HeaderName::CallId),
            (b"CONTENT-LENGTH", HeaderName::ContentLength),
            (b"Content-Encoding", HeaderName::ContentEncoding),
            (b"X-WAP-Application-ID", HeaderName::XWapApplicationId),
            (b"Retry-After", HeaderName::RetryAfter),
            (b"Allow", HeaderName::Allow),
            (b"x", HeaderName::Other),
            (b"", HeaderName::Other),
            (b"Vias", HeaderName::Other),
        ] {
            assert_eq!(HeaderName::of(name), expected, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn control_octets_do_not_fold_into_letters() {
        assert_eq!(HeaderName::of(b"Call\x0dID"), HeaderName::Other);
        assert_eq!(HeaderName::of(b"V\x09a"), HeaderName::Other);
    }
}
