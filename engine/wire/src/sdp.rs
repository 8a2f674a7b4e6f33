//! Session descriptions (SDP, RFC 8866) of offers and answers with at most one MSRP stream
//! (RFC 4975 8): a borrowed reader that passes over what it does not know, and writers.
//!
//! A received description may have any lines and streams: the first usable `m=message` is noted, the
//! others are answered with port 0 (RFC 3264 6). No codecs, no bandwidth, no encryption, no re-offer
//! logic: the session decides, this only reads and writes. Written descriptions have one length for
//! one set of field widths, as trains want it. docs/decisions/0011-sdp.md says why not a crate.

use memchr::memchr;

use crate::sip::token::{decimal, trim};
use crate::writer::{Overflow, Writer};

/// Most lines of a description: four times what a call with a dozen streams has.
pub const LINES_MAX: usize = 512;

/// Most streams of a description that is answered; every one of them costs a line of the answer.
pub const STREAMS_MAX: usize = 16;

/// Content type of a description.
pub const CONTENT_TYPE: &str = "application/sdp";

/// RFC 4145 4.1: the port of a stream whose sender opens the connection itself.
pub const PORT_DISCARD: u16 = 9;

const SESSION_ID_DIGITS: usize = 20;

/// Why octets are no session description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SdpError {
    /// It does not begin with `v=0`.
    #[error("the description does not begin with v=0; refuse it")]
    Version,
    /// `o=` is missing or has not its six fields.
    #[error("the description has no sound o= line; refuse it")]
    Origin,
    /// A line is not a letter, `=` and a value, or `m=` has not its fields.
    #[error("a line of the description is malformed; refuse it")]
    Line,
    /// More than [`LINES_MAX`] lines or [`STREAMS_MAX`] streams.
    #[error("more than {LINES_MAX} lines or {STREAMS_MAX} streams; refuse the description")]
    TooLong,
}

/// Who of a stream's two sides sends (RFC 8866 6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(missing_docs, reason = "each variant is the attribute of that name")]
pub enum Direction {
    #[default]
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    const ALL: [(Direction, &'static str); 4] = [
        (Direction::SendRecv, "sendrecv"),
        (Direction::SendOnly, "sendonly"),
        (Direction::RecvOnly, "recvonly"),
        (Direction::Inactive, "inactive"),
    ];

    fn of(attribute: &[u8]) -> Option<Direction> {
        let named = Self::ALL
            .iter()
            .find(|(_, name)| name.as_bytes() == attribute);
        named.map(|(direction, _)| *direction)
    }

    fn name(self) -> &'static str {
        let named = Self::ALL.iter().find(|(direction, _)| *direction == self);
        named.map_or("", |(_, name)| name)
    }

    /// Tells whether the side that wrote it sends.
    #[must_use]
    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Tells whether the side that wrote it receives.
    #[must_use]
    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// Returns what may be answered to this offer by a side that would send, receive, or both.
    ///
    /// RFC 3264 6.1: the answer sends only where the offer receives, and receives only where it sends.
    #[must_use]
    pub fn answer(self, send: bool, receive: bool) -> Direction {
        match (send && self.receives(), receive && self.sends()) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }
}

/// Who opens the connection (RFC 4145 4, RFC 6135 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setup {
    /// The side that wrote it.
    Active,
    /// The other side.
    Passive,
    /// Either: the answer decides.
    Actpass,
}

impl Setup {
    const ALL: [(Setup, &'static str); 3] = [
        (Setup::Active, "active"),
        (Setup::Passive, "passive"),
        (Setup::Actpass, "actpass"),
    ];

    /// RFC 6135 4.2.1: `holdconn` is read as if the attribute were missing.
    fn of(value: &[u8]) -> Option<Setup> {
        let named = Self::ALL.iter().find(|(_, name)| name.as_bytes() == value);
        named.map(|(setup, _)| *setup)
    }

    fn name(self) -> &'static str {
        let named = Self::ALL.iter().find(|(setup, _)| *setup == self);
        named.map_or("", |(_, name)| name)
    }

