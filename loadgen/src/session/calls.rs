//! The calls that devices make: begun by a SIR or by a source of their own, timed by RFC 3261's
//! timers, ended by either side. No sockets and no clock: messages go onto lanes, times come in.
//!
//! Here are beginnings and timers; `dialog` has what responses and requests of the other side do.
//! Retransmissions are written anew from the slot's texts. Called by `consider`, `desk` and `worker`.

use std::net::SocketAddr;

use super::counts::{SessionTotals, Sheet};
use super::credentials::Accounts;
use super::edges::Edges;
use super::gateway::Ppg;
use super::held::Held;
use super::lanes::{Disturbance, Draft, Kind, Lanes};
use super::links::{Links, Purpose};
use super::name::{Maker, Name};
use super::people::People;
use super::policy::{Fault, SessionPolicy, Traits, Transport};
use super::table::Told;
use super::table::{Call, State, Table, Text};
use super::wheel::{Alarm, Wheel};
use crate::hash::seeded;
use crate::population::Origin;

/// RFC 3261 17.1.2.2: the longest interval of Timer E.
const T2_NS: u64 = 4_000_000_000;
/// RFC 3261 17.1.1.2: Timer B and F are 64 T1.
const TRANSACTION_T1S: u64 = 64;
/// RFC 3261 16.6: a call that has heard a provisional response is given up after three minutes.
pub(super) const PROCEEDING_NS: u64 = 180_000_000_000;
/// The most PPGs addressed: SIRs that name more are not followed.
const PPGS_MAX: usize = 1024;
/// SIRs whose forks are told apart at once; older ones share a count with newer ones.
const GROUPS: usize = 1 << 20;
/// Alarms per turn, so that they cannot hold up what arrives.
const ALARMS_PER_TURN_MAX: usize = 4096;
const THINK_SALT: u64 = 0x0074_6869_6e6b;
const HANG_UP_SALT: u64 = 0x6861_6e67;

/// What a worker's calls are made of.
#[derive(Clone, Debug)]
pub(crate) struct CallsConfig {
    pub(crate) seed: u64,
    /// Its number among the generators that run together.
    pub(crate) generator: u16,
    pub(crate) calls_max: usize,
    pub(crate) segments_max: usize,
    pub(crate) t1_ns: u64,
    pub(crate) disturbance: Disturbance,
    /// What each content must be, if that is known.
    pub(crate) content: Option<Vec<u8>>,
    /// How long a registration lasts, in seconds.
    pub(crate) expires_s: u32,
    /// What challenges are answered with.
    pub(crate) accounts: Option<Accounts>,
    /// By class index; a class without one builds no sessions.
    pub(crate) policies: Vec<Option<SessionPolicy>>,
}

impl CallsConfig {
    /// Returns who makes the names of its calls.
    #[inline]
    pub(super) fn maker(&self) -> Maker {
        Maker {
            seed: self.seed,
            generator: self.generator,
        }
    }
}

/// All calls of one worker.
pub(crate) struct Calls {
    pub(crate) table: Table,
    pub(crate) lanes: Lanes,
    pub(crate) edges: Edges,
    pub(crate) people: People,
    pub(crate) sheets: Vec<Sheet>,
    pub(crate) policies: Vec<Option<SessionPolicy>>,
    pub(crate) config: CallsConfig,
    pub(crate) links: Links,
    pub(super) draft: Draft,
    pub(super) held: Held,
    pub(super) wheel: Wheel,
    pub(super) ppgs: Vec<Ppg>,
    last_ppg: usize,
    /// Contents that came of one SIR, by its group.
    pub(super) groups: Box<[u8]>,
    next_group: u32,
    fired: Vec<Alarm>,
    /// Registrations that wait for their refresh.
    pub(super) registered: usize,
    /// Messages of no call: responses and requests with a name that is not ours or long over.
    pub(crate) strays: u64,
    /// Final responses to forged INVITEs, by hundreds of their status.
    pub(crate) flood_answers: [u64; 7],
}

