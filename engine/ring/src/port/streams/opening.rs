//! How streams begin: connections that came, connects of ours, and those that failed.
//! Deliberately makes no socket: the caller brings it. Called by the backends and by `Port::connect`.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::slot::State;
use super::{Event, Streams};
use crate::stream::StreamId;

/// Pause of accepting when descriptors or memory are short, unless a stream ends before.
pub(super) const ACCEPTS_PAUSE: Duration = Duration::from_millis(100);

impl Streams {
    /// Whether connections may be accepted now, as far as descriptors go.
    pub(crate) fn accepts(&self) -> bool {
        self.accepts_pause.is_none()
    }

    /// An accept failed: where descriptors or memory are short, accepting pauses, as the next one
    /// would fail at once and the port would spin.
    #[cold]
    pub(crate) fn accept_failed(&mut self, errno: i32) {
        match errno {
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => {
                // All accepts that were pending fail together.
                if self.accepts_pause.is_none() {
                    self.counters.accepts_starved += 1;
                    self.accepts_pause = Some(Instant::now() + ACCEPTS_PAUSE);
                }
            }
            libc::EAGAIN | libc::EINTR | libc::ECANCELED => {}
            _ => self.counters.accept_errors += 1,
        }
    }

    fn open(&mut self, state: State, socket: Option<OwnedFd>, peer: SocketAddr) -> Option<u32> {
        let slot = self.free.pop()?;
        self.slots[slot as usize].open(state, socket, peer);
        Some(slot)
    }

    /// A connection came; the caller made sure that a slot is free.
    pub(crate) fn accepted(&mut self, socket: OwnedFd, listener: u16, peer: SocketAddr) -> u32 {
        let slot = self
            .open(State::Open, Some(socket), peer)
            .expect("a connection is taken when a slot is free");
        self.counters.accepted += 1;
        self.events
            .push_back((self.id(slot), Event::Accepted(listener)));
        self.list(slot);
        slot
    }

    /// Opens a slot for a connect; without a socket the reason is told as a refusal.
    pub(crate) fn connect(
        &mut self,
        socket: std::io::Result<OwnedFd>,
        target: SocketAddr,
    ) -> Option<StreamId> {
        let errno = match &socket {
            Ok(_) => None,
            Err(error) => Some(error.raw_os_error().unwrap_or(libc::EIO)),
        };
        let Some(slot) = self.open(State::Connecting, socket.ok(), target) else {
            self.counters.connects_full += 1;
            return None;
        };
        let stream = self.id(slot);
        match errno {
            Some(errno) => self.refuse(slot, errno),
            None => self.list(slot),
        }
        Some(stream)
    }

    /// A connect completed: 0, or its errno.
    pub(crate) fn connected(&mut self, slot: u32, errno: i32) {
        let at = &mut self.slots[slot as usize];
        at.connecting = false;
        if at.state != State::Connecting {
            return self.settle(slot);
        }
        if errno != 0 {
            return self.refuse(slot, errno);
        }
        self.counters.connected += 1;
        at.state = if at.close_wanted {
            State::Closing
        } else {
            State::Open
        };
        let stream = self.id(slot);
        self.events.push_back((stream, Event::Connected));
        self.list(slot);
    }

    /// Ends a connect that failed.
    fn refuse(&mut self, slot: u32, errno: i32) {
        self.counters.refused += 1;
        let stream = self.id(slot);
        let at = &mut self.slots[slot as usize];
        at.state = State::Dead;
        at.end_waits = true;
        self.events.push_back((stream, Event::Refused(errno)));
        self.settle(slot);
    }
}
