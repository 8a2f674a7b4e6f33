//! A port: the sockets, buffers and kernel interface of one worker thread. The worker takes slabs,
//! fills them, sends them, makes a turn, reads what was received and what was sent; TCP streams, in
//! `tcp`, ride in the same turns. One turn is at most one system call on the io_uring backend, but for
//! the few of a stream's birth and end. Deliberately knows no protocol, keeps no timers
//! and makes no threads; `!Send`, because the ring belongs to the thread that opened it.

mod mmsg;
mod store;
mod streams;
mod tcp;
mod uring;

use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::arrival::{self, Received, Unreadable};
use crate::config::{Backend, DATAGRAMS_PER_SLAB_MAX, Notice, OpenError, PortConfig};
use crate::counters::Counters;
use crate::envelope::Direction;
use crate::listener::{Listener, descriptors_limit};
use crate::memory::{HUGE_PAGE_BYTES, Mapping, Pages};
use crate::slab::Slab;
use crate::socket::Socket;
use crate::waker::{Bell, Waker};

use mmsg::Mmsg;
use store::Store;
use uring::Uring;

/// Longest wait of one turn; what is longer is cut, so that any `Duration` fits the kernel's clock.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// One slab's journey to one target.
#[derive(Debug, Clone, Copy)]
pub struct Train {
    /// Index of the socket it leaves by.
    pub socket: u16,
    /// Where it goes.
    pub target: SocketAddr,
    /// The local address it leaves from; None lets the kernel choose.
    pub source: Option<IpAddr>,
    /// Octets of the slab that are sent, from its beginning.
    pub length: u32,
    /// Octets of each datagram but the last, which may be shorter; 0 or `length` for a single datagram.
    pub segment: u16,
    /// Handed back in the report.
    pub tag: u64,
}

/// One datagram out of a slab of many.
#[derive(Debug, Clone, Copy)]
pub struct Datagram {
    /// Where it goes.
    pub target: SocketAddr,
    /// The local address it leaves from; None lets the kernel choose.
    pub source: Option<IpAddr>,
    /// Where it begins in the slab.
    pub offset: u32,
    /// Its octets.
    pub length: u16,
}

/// How long a turn may wait for something to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    No,
    /// Until something completes (a send, too), a waker wakes, or this much time passes; one hour at most.
    Until(Duration),
}

/// The report of one slab that is free again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The tag of its train or of its datagrams.
    pub tag: u64,
    /// Octets sent, or the first error.
    pub result: Result<u32, SendError>,
    /// Sends made: 1 for a train, the number of datagrams for `send_many`.
    pub operations: u32,
    /// How many of them failed.
    pub failed: u32,
}

/// Why the kernel did not send; the number is errno where several share a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// EMSGSIZE.
    #[error("datagram too large for its path (EMSGSIZE); shorten it")]
    TooLarge,
    /// ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, ENETDOWN.
    #[error("no route to the target (errno {0}); check routes and addresses")]
    Unreachable(i32),
    /// ECONNREFUSED.
    #[error("port unreachable (ECONNREFUSED); nobody listens there")]
    Refused,
    /// EPERM, EACCES.
    #[error("sending is denied (errno {0}); check packet filters")]
    Denied(i32),
    /// ENOBUFS, ENOMEM.
    #[error("the host has no memory for it (errno {0}); send less at once")]
    NoMemory(i32),
    /// ECANCELED.
    #[error("canceled because the port closed")]
    Canceled,
    /// EINVAL and all others.
    #[error(
        "the kernel refused the send (errno {0}); check segment size and count, and address family"
    )]
    Invalid(i32),
}

impl SendError {
    pub(crate) fn from_errno(errno: i32) -> SendError {
        match errno {
            libc::EMSGSIZE => SendError::TooLarge,
            libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EADDRNOTAVAIL | libc::ENETDOWN => {
                SendError::Unreachable(errno)
            }
            libc::ECONNREFUSED => SendError::Refused,
            libc::EPERM | libc::EACCES => SendError::Denied(errno),
            libc::ENOBUFS | libc::ENOMEM => SendError::NoMemory(errno),
            libc::ECANCELED => SendError::Canceled,
            _ => SendError::Invalid(errno),
        }
    }
}

