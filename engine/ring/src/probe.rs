//! What this kernel offers of what the ring wants, found by asking it, with a sentence on what to do
//! for each thing missing. Deliberately changes nothing and guesses nothing from version numbers.
//! Called by `Port::open` (io_uring or not) and by the start-up report of the roles.

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;

use io_uring::{IoUring, Probe, opcode};

use crate::memory::{HUGE_PAGE_BYTES, Mapping, PAGE_BYTES, Pages, transparent_allowed};
use crate::socket;

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

/// Makes a ring with the flags a port needs, or says what is missing.
pub(crate) fn ring(submissions: u32, completions: u32) -> Result<IoUring, UringMissing> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(completions)
        .dontfork();
    // NO_SQARRAY spares a cache line per submission and is younger (Linux 6.6) than all else.
    let ring = match builder.clone().setup_no_sqarray().build(submissions) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => builder.build(submissions),
        built => built,
    };
    let ring = ring.map_err(|error| setup_failure(&error))?;
    // EXT_ARG: waits with a timeout. NODROP: an overflown completion queue loses nothing.
    if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() {
        return Err(UringMissing::Flags(0));
    }
    Ok(ring)
}

/// Checks that a ring knows every operation a port submits.
pub(crate) fn operations(ring: &IoUring) -> Result<(), UringMissing> {
    let needed = [
        (opcode::RecvMsgMulti::CODE, "RECVMSG"),
        (opcode::SendMsg::CODE, "SENDMSG"),
        (opcode::PollAdd::CODE, "POLL_ADD"),
        (opcode::AsyncCancel2::CODE, "ASYNC_CANCEL"),
    ];
    all_known(ring, &needed)
}

/// Checks that a ring knows every operation of streams.
pub(crate) fn stream_operations(ring: &IoUring) -> Result<(), UringMissing> {
    let needed = [
        (opcode::Accept::CODE, "ACCEPT"),
        (opcode::Connect::CODE, "CONNECT"),
        (opcode::Send::CODE, "SEND"),
        (opcode::RecvMulti::CODE, "RECV"),
        (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
    ];
    all_known(ring, &needed)
}

fn all_known(ring: &IoUring, needed: &[(u8, &'static str)]) -> Result<(), UringMissing> {
    for (code, name) in needed {
        if !knows(ring, *code) {
            return Err(UringMissing::Operation(name));
        }
    }
    Ok(())
}

fn knows(ring: &IoUring, code: u8) -> bool {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).is_ok() && probe.is_supported(code)
}

/// True when the ring knows SENDMSG_ZC.
pub(crate) fn zero_copy(ring: &IoUring) -> bool {
    knows(ring, opcode::SendMsgZc::CODE)
}

/// One thing looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked for.
    pub feature: &'static str,
    /// None when it is there; else what is missing and what to do.
    pub missing: Option<String>,
}

/// All findings of one host, in the order of their weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report(Vec<Finding>);

impl Report {
    /// Every finding, present or missing.
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// Only what is missing.
    pub fn missing(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter().filter(|finding| finding.missing.is_some())
    }
}

impl fmt::Display for Report {
    /// One line a finding.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { feature, missing } in &self.0 {
            match missing {
                None => writeln!(f, "{feature}: yes")?,
                Some(remedy) => writeln!(f, "{feature}: no: {remedy}")?,
            }
        }
        Ok(())
    }
}

