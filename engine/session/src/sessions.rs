//! All sessions of one worker: what comes in is told apart here and answered in the modules below.
//!
//! `stateless` answers what opens nothing, `invite` opens sessions, `dialog` answers inside them, `push` sends our own
//! requests and reads their responses, `msrp` pushes over connections, `streams` reads them, `timers` repeats and
//! gives up. Each takes one [`Turn`]: the time, where the
//! message came from, and the two edges.

mod dialog;
mod invite;
mod msrp;
mod push;
mod stateless;
mod streams;
#[cfg(test)]
mod tests;
mod timers;

use crate::arena::{Arena, TextRef};
use crate::asked::Asked;
use crate::config::{MESSAGE_BYTES_MAX, SESSIONS_MAX, SessionConfig};
use crate::connections::Connections;
use crate::counts::SessionCounts;
use crate::familiar::{Familiar, Familiars};
use crate::host::{Cause, Host, Outbox, Path, SessionEvent};
use crate::legs::Legs;
use crate::lookup::Lookup;
use crate::names::Names;
use crate::parts::Parts;
use crate::slot::{State, Table, mark};
use crate::wheel::{AHEAD_MAX_NS, Handle, Wheel};
use memchr::memmem::Finder;
use sirocco_wire::sdp::connection_data;
use sirocco_wire::sip::mould::tag_of;
use sirocco_wire::sip::{Message, Method};
use stateless::Allowances;
use std::net::SocketAddr;

/// RFC 3261 table 4: T1, the round-trip estimate, in nanoseconds.
const T1_NS: u64 = 500_000_000;
/// RFC 3261 table 4: T2, the longest interval between retransmissions, in nanoseconds.
const T2_NS: u64 = 4_000_000_000;
/// RFC 3261 table 4: T4, the longest time that a message stays in the network, in nanoseconds.
const T4_NS: u64 = 5_000_000_000;
/// RFC 3261 table 4: Timers F, H and L, in nanoseconds.
const TRANSACTION_NS: u64 = 64 * T1_NS;
/// Octets of a message over a stream, and of one that found no room in the outbox.
const SCRATCH_BYTES: usize = 65_536;

/// One message, or one pass of the timers, and the edges that it is answered with.
struct Turn<'a, H, O> {
    now: u64,
    path: Path,
    host: &'a mut H,
    out: &'a mut O,
}

/// What never changes in our messages.
struct Fixed {
    /// From of our requests where a dialog's To is the usual one.
    local: Box<[u8]>,
    /// Header lines of a 2xx to INVITE, over UDP and over a stream.
    accepted: [Box<[u8]>; 2],
    /// Header lines of a response to OPTIONS.
    options: Box<[u8]>,
    /// From behind the Request-URI to the branch, over UDP and over a stream.
    via: [Box<[u8]>; 2],
    /// Our address as session descriptions want it.
    connection: Box<str>,
    /// What stands before and behind the session's name in our MSRP path.
    msrp: [Box<[u8]>; 2],
    /// The line of a 503.
    retry_after: Box<[u8]>,
}

/// The methods that are answered otherwise than with 405.
const ALLOW: &str = "Allow: INVITE, ACK, CANCEL, BYE, MESSAGE, OPTIONS, REGISTER\r\n";

impl Fixed {
    fn new(config: &SessionConfig) -> Self {
        let address = config.address;
        let uri = match config.uri.as_str() {
            "" => format!("sip:ppg@{address}"),
            uri => uri.to_owned(),
        };
        let own = |text: String| text.into_bytes().into_boxed_slice();
        let accepted = |transport: &str| {
            own(format!(
                "Contact: <sip:ppg@{address}{transport}>\r\n{ALLOW}Supported:\r\n\
                 Content-Type: application/sdp\r\n"
            ))
        };
        let via = |transport: &str| {
            own(format!(
                " SIP/2.0\r\nVia: SIP/2.0/{transport} {address};branch="
            ))
        };
        let msrp = config.msrp.unwrap_or(address);
        Self {
            local: own(format!("<{uri}>")),
            accepted: [accepted(""), accepted(";transport=tcp")],
            options: own(format!(
                "{ALLOW}Accept: application/sdp, text/parameters\r\nSupported:\r\n"
            )),
            via: [via("UDP"), via("TCP")],
            connection: connection_data(msrp.ip()).into_boxed_str(),
            msrp: [own(format!("msrp://{msrp}/")), own(";tcp".to_owned())],
            retry_after: own(format!("Retry-After: {}\r\n", config.retry_after_s)),
        }
    }
}

