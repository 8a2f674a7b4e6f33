//! What a receiver must do with a message: accept it, refuse it with a status code, or drop it.
//!
//! Stateless checks of syntax and of the rules that hold for every element, then those of a role.
//! It never answers an ACK or a response. Authentication, routing and transactions are not its
//! business. The outcomes follow RFC 4475 and RFC 5118.

use super::address::Address;
use super::header::HeaderName;
use super::message::{CSeq, Message, Method, ParseError};
use super::token::{decimal, trim};
use super::uri::{SipUri, scheme};
use super::via::Via;

/// What the message arrived over: decides what a missing or wrong Content-Length means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// One message a datagram.
    Datagram,
    /// Messages framed by Content-Length.
    Stream,
}

/// As what the receiver acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Forwards requests, does not look into bodies.
    Proxy,
    /// Answers requests itself.
    Endpoint,
}

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to object to.
    Accept,
    /// Answer the request with this status code.
    Reject {
        /// The status code.
        code: u16,
    },
    /// Do not answer.
    Drop {
        /// Why, for the counters.
        reason: DropReason,
    },
}

/// Why a message is dropped without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// No start line can be told.
    NotSip(ParseError),
    /// A request without a readable Via: nobody to answer.
    NoVia,
    /// A faulty ACK: ACK has no response (RFC 3261 17.1.1.3).
    Ack,
    /// A stream has not brought the whole body yet; wait for the rest.
    Incomplete,
    /// A response with a status code outside 100 to 699.
    StatusCode,
    /// A response with a missing, repeated or malformed header field.
    ResponseFields,
    /// A response that would travel on to a broadcast or multicast address (RFC 4475 3.3.10).
    BroadcastVia,
    /// A response for somebody else: more than one Via (RFC 3261 8.1.3.3).
    SeveralVias,
}

/// Header fields that every message has (RFC 3261 8.1.1); Max-Forwards is missing in requests of
/// RFC 2543 elements and not insisted on.
const MANDATORY: [HeaderName; 5] = [
    HeaderName::Via,
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
];

/// Header fields that occur once at most.
const SINGLE: [HeaderName; 5] = [
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::MaxForwards,
];

/// Content types an endpoint reads; multipart types are accepted whole.
const CONTENT_TYPES: [&[u8]; 5] = [
    b"application/vnd.wap.sia",
    b"application/vnd.oma.push",
    b"application/sdp",
    b"text/plain",
    b"message/sipfrag",
];

/// Judges one message by the rules that hold in every role.
#[must_use]
pub fn screen(octets: &[u8], transport: Transport) -> Verdict {
    judge(octets, transport, None)
}

/// Judges one message by the rules of every role and those of `role`.
#[must_use]
pub fn screen_as(octets: &[u8], transport: Transport, role: Role) -> Verdict {
    judge(octets, transport, Some(role))
}

fn judge(octets: &[u8], transport: Transport, role: Option<Role>) -> Verdict {
    let (message, fault) = match Message::scan(octets) {
        Ok(scanned) => scanned,
        Err(error) => {
            return Verdict::Drop {
                reason: DropReason::NotSip(error),
            };
        }
    };
    if fault == Some(ParseError::BodyTruncated) && transport == Transport::Stream {
        return Verdict::Drop {
            reason: DropReason::Incomplete,
        };
    }
    if message.status_code().is_some() {
        return match response(&message, fault, role) {
            Ok(()) => Verdict::Accept,
            Err(reason) => Verdict::Drop { reason },
        };
    }
    match request(&message, fault, transport, role) {
        Ok(()) => Verdict::Accept,
        Err(_) if message.header(HeaderName::Via).is_none() => Verdict::Drop {
            reason: DropReason::NoVia,
        },
        Err(_) if message.method() == Some(Method::Ack) => Verdict::Drop {
            reason: DropReason::Ack,
        },
        Err(code) => Verdict::Reject { code },
    }
}

