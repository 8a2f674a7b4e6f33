//! perf as a process: what it can count on this host, sampling one thread, its samples as text.
//!
//! Every refusal is told with what to do about it. No stack is understood here. Called by `profile`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Events that are tried where none is asked for: the first that the host counts is taken. `:u` leaves the kernel
/// out, which is what a user without privileges may see.
const EVENTS: [&str; 4] = ["cycles", "cycles:u", "cpu-clock", "cpu-clock:u"];
/// Time for perf to write what it has when the thread is gone.
const WRITE_OUT: Duration = Duration::from_secs(20);
/// Time between two looks at a process.
const LOOK: Duration = Duration::from_millis(5);

/// Why nothing is sampled.
#[derive(Debug, thiserror::Error)]
pub enum PerfError {
    /// There is no perf.
    #[error("perf is not installed; install package linux-perf (Debian) or linux-tools (Ubuntu)")]
    Missing,
    /// Nothing can be counted.
    #[error(
        "perf counts none of {tried}: {said}; kernel.perf_event_paranoid is {paranoid}: 2 or less lets a user sample \
         what is the user's own, 1 or less the kernel beside it"
    )]
    Refused {
        /// What was tried.
        tried: String,
        /// The setting of the kernel.
        paranoid: String,
        /// What perf said last.
        said: String,
    },
    /// It ran and failed.
    #[error("perf {step} failed: {said}")]
    Failed {
        /// Its subcommand.
        step: &'static str,
        /// What it said.
        said: String,
    },
    /// It could not be run.
    #[error("running perf: {0}")]
    System(#[from] io::Error),
}

/// A perf that counts an event here.
#[derive(Clone, Debug)]
pub struct Perf {
    program: PathBuf,
    /// What it counts.
    pub event: String,
}

impl Perf {
    /// Finds perf, and the event: the one asked for, or the first that the host counts.
    ///
    /// # Errors
    /// [`PerfError`], when there is none.
    pub fn find(asked: Option<&str>) -> Result<Self, PerfError> {
        let search = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&search).map(|place| place.join("perf"));
        let program = program
            .into_iter()
            .find(|path| path.is_file())
            .ok_or(PerfError::Missing)?;
        let events = asked.map_or(EVENTS.to_vec(), |event| vec![event]);
        let mut said = String::new();
        for &event in &events {
            match counts(&program, event)? {
                Ok(()) => {
                    let event = event.to_owned();
                    return Ok(Self { program, event });
                }
                Err(why) => said = why,
            }
        }
        let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
        Err(PerfError::Refused {
            tried: events.join(", "),
            paranoid: paranoid
                .unwrap_or_else(|_| "unknown".to_owned())
                .trim()
                .to_owned(),
            said,
        })
    }

    /// Begins to sample a thread, until it ends.
    ///
    /// # Errors
    /// The system's.
    pub fn record(
        &self,
        thread: u32,
        (frequency, stack_bytes): (u32, u32),
        data: &Path,
    ) -> io::Result<Recording> {
        let child = Command::new(&self.program)
            .args(["record", "--quiet", "--event", &self.event])
            .args(["--freq", &frequency.to_string()])
            .args(["--call-graph", &format!("dwarf,{stack_bytes}")])
            .args(["--tid", &thread.to_string(), "--output"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Recording(child))
    }

    /// The samples as text: a line for each, its frames from the inside out, an empty line.
    ///
    /// # Errors
    /// [`PerfError::Failed`], with what perf said.
    pub fn samples(&self, data: &Path) -> Result<String, PerfError> {
        let output = Command::new(&self.program)
            .args([
                "script",
                "--no-inline",
                "--fields",
                "comm,ip,sym",
                "--input",
            ])
            .arg(data)
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            return Err(failed("script", &output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Whether perf counts an event of a process of ours; what it says otherwise.
fn counts(program: &Path, event: &str) -> io::Result<Result<(), String>> {
    let output = Command::new(program)
        .args([
            "stat",
            "--field-separator",
            ",",
            "--event",
            event,
            "--",
            "true",
        ])
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(counted(output.status.success(), &said))
}

fn counted(is_success: bool, said: &str) -> Result<(), String> {
    let line = said.lines().find(|line| line.contains(','));
    let count = line
        .and_then(|line| line.split(',').next())
        .unwrap_or_default();
    if is_success && count.trim().parse::<f64>().is_ok() {
        return Ok(());
    }
    let why = line.or_else(|| said.lines().find(|line| !line.trim().is_empty()));
    Err(why.unwrap_or("nothing").trim().to_owned())
}

fn failed(step: &'static str, said: &[u8]) -> PerfError {
    let said = String::from_utf8_lossy(said);
    let told: Vec<_> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(3)
        .collect();
    PerfError::Failed {
        step,
        said: told.join(" "),
    }
}

/// A perf that samples.
#[derive(Debug)]
pub struct Recording(Child);

impl Recording {
    /// Waits until it has written everything; one that does not end by itself is told to.
    ///
    /// # Errors
    /// [`PerfError::Failed`], with what perf said.
    pub fn finish(mut self) -> Result<(), PerfError> {
        let until = Instant::now() + WRITE_OUT;
        let mut is_told = false;
        while self.0.try_wait()?.is_none() {
            if !is_told && Instant::now() >= until {
                is_told = true;
                // It may have ended meanwhile.
                kill(Pid::from_raw(self.0.id() as i32), Signal::SIGINT).ok();
            }
            std::thread::sleep(LOOK);
        }
        let output = self.0.wait_with_output()?;
        if output.status.success() || is_told {
            return Ok(());
        }
        Err(failed("record", &output.stderr))
    }
}

/// The thread of the engine's worker among the children of a bench, once it is there.
#[must_use]
pub fn worker_of(bench: u32) -> Option<u32> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let engine = processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|&process| parent(process) == Some(bench) && is_engine(process))?;
    let threads = fs::read_dir(format!("/proc/{engine}/task")).ok()?.flatten();
    threads
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(|thread: &u32| {
            let name = fs::read_to_string(format!("/proc/{engine}/task/{thread}/comm"));
            name.is_ok_and(|name| name.trim() == "worker")
        })
}

fn is_engine(process: u32) -> bool {
    let words = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    words.split(|&octet| octet == 0).nth(1) == Some(b"engine")
}

/// proc_pid_stat(5): the fourth field; the second is in brackets and may hold anything.
fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_perf_says_tells_whether_it_counts() {
        assert_eq!(
            counted(true, "1.23,msec,cpu-clock,1234,100.00,0.9,CPUs utilized\n"),
            Ok(())
        );
        let not = counted(true, "<not supported>,,cycles,0,100.00,,\n");
        assert!(not.is_err_and(|why| why.contains("not supported")));
        let refused = counted(
            false,
            "\nError:\nAccess to performance monitoring is limited.\n",
        );
        assert_eq!(refused, Err("Error:".to_owned()));
        assert!(counted(true, "").is_err());
    }

    #[test]
    fn an_event_that_nobody_knows_is_refused_with_what_to_look_at() {
        match Perf::find(Some("no-such-event")) {
            Err(PerfError::Missing) => {}
            Err(error) => assert!(error.to_string().contains("perf_event_paranoid"), "{error}"),
            Ok(perf) => panic!("{perf:?}"),
        }
    }

    #[test]
    fn this_process_has_a_parent_and_no_engine() {
        assert_eq!(
            parent(std::process::id()),
            Some(std::os::unix::process::parent_id())
        );
        assert_eq!(worker_of(std::process::id()), None);
    }
}
