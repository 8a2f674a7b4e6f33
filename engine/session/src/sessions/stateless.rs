//! Answers that need no session and leave none: refusals, OPTIONS, returned information, REGISTER, CANCEL.
//!
//! RFC 3261 8.2.7: a stateless server answers each retransmission anew, with the same tag, sends no provisional
//! response and ignores the ACK. So whoever has no valid token costs no memory. Their number a second is bounded,
//! and what exceeds it is dropped and counted.

use super::{Sessions, Turn, send};
use crate::asked::{Asked, Way, address_uri};
use crate::counts::RefusedCounts;
use crate::host::{Host, Invitation, Outbox, Path};
use crate::render::Response;
use sirocco_wire::sip::uri::scheme;
use sirocco_wire::sip::{CSeq, HeaderName, Message, Role, Status, Transport, Verdict, screen_as};

/// Seconds of a registration that names none (RFC 3261 10.2.1.1).
const EXPIRES_DEFAULT_S: u32 = 3_600;

/// How many refusals may still be sent: so many a second, a tenth of a second's worth at once.
pub(super) struct Allowance {
    cost_ns: u64,
    credit_ns: u64,
    credit_ns_max: u64,
    last: u64,
}

impl Allowance {
    pub(super) fn new(per_s: u32, now: u64) -> Self {
        let cost_ns = 1_000_000_000 / u64::from(per_s.max(1));
        let credit_ns_max = cost_ns.max(100_000_000);
        Self {
            cost_ns,
            credit_ns: credit_ns_max,
            credit_ns_max,
            last: now,
        }
    }

    fn take(&mut self, now: u64) -> bool {
        let earned = now.saturating_sub(self.last);
        self.last = now;
        self.credit_ns = (self.credit_ns + earned).min(self.credit_ns_max);
        let granted = self.credit_ns >= self.cost_ns;
        if granted {
            self.credit_ns -= self.cost_ns;
        }
        granted
    }
}

/// Sources that are told apart; those that share a place share its part.
const SOURCES: usize = 256;
/// Part of all refusals that one source may cause.
const SOURCE_PART: u32 = 4;

/// What may be answered to those who show nothing: so many a second, a quarter of it to each source, so that nobody's
/// forged requests keep the others from their answers; and keep-alives on an account of their own.
pub(super) struct Allowances {
    all: Allowance,
    sources: Vec<Allowance>,
    options: Allowance,
}

impl Allowances {
    pub(super) fn new(per_s: u32, now: u64) -> Self {
        let sources = (0..SOURCES).map(|_| Allowance::new(per_s / SOURCE_PART, now));
        Self {
            all: Allowance::new(per_s, now),
            sources: sources.collect(),
            options: Allowance::new(per_s, now),
        }
    }

    /// `source`: the keyed hash of the address that a request came from.
    fn take(&mut self, now: u64, source: u64) -> bool {
        self.sources[source as usize % SOURCES].take(now) && self.all.take(now)
    }
}

/// The count of one kind of refusal.
type Which = fn(&mut RefusedCounts) -> &mut u64;

