//! What a port costs at best: one thread sends trains of 64 messages of 550 octets, another answers
//! each with 64 messages of 350, both pinned, a window of trains always under way. Prints messages
//! per second and CPU nanoseconds per message and side. Deliberately parses and patches nothing.
//!
//! `cargo run --release -p sirocco-ring --example closed_loop -- [key=value ...]`, keys as in `Plan`.

#![allow(clippy::print_stdout)] // The output is the point.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sirocco_ring::clock::{ThreadCpu, now_ns};
use sirocco_ring::{
    Backend, Counters, Port, PortConfig, SendPath, SocketConfig, Train, Wait, affinity,
};

const REQUEST_BYTES: u16 = 550;
const ANSWER_BYTES: u16 = 350;

#[derive(Clone)]
struct Plan {
    backend: Backend,
    path: SendPath,
    buffers: u32,
    window: u32,
    segments: u16,
    sockets: u16,
    huge: bool,
    gro: bool,
    spin: bool,
    seconds: u64,
}

struct Side {
    messages: u64,
    cpu_ns: u64,
    wall_ns: u64,
    counters: Counters,
}

fn plan() -> Plan {
    let mut plan = Plan {
        backend: Backend::Auto,
        path: SendPath::Copy,
        buffers: 32,
        window: 16,
        segments: 64,
        sockets: 1,
        huge: true,
        gro: true,
        spin: false,
        seconds: 2,
    };
    for argument in std::env::args().skip(1) {
        let (key, value) = argument.split_once('=').expect("arguments are key=value");
        let number = || value.parse::<u32>().expect("a number");
        match (key, value) {
            ("backend", "uring") => plan.backend = Backend::Uring,
            ("backend", "mmsg") => plan.backend = Backend::Mmsg,
            ("path", "zc") => plan.path = SendPath::ZeroCopy,
            ("path", "fixed") => plan.path = SendPath::ZeroCopyFixed,
            ("buffers", _) => plan.buffers = number(),
            ("window", _) => plan.window = number(),
            ("segments", _) => plan.segments = number() as u16,
            ("sockets", _) => plan.sockets = number() as u16,
            ("huge", _) => plan.huge = number() != 0,
            ("gro", _) => plan.gro = number() != 0,
            ("spin", _) => plan.spin = number() != 0,
            ("seconds", _) => plan.seconds = number().into(),
            _ => panic!("unknown argument {argument}"),
        }
    }
    plan
}

fn open(plan: &Plan, sockets: u16) -> Port {
    let mut config = PortConfig::new(vec![SocketConfig::default(); usize::from(sockets)]);
    config.backend = plan.backend;
    config.send_path = plan.path;
    config.receive_buffer_count = plan.buffers;
    config.slab_count = (plan.window * 2).max(64);
    config.huge_pages = plan.huge;
    config.gro = plan.gro;
    let port = Port::open(&config).expect("loopback port");
    for notice in port.limits() {
        println!("# {notice}");
    }
    port
}

fn train(plan: &Plan, octets: u16, target: std::net::SocketAddr, socket: u16) -> Train {
    let length = u32::from(octets) * u32::from(plan.segments);
    Train {
        socket,
        target,
        source: None,
        length,
        segment: octets,
        tag: 0,
    }
}

/// The device side: answers every message, in trains as they came.
fn answer(plan: &Plan, mut port: Port, stop: &AtomicBool) -> Side {
    let cpu = ThreadCpu::start();
    let start_ns = now_ns();
    let wait = if plan.spin {
        Wait::No
    } else {
        Wait::Until(Duration::from_millis(1))
    };
    let mut peers = Vec::with_capacity(plan.buffers as usize);
    let mut messages = 0;
    while !stop.load(Ordering::Relaxed) {
        port.turn(wait).expect("turn");
        port.receive(usize::MAX, |received| {
            let count = received.datagram_count() as u32;
            peers.push((received.peer, received.socket, count));
        });
        for (peer, socket, count) in peers.drain(..) {
            messages += u64::from(count);
            let slab = port.take_slab().expect("more slabs than the window");
            let length = u32::from(ANSWER_BYTES) * count;
            let answer = Train {
                length,
                ..train(plan, ANSWER_BYTES, peer, socket)
            };
            port.send(slab, answer);
        }
        port.sent(|_| ());
    }
    side(messages, &cpu, start_ns, &port)
}

/// The engine side: keeps `window` trains under way, spread over the device side's sockets.
fn dispatch(plan: &Plan, mut port: Port, targets: &[std::net::SocketAddr]) -> Side {
    let cpu = ThreadCpu::start();
    let start_ns = now_ns();
    let wait = if plan.spin {
        Wait::No
    } else {
        Wait::Until(Duration::from_millis(1))
    };
    let (mut messages, mut under_way, mut next) = (0_u64, 0_u64, 0_usize);
    while now_ns() - start_ns < plan.seconds * 1_000_000_000 {
        let segments = u64::from(plan.segments);
        while under_way + segments <= u64::from(plan.window) * segments {
            let Some(slab) = port.take_slab() else { break };
            port.send(slab, train(plan, REQUEST_BYTES, targets[next], 0));
            next = (next + 1) % targets.len();
            under_way += segments;
        }
        port.turn(wait).expect("turn");
        let before = messages;
        port.receive(usize::MAX, |received| {
            messages += received.datagram_count() as u64;
        });
        under_way -= messages - before;
        port.sent(|_| ());
    }
    side(messages, &cpu, start_ns, &port)
}

fn side(messages: u64, cpu: &ThreadCpu, start_ns: u64, port: &Port) -> Side {
    let counters = *port.counters();
    Side {
        messages,
        cpu_ns: cpu.elapsed_ns(),
        wall_ns: now_ns() - start_ns,
        counters,
    }
}

fn print(name: &str, side: &Side) {
    let messages = side.messages as f64;
    let per_second = messages / side.wall_ns as f64 * 1000.0;
    let cpu_ns = side.cpu_ns as f64 / messages;
    let syscalls = messages / side.counters.syscalls as f64;
    let trains = messages / side.counters.trains_received as f64;
    let Counters {
        rearms, enobufs, ..
    } = side.counters;
    println!(
        "{name}: {per_second:.2} M messages/s, {cpu_ns:.0} ns CPU each, {syscalls:.0} messages a syscall, \
         {trains:.1} a receive buffer, {rearms} rearms, {enobufs} enobufs"
    );
}

fn main() {
    let plan = plan();
    let cores = affinity::cores_allowed().expect("affinity");
    let stop = Arc::new(AtomicBool::new(false));
    let (tell, told) = std::sync::mpsc::channel();
    let device = {
        let (plan, stop, core) = (plan.clone(), stop.clone(), *cores.last().expect("a core"));
        thread::spawn(move || {
            affinity::pin(core).expect("pinning");
            let port = open(&plan, plan.sockets);
            let targets: Vec<_> = (0..plan.sockets).map(|n| port.local_address(n)).collect();
            tell.send(targets).expect("the engine side waits");
            answer(&plan, port, &stop)
        })
    };
    affinity::pin(cores[0]).expect("pinning");
    let targets = told.recv().expect("the device side opened");
    let engine = dispatch(&plan, open(&plan, 1), &targets);
    stop.store(true, Ordering::Relaxed);
    let device = device.join().expect("the device side");
    print("engine", &engine);
    print("device", &device);
}
