//! The device's end of MSRP: it connects, binds its session by an empty SEND, answers chunks and puts
//! them together.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use sirocco_session::StreamId;
use sirocco_wire::msrp::write::response;
use sirocco_wire::msrp::{Continuation, Message, Method, Start};

use super::cables::Reader;
use super::world::{Event, World};
use crate::observer::Breach;
use crate::world::MS;

/// What a chunk brought: its call, the name of the content, where the octets stand, and whether they end it.
struct Piece {
    call: usize,
    name: Vec<u8>,
    start: usize,
    octets: Vec<u8>,
    is_last: bool,
}

/// Contents that are not complete, by call and name.
pub type Unfinished = HashMap<(usize, Vec<u8>), Vec<u8>>;

impl World {
    /// A call's session has a path: the device connects, or uses the connection of its edge.
    pub(super) fn bind(&mut self, number: usize, path: &[u8]) {
        let peer = self.calls[number].peer;
        let known = self
            .cables
            .of_peer(peer)
            .filter(|_| self.plan.shares_cables);
        let stream = known.unwrap_or_else(|| self.connect(peer));
        if let Some(cable) = self.cables.find(stream) {
            cable.calls.push(number);
            // Whoever does not read all that comes may miss what it is sent.
            let is_bad = cable.reader.bytes < usize::MAX || cable.reset_after.is_some();
            self.calls[number].lost_cable |= is_bad;
        } else {
            self.calls[number].lost_cable = true;
        }
        let octets = format!(
            "MSRP bind{number} SEND\r\nTo-Path: {}\r\nFrom-Path: {}\r\nMessage-ID: b{number}\r\n\
             Byte-Range: 1-0/0\r\n-------bind{number}$\r\n",
            String::from_utf8_lossy(path),
            self.calls[number].path(),
        );
        self.send_to_engine(stream, octets.as_bytes());
    }

    fn connect(&mut self, peer: SocketAddr) -> StreamId {
        let mut reader = Reader {
            bytes: usize::MAX,
            every_ns: 1 + self.random.below(20 * MS),
        };
        let mut reset_after = None;
        if self.random.chance(self.plan.bad_cables_per_mille) {
            match self.random.below(3) {
                0 => reader.bytes = 0,
                1 => {
                    reader.bytes = self.random.between(500, 5_000) as usize;
                    reader.every_ns = self.random.between(10, 1_000) * MS;
                }
                _ => reset_after = Some(self.random.between(1, 30_000) as usize),
            }
        }
        let stream = self.cables.connect(peer, reader, reset_after);
        self.open_cable(stream, peer);
        stream
    }

    /// Sends octets over a connection, cut where the network likes, in order.
    fn send_to_engine(&mut self, stream: StreamId, octets: &[u8]) {
        let Some(cable) = self.cables.find(stream) else {
            return;
        };
        let mut rest = octets;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(self.random.between(1, rest.len() as u64) as usize);
            rest = behind;
            let at = self.now
                + self.plan.faults.delay_ns
                + self.random.below(self.plan.faults.delay_ns + 1);
            cable.arrives_ns = cable.arrives_ns.max(at);
            let piece: Rc<[u8]> = piece.into();
            self.network
                .at(cable.arrives_ns, Event::Octets(stream, piece));
        }
    }

    /// The messages that a device has read from a connection.
    pub(super) fn take_messages(&mut self, stream: StreamId) -> Result<(), Breach> {
        let Some(cable) = self.cables.find(stream) else {
            return Ok(());
        };
        let (mut answers, mut pieces, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        cable.messages(|message| match message.start {
            Start::Request(Method::Send) => {
                let mut out = [0; 1_024];
                let length =
                    response(&mut out, message, message.to_uri(), 200, b"OK").expect("room");
                answers.extend_from_slice(&out[..length]);
                pieces.extend(piece(message));
            }
            Start::Response { code, .. } if code != 200 => {
                refused.extend(call_of(message.to_uri()));
            }
            _ => {}
        });
        self.send_to_engine(stream, &answers);
        for call in refused {
            self.calls[call].lost_cable = true;
        }
        pieces.into_iter().try_for_each(|piece| self.join(piece))
    }

    fn join(&mut self, piece: Piece) -> Result<(), Breach> {
        let key = (piece.call, piece.name);
        let content = self.unfinished.entry(key.clone()).or_default();
        if content.len() < piece.start + piece.octets.len() {
            content.resize(piece.start + piece.octets.len(), 0);
        }
        content[piece.start..][..piece.octets.len()].copy_from_slice(&piece.octets);
        if !piece.is_last {
            return Ok(());
        }
        let content = self.unfinished.remove(&key).unwrap_or_default();
        self.note_content(key.0, &key.1, &content)
    }
}

fn piece(message: &Message<'_>) -> Option<Piece> {
    Some(Piece {
        call: call_of(message.to_uri())?,
        name: message.message_id.to_vec(),
        start: message
            .byte_range
            .map_or(0, |range| range.start as usize - 1),
        octets: message.body.unwrap_or(b"").to_vec(),
        is_last: message.continuation == Continuation::Last,
    })
}

/// The call that a device's MSRP path names.
fn call_of(uri: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(uri).ok()?;
    let name = text.rsplit('/').next()?;
    name.strip_prefix('c')?.strip_suffix(";tcp")?.parse().ok()
}
