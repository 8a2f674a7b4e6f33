//! The control loop of the engine role: takes what comes in at the door, commands the worker, passes
//! its events on and shows progress four times a second. It shares nothing with the worker but bounded
//! channels and relaxed counters, so it never delays a turn.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded, select};
use serde::Serialize;
use sirocco_dispatch::change::IndexChange;
use sirocco_dispatch::config::EngineConfig;
use sirocco_dispatch::flight::FlightLog;
use sirocco_dispatch::live::Live;
use sirocco_dispatch::load::{Load, Offered, Wanted as LoadWanted, shuffle};
use sirocco_dispatch::order::{Audience, Order};
use sirocco_dispatch::series::{Series, SeriesReport};
use sirocco_dispatch::worker::{Command, Event};
use sirocco_index::Identity;
use sirocco_ring::Waker;
use sirocco_schedule::{Plan, Shape, Steer};

use super::Failure;
use super::door::{Applied, Arrival, answer};
use super::orders::{self, Orders};
use super::window::{self, Window};
use crate::flight::{self, Origin};
use crate::role::protocol::{Drained, EngineCommand, LoadRequest, Loaded, Population};
use crate::role::{complain, emit};
use crate::scenario::{Wanted, order};
use crate::watch::reading;

/// Time between two progress events.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// Longest time between two looks at signals and deadlines.
const LOOK: Duration = Duration::from_millis(20);

/// Changes by stdin whose answers may wait; the worker drops the answer of one beyond it.
const CHANGES_MAX: usize = 1 << 16;

/// Time for the worker to hand over the identities of a large index.
const COLLECT: Duration = Duration::from_secs(60);

/// What a report was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Marked,
    Unmarked,
    Drained,
}

/// The loop and what it remembers.
pub struct Control {
    commands: Sender<Command>,
    waker: Option<Waker>,
    live: Arc<Live>,
    drain: Duration,
    /// Orders under way by name, and how many of each.
    active: HashMap<String, usize>,
    asked: VecDeque<Purpose>,
    window: Window,
    drain_until: Option<Instant>,
    loads: u64,
    series: Option<SeriesReport>,
    /// Orders to be written after the drain.
    orders: Option<Orders>,
    ending: bool,
    /// What became of the changes that came by stdin.
    applied: (Sender<Applied>, Receiver<Applied>),
    /// Where failures are written, and the engine's address.
    flight: Option<(PathBuf, SocketAddr)>,
}

/// What the due times of a load follow from; none where the windows set the pace.
fn plan(request: &LoadRequest) -> Option<Plan> {
    let unit = request.sirs_per_order.unwrap_or(1.0);
    let shape = match (&request.shape, request.rate) {
        (Some(shape), _) => shape.clone(),
        (None, rate) => Shape::constant(rate? * unit),
    };
    Some(Plan {
        shape,
        arrivals: request.arrivals,
        seed: request.seed,
        unit,
        entries_max: request.orders_max.unwrap_or(u64::MAX),
        steers: request.steers.clone(),
    })
}

/// Room for the course of a load, made here so that the worker makes none.
fn series(request: &LoadRequest) -> Option<Box<Series>> {
    let interval_ns = request.series_ms?.saturating_mul(1_000_000);
    let shape = request.shape.as_ref();
    let length_ns = shape.and_then(Shape::length_ns);
    let segments = shape.map_or(1, |shape| shape.segments().len());
    Some(Box::new(Series::new(interval_ns, length_ns, segments)))
}

/// Event `steered`.
#[derive(Serialize)]
struct Steering {
    change: Steer,
    loads: usize,
}

/// Event `refused`.
#[derive(Serialize)]
struct Refused {
    order: String,
    reason: String,
}

impl Control {
    /// A loop that commands the worker behind `commands`.
    pub fn new(
        config: &EngineConfig,
        commands: Sender<Command>,
        waker: Option<Waker>,
        live: Arc<Live>,
    ) -> Self {
        Self {
            commands,
            waker,
            live,
            drain: Duration::from_millis(config.drain_ms),
            active: HashMap::new(),
            asked: VecDeque::new(),
            window: Window::default(),
            drain_until: None,
            loads: 0,
            series: None,
            orders: None,
            ending: false,
            applied: bounded(CHANGES_MAX),
            flight: None,
        }
    }

