//! What this kernel offers of what the ring wants, found by asking it, with a sentence on what to do
//! for each thing missing. Deliberately changes nothing and guesses nothing from version numbers.
//! Called by `Port::open` (io_uring or not) and by the start-up report of the roles.

use std::fs;
use std::io;

use io_uring::{IoUring, Probe, opcode};

/// Why io_uring cannot be used; the text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UringMissing {
    /// io_uring_setup is not allowed to this process by the host's switch.
    #[error(
        "io_uring is switched off (kernel.io_uring_disabled = {0}); set it to 0 with sysctl, or to 1 and run in the group kernel.io_uring_group"
    )]
    Disabled(u8),
    /// io_uring_setup is refused though the switch is on: a seccomp filter, as containers have.
    #[error(
        "io_uring_setup is refused (errno {0}), as by a container's seccomp filter; allow io_uring_setup, io_uring_enter and io_uring_register"
    )]
    Filtered(i32),
    /// The kernel has no io_uring at all.
    #[error("this kernel has no io_uring; Linux 6.1 or newer has what is needed")]
    Absent,
    /// The ring's memory was refused.
    #[error("memory for the ring was refused (ENOMEM); raise RLIMIT_MEMLOCK")]
    Memory,
    /// A setup flag is unknown to this kernel.
    #[error(
        "io_uring lacks SINGLE_ISSUER or DEFER_TASKRUN (errno {0}); Linux 6.1 or newer has them"
    )]
    Flags(i32),
    /// An operation is unknown to this kernel.
    #[error("io_uring lacks the operation {0}; Linux 6.1 or newer has it")]
    Operation(&'static str),
    /// Provided buffer rings cannot be registered.
    #[error("io_uring cannot register provided buffer rings (errno {0}); Linux 5.19 or newer can")]
    BufferRing(i32),
    /// Another start-up step failed.
    #[error("io_uring could not be set up: {step} failed (errno {errno})")]
    Setup {
        /// The step.
        step: &'static str,
        /// The kernel's reason.
        errno: i32,
    },
}

/// Names the reason behind a failed io_uring_setup(2).
pub(crate) fn setup_failure(error: &io::Error) -> UringMissing {
    let errno = error.raw_os_error().unwrap_or(0);
    match errno {
        libc::ENOSYS if switch().is_some() => UringMissing::Filtered(errno),
        libc::ENOSYS => UringMissing::Absent,
        libc::EPERM | libc::EACCES => match switch() {
            Some(value @ 1..) => UringMissing::Disabled(value),
            _ => UringMissing::Filtered(errno),
        },
        libc::ENOMEM => UringMissing::Memory,
        libc::EINVAL => UringMissing::Flags(errno),
        _ => UringMissing::Setup {
            step: "io_uring_setup",
            errno,
        },
    }
}

/// The value of kernel.io_uring_disabled; None where the kernel has no such switch.
fn switch() -> Option<u8> {
    let text = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    text.trim().parse().ok()
}

/// Checks that a ring knows every operation a port submits.
pub(crate) fn operations(ring: &IoUring) -> Result<(), UringMissing> {
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|_| UringMissing::Operation("IORING_REGISTER_PROBE"))?;
    let needed = [
        (opcode::RecvMsgMulti::CODE, "RECVMSG"),
        (opcode::SendMsg::CODE, "SENDMSG"),
        (opcode::PollAdd::CODE, "POLL_ADD"),
        (opcode::AsyncCancel2::CODE, "ASYNC_CANCEL"),
    ];
    for (code, name) in needed {
        if !probe.is_supported(code) {
            return Err(UringMissing::Operation(name));
        }
    }
    Ok(())
}

/// True when the ring knows SENDMSG_ZC.
pub(crate) fn zero_copy(ring: &IoUring) -> bool {
    let mut probe = Probe::new();
    let known = ring.submitter().register_probe(&mut probe);
    known.is_ok() && probe.is_supported(opcode::SendMsgZc::CODE)
}
