//! One MSRP message as a borrowed view: start line, the header fields that a session reads, body.
//!
//! It is made by [`super::Framer`], which finds where the message ends. Faults that leave the framing
//! intact (a missing path, an unreadable Byte-Range) only mark the message: it is answered 400.

use memchr::memchr;

use super::frame::{DASHES, HEAD_BYTES_MAX, HEADERS_MAX, StreamFault};
use crate::sip::token::{decimal, trim};

/// Longest transaction identifier (RFC 4975 9: one octet and 3 to 31 more).
pub const TRANSACTION_BYTES_MAX: usize = 32;

const TRANSACTION_BYTES_MIN: usize = 4;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method<'a> {
    /// Carries a message or a chunk of one.
    Send,
    /// Tells what became of a message.
    Report,
    /// Anything else; answered 501.
    Other(&'a [u8]),
}

/// The first line of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start<'a> {
    /// A request.
    Request(Method<'a>),
    /// A response.
    Response {
        /// The status code, 0 to 999.
        code: u16,
        /// The comment, possibly empty.
        comment: &'a [u8],
    },
}

/// Whether more chunks of the message follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Continuation {
    /// `$`: this is the last octet of the message.
    Last,
    /// `+`: chunks follow.
    More,
    /// `#`: the sender gives the message up.
    Aborted,
}

impl Continuation {
    /// Reads a flag.
    #[must_use]
    pub fn of(flag: u8) -> Option<Continuation> {
        match flag {
            b'$' => Some(Continuation::Last),
            b'+' => Some(Continuation::More),
            b'#' => Some(Continuation::Aborted),
            _ => None,
        }
    }

    /// Returns the flag.
    #[must_use]
    pub fn flag(self) -> u8 {
        match self {
            Continuation::Last => b'$',
            Continuation::More => b'+',
            Continuation::Aborted => b'#',
        }
    }
}

/// Which failures of a SEND are to be told (RFC 4975 7.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FailureReport {
    /// Every request is answered.
    #[default]
    Yes,
    /// Only failures are answered.
    Partial,
    /// Nothing is answered.
    No,
}

/// Which octets of a message a chunk has, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// The first octet.
    pub start: u32,
    /// The last octet; `None` when the sender leaves it open. One less than the start for no octets.
    pub end: Option<u32>,
    /// The octets of the whole message, as far as its sender knows.
    pub total: Option<u32>,
}

impl ByteRange {
    /// Reads `start-end/total`; `None` when malformed, above `u32`, or against the order of numbers.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<ByteRange> {
        let dash = memchr(b'-', text)?;
        let slash = memchr(b'/', text).filter(|&slash| slash > dash)?;
        let open = |text: &[u8]| match text {
            b"*" => Some(None),
            digits => decimal(digits).map(Some),
        };
        let range = ByteRange {
            start: decimal(&text[..dash])?,
            end: open(&text[dash + 1..slash])?,
            total: open(&text[slash + 1..])?,
        };
        let ordered = range.start >= 1
            && range.end.is_none_or(|end| end >= range.start - 1)
            && range
                .total
                .is_none_or(|total| total >= range.end.unwrap_or(0) && total >= range.start - 1);
        ordered.then_some(range)
    }
}

/// A borrowed view of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Method or status.
    pub start: Start<'a>,
    /// The transaction identifier.
    pub transaction: &'a [u8],
    /// The URIs of To-Path.
    pub to_path: &'a [u8],
    /// The URIs of From-Path.
    pub from_path: &'a [u8],
    /// Message-ID, empty when missing.
    pub message_id: &'a [u8],
    /// Byte-Range, `None` when missing or malformed.
    pub byte_range: Option<ByteRange>,
    /// Whether the sender wants a report of success.
    pub success_report: bool,
    /// Which failures the sender wants to hear of.
    pub failure_report: FailureReport,
    /// The code of Status in namespace 000.
    pub status: Option<u16>,
    /// Content-Type, empty when missing.
    pub content_type: &'a [u8],
    /// The octets carried; `None` without a body.
    pub body: Option<&'a [u8]>,
    /// The flag of the end-line.
    pub continuation: Continuation,
    /// Whether a header field that the message must have is missing or malformed: answer 400.
    pub is_faulty: bool,
}