fn response(
    message: &Message<'_>,
    fault: Option<ParseError>,
    role: Option<Role>,
) -> Result<(), DropReason> {
    if !message
        .status_code()
        .is_some_and(|code| (100..=699).contains(&code))
    {
        return Err(DropReason::StatusCode);
    }
    if fault.is_some() || !fields_are_sound(message) || message.cseq().is_none() {
        return Err(DropReason::ResponseFields);
    }
    let mut count = 0;
    for list in message.values(HeaderName::Via) {
        let mut rest = list;
        while let Some((via, after)) = Via::split(rest) {
            count += 1;
            if is_broadcast(via.host_port().0) {
                return Err(DropReason::BroadcastVia);
            }
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
    }
    if role == Some(Role::Endpoint) && count > 1 {
        return Err(DropReason::SeveralVias);
    }
    Ok(())
}

/// Tells whether `host` is a broadcast or multicast address.
fn is_broadcast(host: &[u8]) -> bool {
    let text = std::str::from_utf8(host)
        .unwrap_or("")
        .trim_matches(['[', ']']);
    match text.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => address.is_broadcast() || address.is_multicast(),
        Ok(std::net::IpAddr::V6(address)) => address.is_multicast(),
        Err(_) => false,
    }
}

/// Returns the status code that refuses the request.
fn request(
    message: &Message<'_>,
    fault: Option<ParseError>,
    transport: Transport,
    role: Option<Role>,
) -> Result<(), u16> {
    if !message.version_supported() {
        return Err(505);
    }
    if fault.is_some() || !fields_are_sound(message) {
        return Err(400);
    }
    // RFC 3261 18.3: on a stream only Content-Length tells where the message ends.
    if transport == Transport::Stream && message.header(HeaderName::ContentLength).is_none() {
        return Err(400);
    }
    let method = message.method().ok_or(400u16)?;
    match message.cseq() {
        None => return Err(400),
        Some(CSeq { method: named, .. }) if named != method => {
            // RFC 4475 3.1.2.18: 501 where the method is unknown, 400 where we know better.
            return Err(if matches!(method, Method::Other(_)) {
                501
            } else {
                400
            });
        }
        Some(_) => {}
    }
    request_uri(message.request_uri().unwrap_or(b""))?;
    extensions(message, role)?;
    match role {
        Some(Role::Proxy) => proxy(message),
        Some(Role::Endpoint) => endpoint(message, method),
        None => Ok(()),
    }
}

/// Checks presence, number and grammar of the header fields that all messages need.
fn fields_are_sound(message: &Message<'_>) -> bool {
    let present = |name: &HeaderName| message.header(*name).is_some_and(|value| !value.is_empty());
    if !MANDATORY.iter().all(present) || SINGLE.iter().any(|name| message.repeats(*name)) {
        return false;
    }
    let call_id = message.call_id().unwrap_or(b"");
    call_id.iter().all(u8::is_ascii_graphic)
        && message.headers().all(|(name, _, value)| match name {
            HeaderName::Via => Via::is_list(value),
            HeaderName::Contact => value == b"*" || Address::is_list(value),
            HeaderName::Route | HeaderName::RecordRoute => Address::is_list(value),
            HeaderName::From | HeaderName::To => {
                Address::split(value).is_some_and(|(_, rest)| rest.is_empty())
            }
            _ => true,
        })
}

fn request_uri(uri: &[u8]) -> Result<(), u16> {
    let scheme = scheme(uri).ok_or(400u16)?;
    if !uri.iter().all(u8::is_ascii_graphic) {
        return Err(400);
    }
    if !scheme.eq_ignore_ascii_case(b"sip") && !scheme.eq_ignore_ascii_case(b"sips") {
        return Err(416);
    }
    match SipUri::parse(uri) {
        // RFC 3261 19.1.1: headers are not allowed in a Request-URI.
        Some(parsed) if parsed.headers().next().is_none() => Ok(()),
        _ => Err(400),
    }
}

/// RFC 3261 8.2.2.3, 16.3: we support no option tag, so every required one is a reason for 420.
fn extensions(message: &Message<'_>, role: Option<Role>) -> Result<(), u16> {
    let requires = |name| {
        message.header(name).is_some() && message.values(name).any(|value| !value.is_empty())
    };
    let endpoint = role != Some(Role::Proxy) && requires(HeaderName::Require);
    let proxy = role != Some(Role::Endpoint) && requires(HeaderName::ProxyRequire);
    // RFC 3261 8.2.2.3: ACK and CANCEL are never refused for their extensions.
    let exempt = matches!(message.method(), Some(Method::Ack | Method::Cancel));
    if (endpoint || proxy) && !exempt {
        Err(420)
    } else {
        Ok(())
    }
}

fn proxy(message: &Message<'_>) -> Result<(), u16> {
    // RFC 3261 16.3: zero hops left. A value out of range counts as absent (RFC 4475 3.1.2.4).
    match message.header(HeaderName::MaxForwards).and_then(decimal) {
        Some(0) => Err(483),
        _ => Ok(()),
    }
}

