//! INVITE outside dialogs: checked, admitted by the host, answered 200 at once (RFC 3261 13.3.1.4, 17.2.1, RFC 6026).
//!
//! Whatever can fail does so before the host uses the token up: what an INVITE is refused for by itself before the host
//! is asked, what depends on the content while it is. The 2xx is kept as octets until the ACK comes: it is repeated,
//! not written again.

use super::push::fits_datagram;
use super::stateless::{invitation, return_path};
use super::{Sessions, T1_NS, Turn, send};
use crate::arena::{TEXT_BYTES_MAX, TextRef};
use crate::asked::{Asked, address_uri};
use crate::dialog::{MSRP_TEXT_MAX, Texts, msrp_text};
use crate::host::{Content, Grant, Host, Outbox, Path, Push, Refusal};
use crate::render::Response;
use crate::slot::mark;
use crate::wheel::Handle;
use memchr::memchr;
use memchr::memmem::Finder;
use sirocco_wire::sdp::{self, Description, Local, MessageStream, PORT_DISCARD, Setup};
use sirocco_wire::sip::{HeaderName, Method, Status};
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

/// Octets in front of a 2xx that is kept: its length and the CSeq number of its INVITE.
const ACCEPTED_HEAD: usize = 6;
/// Longest offer that is remembered.
const OFFER_KNOWN_MAX: usize = 512;
/// Longest Allow that is remembered.
const ALLOW_KNOWN_MAX: usize = 256;

/// How the content of a session will travel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Message,
    Msrp,
}

/// A session that may be built.
struct Plan {
    path: Path,
    handle: Handle,
    fingerprint: u64,
    /// Our tag of To.
    tag: [u8; 32],
    texts: TextRef,
}

/// What a session needs that can be built.
struct Prepared {
    carrier: Carrier,
    /// The cell of the 2xx.
    accepted: TextRef,
    /// Octets of the longest message by MSRP that the device takes.
    bytes_max: u32,
    has_content: bool,
    takes_message: bool,
}

/// Why a session with a good token cannot be built.
#[derive(Clone, Copy)]
enum Unfit {
    /// The content has no way.
    Carrier,
    /// There is no room for the 2xx.
    Room,
    /// The 2xx is too long to be kept.
    Length,
}

