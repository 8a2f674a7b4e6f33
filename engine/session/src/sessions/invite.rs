//! INVITE outside dialogs: checked, admitted by the host, answered 200 at once (RFC 3261 13.3.1.4, 17.2.1, RFC 6026).
//!
//! Everything that can be refused without the host is refused before it is asked, for a grant consumes the token.
//! The 2xx is kept as octets until the ACK comes: it is repeated, not written again.

use super::stateless::{invitation, return_path};
use super::{Sessions, T1_NS, Turn, send};
use crate::arena::TextRef;
use crate::asked::{Asked, address_uri};
use crate::dialog::Texts;
use crate::host::{Content, Grant, Host, Outbox, Path, Push, Refusal};
use crate::render::Response;
use crate::slot::mark;
use crate::wheel::Handle;
use sirocco_wire::sdp::{self, Description, Local, MessageStream, PORT_DISCARD, Setup};
use sirocco_wire::sip::{HeaderName, Status};
use sirocco_wire::writer::Writer;
use std::net::SocketAddr;

/// Longest answer: sixteen refused streams, each with a media line of 40 octets.
const ANSWER_BYTES_MAX: usize = 1_024;
/// Octets of an answer beside its refused streams: session lines and an MSRP stream.
const ANSWER_BYTES_FIXED: usize = 400;
/// Octets of our MSRP path at most: scheme, IPv6 address, name of 32 digits.
const PATH_BYTES_MAX: usize = 128;
/// RFC 3261 21.5.14.
const TOO_LARGE: Status = Status {
    code: 513,
    reason: "Message Too Large",
};

/// How the content of a session will travel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Message,
    Msrp,
}

