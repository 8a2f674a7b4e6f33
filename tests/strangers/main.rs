//! Strangers judge the wire: tshark, SIPp and Kamailio read and answer what Sirocco sends and receives.
//!
//! One codec on both sides can hide a bug on both sides; these share none with it. Everything runs on
//! loopback. A missing tool skips its tests loudly, and fails them in CI.

mod baresip;
mod calls;
mod capture;
#[path = "../rig/devices.rs"]
mod devices;
#[path = "../rig/engine.rs"]
mod engine;
mod kamailio;
mod linphone;
mod proxy;
mod sipp;
mod sipp_sessions;
mod tshark;
mod whole_run;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// First port handed out: below those that the kernel chooses of itself (ip(7), ip_local_port_range), so
/// that no socket of a test beside takes it between the look and its use.
const FIRST_PORT: u16 = 20_000;
/// Ports of one process; another process has others.
const PORTS_EACH: u16 = 1_000;
/// From one port to the next: a program takes the one behind its own besides (SIPS, RTCP).
const APART: u16 = 10;

/// A port of loopback, free for UDP and TCP a moment ago and told once, for a program that has to be told one.
fn free_port() -> u16 {
    static TOLD: AtomicU16 = AtomicU16::new(0);
    let share = u16::try_from(std::process::id() % 12).unwrap_or(0) * PORTS_EACH;
    loop {
        let number = TOLD.fetch_add(APART, Ordering::Relaxed);
        assert!(number < PORTS_EACH, "no free port among {PORTS_EACH}");
        let port = FIRST_PORT + share + number;
        let address = (Ipv4Addr::LOCALHOST, port);
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return port;
        }
    }
}

/// A port of loopback.
fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
