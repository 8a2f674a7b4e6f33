//! Which message a call sends in which state, written from the texts of its slot: a retransmission is
//! written anew. Called by `calls` and `dialog`.

use sirocco_wire::sir::Request;
use sirocco_wire::writer::Writer;

use super::calls::Calls;
use super::gateway::authority;
use super::lanes::Kind;
use super::name::Name;
use super::policy::Take;
use super::table::{Call, Long, State, Text};
use super::write::{Offer, Party, Remote};

impl Calls {
    /// Writes the request of a call's state and puts it on its lane.
    #[inline]
    pub(super) fn send(&mut self, name: Name) {
        let Calls {
            table,
            lanes,
            edges,
            draft,
            ppgs,
            policies,
            config,
            ..
        } = self;
        let Some((call, long)) = table.with_long(name) else {
            return;
        };
        call.sends = call.sends.saturating_add(1);
        let text = name.text(config.maker());
        let mut buffer = [0; 64];
        let party = Party {
            edge: edges.text(&call.origin, &mut buffer),
            aor: call.text(Text::Aor),
            device: call.text(Text::Device),
            name: if call.state == State::Parting {
                call.text(Text::Token)
            } else {
                &text
            },
            branch: &text,
            cseq: call.cseq,
            credentials: long.map_or(b"", |long| &long.credentials),
            is_stream: call.origin.stream > 0,
        };
        let ppg = ppgs[usize::from(call.ppg)].uri();
        let token = call.text(Text::Token);
        let (kind, written) = match call.state {
            State::Telling => {
                let mut out = [0; 512];
                let length = returned(call, &mut out).unwrap_or(0);
                (
                    Kind::Message,
                    draft.message(&party, ppg, token, &out[..length]),
                )
            }
            State::Registering => {
                let uri = registrar(ppg, token);
                let written = draft.register(&party, &uri, config.expires_s);
                (Kind::Register, written)
            }
            State::Hanging | State::Parting => (Kind::Bye, draft.bye(&party, &remote(call, long))),
            State::AckHeld => (Kind::Ack, draft.late_ack(&party, &remote(call, long))),
            _ => {
                let policy = policies[usize::from(call.class)].as_ref();
                let takes = |take| policy.is_none_or(|policy| policy.takes(take));
                let offer = Offer {
                    message: takes(Take::Message),
                    msrp: takes(Take::Msrp),
                };
                (Kind::Invite, draft.invite(&party, ppg, token, offer))
            }
        };
        if written {
            lanes.put(kind, call.origin, draft);
        }
    }
}

/// Returns the registrar of a PPG's URI: its host, with the token.
pub(super) fn registrar<'a>(ppg: &'a [u8], token: &'a [u8]) -> [&'a [u8]; 4] {
    let parameter: &[u8] = if token.is_empty() { b"" } else { b";t=" };
    [b"sip:", authority(ppg), parameter, token]
}

/// Returns what is kept of the other side; its route set stands behind its To.
pub(super) fn remote<'a>(call: &'a Call, long: Option<&'a Long>) -> Remote<'a> {
    let kept = long.filter(|long| !long.to.is_empty());
    let (target, text) = match kept {
        Some(long) => (&long.target[..], &long.to[..]),
        None => (call.text(Text::Target), call.text(Text::To)),
    };
    let end = text.iter().position(|&octet| octet == b'\n');
    let (to, routes) = text.split_at(end.unwrap_or(text.len()));
    Remote {
        target,
        to,
        routes: routes.strip_prefix(b"\n").unwrap_or(routes),
    }
}

/// Writes what a device returns as `text/parameters`, one line each.
fn returned(call: &Call, out: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::new(out);
    let mut line = |name: &str, value: &[u8]| -> Option<()> {
        writer.put(name.as_bytes()).ok()?;
        writer.put(b": ").ok()?;
        writer.put(value).ok()?;
        writer.put(b"\r\n").ok()
    };
    let told = &call.told;
    let has = |request| told.ask.has(request);
    let mut digits = [0; 3];
    if !call.text(Text::Device).is_empty() {
        line("device", call.text(Text::Device))?;
    }
    if has(Request::Capability) || has(Request::CapabilityMessage) {
        line("capability", decimal(call.traits.capability, &mut digits))?;
    }
    if has(Request::Preference) {
        line("preference", decimal(call.traits.preference, &mut digits))?;
    }
    if has(Request::Subscription) {
        line(
            "subscription",
            decimal(call.traits.subscription, &mut digits),
        )?;
    }
    if has(Request::Security) {
        line("security", told.security.word().as_bytes())?;
    }
    if has(Request::Refusal) {
        line("refusal", told.word.refusal().as_bytes())?;
    }
    Some(writer.len())
}

fn decimal(value: u8, digits: &mut [u8; 3]) -> &[u8] {
    *digits = [
        b'0' + value / 100,
        b'0' + value / 10 % 10,
        b'0' + value % 10,
    ];
    let zeros = digits[..2]
        .iter()
        .take_while(|&&digit| digit == b'0')
        .count();
    &digits[zeros..]
}
