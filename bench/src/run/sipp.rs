//! SIPp in the same run: one plays the devices of our flow (INVITE, 200, ACK, MESSAGE, 200, BYE, 200),
//! another the gateway, each on a core of its own, while engine and loadgen stand still. What is
//! compared is the CPU time of a session on the devices' side. Called by `plan`.

use std::fs::{self, File};
use std::io;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;

use super::launch::{Cores, Folder};
use crate::record::{RunFigures, SippFigures};
use crate::statistics::Spread;

/// The two scenarios, in the form of SIPp 3.6.
const DEVICE: &str = include_str!("sipp/device.xml");
const GATEWAY: &str = include_str!("sipp/gateway.xml");

/// Octets of the content, as the built-in scenarios of sessions have them.
const CONTENT_OCTETS: usize = 200;

/// Sessions of one repetition: some three seconds of work.
const SESSIONS: u64 = 30_000;

/// Calls open at once: enough to keep both sides busy, few enough that no socket overflows.
const OPEN_MAX: u32 = 200;

/// Calls a second that SIPp may begin: above what it can, so that the open calls set its pace.
const RATE: u32 = 50_000;

/// Socket buffer asked for, in bytes.
const BUFFER_BYTES: u32 = 4 << 20;

/// Longest time for a repetition: Timer B for calls that were lost, and the work.
const LIMIT: Duration = Duration::from_secs(60);

/// Time for the gateway to open its socket.
const READY: Duration = Duration::from_secs(5);

/// How often a process is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Why SIPp could not run beside.
#[derive(Debug, thiserror::Error)]
pub enum SippError {
    /// It is not there.
    #[error("--sipp needs the command sipp (Debian: apt-get install sip-tester): {0}")]
    Missing(io::Error),
    /// The system refused something.
    #[error("--sipp: {what}: {error}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// It did not end in time.
    #[error("SIPp took longer than 60 s for its sessions; run on a quieter machine")]
    Slow,
}

fn system(what: &'static str) -> impl Fn(io::Error) -> SippError {
    move |error| SippError::System { what, error }
}

/// One repetition.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    sessions: u64,
    failed: u64,
    seconds: f64,
    device_cpu_ns: u64,
    gateway_cpu_ns: u64,
}

/// SIPp and what it did.
#[derive(Debug)]
pub struct Sipp {
    version: String,
    folder: PathBuf,
    cores: Cores,
    runs: Vec<Run>,
}

impl Sipp {
    /// Finds SIPp and writes its scenarios into the folder.
    ///
    /// # Errors
    /// When it is not installed or the folder cannot be written.
    pub fn find(folder: &Folder, cores: Cores) -> Result<Self, SippError> {
        let said = Command::new("sipp").arg("-v").output();
        let said = said.map_err(SippError::Missing)?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let version = said.lines().map(str::trim).find(|line| !line.is_empty());
        let write = |name: &str, text: &str| {
            fs::write(folder.file(name), text).map_err(system("writing its scenarios"))
        };
        write("device.xml", DEVICE)?;
        let content = "x".repeat(CONTENT_OCTETS);
        write("gateway.xml", &GATEWAY.replace("@CONTENT@", &content))?;
        let home = folder.file("device.xml");
        let home = home.parent().unwrap_or(Path::new("."));
        Ok(Self {
            version: version.unwrap_or_default().to_owned(),
            folder: fs::canonicalize(home).map_err(system("finding its folder"))?,
            cores,
            runs: Vec::new(),
        })
    }

    /// Runs one repetition.
    ///
    /// # Errors
    /// When a SIPp cannot be started or does not end.
    pub fn repeat(&mut self) -> Result<(), SippError> {
        let ports = free_ports().map_err(system("finding ports"))?;
        let mut gateway = self.start("gateway", self.cores.engine, ports[0], &[])?;
        wait_bound(ports[0]);
        let [rate, open] = [RATE.to_string(), OPEN_MAX.to_string()];
        let target = format!("127.0.0.1:{}", ports[0]);
        let pace = ["-r", &rate, "-l", &open, &target];
        let begin = Instant::now();
        let device = self.start("device", self.cores.loadgen, ports[1], &pace);
        let waited = device.and_then(|device| wait(device, begin + LIMIT));
        let seconds = begin.elapsed().as_secs_f64();
        let (device_cpu_ns, success) = match waited {
            Ok(waited) => waited,
            Err(error) => {
                gateway.kill().ok();
                gateway.wait().ok();
                return Err(error);
            }
        };
        // Told to end, it counts its last calls and goes.
        nix::sys::signal::kill(
            Pid::from_raw(gateway.id().cast_signed()),
            nix::sys::signal::Signal::SIGTERM,
        )
        .ok();
        let (gateway_cpu_ns, _) = wait(gateway, Instant::now() + LIMIT)?;
        let failed = if success { 0 } else { self.failed() };
        self.runs.push(Run {
            sessions: SESSIONS - failed.min(SESSIONS),
            failed,
            seconds,
            device_cpu_ns,
            gateway_cpu_ns,
        });
        Ok(())
    }

