//! Receive buffers and what is in them. Both backends fill a buffer with the layout of a multishot
//! recvmsg (io_uring_prep_recvmsg_multishot(3)): 16 octets of lengths, name, control, payload; so
//! there is one reader. A buffer is ours from its arrival until it is handed back.
//! Deliberately does not look into payloads.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::address::{decode, read_control};
use crate::config::{OpenError, TRAIN_BYTES_MAX};
use crate::memory::Mapping;

/// Octets of the four lengths in front: name, control, payload, flags.
pub(crate) const OUT_BYTES: usize = 16;
/// Octets reserved for the peer's address.
pub(crate) const NAME_ROOM_BYTES: usize = 32;
/// Octets reserved for control messages: UDP_GRO (24) and the longer packet information (40), rounded up.
pub(crate) const CONTROL_ROOM_BYTES: usize = 80;
/// Octets in front of the payload: two cache lines.
pub(crate) const HEAD_BYTES: usize = OUT_BYTES + NAME_ROOM_BYTES + CONTROL_ROOM_BYTES;
/// Octets of one buffer: head, the longest train, and what makes the distance of two buffers an odd
/// number of cache lines (1,035), so that their heads do not meet in one cache set.
pub(crate) const BUFFER_BYTES: usize = 66_240;

const _: () = assert!(HEAD_BYTES == 128 && HEAD_BYTES + TRAIN_BYTES_MAX <= BUFFER_BYTES);

/// A received train or datagram; lives for one call of the receiver.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// Index of the socket it came to.
    pub socket: u16,
    /// Who sent it.
    pub peer: SocketAddr,
    /// The local address it came to, where `packet_info` was asked for.
    pub local: Option<IpAddr>,
    /// Octets of each datagram but the last, which may be shorter; never 0.
    pub segment: usize,
    /// All datagrams, one behind the other.
    pub bytes: &'a [u8],
}

impl<'a> Received<'a> {
    /// The datagrams in order of arrival; an empty datagram comes as one empty slice.
    #[inline]
    pub fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let empty: Option<&'a [u8]> = self.bytes.is_empty().then_some(&[]);
        self.bytes.chunks(self.segment).chain(empty)
    }

    /// Number of datagrams, at least 1.
    #[inline]
    pub fn datagram_count(&self) -> usize {
        self.bytes.len().div_ceil(self.segment).max(1)
    }
}

/// Why a buffer's contents were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Longer than the buffer (MSG_TRUNC).
    Truncated,
    /// No peer address of a known family, or lengths that do not fit.
    Malformed,
}

/// Reads one buffer of `bytes` octets.
#[inline]
pub(crate) fn read(socket: u16, bytes: &[u8]) -> Result<Received<'_>, Unreadable> {
    let (head, rest) = bytes
        .split_at_checked(HEAD_BYTES)
        .ok_or(Unreadable::Malformed)?;
    let word = |at: usize| {
        let octets = head[at..].first_chunk().expect("the head holds four words");
        u32::from_ne_bytes(*octets)
    };
    if word(12) & libc::MSG_TRUNC as u32 != 0 {
        return Err(Unreadable::Truncated);
    }
    let name_bytes = (word(0) as usize).min(NAME_ROOM_BYTES);
    let control_bytes = (word(4) as usize).min(CONTROL_ROOM_BYTES);
    let bytes = rest.get(..word(8) as usize).ok_or(Unreadable::Malformed)?;
    let control_at = OUT_BYTES + NAME_ROOM_BYTES;
    let peer = decode(&head[OUT_BYTES..OUT_BYTES + name_bytes]).ok_or(Unreadable::Malformed)?;
    let control = read_control(&head[control_at..control_at + control_bytes]);
    let segment = if control.segment == 0 {
        bytes.len().max(1)
    } else {
        control.segment
    };
    Ok(Received {
        socket,
        peer,
        local: control.local,
        segment,
        bytes,
    })
}

/// Writes the four lengths, for the backend whose kernel interface does not.
#[inline]
pub(crate) fn write_lengths(head: &mut [u8], name: u32, control: u32, payload: u32, flags: u32) {
    for (at, word) in [name, control, payload, flags].into_iter().enumerate() {
        head[at * 4..at * 4 + 4].copy_from_slice(&word.to_ne_bytes());
    }
}

/// A filled buffer that waits for `Port::receive`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) socket: u16,
    pub(crate) buffer: u16,
    /// Octets filled, head included.
    pub(crate) length: u32,
}

/// All receive buffers of one port and the arrivals not yet told.
#[derive(Debug)]
pub(crate) struct ReceiveBuffers {
    memory: Mapping,
    count: u32,
    arrivals: VecDeque<Arrival>,
}