/// What a call begins with.
#[derive(Clone, Copy)]
pub(crate) struct Start<'a> {
    pub(crate) origin: Origin,
    pub(crate) class: u8,
    pub(crate) aor: &'a [u8],
    pub(crate) device: &'a [u8],
    pub(crate) row: u32,
    pub(crate) group: u32,
    pub(crate) ppg: u16,
    pub(crate) token: &'a [u8],
    pub(crate) activates_after: bool,
    pub(crate) is_own: bool,
    pub(crate) traits: Traits,
    /// What the draws of this call depend on.
    pub(crate) hash: u64,
}

impl Calls {
    pub(crate) fn new(config: CallsConfig, people: People, now_ns: u64) -> Calls {
        Calls {
            table: Table::new(config.calls_max),
            lanes: Lanes::new(config.segments_max, config.disturbance, config.seed),
            edges: Edges::default(),
            people,
            sheets: config.policies.iter().map(|_| Sheet::new()).collect(),
            policies: config.policies.clone(),
            links: Links::default(),
            draft: Draft::new(),
            held: Held::default(),
            wheel: Wheel::new(now_ns),
            ppgs: Vec::new(),
            last_ppg: 0,
            groups: vec![0; GROUPS].into_boxed_slice(),
            next_group: 0,
            fired: Vec::with_capacity(ALARMS_PER_TURN_MAX * 2),
            registered: 0,
            strays: 0,
            flood_answers: [0; 7],
            config,
        }
    }

    /// Returns the number of the PPG with this URI; nothing when it has no numeric address.
    #[inline]
    pub(crate) fn ppg(&mut self, uri: &[u8]) -> Option<u16> {
        let is = |ppg: &Ppg| ppg.uri() == uri;
        if self.ppgs.get(self.last_ppg).is_some_and(is) {
            return Some(self.last_ppg as u16);
        }
        let at = match self.ppgs.iter().position(is) {
            Some(at) => at,
            None if self.ppgs.len() < PPGS_MAX => {
                let address = super::gateway::address(uri)?;
                self.ppgs.push(Ppg::new(uri, address));
                self.ppgs.len() - 1
            }
            None => return None,
        };
        self.last_ppg = at;
        Some(at as u16)
    }

    /// Names a PPG whose messages go to `address`, whatever its URI says.
    pub(crate) fn add_ppg(&mut self, uri: &[u8], address: SocketAddr) -> u16 {
        self.ppgs.push(Ppg::new(uri, address));
        self.ppgs.len() as u16 - 1
    }

    /// Opens a group for one SIR, whose contents are counted together.
    #[inline]
    pub(crate) fn group(&mut self) -> u32 {
        let group = self.next_group;
        self.next_group = self.next_group.wrapping_add(1);
        self.groups[group as usize % GROUPS] = 0;
        group
    }

    /// Counts one content of a group; returns how many came before.
    #[inline]
    pub(super) fn count_in_group(&mut self, group: u32) -> u8 {
        let count = &mut self.groups[group as usize % GROUPS];
        *count = count.saturating_add(1);
        *count - 1
    }

    #[inline]
    pub(super) fn sheet(&mut self, class: u8) -> &mut Sheet {
        &mut self.sheets[usize::from(class)]
    }

    fn fault(&self, class: u8) -> Fault {
        let policy = self.policies[usize::from(class)].as_ref();
        policy.map_or(Fault::None, |policy| policy.fault)
    }

    /// Takes a slot and fills it; nothing, and counted, when there is no room.
    fn open(&mut self, start: &Start<'_>) -> Option<Name> {
        let peer = self.ppgs[usize::from(start.ppg)].address();
        let policy = self.policies[usize::from(start.class)].as_ref();
        let is_stream = policy.is_some_and(|policy| policy.transport == Transport::Tcp);
        let Some(origin) = self.way(start.origin, peer, is_stream) else {
            self.sheet(start.class).not_begun("connections-max");
            return None;
        };
        let Some(name) = self.table.take(origin) else {
            self.sheet(start.class).not_begun("calls-max");
            return None;
        };
        let call = self.table.live(name)?;
        (call.class, call.row, call.group) = (start.class, start.row, start.group);
        (call.ppg, call.traits) = (start.ppg, start.traits);
        (call.activates_after, call.is_own) = (start.activates_after, start.is_own);
        if !call.keep(Text::Aor, &[start.aor, start.device, start.token]) {
            self.table.release(name);
            self.sheet(start.class).not_begun("texts-too-long");
            return None;
        }
        Some(name)
    }

