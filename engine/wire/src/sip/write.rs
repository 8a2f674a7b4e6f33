//! Writes SIP requests and responses field by field into a caller's buffer.
//!
//! The plain, slow way: the load generator answers with it, and it is the oracle that the compiled
//! template (`template.rs`) must agree with, padding aside.

use super::header::HeaderName;
use super::message::{Message, StartLine};
use super::status::Status;
use super::template::{SirSpec, Slots, TemplateError};
use super::via::BRANCH_COOKIE;
use crate::writer::{Overflow, Writer};

/// Writes the response to `request` and returns its length.
///
/// RFC 3261 8.2.6.2: From, Call-ID, CSeq and every Via are copied, To gets `to_tag` unless it has
/// a tag or `to_tag` is empty. `extra` fields follow as given; the body is empty. Fails when `out`
/// is too small.
pub fn response(
    out: &mut [u8],
    request: &Message<'_>,
    status: Status,
    to_tag: &[u8],
    extra: &[(&[u8], &[u8])],
) -> Result<usize, Overflow> {
    let mut writer = Writer::new(out);
    writer.put(b"SIP/2.0 ")?;
    writer.put_decimal(u32::from(status.code))?;
    writer.put(b" ")?;
    writer.put(status.reason.as_bytes())?;
    writer.put(b"\r\n")?;
    if request.repeats(HeaderName::Via) {
        for via in request.values(HeaderName::Via) {
            field(&mut writer, b"Via: ", via)?;
        }
    } else {
        field(
            &mut writer,
            b"Via: ",
            request.header(HeaderName::Via).unwrap_or(b""),
        )?;
    }
    field(&mut writer, b"From: ", request.from().unwrap_or(b""))?;
    writer.put(b"To: ")?;
    writer.put(request.to().unwrap_or(b""))?;
    if !to_tag.is_empty() && request.to_tag().is_none() {
        writer.put(b";tag=")?;
        writer.put(to_tag)?;
    }
    field(
        &mut writer,
        b"\r\nCall-ID: ",
        request.call_id().unwrap_or(b""),
    )?;
    field(
        &mut writer,
        b"CSeq: ",
        request.header(HeaderName::CSeq).unwrap_or(b""),
    )?;
    for (name, value) in extra {
        writer.put(name)?;
        field(&mut writer, b": ", value)?;
    }
    writer.put(b"Content-Length: 0\r\n\r\n")?;
    Ok(writer.len())
}

fn field(writer: &mut Writer<'_>, name: &[u8], value: &[u8]) -> Result<(), Overflow> {
    writer.put(name)?;
    writer.put(value)?;
    writer.put(b"\r\n")
}

/// Writes a request: the start line and header fields as given, Content-Length, the body.
///
/// Fails when `out` is too small.
pub fn request(
    out: &mut [u8],
    line: StartLine<'_>,
    fields: &[(&[u8], &[u8])],
    body: &[u8],
) -> Result<usize, Overflow> {
    let mut writer = Writer::new(out);
    match line {
        StartLine::Request { method, uri } => {
            writer.put(method.name())?;
            writer.put(b" ")?;
            writer.put(uri)?;
            writer.put(b" SIP/2.0\r\n")?;
        }
        StartLine::Status { code, reason } => {
            writer.put(b"SIP/2.0 ")?;
            writer.put_decimal(u32::from(code))?;
            writer.put(b" ")?;
            field(&mut writer, b"", reason)?;
        }
    }
    for (name, value) in fields {
        writer.put(name)?;
        field(&mut writer, b": ", value)?;
    }
    writer.put(b"Content-Length: ")?;
    writer.put_decimal(u32::try_from(body.len()).map_err(|_| Overflow)?)?;
    writer.put(b"\r\n\r\n")?;
    writer.put(body)?;
    Ok(writer.len())
}

