//! What the other side of a call says: responses to our requests (RFC 3261 17.1.1, RFC 6026 7.2), and
//! requests inside a dialog. What belongs to a call that is over is answered without one.
//!
//! Called by `desk` for what has a branch or a To tag of ours.

use sirocco_wire::sip::{Message, Method};
use sirocco_wire::writer::Writer;

use super::calls::Calls;
use super::lanes::Kind;
use super::name::{NAME_BYTES, Name};
use super::policy::Fault;
use super::table::{State, Text};
use super::write::{Party, ROUTES_MAX, first_hop, remote_target, routes};
use crate::hash::{public_hash, seeded};
use crate::population::Origin;

/// RFC 3261 17.1.1.2: Timer D over UDP.
const TIMER_D_NS: u64 = 32_000_000_000;
/// The slot in the names of forged INVITEs, which have none.
pub(crate) const FLOOD_SLOT: u32 = u32::MAX;
/// The longest To and route set of a dialog that is kept: most of a datagram.
const REMOTE_BYTES_MAX: usize = 1024;
const CONTENT_SALT: u64 = 0x636f_6e74;
/// The part of a registration's lifetime after which it is refreshed.
const REFRESH_SHARE: u64 = 2;

impl Calls {
    /// Takes a response; false when its branch is not one of ours.
    #[inline]
    pub(crate) fn response(&mut self, now_ns: u64, origin: Origin, message: &Message<'_>) -> bool {
        let Some(via) = message.top_via() else {
            return false;
        };
        let maker = self.config.maker();
        let Some((name, letter, cseq)) =
            via.branch.and_then(|branch| Name::of_branch(branch, maker))
        else {
            return false;
        };
        let status = message.status_code().unwrap_or(0);
        match letter {
            b'i' if name.slot == FLOOD_SLOT => {
                self.flood_answers[usize::from(status / 100).min(6)] += 1;
            }
            b'i' => self.invite_response(now_ns, origin, name, message),
            _ if status < 200 || !self.is_current(name, cseq) => {}
            b'b' => self.bye_response(now_ns, name, message),
            b'm' => self.told_response(now_ns, name, message),
            b'r' => self.register_response(now_ns, name, message),
            _ => self.strays += 1,
        }
        true
    }

    /// Tells whether the request with this number is the one that is out: what answers an earlier one
    /// came late. A call that is over has none.
    #[inline]
    fn is_current(&mut self, name: Name, cseq: u32) -> bool {
        self.table.live(name).is_none_or(|call| call.cseq == cseq)
    }

    #[inline]
    fn invite_response(&mut self, now_ns: u64, origin: Origin, name: Name, message: &Message<'_>) {
        let status = message.status_code().unwrap_or(0);
        let Some(call) = self.table.live(name) else {
            // RFC 3261 13.2.2.4: each 2xx is acknowledged, and a call that is over has all it takes.
            if (200..300).contains(&status) {
                self.ack(origin, name, message, true);
            } else {
                self.strays += 1;
            }
            return;
        };
        let class = call.class;
        if message.cseq().is_none_or(|cseq| cseq.number != call.cseq) && status >= 200 {
            // The last answer to an INVITE that was sent again with credentials, or with BYE behind it.
            if status >= 300 {
                self.ack(origin, name, message, false);
                return;
            }
        }
        match (call.state, status) {
            (State::Inviting | State::Proceeding, ..200) => {
                call.state = State::Proceeding;
                self.sheet(class).counts.provisional += 1;
                self.arm(now_ns, name, super::calls::PROCEEDING_NS);
            }
            (State::Inviting | State::Proceeding, ..300) => {
                let setup_ns = now_ns.saturating_sub(call.started_ns);
                let activates = call.activates_after;
                call.remote_tag = tag_hash(message);
                let sheet = self.sheet(class);
                sheet.set_up(setup_ns);
                sheet.counts.activated_after += u64::from(activates);
                self.accepted(now_ns, origin, name, message);
            }
            (State::Inviting | State::Proceeding, _) => {
                let row = call.row;
                self.ack(origin, name, message, false);
                if self.challenged(now_ns, name, message) {
                    return;
                }
                if let Some(call) = self.table.live(name) {
                    call.state = State::Refused;
                }
                *self.sheet(class).counts.refused.entry(status).or_default() += 1;
                self.people.close(row);
                if let Some(call) = self.table.live(name) {
                    call.row = u32::MAX;
                }
                // RFC 3261 17.1.1.2: over a connection Timer D is 0.
                if origin.stream > 0 {
                    return self.end(name);
                }
                self.table.may_wane(name);
                self.arm(now_ns, name, TIMER_D_NS);
            }
            (State::Refused, 300..) => self.ack(origin, name, message, false),
            (State::Vanished | State::AckHeld, _) => {}
            (_, 200..300) if call.remote_tag != tag_hash(message) => {
                self.sheet(class).counts.forked_2xx += 1;
                self.ack(origin, name, message, true);
                self.part(now_ns, name, message);
            }
            (_, 200..300) => {
                self.sheet(class).counts.repeated_2xx += 1;
                if self.fault_of(class) != Fault::NoAck {
                    self.ack(origin, name, message, true);
                }
            }
            _ => {}
        }
    }

