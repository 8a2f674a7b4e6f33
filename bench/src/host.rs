//! Fingerprint of the machine, so that a figure is never read without what made it, and two figures of
//! unlike machines are never compared unawares. Reads /proc and /sys; what is missing there is left
//! empty, never guessed. `hardware` is how it runs its cores, `build` how the program was built, `key`
//! what of it has to be equal in a comparison. Called by the bench and the ceiling.

mod build;
mod hardware;
mod key;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

pub use build::{Build, binary_hash};
pub use hardware::Hardware;
pub use key::Weight;

/// The machine a record was made on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// CPU model as /proc/cpuinfo names it.
    pub cpu_model: String,
    /// CPUs of the machine that are online.
    pub cpus_online: usize,
    /// Cores this process may use.
    pub cores_allowed: Vec<usize>,
    /// Microcode revision.
    pub microcode: String,
    /// Kernel release and version.
    pub kernel: String,
    /// Whether a hypervisor runs below.
    pub virtualised: bool,
    /// CPU vulnerabilities with a mitigation in force: `name: mitigation`.
    pub mitigations: Vec<String>,
    /// Frequency governor of core 0; empty where the machine shows none.
    pub governor: String,
    /// Transparent huge pages: the mode in force.
    pub transparent_huge_pages: String,
    /// Value of kernel.io_uring_disabled: 0 allows everybody.
    pub io_uring_disabled: String,
    /// Largest receive buffer a process may ask for without privileges, in bytes.
    pub receive_buffer_bytes_max: u64,
    /// Memory of the machine in bytes.
    pub memory_bytes: u64,
    /// Load average of the last minute when the run began.
    pub load_1m: f64,
    /// How it runs its cores.
    #[serde(default)]
    pub hardware: Hardware,
    /// How the program was built.
    #[serde(default)]
    pub build: Build,
}

impl Host {
    /// Reads the fingerprint now.
    #[must_use]
    pub fn read() -> Self {
        let cpuinfo = text("/proc/cpuinfo");
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map(|(_, v)| v.trim().to_owned())
        };
        Self {
            cpu_model: field("model name").unwrap_or_default(),
            cpus_online: cpuinfo
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
            cores_allowed: sirocco_ring::affinity::cores_allowed().unwrap_or_default(),
            microcode: field("microcode").unwrap_or_default(),
            kernel: format!(
                "{} {}",
                text("/proc/sys/kernel/osrelease").trim(),
                text("/proc/sys/kernel/version").trim()
            ),
            virtualised: field("flags")
                .is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor")),
            mitigations: mitigations(Path::new("/sys/devices/system/cpu/vulnerabilities")),
            governor: text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
                .trim()
                .to_owned(),
            transparent_huge_pages: selected(&text("/sys/kernel/mm/transparent_hugepage/enabled")),
            io_uring_disabled: text("/proc/sys/kernel/io_uring_disabled").trim().to_owned(),
            receive_buffer_bytes_max: text("/proc/sys/net/core/rmem_max")
                .trim()
                .parse()
                .unwrap_or_default(),
            memory_bytes: memory_bytes(&text("/proc/meminfo")),
            load_1m: text("/proc/loadavg")
                .split_whitespace()
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or_default(),
            hardware: Hardware::read(Path::new("/")),
            build: Build::running(),
        }
    }
}

/// Time that the machine's CPUs spent since boot, in ticks of 1/100 s, all CPUs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTicks {
    /// Ticks that a hypervisor gave to somebody else while a CPU here wanted to run.
    pub steal: u64,
    /// All ticks.
    pub total: u64,
}

impl CpuTicks {
    /// Reads /proc/stat now.
    #[must_use]
    pub fn read() -> Self {
        Self::parse(&text("/proc/stat"))
    }

    /// The first line of /proc/stat (proc_stat(5)): user nice system idle iowait irq softirq steal.
    fn parse(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .take(8)
            .map(|t| t.parse().unwrap_or(0))
            .collect();
        Self {
            steal: ticks.get(7).copied().unwrap_or(0),
            total: ticks.iter().sum(),
        }
    }

    /// Ticks between `earlier` and this reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            steal: self.steal.saturating_sub(earlier.steal),
            total: self.total.saturating_sub(earlier.total),
        }
    }

    /// Share of the time that was stolen.
    #[must_use]
    pub fn steal_share(&self) -> f64 {
        if self.total == 0 {
            0.0
        } else {
            self.steal as f64 / self.total as f64
        }
    }
}

/// CPU time of a process in nanoseconds, all its threads together (proc_pid_schedstat(5)); 0 when it
/// is gone.
#[must_use]
pub fn cpu_ns_of(process: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    tasks
        .map(|task| text(&task.path().join("schedstat").to_string_lossy()))
        .filter_map(|stat| stat.split_whitespace().next()?.parse::<u64>().ok())
        .sum()
}

/// Memory of a process that lies in RAM, in bytes (proc_pid_status(5)); 0 when it is gone.
#[must_use]
pub fn resident_bytes_of(process: u32) -> u64 {
    let status = text(&format!("/proc/{process}/status"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}

/// Commit of the tree the program runs in, with `-dirty` when files differ; empty outside a checkout.
#[must_use]
pub fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return String::new();
    };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if !changes.is_empty() => format!("{commit}-dirty"),
        _ => commit,
    }
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The bracketed word of a sysfs choice: `always [madvise] never` gives `madvise`.
fn selected(choice: &str) -> String {
    let inner = choice
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    inner.map(|(word, _)| word.to_owned()).unwrap_or_default()
}

fn memory_bytes(meminfo: &str) -> u64 {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}

/// The vulnerabilities under `folder` that cost something here, sorted by name.
fn mitigations(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<String> = entries
        .flatten()
        .filter_map(|entry| {
            let state = fs::read_to_string(entry.path()).ok()?;
            let state = state.trim();
            let name = entry.file_name().to_string_lossy().into_owned();
            (state != "Not affected").then(|| format!("{name}: {state}"))
        })
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_in_brackets_is_the_one_in_force() {
        assert_eq!(selected("always [madvise] never\n"), "madvise");
        assert_eq!(selected(""), "");
    }

    #[test]
    fn steal_is_the_eighth_number_of_the_first_line() {
        let before = CpuTicks::parse("cpu  10 0 10 70 0 0 0 10 0 0\ncpu0 1 1\n");
        assert_eq!(
            before,
            CpuTicks {
                steal: 10,
                total: 100
            }
        );
        let after = CpuTicks::parse("cpu  20 0 20 120 0 0 0 40 5 0\n");
        assert_eq!(
            after.since(&before),
            CpuTicks {
                steal: 30,
                total: 100
            }
        );
        assert_eq!(after.since(&before).steal_share(), 0.3);
        assert_eq!(CpuTicks::parse("").steal_share(), 0.0);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(
            memory_bytes("MemTotal:       24000 kB\nMemFree: 1 kB\n"),
            24_000 * 1024
        );
    }

    #[test]
    fn a_process_shows_its_time_and_memory_until_it_is_gone() {
        let own = std::process::id();
        assert!(cpu_ns_of(own) > 0 && resident_bytes_of(own) > 1 << 20);
        // Process numbers end far below it.
        assert_eq!((cpu_ns_of(u32::MAX), resident_bytes_of(u32::MAX)), (0, 0));
    }

    #[test]
    fn this_machine_has_a_kernel_and_a_cpu() {
        let host = Host::read();
        assert!(host.cpus_online > 0 && host.memory_bytes > 0 && !host.kernel.trim().is_empty());
    }
}
