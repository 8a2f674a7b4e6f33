//! What TCP costs through a port, beside the same exchange by blocking calls of std, which is the
//! ceiling: `bulk` pours octets one way, `messages` sends 550 octets on each stream and waits for 350
//! back, `window` of them under way a stream. Two threads, pinned. Deliberately parses nothing.
//!
//! `cargo run --release -p sirocco-ring --example stream_loop -- [key=value ...]`, keys as in `Plan`.

#![allow(clippy::print_stdout)] // The output is the point.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use sirocco_ring::clock::{ThreadCpu, now_ns};
use sirocco_ring::{
    Backend, ListenerConfig, Port, PortConfig, SocketConfig, StreamEvent, StreamId, Wait, affinity,
};

const REQUEST_BYTES: usize = 550;
const ANSWER_BYTES: usize = 350;
const PIECE_BYTES: usize = 65_536;

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Port(Backend),
    Raw,
}

#[derive(Clone, Copy)]
struct Plan {
    way: Way,
    bulk: bool,
    streams: usize,
    window: usize,
    buffers: u32,
    seconds: u64,
}

/// What one side saw: units (messages or octets), CPU and time.
struct Side {
    units: u64,
    cpu_ns: u64,
    wall_ns: u64,
    syscalls: u64,
}

fn plan() -> Plan {
    let mut plan = Plan {
        way: Way::Port(Backend::Auto),
        bulk: false,
        streams: 64,
        window: 1,
        buffers: 64,
        seconds: 1,
    };
    for argument in std::env::args().skip(1) {
        let (key, value) = argument.split_once('=').expect("arguments are key=value");
        let number = || value.parse::<usize>().expect("a number");
        match (key, value) {
            ("way", "uring") => plan.way = Way::Port(Backend::Uring),
            ("way", "mmsg") => plan.way = Way::Port(Backend::Mmsg),
            ("way", "raw") => plan.way = Way::Raw,
            ("what", "bulk") => plan.bulk = true,
            ("what", "messages") => plan.bulk = false,
            ("streams", _) => plan.streams = number(),
            ("window", _) => plan.window = number(),
            ("buffers", _) => plan.buffers = number() as u32,
            ("seconds", _) => plan.seconds = number() as u64,
            _ => panic!("unknown argument {argument}"),
        }
    }
    plan
}

fn open(plan: &Plan, backend: Backend) -> Port {
    let mut config = PortConfig::new(vec![SocketConfig::default()]);
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.backend = backend;
    config.listeners = vec![ListenerConfig::new(loopback)];
    config.streams_max = plan.streams as u32 * 2;
    config.stream_buffers = plan.buffers;
    config.stream_blocks = 4096;
    Port::open(&config).expect("loopback port")
}

/// The side that hears: answers every message, or counts octets.
fn answer(plan: Plan, backend: Backend, tell: &Sender<SocketAddr>, stop: &AtomicBool) -> Side {
    let mut port = open(&plan, backend);
    tell.send(port.listener_address(0)).expect("one waits");
    let (cpu, start_ns) = (ThreadCpu::start(), now_ns());
    let mut heard = vec![0; plan.streams * 2];
    let mut due: Vec<(StreamId, usize)> = Vec::with_capacity(1024);
    let mut units = 0;
    while !stop.load(Ordering::Relaxed) {
        let wait = Wait::Until(Duration::from_millis(1));
        port.turn(wait).expect("turn");
        port.streams(usize::MAX, |event| {
            if let StreamEvent::Received { stream, bytes } = event {
                if plan.bulk {
                    units += bytes.len() as u64;
                    return;
                }
                let heard: &mut usize = &mut heard[stream.slot() as usize];
                *heard += bytes.len();
                due.push((stream, *heard / REQUEST_BYTES));
                *heard %= REQUEST_BYTES;
            }
        });
        for (stream, count) in due.drain(..) {
            units += count as u64;
            for _ in 0..count {
                let sent = port.send_stream(stream, &[b'a'; ANSWER_BYTES]);
                sent.expect("the window is below the queue");
            }
        }
    }
    side(units, &cpu, start_ns, port.counters().syscalls)
}

/// The side that asks: keeps a window a stream under way, or pours octets.
fn ask(plan: Plan, backend: Backend, target: SocketAddr) -> Side {
    let mut port = open(&plan, backend);
    let connect = |_| port.connect(target, None).expect("slots for all");
    let streams: Vec<StreamId> = (0..plan.streams).map(connect).collect();
    let (cpu, start_ns) = (ThreadCpu::start(), now_ns());
    let (request, piece) = ([b'r'; REQUEST_BYTES], vec![b'p'; PIECE_BYTES]);
    let mut heard = vec![0; plan.streams * 2];
    let mut due: Vec<(StreamId, usize)> = streams.iter().map(|id| (*id, plan.window)).collect();
    let mut units = 0;
    while now_ns() - start_ns < plan.seconds * 1_000_000_000 {
        if plan.bulk {
            for stream in &streams {
                while port.send_stream(*stream, &piece).is_ok() {
                    units += PIECE_BYTES as u64;
                }
            }
        }
        for (stream, count) in due.drain(..) {
            for _ in 0..if plan.bulk { 0 } else { count } {
                let sent = port.send_stream(stream, &request);
                sent.expect("the window is below the queue");
            }
        }
        let wait = Wait::Until(Duration::from_millis(1));
        port.turn(wait).expect("turn");
        port.streams(usize::MAX, |event| {
            if let StreamEvent::Received { stream, bytes } = event {
                let heard: &mut usize = &mut heard[stream.slot() as usize];
                *heard += bytes.len();
                due.push((stream, *heard / ANSWER_BYTES));
                units += (*heard / ANSWER_BYTES) as u64;
                *heard %= ANSWER_BYTES;
            }
        });
    }
    side(units, &cpu, start_ns, port.counters().syscalls)
}

