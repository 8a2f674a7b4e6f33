//! One session as its device sees it: a client of RFC 3261 with timers of its own, and the ways in which
//! a device fails. It knows nothing of the engine but what came over the network.

use std::net::SocketAddr;
use std::rc::Rc;

use sirocco_dispatch::transaction::{T1_NS, T2_NS, TIMER_F_NS};
use sirocco_wire::sip::header::HeaderName;
use sirocco_wire::sip::message::{Message, Method};
use sirocco_wire::sip::status::Status;
use sirocco_wire::sip::write;

use super::world::Sky;
use crate::people::Person;

/// Octets of the longest answer.
const RESPONSE_BYTES_MAX: usize = 4_096;

/// Whose token a call shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Title {
    /// Its own, for the first time and in time.
    Own,
    /// Its own, which it has used before.
    Used,
    /// Its own, after its time.
    Expired,
    /// One that nobody made.
    Forged,
    /// One that was made for another.
    Stolen,
}

/// What goes wrong with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// Nothing.
    None,
    /// It is gone once its INVITE has left.
    AfterInvite,
    /// It is gone when the 200 comes, and sends no ACK.
    AfterAccept,
    /// It is gone when content comes.
    BeforeContent,
    /// It is gone when BYE comes.
    BeforeBye,
    /// It restarts when the 200 comes and knows nothing of the call.
    RestartOnAccept,
    /// It restarts when content comes.
    RestartOnContent,
}

/// What became of a message that a call got.
pub enum Heard {
    /// Nothing to tell.
    Nothing,
    /// The session is accepted: the MSRP path of the engine, if it gave one.
    Accepted(Option<Vec<u8>>),
    /// A content for the first time: the number of its request, and its octets.
    Content(u32, Vec<u8>),
    /// The device restarted.
    Restarted,
}

struct Pending {
    octets: Rc<[u8]>,
    method: Method<'static>,
    due_ns: u64,
    interval_ns: u64,
    until_ns: u64,
}

/// One call.
pub struct Call {
    /// Its number, which its Call-ID and its MSRP path have.
    pub number: usize,
    /// The device.
    pub device: usize,
    /// The order whose SIR it follows.
    pub campaign: usize,
    /// Where its messages come from and go to.
    pub peer: SocketAddr,
    /// The token.
    pub token: String,
    /// Whose that is.
    pub title: Title,
    /// What goes wrong.
    pub failing: Failing,
    /// Whether the device takes content by MSRP.
    pub takes_msrp: bool,
    /// When the device ends the session after its content came, in nanoseconds.
    pub hangs_up_ns: Option<u64>,
    /// The status that the call was refused with.
    pub refused: Option<u16>,
    /// Whether a 200 came.
    pub is_accepted: bool,
    /// Contents that came, by the number of their request.
    pub contents: Vec<u32>,
    /// Whether its connection failed, so that nothing is owed by MSRP.
    pub lost_cable: bool,
    aor: String,
    shown: String,
    to: String,
    target: String,
    ack: Option<Rc<[u8]>>,
    pending: Option<Pending>,
    is_gone: bool,
    has_forgotten: bool,
}

impl Call {
    /// Builds a call of a device; it has not begun.
    pub fn new(
        number: usize,
        (device, campaign): (usize, usize),
        person: &Person,
        token: &str,
        title: Title,
    ) -> Self {
        Self {
            number,
            device,
            campaign,
            peer: person.addresses[0],
            token: token.to_owned(),
            title,
            failing: Failing::None,
            takes_msrp: false,
            hangs_up_ns: None,
            refused: None,
            is_accepted: false,
            contents: Vec::new(),
            lost_cable: false,
            aor: person.aor.clone(),
            shown: person.shown().to_owned(),
            to: "<sip:ppg@127.0.0.1:5070>".to_owned(),
            target: String::new(),
            ack: None,
            pending: None,
            is_gone: false,
            has_forgotten: false,
        }
    }

    /// The number of the call that a Call-ID names.
    pub fn number_of(call_id: &[u8]) -> Option<usize> {
        let text = std::str::from_utf8(call_id).ok()?;
        text.strip_prefix("call-")?
            .strip_suffix("@edge")?
            .parse()
            .ok()
    }

    /// The device's MSRP path.
    pub fn path(&self) -> String {
        format!("msrp://127.0.0.1:7001/c{};tcp", self.number)
    }

