//! The worker's end of connections: makes those that calls ask for, takes those that others make, moves
//! octets both ways, and reads some of them no faster than their rate.
//!
//! It knows no protocol: what comes goes to the population. Called by `worker` once a turn.

use sirocco_ring::{Port, StreamEvent, StreamId};

use crate::population::Population;

/// Events of streams per turn.
const STREAM_EVENTS_PER_TURN_MAX: usize = 1024;

/// One connection that is there or being made, by the number that calls know it by.
struct Open {
    stream: StreamId,
    /// Of a connection that is read slowly.
    reader: Option<Reader>,
}

/// All connections of one worker.
#[derive(Default)]
pub(crate) struct Connections {
    open: Vec<Option<Open>>,
    /// The number of the connection in each place of the port.
    numbers: Vec<u32>,
}

impl Connections {
    /// Does what a turn has to do.
    pub(crate) fn turn(&mut self, port: &mut Port, population: &mut Population, now_ns: u64) {
        port.streams(STREAM_EVENTS_PER_TURN_MAX, |event| match event {
            StreamEvent::Received { stream, bytes } => {
                let Some(number) = self.number(stream) else {
                    return;
                };
                if let Some(Open {
                    reader: Some(reader),
                    ..
                }) = &mut self.open[number as usize]
                {
                    reader.read(bytes.len());
                }
                population.stream_received(now_ns, number, bytes);
            }
            StreamEvent::Closed { stream, .. } | StreamEvent::Refused { stream, .. } => {
                let Some(number) = self.number(stream) else {
                    return;
                };
                self.open[number as usize] = None;
                if let Some(calls) = population.links() {
                    calls.links.close(number);
                }
            }
            StreamEvent::Accepted {
                stream,
                listener,
                peer,
            } => {
                let calls = population.links();
                let number = calls.and_then(|calls| calls.links.accept(listener, peer));
                // Without a number nothing of it is ever heard; the other side gives up.
                if let Some(number) = number {
                    self.enter(number, stream, 0);
                }
            }
            StreamEvent::Connected { .. } | StreamEvent::Drained { .. } => {}
        });
        self.make(port, population);
        self.permit(port, now_ns);
        if let Some(calls) = population.links() {
            calls.links.drain(|number, octets| {
                let open = self.open.get(number as usize).and_then(Option::as_ref);
                open.is_some_and(|open| port.send_stream(open.stream, octets).is_ok())
            });
        }
    }

    fn number(&self, stream: StreamId) -> Option<u32> {
        let number = *self.numbers.get(stream.slot() as usize)?;
        let open = self.open.get(number as usize)?.as_ref()?;
        (open.stream == stream).then_some(number)
    }

    fn enter(&mut self, number: u32, stream: StreamId, read_rate: u64) {
        let (at, place) = (number as usize, stream.slot() as usize);
        if self.open.len() <= at {
            self.open.resize_with(at + 1, || None);
        }
        self.numbers.resize(self.numbers.len().max(place + 1), 0);
        self.numbers[place] = number;
        let reader = (read_rate > 0).then(|| Reader::new(read_rate));
        self.open[at] = Some(Open { stream, reader });
    }

    /// Makes and ends connections as calls ask.
    fn make(&mut self, port: &mut Port, population: &mut Population) {
        let Some(calls) = population.links() else {
            return;
        };
        while let Some((number, target)) = calls.links.take_wanted() {
            let read_rate = calls.links.read_rate(number);
            match port.connect(target, None) {
                Some(stream) => {
                    if read_rate > 0 {
                        port.meter_stream(stream);
                    }
                    self.enter(number, stream, read_rate);
                }
                None => calls.links.close(number),
            }
        }
        while let Some(number) = calls.links.take_unwanted() {
            if let Some(Some(open)) = self.open.get(number as usize) {
                port.reset_stream(open.stream);
            }
        }
    }

    /// Lets slow readers read what their rate allows.
    fn permit(&mut self, port: &mut Port, now_ns: u64) {
        for open in self.open.iter_mut().flatten() {
            let reader = open.reader.as_mut();
            if reader.is_some_and(|reader| reader.may_read(now_ns)) {
                port.permit_stream(open.stream);
            }
        }
    }
}

/// How fast one connection is read.
#[derive(Debug)]
struct Reader {
    /// Octets a second.
    rate: u64,
    /// Octets that may be read now; what was read beyond is owed.
    octets: f64,
    last_ns: u64,
    /// A portion was permitted and has not come.
    is_asked: bool,
}

impl Reader {
    fn new(rate: u64) -> Reader {
        Reader {
            rate,
            octets: 0.0,
            last_ns: 0,
            is_asked: false,
        }
    }

    /// Tells whether a portion is to be permitted now.
    fn may_read(&mut self, now_ns: u64) -> bool {
        let passed_ns = now_ns.saturating_sub(std::mem::replace(&mut self.last_ns, now_ns));
        let rate = self.rate as f64;
        // What was not read for a second is not made up for.
        self.octets = (self.octets + passed_ns as f64 * rate / 1e9).min(rate);
        let may = self.octets > 0.0 && !self.is_asked;
        self.is_asked |= may;
        may
    }

    fn read(&mut self, octets: usize) {
        self.octets -= octets as f64;
        self.is_asked = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_keeps_its_rate_and_asks_for_one_portion_at_a_time() {
        let mut reader = Reader::new(100_000);
        let mut octets = 0;
        for turn in 1..=10_000u64 {
            // A turn of a millisecond, and always 16,384 octets to read.
            if reader.may_read(turn * 1_000_000) {
                assert!(!reader.may_read(turn * 1_000_000));
                reader.read(16_384);
                octets += 16_384;
            }
        }
        assert!((984_000..=1_100_384).contains(&octets), "{octets}");
    }
}