    /// Returns the way from an edge to `peer`, over a connection that is made if it is not there; nothing
    /// when there are too many connections.
    pub(super) fn way(
        &mut self,
        origin: Origin,
        peer: SocketAddr,
        is_stream: bool,
    ) -> Option<Origin> {
        let stream = if is_stream {
            let number = self.links.between(origin.socket, peer, Purpose::Sip)?;
            number as u16 + 1
        } else {
            0
        };
        Some(Origin {
            peer,
            stream,
            ..origin
        })
    }

    /// Begins a session as the policy of its class says; false, and counted, when there is no room.
    #[inline]
    pub(crate) fn begin(&mut self, now_ns: u64, start: &Start<'_>) -> bool {
        let fault = self.fault(start.class);
        let copies = 1 + u8::from(fault == Fault::ReplayedToken);
        for copy in 0..copies {
            let Some(name) = self.open(start) else {
                return false;
            };
            if fault == Fault::ForgedToken && !start.token.is_empty() {
                self.forge_token(name, start.token);
            }
            self.people.open(start.row);
            let policy = self.policies[usize::from(start.class)].as_ref();
            let think = policy.map_or(0, |policy| {
                policy.think.draw_ns(seeded(THINK_SALT, start.hash))
            });
            let hold = match fault {
                Fault::ExpiredToken { hold_ms } => u64::from(hold_ms) * 1_000_000,
                // The second call comes when the first has been answered.
                _ => u64::from(copy) * self.config.t1_ns,
            };
            if think + hold == 0 {
                self.invite(now_ns, name);
            } else {
                self.arm(now_ns, name, think + hold);
            }
        }
        true
    }

    fn forge_token(&mut self, name: Name, token: &[u8]) {
        let mut forged = [0u8; 64];
        let length = token.len().min(forged.len());
        forged[..length].copy_from_slice(&token[..length]);
        forged[length - 1] = if forged[length - 1] == b'0' {
            b'1'
        } else {
            b'0'
        };
        if let Some(call) = self.table.live(name) {
            call.keep(Text::Token, &[&forged[..length]]);
        }
    }

    /// Begins to return what a SIR asked for by MESSAGE.
    pub(crate) fn tell(&mut self, now_ns: u64, start: &Start<'_>, told: &Told) {
        let Some(name) = self.open(start) else {
            return;
        };
        self.sheet(start.class).counts.told += 1;
        let t1_ns = self.config.t1_ns;
        if let Some(call) = self.table.live(name) {
            (call.state, call.told) = (State::Telling, *told);
            (call.started_ns, call.cseq) = (now_ns, 1);
        }
        self.send(name);
        self.arm(now_ns, name, t1_ns);
    }

    /// Begins to register; the REGISTERs of one call are numbered on (RFC 3261 10.2).
    pub(crate) fn register(&mut self, now_ns: u64, start: &Start<'_>) {
        let Some(name) = self.open(start) else {
            return;
        };
        self.register_again(now_ns, name);
    }

    pub(super) fn register_again(&mut self, now_ns: u64, name: Name) {
        let t1_ns = self.config.t1_ns;
        self.table.forget_credentials(name);
        let Some(call) = self.table.live(name) else {
            return;
        };
        (call.state, call.sends, call.started_ns) = (State::Registering, 0, now_ns);
        (call.cseq, call.challenges) = (call.cseq.wrapping_add(1), 0);
        let class = call.class;
        self.sheet(class).counts.registers += 1;
        self.send(name);
        self.arm(now_ns, name, t1_ns);
    }

    #[inline]
    pub(super) fn arm(&mut self, now_ns: u64, name: Name, delay_ns: u64) {
        let due = self.wheel.arm(name.slot, name.generation, now_ns, delay_ns);
        if let Some(call) = self.table.live(name) {
            call.due = due.unwrap_or(0);
        }
    }

    /// Sends the first INVITE of a call.
    fn invite(&mut self, now_ns: u64, name: Name) {
        let t1_ns = self.config.t1_ns;
        let Some(call) = self.table.live(name) else {
            return;
        };
        (call.state, call.sends, call.started_ns) = (State::Inviting, 0, now_ns);
        call.cseq = 1;
        let class = call.class;
        self.sheet(class).counts.attempts += 1;
        self.send(name);
        match self.fault(class) {
            Fault::VanishInvited => return self.vanish(now_ns, name),
            Fault::DoubleInvite => self.send(name),
            _ => {}
        }
        self.arm(now_ns, name, t1_ns);
    }