    /// Starts one SIPp on its core.
    fn start(&self, role: &str, core: usize, port: u16, more: &[&str]) -> Result<Child, SippError> {
        let failed = system("starting it");
        let out = File::create(self.folder.join(format!("{role}.out"))).map_err(&failed)?;
        let child = Command::new("sipp")
            .current_dir(&self.folder)
            .args(["-sf", &format!("{role}.xml"), "-i", "127.0.0.1", "-nostdin"])
            .args(["-p", &port.to_string(), "-m", &SESSIONS.to_string()])
            .args(["-buff_size", &BUFFER_BYTES.to_string()])
            .args(more)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::null())
            .spawn()
            .map_err(&failed)?;
        let mut set = CpuSet::new();
        let pinned = set
            .set(core)
            .and_then(|()| sched_setaffinity(Pid::from_raw(child.id().cast_signed()), &set));
        pinned.map_err(|errno| failed(errno.into()))?;
        Ok(child)
    }

    /// Calls that the last repetition's devices count as failed.
    fn failed(&self) -> u64 {
        let screen = fs::read_to_string(self.folder.join("device.out")).unwrap_or_default();
        failed_calls(&screen).unwrap_or(SESSIONS)
    }

    /// What was measured, beside our loadgen's CPU time for a cycle.
    #[must_use]
    pub fn figures(self, ours: &[RunFigures]) -> SippFigures {
        let of = |figure: fn(&Run) -> f64| Spread::of(self.runs.iter().map(figure).collect());
        let each = |cpu_ns: u64, run: &Run| cpu_ns as f64 / run.sessions.max(1) as f64;
        let cpu: Vec<f64> = self
            .runs
            .iter()
            .map(|run| each(run.device_cpu_ns, run))
            .collect();
        let gateway = self.runs.iter().map(|run| each(run.gateway_cpu_ns, run));
        let rated = ours.iter().filter(|run| run.purpose == "rate");
        let ours = rated.filter_map(|run| run.sessions.as_ref());
        let ours = Spread::of(ours.map(|run| run.loadgen_cpu_ns_per_cycle).collect());
        let cpu = Spread::of(cpu);
        SippFigures {
            sessions: self.runs.iter().map(|run| run.sessions).sum(),
            failed: self.runs.iter().map(|run| run.failed).sum(),
            sessions_per_s: of(|run| run.sessions as f64 / run.seconds),
            gateway_cpu_ns_per_session: Spread::of(gateway.collect()),
            times: cpu.median / ours.median.max(f64::MIN_POSITIVE),
            cpu_ns_per_session: cpu,
            version: self.version,
        }
    }
}

/// Waits for a process to end: its CPU time, and whether it ended well. Nothing else may be waited for
/// meanwhile: the system adds up what ended children used.
fn wait(mut child: Child, until: Instant) -> Result<(u64, bool), SippError> {
    let before = ended_cpu_ns();
    loop {
        if let Some(status) = child.try_wait().map_err(system("waiting for it"))? {
            return Ok((ended_cpu_ns() - before, status.success()));
        }
        if Instant::now() >= until {
            child.kill().ok();
            child.wait().ok();
            return Err(SippError::Slow);
        }
        thread::sleep(POLL);
    }
}

/// CPU time of all ended children in nanoseconds (getrusage(2)).
fn ended_cpu_ns() -> u64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else {
        return 0;
    };
    let ns = |time: nix::sys::time::TimeVal| {
        let whole = i128::from(time.tv_sec()) * 1_000_000_000;
        u64::try_from(whole + i128::from(time.tv_usec()) * 1000).unwrap_or(0)
    };
    ns(usage.user_time()) + ns(usage.system_time())
}

/// Two free ports.
fn free_ports() -> io::Result<[u16; 2]> {
    let sockets = [
        UdpSocket::bind("127.0.0.1:0")?,
        UdpSocket::bind("127.0.0.1:0")?,
    ];
    Ok([
        sockets[0].local_addr()?.port(),
        sockets[1].local_addr()?.port(),
    ])
}

/// Waits until the port is taken.
fn wait_bound(port: u16) {
    let until = Instant::now() + READY;
    while UdpSocket::bind(("127.0.0.1", port)).is_ok() && Instant::now() < until {
        thread::sleep(POLL);
    }
}

/// The cumulative count of failed calls on SIPp's last screen.
fn failed_calls(screen: &str) -> Option<u64> {
    let line = screen
        .lines()
        .rev()
        .find(|line| line.contains("Failed call"))?;
    line.rsplit('|').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_screen_tells_how_many_failed() {
        let screen = "  Failed call   |   1   |   2   \nx\n  Failed call            |        0                  |       17   \n";
        assert_eq!(failed_calls(screen), Some(17));
        assert_eq!(failed_calls("nothing"), None);
    }

    #[test]
    fn an_ended_child_shows_its_time() {
        let child = Command::new("/bin/sh")
            .args(["-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"])
            .spawn()
            .unwrap();
        let (cpu_ns, success) = wait(child, Instant::now() + LIMIT).unwrap();
        assert!(cpu_ns > 0 && success);
    }

    #[test]
    fn times_are_cpu_over_cpu() {
        let mut ours = RunFigures {
            purpose: "rate".to_owned(),
            ..RunFigures::default()
        };
        ours.sessions = Some(crate::record::SessionRun {
            loadgen_cpu_ns_per_cycle: 2_000.0,
            ..Default::default()
        });
        let run = Run {
            sessions: 100,
            failed: 1,
            seconds: 0.5,
            device_cpu_ns: 3_000_000,
            gateway_cpu_ns: 4_000_000,
        };
        let sipp = Sipp {
            version: String::new(),
            folder: PathBuf::new(),
            cores: Cores {
                engine: 0,
                loadgen: 1,
            },
            runs: vec![run],
        };
        let figures = sipp.figures(&[ours]);
        assert_eq!(
            (figures.times, figures.sessions_per_s.median),
            (15.0, 200.0)
        );
    }
}
