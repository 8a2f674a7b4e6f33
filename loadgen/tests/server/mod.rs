//! A small SIP server for tests: sends SIRs, takes INVITEs, pushes a content, ends sessions. Trains go
//! in and out as trains, so that tests see what travels together.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::running::PATIENCE;
use sirocco_loadgen::{LoadgenConfig, Place, SessionPolicy};
use sirocco_ring::{Port, PortConfig, SocketConfig, Train, Wait};
use sirocco_wire::sip::{HeaderName, LengthClass, Message, Method, SirSpec, Slots, Template};

/// What is pushed.
const CONTENT: &[u8] = b"good morning!";

pub fn config() -> LoadgenConfig {
    LoadgenConfig {
        seed: 7,
        place: Place::Edges {
            count: 1,
            bind: Ipv4Addr::LOCALHOST.into(),
            port_base: 0,
        },
        seen_entries: 1 << 16,
        late_slots: 1 << 10,
        calls_max: 1 << 12,
        huge_pages: false,
        ..LoadgenConfig::default()
    }
}

pub fn policy() -> SessionPolicy {
    SessionPolicy::default()
}

/// The server and what it saw.
pub struct Server {
    port: Port,
    address: SocketAddr,
    /// INVITEs to pass over before one is answered.
    pub deaf_to_invites: usize,
    /// Answers INVITEs so, instead of 200.
    pub refuse_with: Option<&'static str>,
    /// Ends sessions once the content is answered.
    pub ends: bool,
    pub copies_of_content: usize,
    pub invites: usize,
    pub acks: usize,
    pub byes: usize,
    ended: usize,
    pub last_token: String,
    /// The MESSAGEs that came outside dialogs: their bodies.
    pub told: Vec<String>,
    pub registers: Vec<String>,
    last_2xx: Vec<u8>,
    /// How many datagrams came together, by what the first is.
    pub trains: BTreeMap<String, Vec<usize>>,
    /// Text behind the PPG's address in ProvURL.
    pub prov_url_more: String,
    pub device: Option<(sirocco_wire::sip::DevicePosition, String)>,
}

impl Server {
    pub fn open() -> Server {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut config = PortConfig::new(vec![SocketConfig::new(loopback)]);
        config.huge_pages = false;
        let port = Port::open(&config).unwrap();
        Server {
            address: port.local_address(0),
            port,
            deaf_to_invites: 0,
            refuse_with: None,
            ends: true,
            copies_of_content: 1,
            invites: 0,
            acks: 0,
            byes: 0,
            ended: 0,
            last_token: String::new(),
            told: Vec::new(),
            registers: Vec::new(),
            last_2xx: Vec::new(),
            trains: BTreeMap::new(),
            prov_url_more: String::new(),
            device: None,
        }
    }

    /// Sessions that this server ended and the device agreed to.
    pub fn ended(&self) -> usize {
        self.ended
    }

    /// Sends SIRs to the identities with these numbers as one train.
    pub fn send_sirs(&mut self, edge: SocketAddr, numbers: Range<u64>) {
        let sent_by = self.address.to_string();
        let ppg_uri = format!("sip:ppg@{sent_by}{}", self.prov_url_more);
        let (device_position, device) = self.device.clone().unwrap_or_default();
        let spec = SirSpec {
            sent_by: &sent_by,
            from: "sip:ppg@ims.example",
            from_tag: "ppg1",
            ppg_uri: &ppg_uri,
            application: "push.sia",
            device_position,
            routed: false,
            expires_s: None,
            ask: "",
            activate: None,
            sealed: None,
        };
        let aor_len = "sip:+8613800000000@ims.example".len();
        let class = LengthClass::of(aor_len, device.len(), &spec).unwrap();
        let template = Template::compile(&spec, class).unwrap();
        let mut bytes = Vec::new();
        for n in numbers {
            let mut request = vec![0; template.len()];
            template.fill(&mut request);
            let hex: [u8; 32] = format!("{n:032x}").into_bytes().try_into().unwrap();
            let branch: [u8; 32] = format!("{:016x}{n:016x}", self.address.port())
                .into_bytes()
                .try_into()
                .unwrap();
            let user = format!("86138{n:08}");
            let slots = Slots {
                aor_prefix: b"sip:+",
                aor_user: user.as_bytes(),
                aor_suffix: b"@ims.example",
                device: device.as_bytes(),
                branch,
                token: hex,
            };
            template.patch(&mut request, &slots);
            bytes.extend(request);
        }
        self.send(edge, &bytes, template.len());
    }

