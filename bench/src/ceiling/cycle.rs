//! Probe for a whole session cycle: the nine messages that one SIR and its session take, with the
//! lengths that both sides really sent, and nothing built, looked up or parsed. Either each message
//! travels in trains, or each in a datagram of its own. This is the ceiling of session scenarios; the
//! links below carry the messages, the schedule here says who waits for what.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::endpoint::{self, SILENCE_MAX};
use super::trains::joined;
use super::{CALIBRATION, Cores, Kept, Measured, Probe, Run, Timing, fastest};

mod datagrams;
mod trains;

/// Messages of one cycle: SIR, 200, INVITE, 200, ACK, content in MESSAGE, 200, BYE, 200.
pub const MESSAGES: usize = 9;

/// What one side waits for, and what it sends then; messages by their number in the cycle.
struct Phase {
    awaits: &'static [usize],
    sends: &'static [usize],
}

/// The engine's side, which begins by sending message 0 of the whole window.
const NEAR: [Phase; 4] = [
    Phase {
        awaits: &[1, 2],
        sends: &[3],
    },
    Phase {
        awaits: &[4],
        sends: &[5],
    },
    Phase {
        awaits: &[6],
        sends: &[7],
    },
    Phase {
        awaits: &[8],
        sends: &[0],
    },
];

/// The devices' side.
const FAR: [Phase; 4] = [
    Phase {
        awaits: &[0],
        sends: &[1, 2],
    },
    Phase {
        awaits: &[3],
        sends: &[4],
    },
    Phase {
        awaits: &[5],
        sends: &[6],
    },
    Phase {
        awaits: &[7],
        sends: &[8],
    },
];

/// Lengths and sizes of what travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Length of each message in bytes, in the order of the cycle.
    pub message_bytes: [u16; MESSAGES],
    /// Cycles that go together in trains.
    pub train: u16,
    /// Receiving sockets of the trains.
    pub next_hops: u16,
    /// Distinct device addresses of the single datagrams.
    pub addresses: u32,
}

/// One side's sockets: sends and receives one message for all cycles that go together.
trait Link {
    /// Sends message `step` of the group `group`; waits while the kernel takes no more.
    fn send(&mut self, step: usize, group: usize) -> io::Result<()>;

    /// Takes what is there of message `step` of the group; true once all of it has come.
    fn receive(&mut self, step: usize, group: usize) -> io::Result<bool>;
}

/// Why a round broke off, if it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    Done,
    /// Told to stop, or nothing came for [`SILENCE_MAX`].
    Broken,
}

/// One side's part in one round of `window` groups, the first of which is `first`.
///
/// Both sides visit the groups in order and loopback keeps the order, so no side ever has to ask what
/// it received: cheaper than any real receiver can be, as a ceiling should be.
fn round(
    link: &mut impl Link,
    phases: &[Phase],
    (first, window): (usize, usize),
    (stop, ends): (&AtomicBool, bool),
) -> io::Result<Round> {
    for phase in phases {
        for group in first..first + window {
            for &step in phase.awaits {
                if await_message(link, step, group, stop)? == Round::Broken {
                    return Ok(Round::Broken);
                }
            }
            for &step in phase.sends {
                // Message 0 begins the next round.
                match step {
                    0 if ends => {}
                    0 => link.send(0, group + window)?,
                    step => link.send(step, group)?,
                }
            }
        }
    }
    Ok(Round::Done)
}

fn await_message(
    link: &mut impl Link,
    step: usize,
    group: usize,
    stop: &AtomicBool,
) -> io::Result<Round> {
    let mut since = None;
    while !link.receive(step, group)? {
        std::hint::spin_loop();
        let since = since.get_or_insert_with(Instant::now);
        if stop.load(Ordering::Relaxed) || since.elapsed() > SILENCE_MAX {
            return Ok(Round::Broken);
        }
    }
    Ok(Round::Done)
}