#[derive(Debug)]
enum Driver {
    Uring(Box<Uring>),
    Mmsg(Box<Mmsg>),
}

/// Sockets, slabs and receive buffers of one thread; see the crate root for who owns what when.
///
/// A port cannot leave the thread that opened it:
///
/// ```compile_fail
/// fn send<T: Send>(_: T) {}
/// send(sirocco_ring::Port::open(&sirocco_ring::PortConfig::new(vec![])).unwrap());
/// ```
#[derive(Debug)]
pub struct Port {
    driver: ManuallyDrop<Driver>,
    store: ManuallyDrop<Store>,
    sockets: Vec<Socket>,
    listeners: Vec<Listener>,
    bell: Bell,
    notices: Vec<Notice>,
    /// The ring accepts submissions from the thread that made it only (IORING_SETUP_SINGLE_ISSUER).
    single_thread: PhantomData<*const ()>,
}

impl Port {
    /// Opens sockets, maps memory and starts receiving; call it on the thread that will use the port.
    pub fn open(config: &PortConfig) -> Result<Port, OpenError> {
        config.check()?;
        let mut notices = Vec::new();
        let bell = Bell::new().map_err(|source| OpenError::System {
            step: "eventfd",
            source,
        })?;
        let sockets = (0..)
            .zip(&config.sockets)
            .map(|(index, socket)| Socket::open(index, socket, config.gro, &mut notices))
            .collect::<Result<Vec<_>, _>>()?;
        let listeners = (0..)
            .zip(&config.listeners)
            .map(|(index, listener)| Listener::open(index, listener, &mut notices))
            .collect::<Result<Vec<_>, _>>()?;
        notice_descriptors(config.streams_max, &mut notices);
        let store = Store::new(config)?;
        if config.huge_pages {
            notice_pages("send slabs", store.slabs.memory(), &mut notices);
            notice_pages("receive buffers", store.receive.memory(), &mut notices);
        }
        let mmsg = || -> Result<Driver, OpenError> {
            let mmsg = Mmsg::open(&sockets, &listeners, &bell, &store).map_err(|source| {
                OpenError::System {
                    step: "epoll",
                    source,
                }
            })?;
            Ok(Driver::Mmsg(Box::new(mmsg)))
        };
        let all = (&sockets[..], &listeners[..]);
        let driver = match config.backend {
            Backend::Mmsg => mmsg()?,
            backend => match Uring::open(config, all, &bell, &store, &mut notices) {
                Ok(uring) => Driver::Uring(Box::new(uring)),
                Err(missing) if backend == Backend::Auto => {
                    notices.push(Notice::UringMissing(missing));
                    mmsg()?
                }
                Err(missing) => return Err(missing.into()),
            },
        };
        let (driver, store) = (ManuallyDrop::new(driver), ManuallyDrop::new(store));
        Ok(Port {
            driver,
            store,
            sockets,
            listeners,
            bell,
            notices,
            single_thread: PhantomData,
        })
    }

    /// The backend in use, `Uring` or `Mmsg`.
    pub fn backend(&self) -> Backend {
        match &*self.driver {
            Driver::Uring(_) => Backend::Uring,
            Driver::Mmsg(_) => Backend::Mmsg,
        }
    }

    /// What the host granted less of than was asked.
    pub fn limits(&self) -> &[Notice] {
        &self.notices
    }

    /// The address that socket `socket` is bound to, with the port that the kernel chose.
    pub fn local_address(&self, socket: u16) -> SocketAddr {
        self.sockets[usize::from(socket)].local()
    }