/// Writes the SIR that `slots` describe, without padding, and returns its length.
///
/// Fails as [`super::Template::compile`] does, and with `TooLong` when `out` is too small.
pub fn sir_request(
    out: &mut [u8],
    spec: &SirSpec<'_>,
    slots: &Slots<'_>,
) -> Result<usize, TemplateError> {
    use super::message::Method;
    let aor = [slots.aor_prefix, slots.aor_user, slots.aor_suffix].concat();
    let mut uri = aor.clone();
    if spec.routed && !slots.device.is_empty() {
        uri.extend_from_slice(b";gr=");
        uri.extend_from_slice(slots.device);
    }
    let via = [
        b"SIP/2.0/UDP ",
        spec.sent_by.as_bytes(),
        b";branch=",
        BRANCH_COOKIE,
        &slots.branch,
    ]
    .concat();
    let from = [
        b"<",
        spec.from.as_bytes(),
        b">;tag=",
        spec.from_tag.as_bytes(),
    ]
    .concat();
    let to = [b"<", &aor[..], b">"].concat();
    let accept = format!(
        "*;+g.oma.pusheventapp=\"{}\";require;explicit",
        spec.application
    );
    let application = format!("x-wap-application:{}", spec.application);
    let mut fields: Vec<(&[u8], &[u8])> = vec![
        (b"Max-Forwards", b"70"),
        (b"Via", &via),
        (b"From", &from),
        (b"To", &to),
        (b"Call-ID", &slots.branch),
        (b"CSeq", b"1 MESSAGE"),
        (b"Accept-Contact", accept.as_bytes()),
        (b"X-Wap-Application-Id", application.as_bytes()),
    ];
    let expires = spec.expires_s.map(|seconds| seconds.to_string());
    if let Some(seconds) = &expires {
        fields.push((b"Expires", seconds.as_bytes()));
    }
    fields.push((b"Content-Type", b"application/vnd.wap.sia"));
    let seal = spec.seal(&aor, slots.device, &slots.token);
    let body = spec.body(slots.device, &slots.token, &seal)?;
    let line = StartLine::Request {
        method: Method::Message,
        uri: &uri,
    };
    request(out, line, &fields, &body).map_err(|Overflow| TemplateError::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Method;

    #[test]
    fn a_response_copies_what_the_client_needs() {
        let text = b"MESSAGE sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP p;branch=z9hG4bK2\r\n\
            From: <sip:p@g>;tag=1\r\nv: SIP/2.0/UDP q;branch=z9hG4bK1\r\nTo: <sip:a@h>\r\n\
            Call-ID: c\r\nCSeq: 1 MESSAGE\r\n\r\n";
        let request = Message::parse(text).unwrap();
        let mut out = [0u8; 512];
        let status = Status::SERVICE_UNAVAILABLE;
        let extra: [(&[u8], &[u8]); 1] = [(b"Retry-After", b"5")];
        let len = response(&mut out, &request, status, b"t9", &extra).unwrap();
        let expected = "SIP/2.0 503 Service Unavailable\r\nVia: SIP/2.0/UDP p;branch=z9hG4bK2\r\n\
            Via: SIP/2.0/UDP q;branch=z9hG4bK1\r\nFrom: <sip:p@g>;tag=1\r\n\
            To: <sip:a@h>;tag=t9\r\nCall-ID: c\r\nCSeq: 1 MESSAGE\r\nRetry-After: 5\r\n\
            Content-Length: 0\r\n\r\n";
        assert_eq!(std::str::from_utf8(&out[..len]).unwrap(), expected);
        for short in 0..len {
            assert_eq!(
                response(&mut out[..short], &request, status, b"t9", &extra),
                Err(Overflow)
            );
        }
    }

    #[test]
    fn a_to_tag_stays() {
        let text = b"BYE sip:a@h SIP/2.0\r\nTo: <sip:a@h>;tag=old\r\n\r\n";
        let request = Message::parse(text).unwrap();
        let mut out = [0u8; 256];
        let len = response(&mut out, &request, Status::OK, b"new", &[]).unwrap();
        assert_eq!(
            Message::parse(&out[..len]).unwrap().to_tag(),
            Some(&b"old"[..])
        );
    }

    #[test]
    fn a_request_reads_back() {
        let line = StartLine::Request {
            method: Method::Other(b"PING"),
            uri: b"sip:a@h",
        };
        let mut out = [0u8; 128];
        let len = request(&mut out, line, &[(b"Call-ID", b"c")], b"xyz").unwrap();
        let message = Message::parse(&out[..len]).unwrap();
        assert_eq!(message.start_line(), line);
        assert_eq!(
            (message.call_id(), message.body()),
            (Some(&b"c"[..]), &b"xyz"[..])
        );
    }
}
