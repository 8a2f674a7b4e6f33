//! The messages a device sends, written into a draft: INVITE, ACK, BYE, MESSAGE, REGISTER, responses.
//!
//! Fields of free length are padded behind `>` and `"` to multiples of 16, where RFC 3261 25.1 allows
//! white space (RAQUOT, SEMI), so that messages of like devices have their fields in the same places;
//! what still differs is padded behind Max-Forwards, or Server. It decides nothing. Called by `calls`.

use sirocco_wire::sip::{HeaderName, Message, Status, write};
use sirocco_wire::writer::{Overflow, Writer};

use super::lanes::Draft;
use super::name::NAME_BYTES;
use crate::script::SERVER;

/// Fields of free length are widened to a multiple of this.
const FIELD_STEP: usize = 16;
/// Methods a device answers (RFC 3261 20.5); what takes no MESSAGE leaves it out.
const ALLOW: &[u8] = b"INVITE, ACK, BYE, CANCEL, OPTIONS";

/// Who speaks to whom; the fields that all requests of a call share.
#[derive(Clone, Copy)]
pub(crate) struct Party<'a> {
    /// The edge's `host:port`.
    pub(crate) edge: &'a [u8],
    /// The user identity.
    pub(crate) aor: &'a [u8],
    /// The device as it stands in `gr`, empty for none.
    pub(crate) device: &'a [u8],
    /// Tag and Call-ID.
    pub(crate) name: &'a [u8],
    /// What the branch names: the same, but for a dialog that ends in a slot of its own.
    pub(crate) branch: &'a [u8; NAME_BYTES],
    /// The number of the request.
    pub(crate) cseq: u32,
    /// Header fields with credentials, with their line ends; empty for none.
    pub(crate) credentials: &'a [u8],
    /// It goes over a connection.
    pub(crate) is_stream: bool,
}

/// The other side of a dialog (RFC 3261 12.1.2).
#[derive(Clone, Copy)]
pub(crate) struct Remote<'a> {
    /// The URI of its Contact.
    pub(crate) target: &'a [u8],
    /// To with its tag.
    pub(crate) to: &'a [u8],
    /// The route set, comma-separated.
    pub(crate) routes: &'a [u8],
}

/// What an INVITE offers.
#[derive(Clone, Copy)]
pub(crate) struct Offer {
    pub(crate) message: bool,
    pub(crate) msrp: bool,
}

/// How a registered Contact names its device: a registrar that makes GRUUs wants no `gr` there (RFC 5627
/// 4.2), and a proxy sends this URI back as Request-URI.
pub(crate) const LINE: &[u8] = b";line=";

type Written = Result<(), Overflow>;

/// Starts a request up to and including Max-Forwards; its padding goes behind the colon.
fn open(
    writer: &mut Writer<'_>,
    method: &[u8],
    uri: &[&[u8]],
    party: &Party<'_>,
    letter: u8,
) -> Result<usize, Overflow> {
    writer.put(method)?;
    writer.put(b" ")?;
    uri.iter().try_for_each(|part| writer.put(part))?;
    writer.put(b" SIP/2.0\r\nMax-Forwards: ")?;
    let space_at = writer.len();
    writer.put(b"70\r\nVia: SIP/2.0/")?;
    writer.put(if party.is_stream { b"TCP " } else { b"UDP " })?;
    writer.put(party.edge)?;
    writer.put(b";branch=z9hG4bK")?;
    writer.put(party.branch)?;
    writer.put_octet(letter)?;
    // RFC 3261 8.1.1.7: a request that is new has a branch that is new.
    if party.cseq > 1 {
        writer.put_decimal(party.cseq)?;
    }
    writer.put(b"\r\n")?;
    Ok(space_at)
}

/// Pads with spaces so that what was written since `start` is a multiple of [`FIELD_STEP`].
fn widen(writer: &mut Writer<'_>, start: usize) -> Written {
    let spaces = (writer.len() - start).next_multiple_of(FIELD_STEP) - (writer.len() - start);
    writer.put(&[b' '; FIELD_STEP][..spaces])
}

fn from(writer: &mut Writer<'_>, party: &Party<'_>) -> Written {
    writer.put(b"From: ")?;
    let start = writer.len();
    writer.put(b"<")?;
    writer.put(party.aor)?;
    writer.put(b">")?;
    widen(writer, start)?;
    writer.put(b";tag=")?;
    writer.put(party.name)?;
    writer.put(b"\r\n")
}

