//! Header fields that are comma-separated lists: option tags, methods, routes.
//!
//! Values are walked in the order of the header fields and of their places in them (RFC 3261 7.3.1);
//! nothing is stored, and a walk ends with the header section. Strict reading of addresses is
//! `address.rs`.

use memchr::memchr;

use super::header::{HeaderName, SLOT_COUNT};
use super::message::{Message, Method};
use super::token::{Params, quoted_len, trim};

/// Iterates over the values of one comma-separated list, white space cut off, empty ones left out.
///
/// A comma in a quoted string or between angle brackets belongs to its value.
pub fn list_values(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = list;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = value_len(rest);
            let value = trim(&rest[..end]);
            rest = rest.get(end + 1..).unwrap_or_default();
            if !value.is_empty() {
                return Some(value);
            }
        }
        None
    })
}

/// Returns the offset of the comma that ends the first value, or the length.
fn value_len(list: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&octet) = list.get(at) {
        at += match octet {
            b',' => return at,
            b'"' => quoted_len(&list[at..]).unwrap_or(list.len()),
            b'<' => memchr(b'>', &list[at..]).map_or(list.len(), |end| end + 1),
            _ => 1,
        };
    }
    list.len()
}

/// One value of Route or Record-Route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteValue<'a> {
    /// The value as written: what a Route of the dialog repeats (RFC 3261 12.1.1).
    pub text: &'a [u8],
    /// The URI without brackets.
    pub uri: &'a [u8],
}

impl RouteValue<'_> {
    /// Tells whether the URI has the parameter `lr`: a loose router (RFC 3261 16.12.1.1).
    #[must_use]
    pub fn is_loose(&self) -> bool {
        let parameters = memchr(b';', self.uri).map_or(&b""[..], |at| &self.uri[at..]);
        Params::new(parameters).find(b"lr").is_some()
    }
}

impl<'a> Message<'a> {
    /// Iterates over all values of a header field that is a comma-separated list.
    pub fn list(&self, name: HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        // What has a slot and is not there costs no walk; for the others this is the only one.
        let absent = (name as usize) < SLOT_COUNT && self.header(name).is_none();
        let list = (!absent).then(|| self.values(name));
        list.into_iter().flatten().flat_map(list_values)
    }

    /// Iterates over the values of Record-Route, topmost first: the order of a server's route set
    /// (RFC 3261 12.1.1); a client reverses it (12.1.2). Ends at a value without angle brackets.
    pub fn record_routes(&self) -> impl Iterator<Item = RouteValue<'a>> + use<'a> {
        self.list(HeaderName::RecordRoute).map_while(|text| {
            let start = super::token::find_unquoted(text, b'<', b'<') + 1;
            let end = start + memchr(b'>', text.get(start..)?)?;
            Some(RouteValue {
                text,
                uri: &text[start..end],
            })
        })
    }

    /// Tells whether Allow lists `method` (RFC 3261 20.5); `None` without Allow, which says nothing.
    #[must_use]
    pub fn allows(&self, method: Method<'_>) -> Option<bool> {
        let mut methods = self.list(HeaderName::Allow).peekable();
        methods.peek()?;
        Some(methods.any(|name| name == method.name()))
    }

    /// Tells whether Supported lists the option tag `tag` (RFC 3261 20.37), in any case of letters.
    #[must_use]
    pub fn supports(&self, tag: &[u8]) -> bool {
        self.list(HeaderName::Supported)
            .any(|name| name.eq_ignore_ascii_case(tag))
    }

    /// Iterates over the option tags of Require that are not among `known`: a 420 lists them in
    /// Unsupported (RFC 3261 8.2.2.3).
    pub fn unknown_requirements<'k>(
        &self,
        known: &'k [&'k [u8]],
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, 'k> {
        self.list(HeaderName::Require)
            .filter(move |tag| !known.iter().any(|name| name.eq_ignore_ascii_case(tag)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &[u8] = b"INVITE sip:a@h SIP/2.0\r\nRecord-Route: <sip:p1.example;lr>;x=\",\", \
        \"a,b\" <sip:p2.example?h=c,d>\r\nAllow: INVITE, ACK ,MESSAGE\r\nk: gruu,, outbound\r\n\
        Record-Route: <sip:p3.example;x=y;LR>\r\nRequire: 100rel, gruu\r\nRequire: X\r\n\r\n";

    #[test]
    fn routes_come_in_their_order() {
        let invite = Message::parse(INVITE).expect("SIP");
        let routes: Vec<_> = invite.record_routes().collect();
        let uris: Vec<_> = routes.iter().map(|route| route.uri).collect();
        assert_eq!(
            uris,
            [
                &b"sip:p1.example;lr"[..],
                b"sip:p2.example?h=c,d",
                b"sip:p3.example;x=y;LR"
            ]
        );
        assert_eq!(routes[1].text, b"\"a,b\" <sip:p2.example?h=c,d>");
        assert_eq!(
            routes.iter().map(RouteValue::is_loose).collect::<Vec<_>>(),
            [true, false, true]
        );
        let bare =
            Message::parse(b"BYE sip:a@h SIP/2.0\r\nRecord-Route: sip:p\r\n\r\n").expect("SIP");
        assert_eq!(bare.record_routes().count(), 0);
    }

    #[test]
    fn methods_and_option_tags_are_found() {
        let invite = Message::parse(INVITE).expect("SIP");
        assert_eq!(invite.allows(Method::Message), Some(true));
        assert_eq!(invite.allows(Method::Bye), Some(false));
        assert!(invite.supports(b"GRUU") && invite.supports(b"outbound") && !invite.supports(b""));
        let unknown: Vec<_> = invite.unknown_requirements(&[b"gruu"]).collect();
        assert_eq!(unknown, [&b"100rel"[..], b"X"]);
        let bare = Message::parse(b"BYE sip:a@h SIP/2.0\r\n\r\n").expect("SIP");
        assert_eq!(bare.allows(Method::Bye), None);
        assert_eq!(bare.unknown_requirements(&[]).count(), 0);
    }

    #[test]
    fn unbalanced_values_end_the_list() {
        assert_eq!(
            list_values(b"a, \"b, c").collect::<Vec<_>>(),
            [&b"a"[..], b"\"b, c"]
        );
        assert_eq!(list_values(b"<a, b").collect::<Vec<_>>(), [&b"<a, b"[..]]);
        assert_eq!(list_values(b" , ,").count(), 0);
    }
}