    fn fault_of(&self, class: u8) -> Fault {
        let policy = self.policies[usize::from(class)].as_ref();
        policy.map_or(Fault::None, |policy| policy.fault)
    }

    /// The first 2xx: ACK, now, late or never, and the session is up.
    #[inline]
    fn accepted(&mut self, now_ns: u64, origin: Origin, name: Name, message: &Message<'_>) {
        let Some(call) = self.table.live(name) else {
            return;
        };
        let class = call.class;
        let mut values = [&b""[..]; ROUTES_MAX];
        let route = routes(message, &mut values).next();
        let target = remote_target(message).unwrap_or(b"");
        let (way, ppg) = (call.origin, usize::from(call.ppg));
        let peer = self.ppgs[ppg].way_to(first_hop(route.unwrap_or(b""), target));
        if peer != way.peer {
            let Some(way) = self.way(way, peer, way.stream > 0) else {
                return self.sheet(class).not_begun("connections-max");
            };
            if let Some(call) = self.table.live(name) {
                call.origin = way;
            }
        }
        let fault = self.fault_of(class);
        let policy = self.policies[usize::from(class)].as_ref();
        let speaks_again = policy.is_some_and(|policy| policy.hang_up.is_some());
        if (speaks_again || matches!(fault, Fault::LateAck { .. })) && !self.remember(name, message)
        {
            self.sheet(class).not_begun("dialog-texts-too-long");
        }
        match fault {
            Fault::NoAck => {}
            Fault::LateAck { ms } => {
                if let Some(call) = self.table.live(name) {
                    call.state = State::AckHeld;
                }
                return self.arm(now_ns, name, u64::from(ms) * 1_000_000);
            }
            _ => self.ack(origin, name, message, true),
        }
        if fault == Fault::VanishEstablished {
            return self.vanish(now_ns, name);
        }
        self.bind_stream(origin, name, message.body());
        self.establish(now_ns, name);
    }

    /// Keeps of a 2xx what later requests need: remote target, To, route set (RFC 3261 12.1.2).
    fn remember(&mut self, name: Name, message: &Message<'_>) -> bool {
        let (Some(target), Some(to)) = (remote_target(message), message.to()) else {
            return false;
        };
        let mut text = [0u8; REMOTE_BYTES_MAX];
        let mut writer = Writer::new(&mut text);
        let mut put = |octets: &[u8]| writer.put(octets).is_ok();
        let mut fits = put(to);
        let mut values = [&b""[..]; ROUTES_MAX];
        for (index, route) in routes(message, &mut values).enumerate() {
            let separator: &[u8] = if index == 0 { b"\n" } else { b"," };
            fits = fits && put(separator) && put(route);
        }
        let length = writer.len();
        let Some(call) = self.table.live(name).filter(|_| fits) else {
            return false;
        };
        let token: [u8; NAME_BYTES] = call.text(Text::Token).try_into().unwrap_or_default();
        // The token has served; a dialog beside the first keeps the name that stands there.
        let is_parting = call.state == State::Parting;
        let first: &[u8] = if is_parting { &token } else { b"" };
        if call.keep(Text::Token, &[first, target, &text[..length]]) {
            return true;
        }
        call.keep(Text::Token, &[first]);
        if let Some(long) = self.table.long(name) {
            long.target = target.to_vec();
            long.to = text[..length].to_vec();
        }
        true
    }