impl ReceiveBuffers {
    pub(crate) fn new(count: u32, huge: bool) -> Result<ReceiveBuffers, OpenError> {
        let bytes = count as usize * BUFFER_BYTES;
        let memory = Mapping::new(bytes, huge).map_err(|source| OpenError::Memory {
            what: "receive buffers",
            bytes,
            source,
        })?;
        let arrivals = VecDeque::with_capacity(count as usize);
        Ok(ReceiveBuffers {
            memory,
            count,
            arrivals,
        })
    }

    pub(crate) fn memory(&self) -> &Mapping {
        &self.memory
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Buffers that are not waiting to be read.
    #[inline]
    pub(crate) fn available(&self) -> usize {
        self.count as usize - self.arrivals.len()
    }

    /// First octet of a buffer, for the kernel.
    #[inline]
    pub(crate) fn address(&self, buffer: u16) -> *mut u8 {
        assert!(
            u32::from(buffer) < self.count,
            "receive buffer beyond the last"
        );
        self.memory
            .as_ptr()
            .wrapping_add(usize::from(buffer) * BUFFER_BYTES)
    }

    #[inline]
    pub(crate) fn push(&mut self, arrival: Arrival) {
        debug_assert!(self.available() > 0, "a buffer arrived twice");
        self.arrivals.push_back(arrival);
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Arrival> {
        self.arrivals.pop_front()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// The filled part of an arrived buffer.
    #[inline]
    pub(crate) fn filled(&self, arrival: &Arrival) -> &[u8] {
        let offset = usize::from(arrival.buffer) * BUFFER_BYTES;
        self.memory
            .range(offset, (arrival.length as usize).min(BUFFER_BYTES))
    }

    /// The head of a buffer that arrived, for the backend that writes its lengths.
    #[inline]
    pub(crate) fn head_mut(&mut self, buffer: u16) -> &mut [u8] {
        self.memory
            .range_mut(usize::from(buffer) * BUFFER_BYTES, HEAD_BYTES)
    }

    /// Debug builds overwrite what was read, so that a stale view is seen at once.
    #[inline]
    pub(crate) fn poison(&mut self, arrival: &Arrival) {
        if cfg!(debug_assertions) {
            let offset = usize::from(arrival.buffer) * BUFFER_BYTES;
            let length = (arrival.length as usize).min(BUFFER_BYTES);
            self.memory.range_mut(offset, length).fill(0xDB);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEAD_BYTES];
        let peer = SocketAddr::from(([127, 0, 0, 2], 5060));
        let mut name = [0; crate::address::NAME_BYTES];
        let length = crate::address::encode(peer, &mut name);
        bytes[OUT_BYTES..OUT_BYTES + 28].copy_from_slice(&name);
        write_lengths(&mut bytes, length, 0, payload.len() as u32, 0);
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn a_single_datagram_is_one_segment() {
        let bytes = buffer(b"abc");
        let received = read(3, &bytes).unwrap();
        assert_eq!(
            (received.socket, received.segment, received.bytes),
            (3, 3, &b"abc"[..])
        );
        assert_eq!(received.datagrams().collect::<Vec<_>>(), [b"abc"]);
    }

    #[test]
    fn an_empty_datagram_is_told_once() {
        let bytes = buffer(b"");
        let received = read(0, &bytes).unwrap();
        assert_eq!(
            (received.datagrams().count(), received.datagram_count()),
            (1, 1)
        );
    }

    #[test]
    fn truncated_and_short_buffers_are_refused() {
        let mut bytes = buffer(b"abc");
        for cut in 0..bytes.len() {
            assert_eq!(read(0, &bytes[..cut]).unwrap_err(), Unreadable::Malformed);
        }
        bytes[12] = libc::MSG_TRUNC as u8;
        assert_eq!(read(0, &bytes).unwrap_err(), Unreadable::Truncated);
        bytes[12] = 0;
        bytes[OUT_BYTES] = 99;
        assert_eq!(read(0, &bytes).unwrap_err(), Unreadable::Malformed);
    }

    proptest::proptest! {
        #[test]
        fn no_octets_make_the_reader_panic(
            mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
            words in proptest::array::uniform4(0_u32..200),
        ) {
            let _ = read(0, &bytes);
            if bytes.len() >= HEAD_BYTES {
                // Lengths near the truth go deeper than noise does.
                write_lengths(&mut bytes, words[0], words[1], words[2], 0);
                bytes[OUT_BYTES] = libc::AF_INET as u8;
                bytes[OUT_BYTES + 1] = 0;
                bytes[OUT_BYTES + NAME_ROOM_BYTES] = words[3] as u8;
                bytes[OUT_BYTES + NAME_ROOM_BYTES + 1..][..7].fill(0);
                if let Ok(received) = read(0, &bytes) {
                    let told: usize = received.datagrams().map(<[u8]>::len).sum();
                    proptest::prop_assert_eq!(told, received.bytes.len());
                }
            }
        }
    }
}
