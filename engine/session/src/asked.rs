//! A request as the sessions see it: the fields that every answer needs, read once, and where the answer goes.
//!
//! Only what is read is checked; a request that fails goes to `sirocco_wire::sip::screen_as`, which knows the
//! status code. Values that belong to one kind of request are read by whoever answers it.

use memchr::memchr;
use sirocco_wire::sip::contact::Contact;
use sirocco_wire::sip::mould::tag_of;
use sirocco_wire::sip::token::{find_unquoted, trim};
use sirocco_wire::sip::uri::{SIP_PORT, split_host_port};
use sirocco_wire::sip::{CSeq, HeaderName, Message, Method, Via};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One request.
pub struct Asked<'a> {
    /// All of it.
    pub message: &'a Message<'a>,
    /// What is asked.
    pub method: Method<'a>,
    /// Its CSeq.
    pub cseq: CSeq<'a>,
    /// The sender's Via.
    pub via: Via<'a>,
    /// Call-ID.
    pub call_id: &'a [u8],
    /// From as written.
    pub from: &'a [u8],
    /// To as written.
    pub to: &'a [u8],
    /// Tag of From; empty for elements of RFC 2543.
    pub from_tag: &'a [u8],
    /// Tag of To: present inside dialogs.
    pub to_tag: Option<&'a [u8]>,
    /// Where the answer goes.
    pub way: Way,
}

/// Where an answer goes, and what that adds to the top Via.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// RFC 3261 18.2.2, RFC 3581 4: the target over UDP. `maddr` is not followed: it would let a stranger aim us.
    pub target: SocketAddr,
    /// The source of the request.
    pub peer: SocketAddr,
    /// RFC 3261 18.2.1: sent-by is not the address that the request came from.
    pub received: bool,
    /// RFC 3581 3: the sender asks for its port.
    pub rport: bool,
}

impl<'a> Asked<'a> {
    /// Reads a request from `peer`; `None` when a field that every request has is missing or malformed.
    #[inline]
    pub fn read(message: &'a Message<'a>, peer: SocketAddr) -> Option<Asked<'a>> {
        const SINGLE: [HeaderName; 4] = [
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
        ];
        let method = message.method()?;
        let via = message.top_via()?;
        let cseq = message.cseq()?;
        let sound = cseq.method == method
            && message.version_supported()
            && !SINGLE.iter().any(|name| message.repeats(*name));
        if !sound {
            return None;
        }
        let (from, to) = (message.from()?, message.to()?);
        Some(Asked {
            message,
            method,
            cseq,
            via,
            call_id: message.call_id().filter(|call_id| !call_id.is_empty())?,
            from,
            to,
            from_tag: tag_of(from).unwrap_or(b""),
            to_tag: tag_of(to),
            way: Way::of(&via, peer),
        })
    }

    /// The media type of the body, without its parameters; empty when there is none.
    #[inline]
    pub fn media_type(&self) -> &'a [u8] {
        let value = self.message.header(HeaderName::ContentType).unwrap_or(b"");
        let end = memchr(b';', value).unwrap_or(value.len());
        trim(&value[..end])
    }

    /// The device that a Contact value names: its instance, else the `gr` of its URI.
    pub fn device(contact: &'a [u8]) -> &'a [u8] {
        let contact = Contact::parse(contact);
        contact.and_then(|contact| contact.device()).unwrap_or(b"")
    }

    /// The token of the Request-URI; empty when there is none.
    #[inline]
    pub fn token(&self) -> &'a [u8] {
        uri_param(self.message.request_uri().unwrap_or(b""), b"t").unwrap_or(b"")
    }
}

/// The URI of a From, To, Contact or Route value, without its brackets.
#[inline]
pub fn address_uri(value: &[u8]) -> &[u8] {
    let open = find_unquoted(value, b'<', b'<');
    if open < value.len() {
        let inner = &value[open + 1..];
        return &inner[..memchr(b'>', inner).unwrap_or(inner.len())];
    }
    trim(&value[..find_unquoted(value, b';', b',')])
}

/// The value of a parameter of a SIP URI; empty for a bare name.
#[inline]
pub fn uri_param<'a>(uri: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    // RFC 3261 25.1: a semicolon may stand in the user part, a question mark ends the parameters.
    let host = memchr(b'@', uri).map_or(0, |at| at + 1);
    let uri = &uri[host..];
    let uri = &uri[..memchr(b'?', uri).unwrap_or(uri.len())];
    let mut pieces = uri.split(|&octet| octet == b';');
    pieces.next();
    pieces.find_map(|piece| {
        let equals = memchr(b'=', piece).unwrap_or(piece.len());
        piece[..equals]
            .eq_ignore_ascii_case(name)
            .then(|| piece.get(equals + 1..).unwrap_or(b""))
    })
}

/// Host and port of a SIP URI, where the host is an address.
pub fn uri_address(uri: &[u8]) -> Option<SocketAddr> {
    let scheme = memchr(b':', uri)?;
    let rest = &uri[scheme + 1..];
    let rest = &rest[memchr(b'@', rest).map_or(0, |at| at + 1)..];
    let end = rest.iter().position(|octet| b";?>".contains(octet));
    let (host, port) = split_host_port(&rest[..end.unwrap_or(rest.len())]);
    let port = port.unwrap_or(SIP_PORT);
    (port != 0).then_some(SocketAddr::new(host_address(host)?, port))
}

