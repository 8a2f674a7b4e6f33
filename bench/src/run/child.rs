//! One process that the bench commands: this same binary in another role, with JSON lines on its stdout
//! and commands on its stdin, or a generator elsewhere with both on one connection. A child never outlives its parent: it stops when its stdin closes, the kernel
//! kills it when the parent dies (`PR_SET_PDEATHSIG`, set by the child), and dropping [`Child`] stops
//! it, first by asking, then by force. Called by `stage`.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::together::gather::Joined;

/// Time that a child gets to end by itself after its stdin closed.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often an ending child is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Last lines of a child's stderr kept for an error message.
const LAST_WORDS_MAX: usize = 20;

/// Longest line taken from a child in bytes: a ready line with 65,534 addresses fits.
const LINE_BYTES_MAX: u64 = 4 << 20;

/// Which child a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The engine.
    Engine,
    /// A loadgen, by its number from 0.
    Loadgen(u16),
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Side::Engine => f.write_str("engine"),
            Side::Loadgen(0) => f.write_str("loadgen"),
            Side::Loadgen(number) => write!(f, "loadgen {}", number + 1),
        }
    }
}

/// What a child's reader threads pass on.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// One JSON object from its stdout.
    Event(Value),
    /// A line on its stdout that is no JSON object.
    Noise(String),
    /// A line on its stderr, for people.
    Words(String),
    /// Its stdout closed: it is ending or dead.
    Closed,
}

/// How a child is reached.
#[derive(Debug)]
enum Link {
    /// It is a process of this host, told by its stdin.
    Process(std::process::Child),
    /// It joined from elsewhere.
    Connection(TcpStream),
}

/// A running child.
#[derive(Debug)]
pub struct Child {
    link: Link,
    readers: Vec<JoinHandle<()>>,
    last_words: Vec<String>,
    paused: bool,
}

impl Child {
    /// Starts `program` with `arguments`; its lines go to `lines`, tagged with `side`.
    ///
    /// # Errors
    /// The system's, when the process cannot be started.
    pub fn start(
        side: Side,
        program: &Path,
        arguments: &[String],
        lines: &Sender<(Side, Line)>,
    ) -> io::Result<Self> {
        // A group of its own: Ctrl-C reaches the parent alone, which then stops children in order.
        let mut process = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let mut readers = Vec::new();
        if let Some(stdout) = process.stdout.take() {
            let lines = lines.clone();
            readers.push(thread::spawn(move || {
                forward(stdout, side, &lines, event);
                // The bench may be gone already.
                lines.send((side, Line::Closed)).ok();
            }));
        }
        if let Some(stderr) = process.stderr.take() {
            let lines = lines.clone();
            readers.push(thread::spawn(move || {
                forward(stderr, side, &lines, Line::Words);
            }));
        }
        Ok(Self {
            link: Link::Process(process),
            readers,
            last_words: Vec::new(),
            paused: false,
        })
    }

    /// Takes a generator that joined; its lines go to `lines`, tagged with `side`.
    ///
    /// # Errors
    /// The system's, when the connection cannot be used from two threads.
    pub fn joined(side: Side, joined: Joined, lines: &Sender<(Side, Line)>) -> io::Result<Self> {
        let stream = joined.reader.get_ref().try_clone()?;
        let lines = lines.clone();
        let reader = thread::spawn(move || {
            forward(joined.reader, side, &lines, event);
            // The reader's end is the connection's.
            lines.send((side, Line::Closed)).ok();
        });
        Ok(Self {
            link: Link::Connection(stream),
            readers: vec![reader],
            last_words: Vec::new(),
            paused: false,
        })
    }

    /// Writes one command line to the child.
    ///
    /// # Errors
    /// When the child has closed its stdin: it is dead or ending.
    pub fn tell(&mut self, command: &str) -> io::Result<()> {
        let line = format!("{command}\n");
        match &mut self.link {
            Link::Process(process) => {
                let Some(stdin) = &mut process.stdin else {
                    return Err(io::ErrorKind::BrokenPipe.into());
                };
                stdin.write_all(line.as_bytes())?;
                stdin.flush()
            }
            Link::Connection(stream) => stream.write_all(line.as_bytes()),
        }
    }