/// The sessions of one worker.
///
/// For each datagram: [`Sessions::familiar`]; if that is `false`, parse it, then [`Sessions::request`] for a request
/// and [`Sessions::response`] for a response. For connections: [`Sessions::stream_opened`] (which may decline),
/// `stream_octets`, `stream_drained`, `stream_closed`. Each turn: [`Sessions::expire`]. `SessionEvent::Established`
/// hands out the name that [`Sessions::push`] wants.
pub struct Sessions {
    config: SessionConfig,
    fixed: Fixed,
    names: Names,
    familiars: Familiars,
    table: Table,
    lookup: Lookup,
    arena: Arena,
    legs: Legs,
    parts: Parts,
    connections: Connections,
    sweep_due_ns: u64,
    wheel: Wheel,
    /// What fires, and the tick that it was armed for.
    expired: Vec<(Handle, u64)>,
    scratch: Box<[u8]>,
    /// An offer without streams.
    offer_known: Vec<u8>,
    /// The line of an Allow that lists MESSAGE: most are like the last one.
    allow_known: Option<Finder<'static>>,
    refusals: Allowances,
    counts: SessionCounts,
    draining: bool,
    /// Where `end_all` goes on.
    drain_from: Option<u32>,
}

impl Sessions {
    /// Builds the sessions of a worker; `key` is secret and drawn at start, `now` in nanoseconds.
    #[must_use]
    pub fn new(mut config: SessionConfig, key: [u64; 2], now: u64) -> Self {
        config.sessions_max = config.sessions_max.clamp(1, SESSIONS_MAX);
        config.message_bytes_max = config.message_bytes_max.min(MESSAGE_BYTES_MAX);
        let sessions_max = config.sessions_max as usize;
        Self {
            fixed: Fixed::new(&config),
            names: Names::new(key),
            familiars: Familiars::default(),
            table: Table::new(sessions_max),
            lookup: Lookup::new(sessions_max),
            arena: Arena::new(sessions_max * config.text_bytes_per_session_max),
            legs: Legs::default(),
            parts: Parts::default(),
            connections: Connections::new(config.streams_max as usize, config.stream_bytes_max),
            sweep_due_ns: now,
            wheel: Wheel::new(now, 0),
            expired: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            offer_known: Vec::new(),
            allow_known: None,
            refusals: Allowances::new(config.refusals_per_s_max, now),
            counts: SessionCounts::default(),
            draining: false,
            drain_from: None,
            config,
        }
    }

    /// Takes a datagram that is like an earlier ACK or response but for its names, without parsing it; `false`: it is
    /// not, and the caller parses it for [`Sessions::request`] or [`Sessions::response`].
    #[inline]
    pub fn familiar(
        &mut self,
        now: u64,
        peer: SocketAddr,
        datagram: &[u8],
        host: &mut impl Host,
        out: &mut impl Outbox,
    ) -> bool {
        let Some(known) = self.familiars.recognise(datagram) else {
            return false;
        };
        let turn = &mut Turn {
            now,
            path: Path::Datagram { peer },
            host,
            out,
        };
        match known {
            Familiar::Ack {
                call_id,
                from,
                to,
                number,
            } => {
                self.counts.requests += 1;
                let handle = self.dialog(call_id, tag_of(from), tag_of(to));
                self.acknowledged(turn, handle, number);
            }
            Familiar::Response {
                branch,
                number,
                status,
                is_content,
            } => {
                let Some((handle, cseq)) = self.names.recognise_branch(branch) else {
                    return false;
                };
                let method = if is_content {
                    Method::Message
                } else {
                    Method::Bye
                };
                let matches = cseq == number;
                self.answered(turn, handle, (number, method, status), matches);
            }
        }
        true
    }