    /// The device is gone: its slot stays as long as anyone may still ask.
    pub(super) fn vanish(&mut self, now_ns: u64, name: Name) {
        let Some(call) = self.table.live(name) else {
            return;
        };
        call.state = State::Vanished;
        let (class, row) = (call.class, call.row);
        self.sheet(class).counts.vanished += 1;
        self.people.close(row);
        self.arm(now_ns, name, TRANSACTION_T1S * self.config.t1_ns);
    }

    /// Ends a call and frees its slot.
    #[inline]
    pub(super) fn end(&mut self, name: Name) {
        if let Some(call) = self.table.live(name) {
            let row = call.row;
            self.people.close(row);
            self.table.release(name);
        }
    }

    /// Does what is due; returns how many alarms rang.
    #[inline]
    pub(crate) fn expire(&mut self, now_ns: u64) -> usize {
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.advance(now_ns, ALARMS_PER_TURN_MAX, &mut fired);
        let count = fired.len();
        for alarm in fired.drain(..) {
            let name = Name {
                slot: alarm.slot,
                generation: alarm.generation,
            };
            let is_due = |call: &&mut Call| call.due == alarm.due;
            if self.table.live(name).as_ref().is_some_and(is_due) {
                self.ring(now_ns, name);
            }
        }
        self.fired = fired;
        count
    }

    fn ring(&mut self, now_ns: u64, name: Name) {
        let Some(call) = self.table.live(name) else {
            return;
        };
        call.due = 0;
        let (state, class, sends) = (call.state, call.class, call.sends);
        let waited_ns = now_ns.saturating_sub(call.started_ns);
        let t1_ns = self.config.t1_ns;
        let is_over = waited_ns + t1_ns / 2 >= TRANSACTION_T1S * t1_ns;
        // The last interval ends with the transaction.
        let left_ns = (TRANSACTION_T1S * t1_ns).saturating_sub(waited_ns);
        // RFC 3261 17.1.1.2, 17.1.2.2: over a connection requests are not sent again.
        if call.origin.stream > 0 && state.is_requesting() && !is_over {
            return self.arm(now_ns, name, left_ns);
        }
        let interval_ns = (t1_ns << sends.min(16)).min(left_ns);
        match state {
            State::Thinking => self.invite(now_ns, name),
            State::Inviting if is_over => {
                self.sheet(class).counts.timeouts += 1;
                self.end(name);
            }
            // RFC 3261 17.1.1.2: Timer A doubles each time.
            State::Inviting => {
                self.sheet(class).counts.invite_retransmissions += 1;
                self.send(name);
                self.arm(now_ns, name, interval_ns);
            }
            State::Proceeding => {
                self.sheet(class).counts.timeouts += 1;
                self.end(name);
            }
            State::Telling | State::Registering | State::Hanging | State::Parting if is_over => {
                let counts = &mut self.sheet(class).counts;
                match state {
                    State::Telling => counts.told_failed += 1,
                    State::Registering => counts.register_failures += 1,
                    _ => counts.bye_timeouts += 1,
                }
                self.end(name);
            }
            // RFC 3261 17.1.2.2: Timer E doubles up to T2.
            State::Telling | State::Registering | State::Hanging | State::Parting => {
                self.send(name);
                self.arm(now_ns, name, interval_ns.min(T2_NS));
            }
            State::AckHeld => {
                self.sheet(class).counts.acks += 1;
                self.send(name);
                self.establish(now_ns, name);
            }
            State::Established => self.hang_up(now_ns, name),
            State::Registered => {
                self.registered -= 1;
                self.register_again(now_ns, name);
            }
            State::Refused | State::Vanished | State::Leaving => self.end(name),
            State::Free => {}
        }
    }

