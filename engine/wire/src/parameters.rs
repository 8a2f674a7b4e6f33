//! `text/parameters` (RFC 7826 Appendix F): lines of name and value, in which a device returns what a SIR
//! asked for.
//!
//! Names and values are the caller's; this only splits and joins them.

use memchr::memchr;

use crate::sip::token::trim;
use crate::writer::{Overflow, Writer};

/// The content type.
pub const CONTENT_TYPE: &str = "text/parameters";

/// Most parameters that are read of one body: five times what a device has to return.
pub const PARAMETERS_MAX: usize = 32;

/// Iterates over names and values in order, white space cut off; a name alone has an empty value.
///
/// Lines end in CRLF, CR or LF alone are tolerated. Lines that begin with no name are passed over, and what
/// follows [`PARAMETERS_MAX`] lines is not read.
pub fn read(body: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    body.split(|octet| matches!(octet, b'\r' | b'\n'))
        .filter(|line| !line.is_empty())
        .take(PARAMETERS_MAX)
        .filter_map(|line| {
            let colon = memchr(b':', line).unwrap_or(line.len());
            let name = trim(&line[..colon]);
            let value = trim(line.get(colon + 1..).unwrap_or_default());
            is_name(name).then_some((name, value))
        })
}

/// Returns the value of the first parameter called `name`, in any case of letters.
#[must_use]
pub fn find<'a>(body: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut found = read(body).filter(|(known, _)| known.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value)
}

/// Writes one parameter; the value has no CR or LF.
///
/// Fails when there is no room, and for a name that is none or a value that would end its line.
pub fn put(writer: &mut Writer<'_>, name: &[u8], value: &[u8]) -> Result<(), Overflow> {
    if !is_name(name) || memchr::memchr2(b'\r', b'\n', value).is_some() {
        return Err(Overflow);
    }
    writer.put(name)?;
    writer.put(b": ")?;
    writer.put(value)?;
    writer.put(b"\r\n")
}

/// Tells whether `name` is visible octets without a colon.
fn is_name(name: &[u8]) -> bool {
    let fits = |octet: &u8| octet.is_ascii_graphic() && *octet != b':';
    !name.is_empty() && name.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_names_and_values() {
        let body = b"device: urn:uuid:1\r\n\r\nCapability :3\nrefusal\r\n: x\r\na b: c\r\nrefusal: busy\r\n";
        let all: Vec<_> = read(body).collect();
        assert_eq!(all.len(), 4);
        assert_eq!(find(body, b"capability"), Some(&b"3"[..]));
        assert_eq!(find(body, b"Refusal"), Some(&b""[..]));
        assert_eq!(find(body, b"security"), None);
        assert_eq!(read(&b"a:1\r\n".repeat(100)).count(), PARAMETERS_MAX);
    }

    #[test]
    fn unfit_parameters_are_not_written() {
        let mut out = [0u8; 16];
        for (name, value) in [
            ("", "x"),
            ("a:b", "x"),
            ("a", "x\r\nb: y"),
            ("a", "longer than the room"),
        ] {
            let mut writer = Writer::new(&mut out);
            assert_eq!(
                put(&mut writer, name.as_bytes(), value.as_bytes()),
                Err(Overflow)
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            pairs in proptest::collection::vec(("[a-z][a-z0-9-]{0,10}", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..20),
        ) {
            let mut out = [0u8; 1024];
            let mut writer = Writer::new(&mut out);
            for (name, value) in &pairs {
                put(&mut writer, name.as_bytes(), value.as_bytes()).expect("room");
            }
            let len = writer.len();
            let found: Vec<_> = read(&out[..len]).collect();
            let wanted: Vec<_> = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            prop_assert_eq!(found, wanted);
        }

        #[test]
        fn no_octets_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read(&body).count() <= PARAMETERS_MAX);
        }
    }
}
