//! Connections, shared by all calls of an edge to one address: of SIP, and of content by MSRP (RFC 4975),
//! where a device binds its session by an empty SEND and puts chunks together.
//!
//! Devices that read slowly have MSRP connections of their own, one for each rate of an edge.
//! No sockets: the worker connects what is asked for, moves octets both ways and tells of ends. A content
//! is checked octet by octet as its chunks come and is not kept. Called by `dialog` and by the worker.

use std::net::SocketAddr;

use sirocco_wire::msrp::write::{report, response, send};
use sirocco_wire::msrp::{
    ByteRange, Chunk, Continuation, FailureReport, Framer, Message, Method, MsrpUri, PORT, Report,
    Start, Step,
};
use sirocco_wire::sdp::Description;
use sirocco_wire::sip::stream;
use sirocco_wire::sip::uri::numeric_host;

use super::calls::Calls;
use super::name::{NAME_BYTES, Name};
use super::policy::{Fault, Take};
use super::table::State;
use crate::population::Origin;

/// The longest SIP message taken over TCP.
const SIP_BYTES_MAX: usize = 65_535;
/// The longest MSRP message taken: a chunk and its head.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Octets that may wait for one connection; what comes then is not answered, and counted.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// Octets handed to a stream at once: well below what its queue holds.
const PIECE_BYTES: usize = 32 << 10;
/// The most connections of one worker.
pub(crate) const LINKS_MAX: usize = 4096;
/// The longest message written here: three paths and a few lines.
const OUT_BYTES_MAX: usize = 1024;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// SIP messages, one behind the other.
    Sip,
    /// Content by MSRP.
    Msrp {
        /// Octets a second that are read of it; 0 for as they come.
        read_rate: u64,
    },
}

/// Where messages end.
#[derive(Clone, Copy)]
enum Framing {
    Sip(stream::Framer),
    Msrp(Framer),
}

impl Framing {
    fn new(purpose: Purpose) -> Framing {
        match purpose {
            Purpose::Sip => Framing::Sip(stream::Framer::new(SIP_BYTES_MAX)),
            Purpose::Msrp { .. } => Framing::Msrp(Framer::new(MESSAGE_BYTES_MAX)),
        }
    }
}

/// One shared connection.
struct Link {
    socket: u16,
    target: SocketAddr,
    purpose: Purpose,
    /// The other side made it.
    is_accepted: bool,
    /// It is there, or was asked for.
    is_up: bool,
    waiting: Vec<u8>,
    inbox: Vec<u8>,
    framing: Framing,
}

impl Link {
    fn new(socket: u16, target: SocketAddr, purpose: Purpose, is_accepted: bool) -> Link {
        Link {
            socket,
            target,
            purpose,
            is_accepted,
            is_up: is_accepted,
            waiting: Vec::new(),
            inbox: Vec::new(),
            framing: Framing::new(purpose),
        }
    }
}

/// All connections of one worker.
#[derive(Default)]
pub(crate) struct Links {
    links: Vec<Link>,
    last: usize,
    /// Connections to be made.
    wanted: Vec<u32>,
    /// Connections to be closed: what came there is nothing that can be read on.
    unwanted: Vec<u32>,
    /// MSRP connections that were made and ended.
    pub(crate) ended: u64,
    /// MSRP messages that came.
    pub(crate) messages: u64,
    /// Bindings that were refused.
    pub(crate) refused: u64,
    /// Octets of streams that are no MSRP, messages that could not be answered or belong to no session.
    pub(crate) strays: u64,
    /// SIP connections made or taken, those of them that ended, and messages that came there.
    pub(crate) sip_opened: u64,
    pub(crate) sip_ended: u64,
    pub(crate) sip_messages: u64,
}

impl Links {
    /// Returns the connection between an edge and an address, and asks for it where there is none.
    pub(crate) fn between(
        &mut self,
        socket: u16,
        target: SocketAddr,
        purpose: Purpose,
    ) -> Option<u32> {
        let is =
            |link: &Link| link.socket == socket && link.target == target && link.purpose == purpose;
        if !self.links.get(self.last).is_some_and(is) {
            self.last = match self.links.iter().position(is) {
                Some(at) => at,
                None => self.enter(Link::new(socket, target, purpose, false))? as usize,
            };
        }
        let number = self.last as u32;
        self.ask_for(number);
        Some(number)
    }