    /// Datagrams that the kernel dropped at all sockets because nobody read them in time; makes one
    /// system call for each socket, so it is for reports only.
    pub fn kernel_drops(&self) -> io::Result<u64> {
        self.sockets.iter().map(Socket::drops).sum()
    }

    /// Takes the warmest free slab, or None when all are in flight.
    #[inline]
    pub fn take_slab(&mut self) -> Option<Slab> {
        self.store.slabs.take()
    }

    /// Number of slabs that `take_slab` would give.
    #[inline]
    pub fn free_slab_count(&self) -> usize {
        self.store.slabs.free_count()
    }

    /// The bytes of a slab; what they held at the last flight is still there.
    #[inline]
    pub fn slab_mut(&mut self, slab: &Slab) -> &mut [u8] {
        self.store.slabs.bytes_mut(slab)
    }

    /// Gives an unused slab back.
    #[inline]
    pub fn release(&mut self, slab: Slab) {
        self.store.slabs.release(slab);
    }

    /// Queues a slab; it leaves at the next turn and is free again when it is reported by `sent`.
    ///
    /// Panics when the length is beyond the slab or the socket is none of the port's.
    #[inline]
    pub fn send(&mut self, slab: Slab, train: Train) {
        assert!(
            usize::from(train.socket) < self.sockets.len(),
            "no such socket"
        );
        let single = u32::from(train.segment) == train.length;
        let segment = if single { 0 } else { train.segment };
        let direction = Direction {
            target: train.target,
            source: train.source,
            segment,
        };
        let store = &mut *self.store;
        let (operation, header) = store.depart_train(slab, train.length, &direction, train.tag);
        match &mut *self.driver {
            Driver::Uring(uring) => uring.queue(store, train.socket, operation, header),
            Driver::Mmsg(mmsg) => mmsg.queue(train.socket, operation, header),
        }
    }

    /// Queues 1 to `DATAGRAMS_PER_SLAB_MAX` datagrams with targets of their own out of one slab; the
    /// slab is free again when the last of them completed. No datagrams: the slab is released.
    ///
    /// Panics when a datagram lies beyond the slab or the socket is none of the port's.
    #[inline]
    pub fn send_many(&mut self, slab: Slab, socket: u16, datagrams: &[Datagram], tag: u64) {
        assert!(usize::from(socket) < self.sockets.len(), "no such socket");
        assert!(
            datagrams.len() <= DATAGRAMS_PER_SLAB_MAX,
            "more datagrams than a slab may carry"
        );
        if datagrams.is_empty() {
            return self.release(slab);
        }
        let store = &mut *self.store;
        let ends = datagrams
            .iter()
            .map(|one| one.offset + u32::from(one.length));
        let length = ends.max().unwrap_or(0);
        let slab = store
            .slabs
            .depart(slab, datagrams.len() as u32, length, tag);
        let operation = store::Operation { slab };
        for (index, datagram) in datagrams.iter().enumerate() {
            let header = store.depart_datagram(slab, index, datagram);
            match &mut *self.driver {
                Driver::Uring(uring) => uring.queue(store, socket, operation, header),
                Driver::Mmsg(mmsg) => mmsg.queue(socket, operation, header),
            }
        }
    }

    /// Gives everything queued to the kernel, waits if asked, and reaps every completion there is.
    /// Returns at once, whatever `wait`, while received datagrams or events of streams are unread, and
    /// sooner than asked when a closing stream is due.
    #[inline]
    pub fn turn(&mut self, wait: Wait) -> io::Result<()> {
        let submitted = self.submit(wait);
        self.reap();
        submitted
    }

    /// The first half of a turn, for who tells the kernel's time from his own: gives everything queued
    /// to the kernel and waits if asked; [`Port::reap`] has to follow.
    #[inline]
    pub fn submit(&mut self, wait: Wait) -> io::Result<()> {
        self.store.counters.turns += 1;
        let unread = !self.store.receive.is_empty();
        let mut wait = match wait {
            Wait::Until(time) if !unread => Wait::Until(time.min(WAIT_MAX)),
            _ => Wait::No,
        };
        if let Some(streams) = self.store.streams.as_deref_mut() {
            wait = tcp::begin_turn(streams, wait);
        }
        match &mut *self.driver {
            Driver::Uring(uring) => uring.submit(&mut self.store, &self.bell, wait),
            Driver::Mmsg(mmsg) => mmsg.turn(&mut self.store, &self.bell, wait),
        }
    }

