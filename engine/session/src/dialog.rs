//! The texts of a dialog as one cell of the arena: what requests inside it are written from (RFC 3261 12.1.1).
//!
//! Fields as the INVITE had them, lengths in front. To is left out where it is the gateway's usual URI, the peer's
//! address where it fits the slot. Nothing is parsed again when a request is written.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Longest of each text: far above real ones, so that a session cannot be made expensive.
const TEXT_MAX: usize = 512;
/// Longest route set: about ten proxies.
const ROUTES_MAX: usize = 1024;
/// Octets in front of the texts.
const HEAD: usize = 18;
/// Octets of an address that is kept: IPv6 and port.
const PEER_BYTES: usize = 18;

/// The texts of one dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Texts<'a> {
    /// Call-ID.
    pub call_id: &'a [u8],
    /// From of the INVITE, the To of our requests.
    pub remote: &'a [u8],
    /// To of the INVITE, the From of our requests but for our tag; empty: the usual one.
    pub local: &'a [u8],
    /// The URI of Contact, the Request-URI of our requests.
    pub target: &'a [u8],
    /// Values of Record-Route, the Route of our requests.
    pub routes: &'a [u8],
    /// The device's MSRP path, where content goes that way.
    pub path: &'a [u8],
    /// The peer's address where the slot does not hold it.
    pub peer: Option<SocketAddr>,
    /// When the session was opened, in seconds of the worker's clock.
    pub opened_s: u32,
}

impl<'a> Texts<'a> {
    /// Octets of the cell; `None` when a text is too long to be kept.
    pub fn cell_bytes(&self) -> Option<usize> {
        let texts = [
            self.call_id,
            self.remote,
            self.local,
            self.target,
            self.path,
        ];
        let fits =
            texts.iter().all(|text| text.len() <= TEXT_MAX) && self.routes.len() <= ROUTES_MAX;
        let peer = if self.peer.is_some() { PEER_BYTES } else { 0 };
        let sum: usize = texts.iter().map(|text| text.len()).sum();
        fits.then_some(HEAD + sum + self.routes.len() + peer)
    }

    /// Writes the cell.
    pub fn write(&self, cell: &mut [u8]) {
        let peer = self.peer.map(|peer| {
            let ip = match peer.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            let mut octets = [0; PEER_BYTES];
            octets[..16].copy_from_slice(&ip.octets());
            octets[16..].copy_from_slice(&peer.port().to_le_bytes());
            octets
        });
        let peer = peer.as_ref().map_or(&[][..], |octets| octets.as_slice());
        let texts = [
            self.call_id,
            self.remote,
            self.local,
            self.target,
            self.routes,
            self.path,
            peer,
        ];
        let mut at = HEAD;
        for (number, text) in texts.into_iter().enumerate() {
            let length = (text.len() as u16).to_le_bytes();
            cell[number * 2..number * 2 + 2].copy_from_slice(&length);
            cell[at..at + text.len()].copy_from_slice(text);
            at += text.len();
        }
        cell[14..18].copy_from_slice(&self.opened_s.to_le_bytes());
    }

    /// Reads a cell that [`Texts::write`] wrote.
    #[inline]
    pub fn read(cell: &'a [u8]) -> Texts<'a> {
        let mut rest = &cell[HEAD..];
        let mut next = |number: usize| {
            let length = u16::from_le_bytes([cell[number * 2], cell[number * 2 + 1]]);
            let (text, after) = rest.split_at(usize::from(length));
            rest = after;
            text
        };
        Texts {
            call_id: next(0),
            remote: next(1),
            local: next(2),
            target: next(3),
            routes: next(4),
            path: next(5),
            peer: read_peer(next(6)),
            opened_s: u32::from_le_bytes([cell[14], cell[15], cell[16], cell[17]]),
        }
    }
}

fn read_peer(octets: &[u8]) -> Option<SocketAddr> {
    let ip: [u8; 16] = *octets.first_chunk()?;
    let port = u16::from_le_bytes(*octets.last_chunk()?);
    Some(SocketAddr::new(Ipv6Addr::from(ip).to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_and_long_ones_are_refused() {
        let long = [b'x'; TEXT_MAX + 1];
        let texts = Texts {
            call_id: b"call",
            remote: b"<sip:a@h>;tag=1",
            local: b"",
            target: b"sip:a@edge",
            routes: b"<sip:p;lr>",
            path: b"msrp://h/s;tcp",
            peer: "[2001:db8::7]:5071".parse().ok(),
            opened_s: 77,
        };
        let length = texts.cell_bytes().expect("short texts");
        let mut cell = vec![0; length];
        texts.write(&mut cell);
        assert_eq!(Texts::read(&cell), texts);
        let bare = Texts {
            peer: None,
            ..texts
        };
        bare.write(&mut cell);
        assert_eq!(Texts::read(&cell), bare);
        let unkept = Texts {
            target: &long,
            ..texts
        };
        assert_eq!(unkept.cell_bytes(), None);
    }
}