    /// Takes a SIP connection that the other side made; nothing when there are too many.
    pub(crate) fn accept(&mut self, socket: u16, peer: SocketAddr) -> Option<u32> {
        let number = self.enter(Link::new(socket, peer, Purpose::Sip, true))?;
        self.sip_opened += 1;
        Some(number)
    }

    /// Puts a connection in the place of one that others had made and ended, or behind the last.
    fn enter(&mut self, link: Link) -> Option<u32> {
        let is_free = |link: &Link| link.is_accepted && !link.is_up;
        let is_full = self.links.len() >= LINKS_MAX;
        let free = (link.is_accepted || is_full).then(|| self.links.iter().position(is_free));
        if let Some(at) = free.flatten() {
            self.links[at] = link;
            return Some(at as u32);
        }
        if is_full {
            return None;
        }
        self.links.push(link);
        Some(self.links.len() as u32 - 1)
    }

    fn ask_for(&mut self, number: u32) {
        let link = &mut self.links[number as usize];
        if !link.is_up {
            link.is_up = true;
            self.sip_opened += u64::from(link.purpose == Purpose::Sip);
            self.wanted.push(number);
        }
    }

    /// Takes a connection that is to be made: its number, and where to.
    pub(crate) fn take_wanted(&mut self) -> Option<(u32, SocketAddr)> {
        let number = self.wanted.pop()?;
        Some((number, self.links[number as usize].target))
    }

    /// Takes a connection that is to be closed.
    pub(crate) fn take_unwanted(&mut self) -> Option<u32> {
        self.unwanted.pop()
    }

    /// Returns how many octets a second are read of a connection, 0 for as they come.
    pub(crate) fn read_rate(&self, number: u32) -> u64 {
        match self.links[number as usize].purpose {
            Purpose::Msrp { read_rate } => read_rate,
            Purpose::Sip => 0,
        }
    }

    /// Returns the way back over a SIP connection.
    pub(crate) fn sip_origin(&self, number: u32) -> Option<Origin> {
        let link = self.links.get(number as usize)?;
        (link.purpose == Purpose::Sip).then_some(Origin {
            socket: link.socket,
            stream: number as u16 + 1,
            peer: link.target,
            local: None,
        })
    }

    /// Gives what waits to leave to `send`; what it does not take waits on.
    pub(crate) fn drain(&mut self, mut send: impl FnMut(u32, &[u8]) -> bool) -> usize {
        let mut count = 0;
        for (number, link) in (0..).zip(&mut self.links) {
            let mut at = 0;
            for piece in link.waiting.chunks(PIECE_BYTES) {
                if !send(number, piece) {
                    break;
                }
                at += piece.len();
            }
            link.waiting.drain(..at);
            count += usize::from(at > 0);
        }
        count
    }

    fn put(&mut self, number: u32, octets: &[u8]) {
        let link = &mut self.links[number as usize];
        if link.waiting.len() + octets.len() > WAITING_BYTES_MAX {
            self.strays += 1;
            return;
        }
        link.waiting.extend_from_slice(octets);
    }

    /// Sends messages over the SIP connection of an origin, which is made anew where it has ended and was
    /// ours: an ended one of the other side takes nothing.
    pub(crate) fn put_sip(&mut self, origin: &Origin, octets: &[u8]) {
        let number = u32::from(origin.stream).wrapping_sub(1);
        let link = self.links.get(number as usize);
        // Its place may have become another's.
        let is_same = link.is_some_and(|link| link.target == origin.peer);
        if !is_same || link.is_some_and(|link| link.is_accepted && !link.is_up) {
            self.strays += 1;
            return;
        }
        self.ask_for(number);
        self.put(number, octets);
    }

