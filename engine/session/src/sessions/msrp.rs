//! Content by MSRP (RFC 4975): the device connects, binds its session by a first SEND, and gets the content in chunks.
//!
//! Chunks have at most 2048 octets and take turns with those of other sessions on the same connection. A connection
//! that is full waits for `stream_drained`; nothing is queued here but whose turn it is. Each chunk is answered; 30 s
//! without an answer or a chunk end the content.

use super::{Sessions, Turn};
use crate::dialog::Texts;
use crate::hexadecimal::{hexadecimal, value};
use crate::host::{Cause, Host, Outbox, StreamId};
use crate::legs::Leg;
use crate::names::{MSRP_SESSION_BYTES, msrp_handle};
use crate::parts::{Piece, Unwanted};
use crate::slot::{State, mark};
use crate::wheel::Handle;
use sirocco_wire::msrp::frame::is_free_of_end_line;
use sirocco_wire::msrp::write::{report, response, send};
use sirocco_wire::msrp::{
    ByteRange, CHUNK_OCTETS_UNINTERRUPTED_MAX, Chunk, Continuation, FailureReport, Message, Method,
    MsrpUri, Report, Start, uri,
};

/// RFC 4975 7.1.1: how long the answer to a SEND may take.
const RESPONSE_NS: u64 = 30_000_000_000;
/// Octets of our path at most: scheme, IPv6 address, name of 32 digits.
const PATH_BYTES_MAX: usize = 128;
/// Octets of a chunk's transaction identifier: a number, and one that is tried if the content holds it.
const TRANSACTION_BYTES: usize = 16;

impl Sessions {
    /// The leg of a session that uses MSRP.
    #[inline]
    pub(super) fn leg_of(&mut self, handle: Handle) -> Option<u32> {
        let slot = self.table.find(handle)?;
        slot.has(mark::HAS_MSRP).then_some(slot.kept)
    }

    /// The word that a session's state needs, wherever it is.
    #[inline]
    pub(super) fn kept(&self, handle: Handle) -> u32 {
        let slot = self.table.at(handle.slot);
        if slot.has(mark::HAS_MSRP) {
            self.legs.at(slot.kept).kept
        } else {
            slot.kept
        }
    }

    /// Keeps the word that a session's state needs.
    #[inline]
    pub(super) fn keep(&mut self, handle: Handle, word: u32) {
        let slot = self.table.at_mut(handle.slot);
        if slot.has(mark::HAS_MSRP) {
            self.legs.at_mut(slot.kept).kept = word;
        } else {
            slot.kept = word;
        }
    }

    /// Frees the leg of a session that ends.
    pub(super) fn drop_leg(&mut self, handle: Handle) {
        let Some(number) = self.leg_of(handle) else {
            return;
        };
        let leg = *self.legs.at(number);
        self.legs.close(number);
        if !self.parts.is_empty() {
            self.parts.forget(number);
        }
        let connection = leg.stream.and_then(|stream| self.connections.find(stream));
        let Some(connection) = connection else {
            return;
        };
        let place = leg.place as usize;
        connection.bound.swap_remove(place);
        if let Some(moved) = connection.bound.get(place).copied()
            && let Some(number) = self.leg_of(moved)
        {
            self.legs.at_mut(number).place = place as u32;
        }
    }