    /// The same, which writes the failures of the engine at an address when it is told to.
    #[must_use]
    pub fn with_flight(mut self, flight: Option<(PathBuf, SocketAddr)>) -> Self {
        self.flight = flight;
        self
    }

    /// Runs until the worker ends, which closes its channel of events.
    ///
    /// # Errors
    /// When signals cannot be listened to.
    pub fn run(
        mut self,
        events: &Receiver<Event>,
        arrivals: &Receiver<Arrival>,
    ) -> Result<(), Failure> {
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&ended))?;
        }
        let mut shown = Instant::now();
        loop {
            select! {
                recv(events) -> event => match event {
                    Ok(event) => self.pass_on(event),
                    Err(_) => return Ok(()),
                },
                recv(arrivals) -> arrival => match arrival {
                    Ok(arrival) => self.take(arrival),
                    // Cannot happen before `Closed`; nothing more can come then.
                    Err(_) => std::thread::sleep(LOOK),
                },
                recv(self.applied.1) -> applied => {
                    if let Ok(applied) = applied {
                        emit("changed", &answer(applied));
                    }
                },
                default(LOOK) => {}
            }
            if ended.load(Ordering::Relaxed) {
                self.end();
            }
            self.look_at_drain();
            if shown.elapsed() >= PROGRESS_EVERY {
                shown = Instant::now();
                self.show();
            }
        }
    }

    fn command(&self, command: Command) {
        // A worker that is gone closes its events, which ends the loop.
        self.commands.send(command).ok();
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }

    fn end(&mut self) {
        if !self.ending {
            self.ending = true;
            self.command(Command::Drain);
        }
    }

    fn take(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Command(command) => self.obey(command),
            Arrival::Order(order) => self.order(*order),
            Arrival::Change(change, waiting) => self.change(change, waiting),
            Arrival::Refused(reason) => {
                emit(
                    "refused",
                    &Refused {
                        order: String::new(),
                        reason,
                    },
                );
            }
            Arrival::Closed => self.end(),
        }
    }

    fn order(&mut self, order: Order) {
        *self.active.entry(order.name.clone()).or_default() += 1;
        self.command(Command::Order(Box::new(order)));
    }

    fn change(&self, change: IndexChange, waiting: Option<Sender<Applied>>) {
        let applied = waiting.unwrap_or_else(|| self.applied.0.clone());
        self.command(Command::Change(Box::new(move |index| {
            // The worker waits for nobody.
            applied.try_send(change.apply(index)).ok();
        })));
    }

    fn obey(&mut self, command: EngineCommand) {
        match command {
            EngineCommand::Mark => self.mark(),
            EngineCommand::Unmark => {
                self.command(Command::Unmark);
                self.ask(Purpose::Unmarked);
            }
            EngineCommand::EndLoad => self.command(Command::StopLoads),
            EngineCommand::Drain => self.drain_until = Some(Instant::now() + self.drain),
            EngineCommand::Books => self.ask(Purpose::Drained),
            EngineCommand::Stop => self.command(Command::Stop),
            EngineCommand::Flight if self.flight.is_none() => {
                complain("nowhere to write failures to: start the engine with --flight PREFIX");
            }
            EngineCommand::Flight => self.command(Command::Flights),
            EngineCommand::Steer(change) => self.command(Command::Steer(change)),
            EngineCommand::Load(request) => self.load(&request),
            // The door reads orders and changes itself.
            EngineCommand::Order(_) | EngineCommand::Change(_) => {}
        }
    }

    fn mark(&mut self) {
        self.ask(Purpose::Marked);
        self.command(Command::Mark);
    }

    fn ask(&mut self, purpose: Purpose) {
        self.asked.push_back(purpose);
        self.command(Command::Report);
    }

    /// Makes a schedule over every identity of the index and gives it to the worker.
    fn load(&mut self, request: &LoadRequest) {
        let Some(mut identities) = self.identities() else {
            return complain("the worker does not hand its identities over");
        };
        shuffle(&mut identities, request.seed);
        let identities: Arc<[Identity]> = identities.into();
        let (wanted, mode) = match request.wanted {
            Wanted::OneInTurn => (LoadWanted::OneInTurn, "targeted"),
            Wanted::All => (LoadWanted::All, "fan-out"),
        };
        let plan = plan(request);
        let load = match &plan {
            Some(plan) => Load::planned(Arc::clone(&identities), wanted, Some(plan)),
            None => {
                let orders_max = request.orders_max.unwrap_or(u64::MAX);
                Load::new(Arc::clone(&identities), wanted, None, orders_max)
            }
        };
        let load = load.with_series(series(request));
        self.orders = request.orders_file.clone().map(|path| Orders {
            path,
            identities,
            wanted,
            plan,
        });
        let population = self.survey(request);
        self.loads += 1;
        let mut fields = request.order.clone();
        fields.entry("mode").or_insert_with(|| mode.into());
        let audience = Audience::Load(load);
        let order = match order(fields, &format!("load-{}", self.loads)) {
            Ok(order) => order,
            Err(error) => return complain(error),
        };
        if request.marked {
            self.mark();
        }
        self.order(Order { audience, ..order });
        if request.marked {
            self.command(Command::UnmarkWhenOver);
        }
        emit("loaded", &Loaded { population });
    }

    /// Who is in the index, where it was asked for.
    fn survey(&self, request: &LoadRequest) -> Option<Population> {
        let (counted, counting) = bounded(1);
        request.survey.then(|| {
            self.command(Command::Change(Box::new(move |index| {
                // Nobody waits any more when the time was over.
                counted.send(orders::population(index)).ok();
            })));
        })?;
        let digest = counting.recv_timeout(COLLECT).ok()?;
        Some(Population { digest })
    }

    /// Writes the orders of the last load, as they were offered.
    fn write_orders(&mut self, offered: &Offered) {
        let Some(orders) = self.orders.take() else {
            return;
        };
        let path = orders.path.clone();
        if let Err(error) = orders.write(offered) {
            complain(format!("orders in {}: {error}", path.display()));
        }
    }

    fn identities(&self) -> Option<Vec<Identity>> {
        let (collected, collecting) = bounded(1);
        self.command(Command::Change(Box::new(move |index| {
            // Nobody waits any more when the time was over.
            collected.send(index.keys().collect()).ok();
        })));
        collecting.recv_timeout(COLLECT).ok()
    }

    fn pass_on(&mut self, event: Event) {
        match event {
            Event::Finished(summary) => {
                self.over(&summary.order);
                emit("finished", &summary);
            }
            Event::Refused { order, reason } => {
                self.over(&order);
                emit("refused", &Refused { order, reason });
            }
            Event::Steered { change, steered } => {
                let loads = steered;
                emit("steered", &Steering { change, loads });
            }
            Event::Flights(log) => self.write_flights(&log),
            Event::Over => {
                self.ask(Purpose::Unmarked);
                emit("over", &serde_json::json!({}));
            }
            Event::Series(series) => self.series = series.map(|series| series.report()),
            Event::Report(report) => match self.asked.pop_front() {
                Some(Purpose::Marked) => self.window.begin = *report,
                Some(Purpose::Unmarked) => self.window.end = *report,
                Some(Purpose::Drained) => {
                    self.write_orders(&report.offered);
                    let drained = window::drained(&report, &self.window);
                    emit(
                        "drained",
                        &Drained {
                            series: self.series.take(),
                            ..drained
                        },
                    );
                }
                None => {}
            },
        }
    }

    fn write_flights(&self, log: &FlightLog) {
        let Some((prefix, local)) = &self.flight else {
            return;
        };
        match flight::write(log, Origin::here(*local), prefix) {
            Ok(Some(written)) => emit("flight", &written),
            Ok(None) => complain("nothing has failed, so there is nothing to write"),
            Err(error) => complain(error),
        }
    }

    fn over(&mut self, order: &str) {
        if let Some(count) = self.active.get_mut(order) {
            *count -= 1;
            if *count == 0 {
                self.active.remove(order);
            }
        }
    }

    fn look_at_drain(&mut self) {
        let Some(until) = self.drain_until else {
            return;
        };
        if self.active.is_empty() || Instant::now() >= until {
            self.drain_until = None;
            self.command(Command::Series);
            self.ask(Purpose::Drained);
        }
    }

    fn show(&self) {
        emit("progress", &reading::engine(&self.live));
    }
}