/// The asking side until the time is over; `group_cycles` cycles are in each group.
fn ask(
    link: &mut impl Link,
    (window, group_cycles): (usize, u64),
    (core, timing): (usize, Timing),
    stop: &AtomicBool,
) -> io::Result<Run> {
    endpoint::pin(core)?;
    let mut clock = Measured::new(timing);
    let (mut first, mut cycles, mut lost) = (0, 0, 0);
    for group in 0..window {
        link.send(0, group)?;
    }
    loop {
        let ends = clock.is_over(cycles);
        if round(link, &NEAR, (first, window), (stop, ends))? == Round::Broken {
            lost = window as u64 * group_cycles;
            break;
        }
        cycles += window as u64 * group_cycles;
        first += window;
        if ends {
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    Ok(clock.run(cycles, lost))
}

/// The answering side until it is told to stop.
fn answer(link: &mut impl Link, window: usize, core: usize, stop: &AtomicBool) -> io::Result<()> {
    endpoint::pin(core)?;
    let mut first = 0;
    while !stop.load(Ordering::Relaxed) {
        // Silence is the asker's to judge; a broken round ends both sides.
        if round(link, &FAR, (first, window), (stop, false))? == Round::Broken {
            return Ok(());
        }
        first += window;
    }
    Ok(())
}

/// Runs both sides, each made and used on a thread of its own.
fn closed_loop<L: Link>(
    (near, far): (impl FnOnce() -> L + Send, impl FnOnce() -> L + Send),
    (window, group_cycles): (usize, u64),
    cores: Cores,
    timing: Timing,
) -> io::Result<Run> {
    let stop = &AtomicBool::new(false);
    thread::scope(|scope| {
        let peer = scope.spawn(move || answer(&mut far(), window, cores.far, stop));
        let asker = scope.spawn(move || {
            let run = ask(
                &mut near(),
                (window, group_cycles),
                (cores.near, timing),
                stop,
            );
            stop.store(true, Ordering::Relaxed);
            run
        });
        let run = joined(asker);
        joined(peer)?;
        run
    })
}

/// The ceilings of a session cycle, in the shape the record holds them; rates count whole cycles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CycleCeiling {
    /// Length of each message in bytes: SIR, 200, INVITE, 200, ACK, MESSAGE, 200, BYE, 200.
    pub message_bytes: [u16; MESSAGES],
    /// Cycles that go together in trains.
    pub train: u16,
    /// Receiving sockets of the trains.
    pub next_hops: u16,
    /// Distinct device addresses of the single datagrams.
    pub addresses: u32,
    /// Every message in trains.
    pub trains: Option<Probe>,
    /// Every message in a datagram of its own.
    pub datagrams: Option<Probe>,
}

impl CycleCeiling {
    /// Cycles lost over all probes; anything but 0 voids the ceiling.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let probes = [&self.trains, &self.datagrams];
        probes.into_iter().flatten().map(|probe| probe.lost).sum()
    }
}

/// Which of the two probes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriers {
    /// Trains and single datagrams.
    Both,
    /// Single datagrams alone, where no trains are possible.
    Datagrams,
}

/// Runs of both probes, gathered between the runs of engine and loadgen.
#[derive(Debug)]
pub struct CycleGauge {
    shape: Shape,
    cores: Cores,
    timing: Timing,
    trains: Option<(Kept<trains::Variant>, Vec<Run>)>,
    datagrams: (Kept<datagrams::Variant>, Vec<Run>),
}

impl CycleGauge {
    /// Compares the variants of each probe and keeps the fastest.
    ///
    /// # Errors
    /// The kernel's, when a probe cannot run.
    pub fn calibrate(
        shape: Shape,
        carriers: Carriers,
        cores: Cores,
        timing: Timing,
    ) -> io::Result<Self> {
        let shape = trains::bounded(shape);
        let trains = match carriers {
            Carriers::Both => Some(fastest(&trains::Variant::ALL, |variant| {
                trains::run(shape, variant, cores, CALIBRATION)
            })?),
            Carriers::Datagrams => None,
        };
        let datagrams = fastest(&datagrams::Variant::ALL, |variant| {
            datagrams::run(shape, variant, cores, CALIBRATION)
        })?;
        Ok(Self {
            shape,
            cores,
            timing,
            trains: trains.map(|kept| (kept, Vec::new())),
            datagrams: (datagrams, Vec::new()),
        })
    }

