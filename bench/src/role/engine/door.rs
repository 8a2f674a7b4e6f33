//! Where orders, changes of the index and commands come in: lines of stdin, and lines on a local socket.
//! Reading and parsing happens here, on threads of their own, so that a list of millions delays nobody.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use sirocco_dispatch::change::{ChangeError, Changed, IndexChange};
use sirocco_dispatch::order::Order;

use crate::role::complain;
use crate::role::protocol::EngineCommand;

/// Things that wait for the control loop; a sender beyond it waits.
const WAITING_MAX: usize = 1024;

/// Longest line in bytes: an order that names a million identities in place; longer lists go by file.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// Connections served at once; each takes a thread.
const CONNECTIONS_MAX: usize = 64;

/// Longest wait for the worker to apply a change; a turn takes microseconds.
const APPLY: Duration = Duration::from_secs(10);

/// What became of a change of the index.
pub type Applied = Result<Changed, ChangeError>;

/// What came in.
pub enum Arrival {
    /// A command other than an order.
    Command(EngineCommand),
    /// An order, read with whatever file it names.
    Order(Box<Order>),
    /// A change of the index, and who waits for what becomes of it; nobody where it came by stdin.
    Change(IndexChange, Option<Sender<Applied>>),
    /// A line that is none of these, with the reason.
    Refused(String),
    /// Stdin is closed: whoever commanded is gone.
    Closed,
}

/// Opens stdin and, where asked for, a local socket.
///
/// # Errors
/// The system's, when the socket cannot be bound; a stale one is removed first.
pub fn open(socket: Option<&Path>) -> io::Result<Receiver<Arrival>> {
    let (arrivals, arrived) = bounded(WAITING_MAX);
    if let Some(path) = socket {
        if UnixStream::connect(path).is_err() {
            // Nobody listens there: what is left of an earlier run.
            std::fs::remove_file(path).ok();
        }
        let listener = UnixListener::bind(path)?;
        let arrivals = arrivals.clone();
        thread::spawn(move || listen(&listener, &arrivals));
    }
    thread::spawn(move || {
        read_lines(io::stdin().lock(), |line| arrivals.send(read(line)).is_ok());
        arrivals.send(Arrival::Closed).ok();
    });
    Ok(arrived)
}

/// Serves connections of the local socket.
fn listen(listener: &UnixListener, arrivals: &Sender<Arrival>) {
    let (seats, free) = bounded(CONNECTIONS_MAX);
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        if seats.send(()).is_err() {
            return;
        }
        let (arrivals, free) = (arrivals.clone(), free.clone());
        thread::spawn(move || {
            if let Err(error) = serve(&stream, &arrivals) {
                complain(format!("local socket: {error}"));
            }
            free.recv().ok();
        });
    }
}

/// Takes orders and changes from one connection; each line is answered by one.
fn serve(stream: &UnixStream, arrivals: &Sender<Arrival>) -> io::Result<()> {
    let mut out = stream;
    let mut failed = Ok(());
    read_lines(BufReader::new(stream), |line| {
        let answer = match read(line) {
            Arrival::Order(order) => {
                let answer = serde_json::json!({ "taken": order.name });
                if arrivals.send(Arrival::Order(order)).is_err() {
                    return false;
                }
                answer
            }
            Arrival::Change(change, _) => {
                let (applied, applying) = bounded(1);
                if arrivals
                    .send(Arrival::Change(change, Some(applied)))
                    .is_err()
                {
                    return false;
                }
                match applying.recv_timeout(APPLY) {
                    Ok(applied) => answer(applied),
                    Err(_) => serde_json::json!({ "refused": "the engine ends" }),
                }
            }
            Arrival::Command(EngineCommand::Steer(change)) => {
                let answer = serde_json::json!({ "taken": change });
                let steer = Arrival::Command(EngineCommand::Steer(change));
                if arrivals.send(steer).is_err() {
                    return false;
                }
                answer
            }
            Arrival::Refused(reason) => serde_json::json!({ "refused": reason }),
            Arrival::Command(_) | Arrival::Closed => {
                serde_json::json!({ "refused": "only orders, changes, rate, scale, pause and resume are taken on this socket" })
            }
        };
        failed = writeln!(out, "{answer}");
        failed.is_ok()
    });
    failed
}

