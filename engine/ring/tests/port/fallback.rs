//! Where io_uring is refused, as by a container's filter, the port says so and works all the same.

use std::thread;

use sirocco_ring::{Backend, Notice, OpenError, Port, SendPath, Train, probe};

use crate::rig::{Rig, fill_segments, in_own_process, port, read_all, small};

/// Number of io_uring_setup on every architecture that Rust's Linux targets share it with.
const IO_URING_SETUP: u32 = 425;

/// Denies io_uring_setup to the calling thread for the rest of its life, as Docker's filter does.
fn deny_io_uring() {
    let statement = |code: u32, yes: u8, no: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt: yes,
        jf: no,
        k,
    };
    let mut filter = [
        // Load the system call's number, the first word of struct seccomp_data.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            IO_URING_SETUP,
        ),
        statement(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        ),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: takes integers only; binds the calling thread.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(result, 0);
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: `program` and the filter it points to live over the call; the kernel copies both.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
    assert_eq!(result, 0);
}

/// Runs `test` on a thread of its own that may not set up io_uring.
pub fn without_io_uring(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(move || {
        deny_io_uring();
        test();
    });
    thread.join().unwrap();
}

#[test]
fn auto_falls_back_says_so_and_still_moves_trains() {
    without_io_uring(|| {
        let mut rig = Rig::new(Backend::Auto);
        assert_eq!(rig.left.backend(), Backend::Mmsg);
        let said = rig
            .left
            .limits()
            .iter()
            .find(|notice| matches!(notice, Notice::UringMissing(_)));
        let said = said.expect("a notice of the fallback").to_string();
        assert!(
            said.contains("seccomp") && said.contains("take over"),
            "{said}"
        );

        let slab = rig.left.take_slab().unwrap();
        fill_segments(&mut rig.left.slab_mut(&slab)[..1000], 100, 4);
        let target = rig.right.local_address(0);
        let train = Train {
            socket: 0,
            target,
            source: None,
            length: 1000,
            segment: 100,
            tag: 0,
        };
        rig.left.send(slab, train);
        rig.reports(1);
        let mut wanted = vec![0; 1000];
        fill_segments(&mut wanted, 100, 4);
        assert_eq!(read_all(&mut rig.right, 10).concat(), wanted);
    });
}

#[test]
fn demanded_io_uring_fails_with_what_to_do() {
    without_io_uring(|| {
        let error = Port::open(&small(Backend::Uring)).unwrap_err();
        assert!(matches!(error, OpenError::Uring(_)));
        let text = error.to_string();
        assert!(
            text.contains("io_uring_setup is refused (errno 1)"),
            "{text}"
        );
        assert!(
            text.contains("allow io_uring_setup") && text.contains("mmsg"),
            "{text}"
        );
    });
}

#[test]
fn the_report_names_what_is_missing() {
    without_io_uring(|| {
        let report = probe::report();
        let missing: Vec<_> = report.missing().map(|finding| finding.feature).collect();
        assert!(missing.contains(&"io_uring"), "{report}");
    });
}

#[test]
fn auto_takes_io_uring_where_it_is_to_be_had() {
    let had = probe::report()
        .missing()
        .all(|finding| finding.feature != "io_uring");
    let rig = Rig::new(Backend::Auto);
    assert_eq!(rig.left.backend() == Backend::Uring, had);
}

/// Capabilities by their numbers in linux/capability.h.
const CAP_NET_ADMIN: u32 = 12;
const CAP_IPC_LOCK: u32 = 14;

/// Takes a capability from the calling thread; no loss where it had none.
fn drop_capability(capability: u32) {
    // struct __user_cap_header_struct, version 3, this thread; then two of __user_cap_data_struct.
    let mut header = [0x2008_0522_u32, 0];
    let mut sets = [0_u32; 6];
    // SAFETY: header and sets have the sizes that version 3 asks for and are ours over the call.
    let result = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) };
    assert_eq!(result, 0);
    sets[0] &= !(1 << capability);
    // SAFETY: as above.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_ptr()) };
    assert_eq!(result, 0);
}

/// Limits the memory that this process may lock.
fn limit_locked_memory(bytes: u64) {
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: bytes,
    };
    // A hard limit below `bytes` cannot be raised by everyone, and does as well.
    // SAFETY: `limit` is ours over the call.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
    drop_capability(CAP_IPC_LOCK);
}

#[test]
fn socket_buffers_smaller_than_asked_are_noticed_with_what_was_granted() {
    let thread = thread::spawn(|| {
        drop_capability(CAP_NET_ADMIN);
        let asked = 1 << 30;
        let mut config = small(Backend::Mmsg);
        config.sockets[0].receive_buffer_bytes = asked;
        config.sockets[0].send_buffer_bytes = asked;
        let port = port(&config);
        let granted = port.limits().iter().filter_map(|notice| match notice {
            Notice::ReceiveBuffer {
                socket: 0, granted, ..
            }
            | Notice::SendBuffer {
                socket: 0, granted, ..
            } => Some(*granted),
            _ => None,
        });
        let granted: Vec<u32> = granted.collect();
        assert_eq!(granted.len(), 2, "{:?}", port.limits());
        assert!(
            granted.iter().all(|granted| (1..asked).contains(granted)),
            "{granted:?}"
        );
    });
    thread.join().unwrap();
}

#[test]
fn slabs_beyond_the_locked_memory_limit_fall_back_to_plain_zero_copy() {
    if !in_own_process(
        "fallback::slabs_beyond_the_locked_memory_limit_fall_back_to_plain_zero_copy",
    ) {
        return;
    }
    // The kernel counts locked memory by user, so the limit leaves room for rings of other processes.
    limit_locked_memory(32 << 20);
    let mut config = small(Backend::Uring);
    config.send_path = SendPath::ZeroCopyFixed;
    config.slab_count = 1024; // 64 MiB
    let mut left = port(&config);
    let missing = |notice: &&Notice| matches!(notice, Notice::FixedBuffersMissing(libc::ENOMEM));
    let said = left
        .limits()
        .iter()
        .find(missing)
        .expect("a notice")
        .to_string();
    assert!(said.contains("RLIMIT_MEMLOCK"), "{said}");
    let slab = left.take_slab().unwrap();
    let target = left.local_address(0);
    left.send(
        slab,
        Train {
            socket: 0,
            target,
            source: None,
            length: 900,
            segment: 300,
            tag: 0,
        },
    );
    assert_eq!(crate::rig::reports(&mut left, 1)[0].result, Ok(900));
    assert_eq!(left.counters().zc_notifications, 1);
}
