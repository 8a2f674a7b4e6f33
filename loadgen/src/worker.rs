//! One worker: one port, one population, one thread. Its turn is a row of verbs: turn, receive and
//! answer, release late answers, publish.
//!
//! Answers are written into a stage and moved into a send slab, because the received bytes borrow the
//! port; the stage stays in the cache. Nothing is allocated after the start. Called by the command.

use std::net::SocketAddr;
use std::time::Duration;

use sirocco_ring::clock::now_ns;
use sirocco_ring::{DATAGRAMS_PER_SLAB_MAX, Datagram, OpenError, Port, Wait, affinity};

use crate::config::{ConfigError, Idle, LoadgenConfig, Place};
use crate::connections::Connections;
use crate::journal::Journal;
use crate::live::{Control, Live, LoadgenProgress};
use crate::meter::{Meter, add_record};
use crate::population::{Population, PopulationConfig};
use crate::report::LoadgenReport;
use crate::stage::{Stage, send_train, train_to};

/// Received buffers per turn: answers leave at the next turn, so this bounds how long the first waits
/// for the last, 16 trains of 128 at about 150 ns each.
const ARRIVALS_PER_TURN_MAX: usize = 16;
/// The same in direct mode, where each buffer is one datagram at several microseconds.
const DIRECT_ARRIVALS_PER_TURN_MAX: usize = 128;
/// Trains of late answers per turn, so that they cannot hold up the others.
const LATE_TRAINS_PER_TURN_MAX: usize = 32;
/// Slabs kept back from receiving for late answers and for trains that must be split.
const SLABS_RESERVED: usize = 8;
/// The longest sleep: how soon a stop is noticed.
const IDLE_WAIT_MAX: Duration = Duration::from_millis(5);
/// The longest sleep while calls have timers: one tick of their wheel.
const TIMED_WAIT_MAX: Duration = Duration::from_millis(1);
/// Send slabs that one received buffer may take: answers, calls, and the ends of trains.
const SLABS_PER_ARRIVAL: usize = 3;
/// The notices told one by one; a thousand sockets would have as many.
const NOTICES_MAX: usize = 8;
/// The turns after a stop in which the last answers leave.
const FLUSH_TURNS_MAX: usize = 100;

