//! Writers of MSRP: chunks of SEND, responses, REPORT.
//!
//! They write what they are given: transaction identifiers and Message-IDs are the caller's, and so is
//! the check that a body is free of its end-line ([`super::frame::is_free_of_end_line`]).

use super::frame::DASHES;
use super::message::{ByteRange, Continuation, FailureReport, Message, Method, Start};
use crate::writer::{Overflow, Writer};

/// One chunk to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// The transaction identifier, 4 to 32 octets.
    pub transaction: &'a [u8],
    /// The peer's path, as its description gave it.
    pub to_path: &'a [u8],
    /// Our URI.
    pub from_path: &'a [u8],
    /// Names the message that this is a chunk of.
    pub message_id: &'a [u8],
    /// Which octets of the message these are.
    pub byte_range: ByteRange,
    /// Whether a report of success is wanted.
    pub success_report: bool,
    /// Which failures are to be told.
    pub failure_report: FailureReport,
    /// Content type of the message; empty where there is no body.
    pub content_type: &'a [u8],
    /// The octets of the chunk.
    pub octets: &'a [u8],
    /// Whether more chunks follow.
    pub continuation: Continuation,
}

/// Writes a SEND request and returns its length.
///
/// Fails when `out` is too small.
pub fn send(out: &mut [u8], chunk: &Chunk<'_>) -> Result<usize, Overflow> {
    let mut writer = Writer::new(out);
    put_head(
        &mut writer,
        chunk.transaction,
        b"SEND",
        chunk.to_path,
        chunk.from_path,
    )?;
    put_field(&mut writer, b"Message-ID: ", chunk.message_id)?;
    put_range(&mut writer, chunk.byte_range)?;
    if chunk.success_report {
        writer.put(b"Success-Report: yes\r\n")?;
    }
    match chunk.failure_report {
        FailureReport::Yes => {}
        FailureReport::Partial => writer.put(b"Failure-Report: partial\r\n")?,
        FailureReport::No => writer.put(b"Failure-Report: no\r\n")?,
    }
    // RFC 4975 7.1: a SEND without content, as one that binds a session, has neither a Content-Type nor
    // a body, and its end-line follows the header fields.
    if !chunk.content_type.is_empty() {
        put_field(&mut writer, b"Content-Type: ", chunk.content_type)?;
        writer.put(b"\r\n")?;
        writer.put(chunk.octets)?;
        writer.put(b"\r\n")?;
    }
    put_end(&mut writer, chunk.transaction, chunk.continuation)
}

/// Writes the response to `request` and returns its length; `own_uri` names us in the session.
///
/// RFC 4975 7.2: a response to SEND goes to the previous hop, another one the whole way back. Fails
/// when `out` is too small.
pub fn response(
    out: &mut [u8],
    request: &Message<'_>,
    own_uri: &[u8],
    code: u16,
    comment: &[u8],
) -> Result<usize, Overflow> {
    let to_path = match request.start {
        Start::Request(Method::Send) => request.previous_hop(),
        _ => request.from_path,
    };
    let mut digits = [0u8; 3];
    let mut rest = code;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let mut writer = Writer::new(out);
    writer.put(b"MSRP ")?;
    writer.put(request.transaction)?;
    writer.put(b" ")?;
    writer.put(&digits)?;
    if !comment.is_empty() {
        writer.put(b" ")?;
        writer.put(comment)?;
    }
    put_field(&mut writer, b"\r\nTo-Path: ", to_path)?;
    put_field(&mut writer, b"From-Path: ", own_uri)?;
    put_end(&mut writer, request.transaction, Continuation::Last)
}

/// A report on a received message.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The transaction identifier of the report.
    pub transaction: &'a [u8],
    /// The From-Path of the SEND.
    pub to_path: &'a [u8],
    /// Our URI.
    pub from_path: &'a [u8],
    /// The Message-ID of the SEND.
    pub message_id: &'a [u8],
    /// Which octets the report is on.
    pub byte_range: ByteRange,
    /// What became of them: 200, or the code of a failure.
    pub code: u16,
    /// A comment, possibly empty.
    pub comment: &'a [u8],
}

/// Writes a REPORT request and returns its length.
///
/// Fails when `out` is too small.
pub fn report(out: &mut [u8], report: &Report<'_>) -> Result<usize, Overflow> {
    let mut writer = Writer::new(out);
    put_head(
        &mut writer,
        report.transaction,
        b"REPORT",
        report.to_path,
        report.from_path,
    )?;
    put_field(&mut writer, b"Message-ID: ", report.message_id)?;
    put_range(&mut writer, report.byte_range)?;
    writer.put(b"Status: 000 ")?;
    writer.put_decimal(u32::from(report.code))?;
    if !report.comment.is_empty() {
        writer.put(b" ")?;
    }
    put_field(&mut writer, b"", report.comment)?;
    put_end(&mut writer, report.transaction, Continuation::Last)
}

fn put_head(
    writer: &mut Writer<'_>,
    transaction: &[u8],
    method: &[u8],
    to_path: &[u8],
    from_path: &[u8],
) -> Result<(), Overflow> {
    writer.put(b"MSRP ")?;
    writer.put(transaction)?;
    writer.put(b" ")?;
    writer.put(method)?;
    put_field(writer, b"\r\nTo-Path: ", to_path)?;
    put_field(writer, b"From-Path: ", from_path)
}

fn put_field(writer: &mut Writer<'_>, name: &[u8], value: &[u8]) -> Result<(), Overflow> {
    writer.put(name)?;
    writer.put(value)?;
    writer.put(b"\r\n")
}

fn put_range(writer: &mut Writer<'_>, range: ByteRange) -> Result<(), Overflow> {
    let put_open = |writer: &mut Writer<'_>, number: Option<u32>| match number {
        Some(number) => writer.put_decimal(number),
        None => writer.put(b"*"),
    };
    writer.put(b"Byte-Range: ")?;
    writer.put_decimal(range.start)?;
    writer.put(b"-")?;
    put_open(writer, range.end)?;
    writer.put(b"/")?;
    put_open(writer, range.total)?;
    writer.put(b"\r\n")
}

fn put_end(
    writer: &mut Writer<'_>,
    transaction: &[u8],
    continuation: Continuation,
) -> Result<usize, Overflow> {
    writer.put(DASHES)?;
    writer.put(transaction)?;
    writer.put_octet(continuation.flag())?;
    writer.put(b"\r\n")?;
    Ok(writer.len())
}
