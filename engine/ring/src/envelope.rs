//! What goes around a payload on its way out: message header, vector, target address and control
//! messages, one slot for each operation that may be in flight, in one mapping that never moves.
//! A slot is the kernel's from submission to completion: the header is copied at submission, but
//! the control messages are read again when a send that found the socket full is tried once more
//! (Linux 6.18, io_uring/net.c keeps `msg_control`). Called by the backends.

use std::net::{IpAddr, SocketAddr};

use crate::address::{NAME_BYTES, encode, write_control};
use crate::config::OpenError;
use crate::memory::Mapping;

/// Octets of control messages: UDP_SEGMENT (24) and the longer source address (40).
const CONTROL_BYTES: usize = 64;

#[repr(C, align(64))]
struct Envelope {
    header: libc::msghdr,
    vector: libc::iovec,
    control: Control,
    name: [u8; NAME_BYTES],
}

#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// Where a payload goes and how it is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Direction {
    pub(crate) target: SocketAddr,
    pub(crate) source: Option<IpAddr>,
    /// Octets of each segment; 0 for a single datagram.
    pub(crate) segment: u16,
}

/// The slots of one port.
#[derive(Debug)]
pub(crate) struct Envelopes {
    memory: Mapping,
    count: usize,
}

impl Envelopes {
    pub(crate) fn new(count: usize) -> Result<Envelopes, OpenError> {
        let bytes = count * size_of::<Envelope>();
        // Base pages: only the slots in use are ever touched.
        let memory = Mapping::new(bytes, false).map_err(|source| OpenError::Memory {
            what: "envelopes",
            bytes,
            source,
        })?;
        Ok(Envelopes { memory, count })
    }

    /// Fills slot `slot` and returns the message header for the kernel, valid while the port lives.
    #[inline]
    pub(crate) fn fill(
        &mut self,
        slot: usize,
        direction: &Direction,
        payload: *mut u8,
        length: usize,
    ) -> *const libc::msghdr {
        assert!(slot < self.count, "envelope beyond the mapping");
        let first = self.memory.as_ptr().cast::<Envelope>();
        let address = first.wrapping_add(slot);
        // SAFETY: in bounds (asserted), aligned (the mapping begins on a page), all zeroes is a valid
        // Envelope, and the slot is ours: no operation uses it (ownership table, row Envelope).
        let envelope = unsafe { &mut *address };
        let control = write_control(&mut envelope.control.0, direction.segment, direction.source);
        envelope.vector.iov_base = payload.cast();
        envelope.vector.iov_len = length;
        let header = &mut envelope.header;
        header.msg_namelen = encode(direction.target, &mut envelope.name);
        header.msg_name = envelope.name.as_mut_ptr().cast();
        header.msg_iov = &raw mut envelope.vector;
        header.msg_iovlen = 1;
        header.msg_controllen = control as _;
        header.msg_control = envelope.control.0.as_mut_ptr().cast();
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_three_cache_lines_and_its_control_is_aligned() {
        assert_eq!(size_of::<Envelope>(), 192);
        assert_eq!(std::mem::offset_of!(Envelope, control) % 8, 0);
    }

    #[test]
    #[should_panic(expected = "envelope beyond the mapping")]
    fn a_slot_beyond_the_last_is_refused() {
        let mut envelopes = Envelopes::new(2).unwrap();
        let target = SocketAddr::from(([127, 0, 0, 1], 9));
        let direction = Direction {
            target,
            source: None,
            segment: 0,
        };
        envelopes.fill(2, &direction, std::ptr::null_mut(), 0);
    }
}