    /// Ends the dialog of a 2xx that came of a fork, beside the dialog that was taken: RFC 3261 13.2.2.4
    /// lets a caller end those that it does not want.
    #[cold]
    fn part(&mut self, now_ns: u64, name: Name, message: &Message<'_>) {
        let text = name.text(self.config.maker());
        let mut values = [&b""[..]; ROUTES_MAX];
        let route = routes(message, &mut values).next().unwrap_or(b"");
        let hop = first_hop(route, remote_target(message).unwrap_or(b""));
        let Some(call) = self.table.live(name) else {
            return;
        };
        let (class, ppg, aor) = (call.class, call.ppg, call.text(Text::Aor).to_vec());
        let cseq = call.cseq.wrapping_add(1);
        let way = call.origin;
        let peer = self.ppgs[usize::from(ppg)].way_to(hop);
        let way = self.way(way, peer, way.stream > 0);
        let Some(fork) = way.and_then(|way| self.table.take(way)) else {
            return self.sheet(class).not_begun("calls-max");
        };
        if let Some(call) = self.table.live(fork) {
            (call.state, call.class, call.ppg) = (State::Parting, class, ppg);
            (call.cseq, call.started_ns) = (cseq, now_ns);
            call.keep(Text::Aor, &[&aor, b"", &text]);
        }
        if !self.remember(fork, message) {
            return self.end(fork);
        }
        self.send(fork);
        self.arm(now_ns, fork, self.config.t1_ns);
    }

    /// Acknowledges a final response to an INVITE.
    #[inline]
    fn ack(&mut self, origin: Origin, name: Name, message: &Message<'_>, success: bool) {
        let text = name.text(self.config.maker());
        let mut buffer = [0; 64];
        let Calls {
            table,
            lanes,
            edges,
            draft,
            ppgs,
            ..
        } = self;
        let (call, long) = table.with_long(name).unzip();
        // RFC 3261 22.1: the credentials of the INVITE stand in its ACK.
        let long = long.flatten().filter(|_| success);
        let party = Party {
            edge: edges.text(&origin, &mut buffer),
            aor: b"",
            device: b"",
            name: &text,
            branch: &text,
            cseq: message.cseq().map_or(1, |cseq| cseq.number),
            credentials: long.map_or(b"", |long| &long.credentials),
            is_stream: origin.stream > 0,
        };
        let (class, origin) = call
            .as_ref()
            .map_or((0, origin), |call| (call.class, call.origin));
        let written = if success {
            let Some(target) = remote_target(message) else {
                return;
            };
            draft.ack(&party, message, &[target], true)
        } else {
            let Some(call) = call else {
                return;
            };
            // RFC 3261 17.1.1.3: the Request-URI of the INVITE.
            let uri = ppgs[usize::from(call.ppg)].invite_uri(call.text(Text::Token));
            draft.ack(&party, message, &uri, false)
        };
        if written {
            lanes.put(Kind::Ack, origin, draft);
            self.sheet(class).counts.acks += u64::from(success);
        }
    }

    fn bye_response(&mut self, now_ns: u64, name: Name, message: &Message<'_>) {
        let Some(call) = self.table.live(name) else {
            return;
        };
        let (state, class) = (call.state, call.class);
        let is_bye = matches!(state, State::Hanging | State::Parting);
        if !is_bye || self.challenged(now_ns, name, message) {
            return;
        }
        self.sheet(class).counts.ended_by_device += u64::from(state == State::Hanging);
        self.end(name);
    }

    fn told_response(&mut self, now_ns: u64, name: Name, message: &Message<'_>) {
        let status = message.status_code().unwrap_or(0);
        if self.challenged(now_ns, name, message) {
            return;
        }
        let Some(call) = self.table.live(name) else {
            return;
        };
        let counts = &mut self.sheets[usize::from(call.class)].counts;
        if (200..300).contains(&status) {
            counts.told_accepted += 1;
        } else {
            counts.told_failed += 1;
        }
        self.end(name);
    }

    fn register_response(&mut self, now_ns: u64, name: Name, message: &Message<'_>) {
        let status = message.status_code().unwrap_or(0);
        let expires_s = u64::from(self.config.expires_s);
        let Some(call) = self.table.live(name) else {
            return;
        };
        if call.state != State::Registering {
            return;
        }
        let is_own = call.is_own;
        if self.challenged(now_ns, name, message) {
            return;
        }
        let Some(call) = self.table.live(name) else {
            return;
        };
        let counts = &mut self.sheets[usize::from(call.class)].counts;
        if !(200..300).contains(&status) {
            counts.register_failures += 1;
            return self.end(name);
        }
        counts.registered += 1;
        if !is_own {
            return self.end(name);
        }
        call.state = State::Registered;
        self.table.forget_credentials(name);
        self.registered += 1;
        self.arm(now_ns, name, expires_s * 1_000_000_000 / REFRESH_SHARE);
    }

    /// Returns the call that a tag names, over or not.
    #[inline]
    pub(crate) fn name(&self, tag: &[u8]) -> Option<Name> {
        Name::read(tag, self.config.maker())
    }

