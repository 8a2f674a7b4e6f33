//! One header line: its end, its name, where its value lies. The inner loop of the message parser.
//!
//! Offsets only; what the values mean is for `message.rs` and those who ask it.

use std::ops::Range;

use memchr::memchr2;

use super::header::HeaderName;
use super::message::ParseError;
use super::token::{is_token, is_white};

/// A header line at some offset of a datagram.
pub(super) struct Line {
    pub name: HeaderName,
    /// End of the name, from the start of the datagram.
    pub name_end: usize,
    /// The value without surrounding white space, from the start of the datagram.
    pub value: Range<usize>,
    /// Start of the next line.
    pub next: usize,
}

/// Returns the length of the line that `octets` starts with, its CRLF not counted.
///
/// A CR or LF alone is `fault`: other readers may take it for a line end.
#[inline]
pub(super) fn line_len(octets: &[u8], fault: ParseError) -> Result<usize, ParseError> {
    let len = memchr2(b'\r', b'\n', octets).ok_or(ParseError::Unterminated)?;
    if octets[len..].starts_with(b"\r\n") {
        Ok(len)
    } else {
        Err(fault)
    }
}

impl Line {
    /// Reads the header line at `at`; `None` is the empty line that ends the section.
    #[inline(always)]
    pub fn read(datagram: &[u8], at: usize) -> Result<Option<Line>, ParseError> {
        let rest = datagram.get(at..).ok_or(ParseError::Unterminated)?;
        if rest.starts_with(b"\r\n") {
            return Ok(None);
        }
        let mut end = line_len(rest, ParseError::HeaderLine)?;
        if let Some(b' ' | b'\t') = rest.get(end + 2) {
            end = folded_len(rest, end)?;
        }
        let next = at + end + 2;
        let colon = HeaderName::colon(&rest[..end]).ok_or(ParseError::HeaderLine)?;
        let mut name_end = colon;
        // RFC 3261 7.3.1: white space may stand before the colon.
        while name_end > 0 && matches!(rest[name_end - 1], b' ' | b'\t') {
            name_end -= 1;
        }
        let name = HeaderName::of_line(rest, name_end);
        if name == HeaderName::Other && !is_token(&rest[..name_end]) {
            return Err(ParseError::HeaderLine);
        }
        let mut start = colon + 1;
        while start < end && is_white(rest[start]) {
            start += 1;
        }
        while end > start && is_white(rest[end - 1]) {
            end -= 1;
        }
        Ok(Some(Line {
            name,
            name_end: at + name_end,
            value: at + start..at + end,
            next,
        }))
    }
}

/// Extends a line over the lines that continue it.
///
/// RFC 3261 7.3.1: a line that starts with white space continues the one before.
#[cold]
fn folded_len(octets: &[u8], first: usize) -> Result<usize, ParseError> {
    let mut end = first;
    while let Some(b' ' | b'\t') = octets.get(end + 2) {
        end += 2 + line_len(&octets[end + 2..], ParseError::HeaderLine)?;
    }
    Ok(end)
}