fn endpoint(message: &Message<'_>, method: Method<'_>) -> Result<(), u16> {
    let media_type = |value: &'_ [u8]| {
        let end = memchr::memchr(b';', value).unwrap_or(value.len());
        trim(&value[..end]).to_ascii_lowercase()
    };
    if !message.body().is_empty() {
        let content_type = message.header(HeaderName::ContentType).map(media_type);
        let known = content_type.is_none_or(|content_type| {
            content_type.starts_with(b"multipart/")
                || CONTENT_TYPES.contains(&content_type.as_slice())
        });
        if !known {
            return Err(415);
        }
    }
    if method == Method::Invite {
        let mut ranges = message
            .values(HeaderName::Accept)
            .flat_map(|value| value.split(|&octet| octet == b','))
            .map(media_type)
            .peekable();
        let named = ranges.peek().is_some();
        let answerable: [&[u8]; 3] = [b"application/sdp", b"application/*", b"*/*"];
        // RFC 4475 3.3.15: no session can be described in the formats that the caller accepts.
        if named && !ranges.any(|range| answerable.contains(&range.as_slice())) {
            return Err(406);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, fields: &str) -> Vec<u8> {
        format!(
            "{method} sip:a@h SIP/2.0\r\nFrom: <sip:p@g>;tag=1\r\nTo: <sip:a@h>\r\nCall-ID: c\r\n\
             CSeq: 1 {method}\r\n{fields}\r\n"
        )
        .into_bytes()
    }

    const VIA: &str = "Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n";

    fn judged(method: &str, fields: &str) -> Verdict {
        screen(&request(method, fields), Transport::Datagram)
    }

    #[test]
    fn nobody_answers_an_ack_or_a_stranger() {
        assert_eq!(judged("ACK", VIA), Verdict::Accept);
        let twice = format!("{VIA}Call-ID: d\r\n");
        assert_eq!(judged("BYE", &twice), Verdict::Reject { code: 400 });
        assert_eq!(
            judged("ACK", &twice),
            Verdict::Drop {
                reason: DropReason::Ack
            }
        );
        assert_eq!(
            judged("BYE", ""),
            Verdict::Drop {
                reason: DropReason::NoVia
            }
        );
    }

    #[test]
    fn extensions_are_refused_in_their_role() {
        let as_role = |fields: &str, role| {
            let fields = format!("{VIA}{fields}");
            screen_as(&request("OPTIONS", &fields), Transport::Datagram, role)
        };
        let refused = Verdict::Reject { code: 420 };
        assert_eq!(as_role("Require: path\r\n", Role::Endpoint), refused);
        assert_eq!(as_role("Require: path\r\n", Role::Proxy), Verdict::Accept);
        assert_eq!(as_role("Proxy-Require: x\r\n", Role::Proxy), refused);
        assert_eq!(
            as_role("Proxy-Require: x\r\n", Role::Endpoint),
            Verdict::Accept
        );
        assert_eq!(as_role("Require:\r\n", Role::Endpoint), Verdict::Accept);
        let cancel = request("CANCEL", &format!("{VIA}Require: x\r\n"));
        assert_eq!(screen(&cancel, Transport::Datagram), Verdict::Accept);
    }

    #[test]
    fn responses_for_others_are_dropped() {
        let response = |code: u16, vias: &str| {
            let text = format!(
                "SIP/2.0 {code} x\r\nVia: {vias}\r\nFrom: <sip:p@g>;tag=1\r\nTo: <sip:a@h>\r\n\
                 Call-ID: c\r\nCSeq: 1 BYE\r\n\r\n"
            );
            screen_as(text.as_bytes(), Transport::Datagram, Role::Endpoint)
        };
        let drop = |reason| Verdict::Drop { reason };
        assert_eq!(response(200, "SIP/2.0/UDP h"), Verdict::Accept);
        assert_eq!(response(99, "SIP/2.0/UDP h"), drop(DropReason::StatusCode));
        assert_eq!(response(700, "SIP/2.0/UDP h"), drop(DropReason::StatusCode));
        assert_eq!(
            response(200, "SIP/2.0/UDP h, SIP/2.0/UDP i"),
            drop(DropReason::SeveralVias)
        );
        assert_eq!(
            response(200, "SIP/2.0/UDP [ff02::1]"),
            drop(DropReason::BroadcastVia)
        );
        assert_eq!(
            response(200, "SIP/2.0/UDP"),
            drop(DropReason::ResponseFields)
        );
    }
}