    /// Begins to push a content by MSRP, or waits for the device to connect.
    pub(super) fn begin_stream<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        handle: Handle,
        number: u32,
    ) {
        let leg = self.legs.at_mut(number);
        leg.begin();
        let Some(stream) = leg.stream else {
            let wait = u64::from(self.config.connect_ms_max) * 1_000_000;
            self.table
                .at_mut(handle.slot)
                .enter(State::Connecting, turn.now);
            self.arm(turn.now, handle, turn.now + wait);
            return;
        };
        leg.is_queued = true;
        self.table
            .at_mut(handle.slot)
            .enter(State::Streaming, turn.now);
        self.arm(turn.now, handle, turn.now + RESPONSE_NS);
        if let Some(connection) = self.connections.find(stream) {
            connection.ready.push_back(handle);
        }
        self.pump(turn, stream);
    }

    /// Sends chunks of the sessions of a connection in turn, until all have sent or it is full.
    pub(super) fn pump<H: Host, O: Outbox>(&mut self, turn: &mut Turn<'_, H, O>, stream: StreamId) {
        while let Some(connection) = self.connections.find(stream) {
            if connection.full_since.is_some() {
                return;
            }
            let Some(handle) = connection.ready.pop_front() else {
                return;
            };
            let number = self.leg_of(handle);
            let Some(number) = number.filter(|number| self.legs.at(*number).is_queued) else {
                continue;
            };
            self.legs.at_mut(number).is_queued = false;
            if self.table.at(handle.slot).state() != State::Streaming {
                continue;
            }
            let more = self.send_chunk(turn, stream, (handle, number));
            let Some(connection) = self.connections.find(stream) else {
                return;
            };
            match more {
                Some(false) => {}
                Some(true) => {
                    connection.ready.push_back(handle);
                    self.legs.at_mut(number).is_queued = true;
                }
                None => {
                    connection.ready.push_front(handle);
                    connection.full_since = Some(turn.now);
                    self.legs.at_mut(number).is_queued = true;
                }
            }
        }
    }

    /// Sends the next chunk of a session: whether there are more, `None` when the connection is full.
    fn send_chunk<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        stream: StreamId,
        (handle, number): (Handle, u32),
    ) -> Option<bool> {
        let slot = self.table.at(handle.slot);
        let Some(content) = turn.host.content(slot.owner, slot.content) else {
            self.fail(turn, handle, Cause::ContentGone);
            self.hang_up(turn, handle, Cause::ContentGone);
            return Some(false);
        };
        let leg = *self.legs.at(number);
        let total = content.octets.len();
        let start = (leg.sent as usize).min(total);
        let end = total.min(start + CHUNK_OCTETS_UNINTERRUPTED_MAX);
        let octets = &content.octets[start..end];
        let name = self.names.msrp_session(handle, slot.fingerprint);
        let mut path = [0; PATH_BYTES_MAX];
        let path_length = self.write_path(&mut path, &name);
        let transaction = transaction(leg.chunk, octets);
        let message_id = message_id(handle, &leg);
        let continuation = if end == total {
            Continuation::Last
        } else {
            Continuation::More
        };
        let texts = Texts::read(self.arena.octets(slot.texts));
        let chunk = Chunk {
            transaction: &transaction,
            to_path: texts.msrp().0,
            from_path: &path[..path_length],
            message_id: &message_id,
            byte_range: ByteRange {
                start: start as u32 + 1,
                end: Some(end as u32),
                total: Some(total as u32),
            },
            success_report: self.config.msrp_success_report,
            failure_report: FailureReport::Yes,
            content_type: content.content_type.as_bytes(),
            octets,
            continuation,
        };
        let length = send(&mut self.scratch, &chunk).unwrap_or(0);
        if !turn.out.stream(stream, &self.scratch[..length]) {
            self.counts.no_room += 1;
            return None;
        }
        let leg = self.legs.at_mut(number);
        leg.sent = end as u32;
        leg.chunk = leg.chunk.wrapping_add(1);
        self.counts.chunks += 1;
        self.arm(turn.now, handle, turn.now + RESPONSE_NS);
        Some(end < total)
    }

    /// Takes one message of an MSRP connection.
    pub(super) fn msrp_message<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        stream: StreamId,
        message: &Message<'_>,
    ) {
        let found = self.session_of(message);
        // What is said of a content counts on the connection that the content goes by.
        let bound = found.filter(|(_, number)| self.legs.at(*number).stream == Some(stream));
        match message.start {
            Start::Response { code, .. } => {
                if let Some((handle, number)) = bound {
                    self.chunk_answered(turn, (handle, number), message.transaction, code);
                } else {
                    self.counts.strays.late += 1;
                }
            }
            // RFC 4975 7.1.2: a REPORT is never answered.
            Start::Request(Method::Report) => {
                if let (Some((handle, number)), Some(status)) = (bound, message.status) {
                    self.reported(turn, (handle, number), message, status);
                } else {
                    self.counts.strays.late += 1;
                }
            }
            Start::Request(Method::Send) => {
                let code = self.sent(turn, stream, message, found);
                let fails = code != 200;
                let wants = match message.failure_report {
                    FailureReport::Yes => true,
                    FailureReport::Partial => fails,
                    FailureReport::No => false,
                };
                if wants {
                    self.answer_msrp(turn, stream, message, code);
                }
                if let Some((handle, number)) = found.filter(|_| !fails) {
                    self.report_success(turn, stream, message);
                    if self.table.at(handle.slot).state() == State::Connecting {
                        self.begin_stream(turn, handle, number);
                    }
                }
            }
            Start::Request(Method::Other(_)) => self.answer_msrp(turn, stream, message, 501),
        }
    }

    /// The session that the last URI of To-Path names, if its name holds and From-Path is its device's.
    fn session_of(&mut self, message: &Message<'_>) -> Option<(Handle, u32)> {
        let name = MsrpUri::parse(message.to_uri())?.session?;
        let handle = msrp_handle(name)?;
        let number = self.leg_of(handle)?;
        let slot = self.table.at(handle.slot);
        let known = self.names.msrp_session(handle, slot.fingerprint);
        let texts = Texts::read(self.arena.octets(slot.texts));
        // Compared without an early end: how many digits are right is nobody's to learn.
        let differ = known
            .iter()
            .zip(name)
            .fold(0, |all, (one, other)| all | (one ^ other));
        let ours = name.len() == MSRP_SESSION_BYTES && differ == 0;
        (ours && uri::is_same(message.from_path, texts.msrp().0)).then_some((handle, number))
    }

    /// A SEND of the device: binds its session to the connection. Returns the status code.
    fn sent<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        stream: StreamId,
        message: &Message<'_>,
        found: Option<(Handle, u32)>,
    ) -> u16 {
        if message.is_faulty {
            return 400;
        }
        // RFC 4975 7.3: a session that is not there.
        let Some((handle, number)) = found else {
            return 481;
        };
        let leg = self.legs.at(number);
        match leg.stream {
            Some(bound) if bound != stream => return 506,
            Some(_) => {}
            None => self.bind(stream, handle, number),
        }
        let body = message.body.unwrap_or(b"");
        let starts = message.byte_range.is_none_or(|range| range.start == 1);
        let is_whole = starts && message.continuation == Continuation::Last;
        let owner = self.table.at(handle.slot).owner;
        let whole = if is_whole {
            body
        } else {
            match self.part(number, message, body) {
                Ok(Some(whole)) => {
                    self.counts.messages += 1;
                    turn.host
                        .received(turn.now, owner, message.content_type, &whole);
                    return 200;
                }
                Ok(None) => return 200,
                // RFC 4975 7.1.1: messages that are too long, or have a gap, are stopped.
                Err(Unwanted) => return if body.is_empty() { 200 } else { 413 },
            }
        };
        if !whole.is_empty() {
            self.counts.messages += 1;
            turn.host
                .received(turn.now, owner, message.content_type, whole);
        }
        200
    }

    /// Takes one of several chunks of a device's message.
    #[cold]
    fn part(
        &mut self,
        number: u32,
        message: &Message<'_>,
        octets: &[u8],
    ) -> Result<Option<Vec<u8>>, Unwanted> {
        if message.continuation == Continuation::Aborted {
            self.parts.forget(number);
            return Ok(None);
        }
        let start = message.byte_range.map_or(1, |range| range.start);
        let piece = Piece {
            message_id: message.message_id,
            start: start.saturating_sub(1) as usize,
            octets,
            is_last: message.continuation == Continuation::Last,
        };
        self.parts.take(number, &piece)
    }

    fn bind(&mut self, stream: StreamId, handle: Handle, number: u32) {
        let Some(connection) = self.connections.find(stream) else {
            return;
        };
        let leg = self.legs.at_mut(number);
        leg.stream = Some(stream);
        leg.place = connection.bound.len() as u32;
        connection.bound.push(handle);
    }

    fn answer_msrp<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        stream: StreamId,
        message: &Message<'_>,
        code: u16,
    ) {
        if code != 200 {
            self.counts.msrp_refused += 1;
        }
        let comment: &[u8] = match code {
            200 => b"OK",
            _ => b"",
        };
        let own = message.to_uri();
        let written = response(&mut self.scratch, message, own, code, comment);
        let length = written.unwrap_or(0);
        self.put_stream(turn, stream, length);
    }

    /// RFC 4975 7.1.2: the report that the device asked for.
    fn report_success<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        stream: StreamId,
        message: &Message<'_>,
    ) {
        let octets = message.body.map_or(0, <[u8]>::len) as u32;
        if !message.success_report || octets == 0 {
            return;
        }
        let success = Report {
            transaction: message.transaction,
            to_path: message.from_path,
            from_path: message.to_uri(),
            message_id: message.message_id,
            byte_range: ByteRange {
                start: 1,
                end: Some(octets),
                total: Some(octets),
            },
            code: 200,
            comment: b"OK",
        };
        let length = report(&mut self.scratch, &success).unwrap_or(0);
        self.put_stream(turn, stream, length);
    }

    /// Sends an answer of `length` octets from `scratch`. A device that does not read loses its answers: they are
    /// not kept, and its own timer ends what it sent.
    fn put_stream<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        stream: StreamId,
        length: usize,
    ) {
        if length > 0 && !turn.out.stream(stream, &self.scratch[..length]) {
            self.counts.no_room += 1;
            self.note_full(turn.now, stream);
        }
    }

    /// The answer to a chunk.
    fn chunk_answered<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        (handle, number): (Handle, u32),
        transaction: &[u8],
        code: u16,
    ) {
        let state = self.table.at(handle.slot).state();
        let leg = self.legs.at_mut(number);
        let chunk = transaction
            .first_chunk()
            .and_then(value)
            .map(|word| (word >> 32) as u32);
        if state != State::Streaming || !chunk.is_some_and(|chunk| leg.answer(chunk)) {
            self.counts.strays.late += 1;
            return;
        }
        if code != 200 {
            self.fail(turn, handle, Cause::Refused(code));
            self.hang_up(turn, handle, Cause::Refused(code));
            return;
        }
        let done = leg.is_answered() && !leg.is_queued;
        self.arm(turn.now, handle, turn.now + RESPONSE_NS);
        if done && !self.config.msrp_success_report {
            self.delivered(turn, handle);
            self.rest(turn, handle);
        }
    }

    /// A REPORT on our content.
    fn reported<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        (handle, number): (Handle, u32),
        message: &Message<'_>,
        status: u16,
    ) {
        let leg = self.legs.at(number);
        let is_ours = message.message_id == message_id(handle, leg);
        if self.table.at(handle.slot).state() != State::Streaming || !is_ours {
            self.counts.strays.late += 1;
            return;
        }
        if status != 200 {
            self.fail(turn, handle, Cause::Refused(status));
            self.hang_up(turn, handle, Cause::Refused(status));
            return;
        }
        // RFC 4975 7.1.2: success is reported for ranges; only the whole is delivery.
        let is_whole = message.byte_range.is_some_and(|range| {
            range.start == 1 && range.end == Some(leg.sent) && range.total == Some(leg.sent)
        });
        if self.config.msrp_success_report && !leg.is_queued && is_whole {
            self.delivered(turn, handle);
            self.rest(turn, handle);
        }
    }
}

/// What names the content that a leg carries.
fn message_id(handle: Handle, leg: &Leg) -> [u8; TRANSACTION_BYTES] {
    hexadecimal(u64::from(leg.first_chunk) << 32 | u64::from(handle.slot))
}

/// The transaction identifier of a chunk: its number, and a second one until the octets do not hold its end-line.
fn transaction(chunk: u32, octets: &[u8]) -> [u8; TRANSACTION_BYTES] {
    let mut salt = 0x5eed_u32;
    loop {
        let name = hexadecimal(u64::from(chunk) << 32 | u64::from(salt));
        // RFC 4975 7.1: at most 2048 octets hold fewer than 160 end-lines, so this ends.
        if is_free_of_end_line(octets, &name) {
            return name;
        }
        salt = salt.wrapping_add(1);
    }
}
