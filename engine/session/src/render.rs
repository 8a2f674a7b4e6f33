//! Writes what the sessions send: responses (RFC 3261 8.2.6) and requests inside a dialog (RFC 3261 12.2.1.1).
//!
//! Every message is padded to a multiple of [`PAD`] octets with white space behind `Content-Length:`, where RFC 3261
//! 25.1 allows it, so that messages of one kind to one edge have one length and ride as segments of one send. A
//! message that does not fit is not written: the length is 0.

use crate::asked::{Asked, Way};
use crate::names::BRANCH_BYTES;
use memchr::memchr;
use sirocco_wire::sip::token::{Params, find_unquoted};
use sirocco_wire::sip::via::Via;
use sirocco_wire::sip::{HeaderName, Status};
use sirocco_wire::writer::{Overflow, Writer};
use std::io::Write as _;
use std::net::SocketAddr;

/// Lengths of messages are multiples of it: a few classes take in what differs between devices.
pub const PAD: usize = 16;

/// What a response says beside what it copies.
pub struct Response<'a> {
    /// The status.
    pub status: Status,
    /// Our tag of To, where the request has none.
    pub tag: &'a [u8],
    /// Whole further header lines.
    pub lines: &'a [u8],
    /// Whether Record-Route is copied (RFC 3261 12.1.1).
    pub routes: bool,
    /// The body; `lines` name its type.
    pub body: &'a [u8],
}

impl Response<'_> {
    /// Writes the response to a request and returns its length, 0 when it does not fit.
    #[inline]
    pub fn write(&self, out: &mut [u8], asked: &Asked<'_>) -> usize {
        let mut writer = Writer::new(out);
        match self.put(&mut writer, asked) {
            Ok(()) => writer.len(),
            Err(Overflow) => 0,
        }
    }

    #[inline]
    fn put(&self, writer: &mut Writer<'_>, asked: &Asked<'_>) -> Result<(), Overflow> {
        if self.status.code == 200 {
            writer.put(b"SIP/2.0 200 OK\r\n")?;
        } else {
            writer.put(b"SIP/2.0 ")?;
            writer.put_decimal(u32::from(self.status.code))?;
            writer.put(b" ")?;
            writer.put(self.status.reason.as_bytes())?;
            writer.put(b"\r\n")?;
        }
        put_vias(writer, asked)?;
        if self.routes && asked.message.header(HeaderName::RecordRoute).is_some() {
            for value in asked.message.values(HeaderName::RecordRoute) {
                put_field(writer, b"Record-Route: ", value)?;
            }
        }
        put_field(writer, b"From: ", asked.from)?;
        writer.put(b"To: ")?;
        writer.put(asked.to)?;
        if asked.to_tag.is_none() && !self.tag.is_empty() {
            writer.put(b";tag=")?;
            writer.put(self.tag)?;
        }
        put_field(writer, b"\r\nCall-ID: ", asked.call_id)?;
        let cseq = asked.message.header(HeaderName::CSeq).unwrap_or(b"");
        put_field(writer, b"CSeq: ", cseq)?;
        writer.put(self.lines)?;
        put_end(writer, self.body)
    }
}