impl<'a> Message<'a> {
    pub(super) fn of(
        head: Head<'a>,
        body: Option<&'a [u8]>,
        continuation: Continuation,
    ) -> Message<'a> {
        let mut message = Message {
            start: head.start,
            transaction: head.transaction,
            to_path: &[],
            from_path: &[],
            message_id: &[],
            byte_range: None,
            success_report: false,
            failure_report: FailureReport::Yes,
            status: None,
            content_type: &[],
            body,
            continuation,
            is_faulty: false,
        };
        for (name, value) in fields(head.fields) {
            message.note(name, value);
        }
        let has_paths = !message.to_path.is_empty() && !message.from_path.is_empty();
        let named = match head.start {
            Start::Request(Method::Send | Method::Report) => !message.message_id.is_empty(),
            _ => true,
        };
        let typed = message
            .body
            .is_none_or(|body| body.is_empty() || !message.content_type.is_empty());
        message.is_faulty |= !has_paths || !named || !typed;
        message
    }

    fn note(&mut self, name: &[u8], value: &'a [u8]) {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            7 if is(b"To-Path") => self.to_path = value,
            9 if is(b"From-Path") => self.from_path = value,
            10 if is(b"Message-ID") => self.message_id = value,
            10 if is(b"Byte-Range") => {
                self.byte_range = ByteRange::parse(value);
                self.is_faulty |= self.byte_range.is_none();
            }
            14 if is(b"Success-Report") => self.success_report = value == b"yes",
            14 if is(b"Failure-Report") => {
                self.failure_report = match value {
                    b"no" => FailureReport::No,
                    b"partial" => FailureReport::Partial,
                    _ => FailureReport::Yes,
                };
            }
            6 if is(b"Status") => {
                let code = value.strip_prefix(b"000 ").and_then(|rest| rest.get(..3));
                self.status = code.and_then(decimal).map(|code| code as u16);
            }
            12 if is(b"Content-Type") => self.content_type = value,
            _ => {}
        }
    }

    /// Returns the URI that a session knows itself by: the last one of To-Path.
    #[must_use]
    pub fn to_uri(&self) -> &'a [u8] {
        let start = memchr::memrchr(b' ', self.to_path).map_or(0, |space| space + 1);
        &self.to_path[start..]
    }

    /// Returns the URI that the message came from last: the first one of From-Path.
    #[must_use]
    pub fn previous_hop(&self) -> &'a [u8] {
        let end = memchr(b' ', self.from_path).unwrap_or(self.from_path.len());
        &self.from_path[..end]
    }

    /// Tells whether the message is a whole one, not a chunk among others (RFC 4975 7.3.1).
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.continuation == Continuation::Last
            && self.byte_range.is_none_or(|range| range.start == 1)
    }

    /// Tells whether the request is to be answered with `code`.
    ///
    /// RFC 4975 7.1.2, 7.1.4: REPORT is never answered, SEND as its Failure-Report says.
    #[must_use]
    pub fn wants_response(&self, code: u16) -> bool {
        match (self.start, self.failure_report) {
            (Start::Request(Method::Report) | Start::Response { .. }, _)
            | (_, FailureReport::No) => false,
            (_, FailureReport::Partial) => code != 200,
            (_, FailureReport::Yes) => true,
        }
    }
}

/// Start line and header section, as far as framing needs them.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub start: Start<'a>,
    pub transaction: &'a [u8],
    /// The header lines, each with its CRLF.
    pub fields: &'a [u8],
    /// Where the body begins, `None` for a message without one.
    pub body_start: Option<usize>,
    /// The end of a message without body, and its flag.
    pub end: usize,
    pub continuation: Continuation,
}