    /// Takes what has come of a SIP connection and is not read, and where its messages end; to be given
    /// back by [`Links::keep_inbox`].
    pub(crate) fn take_inbox(&mut self, number: u32) -> Option<(Vec<u8>, stream::Framer)> {
        let link = self.links.get_mut(number as usize)?;
        match link.framing {
            Framing::Sip(framer) => Some((std::mem::take(&mut link.inbox), framer)),
            Framing::Msrp(_) => None,
        }
    }

    /// Keeps what is not read yet; nothing to keep means that the stream cannot be read on.
    pub(crate) fn keep_inbox(&mut self, number: u32, kept: Option<(Vec<u8>, stream::Framer)>) {
        let Some(link) = self.links.get_mut(number as usize) else {
            return;
        };
        match kept {
            Some((inbox, framer)) => (link.inbox, link.framing) = (inbox, Framing::Sip(framer)),
            None => {
                self.strays += 1;
                self.unwanted.push(number);
            }
        }
    }

    /// Notes that a connection is gone; the next session makes it anew.
    pub(crate) fn close(&mut self, number: u32) {
        if let Some(link) = self.links.get_mut(number as usize) {
            link.is_up = false;
            link.waiting.clear();
            link.inbox.clear();
            link.framing = Framing::new(link.purpose);
            match link.purpose {
                Purpose::Sip => self.sip_ended += 1,
                Purpose::Msrp { .. } => self.ended += 1,
            }
        }
    }
}

impl Calls {
    /// Binds a session whose answer names an MSRP path to its edge's connection.
    #[inline]
    pub(super) fn bind_stream(&mut self, origin: Origin, name: Name, description: &[u8]) {
        let Some(call) = self.table.live(name) else {
            return;
        };
        let policy = self.policies[usize::from(call.class)].as_ref();
        let takes = policy.filter(|policy| policy.takes(Take::Msrp));
        let takes = takes.filter(|policy| policy.fault != Fault::HalfOpen);
        let Some(policy) = takes.filter(|_| !description.is_empty()) else {
            return;
        };
        let read_rate = policy.msrp_read_rate;
        let stream = Description::parse(description).ok().and_then(|d| d.message);
        let Some(path) = stream.map(|stream| stream.path) else {
            return;
        };
        let purpose = Purpose::Msrp { read_rate };
        let between = |target| self.links.between(origin.socket, target, purpose);
        let Some(link) = address(path).and_then(between) else {
            self.links.strays += 1;
            return;
        };
        let text = name.text(self.config.maker());
        let mut own = [0; 128];
        let own = self.own_path(&origin, &text, &mut own);
        let chunk = Chunk {
            transaction: &text[..NAME_BYTES],
            to_path: path,
            from_path: own,
            message_id: &text,
            byte_range: ByteRange {
                start: 1,
                end: Some(0),
                total: Some(0),
            },
            success_report: false,
            failure_report: FailureReport::Yes,
            content_type: b"",
            octets: b"",
            continuation: Continuation::Last,
        };
        let mut out = [0; OUT_BYTES_MAX];
        let length = send(&mut out, &chunk).unwrap_or(0);
        self.links.put(link, &out[..length]);
    }