impl Sessions {
    /// Answers a request without a session, at most so many a second.
    pub(super) fn answer<H, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
        status: Status,
        lines: &[u8],
    ) {
        let source = self.names.source(turn.path.peer().ip());
        if !self.refusals.take(turn.now, source) {
            self.counts.refusals_dropped += 1;
            return;
        }
        let fingerprint = self.names.fingerprint(asked.call_id, asked.from_tag);
        let tag = self.names.refusal_tag(fingerprint);
        let response = Response {
            status,
            tag: &tag,
            lines,
            routes: false,
            body: b"",
        };
        self.respond(turn, asked, &response);
    }

    /// Sends a response where the request's Via says (RFC 3261 18.2.2).
    #[inline]
    pub(super) fn respond<H, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
        response: &Response<'_>,
    ) -> bool {
        let path = return_path(turn.path, &asked.way);
        let rest = (&mut *self.scratch, &mut self.counts);
        send(rest, turn.out, path, |room| response.write(room, asked))
    }

    /// Refuses a request and counts why.
    #[cold]
    pub(super) fn refuse<H, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
        status: Status,
        which: Which,
    ) {
        *which(&mut self.counts.refused) += 1;
        let retry_after = std::mem::take(&mut self.fixed.retry_after);
        let lines: &[u8] = match status.code {
            405 => super::ALLOW.as_bytes(),
            503 => &retry_after,
            _ => b"",
        };
        self.answer(turn, asked, status, lines);
        self.fixed.retry_after = retry_after;
    }

    #[cold]
    pub(super) fn refuse_method<H, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
    ) {
        self.refuse(turn, asked, Status::of(405), |refused| &mut refused.method);
    }

    /// Answers a request that lacks what every request has, with the status code that its fault deserves.
    #[cold]
    pub(super) fn unreadable<H, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        message: &Message<'_>,
    ) {
        let transport = match turn.path {
            Path::Datagram { .. } => Transport::Datagram,
            Path::Stream { .. } => Transport::Stream,
        };
        let code = match screen_as(message.datagram(), transport, Role::Endpoint) {
            Verdict::Reject { code } => code,
            Verdict::Accept => 400,
            Verdict::Drop { .. } => {
                self.counts.strays.unreadable += 1;
                return;
            }
        };
        let (Some(via), Some(method)) = (message.top_via(), message.method()) else {
            self.counts.strays.unreadable += 1;
            return;
        };
        let asked = Asked {
            message,
            method,
            cseq: CSeq { number: 0, method },
            call_id: message.call_id().unwrap_or(b""),
            from: message.from().unwrap_or(b""),
            to: message.to().unwrap_or(b""),
            from_tag: message.from_tag().unwrap_or(b""),
            to_tag: message.to_tag(),
            way: Way::of(&via, turn.path.peer()),
            via,
        };
        self.refuse(turn, &asked, Status::of(code), |refused| {
            &mut refused.malformed
        });
    }

    /// Checks what every method is refused for: the scheme and required extensions.
    #[inline]
    pub(super) fn is_acceptable<H, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
    ) -> bool {
        let uri = asked.message.request_uri().unwrap_or(b"");
        let is_sip = uri.starts_with(b"sip:")
            || scheme(uri).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sip"));
        if !is_sip {
            self.refuse(turn, asked, Status::of(416), |refused| &mut refused.scheme);
            return false;
        }
        let required = asked.message.header(HeaderName::Require);
        if required.is_some_and(|value| !value.is_empty()) {
            self.refuse_extension(turn, asked);
            return false;
        }
        true
    }

    /// RFC 3261 8.2.2.3: 420 lists what is not supported, which is all of it.
    #[cold]
    fn refuse_extension<H, O: Outbox>(&mut self, turn: &mut Turn<'_, H, O>, asked: &Asked<'_>) {
        const LISTED_MAX: usize = 512;
        self.counts.refused.extension += 1;
        let mut lines = Vec::new();
        for value in asked.message.values(HeaderName::Require) {
            if lines.len() + value.len() > LISTED_MAX {
                break;
            }
            lines.extend_from_slice(b"Unsupported: ");
            lines.extend_from_slice(value);
            lines.extend_from_slice(b"\r\n");
        }
        self.answer(turn, asked, Status::of(420), &lines);
    }

    /// RFC 3261 11.2: what this server takes. Inside a dialog that is not ours: 481.
    pub(super) fn options<H, O: Outbox>(&mut self, turn: &mut Turn<'_, H, O>, asked: &Asked<'_>) {
        let is_open = |sessions: &mut Self| {
            let handle = sessions.dialog_of(asked);
            handle.is_some_and(|handle| sessions.is_alive(handle))
        };
        if asked.to_tag.is_some() && !is_open(self) {
            self.refuse_dialog(turn, asked);
            return;
        }
        self.counts.options += 1;
        if !self.refusals.options.take(turn.now) {
            self.counts.refusals_dropped += 1;
            return;
        }
        let lines = std::mem::take(&mut self.fixed.options);
        self.accept(turn, asked, &lines);
        self.fixed.options = lines;
    }

    /// RFC 3261 9.2: every INVITE is answered at once, so a CANCEL changes nothing; 481 where there is no INVITE. One of
    /// an INVITE whose refusal is remembered is ignored (RFC 3261 8.2.7); of other refusals nothing is known.
    #[cold]
    pub(super) fn cancel<H, O: Outbox>(&mut self, turn: &mut Turn<'_, H, O>, asked: &Asked<'_>) {
        let fingerprint = self.names.fingerprint(asked.call_id, asked.from_tag);
        let invite = self.invite_name(asked);
        let table = &self.table;
        let is_it = |slot| {
            let slot = table.at(slot);
            slot.fingerprint == fingerprint && slot.invite == invite
        };
        let Some(slot) = self.lookup.find(fingerprint, is_it) else {
            if self.lookup.refused(turn.now, fingerprint, invite).is_some() {
                self.counts.cancels += 1;
            } else {
                self.refuse_dialog(turn, asked);
            }
            return;
        };
        self.counts.cancels += 1;
        // RFC 3261 9.2: the To tag is that of the response to the INVITE.
        let tag = self.names.to_tag(self.table.handle(slot), fingerprint);
        let response = Response {
            status: Status::OK,
            tag: &tag,
            lines: b"",
            routes: false,
            body: b"",
        };
        self.respond(turn, asked, &response);
    }

    /// RFC 3261 8.2.3: a MESSAGE of a type that nobody here reads.
    #[cold]
    pub(super) fn refuse_type<H, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
    ) {
        self.counts.refused.media_type += 1;
        let lines = b"Accept: text/parameters\r\n";
        self.answer(turn, asked, Status::of(415), lines);
    }

    /// A MESSAGE outside dialogs: information that a SIR asked for.
    pub(super) fn returned<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
    ) {
        if !asked.media_type().eq_ignore_ascii_case(b"text/parameters") {
            self.refuse_type(turn, asked);
            return;
        }
        let invitation = invitation(turn.path, asked);
        match turn
            .host
            .returned(turn.now, &invitation, asked.message.body())
        {
            Ok(()) => {
                self.counts.returned += 1;
                // The token has shown who asks: this is no refusal and not bounded as one.
                self.accept(turn, asked, b"");
            }
            Err(refusal) => {
                self.counts.refused.count(refusal);
                self.answer(turn, asked, refusal.status(), b"");
            }
        }
    }

    /// A REGISTER with a token: the host takes the binding, the response names it (RFC 3261 10.3).
    #[cold]
    pub(super) fn register<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
    ) {
        const CONTACT_MAX: usize = 512;
        let contact = asked.message.header(HeaderName::Contact).unwrap_or(b"");
        // RFC 3261 10.2.2: `*` removes all bindings and goes with Expires 0 only. A token is for one device.
        let several = asked.message.list(HeaderName::Contact).take(2).count() > 1;
        let is_all = contact == b"*";
        let lasts = asked.message.expires_seconds() != Some(0);
        if contact.is_empty() || contact.len() > CONTACT_MAX || several || is_all && lasts {
            self.refuse(turn, asked, Status::of(400), |refused| {
                &mut refused.malformed
            });
            return;
        }
        let own = sirocco_wire::sip::token::address_params(contact)
            .find(b"expires")
            .and_then(|param| sirocco_wire::sip::token::decimal(param.value?));
        let expires_s = own.or(asked.message.expires_seconds());
        let expires_s = expires_s.unwrap_or(EXPIRES_DEFAULT_S);
        let uri = address_uri(contact);
        let invitation = invitation(turn.path, asked);
        match turn.host.register(turn.now, &invitation, uri, expires_s) {
            Ok(()) => {
                self.counts.registers += 1;
                let mut lines = Vec::new();
                if expires_s > 0 {
                    lines.extend_from_slice(b"Contact: <");
                    lines.extend_from_slice(uri);
                    lines.extend_from_slice(format!(">;expires={expires_s}\r\n").as_bytes());
                }
                self.accept(turn, asked, &lines);
            }
            Err(refusal) => {
                self.counts.refused.count(refusal);
                self.answer(turn, asked, refusal.status(), b"");
            }
        }
    }

    /// Answers 200 outside dialogs.
    fn accept<H, O: Outbox>(&mut self, turn: &mut Turn<'_, H, O>, asked: &Asked<'_>, lines: &[u8]) {
        let fingerprint = self.names.fingerprint(asked.call_id, asked.from_tag);
        let tag = self.names.refusal_tag(fingerprint);
        let response = Response {
            status: Status::OK,
            tag: &tag,
            lines,
            routes: false,
            body: b"",
        };
        self.respond(turn, asked, &response);
    }

    /// What names the transaction of an INVITE and of its CANCEL (RFC 3261 17.2.3).
    #[inline]
    pub(super) fn invite_name(&self, asked: &Asked<'_>) -> u16 {
        let branch = asked.via.branch.unwrap_or(b"");
        self.names.transaction(branch, asked.via.sent_by)
    }
}

/// Who asks, as the request says it.
pub(super) fn invitation<'a>(path: Path, asked: &Asked<'a>) -> Invitation<'a> {
    let contact = asked.message.header(HeaderName::Contact);
    Invitation {
        token: asked.token(),
        user: address_uri(asked.from),
        device: contact.map_or(b"", Asked::device),
        peer: path.peer(),
    }
}

/// RFC 3261 18.2.2: over the connection that the request came by, else to the address of its Via.
#[inline]
pub(super) fn return_path(path: Path, way: &Way) -> Path {
    match path {
        Path::Datagram { .. } => Path::Datagram { peer: way.target },
        Path::Stream { .. } => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_bounded_by_the_second() {
        let mut allowance = Allowance::new(1_000, 0);
        let granted =
            |allowance: &mut Allowance, now| (0..10_000).filter(|_| allowance.take(now)).count();
        assert_eq!(
            granted(&mut allowance, 0),
            100,
            "a tenth of a second's worth"
        );
        assert_eq!(granted(&mut allowance, 50_000_000), 50);
        assert_eq!(granted(&mut allowance, 5_000_000_000), 100);
    }
}
