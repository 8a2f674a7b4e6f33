//! Pinning of the calling thread to one CPU, and the set of CPUs that this process may use.
//! Deliberately no topology: which worker goes where is the caller's decision.

use std::io;
use std::mem;

/// Pins the calling thread to `core`, a CPU number as the kernel counts them (sched_setaffinity(2)).
/// Fails with EINVAL when the CPU does not exist or is outside the allowed set.
pub fn pin(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut set = empty();
    // SAFETY: `core` is below CPU_SETSIZE and `set` is ours.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: 0 names the calling thread; the set lives over the call.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The CPUs that the calling thread may run on, ascending (sched_getaffinity(2)).
pub fn cores_allowed() -> io::Result<Vec<usize>> {
    let mut set = empty();
    // SAFETY: 0 names the calling thread; the set lives over the call.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let contains = |core: &usize| {
        // SAFETY: `core` is below CPU_SETSIZE by the range below.
        unsafe { libc::CPU_ISSET(*core, &set) }
    };
    Ok((0..libc::CPU_SETSIZE as usize).filter(contains).collect())
}

fn empty() -> libc::cpu_set_t {
    // SAFETY: cpu_set_t is an array of integers, for which all zeroes is the empty set.
    unsafe { mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinned_thread_is_allowed_one_core() {
        let allowed = cores_allowed().unwrap();
        let last = *allowed.last().unwrap();
        let seen = std::thread::spawn(move || {
            pin(last).unwrap();
            cores_allowed().unwrap()
        });
        assert_eq!(seen.join().unwrap(), [last]);
    }

    #[test]
    fn core_out_of_range_is_refused() {
        assert_eq!(pin(1 << 20).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
