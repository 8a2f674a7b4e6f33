//! The parts of WSP (WAP-230) that a SIR needs: variable-length integers, application ids, address
//! records, and the connectionless Push PDU that carries a SIR on UDP port 2948.
//!
//! No WSP session, no WTP, no code page shifts. Sources of the codings: the independent readers of
//! Wireshark, Kannel and Symbian.

use crate::writer::{Overflow, Writer};

/// Longest `uintvar`: five octets hold 32 bits.
pub const UINTVAR_OCTETS_MAX: usize = 5;

/// Longest address of an address record: its length has six bits.
pub const ADDRESS_OCTETS_MAX: usize = 63;

/// WSP header code of X-Wap-Application-Id, with the well-known bit.
pub const APPLICATION_ID_HEADER: u8 = 0xAF;

/// Content type code of `application/vnd.wap.sia`, with the short-form bit.
pub const SIA_CONTENT_TYPE: u8 = 0xB4;

const PUSH_PDU: u8 = 0x06;

/// Why WSP octets cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WspError {
    /// A field ends after the octets do.
    #[error("field runs past the end; refuse the message")]
    Truncated,
    /// An integer takes more than 32 bits.
    #[error("integer above 32 bits; refuse the message")]
    IntegerRange,
    /// The PDU is not a connectionless Push.
    #[error("no Push PDU; ignore the datagram")]
    NotPush,
}

/// Splits a variable-length integer off `octets`.
///
/// Fails when it ends early or exceeds 32 bits.
#[inline]
pub fn uintvar(octets: &[u8]) -> Result<(u32, &[u8]), WspError> {
    let mut value: u32 = 0;
    for (index, &octet) in octets.iter().take(UINTVAR_OCTETS_MAX).enumerate() {
        if value > u32::MAX >> 7 {
            return Err(WspError::IntegerRange);
        }
        value = value << 7 | u32::from(octet & 0x7F);
        if octet & 0x80 == 0 {
            return Ok((value, &octets[index + 1..]));
        }
    }
    if octets.len() >= UINTVAR_OCTETS_MAX {
        return Err(WspError::IntegerRange);
    }
    Err(WspError::Truncated)
}

/// Returns the number of octets that `value` takes as a variable-length integer, 1 to 5.
#[must_use]
pub const fn uintvar_len(value: u32) -> usize {
    let bits = u32::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Appends `value` as a variable-length integer.
pub fn put_uintvar(writer: &mut Writer<'_>, value: u32) -> Result<(), Overflow> {
    for index in (1..uintvar_len(value)).rev() {
        writer.put_octet(0x80 | (value >> (7 * index) & 0x7F) as u8)?;
    }
    writer.put_octet((value & 0x7F) as u8)
}

/// Splits off a field preceded by its length in octets.
pub(crate) fn counted(octets: &[u8]) -> Result<(&[u8], &[u8]), WspError> {
    let (len, rest) = uintvar(octets)?;
    rest.split_at_checked(len as usize)
        .ok_or(WspError::Truncated)
}

/// An application id: a number of the OMNA registry or a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplicationId<'a> {
    /// A registered number, such as 1 for push.sia.
    Number(u32),
    /// A URI such as `x-oma-application:cpm:ua`, without its closing NUL.
    Text(&'a [u8]),
}

/// Application names of the OMNA registry that have a number, without their prefix.
const NUMBERED: [(&[u8], u32); 21] = [
    (b"*", 0),
    (b"push.sia", 1),
    (b"wml.ua", 2),
    (b"wta.ua", 3),
    (b"mms.ua", 4),
    (b"push.syncml", 5),
    (b"loc.ua", 6),
    (b"syncml.dm", 7),
    (b"drm.ua", 8),
    (b"emn.ua", 9),
    (b"wv.ua", 0x0A),
    (b"ulp.ua", 0x10),
    (b"dlota.ua", 0x11),
    (b"java-ams", 0x12),
    (b"bcast.ua", 0x13),
    (b"dpe.ua", 0x14),
    (b"cpm:ua", 0x15),
    (b"x-oma-application:ulp.ua", 0x10),
    (b"x-oma-application:cpm:ua", 0x15),
    (b"x-wap-application:push.sia", 1),
    (b"x-wap-application:mms.ua", 4),
];

impl<'a> ApplicationId<'a> {
    /// Returns the number of a registered application name, otherwise the text itself.
    #[must_use]
    pub fn of(name: &'a [u8]) -> ApplicationId<'a> {
        let numbered = NUMBERED
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        numbered.map_or(ApplicationId::Text(name), |(_, number)| {
            ApplicationId::Number(*number)
        })
    }

    /// Splits one value off `octets`: short integer, long integer or NUL-terminated text.
    ///
    /// Text that the list ends without NUL is accepted; decimal text is a number, as Kannel
    /// writes it.
    pub fn split(octets: &'a [u8]) -> Result<(ApplicationId<'a>, &'a [u8]), WspError> {
        let (&first, rest) = octets.split_first().ok_or(WspError::Truncated)?;
        if first & 0x80 != 0 {
            return Ok((ApplicationId::Number(u32::from(first & 0x7F)), rest));
        }
        if first < 0x20 {
            let (integer, rest) = rest
                .split_at_checked(usize::from(first))
                .ok_or(WspError::Truncated)?;
            return Ok((ApplicationId::Number(long_integer(integer)?), rest));
        }
        let (text, rest) = split_text(octets);
        let id = crate::sip::token::decimal(text)
            .map_or(ApplicationId::Text(text), ApplicationId::Number);
        Ok((id, rest))
    }

    /// Returns the number of octets that [`ApplicationId::put`] appends.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match *self {
            ApplicationId::Number(number) if number < 0x80 => 1,
            ApplicationId::Number(number) => 1 + long_integer_len(number),
            ApplicationId::Text(text) => text.len() + 1,
        }
    }

    /// Appends the value: short integer, long integer or NUL-terminated text.
    pub fn put(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        match *self {
            ApplicationId::Number(number) if number < 0x80 => writer.put_octet(0x80 | number as u8),
            ApplicationId::Number(number) => {
                let len = long_integer_len(number);
                writer.put_octet(len as u8)?;
                writer.put(&number.to_be_bytes()[4 - len..])
            }
            ApplicationId::Text(text) => {
                writer.put(text)?;
                writer.put_octet(0)
            }
        }
    }
}