/// A request inside a dialog.
pub struct Request<'a> {
    /// `MESSAGE` or `BYE`.
    pub method: &'a [u8],
    /// The Request-URI in two parts.
    pub target: [&'a [u8]; 2],
    /// What follows the Request-URI, up to the Via's `branch=`.
    pub via: &'a [u8],
    /// The branch.
    pub branch: &'a [u8; BRANCH_BYTES],
    /// The value of Route; empty: none.
    pub routes: &'a [u8],
    /// The URI of a last route, in two parts, where the top route is a strict router.
    pub last_route: [&'a [u8]; 2],
    /// From but for the tag.
    pub local: &'a [u8],
    /// The tag of From.
    pub tag: &'a [u8],
    /// To.
    pub remote: &'a [u8],
    /// Call-ID.
    pub call_id: &'a [u8],
    /// The number of CSeq.
    pub cseq: u32,
    /// The value of Content-Type; empty: no body.
    pub content_type: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

impl Request<'_> {
    /// Writes the request and returns its length, 0 when it does not fit.
    #[inline]
    pub fn write(&self, out: &mut [u8]) -> usize {
        let mut writer = Writer::new(out);
        match self.put(&mut writer) {
            Ok(()) => writer.len(),
            Err(Overflow) => 0,
        }
    }

    #[inline]
    fn put(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        writer.put(self.method)?;
        writer.put(b" ")?;
        writer.put(self.target[0])?;
        writer.put(self.target[1])?;
        writer.put(self.via)?;
        writer.put(self.branch)?;
        writer.put(b"\r\nMax-Forwards: 70\r\n")?;
        if !self.routes.is_empty() || !self.last_route[1].is_empty() {
            self.put_route(writer)?;
        }
        writer.put(b"From: ")?;
        writer.put(self.local)?;
        writer.put(b";tag=")?;
        writer.put(self.tag)?;
        put_field(writer, b"\r\nTo: ", self.remote)?;
        put_field(writer, b"Call-ID: ", self.call_id)?;
        writer.put(b"CSeq: ")?;
        writer.put_decimal(self.cseq)?;
        writer.put(b" ")?;
        put_field(writer, self.method, b"")?;
        if !self.content_type.is_empty() {
            put_field(writer, b"Content-Type: ", self.content_type)?;
        }
        put_end(writer, self.body)
    }

    #[cold]
    fn put_route(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        writer.put(b"Route: ")?;
        writer.put(self.routes)?;
        if !self.last_route[1].is_empty() {
            let lead: &[u8] = if self.routes.is_empty() { b"<" } else { b", <" };
            writer.put(lead)?;
            writer.put(self.last_route[0])?;
            writer.put(self.last_route[1])?;
            writer.put(b">")?;
        }
        writer.put(b"\r\n")
    }
}

#[inline]
fn put_field(writer: &mut Writer<'_>, name: &[u8], value: &[u8]) -> Result<(), Overflow> {
    writer.put(name)?;
    writer.put(value)?;
    writer.put(b"\r\n")
}

/// Content-Length with its padding, the empty line and the body.
#[inline]
fn put_end(writer: &mut Writer<'_>, body: &[u8]) -> Result<(), Overflow> {
    const SPACES: [u8; PAD] = [b' '; PAD];
    writer.put(b"Content-Length:")?;
    let digits = body.len().checked_ilog10().unwrap_or(0) as usize + 1;
    let length = writer.len() + digits + 4 + body.len();
    writer.put(&SPACES[..PAD - length % PAD])?;
    writer.put_decimal(u32::try_from(body.len()).map_err(|_| Overflow)?)?;
    writer.put(b"\r\n\r\n")?;
    writer.put(body)
}

/// RFC 3261 8.2.6.2: all Via values in their order, the first with what its receiver knows.
#[inline]
fn put_vias(writer: &mut Writer<'_>, asked: &Asked<'_>) -> Result<(), Overflow> {
    let first = asked.message.header(HeaderName::Via).unwrap_or(b"");
    writer.put(b"Via: ")?;
    if asked.way.received {
        put_received(writer, first, &asked.via, &asked.way)?;
    } else {
        writer.put(first)?;
    }
    writer.put(b"\r\n")?;
    if asked.message.repeats(HeaderName::Via) {
        for value in asked.message.values(HeaderName::Via).skip(1) {
            put_field(writer, b"Via: ", value)?;
        }
    }
    Ok(())
}

/// The first Via value with `received`, and the port that a bare `rport` asks for (RFC 3581 4).
#[cold]
fn put_received(
    writer: &mut Writer<'_>,
    first: &[u8],
    via: &Via<'_>,
    way: &Way,
) -> Result<(), Overflow> {
    let end = find_unquoted(first, b',', b',');
    let (value, others) = first.split_at(end);
    let params = memchr(b';', value).unwrap_or(value.len());
    writer.put(&value[..params])?;
    for param in Params::new(&value[params..]) {
        // A sender that writes received itself does not know better.
        if param.name.eq_ignore_ascii_case(b"received") || param.name.eq_ignore_ascii_case(b"rport")
        {
            continue;
        }
        writer.put(b";")?;
        writer.put(param.name)?;
        if let Some(value) = param.value {
            writer.put(b"=")?;
            writer.put(value)?;
        }
    }
    if via.params.find(b"rport").is_some() {
        writer.put(b";rport=")?;
        writer.put_decimal(u32::from(way.peer.port()))?;
    }
    writer.put(b";received=")?;
    put_address(writer, way.peer)?;
    writer.put(others)
}

fn put_address(writer: &mut Writer<'_>, peer: SocketAddr) -> Result<(), Overflow> {
    let mut text = [0; 64];
    let mut rest = &mut text[..];
    // RFC 3261 25.1: via-received takes an IPv6 address without brackets.
    write!(rest, "{}", peer.ip().to_canonical()).map_err(|_| Overflow)?;
    let left = rest.len();
    writer.put(&text[..64 - left])
}
