//! A host, an outbox and a device in memory for the unit tests of this crate.

use crate::{
    Cause, Content, Grant, Host, Invitation, Outbox, Path, Push, Refusal, SessionConfig,
    SessionEvent, SessionHandle, Sessions, StreamId, StreamKind,
};
use sirocco_wire::sip::{Message, Status, write};
use std::net::SocketAddr;

/// Where the devices' edge is.
pub const PEER: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1)),
    6001,
);
/// One second of the clock.
pub const SECOND: u64 = 1_000_000_000;
/// A token that the host grants.
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Settings of the tests.
pub fn config() -> SessionConfig {
    SessionConfig {
        sessions_max: 64,
        ..SessionConfig::default()
    }
}

/// A host that grants [`TOKEN`] and notes all it is told.
pub struct People {
    /// What the next INVITEs get.
    pub verdict: Result<Grant, Refusal>,
    /// The one content.
    pub content: Option<(String, Vec<u8>, Push)>,
    /// What was noted, in order.
    pub events: Vec<([u64; 2], u16, SessionEvent)>,
    /// Tokens, users and devices that were asked about.
    pub invitations: Vec<(String, String, String)>,
    /// What came back, from inside and outside of sessions.
    pub received: Vec<(String, Vec<u8>)>,
    /// Contacts that were registered.
    pub registered: Vec<(String, u32)>,
    /// Tokens that were used up.
    pub granted: usize,
    /// Where requests may go.
    pub hops: Vec<SocketAddr>,
}

/// The end of a session, whatever its name.
pub fn ended(cause: Cause) -> SessionEvent {
    let session = SessionHandle {
        slot: 0,
        generation: 0,
    };
    SessionEvent::Ended { session, cause }
}

impl People {
    /// Grants everything; the content is 200 octets of text.
    pub fn new() -> Self {
        Self {
            verdict: Ok(Grant {
                content: 7,
                owner: [1, 2],
            }),
            content: Some(("text/plain".to_owned(), vec![b'x'; 200], Push::Auto)),
            events: Vec::new(),
            invitations: Vec::new(),
            received: Vec::new(),
            registered: Vec::new(),
            granted: 0,
            hops: Vec::new(),
        }
    }

    /// The events alone, and none of them again; ends without their names, see [`ended`].
    pub fn take_events(&mut self) -> Vec<SessionEvent> {
        let unnamed = |(_, _, event)| match event {
            SessionEvent::Ended { cause, .. } => ended(cause),
            event => event,
        };
        self.events.drain(..).map(unnamed).collect()
    }

    fn asked(&mut self, invitation: &Invitation<'_>) {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        self.invitations.push((
            text(invitation.token),
            text(invitation.user),
            text(invitation.device),
        ));
    }
}

impl Host for People {
    fn admit(
        &mut self,
        _: u64,
        invitation: &Invitation<'_>,
        takes: impl FnOnce(&Content<'_>) -> bool,
    ) -> Result<Grant, Refusal> {
        self.asked(invitation);
        if invitation.token.is_empty() {
            return Err(Refusal::TokenMissing);
        }
        let grant = self.verdict?;
        let content = self.content(grant.owner, grant.content);
        if !takes(&content.ok_or(Refusal::ContentGone)?) {
            return Err(Refusal::ContentUntaken);
        }
        self.granted += 1;
        Ok(grant)
    }

    fn may_route(&self, address: SocketAddr) -> bool {
        self.hops.contains(&address)
    }

    fn content(&self, _: [u64; 2], _: u16) -> Option<Content<'_>> {
        self.content
            .as_ref()
            .map(|(content_type, octets, prefer)| Content {
                content_type,
                octets,
                prefer: *prefer,
            })
    }

    fn returned(
        &mut self,
        _: u64,
        invitation: &Invitation<'_>,
        parameters: &[u8],
    ) -> Result<(), Refusal> {
        self.asked(invitation);
        self.verdict?;
        self.received
            .push(("returned".to_owned(), parameters.to_vec()));
        Ok(())
    }

