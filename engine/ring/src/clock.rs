//! Time as the engine reads it: monotonic nanoseconds, read once per turn and passed down, and the
//! CPU time of one thread for the cost figures. Deliberately no wall clock and no sleeping.

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
}