    /// The session is up: from now on the device waits, or hangs up in its time.
    pub(super) fn establish(&mut self, now_ns: u64, name: Name) {
        let Some(call) = self.table.live(name) else {
            return;
        };
        call.state = State::Established;
        call.due = 0;
        let class = call.class;
        let hash = seeded(call.started_ns, u64::from(name.slot));
        let policy = self.policies[usize::from(class)].as_ref();
        let Some(hang_up) = policy.and_then(|policy| policy.hang_up) else {
            return;
        };
        let hold_ns = hang_up.draw_ns(seeded(self.config.seed ^ HANG_UP_SALT, hash));
        if hold_ns == 0 {
            self.hang_up(now_ns, name);
        } else {
            self.arm(now_ns, name, hold_ns);
        }
    }

    fn hang_up(&mut self, now_ns: u64, name: Name) {
        let t1_ns = self.config.t1_ns;
        self.table.forget_credentials(name);
        if let Some(call) = self.table.live(name) {
            (call.state, call.sends, call.started_ns) = (State::Hanging, 0, now_ns);
            (call.cseq, call.challenges) = (call.cseq.wrapping_add(1), 0);
        }
        self.send(name);
        self.arm(now_ns, name, t1_ns);
    }

    /// Tells the addresses of the sockets.
    pub(crate) fn bind(&mut self, addresses: &[SocketAddr], listeners: &[SocketAddr]) {
        self.edges = Edges::new(addresses, listeners);
    }

    /// Does what is due; returns how much that was.
    #[inline]
    pub(crate) fn advance(&mut self, now_ns: u64) -> usize {
        let count = self.expire(now_ns) + self.answer_held(now_ns);
        self.lanes.release_held();
        count
    }

    /// Lets answers leave whose time has come; returns how many.
    fn answer_held(&mut self, now_ns: u64) -> usize {
        let Calls {
            held,
            draft,
            table,
            lanes,
            people,
            ..
        } = self;
        let mut count = 0;
        while let Some(answer) = held.take(now_ns) {
            draft.load(&answer.octets, answer.space_at);
            lanes.put(Kind::Reply, answer.origin, draft);
            if let Some(call) = table.live(answer.name) {
                call.is_answering = false;
                if call.state == State::Leaving {
                    let row = call.row;
                    people.close(row);
                    table.release(answer.name);
                }
            }
            count += 1;
        }
        count
    }

    /// Zeroes what is counted; calls go on.
    pub(crate) fn reset(&mut self) {
        self.sheets
            .iter_mut()
            .for_each(|sheet| *sheet = Sheet::new());
        self.lanes.reset();
        (self.strays, self.flood_answers) = (0, [0; 7]);
    }

    /// Returns attempts, sessions established, and calls that are not over.
    pub(crate) fn progress(&self) -> [u64; 3] {
        let counts = self.sheets.iter().map(|sheet| &sheet.counts);
        counts.fold([0, 0, self.table.len() as u64], |[a, b, c], one| {
            [a + one.attempts, b + one.established, c]
        })
    }

    /// Returns what all classes did, and what stands.
    pub(crate) fn totals(&self) -> SessionTotals {
        let mut sum = Sheet::new();
        self.sheets.iter().for_each(|sheet| sum.add(sheet));
        let flood = self.flood_answers.iter().enumerate();
        SessionTotals {
            counts: sum.told(),
            messages_sent: self.lanes.sent_by_kind(),
            octets_sent: self.lanes.octets,
            disturbed: self.lanes.disturbed,
            strays: self.strays + self.links.strays,
            msrp_messages: self.links.messages,
            msrp_refused: self.links.refused,
            msrp_connections_ended: self.links.ended,
            sip_connections: self.links.sip_opened,
            sip_connections_ended: self.links.sip_ended,
            sip_stream_messages: self.links.sip_messages,
            calls: self.table.len() as u64,
            open: self.table.established() as u64,
            calls_max: self.table.len_max() as u64,
            flood_sent: 0,
            behind: 0,
            flood_answers: flood
                .filter(|(_, count)| **count > 0)
                .map(|(class, count)| (format!("{class}xx"), *count))
                .collect(),
        }
    }

    /// Returns how many calls are neither over, nor registrations that wait for their refresh.
    pub(crate) fn own_calls(&self) -> usize {
        self.table.len() - self.registered
    }

    /// Tells whether a timer may ring.
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.wheel.is_armed() || !self.held.is_empty()
    }
}
