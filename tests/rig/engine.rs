//! A real engine worker on a thread of the test, and words to it. Its port is a kernel's, its clock too.

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use sirocco_dispatch::config::EngineConfig;
use sirocco_dispatch::intake::Summary;
use sirocco_dispatch::live::Live;
use sirocco_dispatch::order::Order;
use sirocco_dispatch::report::EngineReport;
use sirocco_dispatch::shard::Remainder;
use sirocco_dispatch::worker::{Command, Event, Lines, run};
use sirocco_index::Index;
use sirocco_index::population::{DevicesEach, GenerateSpec, generate_into};
use sirocco_ring::Waker;
use sirocco_tests::process::PATIENCE;

/// A running worker.
pub struct Engine {
    commands: Sender<Command>,
    /// What it tells.
    pub events: Receiver<Event>,
    waker: Option<Waker>,
    thread: JoinHandle<(EngineReport, Vec<Remainder>)>,
}

impl Engine {
    /// Starts a worker and waits until it is ready.
    pub fn start(config: EngineConfig, index: Index) -> Self {
        let (commands, obeyed) = unbounded();
        let (told, events) = unbounded();
        let (ready, introduced) = bounded(1);
        let thread = thread::spawn(move || {
            let live = Live::default();
            let mut names = Vec::new();
            let mut name = |remainder| names.push(remainder);
            let lines = Lines {
                commands: obeyed,
                events: told,
                live: &live,
                remainder: &mut name,
            };
            let ended = run(&config, index, lines, |started| {
                ready.send(started).expect("the test waits for it");
            });
            let (report, _) = ended.expect("a worker that runs");
            (report, names)
        });
        let started = introduced
            .recv_timeout(PATIENCE)
            .expect("a worker that starts");
        Self {
            commands,
            events,
            waker: started.waker,
            thread,
        }
    }

    /// Gives a command.
    pub fn tell(&self, command: Command) {
        self.commands.send(command).expect("a running worker");
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }

    /// Gives an order and waits for its end.
    pub fn order(&self, order: Order) -> Summary {
        self.tell(Command::Order(Box::new(order)));
        match self
            .events
            .recv_timeout(PATIENCE)
            .expect("an order that ends")
        {
            Event::Finished(summary) => summary,
            other => panic!("{other:?} instead of the end of an order"),
        }
    }

    /// Stops it: its last report, and what it cancelled.
    pub fn stop(self) -> (EngineReport, Vec<Remainder>) {
        self.tell(Command::Stop);
        self.thread.join().expect("a worker that stops")
    }
}

/// An index of generated identities, each with so many devices, behind the given next hops.
pub fn population(identities: u64, devices: u32, next_hops: &[SocketAddr]) -> Index {
    let spec = GenerateSpec {
        identities,
        devices: DevicesEach::exactly(devices),
        next_hops: next_hops.to_vec(),
        ..GenerateSpec::default()
    };
    let mut index = Index::new(identities as usize).expect("memory");
    generate_into(&spec, &mut index).expect("a sound population");
    index
}
