//! One line of a population file: ten columns between tabs.
//!
//! A pure function from bytes to a borrowed [`Line`] or the column and reason of the first
//! fault; it never panics and never allocates. Called by `load`, and by anything that checks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::device::PREFERENCE_MAX;
use crate::device::{Bearer, DeviceEntry, DeviceId, DeviceKind, EXPIRES_NEVER, NEXT_HOP_DIRECT};
use crate::identity::{AOR_MAX, AorError, AorParts, canonical, split};
use crate::population::LINE_BYTES_MAX;
use crate::population::device_id::parse_device_id;

/// What stands between the AOR and the UUID of a public GRUU.
const GRUU_START: &[u8] = b";gr=urn:uuid:";
/// Octets behind the AOR of a public GRUU that has a UUID.
const GRUU_PARAMETER_BYTES: usize = GRUU_START.len() + 36;

/// The columns, in order.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Column {
    /// The user identity.
    Aor = 1,
    /// The device id.
    Device = 2,
    /// `ip:port`, or `direct`.
    NextHop = 3,
    /// `ip:port`, or `-`.
    Contact = 4,
    /// Name of a bearer.
    Bearer = 5,
    /// `idle` or `connected`.
    State = 6,
    /// Two hexadecimal digits.
    Capability = 7,
    /// 0 to 15.
    Preference = 8,
    /// Two hexadecimal digits.
    Subscription = 9,
    /// Seconds, or `-` for never.
    Expires = 10,
}

impl Column {
    /// The name that docs/population.md gives the column.
    pub fn name(self) -> &'static str {
        match self {
            Column::Aor => "aor",
            Column::Device => "device",
            Column::NextHop => "next hop",
            Column::Contact => "contact",
            Column::Bearer => "bearer",
            Column::State => "state",
            Column::Capability => "capability",
            Column::Preference => "preference",
            Column::Subscription => "subscription",
            Column::Expires => "expires",
        }
    }
}

/// What is wrong with a column.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Reason {
    /// The line ends before this column.
    #[error("column is missing: a line has ten, separated by one tab each")]
    Missing,
    /// Something follows the last column.
    #[error("text after the last column")]
    Excess,
    /// The line is too long.
    #[error("line is longer than 1280 octets")]
    LineLength,
    /// The column is empty.
    #[error("column is empty: write - where nothing is known")]
    Empty,
    /// An octet that has no place here.
    #[error("octet that is not printable ASCII")]
    Octet,
    /// Not a user identity.
    #[error(transparent)]
    Aor(AorError),
    /// Not a device id.
    #[error("device id is neither a urn:, nor an ni:, nor another URI")]
    DeviceKind,
    /// A GRUU of somebody else: it is kept as its UUID, and would be sent as a GRUU of this user.
    #[error("a GRUU with a UUID is the user identity of its line, ;gr= and the UUID, no more")]
    GruuUser,
    /// Not a UUID.
    #[error("uuid is not 8-4-4-4-12 hexadecimal digits")]
    Uuid,
    /// Not a MAC address.
    #[error("urn:dev:mac: is followed by 16 hexadecimal digits (EUI-64)")]
    Mac,
    /// Neither ESN nor MEID.
    #[error("urn:3gpp2:esn: has 8 hexadecimal digits, urn:3gpp2:meid: 8, a hyphen and 6")]
    Esn,
    /// Not an IMEI.
    #[error("urn:gsma:imei: has 8 digits, a hyphen, 6 digits, a hyphen and 1 digit")]
    Imei,
    /// Device id too long.
    #[error("device id is longer than 255 octets")]
    DeviceLength,
    /// Not an address.
    #[error("expected an address such as 192.0.2.1:5060 or [2001:db8::1]:5060")]
    Address,
    /// Direct delivery without an address.
    #[error("next hop is direct, so the contact must be an address")]
    ContactMissing,
    /// Unknown bearer.
    #[error("expected one of sip sip-tcp http sms wsp ussd circuit packet")]
    Bearer,
    /// Unknown state.
    #[error("expected idle or connected")]
    State,
    /// Not two hexadecimal digits.
    #[error("expected two hexadecimal digits")]
    Bits,
    /// Preference out of range.
    #[error("expected a number from 0 to 15")]
    Preference,
    /// Not a time.
    #[error("expected seconds from 0 to 4294967294, or - for never")]
    Expires,
}