    /// Takes a request. `message` is one datagram, or one framed message of a connection.
    #[inline]
    pub fn request(
        &mut self,
        now: u64,
        path: Path,
        message: &Message<'_>,
        host: &mut impl Host,
        out: &mut impl Outbox,
    ) {
        self.counts.requests += 1;
        let turn = &mut Turn {
            now,
            path,
            host,
            out,
        };
        let Some(asked) = Asked::read(message, path.peer()) else {
            self.unreadable(turn, message);
            return;
        };
        match (asked.method, asked.to_tag) {
            (Method::Ack, _) => self.acknowledge(turn, &asked),
            (Method::Cancel, _) => self.cancel(turn, &asked),
            _ if !self.is_acceptable(turn, &asked) => {}
            (Method::Invite, None) => self.invite(turn, &asked),
            (Method::Invite, Some(_)) => self.invite_again(turn, &asked),
            (Method::Bye, _) => self.bye(turn, &asked),
            (Method::Message, Some(_)) => self.message(turn, &asked),
            (Method::Message, None) => self.returned(turn, &asked),
            (Method::Options, _) => self.options(turn, &asked),
            (Method::Register, _) => self.register(turn, &asked),
            _ => self.refuse_method(turn, &asked),
        }
    }

    /// Sessions that are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no session is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets of all tables and texts, as far as they were touched.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes()
            + self.lookup.memory_bytes()
            + self.arena.memory_bytes()
            + self.legs.memory_bytes()
            + self.connections.memory_bytes()
            + self.wheel.memory_bytes()
            + self.scratch.len()
    }

    /// What became of everything so far.
    #[must_use]
    pub fn counts(&self) -> &SessionCounts {
        &self.counts
    }

    /// Sets the timer of a session, at most as far ahead as the wheel reaches.
    #[inline]
    fn arm(&mut self, now: u64, handle: Handle, due: u64) {
        let due = due.min(now + AHEAD_MAX_NS);
        let slot = self.table.at_mut(handle.slot);
        if slot.set_due(due) {
            slot.armed_at(self.wheel.arm(due, handle));
        }
    }

    /// Notes that the content of a session will not arrive, unless that is settled.
    fn fail<H: Host, O>(&mut self, turn: &mut Turn<'_, H, O>, handle: Handle, cause: Cause) {
        let slot = self.table.at_mut(handle.slot);
        if slot.has(mark::SETTLED) {
            return;
        }
        slot.marks |= mark::SETTLED;
        self.counts.pushing -= 1;
        self.counts.failed.count(cause);
        let event = match slot.state() {
            State::Accepted => SessionEvent::Missed(cause),
            _ => SessionEvent::Failed(cause),
        };
        turn.host.note(turn.now, slot.owner, slot.content, event);
    }

    /// Ends a session: its texts and its slot are free, its name is over.
    fn end<H: Host, O>(&mut self, turn: &mut Turn<'_, H, O>, handle: Handle, cause: Cause) {
        self.fail(turn, handle, cause);
        let slot = self.table.at(handle.slot);
        let (owner, content, fingerprint) = (slot.owner, slot.content, slot.fingerprint);
        let invite = slot.invite;
        if let Some(stream) = slot.stream() {
            self.use_stream(stream, false);
        }
        let slot = self.table.at(handle.slot);
        if slot.state() == State::Accepted {
            self.arena.free(TextRef::of_word(self.kept(handle)));
        }
        self.drop_leg(handle);
        self.arena.free(self.table.at(handle.slot).texts);
        let table = &self.table;
        self.lookup
            .leave((fingerprint, invite), handle.slot, |slot| {
                table.at(slot).fingerprint
            });
        self.table.close(handle.slot);
        self.counts.ended.count(cause);
        self.counts.open = self.table.len() as u64;
        let event = SessionEvent::Ended {
            session: handle,
            cause,
        };
        turn.host.note(turn.now, owner, content, event);
    }
}

/// Sends a message along a path: straight into a datagram, or through `scratch` into a connection.
#[inline]
fn send<O: Outbox>(
    (scratch, counts): (&mut [u8], &mut SessionCounts),
    out: &mut O,
    path: Path,
    write: impl FnOnce(&mut [u8]) -> usize,
) -> bool {
    let sent = match path {
        Path::Datagram { peer } => out.datagram(peer, write),
        Path::Stream { stream, .. } => {
            let length = write(scratch);
            out.stream(stream, &scratch[..length])
        }
    };
    counts.no_room += u64::from(!sent);
    sent
}