impl<'a> Head<'a> {
    /// Reads the head that `octets` begin with; `None` when it has not ended yet.
    pub fn read(octets: &'a [u8]) -> Result<Option<Head<'a>>, StreamFault> {
        let shown = &octets[..octets.len().min(HEAD_BYTES_MAX)];
        let prefix = &b"MSRP "[..shown.len().min(5)];
        if !shown.starts_with(prefix) {
            return Err(StreamFault::StartLine);
        }
        let unfinished = |lines: usize| {
            if shown.len() == HEAD_BYTES_MAX || lines > HEADERS_MAX {
                Err(StreamFault::HeadTooLong)
            } else {
                Ok(None)
            }
        };
        let Some(line) = line_at(shown, 0).ok_or(StreamFault::StartLine)? else {
            return unfinished(0);
        };
        let (transaction, start) = start_line(&line[5..]).ok_or(StreamFault::StartLine)?;
        let first = line.len() + 2;
        let mut at = first;
        for lines in 0..=HEADERS_MAX {
            let Some(line) = line_at(shown, at).ok_or(StreamFault::HeaderLine)? else {
                return unfinished(lines);
            };
            let next = at + line.len() + 2;
            let mut head = Head {
                start,
                transaction,
                fields: &shown[first..at],
                body_start: None,
                end: next,
                continuation: Continuation::Last,
            };
            if line.is_empty() {
                head.body_start = Some(next);
                return Ok(Some(head));
            }
            if let Some(flag) = end_line_flag(line, transaction) {
                head.continuation = flag;
                return Ok(Some(head));
            }
            if memchr(b':', line).is_none() {
                return Err(StreamFault::HeaderLine);
            }
            at = next;
        }
        Err(StreamFault::HeadTooLong)
    }

    /// Returns how many octets more than `have` the message has at least, by its Byte-Range.
    pub fn octets_wanted(&self, have: usize) -> usize {
        let range = fields(self.fields)
            .find(|(name, _)| name.eq_ignore_ascii_case(b"Byte-Range"))
            .and_then(|(_, value)| ByteRange::parse(value));
        let Some((range, start)) = range.zip(self.body_start) else {
            return 1;
        };
        let body = range.end.map_or(0, |end| (end + 1 - range.start) as usize);
        let whole = start + body + 2 + DASHES.len() + self.transaction.len() + 3;
        whole.saturating_sub(have).max(1)
    }
}

/// Iterates over header lines that [`Head::read`] accepted.
fn fields(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let line = line_at(lines, at)??;
        at += line.len() + 2;
        let colon = memchr(b':', line)?;
        Some((trim(&line[..colon]), trim(&line[colon + 1..])))
    })
}

/// Returns the line at `at` without its CRLF: `Some(None)` when it has not ended, `None` when a CR or
/// LF stands alone in it.
#[inline]
fn line_at(octets: &[u8], at: usize) -> Option<Option<&[u8]>> {
    let rest = octets.get(at..)?;
    match memchr::memchr2(b'\r', b'\n', rest) {
        None => Some(None),
        Some(end) => match &rest[end..] {
            [b'\r'] => Some(None),
            [b'\r', b'\n', ..] => Some(Some(&rest[..end])),
            _ => None,
        },
    }
}

/// Reads what follows `MSRP `.
fn start_line(rest: &[u8]) -> Option<(&[u8], Start<'_>)> {
    let space = memchr(b' ', rest)?;
    let (transaction, word) = (&rest[..space], &rest[space + 1..]);
    let is_ident = |octet: &u8| octet.is_ascii_alphanumeric() || b".-+%=".contains(octet);
    let fits = (TRANSACTION_BYTES_MIN..=TRANSACTION_BYTES_MAX).contains(&transaction.len());
    if !fits || !transaction[0].is_ascii_alphanumeric() || !transaction.iter().all(is_ident) {
        return None;
    }
    let start = match word {
        b"SEND" => Start::Request(Method::Send),
        b"REPORT" => Start::Request(Method::Report),
        [a, b, c, comment @ ..] if [a, b, c].iter().all(|digit| digit.is_ascii_digit()) => {
            let code = decimal(&word[..3])? as u16;
            let comment = match comment {
                [] => comment,
                [b' ', comment @ ..] => comment,
                _ => return None,
            };
            Start::Response { code, comment }
        }
        method if !method.is_empty() && method.iter().all(u8::is_ascii_uppercase) => {
            Start::Request(Method::Other(method))
        }
        _ => return None,
    };
    Some((transaction, start))
}

fn end_line_flag(line: &[u8], transaction: &[u8]) -> Option<Continuation> {
    match line.strip_prefix(DASHES)?.strip_prefix(transaction)? {
        [flag] => Continuation::of(*flag),
        _ => None,
    }
}