    fn send(&mut self, target: SocketAddr, bytes: &[u8], segment: usize) {
        let slab = self.port.take_slab().unwrap();
        self.port.slab_mut(&slab)[..bytes.len()].copy_from_slice(bytes);
        self.port.send(
            slab,
            Train {
                socket: 0,
                target,
                source: None,
                length: bytes.len() as u32,
                segment: segment as u16,
                tag: 0,
            },
        );
        self.port.turn(Wait::No).unwrap();
        self.port.sent(|_| {});
    }

    pub fn repeat_last_2xx(&mut self, edge: SocketAddr) {
        let octets = self.last_2xx.clone();
        self.send(edge, &octets, octets.len());
    }

    /// Serves until `counted` is `wanted`.
    pub fn serve(&mut self, wanted: usize, counted: impl Fn(&Server) -> usize) {
        let started = Instant::now();
        while counted(self) < wanted {
            assert!(
                started.elapsed() < PATIENCE,
                "{} of {wanted}",
                counted(self)
            );
            self.turn();
        }
    }

    pub fn serve_for(&mut self, time: Duration) {
        let started = Instant::now();
        while started.elapsed() < time {
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.port
            .turn(Wait::Until(Duration::from_millis(5)))
            .unwrap();
        let mut arrivals = Vec::new();
        self.port.receive(usize::MAX, |received| {
            let each: Vec<Vec<u8>> = received.datagrams().map(<[u8]>::to_vec).collect();
            arrivals.push((received.peer, each));
        });
        for (peer, datagrams) in arrivals {
            self.note_train(&datagrams);
            let mut trains: [Vec<Vec<u8>>; 2] = [Vec::new(), Vec::new()];
            for datagram in &datagrams {
                for (kind, message) in self.react(datagram) {
                    trains[kind].push(message);
                }
            }
            for train in trains.iter().filter(|train| !train.is_empty()) {
                let longest = train.iter().map(Vec::len).max().unwrap();
                let padded: Vec<u8> = train
                    .iter()
                    .flat_map(|message| padded(message, longest))
                    .collect();
                self.send(peer, &padded, longest);
            }
        }
        self.port.sent(|_| {});
    }

    fn note_train(&mut self, datagrams: &[Vec<u8>]) {
        let message = Message::parse(&datagrams[0]).unwrap();
        let method = message.cseq().unwrap().method.name();
        let method = String::from_utf8_lossy(method).into_owned();
        let key = match message.status_code() {
            None => method,
            Some(status) if message.to_tag().is_some_and(|tag| tag.len() == 25) => {
                let inside = if method == "MESSAGE" {
                    " in dialog"
                } else {
                    ""
                };
                format!("{status} {method}{inside}")
            }
            Some(status) => format!("{status} {method} answer"),
        };
        self.trains.entry(key).or_default().push(datagrams.len());
    }

    /// What follows from one datagram; the number tells which messages travel together.
    fn react(&mut self, datagram: &[u8]) -> Vec<(usize, Vec<u8>)> {
        let message = Message::parse(datagram).unwrap();
        match message.method() {
            Some(Method::Invite) => self.invited(&message),
            Some(Method::Ack) => {
                self.acks += 1;
                if self.refuse_with.is_some() || self.acks > self.invites {
                    return Vec::new();
                }
                let content = request(&message, "MESSAGE", 1, CONTENT);
                vec![(0, content); self.copies_of_content]
            }
            Some(Method::Bye) => {
                self.byes += 1;
                vec![(0, response(&message, "200 OK", "", b""))]
            }
            Some(Method::Message) => {
                self.told
                    .push(String::from_utf8_lossy(message.body()).into_owned());
                vec![(0, response(&message, "200 OK", "tag2", b""))]
            }
            Some(Method::Register) => {
                let contact = message.header(HeaderName::Contact).unwrap();
                self.registers
                    .push(String::from_utf8_lossy(contact).into_owned());
                vec![(0, response(&message, "200 OK", "tag3", b""))]
            }
            _ => self.answered(&message),
        }
    }

    fn invited(&mut self, message: &Message<'_>) -> Vec<(usize, Vec<u8>)> {
        if self.deaf_to_invites > 0 {
            self.deaf_to_invites -= 1;
            return Vec::new();
        }
        self.invites += 1;
        let uri = String::from_utf8_lossy(message.request_uri().unwrap()).into_owned();
        self.last_token = uri.rsplit(";t=").next().unwrap().to_owned();
        let tag = format!("uas{:05}", self.invites);
        if let Some(status) = self.refuse_with {
            return vec![(0, response(message, status, &tag, b""))];
        }
        let sdp = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n";
        let contact = format!("Contact: <sip:ppg@{}>\r\n", self.address);
        let body = [
            contact.as_bytes(),
            b"Content-Type: application/sdp\r\n\n",
            sdp,
        ]
        .concat();
        self.last_2xx = response(message, "200 OK", &tag, &body);
        vec![(0, self.last_2xx.clone())]
    }

    fn answered(&mut self, message: &Message<'_>) -> Vec<(usize, Vec<u8>)> {
        let method = message.cseq().unwrap().method;
        let in_dialog = message.to_tag().is_some_and(|tag| tag.len() == 25);
        match method {
            Method::Message if in_dialog && self.ends => {
                if message.cseq().unwrap().number != 1 || self.copies_of_content > 1 {
                    self.copies_of_content -= 1;
                    return Vec::new();
                }
                self.copies_of_content = self.copies_of_content.max(1);
                vec![(1, request_of_response(message, "BYE", 2))]
            }
            Method::Bye => {
                self.ended += 1;
                Vec::new()
            }
            _ => Vec::new(),
        }
    }
}

fn text(octets: Option<&[u8]>) -> String {
    String::from_utf8_lossy(octets.unwrap()).into_owned()
}

/// A response; `more` holds fields, then behind an empty line the body.
fn response(request: &Message<'_>, status: &str, tag: &str, more: &[u8]) -> Vec<u8> {
    let more = String::from_utf8_lossy(more).into_owned();
    let (fields, body) = more.split_once("\r\n\n").map_or(("", ""), |(f, b)| (f, b));
    let to = text(request.to());
    let to = if to.contains(";tag=") || tag.is_empty() {
        to
    } else {
        format!("{to};tag={tag}")
    };
    let vias: Vec<String> = request
        .values(HeaderName::Via)
        .map(|via| format!("Via: {}\r\n", String::from_utf8_lossy(via)))
        .collect();
    let fields = if fields.is_empty() {
        String::new()
    } else {
        format!("{fields}\r\n")
    };
    format!(
        "SIP/2.0 {status}\r\n{}From: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n{fields}Server: test\r\nContent-Length: {}\r\n\r\n{body}",
        vias.concat(),
        text(request.from()),
        text(request.call_id()),
        text(request.header(HeaderName::CSeq)),
        body.len(),
    )
    .into_bytes()
}

/// A request inside the dialog that `ack` confirms.
fn request(ack: &Message<'_>, method: &str, cseq: u32, body: &[u8]) -> Vec<u8> {
    in_dialog((text(ack.to()), text(ack.from())), ack, method, cseq, body)
}

/// A request inside the dialog of a response to a request of ours.
fn request_of_response(response: &Message<'_>, method: &str, cseq: u32) -> Vec<u8> {
    in_dialog(
        (text(response.from()), text(response.to())),
        response,
        method,
        cseq,
        b"",
    )
}

fn in_dialog(
    (from, to): (String, String),
    message: &Message<'_>,
    method: &str,
    cseq: u32,
    body: &[u8],
) -> Vec<u8> {
    let call_id = text(message.call_id());
    let mut request = format!(
        "{method} sip:device@127.0.0.1 SIP/2.0\r\nMax-Forwards: 70\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKserver{method}{call_id}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nServer: test\r\n"
    );
    if !body.is_empty() {
        request += "Content-Type: text/plain\r\n";
    }
    request += &format!("Content-Length: {}\r\n\r\n", body.len());
    [request.as_bytes(), body].concat()
}

fn padded(message: &[u8], length: usize) -> Vec<u8> {
    let at = message
        .windows(8)
        .position(|eight| eight == b"Server: ")
        .unwrap()
        + 8;
    let spaces = vec![b' '; length - message.len()];
    [&message[..at], &spaces, &message[at..]].concat()
}
