//! Live control of a bench: the rate changed, paused or ended while it measures, without restart. One
//! entry, [`Control`], which a socket, stdin or a terminal view holds; [`Stage`](super::stage::Stage) has
//! the other end and passes changes on to the engine, which keeps each with its time. It measures nothing.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded};
use serde::Serialize;
use sirocco_schedule::Steer;

use crate::quantity::Rate;
use crate::role::complain;

/// Changes that may wait for the bench, which looks for them every 50 ms.
const WAITING_MAX: usize = 64;

/// Longest line in bytes.
const LINE_BYTES_MAX: u64 = 256;

/// Greatest multiple of a schedule.
const SCALE_MAX: f64 = 1000.0;

/// What a running bench can be told.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Change the schedule from now on; a rate is one of SIRs.
    Steer(Steer),
    /// End the run where it is, make no further one, and publish what there is.
    Stop,
}

/// Why a line is no action.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no command; type rate 500k, scale 2, pause, resume or stop")]
pub struct ActionError(String);

impl FromStr for Action {
    type Err = ActionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ActionError(text.chars().take(80).collect());
        let words: Vec<&str> = text.split_whitespace().collect();
        let steer = match *words {
            ["stop"] => return Ok(Self::Stop),
            ["pause"] => Steer::Pause(true),
            ["resume"] => Steer::Pause(false),
            ["rate", "0"] => Steer::Rate(0.0),
            ["rate", rate] => match rate.parse() {
                Ok(Rate::PerSecond(rate)) if rate as f64 <= sirocco_schedule::RATE_MAX => {
                    Steer::Rate(rate as f64)
                }
                _ => return Err(refused()),
            },
            ["scale", scale] => match scale.parse::<f64>() {
                Ok(scale) if (0.0..=SCALE_MAX).contains(&scale) => Steer::Scale(scale),
                _ => return Err(refused()),
            },
            _ => return Err(refused()),
        };
        Ok(Self::Steer(steer))
    }
}

/// The entry: whoever holds it tells the bench. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    actions: Sender<Action>,
}

impl Control {
    /// Tells the bench; takes effect within 50 ms. False when it has ended, or too many changes wait.
    pub fn send(&self, action: Action) -> bool {
        self.actions.try_send(action).is_ok()
    }
}

/// A control and the end at which the stage listens.
#[must_use]
pub fn channel() -> (Control, Receiver<Action>) {
    let (actions, received) = bounded(WAITING_MAX);
    (Control { actions }, received)
}

/// A local socket that is there for as long as this value.
#[derive(Debug)]
pub struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // Whoever removed it before has done the work.
        std::fs::remove_file(&self.0).ok();
    }
}

/// Listens for lines: on stdin where `path` is `-`, on a local socket there otherwise.
///
/// # Errors
/// The system's, when the socket cannot be bound; another bench that listens there is one reason.
pub fn listen(path: &Path, control: &Control) -> io::Result<Option<Socket>> {
    let control = control.clone();
    if path == Path::new("-") {
        thread::spawn(move || serve(io::stdin().lock(), io::stderr(), &control));
        return Ok(None);
    }
    if UnixStream::connect(path).is_err() && is_socket(path) {
        // Nobody listens there: what is left of an earlier run.
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    thread::spawn(move || {
        // One at a time: two hands at one wheel would not know who turned it.
        for stream in listener.incoming().flatten() {
            serve(BufReader::new(&stream), &stream, &control);
        }
    });
    Ok(Some(Socket(path.to_owned())))
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// Takes lines until they end, and answers each by one.
fn serve(mut lines: impl BufRead, mut answers: impl Write, control: &Control) {
    let mut line = String::new();
    loop {
        line.clear();
        match lines.by_ref().take(LINE_BYTES_MAX).read_line(&mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if line.trim().is_empty() => continue,
            Ok(_) => {}
        }
        let answer = match line.trim().parse::<Action>() {
            Ok(action) if control.send(action) => serde_json::json!({ "taken": action }),
            Ok(_) => serde_json::json!({ "refused": "the bench ends, or too many changes wait" }),
            Err(error) => serde_json::json!({ "refused": error.to_string() }),
        };
        if let Err(error) = writeln!(answers, "{answer}") {
            return complain(format!("--control: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_s_words_are_read_and_others_refused_with_the_known_ones() {
        for (text, action) in [
            ("rate 500k", Action::Steer(Steer::Rate(500_000.0))),
            ("rate 0", Action::Steer(Steer::Rate(0.0))),
            (" scale  2.5 ", Action::Steer(Steer::Scale(2.5))),
            ("pause", Action::Steer(Steer::Pause(true))),
            ("resume", Action::Steer(Steer::Pause(false))),
            ("stop", Action::Stop),
        ] {
            assert_eq!(text.parse::<Action>().unwrap(), action, "{text}");
        }
        for text in [
            "",
            "rate",
            "rate max",
            "rate -1",
            "scale x",
            "scale 1e9",
            "stop now",
            "rate 2G",
        ] {
            let error = text.parse::<Action>().expect_err(text).to_string();
            assert!(error.contains("resume"), "{error}");
        }
    }

    #[test]
    fn a_socket_takes_lines_answers_each_and_goes_with_its_owner() {
        let path = std::env::temp_dir().join(format!("sirocco-control-{}", std::process::id()));
        let (control, received) = channel();
        let socket = listen(&path, &control).unwrap();
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"scale 2\nfaster\n").unwrap();
        let answers: Vec<String> = BufReader::new(&stream)
            .lines()
            .take(2)
            .map(Result::unwrap)
            .collect();
        assert_eq!(answers[0], r#"{"taken":{"steer":{"scale":2.0}}}"#);
        assert!(answers[1].contains("refused"), "{}", answers[1]);
        assert_eq!(received.recv(), Ok(Action::Steer(Steer::Scale(2.0))));
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_in_the_place_of_the_socket_is_left_alone() {
        let path = std::env::temp_dir().join(format!("sirocco-file-{}", std::process::id()));
        std::fs::write(&path, "mine").unwrap();
        assert!(listen(&path, &channel().0).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_nobody_takes_is_refused_in_the_end() {
        let (control, _received) = channel();
        assert!((0..WAITING_MAX).all(|_| control.send(Action::Stop)));
        assert!(!control.send(Action::Stop));
    }
}
