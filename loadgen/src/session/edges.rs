//! The addresses of the edges as texts, for Via, Contact and SDP. Called by `calls`.

use std::io::Write;
use std::net::SocketAddr;

use crate::population::Origin;

/// The sockets of one worker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edges {
    addresses: Vec<SocketAddr>,
    texts: Vec<Vec<u8>>,
    /// Where connections are taken, where they are.
    stream_texts: Vec<Vec<u8>>,
}

impl Edges {
    pub(crate) fn new(addresses: &[SocketAddr], listeners: &[SocketAddr]) -> Edges {
        let text = |address: &SocketAddr| address.to_string().into_bytes();
        Edges {
            addresses: addresses.to_vec(),
            texts: addresses.iter().map(text).collect(),
            stream_texts: listeners.iter().map(text).collect(),
        }
    }

    /// Returns the way out of the edge whose turn it is; the peer is still to be named.
    pub(crate) fn origin(&self, number: u32) -> Origin {
        let count = self.addresses.len().max(1) as u32;
        let socket = (number % count) as u16;
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = self.addresses.get(usize::from(socket)).copied();
        let everywhere = address.is_some_and(|address| address.ip().is_unspecified());
        Origin {
            socket,
            stream: 0,
            peer: unknown,
            local: everywhere.then(|| unknown.ip()),
        }
    }

    /// Returns the `host:port` that `origin` is reached at, which may be written into `buffer`.
    #[inline]
    pub(crate) fn text<'a>(&'a self, origin: &Origin, buffer: &'a mut [u8; 64]) -> &'a [u8] {
        let socket = usize::from(origin.socket);
        if let Some(text) = self.stream_texts.get(socket).filter(|_| origin.stream > 0) {
            return text;
        }
        match (self.addresses.get(socket), origin.local) {
            (Some(address), Some(local)) if address.ip().is_unspecified() => {
                let address = SocketAddr::new(local, address.port());
                let mut rest = &mut buffer[..];
                // The longest address has 47 octets.
                let _ = write!(rest, "{address}");
                let length = 64 - rest.len();
                &buffer[..length]
            }
            (Some(_), _) => &self.texts[socket],
            (None, _) => b"127.0.0.1:5060",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::origin;

    #[test]
    fn an_edge_is_named_by_its_address_or_by_the_one_that_was_asked() {
        let addresses = ["127.0.0.1:6000", "0.0.0.0:7000"].map(|text| text.parse().unwrap());
        let edges = Edges::new(&addresses, &["127.0.0.1:6001".parse().unwrap()]);
        let mut buffer = [0; 64];
        assert_eq!(edges.text(&origin(), &mut buffer), b"127.0.0.1:6000");
        let connected = Origin {
            stream: 1,
            ..origin()
        };
        assert_eq!(edges.text(&connected, &mut buffer), b"127.0.0.1:6001");
        let direct = Origin {
            socket: 1,
            local: Some([127, 3, 0, 1].into()),
            ..origin()
        };
        assert_eq!(edges.text(&direct, &mut buffer), b"127.3.0.1:7000");
    }
}
