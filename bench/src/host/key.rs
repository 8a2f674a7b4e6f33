//! What of two machines has to be equal for their figures to be compared, and why. Differences are
//! named, each with its weight; nothing is refused here. Called by the comparisons and by whoever keeps a
//! history of records.

use super::Host;

/// How much a difference weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The figures cannot be compared.
    Refused,
    /// They can; the reader has to know.
    Warned,
}

/// One difference between two machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs, such as `kernel`.
    pub what: &'static str,
    /// The first machine's value; empty if unknown.
    pub a: String,
    /// The second machine's value; empty if unknown.
    pub b: String,
    /// What follows.
    pub weight: Weight,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |text: &str| match text {
            "" => "unknown".to_owned(),
            text => format!("`{text}`"),
        };
        write!(
            f,
            "{}: {} and {}",
            self.what,
            shown(&self.a),
            shown(&self.b)
        )
    }
}

/// Memory of a machine is told in whole GiB: kernels of one machine keep slightly different shares of it
/// for themselves, and no figure here depends on less.
const GIB: u64 = 1 << 30;

impl Host {
    /// What must be equal, each with its name: an empty value is unknown. In this list because:
    /// - CPU, microcode, SMT, boost, governor, driver, nodes: the same instructions take other times;
    /// - kernel with its version, mitigations, io_uring_disabled: a SIR's time is half the kernel's, a patch
    ///   release has changed it, and without io_uring another path is run;
    /// - huge pages, memory: misses of a population that no cache holds;
    /// - clock source: each turn reads the clock;
    /// - isolated and tickless cores, cores online, allowed: who else runs there;
    /// - hypervisor: exits cost what it makes them cost;
    /// - greatest receive buffer: beyond it datagrams are lost;
    /// - optimisation level and debug assertions: another program.
    ///
    /// Not in it: load average and steal, which belong to a run and are judged with it.
    #[must_use]
    pub fn key(&self) -> Vec<(&'static str, String)> {
        let hardware = &self.hardware;
        let count = |count: u64| match count {
            0 => String::new(),
            count => count.to_string(),
        };
        // A machine that was read at all tells its kernel: what is then empty is a value, not a gap.
        let told = |text: &str| match text {
            "" if !hardware.clocksource.is_empty() => "none".to_owned(),
            text => text.to_owned(),
        };
        vec![
            ("CPU", self.cpu_model.clone()),
            ("microcode", self.microcode.clone()),
            ("cores online", count(self.cpus_online as u64)),
            ("cores allowed", list(&self.cores_allowed)),
            ("kernel", self.kernel.trim().to_owned()),
            ("mitigations", self.mitigations.join("; ")),
            ("governor", told(&self.governor)),
            ("frequency driver", told(&hardware.frequency_driver)),
            ("boost", told(&hardware.boost)),
            ("SMT", told(&hardware.smt)),
            ("NUMA nodes", told(&hardware.numa_nodes)),
            (
                "transparent huge pages",
                self.transparent_huge_pages.clone(),
            ),
            ("huge pages reserved", told(&hardware.huge_pages_reserved)),
            ("clock source", hardware.clocksource.clone()),
            ("isolated cores", told(&hardware.isolated_cores)),
            ("tickless cores", told(&hardware.tickless_cores)),
            ("hypervisor", told(&hardware.hypervisor)),
            ("io_uring_disabled", self.io_uring_disabled.clone()),
            (
                "greatest receive buffer",
                count(self.receive_buffer_bytes_max),
            ),
            ("memory in GiB", count((self.memory_bytes + GIB / 2) / GIB)),
            ("optimisation level", self.build.opt_level.clone()),
            ("debug assertions", self.build.debug_assertions.clone()),
        ]
    }

    /// What may differ and has to be told: builds are often what is compared.
    fn told(&self) -> Vec<(&'static str, String)> {
        let build = &self.build;
        vec![
            ("compiler", build.rustc.clone()),
            ("target", build.target.clone()),
            ("profile", build.profile.clone()),
            ("profile settings", build.profile_settings.clone()),
            ("compiler flags", build.rustflags.clone()),
            ("CPU features of the build", build.cpu_features.clone()),
            ("cargo features", build.cargo_features.clone()),
        ]
    }

    /// Every difference to `other`. A value that only one of the two tells is warned of: an older record
    /// holds fewer fields.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let compare = |a: Vec<(&'static str, String)>, b: Vec<(&'static str, String)>, weight| {
            let unlike = a.into_iter().zip(b).filter(|(a, b)| a.1 != b.1);
            unlike.map(move |((what, a), (_, b))| Difference {
                what,
                weight: match a.is_empty() || b.is_empty() {
                    true => Weight::Warned,
                    false => weight,
                },
                a,
                b,
            })
        };
        compare(self.key(), other.key(), Weight::Refused)
            .chain(compare(self.told(), other.told(), Weight::Warned))
            .collect()
    }
}

fn list(cores: &[usize]) -> String {
    let cores: Vec<String> = cores.iter().map(usize::to_string).collect();
    cores.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_like_itself_whatever_ran_there() {
        let host = Host::read();
        let later = Host {
            load_1m: host.load_1m + 7.0,
            memory_bytes: host.memory_bytes + 4096,
            ..host.clone()
        };
        assert_eq!(host.differences(&later), []);
    }

    #[test]
    fn another_kernel_is_refused_and_another_compiler_warned_of() {
        let host = Host::read();
        let mut other = host.clone();
        other.kernel.push_str(".1");
        other.build.rustc = "rustc 9.9.9".to_owned();
        let weights: Vec<_> = host
            .differences(&other)
            .iter()
            .map(|difference| (difference.what, difference.weight))
            .collect();
        assert_eq!(
            weights,
            [("kernel", Weight::Refused), ("compiler", Weight::Warned)]
        );
    }

    #[test]
    fn what_an_older_record_does_not_tell_is_unknown_not_unlike() {
        let host = Host::read();
        let mut json = serde_json::to_value(&host).unwrap();
        let fields = json.as_object_mut().unwrap();
        fields.remove("build");
        fields.remove("hardware");
        let old: Host = serde_json::from_value(json).unwrap();
        let found = old.differences(&host);
        assert!(found.iter().any(|found| found.what == "debug assertions"));
        assert!(
            found.iter().all(|found| found.weight == Weight::Warned),
            "{found:?}"
        );
        assert!(found[0].to_string().contains("unknown"), "{}", found[0]);
    }
}