    /// Returns what is answered to an offer: `preferred`, active or passive, where the offer leaves it
    /// open.
    ///
    /// RFC 4975 8.1: an offerer that says nothing opens the connection itself.
    #[must_use]
    pub fn answer(offered: Option<Setup>, preferred: Setup) -> Setup {
        match (offered, preferred) {
            (Some(Setup::Passive), _) | (Some(Setup::Actpass), Setup::Active) => Setup::Active,
            _ => Setup::Passive,
        }
    }
}

/// One `m=` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream<'a> {
    /// The kind of media, such as `message`.
    pub media: &'a [u8],
    /// The port; 0 refuses or ends the stream.
    pub port: u16,
    /// The transport, such as `TCP/MSRP`.
    pub protocol: &'a [u8],
    /// The formats, `*` for MSRP.
    pub formats: &'a [u8],
}

impl<'a> Stream<'a> {
    fn of(value: &'a [u8]) -> Option<Stream<'a>> {
        let (media, rest) = split_word(value)?;
        let (port, rest) = split_word(rest)?;
        let (protocol, formats) = split_word(rest)?;
        // RFC 8866 5.14: a number of ports may follow a slash.
        let port = &port[..memchr(b'/', port).unwrap_or(port.len())];
        let port = u16::try_from(decimal(port)?).ok()?;
        (!formats.is_empty()).then_some(Stream {
            media,
            port,
            protocol,
            formats,
        })
    }

    fn is_msrp(&self) -> bool {
        self.media == b"message"
            && self.port != 0
            && self.protocol.eq_ignore_ascii_case(b"TCP/MSRP")
    }
}

/// An MSRP stream that somebody offers or answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageStream<'a> {
    /// The MSRP URIs of `a=path`, the last one the peer's own.
    pub path: &'a [u8],
    /// The content types of `a=accept-types`, empty when missing.
    pub accept_types: &'a [u8],
    /// Who opens the connection, as far as it says.
    pub setup: Option<Setup>,
    /// Who sends.
    pub direction: Direction,
    /// The port of the `m=` line.
    pub port: u16,
}

/// A borrowed view of a session description.
#[derive(Debug, Clone, Copy)]
pub struct Description<'a> {
    text: &'a [u8],
    /// The session id of `o=`.
    pub session_id: &'a [u8],
    /// The version of `o=`, which a changed description increments.
    pub version: &'a [u8],
    /// The address of `o=`.
    pub origin: &'a [u8],
    /// The value of the first `t=`, which an answer repeats (RFC 3264 6).
    pub time: &'a [u8],
    /// The first MSRP stream that can be used: over TCP, with a port and a path.
    pub message: Option<MessageStream<'a>>,
    /// Octets of the longest message that it takes (RFC 4975 8.6); `None`: it does not say.
    pub message_bytes_max: Option<u32>,
    /// Which stream that is.
    message_index: usize,
    /// The number of streams.
    pub stream_count: usize,
}

/// What is gathered of the stream whose lines are being read.
#[derive(Clone, Copy, Default)]
struct Gathered<'a> {
    port: Option<u16>,
    path: &'a [u8],
    accept_types: &'a [u8],
    setup: Option<Setup>,
    direction: Option<Direction>,
    bytes_max: Option<u32>,
}

impl<'a> Gathered<'a> {
    fn note(&mut self, attribute: &'a [u8]) {
        let colon = memchr(b':', attribute).unwrap_or(attribute.len());
        let value = attribute.get(colon + 1..).unwrap_or_default();
        match &attribute[..colon] {
            b"path" => self.path = trim(value),
            b"accept-types" => self.accept_types = trim(value),
            b"setup" => self.setup = Setup::of(trim(value)),
            b"max-size" => self.bytes_max = decimal(trim(value)),
            name => self.direction = Direction::of(name).or(self.direction),
        }
    }

    fn stream(&self) -> Option<MessageStream<'a>> {
        let port = self.port.filter(|_| !self.path.is_empty())?;
        Some(MessageStream {
            path: self.path,
            accept_types: self.accept_types,
            setup: self.setup,
            direction: self.direction.unwrap_or_default(),
            port,
        })
    }
}

