//! What the other side of a call says: responses to our requests (RFC 3261 17.1.1, RFC 6026 7.2), and
//! requests inside a dialog. What belongs to a call that is over is answered without one.
//!
//! Called by `desk` for what has a branch or a To tag of ours.

use sirocco_wire::sip::{Message, Method};

use super::calls::Calls;
use super::lanes::Kind;
use super::name::Name;
use super::policy::Fault;
use super::table::{State, Text};
use super::write::{Party, ROUTES_MAX, remote_target, routes};
use crate::population::Origin;

/// RFC 3261 17.1.1.2: Timer D over UDP.
const TIMER_D_NS: u64 = 32_000_000_000;
/// The slot in the names of forged INVITEs, which have none.
pub(crate) const FLOOD_SLOT: u32 = u32::MAX;
/// The part of a registration's lifetime after which it is refreshed.
const REFRESH_SHARE: u64 = 2;

impl Calls {
    /// Takes a response; false when its branch is not one of ours.
    #[inline]
    pub(crate) fn response(&mut self, now_ns: u64, origin: Origin, message: &Message<'_>) -> bool {
        let Some(via) = message.top_via() else {
            return false;
        };
        let seed = self.config.seed;
        let Some((name, letter)) = via.branch.and_then(|branch| Name::of_branch(branch, seed))
        else {
            return false;
        };
        let status = message.status_code().unwrap_or(0);
        match letter {
            b'i' if name.slot == FLOOD_SLOT => {
                self.flood_answers[usize::from(status / 100).min(6)] += 1;
            }
            b'i' => self.invite_response(now_ns, origin, name, message),
            _ if status < 200 => {}
            b'b' => self.bye_response(name),
            b'm' => self.told_response(name, status),
            b'r' => self.register_response(now_ns, name, status),
            _ => self.strays += 1,
        }
        true
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
        match (call.state, status) {
            (State::Inviting | State::Proceeding, ..200) => {
                call.state = State::Proceeding;
                self.sheet(class).counts.provisional += 1;
                self.arm(now_ns, name, super::calls::PROCEEDING_NS);
            }
            (State::Inviting | State::Proceeding, ..300) => {
                let setup_ns = now_ns.saturating_sub(call.started_ns);
                let activates = call.activates_after;
                let sheet = self.sheet(class);
                sheet.set_up(setup_ns);
                sheet.counts.activated_after += u64::from(activates);
                self.accepted(now_ns, origin, name, message);
            }
            (State::Inviting | State::Proceeding, _) => {
                call.state = State::Refused;
                let row = call.row;
                *self.sheet(class).counts.refused.entry(status).or_default() += 1;
                self.people.close(row);
                if let Some(call) = self.table.live(name) {
                    call.row = u32::MAX;
                }
                self.ack(origin, name, message, false);
                self.table.may_wane(name);
                self.arm(now_ns, name, TIMER_D_NS);
            }
            (State::Refused, 300..) => self.ack(origin, name, message, false),
            (State::Vanished | State::AckHeld, _) => {}
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
        let mut text = [0u8; 256];
        let mut at = to.len();
        let Some(room) = text.get_mut(..at) else {
            return false;
        };
        room.copy_from_slice(to);
        let mut values = [&b""[..]; ROUTES_MAX];
        for (index, route) in routes(message, &mut values).enumerate() {
            let separator: &[u8] = if index == 0 { b"\n" } else { b"," };
            let end = at + 1 + route.len();
            let Some(room) = text.get_mut(at..end) else {
                return false;
            };
            room[..1].copy_from_slice(separator);
            room[1..].copy_from_slice(route);
            at = end;
        }
        let Some(call) = self.table.live(name) else {
            return false;
        };
        // The token has served.
        call.keep(Text::Token, &[b"", target, &text[..at]])
    }

    /// Acknowledges a final response to an INVITE.
    #[inline]
    fn ack(&mut self, origin: Origin, name: Name, message: &Message<'_>, success: bool) {
        let text = name.text(self.config.seed);
        let mut buffer = [0; 64];
        let Calls {
            table,
            lanes,
            edges,
            draft,
            ppgs,
            ..
        } = self;
        let party = Party {
            edge: edges.text(&origin, &mut buffer),
            aor: b"",
            device: b"",
            name: &text,
        };
        let call = table.live(name);
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

    fn bye_response(&mut self, name: Name) {
        let Some(call) = self.table.live(name) else {
            return;
        };
        if call.state == State::Hanging {
            let class = call.class;
            self.sheet(class).counts.ended_by_device += 1;
            self.end(name);
        }
    }

    fn told_response(&mut self, name: Name, status: u16) {
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

    fn register_response(&mut self, now_ns: u64, name: Name, status: u16) {
        let expires_s = u64::from(self.config.expires_s);
        let Some(call) = self.table.live(name) else {
            return;
        };
        if call.state != State::Registering {
            return;
        }
        let is_own = call.is_own;
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
        self.registered += 1;
        self.arm(now_ns, name, expires_s * 1_000_000_000 / REFRESH_SHARE);
    }

    /// Returns the call that a tag names, over or not.
    #[inline]
    pub(crate) fn name(&self, tag: &[u8]) -> Option<Name> {
        Name::read(tag, self.config.seed)
    }

    /// Takes a request whose To tag is one of ours.
    #[inline]
    pub(crate) fn request(&mut self, origin: Origin, name: Name, message: &Message<'_>) {
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
                self.content(name, message);
                self.reply(origin, message, 200);
            }
            Some(Method::Bye) => {
                let class = call.class;
                self.sheet(class).counts.ended_by_peer += 1;
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

    /// Answers a request of a dialog.
    #[inline]
    fn reply(&mut self, origin: Origin, message: &Message<'_>, code: u16) {
        if self.draft.response(message, code, b"") {
            self.lanes.put(Kind::Reply, origin, &self.draft);
        }
    }
}