/// Why a line is not a device.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("column {} ({}): {reason}", *column as u8, column.name())]
pub struct LineError {
    /// Where the fault is.
    pub column: Column,
    /// What it is.
    pub reason: Reason,
}

/// One device of a population, borrowed from its line.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Line<'a> {
    /// The user identity, as written.
    pub aor: &'a [u8],
    pub(crate) parts: AorParts,
    /// `None`: the device is reached at its contact.
    pub next_hop: Option<SocketAddr>,
    /// The device; its `next_hop` is [`NEXT_HOP_DIRECT`] until the address is interned.
    pub entry: DeviceEntry<'a>,
}

/// Whether a line holds no device: empty, or a comment.
#[inline]
pub fn is_remark(line: &[u8]) -> bool {
    line.first().is_none_or(|&first| first == b'#')
}

/// Reads one line, without its line end.
///
/// # Errors
/// The first faulty column and what is wrong with it.
#[inline]
pub fn parse_line(line: &[u8]) -> Result<Line<'_>, LineError> {
    if line.len() > LINE_BYTES_MAX {
        return Err(LineError {
            column: Column::Aor,
            reason: Reason::LineLength,
        });
    }
    let mut columns = Columns { rest: Some(line) };
    let (aor, parts) = columns.read(Column::Aor, |text| {
        split(text).map(|parts| (text, parts)).map_err(Reason::Aor)
    })?;
    let id = columns.read(Column::Device, |text| match parse_device_id(text)? {
        id if is_packed_gruu(&id) && !is_gruu_of(text, aor) => Err(Reason::GruuUser),
        id => Ok(id),
    })?;
    let next_hop = columns.read(Column::NextHop, |text| match text {
        b"direct" => Ok(None),
        _ => parse_address(text).map(Some),
    })?;
    let contact = columns.read(Column::Contact, |text| match text {
        b"-" if next_hop.is_none() => Err(Reason::ContactMissing),
        b"-" => Ok(None),
        _ => parse_address(text).map(Some),
    })?;
    let bearer = columns.read(Column::Bearer, parse_bearer)?;
    let connected = columns.read(Column::State, |text| match text {
        b"idle" => Ok(false),
        b"connected" => Ok(true),
        _ => Err(Reason::State),
    })?;
    let capability = columns.read(Column::Capability, parse_bits)?;
    let preference = columns.read(Column::Preference, parse_preference)?;
    let subscription = columns.read(Column::Subscription, parse_bits)?;
    let expires_s = columns.read(Column::Expires, parse_expires)?;
    if columns.rest.is_some() {
        return Err(LineError {
            column: Column::Expires,
            reason: Reason::Excess,
        });
    }
    let entry = DeviceEntry {
        id,
        next_hop: NEXT_HOP_DIRECT,
        contact,
        bearer,
        connected,
        capability,
        preference,
        subscription,
        expires_s,
    };
    Ok(Line {
        aor,
        parts,
        next_hop,
        entry,
    })
}

/// What is left of a line; `None` after its last column.
struct Columns<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Columns<'a> {
    #[inline]
    fn read<T>(
        &mut self,
        column: Column,
        parse: impl FnOnce(&'a [u8]) -> Result<T, Reason>,
    ) -> Result<T, LineError> {
        let fault = |reason| LineError { column, reason };
        let rest = self.rest.ok_or(fault(Reason::Missing))?;
        let text = match tab(rest, column) {
            Some(at) => {
                self.rest = Some(&rest[at + 1..]);
                &rest[..at]
            }
            None => {
                self.rest = None;
                rest
            }
        };
        if text.is_empty() {
            return Err(fault(Reason::Empty));
        }
        parse(text).map_err(fault)
    }
}

/// Where the column ends. The first three are long enough for a vector search to pay.
#[inline]
fn tab(rest: &[u8], column: Column) -> Option<usize> {
    match column {
        Column::Aor | Column::Device => memchr::memchr(b'\t', rest),
        _ => rest.iter().position(|&octet| octet == b'\t'),
    }
}

#[inline]
fn parse_address(text: &[u8]) -> Result<SocketAddr, Reason> {
    if let Some(address) = parse_address_v4(text) {
        return Ok(address);
    }
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Reason::Address)
}

