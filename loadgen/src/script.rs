//! The literal parts of a class's answers, compiled once: status line, Retry-After, Server, end.
//!
//! An answer is `head`, the fields copied from the request, `middle`, padding, [`END`]. The padding is
//! white space behind the colon of Server, which RFC 3261 25.1 (HCOLON) allows there; it brings
//! answers of different statuses to one length, so that they ride in one train.
//! Called by `population`; what the fields of the request are is `mould`'s and the wire crate's matter.

use sirocco_wire::sip::{HeaderName, Message, Status};

use crate::mix::{Behaviour, Mix};

/// The value of the Server header in every answer.
pub(crate) const SERVER: &[u8] = b"sirocco-loadgen";
/// What every answer ends with, [`SERVER`] first; the padding stands before it.
pub(crate) const END: &[u8] = b" sirocco-loadgen\r\nContent-Length: 0\r\n\r\n";
/// Characters of a To tag; 8 hex digits hold the 32 bits RFC 3261 19.3 asks for.
pub(crate) const TAG_BYTES: usize = 8;

/// One class, ready to be written.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// What the class does.
    pub(crate) behaviour: Behaviour,
    /// The status of its answers; of a garbage answer the one it pretends to have.
    pub(crate) status: Status,
    /// One more header field: Retry-After, Allow, Accept or Unsupported.
    pub(crate) field: Option<(&'static [u8], Vec<u8>)>,
    /// The status line with its line end.
    pub(crate) head: Vec<u8>,
    /// That field and the name of Server, up to the padding.
    pub(crate) middle: Vec<u8>,
}

impl Script {
    /// Compiles one behaviour.
    pub(crate) fn compile(behaviour: Behaviour) -> Script {
        let status = Status::of(behaviour.status().unwrap_or(200));
        let field = match behaviour {
            Behaviour::Answer {
                retry_after_s: Some(seconds),
                ..
            } => Some((&b"Retry-After"[..], seconds.to_string().into_bytes())),
            _ => None,
        };
        Script::assemble(behaviour, status, field)
    }

    /// Compiles a refusal with this status.
    pub(crate) fn refusal(code: u16) -> Script {
        let behaviour = Behaviour::Answer {
            status: code,
            retry_after_s: None,
        };
        let field: Option<(&'static [u8], Vec<u8>)> = match code {
            // RFC 3261 21.4.6: a 405 response lists the methods that are allowed.
            405 => Some((b"Allow", b"MESSAGE".to_vec())),
            // RFC 3261 8.2.3: a 415 response lists the bodies that are understood.
            415 => Some((b"Accept", b"application/vnd.wap.sia".to_vec())),
            _ => None,
        };
        Script::assemble(behaviour, Status::of(code), field)
    }

    /// Compiles the refusal of a request for what it requires (RFC 3261 8.2.2.3): none is supported.
    pub(crate) fn unsupported(message: &Message<'_>) -> Script {
        let values: Vec<&[u8]> = message.values(HeaderName::Require).collect();
        let mut tags = values.join(&b", "[..]);
        // A folded value becomes one line.
        for octet in &mut tags {
            if matches!(octet, b'\r' | b'\n') {
                *octet = b' ';
            }
        }
        let behaviour = Behaviour::Answer {
            status: 420,
            retry_after_s: None,
        };
        Script::assemble(behaviour, Status::of(420), Some((b"Unsupported", tags)))
    }

    fn assemble(
        behaviour: Behaviour,
        status: Status,
        field: Option<(&'static [u8], Vec<u8>)>,
    ) -> Script {
        let head = format!("SIP/2.0 {} {}\r\n", status.code, status.reason).into_bytes();
        let mut middle = Vec::new();
        if let Some((name, value)) = &field {
            middle.extend_from_slice(&[name, &b": "[..], value, b"\r\n"].concat());
        }
        middle.extend_from_slice(b"Server:");
        Script {
            behaviour,
            status,
            field,
            head,
            middle,
        }
    }

    /// Compiles every class and override of a mix, in the order of their class index.
    pub(crate) fn compile_all(mix: &Mix) -> Vec<Script> {
        mix.named_behaviours()
            .map(|(_, behaviour)| Script::compile(behaviour))
            .collect()
    }

    /// Returns the octets of an answer that do not depend on the request.
    pub(crate) fn literal_bytes(&self) -> usize {
        self.head.len() + self.middle.len() + END.len()
    }
}

/// Makes the status code of a written answer unreadable: letters O for digits, the length unchanged.
pub(crate) fn garble(answer: &mut [u8]) {
    if let Some(digits) = answer.get_mut(9..11) {
        digits.copy_from_slice(b"OO");
    }
}

/// Writes the To tag of the device with this hash.
#[inline]
pub(crate) fn tag(device_hash: u64) -> [u8; TAG_BYTES] {
    let mut spread = 0u64;
    for nibble in 0..TAG_BYTES as u64 {
        spread |= ((device_hash >> (4 * nibble)) & 0xf) << (8 * nibble);
    }
    // Digits above 9 become letters: '0' is 0x30, 'a' is 0x61, so 10 needs 0x27 more.
    let above_nine = ((spread + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (spread + 0x3030_3030_3030_3030 + above_nine * 0x27).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_eight_hex_digits_of_the_hash() {
        assert_eq!(&tag(0x0123_4567_89ab_cdef), b"fedcba98");
        assert_eq!(&tag(0), b"00000000");
        assert_eq!(&tag(u64::MAX), b"ffffffff");
    }

    #[test]
    fn a_script_has_the_status_line_and_the_fields_of_its_class() {
        let behaviour = Behaviour::Answer {
            status: 503,
            retry_after_s: Some(7),
        };
        let script = Script::compile(behaviour);
        assert_eq!(script.head, b"SIP/2.0 503 Service Unavailable\r\n");
        assert_eq!(script.middle, b"Retry-After: 7\r\nServer:");
        let mut garbage = Script::compile(Behaviour::Garbage).head;
        garble(&mut garbage);
        assert_eq!(garbage, b"SIP/2.0 2OO OK\r\n");
        assert!(
            Script::refusal(405)
                .middle
                .starts_with(b"Allow: MESSAGE\r\n")
        );
    }
}