    fn register(
        &mut self,
        _: u64,
        invitation: &Invitation<'_>,
        contact: &[u8],
        expires_s: u32,
    ) -> Result<(), Refusal> {
        self.asked(invitation);
        self.verdict?;
        let contact = String::from_utf8_lossy(contact).into_owned();
        self.registered.push((contact, expires_s));
        Ok(())
    }

    fn received(&mut self, _: u64, _: [u64; 2], content_type: &[u8], body: &[u8]) {
        let content_type = String::from_utf8_lossy(content_type).into_owned();
        self.received.push((content_type, body.to_vec()));
    }

    fn note(&mut self, _: u64, owner: [u64; 2], content: u16, event: SessionEvent) {
        self.events.push((owner, content, event));
    }
}

/// What was sent.
#[derive(Default)]
pub struct Net {
    /// Datagrams and their targets.
    pub datagrams: Vec<(SocketAddr, Vec<u8>)>,
    /// Octets of streams.
    pub streams: Vec<(StreamId, Vec<u8>)>,
    /// Streams that were closed.
    pub closed: Vec<StreamId>,
    /// Whether there is no room.
    pub full: bool,
}

impl Outbox for Net {
    fn datagram(&mut self, peer: SocketAddr, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        if self.full {
            return false;
        }
        let mut room = [0; 2_048];
        let length = write(&mut room);
        assert!(length > 0, "nothing was written");
        self.datagrams.push((peer, room[..length].to_vec()));
        true
    }

    fn stream(&mut self, stream: StreamId, octets: &[u8]) -> bool {
        if self.full {
            return false;
        }
        self.streams.push((stream, octets.to_vec()));
        true
    }

    fn close(&mut self, stream: StreamId) {
        self.closed.push(stream);
    }
}

impl Net {
    /// The only datagram that was sent, which is forgotten.
    pub fn one(&mut self) -> String {
        assert_eq!(self.datagrams.len(), 1, "{:?}", self.texts());
        let (_, octets) = self.datagrams.remove(0);
        String::from_utf8(octets).expect("text")
    }

    /// All datagrams as text.
    pub fn texts(&self) -> Vec<String> {
        let text =
            |(_, octets): &(SocketAddr, Vec<u8>)| String::from_utf8_lossy(octets).into_owned();
        self.datagrams.iter().map(text).collect()
    }
}

/// Sessions with their edges, and one device that talks to them.
pub struct Device {
    /// Under test.
    pub sessions: Sessions,
    /// Its host.
    pub people: People,
    /// Its network.
    pub net: Net,
    /// The clock.
    pub now: u64,
    /// The device's Call-ID.
    pub call_id: String,
    /// Our tag, once known.
    pub tag: String,
    /// Where the device's messages come from.
    pub path: Path,
}

impl Device {
    /// A device in front of new sessions.
    pub fn new(config: SessionConfig) -> Self {
        Self {
            sessions: Sessions::new(config, [3, 4], 0),
            people: People::new(),
            net: Net::default(),
            now: SECOND,
            call_id: "c1".to_owned(),
            tag: String::new(),
            path: Path::Datagram { peer: PEER },
        }
    }

    /// Lets time pass in steps of 100 ms.
    pub fn wait(&mut self, ns: u64) {
        let until = self.now + ns;
        while self.now < until {
            self.now = (self.now + 100_000_000).min(until);
            self.sessions
                .expire(self.now, &mut self.people, &mut self.net);
        }
    }

    /// Sends octets as one message, which is parsed only if it is unfamiliar.
    pub fn say(&mut self, text: &str) {
        if let Path::Datagram { peer } = self.path {
            let (people, net) = (&mut self.people, &mut self.net);
            let octets = text.as_bytes();
            if self.sessions.familiar(self.now, peer, octets, people, net) {
                return;
            }
        }
        let message = Message::parse(text.as_bytes()).expect("a message");
        let (people, net) = (&mut self.people, &mut self.net);
        if message.status_code().is_some() {
            assert!(
                self.sessions
                    .response(self.now, self.path, &message, people, net)
            );
        } else {
            self.sessions
                .request(self.now, self.path, &message, people, net);
        }
    }