/// `a.b.c.d:port` in decimal without leading zeros; anything else is left to the library.
#[inline]
fn parse_address_v4(text: &[u8]) -> Option<SocketAddr> {
    let mut ip = 0u32;
    let mut value = 0u32;
    let mut digits = 0;
    let mut dots = 0;
    let mut colon = false;
    for &octet in text {
        let digit = octet.wrapping_sub(b'0');
        if digit < 10 {
            if digits > 0 && value == 0 || digits == 5 {
                return None;
            }
            value = value * 10 + u32::from(digit);
            digits += 1;
            continue;
        }
        if colon || digits == 0 || value > 255 || octet != if dots == 3 { b':' } else { b'.' } {
            return None;
        }
        ip = ip << 8 | value;
        colon = dots == 3;
        dots += 1;
        (value, digits) = (0, 0);
    }
    let port = u16::try_from(value).ok().filter(|_| colon && digits > 0)?;
    Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(ip)), port))
}

/// The names of the bearers, in the order of [`Bearer::ALL`].
pub(super) const BEARER_NAMES: [&[u8]; 8] = [
    b"sip", b"sip-tcp", b"http", b"sms", b"wsp", b"ussd", b"circuit", b"packet",
];

#[inline]
fn parse_bearer(text: &[u8]) -> Result<Bearer, Reason> {
    let at = BEARER_NAMES
        .iter()
        .position(|name| *name == text)
        .ok_or(Reason::Bearer)?;
    Ok(Bearer::ALL[at])
}

#[inline]
fn parse_bits(text: &[u8]) -> Result<u8, Reason> {
    let [high, low] = text else {
        return Err(Reason::Bits);
    };
    let digit = |octet: &u8| char::from(*octet).to_digit(16).ok_or(Reason::Bits);
    Ok((digit(high)? << 4 | digit(low)?) as u8)
}

#[inline]
fn parse_preference(text: &[u8]) -> Result<u8, Reason> {
    let value = parse_number(text).ok_or(Reason::Preference)?;
    u8::try_from(value)
        .ok()
        .filter(|&value| value <= PREFERENCE_MAX)
        .ok_or(Reason::Preference)
}

#[inline]
fn parse_expires(text: &[u8]) -> Result<u32, Reason> {
    if text == b"-" {
        return Ok(EXPIRES_NEVER);
    }
    parse_number(text)
        .filter(|&value| value != EXPIRES_NEVER)
        .ok_or(Reason::Expires)
}

#[inline]
fn is_packed_gruu(id: &DeviceId<'_>) -> bool {
    let DeviceId::Packed { kind, .. } = id else {
        return false;
    };
    *kind == DeviceKind::Gruu
}

/// RFC 5627 3.1: whether a public GRUU is the AOR and the parameter `gr` with a UUID.
#[cold]
fn is_gruu_of(gruu: &[u8], aor: &[u8]) -> bool {
    let Some(length) = gruu.len().checked_sub(GRUU_PARAMETER_BYTES) else {
        return false;
    };
    let (own, rest) = gruu.split_at(length);
    if !rest[..GRUU_START.len()].eq_ignore_ascii_case(GRUU_START) {
        return false;
    }
    let (mut one, mut other) = ([0; AOR_MAX], [0; AOR_MAX]);
    if own == aor {
        return true;
    }
    match (canonical(own, &mut one), canonical(aor, &mut other)) {
        (Ok((own, _)), Ok((aor, _))) => one[..own] == other[..aor],
        _ => false,
    }
}