    /// Sends the INVITE.
    pub fn begin(&mut self, sky: &mut Sky<'_>) {
        self.target = format!("sip:ppg@127.0.0.1:5070;t={}", self.token);
        let stream = if self.takes_msrp {
            let path = self.path();
            format!(
                "m=message 9 TCP/MSRP *\r\na=path:{path}\r\na=accept-types:*\r\na=setup:active\r\n"
            )
        } else {
            String::new()
        };
        let body = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n{stream}"
        );
        let lines = "Allow: INVITE, ACK, BYE, MESSAGE\r\nContent-Type: application/sdp\r\n";
        let octets = self.request("INVITE", 1, lines, &body);
        self.transact(sky, octets, Method::Invite);
        self.is_gone |= self.failing == Failing::AfterInvite;
    }

    fn request(&self, method: &str, cseq: u32, lines: &str, body: &str) -> Rc<[u8]> {
        let Self {
            number,
            peer,
            aor,
            shown,
            to,
            target,
            ..
        } = self;
        let branch = if method == "ACK" && !self.is_accepted {
            "INVITE"
        } else {
            method
        };
        let octets = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {peer};branch=z9hG4bK{branch}{cseq}c{number}\r\n\
             Max-Forwards: 70\r\nFrom: <{aor}>;tag=d{number}\r\nTo: {to}\r\nCall-ID: call-{number}@edge\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:device@{peer}>;+sip.instance=\"<{shown}>\"\r\n\
             {lines}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        octets.into_bytes().into()
    }

    fn transact(&mut self, sky: &mut Sky<'_>, octets: Rc<[u8]>, method: Method<'static>) {
        sky.send_to_engine(self.peer, &octets);
        // RFC 3261 17.1.1.2, 17.1.2.2: Timers A and B, E and F.
        let pending = Pending {
            octets,
            method,
            due_ns: sky.now + T1_NS,
            interval_ns: T1_NS,
            until_ns: sky.now + TIMER_F_NS,
        };
        sky.wake(pending.due_ns, self.number);
        self.pending = Some(pending);
    }

    /// A timer may be due.
    pub fn wake(&mut self, sky: &mut Sky<'_>) {
        let Some(pending) = self
            .pending
            .as_mut()
            .filter(|pending| pending.due_ns <= sky.now)
        else {
            return;
        };
        if self.is_gone || pending.until_ns <= sky.now {
            self.pending = None;
            return;
        }
        let is_invite = pending.method == Method::Invite;
        let interval_max = if is_invite { u64::MAX } else { T2_NS };
        pending.interval_ns = (2 * pending.interval_ns).min(interval_max);
        pending.due_ns = sky.now + pending.interval_ns;
        let (octets, due_ns) = (pending.octets.clone(), pending.due_ns);
        sky.send_to_engine(self.peer, &octets);
        sky.wake(due_ns, self.number);
    }

    /// Ends the session from this side.
    pub fn hang_up(&mut self, sky: &mut Sky<'_>) {
        if !self.is_gone && self.pending.is_none() {
            let octets = self.request("BYE", 2, "", "");
            self.transact(sky, octets, Method::Bye);
        }
    }

    /// A message of this call came.
    pub fn hear(&mut self, sky: &mut Sky<'_>, message: &Message<'_>) -> Heard {
        if self.is_gone {
            return Heard::Nothing;
        }
        let Some(status) = message.status_code() else {
            return self.obey(sky, message);
        };
        let Some(cseq) = message.cseq().filter(|_| !self.has_forgotten) else {
            return Heard::Nothing;
        };
        if cseq.method == Method::Invite && status >= 200 {
            return self.learn(sky, message, status);
        }
        if self
            .pending
            .as_ref()
            .is_some_and(|pending| pending.method == cseq.method)
        {
            self.pending = None;
        }
        Heard::Nothing
    }

    /// A final answer to the INVITE, or the same again.
    fn learn(&mut self, sky: &mut Sky<'_>, message: &Message<'_>, status: u16) -> Heard {
        if status == 200 && self.failing == Failing::AfterAccept {
            self.is_gone = true;
            return Heard::Nothing;
        }
        if status == 200 && self.failing == Failing::RestartOnAccept {
            (self.has_forgotten, self.pending) = (true, None);
            return Heard::Restarted;
        }
        // RFC 3261 13.2.2.4: each 2xx gets the ACK; a refusal behind it is of a late copy of the INVITE.
        if let Some(ack) = self
            .ack
            .as_ref()
            .filter(|_| self.is_accepted == (status == 200))
        {
            let ack = ack.clone();
            sky.send_to_engine(self.peer, &ack);
            return Heard::Nothing;
        }
        if self.ack.is_some() {
            return Heard::Nothing;
        }
        self.pending = None;
        let text =
            |octets: Option<&[u8]>| String::from_utf8_lossy(octets.unwrap_or(b"")).into_owned();
        self.to = text(message.to());
        if status == 200 {
            self.is_accepted = true;
            let contact = text(message.header(HeaderName::Contact));
            self.target = contact
                .trim_start_matches('<')
                .split('>')
                .next()
                .unwrap_or("")
                .to_owned();
        } else {
            self.refused = Some(status);
        }
        let ack = self.request("ACK", 1, "", "");
        sky.send_to_engine(self.peer, &ack);
        self.ack = Some(ack);
        if !self.is_accepted {
            return Heard::Nothing;
        }
        let body = String::from_utf8_lossy(message.body());
        let path = body
            .split("a=path:")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next());
        Heard::Accepted(path.map(|path| path.as_bytes().to_owned()))
    }

    /// A request of the engine inside the session.
    fn obey(&mut self, sky: &mut Sky<'_>, message: &Message<'_>) -> Heard {
        let method = message.method();
        let is_content = method == Some(Method::Message);
        self.is_gone = match self.failing {
            Failing::BeforeContent => is_content,
            Failing::BeforeBye => !is_content,
            _ => false,
        };
        if self.is_gone {
            return Heard::Nothing;
        }
        let restarts = self.failing == Failing::RestartOnContent && !self.has_forgotten;
        self.has_forgotten |= restarts;
        let status = if self.has_forgotten { 481 } else { 200 };
        let mut out = [0; RESPONSE_BYTES_MAX];
        let written = write::response(&mut out, message, Status::of(status), b"", &[]);
        let octets: Rc<[u8]> = out[..written.expect("a response fits")].into();
        sky.send_to_engine(self.peer, &octets);
        if restarts {
            self.pending = None;
            return Heard::Restarted;
        }
        let number = message.cseq().map_or(0, |cseq| cseq.number);
        if !is_content || self.has_forgotten || self.contents.contains(&number) {
            return Heard::Nothing;
        }
        self.contents.push(number);
        Heard::Content(number, message.body().to_vec())
    }
}