    /// The INVITE, with further header lines.
    pub fn invite(&self, lines: &str) -> String {
        let body = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n";
        self.invite_with(lines, "application/sdp", body)
    }

    /// The INVITE with a body.
    pub fn invite_with(&self, lines: &str, kind: &str, body: &str) -> String {
        format!(
            "INVITE sip:ppg@127.0.0.1:5070;t={TOKEN} SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.1:6001;branch=z9hG4bKi{0}\r\nMax-Forwards: 70\r\n\
             From: <sip:+1@ims.example>;tag=d1\r\nTo: <sip:ppg@127.0.0.1:5070>\r\nCall-ID: {0}\r\n\
             CSeq: 1 INVITE\r\n\
             Contact: <sip:+1@127.0.0.1:6001;gr=urn:uuid:7>;+sip.instance=\"<urn:uuid:7>\"\r\n\
             {lines}Content-Type: {kind}\r\nContent-Length: {1}\r\n\r\n{body}",
            self.call_id,
            body.len()
        )
    }

    /// A request inside the dialog.
    pub fn inside(&self, method: &str, cseq: u32, lines: &str, body: &str) -> String {
        format!(
            "{method} sip:ppg@127.0.0.1:5070 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.1:6001;branch=z9hG4bK{method}{cseq}\r\nMax-Forwards: 70\r\n\
             From: <sip:+1@ims.example>;tag=d1\r\nTo: <sip:ppg@127.0.0.1:5070>;tag={}\r\n\
             Call-ID: {}\r\nCSeq: {cseq} {method}\r\n{lines}Content-Length: {}\r\n\r\n{body}",
            self.tag,
            self.call_id,
            body.len()
        )
    }

    /// Opens a connection, which the device's messages come by from now on if it is for SIP.
    pub fn connect(&mut self, number: u64, kind: StreamKind) -> StreamId {
        let stream = StreamId(number);
        assert!(self.sessions.stream_opened(self.now, stream, kind, PEER));
        if kind == StreamKind::Sip {
            self.path = Path::Stream { stream, peer: PEER };
        }
        stream
    }

    /// Sends octets over a connection.
    pub fn write(&mut self, stream: StreamId, octets: &[u8]) {
        let (people, net) = (&mut self.people, &mut self.net);
        self.sessions
            .stream_octets(self.now, stream, octets, people, net);
    }

    /// All that was sent over a connection, as text, which is forgotten.
    pub fn read(&mut self, stream: StreamId) -> String {
        let (own, others) = self
            .net
            .streams
            .drain(..)
            .partition(|(to, _)| *to == stream);
        self.net.streams = others;
        let own: Vec<(StreamId, Vec<u8>)> = own;
        let octets: Vec<u8> = own.into_iter().flat_map(|(_, octets)| octets).collect();
        String::from_utf8(octets).expect("text")
    }

    /// A request outside dialogs.
    pub fn outside(&self, method: &str, uri: &str, lines: &str, body: &str) -> String {
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:6001;branch=z9hG4bKo\r\n\
             From: <sip:+1@ims.example>;tag=d1\r\nTo: <sip:+1@ims.example>\r\nCall-ID: {}\r\n\
             CSeq: 1 {method}\r\n{lines}Content-Length: {}\r\n\r\n{body}",
            self.call_id,
            body.len()
        )
    }

    /// Invites and reads our tag from the 200, which is returned.
    pub fn build(&mut self) -> String {
        self.say(&self.invite(""));
        let accepted = self.net.one();
        self.learn_tag(&accepted);
        accepted
    }

    /// Reads our tag from a response.
    pub fn learn_tag(&mut self, response: &str) {
        let message = Message::parse(response.as_bytes()).expect("a response");
        let tag = message.to_tag().expect("a tag");
        self.tag = String::from_utf8_lossy(tag).into_owned();
    }

    /// Answers a request of ours.
    pub fn answer(&mut self, request: &str, code: u16) {
        let message = Message::parse(request.as_bytes()).expect("a request");
        let mut out = [0; 2_048];
        let length = write::response(&mut out, &message, Status::of(code), b"", &[]).expect("room");
        self.say(std::str::from_utf8(&out[..length]).expect("text"));
    }
}
