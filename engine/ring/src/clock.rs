//! Time as the engine reads it: monotonic nanoseconds, read once per turn and passed down, the CPU time
//! of one thread for the cost figures, and a cycle counter cheap enough to stamp the stages of a turn.
//! Deliberately no wall clock and no sleeping.

/// Time that a calibration of the cycle counter takes, in nanoseconds: a reading is uncertain by some
/// tens of nanoseconds, so that the rate is known to a hundred thousandth.
const CALIBRATION_NS: u64 = 5_000_000;
/// Readings of both clocks of which the closest together is kept: an interrupt may fall between two.
const PAIRS: usize = 8;
/// Clock sources of the kernel that vouch for its TSC: it is synchronised and does not stop.
const SOURCES_OVER_TSC: [&str; 3] = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page"];

/// Nanoseconds of CLOCK_MONOTONIC (clock_gettime(2)); never goes back, starts near boot.
#[inline]
pub fn now_ns() -> u64 {
    read_ns(libc::CLOCK_MONOTONIC)
}

/// CPU time of the calling thread, user and kernel together.
#[derive(Debug, Clone, Copy)]
pub struct ThreadCpu {
    started_ns: u64,
}

impl ThreadCpu {
    /// Starts a measurement on the calling thread.
    pub fn start() -> ThreadCpu {
        ThreadCpu {
            started_ns: ThreadCpu::total_ns(),
        }
    }

    /// Nanoseconds of CPU that the calling thread used since `start`; call it on the same thread.
    pub fn elapsed_ns(&self) -> u64 {
        ThreadCpu::total_ns().saturating_sub(self.started_ns)
    }

    /// Nanoseconds of CPU that the calling thread used in all its life.
    pub fn total_ns() -> u64 {
        read_ns(libc::CLOCK_THREAD_CPUTIME_ID)
    }
}

/// A counter for stamps: the TSC where it runs at one rate on all cores, else CLOCK_MONOTONIC.
///
/// A stamp costs about a third of a clock reading. Ticks are no time until [`Cycles::ns`] has made them.
#[derive(Debug, Clone, Copy)]
pub struct Cycles {
    is_tsc: bool,
    ns_per_tick: f64,
}

impl Cycles {
    /// Chooses the counter and measures its rate against CLOCK_MONOTONIC, which takes 5 ms with a TSC.
    #[must_use]
    pub fn calibrate() -> Cycles {
        let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        let source = std::fs::read_to_string(source).unwrap_or_default();
        if !(SOURCES_OVER_TSC.contains(&source.trim()) && tsc::is_invariant()) {
            return Cycles::monotonic();
        }
        let (ticks, ns) = pair();
        while now_ns() < ns + CALIBRATION_NS {
            std::hint::spin_loop();
        }
        let (ticks_later, ns_later) = pair();
        let ticks = ticks_later.saturating_sub(ticks);
        if ticks == 0 {
            return Cycles::monotonic();
        }
        Cycles {
            is_tsc: true,
            ns_per_tick: (ns_later - ns) as f64 / ticks as f64,
        }
    }

    /// The counter of machines without a TSC to rely on: nanoseconds of CLOCK_MONOTONIC.
    #[must_use]
    pub fn monotonic() -> Cycles {
        Cycles {
            is_tsc: false,
            ns_per_tick: 1.0,
        }
    }

    /// Ticks since some moment in the past.
    #[inline]
    #[must_use]
    pub fn now(&self) -> u64 {
        if self.is_tsc { tsc::read() } else { now_ns() }
    }

    /// Nanoseconds of so many ticks.
    #[inline]
    #[must_use]
    pub fn ns(&self, ticks: u64) -> u64 {
        (ticks as f64 * self.ns_per_tick) as u64
    }

    /// Ticks of so many nanoseconds.
    #[inline]
    #[must_use]
    pub fn ticks(&self, ns: u64) -> u64 {
        (ns as f64 / self.ns_per_tick) as u64
    }

    /// What counts: `tsc` or `monotonic`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        if self.is_tsc { "tsc" } else { "monotonic" }
    }
}

/// One moment on both clocks.
fn pair() -> (u64, u64) {
    let read = || {
        let before = tsc::read();
        let ns = now_ns();
        (tsc::read().saturating_sub(before), (before, ns))
    };
    let pairs = std::iter::repeat_with(read).take(PAIRS);
    pairs
        .min_by_key(|(apart, _)| *apart)
        .map_or((0, 0), |(_, pair)| pair)
}

#[cfg(target_arch = "x86_64")]
mod tsc {
    use core::arch::x86_64;

    /// CPUID leaf of the power management features, in whose EDX bit 8 says "invariant TSC".
    const POWER_LEAF: u32 = 0x8000_0007;

    /// Whether the TSC runs at one rate whatever the core does (Intel SDM 3B 18.17.1).
    pub fn is_invariant() -> bool {
        let highest = x86_64::__cpuid(0x8000_0000).eax;
        highest >= POWER_LEAF && x86_64::__cpuid(POWER_LEAF).edx & 1 << 8 != 0
    }

    /// Reads the TSC, unordered: a stamp may be early or late by what is in flight in the core.
    #[inline]
    pub fn read() -> u64 {
        // SAFETY: reads a counter that every x86-64 has; touches no memory.
        unsafe { x86_64::_rdtsc() }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod tsc {
    pub fn is_invariant() -> bool {
        false
    }

    pub fn read() -> u64 {
        0
    }
}

#[inline]
fn read_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is ours for the length of the call, and both clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_advance_with_work() {
        let cpu = ThreadCpu::start();
        let before_ns = now_ns();
        let mut sum = 0_u64;
        while cpu.elapsed_ns() == 0 {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(now_ns() > before_ns);
    }

    #[test]
    fn cycles_tell_the_time_that_the_clock_tells() {
        for cycles in [Cycles::calibrate(), Cycles::monotonic()] {
            let bracketed = || (cycles.now(), now_ns(), cycles.now());
            let begin = bracketed();
            while now_ns() < begin.1 + 20_000_000 {}
            let end = bracketed();
            // Whatever came between two readings, the clock's interval lies between these two.
            let (least, most) = (cycles.ns(end.0 - begin.2), cycles.ns(end.2 - begin.0));
            let (ns, name) = (end.1 - begin.1, cycles.name());
            assert!(least <= ns + ns / 1_000, "{name}: {least} ns of {ns}");
            assert!(most >= ns - ns / 1_000, "{name}: {most} ns of {ns}");
            assert!(cycles.ns(cycles.ticks(ns)).abs_diff(ns) <= 2 + ns / 1_000_000);
        }
    }
}