fn call(writer: &mut Writer<'_>, party: &Party<'_>, method: &[u8]) -> Written {
    writer.put(b"Call-ID: ")?;
    writer.put(party.name)?;
    writer.put(b"\r\nCSeq: ")?;
    writer.put_decimal(party.cseq)?;
    writer.put(b" ")?;
    writer.put(method)?;
    writer.put(b"\r\n")
}

/// Returns the user part of an AOR.
pub(super) fn user(aor: &[u8]) -> &[u8] {
    let start = aor
        .iter()
        .position(|&octet| octet == b':')
        .map_or(0, |at| at + 1);
    let end = aor
        .iter()
        .position(|&octet| octet == b'@')
        .unwrap_or(aor.len());
    &aor[start..end.max(start)]
}

/// Writes the device's Contact (RFC 5627 4.4, RFC 5626 4.1): the URI names the device by the parameter
/// `name`, and further parameters follow.
fn contact(writer: &mut Writer<'_>, party: &Party<'_>, name: &[u8], more: &[u8]) -> Written {
    writer.put(b"Contact: ")?;
    let start = writer.len();
    writer.put(b"<sip:")?;
    writer.put(user(party.aor))?;
    writer.put(b"@")?;
    writer.put(party.edge)?;
    if !party.device.is_empty() {
        writer.put(name)?;
        writer.put(party.device)?;
    }
    if party.is_stream {
        writer.put(b";transport=tcp")?;
    }
    writer.put(b">")?;
    widen(writer, start)?;
    if !party.device.is_empty() {
        writer.put(b";+sip.instance=\"<")?;
        writer.put(party.device)?;
        writer.put(b">\"")?;
    }
    writer.put(more)?;
    writer.put(b"\r\n")
}

fn body(writer: &mut Writer<'_>, content_type: &[u8], parts: &[&[u8]]) -> Written {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    if length > 0 {
        writer.put(b"Content-Type: ")?;
        writer.put(content_type)?;
        writer.put(b"\r\n")?;
    }
    writer.put(b"Content-Length: ")?;
    writer.put_decimal(length as u32)?;
    writer.put(b"\r\n\r\n")?;
    parts.iter().try_for_each(|part| writer.put(part))
}

/// Starts a request outside a dialog to a PPG, with a token if there is one, up to the credentials.
fn to_gateway(
    writer: &mut Writer<'_>,
    (method, letter): (&[u8], u8),
    (ppg, token): (&[u8], &[u8]),
    party: &Party<'_>,
) -> Result<usize, Overflow> {
    let parameter: &[u8] = if token.is_empty() { b"" } else { b";t=" };
    let space_at = open(writer, method, &[ppg, parameter, token], party, letter)?;
    from(writer, party)?;
    writer.put(b"To: <")?;
    writer.put(ppg)?;
    writer.put(b">\r\n")?;
    call(writer, party, method)?;
    writer.put(party.credentials)?;
    Ok(space_at)
}