impl Way {
    /// Where the answer to a request from `peer` with this top Via goes.
    #[inline]
    pub fn of(via: &Via<'_>, peer: SocketAddr) -> Way {
        let (host, port) = via.host_port();
        let rport = via.params.find(b"rport").is_some();
        let received = rport || host_address(host) != Some(peer.ip().to_canonical());
        let port = match port {
            _ if rport => peer.port(),
            Some(0) | None => SIP_PORT,
            Some(port) => port,
        };
        Way {
            target: SocketAddr::new(peer.ip(), port),
            peer,
            received,
            rport,
        }
    }
}

/// The address that a host is; `None` for a name.
#[inline]
pub fn host_address(host: &[u8]) -> Option<IpAddr> {
    match ipv4(host) {
        Some(ip) => Some(IpAddr::V4(ip)),
        None => ipv6(host),
    }
}

/// Reads four decimal octets with points between them.
#[inline]
fn ipv4(host: &[u8]) -> Option<Ipv4Addr> {
    let mut bits = 0u32;
    let mut octet = 0u32;
    let (mut points, mut digits) = (0, 0);
    for &character in host {
        match character {
            b'0'..=b'9' => {
                octet = octet * 10 + u32::from(character - b'0');
                digits += 1;
                if octet > 255 || digits > 3 {
                    return None;
                }
            }
            b'.' if digits > 0 && points < 3 => {
                bits = bits << 8 | octet;
                points += 1;
                (octet, digits) = (0, 0);
            }
            _ => return None,
        }
    }
    (points == 3 && digits > 0).then(|| Ipv4Addr::from_bits(bits << 8 | octet))
}

fn ipv6(host: &[u8]) -> Option<IpAddr> {
    let inner = host.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let address: Ipv6Addr = std::str::from_utf8(inner).ok()?.parse().ok()?;
    Some(IpAddr::V6(address).to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(via: &str, peer: &str) -> (String, bool, bool) {
        let via = Via::parse(via.as_bytes()).expect("a Via");
        let way = Way::of(&via, peer.parse().expect("an address"));
        (way.target.to_string(), way.received, way.rport)
    }

    #[test]
    fn answers_go_where_the_via_and_the_source_say() {
        let peer = "192.0.2.1:7000";
        let known = ("192.0.2.1:5070".to_owned(), false, false);
        assert_eq!(
            way("SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1", peer),
            known
        );
        let unknown = ("192.0.2.1:5060".to_owned(), true, false);
        assert_eq!(way("SIP/2.0/UDP h.example;branch=z9hG4bK1", peer), unknown);
        assert_eq!(way("SIP/2.0/UDP 192.0.2.2;maddr=192.0.2.9", peer), unknown);
        let rport = ("192.0.2.1:7000".to_owned(), true, true);
        assert_eq!(
            way("SIP/2.0/UDP 192.0.2.1:5070;rport;branch=x", peer),
            rport
        );
        let six = ("[2001:db8::1]:5061".to_owned(), false, false);
        assert_eq!(
            way("SIP/2.0/UDP [2001:DB8::1]:5061", "[2001:db8::1]:9"),
            six
        );
    }

    #[test]
    fn uris_give_their_parts() {
        let value = b"\"<x>\" <sip:a;t=no@192.0.2.1:5071;gr=urn:uuid:1;T=2?t=3>;tag=5";
        let uri = address_uri(value);
        assert_eq!(uri, b"sip:a;t=no@192.0.2.1:5071;gr=urn:uuid:1;T=2?t=3");
        assert_eq!(uri_param(uri, b"t"), Some(&b"2"[..]));
        assert_eq!(uri_param(uri, b"lr"), None);
        assert_eq!(uri_param(b"sip:h;lr", b"lr"), Some(&b""[..]));
        assert_eq!(address_uri(b"sip:a@h ;tag=1"), b"sip:a@h");
        let address = |uri: &str| uri_address(uri.as_bytes()).map(|at| at.to_string());
        assert_eq!(
            address("sip:a@192.0.2.1:5071;lr").as_deref(),
            Some("192.0.2.1:5071")
        );
        assert_eq!(
            address("sip:[2001:db8::1]").as_deref(),
            Some("[2001:db8::1]:5060")
        );
        assert_eq!(address("sip:edge.example:5060"), None);
        assert_eq!(address("sip:192.0.2.1:99999"), None);
    }

    #[test]
    fn a_device_is_its_instance_or_its_gruu() {
        let both = b"<sip:a@h;gr=urn:x:1>;+sip.instance=\"<urn:uuid:2>\";expires=5";
        assert_eq!(Asked::device(both), b"urn:uuid:2");
        assert_eq!(Asked::device(b"<sip:a@h;gr=urn:x:1>"), b"urn:x:1");
        assert_eq!(Asked::device(b"<sip:a@h>"), b"");
    }

    #[test]
    fn only_four_octets_are_an_ipv4_address() {
        assert_eq!(ipv4(b"127.0.0.1"), Some(Ipv4Addr::LOCALHOST));
        assert_eq!(ipv4(b"255.255.255.255"), Some(Ipv4Addr::BROADCAST));
        for text in [
            "",
            "1.2.3",
            "1.2.3.4.5",
            "1..2.3",
            "256.1.1.1",
            "1.2.3.x",
            "1.2.3.",
            "0001.2.3.4",
        ] {
            assert_eq!(ipv4(text.as_bytes()), None, "{text}");
        }
    }
}
