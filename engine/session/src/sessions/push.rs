//! What a session sends of its own: the content as MESSAGE, BYE, and what their responses mean (RFC 3261 17.1.2).
//!
//! One request is on its way at a time. It is written from slot, texts and content whenever it is sent, so a
//! retransmission needs no copy. Timer K is the generation in the branch: late responses find nothing.

use super::{Sessions, T1_NS, T2_NS, TRANSACTION_NS, Turn, send};
use crate::asked::{address_uri, uri_address, uri_param};
use crate::config::End;
use crate::dialog::Texts;
use crate::host::{Cause, Content, Grant, Host, Outbox, Path, SessionEvent, SessionHandle};
use crate::render::Request;
use crate::slot::{State, mark};
use crate::wheel::{Handle, TICK_NS};
use sirocco_wire::sip::token::find_unquoted;
use sirocco_wire::sip::{Message, Method};

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
        if (200..300).contains(&status) && matches!(path, Path::Datagram { .. }) {
            self.familiars.learn(message);
        }
        let matches = cseq.number == number;
        self.answered(turn, handle, (number, cseq.method, status), matches);
        true
    }

    /// A response to request `number`; `matches`: branch and CSeq agree on it.
    #[inline]
    pub(super) fn answered<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        handle: Handle,
        (number, method, status): (u32, Method<'_>, u16),
        matches: bool,
    ) {
        let Some(slot) = self.table.find(handle) else {
            self.counts.strays.late += 1;
            return;
        };
        let asked = match slot.state() {
            State::Pushing | State::HungUp => Some(Method::Message),
            State::Ending => Some(Method::Bye),
            _ => None,
        };
        // RFC 3261 17.1.3: branch and method of CSeq name the transaction.
        if !matches || number != u32::from(slot.local_cseq) || asked != Some(method) {
            self.counts.strays.late += 1;
            return;
        }
        if status < 200 {
            slot.marks |= mark::PROCEEDING;
            return;
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
        // A session sends far fewer requests than that: it is held an hour, and each waits for its response.
        slot.local_cseq = slot.local_cseq.wrapping_add(1).max(1);
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
        let Route {
            path,
            target,
            routes,
            last_route,
        } = Route::of(&texts, own);
        let on_stream = matches!(path, Path::Stream { .. });
        let cseq = u32::from(slot.local_cseq);
        let branch = self.names.branch(handle, cseq);
        let tag = self.names.to_tag(handle, slot.fingerprint);
        let request = Request {
            method: if is_content { b"MESSAGE" } else { b"BYE" },
            target,
            via: &self.fixed.via[usize::from(on_stream)],
            branch: &branch,
            routes,
            last_route,
            local: if texts.local.is_empty() {
                &self.fixed.local
            } else {
                texts.local
            },
            tag: &tag,
            remote: texts.remote,
            call_id: texts.call_id,
            cseq,
            content_type: content.content_type.as_bytes(),
            body: content.octets,
        };
        let rest = (&mut *self.scratch, &mut self.counts);
        let sent = send(rest, turn.out, path, |room| request.write(room));
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

    /// Pushes another content into an open session, whose owner is named anew; `false`: the session is over, busy or about to end, or the
    /// content is not one that it can carry.
    pub fn push(
        &mut self,
        now: u64,
        session: SessionHandle,
        grant: Grant,
        host: &mut impl Host,
        out: &mut impl Outbox,
    ) -> bool {
        let length = host
            .content(grant.owner, grant.content)
            .map(|content| content.octets.len());
        let bytes_max = self.config.message_bytes_max;
        let Some(slot) = self.table.find(session) else {
            return false;
        };
        let fits = length.is_some_and(|length| slot.has(mark::HAS_MSRP) || length <= bytes_max);
        if slot.state() != State::Open || slot.has(mark::DRAIN) || !fits {
            return false;
        }
        (slot.owner, slot.content) = (grant.owner, grant.content);
        slot.marks &= !mark::SETTLED;
        self.counts.pushing += 1;
        let path = slot.path(|| std::net::SocketAddr::from(([0; 4], 0)));
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
    /// The next hop is where the INVITE came from, unless the top route names another address.
    #[inline]
    fn of(texts: &Texts<'a>, own: Path) -> Route<'a> {
        let direct = Route {
            path: own,
            target: texts.target,
            routes: texts.routes,
            last_route: [b"", b""],
        };
        if texts.routes.is_empty() {
            direct
        } else {
            direct.through()
        }
    }

    #[cold]
    fn through(self) -> Route<'a> {
        let (top, others) = self.routes.split_at(find_unquoted(self.routes, b',', b','));
        let uri = address_uri(top);
        let path = match (uri_address(uri), self.path) {
            (Some(hop), Path::Datagram { peer }) if hop != peer => Path::Datagram { peer: hop },
            _ => self.path,
        };
        if uri_param(uri, b"lr").is_some() {
            return Route { path, ..self };
        }
        // RFC 3261 12.2.1.1: a strict router wants itself as Request-URI and the target as the last route.
        Route {
            path,
            target: [b"", uri],
            routes: others.strip_prefix(b",").unwrap_or(others).trim_ascii(),
            last_route: self.target,
        }
    }
}