    /// Its process number, where it is a process of this host.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        match &self.link {
            Link::Process(process) => Some(process.id()),
            Link::Connection(_) => None,
        }
    }

    /// Keeps one of the child's stderr lines for [`Child::last_words`].
    pub fn hear(&mut self, words: String) {
        if self.last_words.len() == LAST_WORDS_MAX {
            self.last_words.remove(0);
        }
        self.last_words.push(words);
    }

    /// The last lines of the child's stderr.
    #[must_use]
    pub fn last_words(&self) -> &[String] {
        &self.last_words
    }

    /// Stops the child's threads where they are, so that its core is free for a ceiling probe; one that
    /// joined from elsewhere goes on.
    pub fn pause(&mut self) {
        self.paused = self.signal(Signal::SIGSTOP);
    }

    /// Lets a paused child go on.
    pub fn resume(&mut self) {
        if self.paused {
            self.signal(Signal::SIGCONT);
            self.paused = false;
        }
    }

    fn signal(&self, signal: Signal) -> bool {
        let pid = self.id().and_then(|id| i32::try_from(id).ok());
        pid.is_some_and(|pid| kill(Pid::from_raw(pid), signal).is_ok())
    }

    /// Closes the child's stdin, waits for it to end, and ends it by force past [`PATIENCE`]. One that
    /// joined loses its connection, which ends it; returns whether all ended well.
    ///
    /// # Errors
    /// The system's, when the process cannot be waited for.
    pub fn end(&mut self) -> io::Result<bool> {
        self.resume();
        let ended_well = match &mut self.link {
            Link::Process(process) => end_process(process)?.success(),
            Link::Connection(stream) => stream.shutdown(Shutdown::Both).is_ok(),
        };
        for reader in self.readers.drain(..) {
            // A reader only ends; it has nothing to say.
            reader.join().ok();
        }
        Ok(ended_well)
    }
}

fn end_process(process: &mut std::process::Child) -> io::Result<ExitStatus> {
    drop(process.stdin.take());
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = process.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= until {
            process.kill()?;
            return process.wait();
        }
        thread::sleep(POLL);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Nothing more can be done about a process that cannot be waited for.
        self.end().ok();
    }
}

/// Passes the lines of `stream` on until it closes or nobody listens.
fn forward<R: io::Read>(
    stream: R,
    side: Side,
    lines: &Sender<(Side, Line)>,
    line: impl Fn(String) -> Line,
) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut text = Vec::new();
        match io::Read::take(&mut reader, LINE_BYTES_MAX).read_until(b'\n', &mut text) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&text).trim_end().to_owned();
        if !text.is_empty() && lines.send((side, line(text))).is_err() {
            return;
        }
    }
}

fn event(text: String) -> Line {
    match serde_json::from_str(&text) {
        Ok(value @ Value::Object(_)) => Line::Event(value),
        _ => Line::Noise(text),
    }
}

/// Called by a child role first of all: asks the kernel to kill this process when its parent dies.
///
/// # Errors
/// When the kernel refuses, or the parent is gone already.
pub fn die_with_parent() -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    if nix::unistd::getppid() == Pid::from_raw(1) {
        return Err(io::Error::other(
            "the bench that started this process is gone",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};

    fn shell(script: &str) -> (Child, Receiver<(Side, Line)>) {
        let (lines, received) = channel();
        let arguments = ["-c".to_owned(), script.to_owned()];
        let child = Child::start(Side::Engine, Path::new("/bin/sh"), &arguments, &lines).unwrap();
        (child, received)
    }

    fn next(received: &Receiver<(Side, Line)>) -> Line {
        received
            .recv_timeout(Duration::from_secs(20))
            .expect("a line")
            .1
    }

    #[test]
    fn events_noise_words_and_the_end_are_told_apart() {
        let (mut child, received) =
            shell("echo '{\"event\":\"ready\"}'; echo oops; read x; echo $x");
        assert_eq!(
            next(&received),
            Line::Event(serde_json::json!({"event": "ready"}))
        );
        assert_eq!(next(&received), Line::Noise("oops".to_owned()));
        child.tell("{\"event\":\"echo\"}").unwrap();
        assert_eq!(
            next(&received),
            Line::Event(serde_json::json!({"event": "echo"}))
        );
        assert_eq!(next(&received), Line::Closed);
        assert!(child.end().unwrap());
    }

    #[test]
    fn a_child_that_ignores_the_end_is_killed() {
        let (mut child, received) = shell("trap '' TERM HUP; echo '{}'; while :; do sleep 1; done");
        assert_eq!(next(&received), Line::Event(serde_json::json!({})));
        assert!(!child.end().unwrap());
        assert!(child.tell("more").is_err());
    }

    #[test]
    fn a_paused_child_can_still_be_ended() {
        let (mut child, received) = shell("echo '{}'; cat >/dev/null");
        assert_eq!(next(&received), Line::Event(serde_json::json!({})));
        child.pause();
        assert!(child.end().unwrap());
    }

    #[test]
    fn last_words_are_bounded() {
        let (mut child, _received) = shell("true");
        (0..100).for_each(|n| child.hear(n.to_string()));
        assert_eq!(child.last_words().len(), LAST_WORDS_MAX);
        assert_eq!(child.last_words()[LAST_WORDS_MAX - 1], "99");
    }
}
