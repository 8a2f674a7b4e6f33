//! Child processes that end with their test, directories of its own, and waiting that is bounded.
//!
//! Ends only what it started. Measures no time: a bound is there to end a test that hangs.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Longest time that a test waits for another process: far beyond what a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Time that a child has to end by itself.
const GRACE: Duration = Duration::from_secs(2);
/// Time between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A child process that is ended and reaped when this is dropped, with all that it started.
pub struct Guarded(pub Child);

impl Guarded {
    /// Starts a command in a process group of its own.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let child = command.process_group(0).spawn();
        Self(child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")))
    }

    /// Sends a signal, such as `TERM`, to the child alone.
    pub fn signal(&self, name: &str) {
        signal(name, &self.0.id().to_string());
    }

    /// Waits for the end and returns the exit code; `None` if a signal ended it.
    ///
    /// # Panics
    /// If it has not ended after [`PATIENCE`].
    pub fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        wait_for("a child process to end", || {
            status = self.0.try_wait().expect("our own child");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // The leader may end its own children in good order; if it does not, all are killed. It is not
        // reaped before, so neither its number nor its group's can be another's.
        let until = Instant::now() + GRACE;
        let mut is_asked = false;
        while matches!(self.0.try_wait(), Ok(None)) {
            if !is_asked {
                self.signal("TERM");
                is_asked = true;
            } else if Instant::now() >= until {
                signal("KILL", &format!("-{}", self.0.id()));
                self.0.wait().ok();
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// Through the shell, whose `kill` is everywhere.
fn signal(name: &str, target: &str) {
    let script = format!("kill -s {name} -- {target}");
    let mut command = Command::new("sh");
    let quiet = command.args(["-c", &script]).stderr(Stdio::null());
    quiet.status().ok();
}

/// What a command that ended by itself left behind.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a command to its end without input.
///
/// # Panics
/// If it cannot be started or has not ended after [`PATIENCE`].
pub fn run(command: &mut Command) -> Ended {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = Guarded::start(command);
    let stdout = read_beside(child.0.stdout.take());
    let stderr = read_beside(child.0.stderr.take());
    let code = child.exit_code();
    let text = |reader: thread::JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&reader.join().expect("a reader")).into_owned()
    };
    Ended {
        code,
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

fn read_beside(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut octets = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut octets).ok();
        }
        octets
    })
}

/// Waits until `holds` returns true.
///
/// # Panics
/// If it does not within [`PATIENCE`]; `what` says what was waited for.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        thread::sleep(LOOK_EVERY);
    }
}

/// A directory of one test, removed when this is dropped.
pub struct Directory(PathBuf);

impl Directory {
    /// Makes an empty directory; `name` shows whose it is.
    ///
    /// # Panics
    /// If the system's directory for temporary files cannot be written.
    #[must_use]
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sirocco-{name}-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a writable directory for temporary files");
        Self(path)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