impl<'a> Description<'a> {
    /// Reads a description; lines end in CRLF or in LF alone (RFC 8866 5).
    ///
    /// Fails where an answer could not be made of it.
    pub fn parse(text: &'a [u8]) -> Result<Description<'a>, SdpError> {
        let mut description = Description {
            text,
            session_id: &[],
            version: &[],
            origin: &[],
            time: b"0 0",
            message: None,
            message_bytes_max: None,
            message_index: 0,
            stream_count: 0,
        };
        let mut session = Gathered::default();
        let mut current = Gathered::default();
        let mut has_time = false;
        for (number, line) in Lines::of(text).enumerate() {
            let (letter, value) = line.ok_or(SdpError::Line)?;
            if number == LINES_MAX {
                return Err(SdpError::TooLong);
            }
            match (number, letter) {
                (0, b'v') if value == b"0" => {}
                (0, _) => return Err(SdpError::Version),
                (1, b'o') => description.note_origin(value).ok_or(SdpError::Origin)?,
                (1, _) => return Err(SdpError::Origin),
                (_, b't') if !has_time => {
                    description.time = value;
                    has_time = true;
                }
                (_, b'a') if description.stream_count == 0 => session.note(value),
                (_, b'a') => current.note(value),
                (_, b'm') => {
                    description.close(&current);
                    current = description.open(value, &session)?;
                }
                _ => {}
            }
        }
        if description.origin.is_empty() {
            return Err(SdpError::Version);
        }
        description.close(&current);
        Ok(description)
    }

    fn note_origin(&mut self, value: &'a [u8]) -> Option<()> {
        let (_, rest) = split_word(value)?;
        let (session_id, rest) = split_word(rest)?;
        let (version, rest) = split_word(rest)?;
        let (_, rest) = split_word(rest)?;
        let (_, address) = split_word(rest)?;
        let is_number = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
        if !is_number(session_id) || !is_number(version) || address.is_empty() {
            return None;
        }
        (self.session_id, self.version, self.origin) = (session_id, version, address);
        Some(())
    }

    /// Begins a stream, with what the session level says where it says nothing itself.
    fn open(&mut self, value: &'a [u8], session: &Gathered<'a>) -> Result<Gathered<'a>, SdpError> {
        let stream = Stream::of(value).ok_or(SdpError::Line)?;
        if self.stream_count == STREAMS_MAX {
            return Err(SdpError::TooLong);
        }
        self.stream_count += 1;
        Ok(Gathered {
            port: stream.is_msrp().then_some(stream.port),
            setup: session.setup,
            direction: session.direction,
            ..Gathered::default()
        })
    }

    /// Ends a stream: the first that can be used is kept.
    fn close(&mut self, gathered: &Gathered<'a>) {
        if self.message.is_some() || self.stream_count == 0 {
            return;
        }
        self.message = gathered.stream();
        self.message_bytes_max = gathered.bytes_max;
        self.message_index = self.stream_count - 1;
    }

    /// Iterates over the streams in order.
    pub fn streams(&self) -> impl Iterator<Item = Stream<'a>> + use<'a> {
        Lines::of(self.text)
            .flatten()
            .filter(|(letter, _)| *letter == b'm')
            .filter_map(|(_, value)| Stream::of(value))
    }
}

/// Splits a description into letters and values; `None` is a malformed line.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    fn of(text: &'a [u8]) -> Self {
        Lines { rest: text }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Option<(u8, &'a [u8])>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // An empty last line is what text editors and some senders append.
        if line.is_empty() && self.rest.is_empty() {
            return None;
        }
        Some(match line {
            [letter, b'=', value @ ..] if memchr(b'\r', value).is_none() => Some((*letter, value)),
            _ => None,
        })
    }
}

/// Splits at the first space; `None` when there is none or nothing before it.
#[inline]
fn split_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr(b' ', text).filter(|&end| end > 0)?;
    Some((&text[..end], &text[end + 1..]))
}

/// Tells whether a list of `a=accept-types` takes `content_type`; parameters do not count.
///
/// RFC 4975 8.6: `*` stands for all types, `type/*` for all of one type.
#[must_use]
pub fn accepts(accept_types: &[u8], content_type: &[u8]) -> bool {
    let name = |text| trim(memchr(b';', text).map_or(text, |end| &text[..end]));
    let wanted = name(content_type);
    accept_types
        .split(|octet| *octet == b' ')
        .map(name)
        .filter(|entry| !entry.is_empty())
        .any(|entry| match entry.strip_suffix(b"*") {
            Some([]) => true,
            Some(kind) if kind.ends_with(b"/") => wanted
                .get(..kind.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(kind)),
            _ => entry.eq_ignore_ascii_case(wanted),
        })
}