fn long_integer(octets: &[u8]) -> Result<u32, WspError> {
    if octets.is_empty() {
        return Err(WspError::Truncated);
    }
    if octets.len() > 4 {
        return Err(WspError::IntegerRange);
    }
    Ok(octets
        .iter()
        .fold(0, |value, &octet| value << 8 | u32::from(octet)))
}

fn long_integer_len(number: u32) -> usize {
    (u32::BITS - (number | 1).leading_zeros()).div_ceil(8) as usize
}

/// Splits text off at its NUL; without one, all octets are the text.
pub(crate) fn split_text(octets: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(0, octets) {
        Some(end) => (&octets[..end], &octets[end + 1..]),
        None => (octets, &[]),
    }
}

/// A connectionless WSP Push PDU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Push<'a> {
    /// Transaction id, chosen by the sender.
    pub transaction: u8,
    /// The short-form content type, or 0 when it is given as text or in general form.
    pub content_type: u8,
    /// The textual content type, empty in short form.
    pub content_type_text: &'a [u8],
    /// The headers behind the content type.
    pub headers: &'a [u8],
    /// The pushed content.
    pub content: &'a [u8],
}

impl<'a> Push<'a> {
    /// Parses one datagram of UDP port 2948.
    pub fn parse(datagram: &'a [u8]) -> Result<Push<'a>, WspError> {
        let [transaction, pdu, rest @ ..] = datagram else {
            return Err(WspError::Truncated);
        };
        if *pdu != PUSH_PDU {
            return Err(WspError::NotPush);
        }
        let (headers, content) = counted(rest)?;
        let (&first, after) = headers.split_first().ok_or(WspError::Truncated)?;
        let mut push = Push {
            transaction: *transaction,
            content_type: 0,
            content_type_text: &[],
            headers: after,
            content,
        };
        if first & 0x80 != 0 {
            push.content_type = first;
        } else if first < 0x20 {
            let len = usize::from(first);
            let (general, rest) = after.split_at_checked(len).ok_or(WspError::Truncated)?;
            push.content_type = general
                .first()
                .copied()
                .filter(|o| o & 0x80 != 0)
                .unwrap_or(0);
            push.headers = rest;
        } else {
            (push.content_type_text, push.headers) = split_text(headers);
        }
        Ok(push)
    }

    /// Tells whether the content is a SIR body.
    #[must_use]
    pub fn is_sia(&self) -> bool {
        self.content_type == SIA_CONTENT_TYPE
            || self
                .content_type_text
                .eq_ignore_ascii_case(b"application/vnd.wap.sia")
    }

    /// Returns the X-Wap-Application-Id when it comes first among the headers, as every known
    /// sender of SIRs puts it, with a well-known or a textual header name.
    #[must_use]
    pub fn application_id(&self) -> Option<ApplicationId<'a>> {
        let value = match self.headers {
            [APPLICATION_ID_HEADER, value @ ..] => value,
            _ => {
                let (name, value) = split_text(self.headers);
                if !name.eq_ignore_ascii_case(b"X-Wap-Application-Id") {
                    return None;
                }
                value
            }
        };
        Some(ApplicationId::split(value).ok()?.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uintvar_round_trips_at_its_edges() {
        for value in [0, 127, 128, 140, 16_383, 16_384, u32::MAX] {
            let mut out = [0u8; UINTVAR_OCTETS_MAX];
            let mut writer = Writer::new(&mut out);
            put_uintvar(&mut writer, value).unwrap();
            let len = writer.len();
            assert_eq!(len, uintvar_len(value));
            assert_eq!(uintvar(&out[..len]), Ok((value, &[][..])));
        }
        assert_eq!(uintvar(&[0x81, 0x0C]), Ok((140, &[][..])));
    }

    #[test]
    fn uintvar_refuses_more_than_32_bits_and_early_ends() {
        assert_eq!(
            uintvar(&[0x90, 0x80, 0x80, 0x80, 0x00]),
            Err(WspError::IntegerRange)
        );
        assert_eq!(uintvar(&[0xFF; 6]), Err(WspError::IntegerRange));
        assert_eq!(uintvar(&[0x81]), Err(WspError::Truncated));
        assert_eq!(uintvar(&[]), Err(WspError::Truncated));
    }

    #[test]
    fn long_application_ids_take_the_octets_they_need() {
        let id = ApplicationId::Number(0x904B);
        let mut out = [0u8; 8];
        let mut writer = Writer::new(&mut out);
        id.put(&mut writer).unwrap();
        assert_eq!(writer.len(), id.encoded_len());
        assert_eq!(&out[..3], &[0x02, 0x90, 0x4B]);
        assert_eq!(ApplicationId::split(&out[..3]).unwrap().0, id);
    }
}
