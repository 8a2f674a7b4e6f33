//! Probe for TCP: requests as one stream in 64 KiB writes, responses as another back on the same
//! connection. The figure that SIP over TCP to one next hop could reach at best, for comparison.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::endpoint;
use super::trains::joined;
use super::{Cores, Measured, Run, Timing};

/// Bytes of one write and of one read.
const WRITE_BYTES: usize = 64 << 10;

/// Bytes of requests sent ahead of their responses.
const IN_FLIGHT_BYTES: u64 = 16 * WRITE_BYTES as u64;

/// Requests out, responses back, until the time is over; counts answered requests.
///
/// # Errors
/// The kernel's, when the connection cannot be opened or breaks.
pub fn closed_loop(
    request_bytes: u16,
    response_bytes: u16,
    cores: Cores,
    timing: Timing,
) -> io::Result<Run> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
    }
    let lengths = (
        u64::from(request_bytes.max(1)),
        u64::from(response_bytes.max(1)),
    );
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let peer = scope.spawn(|| answer(&far, lengths, cores.far, &stop));
        let sender = scope.spawn(|| {
            let run = ask(&near, lengths, cores.near, timing);
            stop.store(true, Ordering::Relaxed);
            run
        });
        let run = joined(sender);
        joined(peer)?;
        run
    })
}

fn ask(
    mut stream: &TcpStream,
    (request, response): (u64, u64),
    core: usize,
    timing: Timing,
) -> io::Result<Run> {
    endpoint::pin(core)?;
    let out = vec![b'R'; WRITE_BYTES];
    let mut buffer = vec![0u8; WRITE_BYTES];
    let (mut written, mut answered_bytes) = (0u64, 0u64);
    let mut clock = Measured::new(timing);
    while !clock.is_over(answered_bytes / response) {
        let answered = answered_bytes / response;
        if written - answered * request < IN_FLIGHT_BYTES {
            written += amount(stream.write(&out))?;
        }
        answered_bytes += amount(stream.read(&mut buffer))?;
    }
    Ok(clock.run(answered_bytes / response, 0))
}

fn answer(
    mut stream: &TcpStream,
    (request, response): (u64, u64),
    core: usize,
    stop: &AtomicBool,
) -> io::Result<()> {
    endpoint::pin(core)?;
    let out = vec![b'r'; WRITE_BYTES];
    let mut buffer = vec![0u8; WRITE_BYTES];
    let (mut read, mut written) = (0u64, 0u64);
    while !stop.load(Ordering::Relaxed) {
        read += amount(stream.read(&mut buffer))?;
        let owed = read / request * response - written;
        if owed > 0 {
            let length = WRITE_BYTES.min(usize::try_from(owed).unwrap_or(WRITE_BYTES));
            written += amount(stream.write(&out[..length]))?;
        }
    }
    Ok(())
}

/// Bytes moved; none when the call would have waited.
fn amount(result: io::Result<usize>) -> io::Result<u64> {
    match result {
        Ok(bytes) => Ok(bytes as u64),
        Err(error) if endpoint::is_not_yet(&error) => Ok(0),
        Err(error) => Err(error),
    }
}
