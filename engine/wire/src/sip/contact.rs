//! The Contact header field (RFC 3261 20.10) as a session and a registrar read it: address, device
//! identity, preference, lifetime, feature parameters.
//!
//! Lenient and without allocation; whether a request with a malformed Contact is to be refused is
//! `screen`'s question.

use memchr::memchr;

use super::header::HeaderName;
use super::message::Message;
use super::token::{Param, Params, address_params, decimal, find_unquoted, trim};

/// One value of a Contact header field.
#[derive(Debug, Clone, Copy)]
pub struct Contact<'a> {
    /// The URI without brackets.
    pub uri: &'a [u8],
    /// The parameters of the header field.
    pub params: Params<'a>,
}

impl<'a> Contact<'a> {
    /// Reads one value; `None` without URI, and for `*` (RFC 3261 10.2.2).
    #[inline]
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Contact<'a>> {
        let start = find_unquoted(value, b'<', b'<');
        let uri = match value.get(start + 1..) {
            Some(rest) => &rest[..memchr(b'>', rest)?],
            None => trim(&value[..find_unquoted(value, b';', b',')]),
        };
        let has_scheme = memchr(b':', uri).is_some_and(|colon| colon > 0);
        has_scheme.then(|| Contact {
            uri,
            params: address_params(value),
        })
    }

    /// Returns the value of a parameter, quotes cut off; empty for a bare name.
    ///
    /// RFC 3840 9: a feature parameter without value is a feature that the device has.
    #[must_use]
    pub fn param(&self, name: &[u8]) -> Option<&'a [u8]> {
        let value = self.params.find(name)?.value.unwrap_or_default();
        let unquoted = value
            .strip_prefix(b"\"")
            .and_then(|rest| rest.strip_suffix(b"\""));
        Some(unquoted.unwrap_or(value))
    }

    /// Returns the device identity of `+sip.instance`, quotes and brackets cut off (RFC 5626 4.1).
    #[must_use]
    pub fn instance(&self) -> Option<&'a [u8]> {
        let value = self.param(b"+sip.instance")?;
        let urn = value.strip_prefix(b"<")?.strip_suffix(b">")?;
        (!urn.is_empty()).then_some(urn)
    }

    /// Returns the URI parameter `gr` (RFC 5627 3): empty for a temporary GRUU.
    #[must_use]
    pub fn gruu(&self) -> Option<&'a [u8]> {
        let end = memchr(b'?', self.uri).unwrap_or(self.uri.len());
        let parameters = &self.uri[..end];
        let parameters = &parameters[memchr(b';', parameters)?..];
        let gr = Params::new(parameters).find(b"gr")?;
        Some(gr.value.unwrap_or_default())
    }

    /// Returns the device that the contact names: its instance, otherwise its `gr` if not empty.
    #[must_use]
    pub fn device(&self) -> Option<&'a [u8]> {
        let gruu = || self.gruu().filter(|gr| !gr.is_empty());
        self.instance().or_else(gruu)
    }

    /// Returns the preference in thousandths (RFC 3261 25.1), 1000 when not given, 0 when malformed.
    #[must_use]
    pub fn q_thousandths(&self) -> u16 {
        let Some(value) = self.param(b"q") else {
            return 1000;
        };
        let (whole, places) = match memchr(b'.', value) {
            Some(dot) => (&value[..dot], &value[dot + 1..]),
            None => (value, &b""[..]),
        };
        let mut digits = *b"000";
        match digits.get_mut(..places.len()) {
            Some(room) => room.copy_from_slice(places),
            None => return 0,
        }
        let sum = decimal(whole).zip(decimal(&digits));
        match sum {
            Some((0, thousandths)) => thousandths as u16,
            Some((1, 0)) => 1000,
            _ => 0,
        }
    }

    /// Returns the lifetime in seconds, if it has one of its own (RFC 3261 10.2.1.1).
    #[must_use]
    pub fn expires_s(&self) -> Option<u32> {
        decimal(self.param(b"expires")?)
    }

    /// Iterates over the feature parameters (RFC 3840 9) whose names begin with `+`, as written.
    pub fn features(&self) -> impl Iterator<Item = Param<'a>> + use<'a> {
        self.params.filter(|param| param.name.starts_with(b"+"))
    }
}

impl<'a> Message<'a> {
    /// Reads the first Contact value.
    #[must_use]
    pub fn contact(&self) -> Option<Contact<'a>> {
        Contact::parse(self.header(HeaderName::Contact)?)
    }

    /// Iterates over all Contact values; malformed ones are left out.
    pub fn contacts(&self) -> impl Iterator<Item = Contact<'a>> + use<'a> {
        self.list(HeaderName::Contact).filter_map(Contact::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URN: &[u8] = b"urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";

    #[test]
    fn reads_what_a_device_says_of_itself() {
        let value = b"\"D <x>\" <sip:a@192.0.2.1:5060;gr=urn:uuid:1;ob?x=;gr=no>;Q=0.75;expires=60\
            ;+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\";audio;+g.oma.pusheventapp=\"push.sia\"";
        let contact = Contact::parse(value).expect("a contact");
        assert_eq!(
            contact.uri,
            b"sip:a@192.0.2.1:5060;gr=urn:uuid:1;ob?x=;gr=no"
        );
        assert_eq!(
            (contact.instance(), contact.device()),
            (Some(URN), Some(URN))
        );
        assert_eq!(contact.gruu(), Some(&b"urn:uuid:1"[..]));
        assert_eq!(
            (contact.q_thousandths(), contact.expires_s()),
            (750, Some(60))
        );
        assert_eq!(contact.param(b"audio"), Some(&b""[..]));
        assert_eq!(
            contact.param(b"+g.oma.pusheventapp"),
            Some(&b"push.sia"[..])
        );
        assert_eq!(contact.features().count(), 2);
    }

    #[test]
    fn bare_and_temporary_addresses_have_less() {
        let contact = Contact::parse(b"sip:a@h;expires=x;q=2").expect("a contact");
        assert_eq!((contact.uri, contact.expires_s()), (&b"sip:a@h"[..], None));
        assert_eq!((contact.q_thousandths(), contact.device()), (0, None));
        let temporary = Contact::parse(b"<sip:tgruu.7hs@h;gr>").expect("a contact");
        assert_eq!(
            (temporary.gruu(), temporary.device()),
            (Some(&b""[..]), None)
        );
        for (q, thousandths) in [
            ("1.000", 1000),
            ("0.5", 500),
            ("0", 0),
            ("1.001", 0),
            ("0.1234", 0),
            ("", 0),
        ] {
            let value = format!("<sip:a@h>;q={q}");
            let contact = Contact::parse(value.as_bytes()).expect("a contact");
            assert_eq!(contact.q_thousandths(), thousandths, "{q}");
        }
        for value in ["*", "", "<sip:a@h", "host", "<>"] {
            assert!(Contact::parse(value.as_bytes()).is_none(), "{value}");
        }
    }

    #[test]
    fn all_contacts_of_a_message_are_walked() {
        let text =
            b"REGISTER sip:h SIP/2.0\r\nm: <sip:a@h>;q=1, \"x,y\" <sip:b@h>\r\nContact: *\r\n\
            Contact: <sip:c@h,d>\r\n\r\n";
        let register = Message::parse(text).expect("SIP");
        let uris: Vec<_> = register.contacts().map(|contact| contact.uri).collect();
        assert_eq!(uris, [&b"sip:a@h"[..], b"sip:b@h", b"sip:c@h,d"]);
        assert_eq!(
            register.contact().map(|contact| contact.uri),
            Some(&b"sip:a@h"[..])
        );
    }
}
