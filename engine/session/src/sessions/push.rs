//! What a session sends of its own: the content as MESSAGE, BYE, and what their responses mean (RFC 3261 17.1.2).
//!
//! One request is on its way at a time. It is written from slot, texts and content whenever it is sent, so a
//! retransmission needs no copy. Timer K is the generation in the branch: late responses find nothing.

use super::{Fixed, Sessions, T1_NS, T2_NS, TRANSACTION_NS, Turn, send};
use crate::asked::{address_uri, uri_param};
use crate::config::End;
use crate::dialog::Texts;
use crate::host::{Cause, Content, Grant, Host, Outbox, Path, SessionEvent, SessionHandle};
use crate::names::BRANCH_BYTES;
use crate::render::Request;
use crate::slot::{State, mark};
use crate::wheel::{Handle, TICK_NS};
use sirocco_wire::sdp;
use sirocco_wire::sip::list::list_values;
use sirocco_wire::sip::{Message, Method};
use std::net::SocketAddr;

/// RFC 3428 8: octets of the longest MESSAGE over UDP.
const MESSAGE_DATAGRAM_MAX: usize = 1_300;
/// Octets of a MESSAGE beside its texts and its body, at most: names, branch, tag, lines that never change, padding.
const REQUEST_BYTES_FIXED: usize = 320;

impl Sessions {
    /// Takes a response; `false`: its branch is none of ours.
    #[inline]
    pub fn response(
        &mut self,
        now: u64,
        path: Path,
        message: &Message<'_>,
        host: &mut impl Host,
        out: &mut impl Outbox,
    ) -> bool {
        let branch = message.top_via().and_then(|via| via.branch);
        let Some((handle, number)) = branch.and_then(|branch| self.names.recognise_branch(branch))
        else {
            return false;
        };
        let turn = &mut Turn {
            now,
            path,
            host,
            out,
        };
        // RFC 3261 8.1.3.3: a response with more than one Via was not meant for this sender.
        let cseq = message.cseq().filter(|_| !message.has_several_vias());
        let (Some(cseq), Some(status @ 100..700)) = (cseq, message.status_code()) else {
            self.counts.strays.odd_responses += 1;
            return true;
        };
        let matches = cseq.number == number;
        let is_ours = self.answered(turn, handle, (number, cseq.method, status), matches);
        // Late responses teach nothing: a device could send as many as it likes.
        if is_ours && (200..300).contains(&status) && matches!(path, Path::Datagram { .. }) {
            self.familiars.learn(message);
        }
        true
    }

    /// A response to request `number`; `matches`: branch and CSeq agree on it. `false`: nobody waits for it.
    #[inline]
    pub(super) fn answered<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        handle: Handle,
        (number, method, status): (u32, Method<'_>, u16),
        matches: bool,
    ) -> bool {
        let Some(slot) = self.table.find(handle) else {
            self.counts.strays.late += 1;
            return false;
        };
        let asked = match slot.state() {
            State::Pushing | State::HungUp => Some(Method::Message),
            State::Ending => Some(Method::Bye),
            _ => None,
        };
        // RFC 3261 17.1.3: branch and method of CSeq name the transaction.
        if !matches || number != u32::from(slot.local_cseq) || asked != Some(method) {
            self.counts.strays.late += 1;
            return false;
        }
        if status < 200 {
            slot.marks |= mark::PROCEEDING;
            return true;
        }
        match slot.state() {
            State::Ending => {
                let cause = Cause::of_word(self.kept(handle));
                self.end(turn, handle, cause);
            }
            State::HungUp => {
                if status < 300 {
                    self.delivered(turn, handle);
                }
                self.end(turn, handle, Cause::Peer);
            }
            _ => self.pushed(turn, handle, status),
        }
        true
    }