impl Draft {
    fn write(&mut self, fill: impl FnOnce(&mut Writer<'_>) -> Result<usize, Overflow>) -> bool {
        let mut writer = Writer::new(&mut self.octets[..]);
        let Ok(space_at) = fill(&mut writer) else {
            self.length = 0;
            return false;
        };
        (self.length, self.space_at) = (writer.len(), space_at);
        true
    }

    /// Writes the INVITE that builds a session (RFC 3261 13.2.1); false when it is too long.
    pub(crate) fn invite(
        &mut self,
        party: &Party<'_>,
        ppg: &[u8],
        token: &[u8],
        offer: Offer,
    ) -> bool {
        let host = party
            .edge
            .split(|&octet| octet == b':')
            .next()
            .unwrap_or(b"");
        self.write(|writer| {
            let space_at = to_gateway(writer, (b"INVITE", b'i'), (ppg, token), party)?;
            contact(writer, party, b";gr=", b"")?;
            writer.put(b"Allow: ")?;
            writer.put(ALLOW)?;
            if offer.message {
                writer.put(b", MESSAGE")?;
            }
            writer.put(b"\r\n")?;
            let opening: [&[u8]; 5] = [
                b"v=0\r\no=- 1 1 IN IP4 ",
                host,
                b"\r\ns=-\r\nc=IN IP4 ",
                host,
                b"\r\nt=0 0\r\n",
            ];
            // RFC 4975 8.1: the path names the session; the port is not used by who connects.
            let media: [&[u8]; 5] = [
                b"m=message 9 TCP/MSRP *\r\na=accept-types:*\r\na=setup:active\r\na=path:msrp://",
                party.edge,
                b"/",
                party.name,
                b";tcp\r\n",
            ];
            let all: [&[u8]; 10] = std::array::from_fn(|at| match at {
                0..5 => opening[at],
                _ if offer.msrp => media[at - 5],
                _ => b"",
            });
            body(writer, b"application/sdp", &all)?;
            Ok(space_at)
        })
    }

    /// Writes the ACK of a final response (RFC 3261 13.2.2.4, 17.1.1.3) from the response itself:
    /// of a 2xx to its Contact along its Record-Route, of another with the INVITE's URI and branch.
    pub(crate) fn ack(
        &mut self,
        party: &Party<'_>,
        response: &Message<'_>,
        uri: &[&[u8]],
        success: bool,
    ) -> bool {
        self.write(|writer| {
            let letter = if success { b'a' } else { b'i' };
            let space_at = open(writer, b"ACK", uri, party, letter)?;
            if success {
                route(writer, response)?;
            }
            writer.put(b"From: ")?;
            writer.put(response.from().unwrap_or(b""))?;
            writer.put(b"\r\nTo: ")?;
            writer.put(response.to().unwrap_or(b""))?;
            writer.put(b"\r\n")?;
            call(writer, party, b"ACK")?;
            writer.put(party.credentials)?;
            body(writer, b"", &[])?;
            Ok(space_at)
        })
    }

    /// Writes the BYE of a device that hangs up (RFC 3261 15.1.1).
    pub(crate) fn bye(&mut self, party: &Party<'_>, remote: &Remote<'_>) -> bool {
        self.within(party, remote, b"BYE", b'b')
    }

    /// Writes an ACK that was held back, from what is kept of the 2xx.
    pub(crate) fn late_ack(&mut self, party: &Party<'_>, remote: &Remote<'_>) -> bool {
        self.within(party, remote, b"ACK", b'a')
    }

    /// Writes a request of a dialog; `letter` tells its branch from others.
    fn within(
        &mut self,
        party: &Party<'_>,
        remote: &Remote<'_>,
        method: &[u8],
        letter: u8,
    ) -> bool {
        self.write(|writer| {
            let space_at = open(writer, method, &[remote.target], party, letter)?;
            if !remote.routes.is_empty() {
                writer.put(b"Route: ")?;
                writer.put(remote.routes)?;
                writer.put(b"\r\n")?;
            }
            from(writer, party)?;
            writer.put(b"To: ")?;
            writer.put(remote.to)?;
            writer.put(b"\r\n")?;
            call(writer, party, method)?;
            writer.put(party.credentials)?;
            body(writer, b"", &[])?;
            Ok(space_at)
        })
    }

    /// Writes the MESSAGE by which a device returns what a SIR asked for (RFC 3428).
    pub(crate) fn message(
        &mut self,
        party: &Party<'_>,
        ppg: &[u8],
        token: &[u8],
        text: &[u8],
    ) -> bool {
        self.write(|writer| {
            let space_at = to_gateway(writer, (b"MESSAGE", b'm'), (ppg, token), party)?;
            body(writer, b"text/parameters", &[text])?;
            Ok(space_at)
        })
    }

    /// Writes a REGISTER (RFC 3261 10.2, RFC 5626 4.2).
    pub(crate) fn register(&mut self, party: &Party<'_>, uri: &[&[u8]], expires_s: u32) -> bool {
        self.write(|writer| {
            let space_at = open(writer, b"REGISTER", uri, party, b'r')?;
            from(writer, party)?;
            writer.put(b"To: <")?;
            writer.put(party.aor)?;
            writer.put(b">\r\n")?;
            call(writer, party, b"REGISTER")?;
            writer.put(party.credentials)?;
            contact(writer, party, LINE, b";reg-id=1")?;
            writer.put(b"Supported: path, outbound, gruu\r\nExpires: ")?;
            writer.put_decimal(expires_s)?;
            writer.put(b"\r\n")?;
            body(writer, b"", &[])?;
            Ok(space_at)
        })
    }

    /// Writes the response to a request of a dialog (RFC 3261 8.2.6).
    pub(crate) fn response(&mut self, request: &Message<'_>, code: u16, to_tag: &[u8]) -> bool {
        let extra: [(&[u8], &[u8]); 1] = [(b"Server", SERVER)];
        let out = &mut self.octets[..];
        let written = write::response(out, request, Status::of(code), to_tag, &extra);
        self.length = written.unwrap_or(0);
        let behind = SERVER.len() + b"\r\nContent-Length: 0\r\n\r\n".len();
        self.space_at = self.length.saturating_sub(behind);
        written.is_ok()
    }
}

/// Writes the route set of a 2xx: its Record-Route values in reverse (RFC 3261 12.1.2).
fn route(writer: &mut Writer<'_>, response: &Message<'_>) -> Written {
    if response.header(HeaderName::RecordRoute).is_none() {
        return Ok(());
    }
    let mut values = [&b""[..]; ROUTES_MAX];
    for value in routes(response, &mut values) {
        writer.put(b"Route: ")?;
        writer.put(value)?;
        writer.put(b"\r\n")?;
    }
    Ok(())
}

/// The most proxies of one route set that are followed; a longer one is cut.
pub(crate) const ROUTES_MAX: usize = 8;

/// Returns the route set of a 2xx in the order of a caller.
pub(crate) fn routes<'r, 'a>(
    response: &Message<'a>,
    values: &'r mut [&'a [u8]; ROUTES_MAX],
) -> impl Iterator<Item = &'a [u8]> + use<'r, 'a> {
    let mut count = 0;
    for (value, route) in values
        .iter_mut()
        .zip(response.list(HeaderName::RecordRoute))
    {
        *value = route;
        count += 1;
    }
    values[..count].iter().rev().copied()
}