/// Looks for everything that a port can make use of; makes and closes a ring and a socket.
pub fn report() -> Report {
    let mut findings = Vec::new();
    let mut find = |feature, outcome: Result<(), String>| {
        findings.push(Finding {
            feature,
            missing: outcome.err(),
        });
    };
    match ring(8, 32) {
        Err(missing) => find("io_uring", Err(missing.to_string())),
        Ok(ring) => {
            find("io_uring", Ok(()));
            find(
                "io_uring operations",
                operations(&ring).map_err(|missing| missing.to_string()),
            );
            find(
                "provided buffer rings",
                buffer_ring(&ring).map_err(|missing| missing.to_string()),
            );
            let remedy = "the copying send path serves; Linux 6.1 or newer has SENDMSG_ZC";
            find(
                "zero-copy sends",
                zero_copy(&ring).then_some(()).ok_or(remedy.into()),
            );
        }
    }
    let offload = |option: i32, name: &str, loss: &str, since: &str| {
        socket_option(option).map_err(|errno| {
            format!("{name} is refused (errno {errno}): {loss}; {since} or newer has it")
        })
    };
    let loss = "trains cannot be sent, each datagram costs a send";
    find(
        "UDP_SEGMENT",
        offload(libc::UDP_SEGMENT, "UDP_SEGMENT", loss, "Linux 4.18"),
    );
    let loss = "trains arrive cut into datagrams, at 20 times the cost";
    find(
        "UDP_GRO",
        offload(libc::UDP_GRO, "UDP_GRO", loss, "Linux 5.0"),
    );
    let reserved = Mapping::new(HUGE_PAGE_BYTES, true).is_ok_and(|m| m.pages() == Pages::Reserved);
    let remedy = "none is free; set vm.nr_hugepages, or let transparent ones serve";
    find(
        "reserved huge pages",
        reserved.then_some(()).ok_or(remedy.into()),
    );
    let remedy = "set /sys/kernel/mm/transparent_hugepage/enabled to madvise";
    find(
        "transparent huge pages",
        transparent_allowed().then_some(()).ok_or(remedy.into()),
    );
    Report(findings)
}

/// Registers and gives up a provided buffer ring of one page.
fn buffer_ring(ring: &IoUring) -> Result<(), UringMissing> {
    let failed = |error: io::Error| UringMissing::BufferRing(error.raw_os_error().unwrap_or(0));
    let page = Mapping::new(PAGE_BYTES, false).map_err(failed)?;
    let submitter = ring.submitter();
    // SAFETY: the page holds 8 entries and outlives the registration, which ends two lines below.
    let registered =
        unsafe { submitter.register_buf_ring_with_flags(page.as_ptr() as u64, 8, 0, 0) };
    registered.map_err(failed)?;
    submitter.unregister_buf_ring(0).map_err(failed)
}

/// Tries a UDP option on a fresh socket; the error is errno.
fn socket_option(option: i32) -> Result<(), i32> {
    let errno = |error: io::Error| error.raw_os_error().unwrap_or(0);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(errno)?;
    socket::set(socket.as_raw_fd(), libc::SOL_UDP, option, 1).map_err(errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(errno: i32) -> UringMissing {
        setup_failure(&io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn each_refusal_of_setup_has_its_reason_and_remedy() {
        let cases = [
            (libc::EPERM, "io_uring"),
            (libc::ENOMEM, "RLIMIT_MEMLOCK"),
            (libc::EINVAL, "Linux 6.1"),
            (libc::EMFILE, "io_uring_setup failed"),
        ];
        for (errno, wanted) in cases {
            assert!(failure(errno).to_string().contains(wanted), "{errno}");
        }
        assert!(UringMissing::Disabled(2).to_string().contains("sysctl"));
        assert!(UringMissing::Filtered(1).to_string().contains("seccomp"));
    }

    #[test]
    fn the_report_names_every_feature_once() {
        let report = report();
        let text = report.to_string();
        for feature in [
            "io_uring",
            "UDP_SEGMENT",
            "UDP_GRO",
            "transparent huge pages",
        ] {
            let named = report
                .findings()
                .iter()
                .filter(|finding| finding.feature == feature);
            assert_eq!(named.count(), 1, "{feature}");
            assert!(text.contains(feature));
        }
        assert!(
            report
                .missing()
                .all(|finding| text.contains(&format!("{}: no", finding.feature)))
        );
    }
}
