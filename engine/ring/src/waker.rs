//! Waking a port's thread out of a waiting turn from another thread: an eventfd and two flags.
//! The flags spare the system call while the port is not asleep. Deliberately carries no message:
//! the waker's mailbox is the caller's.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug)]
struct Shared {
    event: File,
    asleep: AtomicBool,
    woken: AtomicBool,
}

/// Wakes the port that made it; cheap to clone, may be used from any thread.
#[derive(Debug, Clone)]
pub struct Waker(Arc<Shared>);

impl Waker {
    /// Makes the port's current or next waiting turn return at once.
    #[inline]
    pub fn wake(&self) {
        // Both sides store their flag before they read the other's (SeqCst): either the port sees
        // `woken` and does not sleep, or we see `asleep` and write.
        self.0.woken.store(true, Ordering::SeqCst);
        if self.0.asleep.load(Ordering::SeqCst) {
            // A full counter (EAGAIN) means that a wake-up is pending already.
            let _ = (&self.0.event).write(&1_u64.to_ne_bytes());
        }
    }
}

/// The port's side of its wakers.
#[derive(Debug)]
pub(crate) struct Bell(Waker);

impl Bell {
    pub(crate) fn new() -> io::Result<Bell> {
        // SAFETY: makes a new descriptor; touches no memory of ours.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if event < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and owned by nobody else.
        let event = unsafe { File::from_raw_fd(event) };
        let asleep = AtomicBool::new(false);
        Ok(Bell(Waker(Arc::new(Shared {
            event,
            asleep,
            woken: AtomicBool::new(false),
        }))))
    }

    pub(crate) fn waker(&self) -> Waker {
        self.0.clone()
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.0.0.event.as_raw_fd()
    }

    /// Announces sleep; false when a wake-up came before, and the port must not sleep.
    pub(crate) fn lie_down(&self) -> bool {
        self.0.0.asleep.store(true, Ordering::SeqCst);
        !self.0.0.woken.load(Ordering::SeqCst)
    }

    /// Ends the sleep and takes the wake-up, if there was one. The caller looks into its mailbox after.
    pub(crate) fn rise(&self) -> bool {
        self.0.0.asleep.store(false, Ordering::SeqCst);
        self.0.0.woken.swap(false, Ordering::SeqCst)
    }

    /// Empties the eventfd's counter, for backends that poll it by level.
    pub(crate) fn silence(&self) {
        let mut counter = [0_u8; 8];
        // EAGAIN means that it is empty already.
        let _ = (&self.0.0.event).read(&mut counter);
    }
}
