//! The texts of a dialog as one cell of the arena: what requests inside it are written from (RFC 3261 12.1.1).
//!
//! Fields as the INVITE had them, lengths in front. To is left out where it is the gateway's usual URI, the peer's
//! address where it fits the slot, and the begin of Contact where it is that of From. Nothing is parsed again when a
//! request is written.

use crate::asked::{address_uri, uri_address, uri_param};
use memchr::memchr;
use sirocco_wire::sdp::MessageStream;
use sirocco_wire::sip::list::list_values;
use sirocco_wire::writer::Writer;
use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Longest From, and longest Contact: far above real ones, so that a session cannot be made expensive.
const ADDRESS_MAX: usize = 512;
/// Longest Call-ID, To, and MSRP path with the types that go with it.
const TEXT_MAX: usize = 255;
/// One more than the longest text of an MSRP path: a longer one shows by its length.
pub const MSRP_TEXT_MAX: usize = TEXT_MAX + 1;
/// Stands between the MSRP path and the accepted types.
const TYPES_BEHIND: u8 = b'\n';
/// Longest route set: about ten proxies.
const ROUTES_MAX: usize = 1024;
/// Octets in front of the texts: lengths, what Contact shares with From, the time.
const HEAD: usize = 14;
/// Octets of an address that is kept: IPv6 and port.
const PEER_BYTES: usize = 18;
/// Marks a cell with an address, beside the octets that Contact shares with From.
const HAS_PEER: u8 = 0x80;
const SHARED_MAX: usize = 0x7f;

/// The texts of one dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Texts<'a> {
    /// Call-ID.
    pub call_id: &'a [u8],
    /// From of the INVITE, the To of our requests.
    pub remote: &'a [u8],
    /// To of the INVITE, the From of our requests but for our tag; empty: the usual one.
    pub local: &'a [u8],
    /// The URI of Contact, the Request-URI of our requests, in two parts.
    pub target: [&'a [u8]; 2],
    /// Values of Record-Route, the Route of our requests.
    pub routes: &'a [u8],
    /// The device's MSRP path and the types that it accepts, [`TYPES_BEHIND`] between them, where it offers MSRP.
    pub path: &'a [u8],
    /// The peer's address where the slot does not hold it.
    pub peer: Option<SocketAddr>,
    /// When the session was opened, in seconds of the worker's clock.
    pub opened_s: u32,
}

/// Where the URI of an address value begins.
fn uri_start(address: &[u8]) -> usize {
    memchr(b'<', address).map_or(0, |open| open + 1)
}

impl<'a> Texts<'a> {
    /// Splits the URI of Contact where it stops being that of From.
    pub fn split_target(remote: &[u8], target: &'a [u8]) -> [&'a [u8]; 2] {
        let other = &remote[uri_start(remote)..];
        let pairs = target.iter().zip(other).take(SHARED_MAX);
        let shared = pairs.take_while(|(one, other)| one == other).count();
        let (shared, own) = target.split_at(shared);
        [shared, own]
    }

    /// The device's MSRP path, and the content types that it accepts.
    pub fn msrp(&self) -> (&'a [u8], &'a [u8]) {
        let end = memchr(TYPES_BEHIND, self.path).unwrap_or(self.path.len());
        (
            &self.path[..end],
            self.path.get(end + 1..).unwrap_or_default(),
        )
    }

    /// Where the top route or else Contact says that requests go, if it names an address that UDP reaches.
    #[cold]
    pub fn next_hop(&self) -> Option<SocketAddr> {
        let mut room = [0; ADDRESS_MAX];
        let uri = match list_values(self.routes).next() {
            Some(top) => address_uri(top),
            None => {
                let mut rest = &mut room[..];
                for part in self.target {
                    rest.write_all(part).ok()?;
                }
                let left = rest.len();
                &room[..ADDRESS_MAX - left]
            }
        };
        let transport = uri_param(uri, b"transport");
        let by_udp = transport.is_none_or(|transport| transport.eq_ignore_ascii_case(b"udp"));
        uri_address(uri).filter(|_| by_udp)
    }

    /// Octets of the cell; `None` when a text is too long to be kept.
    pub fn cell_bytes(&self) -> Option<usize> {
        let target: usize = self.target.iter().map(|part| part.len()).sum();
        let fits = self.remote.len() <= ADDRESS_MAX
            && target <= ADDRESS_MAX
            && self.routes.len() <= ROUTES_MAX
            && [self.call_id, self.local, self.path]
                .iter()
                .all(|text| text.len() <= TEXT_MAX);
        let peer = if self.peer.is_some() { PEER_BYTES } else { 0 };
        let sum: usize = self.in_order().iter().map(|text| text.len()).sum();
        fits.then_some(HEAD + sum + peer)
    }

