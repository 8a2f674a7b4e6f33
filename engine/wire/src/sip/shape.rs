//! Known shapes: a response that repeats an earlier one but for its branch, To and Call-ID is
//! recognised by comparison, without another parse.
//!
//! The answers to one template differ in those three values only, so the parser need not walk the same
//! header section a million times a second. A shape claims nothing of its own: it is learnt from a
//! parsed [`Message`], and a datagram that matches has the same lines in the same places, hence the
//! same status, the same top Via but for the branch, and the same CSeq. Whatever does not match goes to
//! the parser. Used by the engine's answer path.

use super::message::Message;

/// Longest response that is learnt, in octets.
pub const SHAPE_BYTES_MAX: usize = 1024;
/// Values that may differ: branch, To, Call-ID.
const VARIABLES: usize = 3;

/// The octets that all responses of one shape share, and where they differ.
#[derive(Debug, Clone)]
pub struct ResponseShape {
    reference: Box<[u8]>,
    /// Where the variable values lie, in ascending order.
    variables: [(u16, u16); VARIABLES],
    branch: (u16, u16),
    status: u16,
}

impl ResponseShape {
    /// Learns the shape of a parsed response.
    ///
    /// `None` where it is a request, has no or several Via, lacks a branch, To or Call-ID, or is longer
    /// than [`SHAPE_BYTES_MAX`].
    #[must_use]
    pub fn learn(message: &Message<'_>) -> Option<ResponseShape> {
        let datagram = message.datagram();
        if datagram.len() > SHAPE_BYTES_MAX || message.has_several_vias() {
            return None;
        }
        let branch = span_in(datagram, message.top_via()?.branch?)?;
        let to = span_in(datagram, message.to()?)?;
        let call_id = span_in(datagram, message.call_id()?)?;
        let mut variables = [branch, to, call_id];
        variables.sort_unstable();
        let apart = variables.windows(2).all(|pair| pair[0].1 <= pair[1].0);
        let status = message.status_code().filter(|_| apart)?;
        Some(ResponseShape {
            reference: datagram.into(),
            variables,
            branch,
            status,
        })
    }

    /// The status code that all responses of this shape have.
    #[inline]
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the branch of a datagram of this shape; `None` where it has another one.
    ///
    /// The branch may hold any octets but CR and LF: whether it is a branch is for the caller to tell.
    #[inline]
    #[must_use]
    pub fn branch_of<'d>(&self, datagram: &'d [u8]) -> Option<&'d [u8]> {
        if datagram.len() != self.reference.len() {
            return None;
        }
        let mut at = 0;
        let mut broken = false;
        for (start, end) in self.variables {
            let (start, end) = (usize::from(start), usize::from(end));
            if datagram.get(at..start)? != self.reference.get(at..start)? {
                return None;
            }
            // Without line breaks in what differs, the lines are those of the reference.
            broken |= memchr::memchr2(b'\r', b'\n', datagram.get(start..end)?).is_some();
            at = end;
        }
        let alike = !broken && datagram.get(at..)? == self.reference.get(at..)?;
        let (start, end) = self.branch;
        datagram
            .get(usize::from(start)..usize::from(end))
            .filter(|_| alike)
    }
}

/// Where `part`, a piece of `whole`, lies in it.
fn span_in(whole: &[u8], part: &[u8]) -> Option<(u16, u16)> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let end = start + part.len();
    if end > whole.len() {
        return None;
    }
    Some((u16::try_from(start).ok()?, u16::try_from(end).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RESPONSE: &[u8] = b"SIP/2.0 200 OK\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK00000000000000010123456789abcdef\r\n\
        From: <sip:ppg@ims.example>;tag=1\r\n\
        To: <sip:+8613800001111@ims.example>;tag=0a0b0c0d\r\n\
        Call-ID: 00000000000000010123456789abcdef\r\n\
        CSeq: 1 MESSAGE\r\nServer: edge   \r\nContent-Length: 0\r\n\r\n";

    fn shape() -> ResponseShape {
        ResponseShape::learn(&Message::parse(RESPONSE).expect("SIP")).expect("a plain response")
    }

    /// Status, branch, CSeq number and method, and whether Via repeats.
    type Answer = (u16, Vec<u8>, u32, Vec<u8>, bool);

    /// What the engine reads of a response.
    fn read(datagram: &[u8]) -> Option<Answer> {
        let message = Message::parse(datagram).ok()?;
        let cseq = message.cseq()?;
        Some((
            message.status_code()?,
            message.top_via()?.branch?.to_vec(),
            cseq.number,
            cseq.method.name().to_vec(),
            message.has_several_vias(),
        ))
    }

    #[test]
    fn a_response_with_another_branch_is_of_the_same_shape() {
        let text = String::from_utf8(RESPONSE.to_vec()).expect("text");
        let other = text
            .replace("0000000000000001", "00000000000000ff")
            .replace("1111@", "9999@");
        let branch = shape()
            .branch_of(other.as_bytes())
            .expect("the same shape")
            .to_vec();
        assert_eq!(branch, b"z9hG4bK00000000000000ff0123456789abcdef");
        assert_eq!(shape().status(), 200);
    }

    #[test]
    fn what_has_another_status_length_or_line_is_not_of_the_shape() {
        let text = String::from_utf8(RESPONSE.to_vec()).expect("text");
        for other in [
            text.replace("200 OK", "486 OK"),
            text.replace("1 MESSAGE", "1 OPTIONS"),
            text.replace("edge   ", "edge    "),
            text.replace("+8613800001111@ims", "\r\nVia: SIP/2.0/U"),
        ] {
            assert_eq!(shape().branch_of(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn requests_and_forked_paths_are_not_learnt() {
        let request =
            b"MESSAGE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nTo: <sip:a@b>\r\n\
            Call-ID: 1\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n";
        assert!(ResponseShape::learn(&Message::parse(request).expect("SIP")).is_none());
        let text = String::from_utf8(RESPONSE.to_vec()).expect("text");
        let forked = text.replace("\r\nFrom", "\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom");
        assert!(ResponseShape::learn(&Message::parse(forked.as_bytes()).expect("SIP")).is_none());
        let listed = text.replace("\r\nFrom", ", SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom");
        assert!(ResponseShape::learn(&Message::parse(listed.as_bytes()).expect("SIP")).is_none());
        let quoted = text.replace("\r\nFrom", ";x=\"a,b\"\r\nFrom");
        assert!(ResponseShape::learn(&Message::parse(quoted.as_bytes()).expect("SIP")).is_some());
    }

    proptest! {
        #[test]
        fn whatever_matches_reads_alike_through_the_parser(
            changes in proptest::collection::vec((0..RESPONSE.len(), any::<u8>()), 0..4),
        ) {
            let mut datagram = RESPONSE.to_vec();
            for (at, octet) in changes {
                datagram[at] = octet;
            }
            if let Some(branch) = shape().branch_of(&datagram) {
                let found = read(&datagram);
                // A changed octet may end the branch early, which the caller's own check refuses.
                let whole = branch.iter().all(u8::is_ascii_alphanumeric);
                if whole {
                    let (status, parsed, number, method, forked) = found.expect("it parses");
                    prop_assert_eq!((status, number, forked), (200, 1, false));
                    prop_assert_eq!((parsed.as_slice(), method.as_slice()), (branch, b"MESSAGE".as_slice()));
                }
            }
        }
    }
}
