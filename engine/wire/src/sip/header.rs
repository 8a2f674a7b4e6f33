//! Header field names: the ones Sirocco reads for every message have a slot in the parsed view, the
//! others are found by walking the header section.

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
    AcceptContact,
    XWapApplicationId,
    Authorization,
    Date,
    // From here on without a slot.
    ContentEncoding,
    Supported,
    Event,
    Warning,
    Accept,
    Unsupported,
    Timestamp,
    Allow,
    /// Any other name.
    Other,
}

/// Number of names that have a slot in a parsed message; 19 slots keep the view within 128 octets,
/// which move in registers, not through memcpy.
pub(super) const SLOT_COUNT: usize = HeaderName::Date as usize + 1;

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

/// The octets of a name of so many octets.
const MASKS: [u128; 17] = {
    let mut masks = [0; 17];
    let mut len = 1;
    while len <= 16 {
        masks[len] = u128::MAX >> (128 - 8 * len);
        len += 1;
    }
    masks
};

const BIT_6: u128 = u128::from_le_bytes([0x40; 16]);

type Names<const N: usize> = [(u128, HeaderName); N];

const FIVE: Names<3> = [
    (key("route"), HeaderName::Route),
    (key("event"), HeaderName::Event),
    (key("allow"), HeaderName::Allow),
];
const SEVEN: Names<4> = [
    (key("contact"), HeaderName::Contact),
    (key("expires"), HeaderName::Expires),
    (key("require"), HeaderName::Require),
    (key("warning"), HeaderName::Warning),
];
const NINE: Names<2> = [
    (key("supported"), HeaderName::Supported),
    (key("timestamp"), HeaderName::Timestamp),
];
const ELEVEN: Names<2> = [
    (key("retry-after"), HeaderName::RetryAfter),
    (key("unsupported"), HeaderName::Unsupported),
];
const THIRTEEN: Names<2> = [
    (key("proxy-require"), HeaderName::ProxyRequire),
    (key("authorization"), HeaderName::Authorization),
];
impl HeaderName {
    /// Recognises a name of at most 16 octets given as the line's first 16 octets.
    #[inline(always)]
    fn from_key(first: u128, len: usize) -> HeaderName {
        let mask = MASKS[len];
        let octets = first & mask;
        // Octets below 0x20 would turn into letters or hyphens when lowered: no such name is ours.
        if (octets | octets << 1) & BIT_6 & mask != BIT_6 & mask {
            return HeaderName::Other;
        }
        let lowered = octets | (LOWER & mask);
        if len == 1 {
            Self::from_compact(lowered as u8)
        } else {
            Self::from_long(lowered, len)
        }
    }

    /// RFC 3261 7.3.3 and the registry of header fields: the compact forms.
    fn from_compact(letter: u8) -> HeaderName {
        match letter {
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
        }
    }

    /// Names of the header fields that every message has, then the others.
    #[inline(always)]
    fn from_long(lowered: u128, len: usize) -> HeaderName {
        const TO: u128 = key("to");
        const VIA: u128 = key("via");
        const FROM: u128 = key("from");
        const CSEQ: u128 = key("cseq");
        const CALL_ID: u128 = key("call-id");
        const MAX_FORWARDS: u128 = key("max-forwards");
        const CONTENT_TYPE: u128 = key("content-type");
        const CONTENT_LENGTH: u128 = key("content-length");
        match len {
            2 if lowered == TO => HeaderName::To,
            3 if lowered == VIA => HeaderName::Via,
            4 if lowered == FROM => HeaderName::From,
            4 if lowered == CSEQ => HeaderName::CSeq,
            7 if lowered == CALL_ID => HeaderName::CallId,
            12 if lowered == MAX_FORWARDS => HeaderName::MaxForwards,
            12 if lowered == CONTENT_TYPE => HeaderName::ContentType,
            14 if lowered == CONTENT_LENGTH => HeaderName::ContentLength,
            _ => Self::from_rare(lowered, len),
        }
    }

    #[inline(never)]
    fn from_rare(lowered: u128, len: usize) -> HeaderName {
        let names: &[(u128, HeaderName)] = match len {
            4 => const { &[(key("date"), HeaderName::Date)] },
            5 => &FIVE,
            6 => const { &[(key("accept"), HeaderName::Accept)] },
            7 => &SEVEN,
            9 => &NINE,
            11 => &ELEVEN,
            12 => const { &[(key("record-route"), HeaderName::RecordRoute)] },
            13 => &THIRTEEN,
            14 => const { &[(key("accept-contact"), HeaderName::AcceptContact)] },
            16 => const { &[(key("content-encoding"), HeaderName::ContentEncoding)] },
            _ => &[],
        };
        let found = names.iter().find(|(name, _)| *name == lowered);
        found.map_or(HeaderName::Other, |(_, name)| *name)
    }

    /// Returns the offset of the first colon of `line`.
    ///
    /// Names are short: the first 16 octets are searched as one word, the rest by memchr.
    #[inline]
    pub(super) fn colon(line: &[u8]) -> Option<usize> {
        const COLONS: u128 = u128::from_le_bytes([b':'; 16]);
        const ONES: u128 = u128::from_le_bytes([1; 16]);
        const TOPS: u128 = u128::from_le_bytes([0x80; 16]);
        if let Some(first) = line.first_chunk::<16>() {
            let differs = u128::from_le_bytes(*first) ^ COLONS;
            // The lowest marked octet is exact: a borrow only spreads upwards from a true match.
            let matches = differs.wrapping_sub(ONES) & !differs & TOPS;
            if matches != 0 {
                return Some(matches.trailing_zeros() as usize / 8);
            }
        }
        memchr::memchr(b':', line)
    }

    /// Recognises the name that takes the first `len` octets of `line`.
    #[inline(always)]
    pub(super) fn of_line(line: &[u8], len: usize) -> HeaderName {
        match line.first_chunk::<16>() {
            Some(first) if len <= 16 => Self::from_key(u128::from_le_bytes(*first), len),
            _ => Self::of_unusual(&line[..len.min(line.len())]),
        }
    }

    /// Recognises a long name, or one that stands alone.
    #[inline(never)]
    fn of_unusual(name: &[u8]) -> HeaderName {
        if name.len() > 16 {
            let known = name.eq_ignore_ascii_case(b"X-Wap-Application-Id");
            return if known {
                HeaderName::XWapApplicationId
            } else {
                HeaderName::Other
            };
        }
        let mut first = [0u8; 16];
        first[..name.len()].copy_from_slice(name);
        Self::from_key(u128::from_le_bytes(first), name.len())
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