    fn own_path<'a>(
        &self,
        origin: &Origin,
        name: &[u8; NAME_BYTES],
        out: &'a mut [u8; 128],
    ) -> &'a [u8] {
        let mut buffer = [0; 64];
        let edge = self.edges.text(origin, &mut buffer);
        let mut length = 0;
        for part in [&b"msrp://"[..], edge, b"/", name, b";tcp"] {
            out[length..length + part.len()].copy_from_slice(part);
            length += part.len();
        }
        &out[..length]
    }

    /// Takes octets of an MSRP connection.
    pub(crate) fn link_received(&mut self, number: u32, octets: &[u8]) {
        let Some(link) = self.links.links.get_mut(number as usize) else {
            return;
        };
        let Framing::Msrp(mut framer) = link.framing else {
            return;
        };
        let mut inbox = std::mem::take(&mut link.inbox);
        inbox.extend_from_slice(octets);
        let mut at = 0;
        loop {
            match framer.step(&inbox[at..]) {
                Ok(Step::Whole { message, len }) => {
                    self.links.messages += 1;
                    self.msrp(number, &message);
                    at += len;
                    if at == inbox.len() {
                        break;
                    }
                }
                Ok(Step::More(_)) => break,
                Err(_) => {
                    self.links.strays += 1;
                    at = inbox.len();
                    break;
                }
            }
        }
        inbox.drain(..at);
        let link = &mut self.links.links[number as usize];
        (link.inbox, link.framing) = (inbox, Framing::Msrp(framer));
    }

    fn msrp(&mut self, number: u32, message: &Message<'_>) {
        match message.start {
            Start::Request(Method::Send) => {}
            Start::Response { code, .. } => {
                self.links.refused += u64::from(code != 200);
                return;
            }
            Start::Request(_) => return,
        }
        let session = MsrpUri::parse(message.to_uri()).and_then(|uri| uri.session);
        let name = session.and_then(|session| self.name(session));
        if name.is_some_and(|name| self.is_mute(name)) {
            return;
        }
        let code = name.map_or(481, |name| self.chunk(name, message));
        let mut out = [0; OUT_BYTES_MAX];
        if message.wants_response(code) {
            let comment: &[u8] = if code == 200 { b"OK" } else { b"" };
            let length = response(&mut out, message, message.to_uri(), code, comment).unwrap_or(0);
            self.links.put(number, &out[..length]);
        }
        if code != 200 {
            self.links.strays += 1;
        } else if message.success_report && message.continuation == Continuation::Last {
            let total = message.byte_range.and_then(|range| range.total);
            let written = report(
                &mut out,
                &Report {
                    transaction: message.transaction,
                    to_path: message.from_path,
                    from_path: message.to_uri(),
                    message_id: message.message_id,
                    byte_range: ByteRange {
                        start: 1,
                        end: total,
                        total,
                    },
                    code: 200,
                    comment: b"OK",
                },
            );
            self.links.put(number, &out[..written.unwrap_or(0)]);
        }
    }

    /// Tells whether the device of a call answers nothing on its connection.
    fn is_mute(&mut self, name: Name) -> bool {
        let class = self.table.live(name).map(|call| call.class);
        let policy = class.and_then(|class| self.policies[usize::from(class)].as_ref());
        policy.is_some_and(|policy| policy.fault == Fault::Mute)
    }

    /// Puts one chunk behind those that came before; returns the status to answer with.
    fn chunk(&mut self, name: Name, message: &Message<'_>) -> u16 {
        let Some(call) = self.table.live(name) else {
            return 481;
        };
        if call.state != State::Established || message.is_faulty {
            return if message.is_faulty { 400 } else { 481 };
        }
        let body = message.body.unwrap_or(b"");
        let start = message.byte_range.map_or(1, |range| range.start).max(1) as usize - 1;
        let expected = self.config.content.as_deref();
        let is_next = start == call.stream_octets as usize;
        let is_right =
            expected.is_none_or(|content| content.get(start..start + body.len()) == Some(body));
        call.stream_is_corrupt |= !is_next || !is_right;
        call.stream_octets = (start + body.len()) as u32;
        if message.continuation != Continuation::Last {
            return 200;
        }
        let length = call.stream_octets as usize;
        let total = message.byte_range.and_then(|range| range.total);
        let is_whole = total.is_none_or(|total| total as usize == length)
            && expected.is_none_or(|content| content.len() == length);
        let is_corrupt = call.stream_is_corrupt || !is_whole;
        (call.stream_octets, call.stream_is_corrupt) = (0, false);
        if length > 0 {
            self.count_content(name, length, is_corrupt);
        }
        200
    }
}

/// Returns the address of the last URI of a path.
fn address(path: &[u8]) -> Option<SocketAddr> {
    let last = path.rsplit(|&octet| octet == b' ').next()?;
    let uri = MsrpUri::parse(last).filter(|uri| !uri.secure)?;
    Some(SocketAddr::new(
        numeric_host(uri.host)?,
        uri.port.unwrap_or(PORT),
    ))
}

#[cfg(test)]
mod tests;