/// Returns the URI that a request of a dialog goes to first: of the topmost route, else the target.
pub(crate) fn first_hop<'a>(routes: &'a [u8], target: &'a [u8]) -> &'a [u8] {
    let Some(start) = routes.iter().position(|&octet| octet == b'<') else {
        return target;
    };
    let uri = &routes[start + 1..];
    &uri[..memchr::memchr(b'>', uri).unwrap_or(uri.len())]
}

/// Returns the URI of the first Contact of a response.
pub(crate) fn remote_target<'a>(response: &Message<'a>) -> Option<&'a [u8]> {
    let contact = response.header(HeaderName::Contact)?;
    match contact.iter().position(|&octet| octet == b'<') {
        Some(at) => contact[at + 1..].split(|&octet| octet == b'>').next(),
        None => contact
            .split(|&octet| octet == b';')
            .next()
            .map(<[u8]>::trim_ascii),
    }
}

#[cfg(test)]
mod tests {
    use sirocco_wire::sdp::{Description, Setup};
    use sirocco_wire::sip::screen::{Role, screen_as};
    use sirocco_wire::sip::{Transport, Verdict};

    use super::*;

    const NAME: &[u8; NAME_BYTES] = b"d0000000100000002abcdef01";

    fn party() -> Party<'static> {
        Party {
            edge: b"127.0.0.1:6000",
            aor: b"sip:+8613800001111@ims.example",
            device: b"urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            name: NAME,
            branch: NAME,
            cseq: 1,
            is_stream: false,
            credentials: b"",
        }
    }

    fn accepted(draft: &Draft) -> Message<'_> {
        let octets = &draft.octets[..draft.length];
        let verdict = screen_as(octets, Transport::Datagram, Role::Proxy);
        assert_eq!(
            verdict,
            Verdict::Accept,
            "{}",
            String::from_utf8_lossy(octets)
        );
        Message::parse(octets).unwrap()
    }

    #[test]
    fn an_invite_says_who_calls_from_where_with_which_token() {
        let mut draft = Draft::new();
        let offer = Offer {
            message: true,
            msrp: true,
        };
        let token = b"0123456789abcdef0123456789abcdef";
        assert!(draft.invite(&party(), b"sip:ppg@127.0.0.1:5070", token, offer));
        let message = accepted(&draft);
        let uri = b"sip:ppg@127.0.0.1:5070;t=0123456789abcdef0123456789abcdef";
        assert_eq!(message.request_uri(), Some(&uri[..]));
        assert_eq!(message.from_tag(), Some(&NAME[..]));
        let contact = String::from_utf8_lossy(message.header(HeaderName::Contact).unwrap());
        let uuid = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
        assert!(contact.starts_with(&format!("<sip:+8613800001111@127.0.0.1:6000;gr={uuid}>")));
        assert!(
            contact.ends_with(&format!(";+sip.instance=\"<{uuid}>\"")),
            "{contact}"
        );
        assert!(
            message
                .header(HeaderName::Allow)
                .unwrap()
                .ends_with(b", MESSAGE")
        );
        let sdp = String::from_utf8_lossy(message.body());
        assert!(
            sdp.contains("m=message 9 TCP/MSRP *\r\n") && sdp.ends_with(";tcp\r\n"),
            "{sdp}"
        );
        let stream = Description::parse(message.body()).unwrap().message.unwrap();
        assert_eq!(
            stream.path,
            [b"msrp://127.0.0.1:6000/", &NAME[..], b";tcp"].concat()
        );
        assert_eq!(
            (stream.accept_types, stream.setup),
            (&b"*"[..], Some(Setup::Active))
        );
        assert!(stream.direction.receives());
        assert_eq!(draft.octets[draft.space_at - 2], b':');
    }

    #[test]
    fn without_msrp_the_offer_has_no_media_and_without_a_token_the_uri_none() {
        let mut draft = Draft::new();
        let offer = Offer {
            message: false,
            msrp: false,
        };
        assert!(draft.invite(&party(), b"sip:service@127.0.0.1", b"", offer));
        let message = accepted(&draft);
        assert_eq!(message.request_uri(), Some(&b"sip:service@127.0.0.1"[..]));
        assert_eq!(message.header(HeaderName::Allow), Some(ALLOW));
        assert!(!message.body().windows(2).any(|pair| pair == b"m="));
    }

    #[test]
    fn ack_and_bye_follow_the_route_set() {
        let response = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:6000;branch=z9hG4bKx\r\n\
            Record-Route: <sip:p1;lr>, <sip:p2,x@y;lr>\r\nRecord-Route: <sip:p3;lr>\r\n\
            From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: 3\r\nCSeq: 1 INVITE\r\n\
            Contact: <sip:ppg@127.0.0.1:5071>;x=y\r\nContent-Length: 0\r\n\r\n";
        let response = Message::parse(response).unwrap();
        let target = remote_target(&response).unwrap();
        assert_eq!(target, b"sip:ppg@127.0.0.1:5071");
        let mut draft = Draft::new();
        assert!(draft.ack(&party(), &response, &[target], true));
        let message = accepted(&draft);
        let routes: Vec<&[u8]> = message.values(HeaderName::Route).collect();
        assert_eq!(
            routes,
            [&b"<sip:p3;lr>"[..], b"<sip:p2,x@y;lr>", b"<sip:p1;lr>"]
        );
        assert_eq!(message.to_tag(), Some(&b"2"[..]));
        let remote = Remote {
            target,
            to: b"<sip:c@d>;tag=2",
            routes: b"<sip:p3;lr>",
        };
        let second = Party { cseq: 2, ..party() };
        assert!(draft.bye(&second, &remote));
        let bye = accepted(&draft);
        assert_eq!(bye.cseq().unwrap().number, 2);
        let branch = bye.top_via().unwrap().branch.unwrap();
        assert!(branch.ends_with(b"b2"), "a new request, a new branch");
    }

    #[test]
    fn what_is_returned_and_registered_passes_the_screen() {
        let mut draft = Draft::new();
        let text = b"device: urn:uuid:1\r\nrefusal: declined\r\n";
        assert!(draft.message(&party(), b"sip:ppg@127.0.0.1:5070", b"00ff", text));
        assert_eq!(accepted(&draft).body(), text);
        let uri: [&[u8]; 3] = [b"sip:127.0.0.1:5070", b";t=", b"00ff"];
        assert!(draft.register(&party(), &uri, 3600));
        let message = accepted(&draft);
        let contact = message.header(HeaderName::Contact).unwrap();
        assert!(
            contact.ends_with(b">\";reg-id=1"),
            "{}",
            String::from_utf8_lossy(contact)
        );
        assert_eq!(message.expires_seconds(), Some(3600));
    }
}
