//! Messages that are like earlier ones but for their names: recognised by comparison, not parsed again.
//!
//! Only ACKs and responses are learnt, each after the parser accepted it and it found its session; what is recognised
//! has to find its own in the same way. A population whose messages all differ does not pay for learning. Decision
//! 0005 (docs/decisions/0005-known-shapes.md) says why comparison is not a second parser.

use sirocco_wire::sip::mould::Moulds;
use sirocco_wire::sip::{Message, Method};

/// Moulds kept: three for each of 16 edges, whose addresses stand in their messages.
const KEPT_MAX: usize = 64;
/// Messages that are parsed, with all moulds taken, before they are learnt afresh.
const UNFAMILIAR_MAX: u32 = 4_096;

/// What was recognised.
#[derive(Clone, Copy, Debug)]
pub enum Familiar<'d> {
    /// An ACK: Call-ID, From, To and the number of CSeq.
    Ack {
        /// Call-ID.
        call_id: &'d [u8],
        /// From.
        from: &'d [u8],
        /// To.
        to: &'d [u8],
        /// The number of CSeq.
        number: u32,
    },
    /// A response to MESSAGE (or else BYE).
    Response {
        /// The branch.
        branch: &'d [u8],
        /// The number of CSeq.
        number: u32,
        /// The status code.
        status: u16,
        /// Whether the method of CSeq is MESSAGE.
        is_content: bool,
    },
}

/// The moulds of a worker's sessions.
#[derive(Default)]
pub struct Familiars {
    moulds: Moulds,
    unfamiliar: u32,
}

impl Familiars {
    /// Recognises a datagram.
    #[inline]
    pub fn recognise<'d>(&mut self, datagram: &'d [u8]) -> Option<Familiar<'d>> {
        let cast = self.moulds.fit(datagram)?;
        Some(match cast.mould().status() {
            Some(status) => Familiar::Response {
                branch: cast.branch(),
                number: cast.cseq_number(),
                status,
                is_content: cast.mould().cseq_method() == Method::Message,
            },
            None => Familiar::Ack {
                call_id: cast.call_id(),
                from: cast.from(),
                to: cast.to(),
                number: cast.cseq_number(),
            },
        })
    }

    /// Learns an ACK or a final response that had to be parsed, if there is room.
    #[cold]
    pub fn learn(&mut self, message: &Message<'_>) {
        if self.moulds.len() >= KEPT_MAX {
            self.unfamiliar += 1;
            if self.unfamiliar < UNFAMILIAR_MAX {
                return;
            }
            self.moulds = Moulds::default();
        }
        self.unfamiliar = 0;
        self.moulds.learn(message);
    }
}