    /// The final response to the content.
    fn pushed<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        handle: Handle,
        status: u16,
    ) {
        match status {
            200..300 => {
                self.delivered(turn, handle);
                self.rest(turn, handle);
            }
            // RFC 3261 12.2.1.2: the peer has no such dialog, or does not answer: it is over without BYE.
            408 | 481 => self.end(turn, handle, Cause::Gone),
            _ => {
                self.fail(turn, handle, Cause::Refused(status));
                self.hang_up(turn, handle, Cause::Refused(status));
            }
        }
    }

    /// Notes that the device has the content.
    pub(super) fn delivered<H: Host, O>(&mut self, turn: &mut Turn<'_, H, O>, handle: Handle) {
        let slot = self.table.at_mut(handle.slot);
        slot.marks |= mark::SETTLED;
        self.counts.pushing -= 1;
        self.counts.delivered += 1;
        let (owner, content) = (slot.owner, slot.content);
        turn.host
            .note(turn.now, owner, content, SessionEvent::Delivered);
    }

    /// Nothing is on its way: the session ends, lingers, or is held.
    pub(super) fn rest<H: Host, O: Outbox>(&mut self, turn: &mut Turn<'_, H, O>, handle: Handle) {
        if self.is_to_end(handle) {
            self.hang_up(turn, handle, Cause::Drained);
            return;
        }
        if self.config.end == (End::Engine { linger_ms: 0 }) {
            self.hang_up(turn, handle, Cause::Engine);
            return;
        }
        let slot = self.table.at_mut(handle.slot);
        slot.enter(State::Open, turn.now);
        let opened_s = Texts::read(self.arena.octets(slot.texts)).opened_s;
        let held_until = u64::from(opened_s) * 1_000 + self.config.hold_ms_max;
        let until_ms = match self.config.end {
            End::Engine { linger_ms } => {
                held_until.min(turn.now / 1_000_000 + u64::from(linger_ms))
            }
            End::Device => held_until,
        };
        let until_ns = until_ms.saturating_mul(1_000_000);
        // In ticks since the session was opened, 248 days at most.
        let held_ns = until_ns.saturating_sub(u64::from(opened_s) * 1_000_000_000);
        self.keep(handle, (held_ns / TICK_NS).min(u64::from(u32::MAX)) as u32);
        self.arm(turn.now, handle, until_ns);
    }

    /// Begins to push the content of a session that is open and idle.
    #[inline]
    pub(super) fn begin_content<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        handle: Handle,
    ) {
        if self.is_to_end(handle) {
            self.fail(turn, handle, Cause::Drained);
            self.hang_up(turn, handle, Cause::Drained);
            return;
        }
        if self.table.at(handle.slot).has(mark::SETTLED) {
            self.rest(turn, handle);
            return;
        }
        match self.leg_of(handle) {
            Some(number) => self.begin_stream(turn, handle, number),
            None => self.begin(turn, handle, State::Pushing),
        }
    }

    /// Ends a session by BYE; `cause` is what its end will be counted as.
    pub(super) fn hang_up<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        handle: Handle,
        cause: Cause,
    ) {
        self.keep(handle, cause.word());
        self.begin(turn, handle, State::Ending);
    }

    /// Sends a new request: the MESSAGE or BYE that `state` stands for.
    #[inline]
    fn begin<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        handle: Handle,
        state: State,
    ) {
        let slot = self.table.at_mut(handle.slot);
        slot.enter(state, turn.now);
        // The last number is left for BYE: `push` refuses before it.
        slot.local_cseq = slot.local_cseq.saturating_add(1);
        self.transmit(turn, handle);
    }

    /// Sends the request that is on its way, for the first time or again, and sets its timer.
    #[inline]
    pub(super) fn transmit<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        handle: Handle,
    ) {
        let is_content = self.table.at(handle.slot).state() == State::Pushing;
        let content = if is_content {
            {
                let slot = self.table.at(handle.slot);
                turn.host.content(slot.owner, slot.content)
            }
        } else {
            Some(Content {
                content_type: "",
                octets: b"",
                prefer: crate::host::Push::Auto,
            })
        };
        let Some(content) = content else {
            self.fail(turn, handle, Cause::ContentGone);
            self.hang_up(turn, handle, Cause::ContentGone);
            return;
        };
        let slot = self.table.at(handle.slot);
        let texts = Texts::read(self.arena.octets(slot.texts));
        let own = slot.path(|| texts.peer.unwrap_or(turn.path.peer()));
        let route = Route::of(&texts, own, slot.follows());
        let path = route.path;
        let on_stream = matches!(path, Path::Stream { .. });
        let cseq = u32::from(slot.local_cseq);
        let branch = self.names.branch(handle, cseq);
        let tag = self.names.to_tag(handle, slot.fingerprint);
        let names = (&tag, &branch, cseq);
        let method: &[u8] = if is_content { b"MESSAGE" } else { b"BYE" };
        let request = compose(
            (&self.fixed, on_stream),
            &texts,
            &route,
            names,
            (method, &content),
        );
        let rest = (&mut *self.scratch, &mut self.counts);
        let sent = send(rest, turn.out, path, |room| request.write(room));
        if let Path::Stream { stream, .. } = path
            && !sent
        {
            self.note_full(turn.now, stream);
        }
        let slot = self.table.at_mut(handle.slot);
        self.counts.retransmissions += u64::from(slot.transmissions() > 0);
        slot.transmitted();
        let left = TRANSACTION_NS.saturating_sub(slot.elapsed_ns(turn.now));
        // RFC 3261 17.1.2.2: over a reliable transport only Timer F runs, once the request has left.
        let wait = if on_stream && sent {
            left
        } else {
            let proceeding = slot.has(mark::PROCEEDING);
            interval(slot.transmissions(), proceeding).min(left)
        };
        self.arm(turn.now, handle, turn.now + wait);
    }

    /// Whether a session that is open and idle can carry a content.
    fn fits(&mut self, session: SessionHandle, content: &Content<'_>) -> bool {
        let Some(slot) = self.table.find(session) else {
            return false;
        };
        let is_idle = slot.state() == State::Open && !slot.has(mark::DRAIN);
        if !is_idle || slot.local_cseq >= u16::MAX - 1 {
            return false;
        }
        let texts = Texts::read(self.arena.octets(slot.texts));
        if slot.has(mark::HAS_MSRP) {
            let fits = content.octets.len() <= self.legs.at(slot.kept).bytes_max as usize;
            return fits && sdp::accepts(texts.msrp().1, content.content_type.as_bytes());
        }
        if slot.has(mark::NO_MESSAGE) || content.octets.len() > self.config.message_bytes_max {
            return false;
        }
        let tag = self.names.to_tag(session, slot.fingerprint);
        slot.is_on_stream()
            || fits_datagram(&self.fixed, &mut self.scratch, (&texts, &tag), content)
    }

    /// Pushes another content into an open session, whose owner is named anew; `false`: the session is over, busy or
    /// about to end, or the content is not one that it can carry.
    pub fn push(
        &mut self,
        now: u64,
        session: SessionHandle,
        grant: Grant,
        host: &mut impl Host,
        out: &mut impl Outbox,
    ) -> bool {
        let content = host.content(grant.owner, grant.content);
        let content = content.filter(|content| !content.content_type.is_empty());
        let fits = content.is_some_and(|content| self.fits(session, &content));
        let Some(slot) = self.table.find(session).filter(|_| fits) else {
            return false;
        };
        (slot.owner, slot.content) = (grant.owner, grant.content);
        slot.marks &= !mark::SETTLED;
        self.counts.pushing += 1;
        let path = slot.path(|| SocketAddr::from(([0; 4], 0)));
        let turn = &mut Turn {
            now,
            path,
            host,
            out,
        };
        self.begin_content(turn, session);
        true
    }
}

