//! A request from which an answer is written: one that fitted a mould, or one that was parsed.
//!
//! Both write the same octets (RFC 3261 8.2.6): the status line, the Via list in order, From, To with a
//! tag, Call-ID and CSeq as they came, Server, Content-Length: 0, and no Contact (RFC 3428 7). The
//! response goes back to where the datagram came from, so `received` and `rport` are not filled in.
//! Called by `population`.

use memchr::memchr;
use sirocco_wire::sip::{HeaderName, Message, write};

use crate::mix::Behaviour;
use crate::mould::{Cast, Moulds};
use crate::script::{END, SERVER, Script, TAG_BYTES, garble};

/// An accepted request.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// Known by its shape.
    Cast {
        moulds: &'a Moulds,
        cast: Cast,
        datagram: &'a [u8],
    },
    /// Parsed.
    Parsed(&'a Message<'a>),
}

impl Source<'_> {
    /// Returns the most octets that an answer copies from the request, the To tag included.
    #[inline]
    pub(crate) fn copied_bytes_max(&self) -> usize {
        match *self {
            Source::Cast { moulds, cast, .. } => moulds.copied_bytes_max(cast.mould),
            Source::Parsed(message) => copied_bytes_max(message),
        }
    }

    /// Returns the Request-URI.
    #[inline]
    pub(crate) fn request_uri(&self) -> &[u8] {
        match *self {
            Source::Cast {
                moulds,
                cast,
                datagram,
            } => moulds.keys(cast, datagram).0,
            Source::Parsed(message) => message.request_uri().unwrap_or(b""),
        }
    }

    /// Returns the URI of To, the user's identity.
    #[inline]
    pub(crate) fn aor(&self) -> &[u8] {
        let Source::Parsed(message) = *self else {
            // A cast's To is its Request-URI without the device.
            let uri = self.request_uri();
            return &uri[..memchr(b';', uri).unwrap_or(uri.len())];
        };
        let to = message.to().unwrap_or(b"");
        match memchr(b'<', to) {
            Some(at) => {
                let uri = &to[at + 1..];
                &uri[..memchr(b'>', uri).unwrap_or(uri.len())]
            }
            None => to[..memchr(b';', to).unwrap_or(to.len())].trim_ascii(),
        }
    }

    /// Returns the body.
    #[inline]
    pub(crate) fn body(&self) -> &[u8] {
        match *self {
            Source::Cast {
                moulds,
                cast,
                datagram,
            } => moulds.body(cast, datagram),
            Source::Parsed(message) => message.body(),
        }
    }

    /// Writes the answer, padded to exactly the length of `out`; false when it does not fit.
    #[inline]
    pub(crate) fn write(&self, script: &Script, tag: [u8; TAG_BYTES], out: &mut [u8]) -> bool {
        let branch_last = match *self {
            Source::Cast {
                moulds,
                cast,
                datagram,
            } => moulds.write(cast, datagram, script, tag, out),
            Source::Parsed(message) => write_parsed(message, script, tag, out),
        };
        let Some(branch_last) = branch_last else {
            return false;
        };
        match script.behaviour {
            Behaviour::Garbage => garble(out),
            Behaviour::Forged { .. } => {
                out[branch_last] = if out[branch_last] == b'0' { b'1' } else { b'0' };
            }
            _ => {}
        }
        true
    }
}

fn copied_bytes_max(message: &Message<'_>) -> usize {
    let length = |value: Option<&[u8]>, name: &str| name.len() + value.unwrap_or(b"").len() + 2;
    let vias: usize = message
        .values(HeaderName::Via)
        .map(|via| "Via: ".len() + via.len() + 2)
        .sum();
    vias.max("Via: ".len() + 2)
        + length(message.from(), "From: ")
        + length(message.to(), "To: ")
        + ";tag=".len()
        + TAG_BYTES
        + length(message.call_id(), "Call-ID: ")
        + length(message.header(HeaderName::CSeq), "CSeq: ")
}

/// Writes by the wire crate's writer, then moves the end to make room for the padding.
fn write_parsed(
    message: &Message<'_>,
    script: &Script,
    tag: [u8; TAG_BYTES],
    out: &mut [u8],
) -> Option<usize> {
    let server: (&[u8], &[u8]) = (b"Server", SERVER);
    let (field, count) = match &script.field {
        Some((name, value)) => ((*name, value.as_slice()), 2),
        None => (server, 1),
    };
    let extra = &[field, server][2 - count..];
    let length = write::response(out, message, script.status, &tag, extra).ok()?;
    let end_start = length - END.len();
    let padding = out.len() - length;
    out.copy_within(end_start..length, end_start + padding);
    out[end_start..end_start + padding].fill(b' ');
    let via = message.header(HeaderName::Via)?;
    // Without a branch (RFC 2543) the last octet of the Via stands for it.
    let branch = message.top_via().and_then(|via| via.branch).unwrap_or(via);
    let branch_end = branch.as_ptr_range().end as usize - via.as_ptr() as usize;
    Some(script.head.len() + b"Via: ".len() + branch_end - 1)
}
