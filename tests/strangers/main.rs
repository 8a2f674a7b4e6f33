//! Strangers judge the wire: tshark, SIPp and Kamailio read and answer what Sirocco sends and receives.
//!
//! One codec on both sides can hide a bug on both sides; these share none with it. Everything runs on
//! loopback and ports that the kernel chose. A missing tool skips its tests loudly, and fails them in CI.

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

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// A UDP port of loopback that was free a moment ago, for a program that has to be told one.
fn free_port() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.local_addr().expect("an address").port()
}

/// A port of loopback.
fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