/// Why a load generator did not run or not finish.
#[derive(Debug, thiserror::Error)]
pub enum LoadgenError {
    /// The configuration is out of bounds.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The sockets or buffers were refused.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The thread could not be pinned.
    #[error("cannot pin to core {core}: {source}; choose one of the allowed cores")]
    Pin {
        /// The core asked for.
        core: usize,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// The record could not be made or written.
    #[error("record {path}: {source}; choose another path")]
    Record {
        /// The file asked for.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The memory for what is remembered was refused.
    #[error("no memory for the requests to be remembered: {0}; lower seen_entries")]
    Memory(#[source] std::io::Error),
    /// The kernel interface failed while running.
    #[error("a turn failed: {0}")]
    Turn(#[from] std::io::Error),
}

/// What is known once the sockets are open.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ready {
    /// The address of each edge, or the one address of direct mode, in order.
    pub addresses: Vec<SocketAddr>,
    /// Where each edge takes connections, if it does.
    #[serde(default)]
    pub listeners: Vec<SocketAddr>,
    /// What the host granted less of than was asked.
    pub notices: Vec<String>,
}

/// Runs a load generator on the calling thread until `control` says stop; `on_ready` hears the
/// addresses once they can be sent to.
///
/// # Errors
/// The configuration, the sockets, the record or the kernel interface failed.
pub fn run(
    config: &LoadgenConfig,
    live: &Live,
    control: &Control,
    on_ready: impl FnOnce(&Ready),
) -> Result<LoadgenReport, LoadgenError> {
    let mut worker = Worker::open(config)?;
    on_ready(&worker.ready());
    let mut is_begun = false;
    while !control.is_stopped(worker.now_ns) && !worker.population.is_finished() {
        if !is_begun && control.is_begun(worker.now_ns) {
            is_begun = true;
            worker.begin();
            live.store_begun(worker.meter.started_ns);
        }
        if control.take_reset() {
            worker.reset();
        }
        if control.take_begin() {
            worker.population.begin(worker.now_ns);
        }
        if control.take_span() {
            live.store_span(&worker.meter.close_span(worker.now_ns));
        }
        worker.turn()?;
        worker.publish(live);
    }
    worker.flush()?;
    worker.publish(live);
    worker.finish()
}

/// A port, its population, and what is measured of them.
struct Worker<'c> {
    config: &'c LoadgenConfig,
    port: Port,
    population: Population,
    stage: Stage,
    datagrams: Vec<Datagram>,
    arrivals_per_turn_max: usize,
    connections: Connections,
    meter: Meter,
    /// Whether the last turn found nothing to do.
    is_idle: bool,
    now_ns: u64,
}

impl<'c> Worker<'c> {
    fn open(config: &'c LoadgenConfig) -> Result<Worker<'c>, LoadgenError> {
        config.validate()?;
        // Before pinning: the thread that writes the record must not share the worker's core.
        let journal = config
            .record_sirs
            .as_ref()
            .map(|path| Journal::create(path).map_err(|source| record_error(config, source)));
        let journal = journal.transpose()?;
        if let Some(core) = config.core {
            affinity::pin(core).map_err(|source| LoadgenError::Pin { core, source })?;
        }
        let port = Port::open(&config.port())?;
        let (mix, _) = config.effective()?;
        let population = PopulationConfig {
            mix,
            seed: config.seed,
            generator: config.generator,
            seen_entries: config.seen_entries,
            late_slots: config.late_slots,
            segments_max: config.train_segments,
            huge_pages: config.huge_pages,
            sessions: config.sessions()?,
        };
        let mut population = Population::new(population, journal).map_err(LoadgenError::Memory)?;
        let now_ns = now_ns();
        let addresses: Vec<SocketAddr> = (0..config.socket_count())
            .map(|socket| port.local_address(socket))
            .collect();
        let listeners: Vec<SocketAddr> = (0..config.listener_count())
            .map(|listener| port.listener_address(listener))
            .collect();
        population.bind(&addresses, &listeners);
        let meter = Meter::new(&port, now_ns);
        let arrivals_per_turn_max = match config.place {
            Place::Edges { .. } => ARRIVALS_PER_TURN_MAX,
            Place::Direct { .. } => DIRECT_ARRIVALS_PER_TURN_MAX,
        };
        Ok(Worker {
            config,
            port,
            population,
            stage: Stage::new(),
            datagrams: Vec::with_capacity(DATAGRAMS_PER_SLAB_MAX),
            arrivals_per_turn_max,
            connections: Connections::default(),
            meter,
            is_idle: false,
            now_ns,
        })
    }

    fn ready(&self) -> Ready {
        Ready {
            addresses: (0..self.config.socket_count())
                .map(|socket| self.port.local_address(socket))
                .collect(),
            listeners: (0..self.config.listener_count())
                .map(|listener| self.port.listener_address(listener))
                .collect(),
            notices: self.notices(),
        }
    }

    /// Begins: what was counted before does not count, and sources of calls start their clocks.
    fn begin(&mut self) {
        self.reset();
        self.population.start(self.meter.started_ns);
    }

    /// Zeroes what is counted and measured; requests seen and answers waiting stay.
    fn reset(&mut self) {
        self.population.reset();
        self.meter = Meter::new(&self.port, now_ns());
    }

    fn turn(&mut self) -> Result<(), LoadgenError> {
        self.port.turn(self.wait())?;
        self.now_ns = now_ns();
        self.meter.turned(self.now_ns, self.is_idle);
        self.port.sent(|_| {});
        let due = self.population.advance(self.now_ns);
        let arrivals = self.receive();
        if self.config.takes_streams() {
            let Worker {
                connections,
                port,
                population,
                now_ns,
                ..
            } = self;
            connections.turn(port, population, *now_ns);
        }
        let trains = self.release_late();
        let departures = self.depart(true);
        self.is_idle = arrivals + trains + due + departures == 0;
        Ok(())
    }

    /// How long the next turn may wait: only an idle worker waits, and not past a late answer's time.
    fn wait(&self) -> Wait {
        if !self.is_idle || self.config.idle == Idle::Spin {
            return Wait::No;
        }
        let until = |due_ns: u64| Duration::from_nanos(due_ns.saturating_sub(self.now_ns));
        let until_due = self.population.late_due_ns().map(until);
        let wait_max = if self.population.is_timed() {
            TIMED_WAIT_MAX
        } else {
            IDLE_WAIT_MAX
        };
        Wait::Until(until_due.unwrap_or(wait_max).min(wait_max))
    }

    /// Answers what was received; returns the buffers received.
    fn receive(&mut self) -> usize {
        let slabs = self.port.free_slab_count().saturating_sub(SLABS_RESERVED);
        let budget = self.arrivals_per_turn_max.min(slabs / SLABS_PER_ARRIVAL);
        for told in 0..budget {
            let Worker {
                port,
                population,
                stage,
                meter,
                now_ns,
                ..
            } = self;
            let heard = port.receive(1, |received| {
                meter.arrived(&received);
                stage.answer(population, *now_ns, &received);
            });
            if heard == 0 {
                self.send_row();
                return told;
            }
            self.send_staged_train();
            self.depart(false);
            if self.stage.row_is_full() {
                self.send_row();
            }
        }
        self.send_row();
        budget
    }

    /// Sends what calls wrote: trains that are full, with `all` the others too; returns how many.
    #[inline]
    fn depart(&mut self, all: bool) -> usize {
        let Worker {
            port,
            population,
            stage,
            meter,
            ..
        } = self;
        let mut count = 0;
        population.depart(all, |load| {
            count += 1;
            if load.count == 1 && !stage.row_is_full() {
                stage.push(load);
                return;
            }
            let Some(slab) = port.take_slab() else {
                meter.found_no_slab(load.count as u64);
                return;
            };
            let length = load.octets.len();
            port.slab_mut(&slab)[..length].copy_from_slice(&load.octets);
            port.send(slab, train_to(load.origin, length, load.segment));
            meter.departed(load.count);
        });
        if all {
            self.send_row();
        }
        count
    }

    /// Sends the train answered last; what did not fit into it is answered straight into more slabs.
    #[inline]
    fn send_staged_train(&mut self) {
        let Some((origin, answered, bytes)) = self.stage.take_train() else {
            return;
        };
        if answered.length > 0 {
            if send_train(&mut self.port, origin, &answered, bytes) {
                self.meter.queued(answered.answers, answered.length);
            } else {
                self.meter.found_no_slab(u64::from(answered.answers));
            }
        }
        let mut at = 0;
        while let Some(arrival) = self.stage.rest(origin, at) {
            let Some(slab) = self.port.take_slab() else {
                self.meter
                    .found_no_slab(arrival.bytes.len().div_ceil(arrival.segment) as u64);
                break;
            };
            let out = self.port.slab_mut(&slab);
            let answered = self.population.answer(self.now_ns, &arrival, out);
            at += answered.consumed;
            if answered.length == 0 {
                self.port.release(slab);
                continue;
            }
            self.port
                .send(slab, train_to(origin, answered.length, answered.segment));
            self.meter.queued(answered.answers, answered.length);
        }
        self.stage.clear_rest();
    }

    /// Sends the answers to single datagrams, each as one.
    #[inline]
    fn send_row(&mut self) {
        let mut first = 0;
        while let Some((parcels, bytes)) = self.stage.parcels_from(first) {
            first += parcels.len();
            let Some(slab) = self.port.take_slab() else {
                self.meter.found_no_slab(parcels.len() as u64);
                continue;
            };
            for parcel in parcels {
                if parcel.is_answer {
                    self.meter.queued(1, parcel.bytes.len());
                } else {
                    self.meter.departed(1);
                }
            }
            self.port.slab_mut(&slab)[..bytes.len()].copy_from_slice(bytes);
            let start = parcels[0].bytes.start;
            self.datagrams.clear();
            self.datagrams.extend(parcels.iter().map(|parcel| Datagram {
                target: parcel.origin.peer,
                source: parcel.origin.local.filter(|local| !local.is_unspecified()),
                offset: (parcel.bytes.start - start) as u32,
                length: parcel.bytes.len() as u16,
            }));
            self.port
                .send_many(slab, parcels[0].origin.socket, &self.datagrams, 0);
        }
        self.stage.clear_row();
    }

    /// Sends late answers that are due; returns the trains sent.
    #[inline]
    fn release_late(&mut self) -> usize {
        for sent in 0..LATE_TRAINS_PER_TURN_MAX {
            if !self.population.late_is_due(self.now_ns) {
                return sent;
            }
            // Without a slab they stay where they are.
            let Some(slab) = self.port.take_slab() else {
                return sent;
            };
            let out = self.port.slab_mut(&slab);
            let Some(late) = self.population.release_late(self.now_ns, out) else {
                self.port.release(slab);
                return sent;
            };
            if late.origin.stream > 0 {
                let octets = &self.port.slab_mut(&slab)[..late.length];
                if let Some(calls) = self.population.links() {
                    calls.links.put_sip(&late.origin, octets);
                }
                self.port.release(slab);
            } else {
                self.port
                    .send(slab, train_to(late.origin, late.length, late.segment));
            }
            self.meter.queued(late.answers, late.length);
            self.meter.was_late(late.lateness_ns, late.answers);
        }
        LATE_TRAINS_PER_TURN_MAX
    }

    #[inline]
    fn publish(&mut self, live: &Live) {
        let tally = self.population.tally();
        let totals = tally.totals();
        self.meter.read_cpu(self.now_ns);
        let [sessions_begun, sessions_established, sessions_open] =
            self.population.session_progress();
        live.store(&LoadgenProgress {
            sirs_received: totals.sirs,
            retransmissions_received: totals.retransmissions,
            datagrams_received: tally.datagrams,
            responses_sent: self.meter.answers_queued,
            malformed: tally.malformed,
            dropped: tally.dropped.values().sum(),
            late_waiting: self.population.late_waiting() as u64,
            sessions_begun,
            sessions_established,
            sessions_open,
            cpu_ns: self.meter.cpu_ns,
            wall_ns: self.now_ns.saturating_sub(self.meter.started_ns),
        });
    }

    /// Lets the last answers leave.
    fn flush(&mut self) -> Result<(), LoadgenError> {
        for _ in 0..FLUSH_TURNS_MAX {
            self.turn()?;
            if self.is_idle {
                break;
            }
        }
        self.port.turn(Wait::No)?;
        Ok(())
    }

    fn finish(self) -> Result<LoadgenReport, LoadgenError> {
        let mut report = self
            .meter
            .report(self.config, &self.port, &self.population, self.now_ns);
        report.notices = self.notices();
        if report.forgotten > 0 {
            report.notices.push(format!(
                "{} unanswered requests were forgotten before their Timer F; raise seen_entries",
                report.forgotten
            ));
        }
        let record = self.population.finish();
        if let Some(totals) = record.map_err(|source| record_error(self.config, source))? {
            add_record(&mut report, totals);
        }
        Ok(report)
    }

    fn notices(&self) -> Vec<String> {
        let all = self.port.limits();
        let mut notices: Vec<String> = all
            .iter()
            .take(NOTICES_MAX)
            .map(ToString::to_string)
            .collect();
        if all.len() > NOTICES_MAX {
            notices.push(format!(
                "{} more notices like these",
                all.len() - NOTICES_MAX
            ));
        }
        notices
    }
}

fn record_error(config: &LoadgenConfig, source: std::io::Error) -> LoadgenError {
    let path = config
        .record_sirs
        .as_ref()
        .map_or_else(String::new, |path| path.display().to_string());
    LoadgenError::Record { path, source }
}