    /// Takes a request whose To tag is one of ours.
    #[inline]
    pub(crate) fn request(
        &mut self,
        now_ns: u64,
        origin: Origin,
        name: Name,
        message: &Message<'_>,
    ) {
        let method = message.method();
        let Some(call) = self.table.live(name) else {
            // A BYE that came again is answered again; anything else has no dialog any more.
            match method {
                Some(Method::Ack) => {}
                Some(Method::Bye) => self.reply(origin, message, 200),
                _ => {
                    self.strays += 1;
                    self.reply(origin, message, 481);
                }
            }
            return;
        };
        if call.state == State::Vanished {
            return;
        }
        match method {
            Some(Method::Message) => {
                // RFC 3261 17.2.2: before its answer a request that comes again changes nothing.
                let waits = call.is_answering;
                let class = call.class;
                self.content(name, message);
                if !waits && !self.answer_later(now_ns, (name, class), origin, message) {
                    self.reply(origin, message, 200);
                }
            }
            Some(Method::Bye) => {
                let class = call.class;
                if call.state == State::Leaving {
                    return;
                }
                self.sheet(class).counts.ended_by_peer += 1;
                if self.answer_later(now_ns, (name, class), origin, message) {
                    if let Some(call) = self.table.live(name) {
                        (call.state, call.due) = (State::Leaving, 0);
                    }
                    return;
                }
                self.end(name);
                self.reply(origin, message, 200);
            }
            Some(Method::Ack) => {}
            Some(Method::Options) => self.reply(origin, message, 200),
            Some(Method::Invite) => self.reply(origin, message, 488),
            Some(Method::Cancel) => self.reply(origin, message, 481),
            _ => self.reply(origin, message, 501),
        }
    }

    /// Takes a MESSAGE: a content that is new, or one that came again.
    #[inline]
    fn content(&mut self, name: Name, message: &Message<'_>) {
        let number = message.cseq().map_or(0, |cseq| cseq.number);
        let Some(call) = self.table.live(name) else {
            return;
        };
        let class = call.class;
        if number <= call.remote_cseq {
            self.sheet(class).counts.contents_repeated += 1;
            return;
        }
        call.remote_cseq = number;
        let body = message.body();
        let expected = self.config.content.as_deref();
        let is_corrupt = expected.is_some_and(|expected| expected != body);
        self.count_content(name, body.len(), is_corrupt);
    }

    /// Counts a content, and whether one came of the same SIR before: a duplicate push.
    #[inline]
    pub(super) fn count_content(&mut self, name: Name, octets: usize, is_corrupt: bool) {
        let Some(call) = self.table.live(name) else {
            return;
        };
        let (class, group) = (call.class, call.group);
        let is_duplicate = self.count_in_group(group) > 0;
        let counts = &mut self.sheet(class).counts;
        counts.contents += 1;
        counts.content_octets += octets as u64;
        counts.contents_corrupt += u64::from(is_corrupt);
        counts.duplicate_pushes += u64::from(is_duplicate);
    }

    /// Keeps the answer to a content or a BYE for the time that the device takes; false when it takes none.
    #[inline]
    fn answer_later(
        &mut self,
        now_ns: u64,
        (name, class): (Name, u8),
        origin: Origin,
        message: &Message<'_>,
    ) -> bool {
        let policy = self.policies[usize::from(class)].as_ref();
        let delay = policy.map(|policy| match message.method() {
            Some(Method::Bye) => policy.bye_delay,
            _ => policy.content_delay,
        });
        let Some(delay) = delay else {
            return false;
        };
        if delay.is_none() || !self.draft.response(message, 200, b"") {
            return false;
        }
        let unique = u64::from(name.slot) << 32 | u64::from(name.generation);
        let drawn = seeded(self.config.seed ^ CONTENT_SALT, unique);
        let due_ns = now_ns + delay.draw_ns(seeded(drawn, now_ns));
        let octets = &self.draft.octets[..self.draft.length];
        let is_held = self
            .held
            .put(due_ns, (name, origin), octets, self.draft.space_at);
        if let Some(call) = self.table.live(name) {
            call.is_answering = is_held;
        }
        is_held
    }

    /// Answers a request of a dialog.
    #[inline]
    fn reply(&mut self, origin: Origin, message: &Message<'_>, code: u16) {
        if self.draft.response(message, code, b"") {
            self.lanes.put(Kind::Reply, origin, &self.draft);
        }
    }
}

/// Returns part of the hash of a response's To tag, which tells dialogs of one call apart.
#[inline]
fn tag_hash(message: &Message<'_>) -> u32 {
    public_hash(message.to_tag().unwrap_or(b"")) as u32
}

#[cfg(test)]
mod steady;
#[cfg(test)]
mod tests;