/// A request inside the dialog of `texts`.
#[inline]
fn compose<'a>(
    (fixed, on_stream): (&'a Fixed, bool),
    texts: &Texts<'a>,
    route: &Route<'a>,
    (tag, branch, cseq): (&'a [u8; 32], &'a [u8; BRANCH_BYTES], u32),
    (method, content): (&'a [u8], &Content<'a>),
) -> Request<'a> {
    Request {
        method,
        target: route.target,
        via: &fixed.via[usize::from(on_stream)],
        branch,
        routes: route.routes,
        last_route: route.last_route,
        local: if texts.local.is_empty() {
            &fixed.local
        } else {
            texts.local
        },
        tag,
        remote: texts.remote,
        call_id: texts.call_id,
        cseq,
        content_type: content.content_type.as_bytes(),
        body: content.octets,
    }
}

/// Whether a MESSAGE with that content goes by UDP: RFC 3428 8 wants at most 1300 octets where it is not known that
/// the whole way is congestion-controlled.
#[inline]
pub(super) fn fits_datagram(
    fixed: &Fixed,
    scratch: &mut [u8],
    (texts, tag): (&Texts<'_>, &[u8; 32]),
    content: &Content<'_>,
) -> bool {
    let target = texts.target[0].len() + texts.target[1].len();
    let parts = [texts.local, texts.remote, texts.call_id, content.octets];
    let sum: usize = parts.iter().map(|part| part.len()).sum();
    let sum = sum + content.content_type.len() + target + fixed.via[0].len() + fixed.local.len();
    if texts.routes.is_empty() && sum + REQUEST_BYTES_FIXED <= MESSAGE_DATAGRAM_MAX {
        return true;
    }
    let nowhere = SocketAddr::from(([0; 4], 0));
    let route = Route::of(texts, Path::Datagram { peer: nowhere }, false);
    // The longest number: a later content is not to depend on how many there were.
    let names = (tag, &[b'x'; BRANCH_BYTES], u32::from(u16::MAX));
    let request = compose((fixed, false), texts, &route, names, (b"MESSAGE", content));
    (1..=MESSAGE_DATAGRAM_MAX).contains(&request.write(scratch))
}

/// RFC 3261 17.1.2.2: Timer E doubles from T1 to T2, and is T2 once a provisional response came.
#[inline]
pub(super) fn interval(transmissions: u8, proceeding: bool) -> u64 {
    if proceeding {
        return T2_NS;
    }
    (T1_NS << transmissions.saturating_sub(1).min(3)).min(T2_NS)
}

/// Next hop, Request-URI and Route of a request inside a dialog (RFC 3261 12.2.1.1).
struct Route<'a> {
    path: Path,
    target: [&'a [u8]; 2],
    routes: &'a [u8],
    last_route: [&'a [u8]; 2],
}

impl<'a> Route<'a> {
    /// The next hop is where the INVITE came from, unless it is known to be what the top route or Contact says.
    #[inline]
    fn of(texts: &Texts<'a>, own: Path, follows: bool) -> Route<'a> {
        let direct = Route {
            path: own,
            target: texts.target,
            routes: texts.routes,
            last_route: [b"", b""],
        };
        if texts.routes.is_empty() && !follows {
            direct
        } else {
            direct.through(texts, follows)
        }
    }

    #[cold]
    fn through(self, texts: &Texts<'a>, follows: bool) -> Route<'a> {
        let hop = texts.next_hop().filter(|_| follows);
        let path = hop.map_or(self.path, |peer| Path::Datagram { peer });
        let Some(top) = list_values(self.routes).next() else {
            return Route { path, ..self };
        };
        let uri = address_uri(top);
        if uri_param(uri, b"lr").is_some() {
            return Route { path, ..self };
        }
        // RFC 3261 12.2.1.1: a strict router wants itself as Request-URI and the target as the last route. The list
        // was joined when it was kept, so it begins with its first value.
        let others = self.routes.get(top.len()..).unwrap_or_default();
        Route {
            path,
            target: [b"", uri],
            routes: others.strip_prefix(b",").unwrap_or(others).trim_ascii(),
            last_route: self.target,
        }
    }
}