    fn in_order(&self) -> [&'a [u8]; 6] {
        [
            self.call_id,
            self.remote,
            self.target[1],
            self.local,
            self.path,
            self.routes,
        ]
    }

    /// Writes the cell.
    pub fn write(&self, cell: &mut [u8]) {
        let has_peer = if self.peer.is_some() { HAS_PEER } else { 0 };
        let two = |length: usize| (length as u16).to_le_bytes();
        cell[..4].copy_from_slice(&self.opened_s.to_le_bytes());
        cell[4] = self.target[0].len() as u8 | has_peer;
        cell[5] = self.call_id.len() as u8;
        cell[6] = self.local.len() as u8;
        cell[7] = self.path.len() as u8;
        cell[8..10].copy_from_slice(&two(self.remote.len()));
        cell[10..12].copy_from_slice(&two(self.target[1].len()));
        cell[12..14].copy_from_slice(&two(self.routes.len()));
        let mut rest = &mut cell[HEAD..];
        for text in self.in_order() {
            let (place, after) = rest.split_at_mut(text.len());
            place.copy_from_slice(text);
            rest = after;
        }
        if let Some(peer) = self.peer {
            let ip = match peer.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            rest[..16].copy_from_slice(&ip.octets());
            rest[16..18].copy_from_slice(&peer.port().to_le_bytes());
        }
    }

    /// Reads a cell that [`Texts::write`] wrote.
    #[inline]
    pub fn read(cell: &'a [u8]) -> Texts<'a> {
        let (head, mut rest) = cell.split_at(HEAD);
        let two = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
        let mut next = |length: usize| {
            let (text, after) = rest.split_at(length);
            rest = after;
            text
        };
        let call_id = next(usize::from(head[5]));
        let remote = next(two(8));
        let own = next(two(10));
        let local = next(usize::from(head[6]));
        let path = next(usize::from(head[7]));
        let routes = next(two(12));
        let shared = usize::from(head[4] & !HAS_PEER);
        let start = if shared == 0 { 0 } else { uri_start(remote) };
        Texts {
            call_id,
            remote,
            local,
            target: [&remote[start..start + shared], own],
            routes,
            path,
            peer: (head[4] & HAS_PEER != 0).then(|| read_peer(rest)),
            opened_s: u32::from_le_bytes([head[0], head[1], head[2], head[3]]),
        }
    }
}

/// What the device's MSRP path and its accepted types come to as one text; types that do not fit are left out.
pub fn msrp_text<'a>(room: &'a mut [u8; MSRP_TEXT_MAX], stream: &MessageStream<'_>) -> &'a [u8] {
    let mut writer = Writer::new(room);
    let fits = writer.put(stream.path).is_ok();
    let mut lead = TYPES_BEHIND;
    for kind in stream.accept_types.split(|octet| *octet == b' ') {
        if writer.len() + 1 + kind.len() > MSRP_TEXT_MAX {
            break;
        }
        let _ = writer.put(&[lead]).and_then(|()| writer.put(kind));
        lead = b' ';
    }
    // A path that is too long makes a text that is too long to be kept.
    let length = if fits { writer.len() } else { MSRP_TEXT_MAX };
    &room[..length]
}

fn read_peer(octets: &[u8]) -> SocketAddr {
    let mut ip = [0; 16];
    ip.copy_from_slice(&octets[..16]);
    let port = u16::from_le_bytes([octets[16], octets[17]]);
    SocketAddr::new(Ipv6Addr::from(ip).to_canonical(), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_and_long_ones_are_refused() {
        let long = [b'x'; ADDRESS_MAX + 1];
        let texts = Texts {
            call_id: b"call",
            remote: b"\"A\" <sip:a@h>;tag=1",
            local: b"",
            target: Texts::split_target(b"\"A\" <sip:a@h>;tag=1", b"sip:a@edge"),
            routes: b"<sip:p;lr>",
            path: b"msrp://h/s;tcp",
            peer: "[2001:db8::7]:5071".parse().ok(),
            opened_s: 77,
        };
        assert_eq!(texts.target, [&b"sip:a@"[..], b"edge"]);
        let length = texts.cell_bytes().expect("short texts");
        let mut cell = vec![0; length];
        texts.write(&mut cell);
        assert_eq!(Texts::read(&cell), texts);
        let bare = Texts {
            peer: None,
            target: [b"", b"tel:1"],
            ..texts
        };
        bare.write(&mut cell);
        assert_eq!(Texts::read(&cell), bare);
        for unkept in [
            Texts {
                target: [b"", &long],
                ..texts
            },
            Texts {
                call_id: &long[..256],
                ..texts
            },
        ] {
            assert_eq!(unkept.cell_bytes(), None);
        }
    }
}