impl Sessions {
    pub(super) fn invite<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
    ) {
        self.counts.invites += 1;
        let fingerprint = self.names.fingerprint(asked.call_id, asked.from_tag);
        let transaction = self.invite_name(asked);
        let (table, number) = (&self.table, asked.cseq.number);
        let known = self.lookup.find(fingerprint, |slot| {
            let slot = table.at(slot);
            let is_it = slot.invite == transaction || number <= slot.remote_cseq;
            slot.fingerprint == fingerprint && is_it
        });
        if let Some(slot) = known {
            self.invite_known(turn, asked, (slot, transaction));
            return;
        }
        if self.lookup.was_here(fingerprint, transaction) {
            self.counts.repeated += 1;
            return;
        }
        if let Some(code) = self.lookup.refused(turn.now, fingerprint, transaction) {
            self.counts.repeated += 1;
            self.refuse_again(turn, asked, code);
            return;
        }
        let Some(offer) = self.offer(turn, asked) else {
            return;
        };
        if let Some(texts) = self.keep_texts(turn, asked, &offer) {
            self.admit(turn, asked, &offer, (fingerprint, transaction), texts);
        }
    }

    /// Asks the host, prepares the answer before the token is used up, and opens the session that was granted.
    #[inline]
    fn admit<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
        offer: &Option<Description<'_>>,
        known: (u64, u16),
        texts: TextRef,
    ) {
        let handle = self.table.next();
        let path = return_path(turn.path, &asked.way);
        let plan = Plan {
            path,
            handle,
            fingerprint: known.0,
            tag: self.names.to_tag(handle, known.0),
            texts,
        };
        let invitation = invitation(turn.path, asked);
        let mut prepared = None;
        let verdict = turn.host.admit(turn.now, &invitation, |content| {
            let ready = self.prepare(asked, offer, &plan, content);
            prepared.insert(ready).is_ok()
        });
        match (verdict, prepared) {
            (Ok(grant), Some(Ok(prepared))) => {
                self.open(turn, asked, (&plan, known.1), &prepared, grant);
            }
            (_, Some(Err(unfit))) => {
                self.arena.free(texts);
                self.refuse_unfit(turn, asked, unfit);
            }
            (verdict, prepared) => {
                self.arena.free(texts);
                if let Some(Ok(prepared)) = prepared {
                    self.arena.free(prepared.accepted);
                }
                let refusal = verdict.err().unwrap_or(Refusal::ContentGone);
                self.counts.refused.count(refusal);
                self.answer(turn, asked, refusal.status(), b"");
            }
        }
    }

    #[cold]
    fn refuse_unfit<H, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
        unfit: Unfit,
    ) {
        match unfit {
            Unfit::Carrier => self.refuse_passing(turn, asked, 488),
            Unfit::Room => self.refuse_passing(turn, asked, 503),
            Unfit::Length => {
                self.refuse(turn, asked, TOO_LARGE, |refused| &mut refused.too_long);
            }
        }
    }

    /// Refuses an INVITE for a reason that may pass: when it comes again it gets the same answer, for its client may
    /// have given it up by then (RFC 3261 8.2.7 wants the same response each time).
    #[cold]
    fn refuse_passing<H, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
        code: u16,
    ) {
        let fingerprint = self.names.fingerprint(asked.call_id, asked.from_tag);
        let known = (fingerprint, self.invite_name(asked));
        self.lookup.refuse(turn.now, known, code);
        self.refuse_again(turn, asked, code);
    }

    #[cold]
    fn refuse_again<H, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
        code: u16,
    ) {
        if code == 503 {
            self.refuse(turn, asked, Status::of(code), |refused| {
                &mut refused.overload
            });
        } else {
            self.refuse(turn, asked, Status::of(code), |refused| &mut refused.offer);
        }
    }

    /// RFC 6026 7.1: an INVITE that came again is absorbed. RFC 3261 8.2.2.2: one that came by another way is 482;
    /// one with a higher CSeq number is another one, and does not come here.
    #[cold]
    fn invite_known<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
        (slot, transaction): (u32, u16),
    ) {
        if self.table.at(slot).invite == transaction {
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
            self.refuse_passing(turn, asked, 503);
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
        // The answer to an offer without streams is what we would offer, and most such offers are like the last one.
        if body == self.offer_known {
            return Some(None);
        }
        match Description::parse(body) {
            Ok(offer) if is_answerable(&offer) => {
                let is_usual = offer.stream_count == 0 && offer.time == b"0 0";
                if is_usual && body.len() <= OFFER_KNOWN_MAX {
                    // Refilled, not allocated: each device may name its own address.
                    self.offer_known.clear();
                    self.offer_known.extend_from_slice(body);
                }
                Some(Some(offer))
            }
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
        offer: &Option<Description<'_>>,
    ) -> Option<TextRef> {
        let contact = asked.message.header(HeaderName::Contact).unwrap_or(b"");
        let target = address_uri(contact);
        // RFC 3261 12.1.1, 8.1.1.8: exactly one Contact, a SIP URI. Nothing else may stand in a request line.
        let is_sip = target.get(..4);
        let sound = is_sip.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sip:"))
            && is_graphic(target)
            && !asked.message.repeats(HeaderName::Contact);
        if !sound {
            self.refuse(turn, asked, Status::of(400), |refused| {
                &mut refused.malformed
            });
            return None;
        }
        let written = asked.message.header(HeaderName::RecordRoute).unwrap_or(b"");
        let is_list = asked.message.repeats(HeaderName::RecordRoute) || has_comma(written);
        let joined = is_list.then(|| {
            let values: Vec<_> = asked.message.list(HeaderName::RecordRoute).collect();
            values.join(&b", "[..])
        });
        let routes = joined.as_deref().unwrap_or(written);
        let mut room = [0; MSRP_TEXT_MAX];
        let path = self.usable_stream(offer);
        let path = path.map_or(&b""[..], |stream| msrp_text(&mut room, &stream));
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
            self.refuse_passing(turn, asked, 503);
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
        (plan, transaction): (&Plan, u16),
        prepared: &Prepared,
        grant: Grant,
    ) {
        let handle = self.table.open(turn.now);
        let follows = self.follows(turn, asked, plan);
        let slot = self.table.at_mut(handle.slot);
        slot.owner = grant.owner;
        slot.content = grant.content;
        slot.fingerprint = plan.fingerprint;
        slot.texts = plan.texts;
        slot.invite = transaction;
        slot.remote_cseq = asked.cseq.number;
        slot.set_path(plan.path);
        if follows {
            slot.follow();
        }
        if prepared.has_content {
            self.counts.pushing += 1;
        } else {
            slot.marks |= mark::SETTLED;
        }
        if !prepared.takes_message {
            slot.marks |= mark::NO_MESSAGE;
        }
        if prepared.carrier == Carrier::Msrp {
            slot.marks |= mark::HAS_MSRP;
            slot.kept = self.legs.open(prepared.bytes_max);
        }
        self.lookup.enter(plan.fingerprint, handle.slot);
        if let Path::Stream { stream, .. } = plan.path {
            self.use_stream(stream, true);
        }
        self.counts.opened += 1;
        self.counts.open = self.table.len() as u64;
        self.keep(handle, prepared.accepted.word());
        self.send_accepted(turn, plan.path, prepared.accepted);
        self.table.at_mut(handle.slot).transmitted();
        self.arm(turn.now, handle, turn.now + T1_NS);
    }

    /// Whether requests inside the dialog go to another address than the INVITE came from (RFC 3261 12.2.1.1, 8.1.2).
    #[inline]
    fn follows<H: Host, O>(&self, turn: &Turn<'_, H, O>, asked: &Asked<'_>, plan: &Plan) -> bool {
        let Path::Datagram { peer } = plan.path else {
            return false;
        };
        let texts = Texts::read(self.arena.octets(plan.texts));
        // A single Via: there is nobody between, and the source is where the device is, whatever Contact says.
        if texts.routes.is_empty() && !asked.message.has_several_vias() {
            return false;
        }
        let hop = texts.next_hop().filter(|hop| *hop != peer);
        hop.is_some_and(|hop| hop.ip() == peer.ip() || turn.host.may_route(hop))
    }

    /// Judges whether a content can travel, and writes the 2xx into a cell of its own: what can fail fails here.
    #[inline]
    fn prepare(
        &mut self,
        asked: &Asked<'_>,
        offer: &Option<Description<'_>>,
        plan: &Plan,
        content: &Content<'_>,
    ) -> Result<Prepared, Unfit> {
        let takes_message = self.takes_message(asked);
        let bytes_max = offer.as_ref().and_then(|offer| offer.message_bytes_max);
        let bytes_max = bytes_max.unwrap_or(u32::MAX);
        let has_content = !content.content_type.is_empty();
        let stream = self.usable_stream(offer);
        let by_message = takes_message
            && content.octets.len() <= self.config.message_bytes_max
            && (!has_content || self.fits_message(plan, content));
        let by_msrp = stream.is_some_and(|stream| {
            let is_taken = sdp::accepts(stream.accept_types, content.content_type.as_bytes());
            !has_content || is_taken && content.octets.len() <= bytes_max as usize
        });
        let carrier = match (by_message, by_msrp) {
            (true, true) if content.prefer == Push::Msrp => Carrier::Msrp,
            (true, _) => Carrier::Message,
            (false, true) => Carrier::Msrp,
            (false, false) if !has_content => Carrier::Message,
            (false, false) => return Err(Unfit::Carrier),
        };
        let stream = stream.filter(|_| carrier == Carrier::Msrp);
        let length = self.write_accepted(asked, offer, stream, plan);
        let octets = &self.scratch[..length];
        if length == 0 || length + ACCEPTED_HEAD > TEXT_BYTES_MAX {
            return Err(Unfit::Length);
        }
        let Some(accepted) = self.arena.take(length + ACCEPTED_HEAD) else {
            return Err(Unfit::Room);
        };
        let cell = self.arena.octets_mut(accepted);
        cell[..2].copy_from_slice(&(length as u16).to_le_bytes());
        cell[2..ACCEPTED_HEAD].copy_from_slice(&asked.cseq.number.to_le_bytes());
        cell[ACCEPTED_HEAD..length + ACCEPTED_HEAD].copy_from_slice(octets);
        Ok(Prepared {
            carrier,
            accepted,
            bytes_max,
            has_content,
            takes_message,
        })
    }

    /// Whether a device takes MESSAGE: Allow lists it, or there is none.
    #[inline]
    fn takes_message(&mut self, asked: &Asked<'_>) -> bool {
        // Devices of one make write the same line; finding it is a tenth of walking all header fields.
        let message = asked.message;
        let octets = message.datagram();
        let head = &octets[..octets.len() - message.body().len()];
        if let Some(known) = &self.allow_known
            && known.find(head).is_some()
        {
            return true;
        }
        let takes = message.allows(Method::Message) != Some(false);
        if let Some(allow) = message.header(HeaderName::Allow).filter(|_| takes)
            && allow.len() <= ALLOW_KNOWN_MAX
            && !message.repeats(HeaderName::Allow)
        {
            let line = [b"\r\nAllow: ", allow, b"\r\n"].concat();
            self.allow_known = Some(Finder::new(&line).into_owned());
        }
        takes
    }

    /// Whether the first MESSAGE of a session to be is one that its path takes.
    #[inline]
    fn fits_message(&mut self, plan: &Plan, content: &Content<'_>) -> bool {
        if matches!(plan.path, Path::Stream { .. }) {
            return true;
        }
        let texts = Texts::read(self.arena.octets(plan.texts));
        let names = (&texts, &plan.tag);
        fits_datagram(&self.fixed, &mut self.scratch, names, content)
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

    /// Writes the 2xx into `scratch` and returns its length.
    #[inline]
    fn write_accepted(
        &mut self,
        asked: &Asked<'_>,
        offer: &Option<Description<'_>>,
        stream: Option<MessageStream<'_>>,
        plan: &Plan,
    ) -> usize {
        let mut path = [0; PATH_BYTES_MAX];
        let path_length = stream.map_or(0, |_| {
            let name = self.names.msrp_session(plan.handle, plan.fingerprint);
            self.write_path(&mut path, &name)
        });
        let local = Local {
            connection: &self.fixed.connection,
            session_id: plan.fingerprint >> 1,
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
        let on_stream = matches!(plan.path, Path::Stream { .. });
        let response = Response {
            status: Status::OK,
            tag: &plan.tag,
            lines: &self.fixed.accepted[usize::from(on_stream)],
            routes: true,
            body: &body[..body_length],
        };
        response.write(&mut self.scratch, asked)
    }

    /// Sends a 2xx, for the first time or again.
    #[inline]
    pub(super) fn send_accepted<H, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        path: Path,
        accepted: TextRef,
    ) {
        let cell = self.arena.octets(accepted);
        let length = usize::from(u16::from_le_bytes([cell[0], cell[1]]));
        let octets = &cell[ACCEPTED_HEAD..length + ACCEPTED_HEAD];
        let rest = (&mut *self.scratch, &mut self.counts);
        send(rest, turn.out, path, |room| {
            let Some(room) = room.get_mut(..octets.len()) else {
                return 0;
            };
            room.copy_from_slice(octets);
            octets.len()
        });
    }

    /// The CSeq number of the INVITE whose 2xx is kept.
    #[inline]
    pub(super) fn accepted_number(&self, accepted: TextRef) -> u32 {
        let cell = self.arena.octets(accepted);
        u32::from_le_bytes([cell[2], cell[3], cell[4], cell[5]])
    }
}

#[inline]
fn has_comma(value: &[u8]) -> bool {
    !value.is_empty() && memchr(b',', value).is_some()
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