/// As `answer`, by blocking calls: each stream in turn, a window at a time.
fn answer_raw(plan: Plan, tell: &Sender<SocketAddr>) -> Side {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let address = listener.local_addr().expect("an address");
    tell.send(address).expect("one waits");
    let accept = |_| listener.accept().expect("a peer").0;
    let mut streams: Vec<TcpStream> = (0..plan.streams).map(accept).collect();
    let (cpu, start_ns) = (ThreadCpu::start(), now_ns());
    let mut room = vec![0; PIECE_BYTES.max(plan.window * REQUEST_BYTES)];
    let answers = vec![b'a'; plan.window * ANSWER_BYTES];
    let (mut units, mut syscalls) = (0, 0);
    'all: loop {
        for stream in &mut streams {
            syscalls += 2;
            if plan.bulk {
                match stream.read(&mut room) {
                    Ok(count @ 1..) => units += count as u64,
                    _ => break 'all,
                }
                continue;
            }
            let requests = &mut room[..plan.window * REQUEST_BYTES];
            if stream.read_exact(requests).is_err() || stream.write_all(&answers).is_err() {
                break 'all;
            }
            units += plan.window as u64;
        }
    }
    side(units, &cpu, start_ns, syscalls)
}

fn ask_raw(plan: Plan, target: SocketAddr) -> Side {
    let connect = |_| {
        let stream = TcpStream::connect(target).expect("a listener");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream
    };
    let mut streams: Vec<TcpStream> = (0..plan.streams).map(connect).collect();
    let (cpu, start_ns) = (ThreadCpu::start(), now_ns());
    let requests = vec![b'r'; plan.window * REQUEST_BYTES];
    let piece = vec![b'p'; PIECE_BYTES];
    let mut answers = vec![0; plan.window * ANSWER_BYTES];
    let (mut units, mut syscalls) = (0, 0);
    while now_ns() - start_ns < plan.seconds * 1_000_000_000 {
        for stream in &mut streams {
            syscalls += 1;
            let octets = if plan.bulk { &piece } else { &requests };
            stream.write_all(octets).expect("the peer reads");
            units += if plan.bulk { PIECE_BYTES as u64 } else { 0 };
        }
        for stream in streams
            .iter_mut()
            .take(if plan.bulk { 0 } else { plan.streams })
        {
            syscalls += 1;
            stream.read_exact(&mut answers).expect("the peer answers");
            units += plan.window as u64;
        }
    }
    side(units, &cpu, start_ns, syscalls)
}

fn side(units: u64, cpu: &ThreadCpu, start_ns: u64, syscalls: u64) -> Side {
    Side {
        units,
        cpu_ns: cpu.elapsed_ns(),
        wall_ns: now_ns() - start_ns,
        syscalls,
    }
}

fn print(name: &str, plan: &Plan, side: &Side) {
    let units = side.units as f64;
    let per_ns = units / side.wall_ns as f64;
    if plan.bulk {
        let cpu_ns = side.cpu_ns as f64 / (units / 1024.0);
        println!("{name}: {per_ns:.2} G octets/s, {cpu_ns:.0} ns CPU a KiB");
        return;
    }
    let (per_second, cpu_ns) = (per_ns * 1e6, side.cpu_ns as f64 / units);
    let calls = units / side.syscalls as f64;
    println!("{name}: {per_second:.0} k messages/s, {cpu_ns:.0} ns CPU each, {calls:.1} a syscall");
}

fn main() {
    let plan = plan();
    let cores = affinity::cores_allowed().expect("affinity");
    let stop = Arc::new(AtomicBool::new(false));
    let (tell, told) = mpsc::channel();
    let far = {
        let (stop, core) = (stop.clone(), *cores.last().expect("a core"));
        thread::spawn(move || {
            affinity::pin(core).expect("pinning");
            match plan.way {
                Way::Port(backend) => answer(plan, backend, &tell, &stop),
                Way::Raw => answer_raw(plan, &tell),
            }
        })
    };
    affinity::pin(cores[0]).expect("pinning");
    let target = told.recv().expect("the far side opened");
    let near = match plan.way {
        Way::Port(backend) => ask(plan, backend, target),
        Way::Raw => ask_raw(plan, target),
    };
    stop.store(true, Ordering::Relaxed);
    let far = far.join().expect("the far side");
    print("near", &plan, &near);
    print("far ", &plan, &far);
}
