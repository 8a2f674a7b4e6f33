//! The part of the fingerprint that says how the machine runs its cores: threads a core, boost, clock,
//! isolation, nodes, huge pages, hypervisor. Reads /sys and /proc; empty where the machine shows nothing,
//! as many virtual ones do. Called by `host`.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// How the machine runs its cores; texts are empty where it does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hardware {
    /// Simultaneous multithreading: `on` or `off`.
    pub smt: String,
    /// Threads that share a core with the first one, such as `0-1`.
    pub smt_siblings: String,
    /// Frequency boost: `on` or `off`.
    pub boost: String,
    /// Driver of the CPU frequency.
    pub frequency_driver: String,
    /// Clock source in force.
    pub clocksource: String,
    /// Cores kept from the scheduler (isolcpus=).
    pub isolated_cores: String,
    /// Cores without a timer tick while one task runs (nohz_full=).
    pub tickless_cores: String,
    /// NUMA nodes online, such as `0-1`.
    pub numa_nodes: String,
    /// Huge pages reserved at the default size (vm.nr_hugepages).
    pub huge_pages_reserved: String,
    /// What runs below, where it tells its name.
    pub hypervisor: String,
}

impl Hardware {
    /// Reads it below `root`, which is `/` but in tests.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let text = |path: &str| {
            let text = fs::read_to_string(root.join(path)).unwrap_or_default();
            text.trim().to_owned()
        };
        let switch = |path: &str, on: &str| match text(path) {
            state if state.is_empty() => String::new(),
            state if state == on => "on".to_owned(),
            _ => "off".to_owned(),
        };
        let cpu = "sys/devices/system/cpu";
        let [pstate, boost] = [
            switch(&format!("{cpu}/intel_pstate/no_turbo"), "0"),
            switch(&format!("{cpu}/cpufreq/boost"), "1"),
        ];
        let dmi =
            ["sys_vendor", "product_name"].map(|name| text(&format!("sys/class/dmi/id/{name}")));
        Self {
            smt: switch(&format!("{cpu}/smt/active"), "1"),
            smt_siblings: text(&format!("{cpu}/cpu0/topology/thread_siblings_list")),
            boost: if pstate.is_empty() { boost } else { pstate },
            frequency_driver: text(&format!("{cpu}/cpu0/cpufreq/scaling_driver")),
            clocksource: text("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            isolated_cores: text(&format!("{cpu}/isolated")),
            tickless_cores: text(&format!("{cpu}/nohz_full")),
            numa_nodes: text("sys/devices/system/node/online"),
            huge_pages_reserved: text("proc/sys/vm/nr_hugepages"),
            hypervisor: match text("sys/hypervisor/type") {
                named if !named.is_empty() => named,
                _ => dmi.join(" ").trim().to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_tells_is_read_and_the_rest_left_empty() {
        let root = std::env::temp_dir().join(format!("sirocco-hardware-{}", std::process::id()));
        for (path, text) in [
            ("sys/devices/system/cpu/smt/active", "1\n"),
            ("sys/devices/system/cpu/intel_pstate/no_turbo", "1\n"),
            ("sys/devices/system/node/online", "0-1\n"),
            ("sys/class/dmi/id/product_name", "Box\n"),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let read = Hardware::read(&root);
        let expected = Hardware {
            smt: "on".to_owned(),
            boost: "off".to_owned(),
            numa_nodes: "0-1".to_owned(),
            hypervisor: "Box".to_owned(),
            ..Hardware::default()
        };
        assert_eq!(read, expected);
        fs::remove_dir_all(&root).unwrap();
    }
}