    /// The second half of a turn: reaps every completion there is, without a system call.
    #[inline]
    pub fn reap(&mut self) {
        let store = &mut *self.store;
        if let Driver::Uring(uring) = &mut *self.driver {
            uring.reap(store);
        }
        if let Some(streams) = store.streams.as_deref_mut() {
            store.counters.syscalls += std::mem::take(&mut streams.syscalls);
        }
    }

    /// Tells up to `budget` received trains (a single datagram is a train of one) in order of arrival
    /// and hands their buffers back; returns how many were told.
    #[inline]
    pub fn receive<F: FnMut(Received<'_>)>(&mut self, budget: usize, mut f: F) -> usize {
        let mut told = 0;
        let store = &mut *self.store;
        while told < budget {
            let Some(arrival) = store.receive.pop() else {
                break;
            };
            told += 1;
            match arrival::read(arrival.socket, store.receive.filled(&arrival)) {
                Ok(received) => {
                    store.counters.trains_received += 1;
                    store.counters.datagrams_received += received.datagram_count() as u64;
                    store.counters.bytes_received += received.bytes.len() as u64;
                    f(received);
                }
                Err(Unreadable::Truncated) => store.counters.truncations += 1,
                Err(Unreadable::Malformed) => store.counters.malformed += 1,
            }
            store.receive.poison(&arrival);
            match &mut *self.driver {
                Driver::Uring(uring) => uring.give_back(store, arrival.buffer),
                Driver::Mmsg(mmsg) => mmsg.give_back(arrival.buffer),
            }
        }
        if let Driver::Uring(uring) = &mut *self.driver {
            uring.publish_buffers();
        }
        told
    }

    /// Tells every slab that came back since the last call; call it once per turn.
    #[inline]
    pub fn sent<F: FnMut(Sent)>(&mut self, mut f: F) {
        let store = &mut *self.store;
        for (slab, report) in store.sent.drain(..) {
            store.slabs.settle(slab);
            f(report);
        }
    }

    /// Counts since the port opened.
    #[inline]
    pub fn counters(&self) -> &Counters {
        &self.store.counters
    }

    /// A handle by which another thread ends a waiting turn.
    pub fn wake_handle(&self) -> Waker {
        self.bell.waker()
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let drained = match &mut *self.driver {
            Driver::Uring(uring) => uring.drain(&mut self.store),
            Driver::Mmsg(_) => true,
        };
        // SAFETY: dropped once, here, and never used again.
        unsafe { ManuallyDrop::drop(&mut self.driver) };
        if drained {
            // SAFETY: dropped once, here, after the driver; no operation of the kernel is left.
            unsafe { ManuallyDrop::drop(&mut self.store) };
        }
        // Otherwise slabs, envelopes and receive buffers stay mapped for ever: the kernel may still
        // read or write them. (It has pinned the pages of the provided buffer ring at registration.)
    }
}

fn notice_descriptors(streams: u32, notices: &mut Vec<Notice>) {
    if let Some(limit) = descriptors_limit()
        && limit < u64::from(streams)
    {
        notices.push(Notice::Descriptors { streams, limit });
    }
}

fn notice_pages(what: &'static str, mapping: &Mapping, notices: &mut Vec<Notice>) {
    if mapping.pages() != Pages::Reserved {
        let huge_pages_wanted = mapping.len().div_ceil(HUGE_PAGE_BYTES);
        notices.push(Notice::HugePages {
            what,
            pages: mapping.pages(),
            huge_pages_wanted,
        });
    }
}
