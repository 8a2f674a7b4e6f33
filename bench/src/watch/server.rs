//! Answers `GET /metrics` on a local address, for a collector on the same machine or a tunnel to it. One
//! request at a time, of 4 KiB at most and within two seconds, then the connection is closed: who is slow
//! or talks too much delays nobody for longer. httparse reads the request. No TLS, no names, no bodies.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::metrics;
use super::reading::Reading;
use crate::role::complain;

/// Greatest request: a collector sends a few hundred bytes.
const REQUEST_BYTES_MAX: usize = 4096;

/// Longest time for a request and its answer together.
const PATIENCE: Duration = Duration::from_secs(2);

/// Headers of a request at most.
const HEADERS_MAX: usize = 32;

/// Serves what `read` gives until the process ends, on a thread of its own; returns the address.
///
/// # Errors
/// The system's, when the address cannot be bound.
pub fn serve(
    address: SocketAddr,
    read: impl Fn() -> Reading + Send + 'static,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let bound = listener.local_addr()?;
    thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || {
            for stream in listener.incoming() {
                match stream {
                    // A collector that goes away asks again later.
                    Ok(stream) => answer(&stream, &read).unwrap_or_default(),
                    // No descriptor is free, or the like: not to be asked again at once.
                    Err(_) => thread::sleep(Duration::from_millis(100)),
                }
            }
        })?;
    Ok(bound)
}

/// Says where metrics are served, for the port that the kernel chose.
pub fn tell(address: SocketAddr) {
    complain(format!("metrics: http://{address}/metrics"));
}

/// Reads an address for `--metrics`: a local one, since what is told is nobody else's business.
///
/// # Errors
/// In words: what to give instead.
pub fn local(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<SocketAddr>().ok();
    let local = address.filter(|address| address.ip().is_loopback());
    local.ok_or_else(|| "give an address of this machine such as 127.0.0.1:9464".to_owned())
}

fn answer(mut stream: &TcpStream, read: &impl Fn() -> Reading) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut request = Vec::new();
    let (status, body) = loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        let mut chunk = [0; 1024];
        let count = stream.read(&mut chunk)?;
        request.extend_from_slice(&chunk[..count]);
        match judged(&request) {
            Asked::Metrics => break ("200 OK", metrics::text(&read()).unwrap_or_default()),
            Asked::Refused(status) => break (status, String::new()),
            Asked::Unfinished if count == 0 => return Ok(()),
            Asked::Unfinished => {}
        }
    };
    stream.set_write_timeout(Some(PATIENCE))?;
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    stream.shutdown(Shutdown::Write)
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Metrics,
    Refused(&'static str),
    Unfinished,
}

fn judged(request: &[u8]) -> Asked {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(request) {
        Ok(httparse::Status::Complete(_)) => match (parsed.method, parsed.path) {
            (Some("GET"), Some(path)) if path.split('?').next() == Some("/metrics") => {
                Asked::Metrics
            }
            (Some("GET"), _) => Asked::Refused("404 Not Found"),
            _ => Asked::Refused("405 Method Not Allowed"),
        },
        Ok(httparse::Status::Partial) if request.len() < REQUEST_BYTES_MAX => Asked::Unfinished,
        Ok(httparse::Status::Partial) => Asked::Refused("431 Request Header Fields Too Large"),
        Err(_) => Asked::Refused("400 Bad Request"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        // A server that has heard enough may reset what it did not read.
        stream.read_to_string(&mut answer).ok();
        answer
    }

    #[test]
    fn metrics_are_served_and_all_else_is_refused_and_forgotten() {
        let reading = || Reading {
            engine: serde_json::json!({ "sirs_sent": 5 }),
            ..Reading::default()
        };
        let address = serve("127.0.0.1:0".parse().unwrap(), reading).unwrap();
        let get = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        for _ in 0..3 {
            let answer = asked(address, get);
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(answer.contains("sirocco_engine_sirs_sent_total 5\n"));
            let length = answer.split("Content-Length: ").nth(1).unwrap();
            let length: usize = length.split('\r').next().unwrap().parse().unwrap();
            assert_eq!(answer.split("\r\n\r\n").nth(1).unwrap().len(), length);
        }
        for (request, status) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
            (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
            (b"\x16\x03\x01\r\n\r\n", "400"),
        ] {
            assert!(asked(address, request).starts_with(&format!("HTTP/1.1 {status}")));
        }
        let silent = TcpStream::connect(address).unwrap();
        silent.shutdown(Shutdown::Write).unwrap();
        assert!(
            asked(address, get).contains("200 OK"),
            "who says nothing and goes is let go"
        );
    }

    #[test]
    fn a_request_without_end_is_refused() {
        let mut endless = b"GET /metrics HTTP/1.1\r\n".to_vec();
        assert_eq!(judged(&endless), Asked::Unfinished);
        endless.extend(b"X: ".iter().chain(&[b'y'; REQUEST_BYTES_MAX]));
        assert_eq!(
            judged(&endless),
            Asked::Refused("431 Request Header Fields Too Large")
        );
    }

    #[test]
    fn only_this_machine_is_told() {
        assert!(local("127.0.0.1:9464").is_ok() && local("[::1]:0").is_ok());
        assert!(local("0.0.0.0:9464").is_err() && local("9464").is_err());
    }
}