impl Sessions {
    pub(super) fn invite<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
    ) {
        self.counts.invites += 1;
        let fingerprint = self.names.fingerprint(asked.call_id, asked.from_tag);
        let table = &self.table;
        let known = self.lookup.find(fingerprint, |slot| {
            table.at(slot).fingerprint == fingerprint
        });
        if let Some(slot) = known {
            self.invite_known(turn, asked, slot);
            return;
        }
        if self.lookup.was_here(fingerprint) {
            self.counts.repeated += 1;
            return;
        }
        let Some(offer) = self.offer(turn, asked) else {
            return;
        };
        let path = self
            .usable_stream(&offer)
            .map_or(&b""[..], |stream| stream.path);
        let Some(texts) = self.keep_texts(turn, asked, path) else {
            return;
        };
        match turn.host.admit(turn.now, &invitation(turn.path, asked)) {
            Ok(grant) => {
                let known = (fingerprint, texts);
                self.open(turn, asked, &offer, known, grant);
            }
            Err(refusal) => {
                self.arena.free(texts);
                self.counts.refused.count(refusal);
                self.answer(turn, asked, refusal.status(), b"");
            }
        }
    }

    /// RFC 6026 7.1: an INVITE that came again is absorbed. RFC 3261 8.2.2.2: one that came by another way is 482.
    #[cold]
    fn invite_known<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
        slot: u32,
    ) {
        if self.table.at(slot).invite == self.invite_name(asked) {
            self.counts.repeated += 1;
        } else {
            self.refuse(turn, asked, Status::of(482), |refused| &mut refused.merged);
        }
    }

    /// Reads the offer, after what an INVITE is refused for before it is read.
    #[inline]
    fn offer<'a, H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'a>,
    ) -> Option<Option<Description<'a>>> {
        if self.draining || !self.table.has_room() {
            self.refuse(turn, asked, Status::SERVICE_UNAVAILABLE, |refused| {
                &mut refused.overload
            });
            return None;
        }
        let body = asked.message.body();
        if body.is_empty() {
            // RFC 3261 13.3.1.4: without an offer the 2xx has one; ours has no streams.
            return Some(None);
        }
        if !asked.media_type().eq_ignore_ascii_case(b"application/sdp") {
            self.counts.refused.media_type += 1;
            self.answer(turn, asked, Status::of(415), b"Accept: application/sdp\r\n");
            return None;
        }
        match Description::parse(body) {
            Ok(offer) if is_answerable(&offer) => Some(Some(offer)),
            _ => {
                self.refuse(turn, asked, Status::of(488), |refused| &mut refused.offer);
                None
            }
        }
    }

    /// Keeps the texts of the dialog to be; a refused INVITE gives them back.
    #[inline]
    fn keep_texts<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
        path: &[u8],
    ) -> Option<TextRef> {
        let contact = asked.message.header(HeaderName::Contact).unwrap_or(b"");
        let target = address_uri(contact);
        // RFC 3261 12.1.1, 8.1.1.8: exactly one Contact, a SIP URI. Nothing else may stand in a request line.
        let sound = target.starts_with(b"sip:")
            && is_graphic(target)
            && !asked.message.repeats(HeaderName::Contact);
        if !sound {
            self.refuse(turn, asked, Status::of(400), |refused| {
                &mut refused.malformed
            });
            return None;
        }
        let joined = asked.message.repeats(HeaderName::RecordRoute).then(|| {
            let values: Vec<_> = asked.message.values(HeaderName::RecordRoute).collect();
            values.join(&b", "[..])
        });
        let route = || asked.message.header(HeaderName::RecordRoute).unwrap_or(b"");
        let routes = joined.as_deref().unwrap_or_else(route);
        let usual = asked.to == &*self.fixed.local;
        let kept_peer = match return_path(turn.path, &asked.way) {
            Path::Datagram { peer } => Some(peer).filter(SocketAddr::is_ipv6),
            Path::Stream { peer, .. } => Some(peer),
        };
        let texts = Texts {
            call_id: asked.call_id,
            remote: asked.from,
            local: if usual { b"" } else { asked.to },
            target: Texts::split_target(asked.from, target),
            routes,
            path,
            peer: kept_peer,
            opened_s: (turn.now / 1_000_000_000) as u32,
        };
        let Some(length) = texts.cell_bytes() else {
            self.refuse(turn, asked, TOO_LARGE, |refused| &mut refused.too_long);
            return None;
        };
        let Some(cell) = self.arena.take(length) else {
            self.refuse(turn, asked, Status::SERVICE_UNAVAILABLE, |refused| {
                &mut refused.overload
            });
            return None;
        };
        texts.write(self.arena.octets_mut(cell));
        Some(cell)
    }

    /// Opens the session that was granted and answers 200.
    #[inline]
    fn open<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
        offer: &Option<Description<'_>>,
        (fingerprint, texts): (u64, TextRef),
        grant: Grant,
    ) {
        let content = turn.host.content(grant.owner, grant.content);
        let Some(content) = content else {
            let refusal = Refusal::ContentGone;
            self.arena.free(texts);
            self.counts.refused.count(refusal);
            self.answer(turn, asked, refusal.status(), b"");
            return;
        };
        let Some(carrier) = self.carrier(asked, offer, &content) else {
            self.arena.free(texts);
            self.refuse(turn, asked, Status::of(488), |refused| &mut refused.offer);
            return;
        };
        let handle = self.table.open(turn.now);
        let invite = self.invite_name(asked);
        let slot = self.table.at_mut(handle.slot);
        slot.owner = grant.owner;
        slot.content = grant.content;
        slot.fingerprint = fingerprint;
        slot.texts = texts;
        slot.invite = invite;
        slot.remote_cseq = asked.cseq.number;
        slot.set_path(return_path(turn.path, &asked.way));
        if content.content_type.is_empty() {
            slot.marks |= mark::SETTLED;
        } else {
            self.counts.pushing += 1;
        }
        if carrier == Carrier::Msrp {
            slot.marks |= mark::HAS_MSRP;
            slot.kept = self.legs.open();
        }
        self.lookup.enter(fingerprint, handle.slot);
        self.counts.opened += 1;
        self.counts.open = self.table.len() as u64;
        self.accept_invite(turn, asked, offer, handle);
    }

    /// How a content can travel to this device; `None`: not at all.
    fn carrier(
        &self,
        asked: &Asked<'_>,
        offer: &Option<Description<'_>>,
        content: &Content<'_>,
    ) -> Option<Carrier> {
        let short = content.octets.len() <= self.config.message_bytes_max;
        let stream = self.usable_stream(offer);
        let takes = |stream: &MessageStream<'_>| {
            sdp::accepts(stream.accept_types, content.content_type.as_bytes())
        };
        if !stream.is_some_and(|stream| takes(&stream)) {
            return short.then_some(Carrier::Message);
        }
        let takes_message = || {
            let mut allowed = asked.message.values(HeaderName::Allow).peekable();
            let says = allowed.peek().is_some();
            let named = |list: &[u8]| {
                list.split(|&octet| octet == b',')
                    .any(|method| method.trim_ascii() == b"MESSAGE")
            };
            !says || allowed.any(named)
        };
        match content.prefer {
            Push::Auto | Push::Message if short && takes_message() => Some(Carrier::Message),
            _ => Some(Carrier::Msrp),
        }
    }

    /// The offered MSRP stream, where we can serve it: the device has to open the connection (RFC 6135 4.2.2).
    fn usable_stream<'a>(&self, offer: &Option<Description<'a>>) -> Option<MessageStream<'a>> {
        let stream = offer.as_ref()?.message?;
        let opens = Setup::answer(stream.setup, Setup::Passive) == Setup::Passive;
        (self.config.msrp.is_some() && opens && stream.direction.receives()).then_some(stream)
    }

    /// Writes our MSRP path of the session that `name` names.
    pub(super) fn write_path(&self, out: &mut [u8], name: &[u8]) -> usize {
        let mut writer = Writer::new(out);
        let [before, behind] = &self.fixed.msrp;
        let written = writer
            .put(before)
            .and_then(|()| writer.put(name))
            .and_then(|()| writer.put(behind));
        written.map_or(0, |()| writer.len())
    }

    /// Writes the 2xx, keeps it and sends it.
    #[inline]
    fn accept_invite<H, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
        offer: &Option<Description<'_>>,
        handle: Handle,
    ) {
        let slot = self.table.at(handle.slot);
        let tag = self.names.to_tag(handle, slot.fingerprint);
        let mut path = [0; PATH_BYTES_MAX];
        let path_length = self.write_path(&mut path, &tag);
        let stream = self
            .usable_stream(offer)
            .filter(|_| slot.has(mark::HAS_MSRP));
        let local = Local {
            connection: &self.fixed.connection,
            session_id: slot.fingerprint >> 1,
            version: 1,
            message: stream.map(|offered| MessageStream {
                path: &path[..path_length],
                accept_types: b"*",
                setup: Some(Setup::Passive),
                direction: offered.direction.answer(true, true),
                port: self
                    .config
                    .msrp
                    .map_or(PORT_DISCARD, |address| address.port()),
            }),
        };
        let mut body = [0; ANSWER_BYTES_MAX];
        let written = match offer {
            Some(offer) => sdp::answer(&mut body, offer, &local),
            None => sdp::offer(&mut body, &local),
        };
        let body_length = written.unwrap_or(0);
        let response = Response {
            status: Status::OK,
            tag: &tag,
            lines: &self.fixed.accepted[usize::from(slot.is_on_stream())],
            routes: true,
            body: &body[..body_length],
        };
        let arena = &mut self.arena;
        let mut kept = TextRef::NONE;
        let mut keep = |octets: &[u8]| {
            if let Some(cell) = arena.take(octets.len() + 2) {
                let room = arena.octets_mut(cell);
                room[..2].copy_from_slice(&(octets.len() as u16).to_le_bytes());
                room[2..octets.len() + 2].copy_from_slice(octets);
                kept = cell;
            }
        };
        let mut written = false;
        let path = return_path(turn.path, &asked.way);
        let rest = (&mut *self.scratch, &mut self.counts);
        send(rest, turn.out, path, |room| {
            let length = response.write(room, asked);
            keep(&room[..length]);
            written = true;
            length
        });
        if !written {
            let length = response.write(&mut self.scratch, asked);
            keep(&self.scratch[..length]);
        }
        self.keep(handle, kept.word());
        self.table.at_mut(handle.slot).transmitted();
        self.arm(turn.now, handle, turn.now + T1_NS);
    }
}

/// Whether there are graphic octets only; all are looked at, many at a time.
#[inline]
fn is_graphic(octets: &[u8]) -> bool {
    octets
        .iter()
        .fold(true, |all, octet| all & octet.is_ascii_graphic())
}

/// Whether the answer to an offer fits: streams that are refused keep their transport and formats.
#[inline]
fn is_answerable(offer: &Description<'_>) -> bool {
    if offer.stream_count == 0 {
        return true;
    }
    let refused = offer.streams().map(|stream| {
        const LINE: usize = b"m= 0  \r\n".len();
        LINE + stream.media.len() + stream.protocol.len() + stream.formats.len()
    });
    refused.sum::<usize>() + offer.time.len() <= ANSWER_BYTES_MAX - ANSWER_BYTES_FIXED
}