/// What became of a change, for whoever asked for it.
#[must_use]
pub fn answer(applied: Applied) -> serde_json::Value {
    match applied {
        Ok(changed) => serde_json::json!({ "changed": changed }),
        Err(error) => serde_json::json!({ "refused": error.to_string() }),
    }
}

/// Passes lines on until the stream ends, a line is too long, or `take` has enough.
fn read_lines(mut stream: impl BufRead, mut take: impl FnMut(&str) -> bool) {
    let mut line = String::new();
    loop {
        line.clear();
        match stream.by_ref().take(LINE_BYTES_MAX).read_line(&mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if line.trim().is_empty() => {}
            Ok(_) if !take(line.trim()) => return,
            Ok(_) => {}
        }
    }
}

fn read(line: &str) -> Arrival {
    match EngineCommand::read(line) {
        Ok(EngineCommand::Order(json)) => match Order::read(&json) {
            Ok(order) => Arrival::Order(Box::new(order)),
            Err(error) => Arrival::Refused(error.to_string()),
        },
        Ok(EngineCommand::Change(json)) => match IndexChange::read(&json) {
            Ok(change) => Arrival::Change(change, None),
            Err(error) => Arrival::Refused(error.to_string()),
        },
        Ok(command) => Arrival::Command(command),
        Err(error) => Arrival::Refused(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_on_the_socket_are_answered_line_by_line() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (arrivals, arrived) = bounded(8);
        let server = thread::spawn(move || serve(&theirs, &arrivals));
        let mut out = &ours;
        out.write_all(b"{\"order\":\"a\",\"to\":{\"identity\":\"sip:+861@ims.example\"}}\n")
            .unwrap();
        out.write_all(b"stop\n{\"order\":\"\"}\n").unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        let answers: Vec<String> = BufReader::new(&ours).lines().map(Result::unwrap).collect();
        assert_eq!(answers[0], "{\"taken\":\"a\"}");
        assert!(
            answers[1].contains("only orders") && answers[2].contains("refused"),
            "{answers:?}"
        );
        assert!(matches!(arrived.try_recv(), Ok(Arrival::Order(order)) if order.name == "a"));
        assert!(arrived.try_recv().is_err());
        server.join().unwrap().unwrap();
    }

    #[test]
    fn changes_on_the_socket_are_answered_when_they_are_applied() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (arrivals, arrived) = bounded(8);
        let server = thread::spawn(move || serve(&theirs, &arrivals));
        let worker = thread::spawn(move || {
            let mut index = sirocco_index::Index::new(1).unwrap();
            for arrival in arrived {
                let Arrival::Change(change, Some(applied)) = arrival else {
                    panic!("a change on a socket has somebody who waits");
                };
                applied.send(change.apply(&mut index)).unwrap();
            }
            index.devices_len()
        });
        let put = r#"{"put":"sip:a@h\turn:dev:mac:0024befffe804ff1\t127.0.0.1:1\t-\tsip\tidle\t00\t0\t00\t-"}"#;
        let remove = r#"{"remove":{"identity":"sip:b@h"}}"#;
        let mut out = &ours;
        writeln!(out, "{put}\n{put}\n{remove}\n{{\"put\":\"a\"}}").unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        let answers: Vec<String> = BufReader::new(&ours).lines().map(Result::unwrap).collect();
        let expected = ["inserted", "updated", "unknown"];
        let expected = expected.map(|word| format!("{{\"changed\":\"{word}\"}}"));
        assert_eq!(answers[..3], expected);
        assert!(answers[3].contains("refused"), "{answers:?}");
        server.join().unwrap().unwrap();
        assert_eq!(worker.join().unwrap(), 1);
    }

    #[test]
    fn what_is_no_command_is_refused_with_its_reason() {
        assert!(matches!(
            read("mark"),
            Arrival::Command(EngineCommand::Mark)
        ));
        assert!(matches!(read("dance"), Arrival::Refused(reason) if reason.contains("dance")));
        assert!(matches!(
            read("{\"order\":\"a\",\"too\":1}"),
            Arrival::Refused(_)
        ));
    }
}
