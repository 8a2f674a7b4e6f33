//! What a port holds whatever the kernel interface: slabs, envelopes, receive buffers, the reports
//! of completed sends, the counters. The backends move things between here and the kernel.

use crate::arrival::ReceiveBuffers;
use crate::config::{DATAGRAMS_PER_SLAB_MAX, OpenError, PortConfig};
use crate::counters::{Counters, SendErrors};
use crate::envelope::{Direction, Envelopes};
use crate::slab::{Slab, Slabs};

use super::streams::Streams;
use super::{SendError, Sent};

/// One operation of a flight, named by its slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) slab: u32,
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) slabs: Slabs,
    /// Slot = slab. Apart from `datagram_envelopes`, so that trains touch few neighbouring lines.
    train_envelopes: Envelopes,
    /// Slot = slab * `DATAGRAMS_PER_SLAB_MAX` + datagram.
    datagram_envelopes: Envelopes,
    pub(crate) receive: ReceiveBuffers,
    pub(crate) sent: Vec<(u32, Sent)>,
    pub(crate) counters: Counters,
    /// None for a port without streams.
    pub(crate) streams: Option<Box<Streams>>,
}

impl Store {
    pub(crate) fn new(config: &PortConfig) -> Result<Store, OpenError> {
        let count = config.slab_count as usize;
        let streams = match config.streams_max {
            0 => None,
            _ => Some(Box::new(Streams::new(config)?)),
        };
        Ok(Store {
            slabs: Slabs::new(config.slab_count, config.slab_bytes, config.huge_pages)?,
            train_envelopes: Envelopes::new(count)?,
            datagram_envelopes: Envelopes::new(count * DATAGRAMS_PER_SLAB_MAX)?,
            receive: ReceiveBuffers::new(config.receive_buffer_count, config.huge_pages)?,
            sent: Vec::with_capacity(count),
            counters: Counters::default(),
            streams,
        })
    }

    /// Starts the flight of a whole slab and returns its message header.
    #[inline]
    pub(crate) fn depart_train(
        &mut self,
        slab: Slab,
        length: u32,
        direction: &Direction,
        tag: u64,
    ) -> (Operation, *const libc::msghdr) {
        let slab = self.slabs.depart(slab, 1, length, tag);
        let payload = self.slabs.payload(slab, 0, length as usize);
        let slot = slab as usize;
        let header = self
            .train_envelopes
            .fill(slot, direction, payload, length as usize);
        let counters = &mut self.counters;
        let segment = u32::from(direction.segment);
        if segment == 0 {
            counters.datagrams_sent += 1;
        } else {
            counters.trains_sent += 1;
            counters.datagrams_sent += u64::from(length.div_ceil(segment));
        }
        counters.bytes_sent += u64::from(length);
        (Operation { slab }, header)
    }

    /// Fills the envelope of one datagram of a flight of many and returns its message header.
    #[inline]
    pub(crate) fn depart_datagram(
        &mut self,
        slab: u32,
        index: usize,
        datagram: &super::Datagram,
    ) -> *const libc::msghdr {
        assert!(
            index < DATAGRAMS_PER_SLAB_MAX,
            "more datagrams than a slab may carry"
        );
        let length = usize::from(datagram.length);
        let payload = self.slabs.payload(slab, datagram.offset as usize, length);
        let slot = slab as usize * DATAGRAMS_PER_SLAB_MAX + index;
        let direction = Direction {
            target: datagram.target,
            source: datagram.source,
            segment: 0,
        };
        self.counters.datagrams_sent += 1;
        self.counters.bytes_sent += length as u64;
        self.datagram_envelopes
            .fill(slot, &direction, payload, length)
    }

    /// Notes the result of one operation: octets sent, or a negative error number.
    #[inline]
    pub(crate) fn record(&mut self, operation: Operation, result: i32) {
        let flight = self.slabs.flight_mut(operation.slab);
        match u32::try_from(result) {
            Ok(bytes) => flight.bytes += bytes,
            Err(_) => {
                flight.failed += 1;
                if flight.error == 0 {
                    flight.error = -result;
                }
                count_error(&mut self.counters.send_errors, -result);
            }
        }
    }

    /// Ends one operation of a flight; the last one writes its report.
    #[inline]
    pub(crate) fn finish(&mut self, operation: Operation) {
        let flight = self.slabs.flight_mut(operation.slab);
        debug_assert!(flight.outstanding > 0, "an operation completed twice");
        flight.outstanding -= 1;
        if flight.outstanding > 0 {
            return;
        }
        let flight = self.slabs.arrive(operation.slab);
        let result = match flight.error {
            0 => Ok(flight.bytes),
            errno => Err(SendError::from_errno(errno)),
        };
        let (tag, operations, failed) = (flight.tag, flight.operations, flight.failed);
        let report = Sent {
            tag,
            result,
            operations,
            failed,
        };
        // One report a slab at most: a slab leaves again only after its report was read.
        self.sent.push((operation.slab, report));
    }
}

#[cold]
fn count_error(errors: &mut SendErrors, errno: i32) {
    let counter = match SendError::from_errno(errno) {
        SendError::TooLarge => &mut errors.too_large,
        SendError::Unreachable(_) => &mut errors.unreachable,
        SendError::Refused => &mut errors.refused,
        SendError::Denied(_) => &mut errors.denied,
        SendError::NoMemory(_) => &mut errors.no_memory,
        SendError::Canceled => &mut errors.canceled,
        SendError::Invalid(_) => &mut errors.invalid,
    };
    *counter += 1;
}
