//! A shard over the engine's real sockets, and a peer that answers on the same thread: between two turns
//! everything has arrived, since loopback delivers within the send. What is counted is the engine's
//! alone: system calls, submissions, trains.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};

use sirocco_dispatch::outlet::Outlet;
use sirocco_dispatch::report::Counts;
use sirocco_dispatch::stopwatch::Stopwatch;
use sirocco_ring::Wait;
use sirocco_wire::sip::message::Message;
use sirocco_wire::sip::status::Status;
use sirocco_wire::sip::write;

use super::{CountedError, Counters, TURN_NS};

/// Turns before counting: receives are armed, lists have their size.
const WARM_UP_TURNS: u64 = 500;

/// Turns that are counted.
const COUNTED_TURNS: u64 = 2_000;

/// SIRs that these turns dispatch, at least.
const SIRS_MIN: u64 = 30_000;

/// Longest datagram here.
const DATAGRAM_BYTES_MAX: usize = 2048;

/// Counts a warm engine on loopback.
pub fn count() -> Result<Counters, CountedError> {
    let sockets = |error: &dyn std::fmt::Display| CountedError::Sockets(error.to_string());
    let peer = Peer::open().map_err(|error| sockets(&error))?;
    let edge = peer.socket.local_addr().map_err(|error| sockets(&error))?;
    let config = super::config();
    let mut outlet = Outlet::open(&config, 1).map_err(|error| sockets(&error))?;
    let mut shard = super::shard(&config, outlet.address(), edge)?;
    let mut watch = Stopwatch::new(false);
    let mut now = 0;
    let mut begin = Counts::default();
    for turn in 0..WARM_UP_TURNS + COUNTED_TURNS {
        if turn == WARM_UP_TURNS {
            begin = outlet.count(Counts::default());
        }
        now += TURN_NS;
        outlet.submit(Wait::No).map_err(|error| sockets(&error))?;
        outlet.reap();
        outlet.settle(now, &mut shard, &mut watch);
        shard.expire(now);
        shard.select(now, &mut ());
        shard.depart(now, &mut outlet, &mut ());
        peer.answer().map_err(|error| sockets(&error))?;
    }
    let counts = outlet.count(Counts::default()).since(&begin);
    let sirs = counts.datagrams_sent;
    let mut counters = super::per_sir(
        sirs,
        SIRS_MIN,
        &[
            ("port_syscalls_per_sir", counts.syscalls),
            ("port_submissions_per_sir", counts.submissions),
        ],
    )?;
    let segments = sirs as f64 / counts.trains_sent as f64;
    counters.insert("port_segments_per_train".to_owned(), segments);
    Ok(counters)
}

/// What answers each SIR with 200.
struct Peer {
    socket: UdpSocket,
}

impl Peer {
    fn open() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    /// Answers all that has arrived.
    fn answer(&self) -> io::Result<()> {
        let (mut octets, mut out) = ([0; DATAGRAM_BYTES_MAX], [0; DATAGRAM_BYTES_MAX]);
        loop {
            let (length, source) = match self.socket.recv_from(&mut octets) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let Ok(request) = Message::parse(&octets[..length]) else {
                continue;
            };
            if let Ok(written) = write::response(&mut out, &request, Status::OK, b"d", &[]) {
                self.socket.send_to(&out[..written], source)?;
            }
        }
    }
}