    /// Runs each probe once more.
    ///
    /// # Errors
    /// The kernel's, when a probe breaks off.
    pub fn repeat(&mut self) -> io::Result<()> {
        let Self {
            shape,
            cores,
            timing,
            ..
        } = *self;
        if let Some((kept, runs)) = &mut self.trains {
            runs.push(trains::run(shape, kept.variant, cores, timing)?);
        }
        let (kept, runs) = &mut self.datagrams;
        runs.push(datagrams::run(shape, kept.variant, cores, timing)?);
        Ok(())
    }

    /// Medians over the repetitions so far.
    #[must_use]
    pub fn ceiling(&self) -> CycleCeiling {
        let trains = self.trains.as_ref();
        CycleCeiling {
            message_bytes: self.shape.message_bytes,
            train: self.shape.train,
            next_hops: self.shape.next_hops,
            addresses: self.shape.addresses,
            trains: trains.and_then(|(kept, runs)| Probe::some(runs, kept)),
            datagrams: Probe::some(&self.datagrams.1, &self.datagrams.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::rc::Rc;

    /// Two queues instead of sockets.
    struct Queues {
        out: Rc<RefCell<VecDeque<(usize, usize)>>>,
        back: Rc<RefCell<VecDeque<(usize, usize)>>>,
        sent: Vec<usize>,
    }

    impl Link for Queues {
        fn send(&mut self, step: usize, group: usize) -> io::Result<()> {
            self.out.borrow_mut().push_back((step, group));
            self.sent.push(step);
            Ok(())
        }

        fn receive(&mut self, step: usize, group: usize) -> io::Result<bool> {
            let Some(head) = self.back.borrow_mut().pop_front() else {
                return Ok(false);
            };
            assert_eq!(head, (step, group), "both sides keep one order");
            Ok(true)
        }
    }

    #[test]
    fn a_cycle_is_nine_messages_four_of_them_the_engine_s() {
        let near: usize = NEAR.iter().map(|phase| phase.sends.len()).sum();
        let far: usize = FAR.iter().map(|phase| phase.sends.len()).sum();
        assert_eq!((near, far, near + far), (4, 5, MESSAGES));
        let awaited = |phases: &[Phase]| phases.iter().flat_map(|p| p.awaits).count();
        assert_eq!((awaited(&NEAR), awaited(&FAR)), (far, near));
    }

    #[test]
    fn a_message_that_never_comes_breaks_the_round() {
        let queue = || Rc::new(RefCell::new(VecDeque::new()));
        let (there, back) = (queue(), queue());
        let mut near = Queues {
            out: there,
            back: back.clone(),
            sent: Vec::new(),
        };
        back.borrow_mut().extend([(1, 0), (2, 0), (4, 0), (6, 0)]);
        let stop = AtomicBool::new(false);
        let broken = round(&mut near, &NEAR, (0, 1), (&stop, false)).unwrap();
        assert_eq!(
            (broken, near.sent.as_slice()),
            (Round::Broken, &[3, 5, 7][..])
        );
        back.borrow_mut()
            .extend([(1, 0), (2, 0), (4, 0), (6, 0), (8, 0)]);
        near.sent.clear();
        let done = round(&mut near, &NEAR, (0, 1), (&stop, false)).unwrap();
        assert_eq!(
            (done, near.sent.as_slice()),
            (Round::Done, &[3, 5, 7, 0][..])
        );
    }

    #[test]
    fn both_carriers_turn_over_real_sockets() {
        let shape = Shape {
            message_bytes: [500, 300, 700, 600, 350, 600, 300, 400, 300],
            train: 8,
            next_hops: 3,
            addresses: 64,
        };
        let allowed = sirocco_ring::affinity::cores_allowed().unwrap();
        let cores = Cores {
            near: allowed[0],
            far: *allowed.last().unwrap(),
        };
        let timing = Timing {
            warm_up: std::time::Duration::ZERO,
            length: std::time::Duration::from_millis(30),
        };
        let mut gauge = CycleGauge::calibrate(shape, Carriers::Both, cores, timing).unwrap();
        gauge.repeat().unwrap();
        let ceiling = gauge.ceiling();
        for probe in [ceiling.trains.unwrap(), ceiling.datagrams.unwrap()] {
            assert!(probe.per_second.median > 0.0, "{probe:?}");
        }
    }
}