/// What an offer or answer says of its sender.
#[derive(Debug, Clone, Copy)]
pub struct Local<'a> {
    /// Connection data, such as `IN IP4 192.0.2.1` ([`connection_data`]).
    pub connection: &'a str,
    /// Names the description; written with 20 digits.
    pub session_id: u64,
    /// Incremented with every change of the description.
    pub version: u32,
    /// The MSRP stream, none for a session without streams.
    pub message: Option<MessageStream<'a>>,
}

/// Returns the connection data of an address (RFC 8866 5.7), made once at start.
#[must_use]
pub fn connection_data(address: std::net::IpAddr) -> String {
    let kind = if address.is_ipv4() { "IP4" } else { "IP6" };
    format!("IN {kind} {address}")
}

/// Writes an offer with the stream of `local`, or without any (RFC 3264 5), and returns its length.
///
/// Fails when `out` is too small.
pub fn offer(out: &mut [u8], local: &Local<'_>) -> Result<usize, Overflow> {
    let mut writer = Writer::new(out);
    put_session(&mut writer, local, b"0 0")?;
    if let Some(stream) = &local.message {
        put_stream(&mut writer, stream)?;
    }
    Ok(writer.len())
}

/// Writes the answer to `offer` and returns its length: the stream of `local` in the place of the
/// offer's MSRP stream, every other stream with port 0.
///
/// RFC 3264 6: an answer has the streams of the offer in their order, and its `t=`. Without a stream
/// in `local` everything is refused. Fails when `out` is too small.
pub fn answer(
    out: &mut [u8],
    offer: &Description<'_>,
    local: &Local<'_>,
) -> Result<usize, Overflow> {
    let mut writer = Writer::new(out);
    put_session(&mut writer, local, offer.time)?;
    if offer.stream_count == 0 {
        return Ok(writer.len());
    }
    for (index, stream) in offer.streams().enumerate() {
        let ours = offer.message.is_some() && index == offer.message_index;
        match local.message.as_ref().filter(|_| ours) {
            Some(message) => put_stream(&mut writer, message)?,
            None => put_refused(&mut writer, &stream)?,
        }
    }
    Ok(writer.len())
}

fn put_session(writer: &mut Writer<'_>, local: &Local<'_>, time: &[u8]) -> Result<(), Overflow> {
    writer.put(b"v=0\r\no=- ")?;
    writer.put(&fixed_digits(local.session_id))?;
    writer.put(b" ")?;
    writer.put_decimal(local.version)?;
    writer.put(b" ")?;
    writer.put(local.connection.as_bytes())?;
    writer.put(b"\r\ns=-\r\nc=")?;
    writer.put(local.connection.as_bytes())?;
    writer.put(b"\r\nt=")?;
    writer.put(time)?;
    writer.put(b"\r\n")
}

fn put_stream(writer: &mut Writer<'_>, stream: &MessageStream<'_>) -> Result<(), Overflow> {
    writer.put(b"m=message ")?;
    writer.put_decimal(u32::from(stream.port))?;
    writer.put(b" TCP/MSRP *\r\na=path:")?;
    writer.put(stream.path)?;
    writer.put(b"\r\na=accept-types:")?;
    writer.put(stream.accept_types)?;
    if let Some(setup) = stream.setup {
        writer.put(b"\r\na=setup:")?;
        writer.put(setup.name().as_bytes())?;
    }
    writer.put(b"\r\na=")?;
    writer.put(stream.direction.name().as_bytes())?;
    writer.put(b"\r\n")
}

fn put_refused(writer: &mut Writer<'_>, stream: &Stream<'_>) -> Result<(), Overflow> {
    writer.put(b"m=")?;
    writer.put(stream.media)?;
    writer.put(b" 0 ")?;
    writer.put(stream.protocol)?;
    writer.put(b" ")?;
    writer.put(stream.formats)?;
    writer.put(b"\r\n")
}

/// Writes a number with all the digits that its kind can have.
fn fixed_digits(mut value: u64) -> [u8; SESSION_ID_DIGITS] {
    let mut digits = [b'0'; SESSION_ID_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit += (value % 10) as u8;
        value /= 10;
    }
    digits
}

#[cfg(test)]
mod tests;