#[inline]
fn parse_number(text: &[u8]) -> Option<u32> {
    let mut value = 0u64;
    for &octet in text {
        let digit = octet.wrapping_sub(b'0');
        if digit > 9 || text.len() > 10 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    u32::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "sip:+8613800001111@ims.example\turn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6\t127.0.0.1:6000\t-\tsip\tidle\t03\t5\ta1\t1767225600";

    fn with(column: Column, text: &str) -> String {
        let mut columns: Vec<_> = GOOD.split('\t').collect();
        columns[column as usize - 1] = text;
        columns.join("\t")
    }

    #[test]
    fn reads_every_column() {
        let line = parse_line(GOOD.as_bytes()).unwrap();
        assert_eq!(line.aor, b"sip:+8613800001111@ims.example");
        assert_eq!(line.next_hop, Some("127.0.0.1:6000".parse().unwrap()));
        let entry = line.entry;
        assert_eq!(entry.id.kind(), DeviceKind::Uuid);
        assert_eq!((entry.contact, entry.connected), (None, false));
        assert_eq!((entry.bearer, entry.preference), (Bearer::SipUdp, 5));
        assert_eq!((entry.capability, entry.subscription), (3, 0xa1));
        assert_eq!(entry.expires_s, 1_767_225_600);
    }

    #[test]
    fn reads_direct_devices_and_ipv6() {
        let text = with(Column::NextHop, "direct").replace("\t-\tsip", "\t[2001:db8::1]:5060\tsip");
        let line = parse_line(text.as_bytes()).unwrap();
        assert_eq!(line.next_hop, None);
        assert_eq!(
            line.entry.contact,
            Some("[2001:db8::1]:5060".parse().unwrap())
        );
        let text = with(Column::Expires, "-");
        assert_eq!(
            parse_line(text.as_bytes()).unwrap().entry.expires_s,
            EXPIRES_NEVER
        );
    }

    #[test]
    fn names_the_column_and_the_reason_of_the_first_fault() {
        for (column, text, reason) in [
            (Column::Aor, "alice", Reason::Aor(AorError::Scheme)),
            (Column::Aor, "", Reason::Empty),
            (Column::Device, "urn:uuid:x", Reason::Uuid),
            (Column::NextHop, "127.0.0.256:5060", Reason::Address),
            (Column::NextHop, "127.0.0.1", Reason::Address),
            (Column::NextHop, "127.0.0.1:65536", Reason::Address),
            (Column::NextHop, "direct", Reason::Empty),
            (Column::Contact, "here", Reason::Address),
            (Column::Bearer, "pigeon", Reason::Bearer),
            (Column::State, "busy", Reason::State),
            (Column::Capability, "3", Reason::Bits),
            (Column::Preference, "16", Reason::Preference),
            (Column::Subscription, "0x", Reason::Bits),
            (Column::Expires, "4294967295", Reason::Expires),
            (Column::Expires, "99999999999", Reason::Expires),
            (Column::Expires, "1\t2", Reason::Excess),
        ] {
            let line = with(column, text);
            let fault = parse_line(line.as_bytes());
            let (column, reason) = match (column, text) {
                (Column::NextHop, "direct") => (Column::Contact, Reason::ContactMissing),
                _ => (column, reason),
            };
            assert_eq!(fault, Err(LineError { column, reason }), "{text}");
        }
        let short = GOOD.rsplit_once('\t').unwrap().0;
        let missing = LineError {
            column: Column::Expires,
            reason: Reason::Missing,
        };
        assert_eq!(parse_line(short.as_bytes()), Err(missing));
        assert_eq!(
            missing.to_string(),
            "column 10 (expires): column is missing: a line has ten, separated by one tab each"
        );
    }

    #[test]
    fn a_gruu_with_a_uuid_is_one_of_the_user_of_its_line() {
        let uuid = "gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
        for (user, is_own) in [
            ("sip:+8613800001111@ims.example;", true),
            ("SIP:+8613800001111@IMS.Example;", true),
            ("sip:+8613800001112@ims.example;", false),
            ("sip:+8613800001111@h;", false),
            ("sips:+8613800001111@ims.example;", false),
            ("sip:+8613800001111@ims.example;transport=tcp;", false),
        ] {
            let line = with(Column::Device, &format!("{user}{uuid}"));
            let id = parse_line(line.as_bytes()).map(|line| line.entry.id.kind());
            let fault = LineError {
                column: Column::Device,
                reason: Reason::GruuUser,
            };
            let expected = if is_own {
                Ok(DeviceKind::Gruu)
            } else {
                Err(fault)
            };
            assert_eq!(id, expected, "{user}");
        }
        let temporary = with(Column::Device, "sip:tgruu.7hs==jd7@ims.example;gr");
        assert!(parse_line(temporary.as_bytes()).is_ok());
    }

    #[test]
    fn the_fast_address_reader_agrees_with_the_library() {
        for text in [
            "0.0.0.0:0",
            "255.255.255.255:65535",
            "1.2.3.4:5",
            "01.2.3.4:5",
            "1.2.3.4:05",
            "1.2.3:4",
            "1.2.3.4.5:6",
            "1.2.3.4:",
            ":1",
            "1.2.3.4:65536",
            "1.2.3.4:999999",
            "256.1.1.1:1",
            "",
            "1..3.4:5",
            "1.2.3.4:5:6",
            "1.2.3.4:00",
            "00.1.1.1:1",
        ] {
            let library = text.parse::<SocketAddr>().ok();
            if let Some(fast) = parse_address_v4(text.as_bytes()) {
                assert_eq!(Some(fast), library, "{text}");
            }
            assert_eq!(parse_address(text.as_bytes()).ok(), library, "{text}");
        }
    }
}
