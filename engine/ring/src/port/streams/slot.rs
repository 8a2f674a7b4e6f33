//! The place of one stream: its socket, state, queue and what of it the kernel holds.
//! Deliberately only asks and answers about itself; `port::streams` moves it. Called from there.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use super::Wants;
use super::closing::Link;
use super::queue::Queue;

/// Where a stream is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// No stream.
    Free,
    /// A connect is to be made or under way.
    Connecting,
    /// Both directions are open.
    Open,
    /// The peer ended; ours is open until the turn after that was told.
    Ending,
    /// Ours is to end when the queue is empty.
    Closing,
    /// Our end was told to the peer, and the peer's is awaited.
    Lingering,
    /// Ended; waits for the kernel and for its end to be told.
    Dead,
}

#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) generation: u32,
    pub(crate) state: State,
    pub(crate) socket: Option<OwnedFd>,
    pub(crate) peer: SocketAddr,
    pub(crate) queue: Queue,
    /// Operations whose last completion is still to come.
    pub(crate) connecting: bool,
    pub(crate) receiving: bool,
    pub(crate) sending: bool,
    /// Those of a dead stream were cancelled.
    pub(crate) canceled: bool,
    pub(crate) peer_ended: bool,
    /// Closed before it was connected.
    pub(crate) close_wanted: bool,
    /// In the list of work, of the starved, of those short of blocks.
    pub(crate) listed: bool,
    pub(crate) starved: bool,
    pub(crate) short: bool,
    /// Read by portions: each receive is to be permitted first, and whether the next one is.
    pub(crate) metered: bool,
    pub(crate) permitted: bool,
    /// A send was refused because the queue was full.
    pub(crate) refused: bool,
    /// Events that wait to be told.
    pub(crate) drained_waits: bool,
    pub(crate) end_waits: bool,
    pub(crate) end_told: bool,
    /// What epoll said and system calls have not yet denied (mmsg backend).
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) hung_up: bool,
    pub(crate) watched: bool,
    pub(crate) link: Link,
}

impl Slot {
    pub(crate) fn new() -> Slot {
        Slot {
            generation: 0,
            state: State::Free,
            socket: None,
            peer: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            queue: Queue::EMPTY,
            connecting: false,
            receiving: false,
            sending: false,
            canceled: false,
            peer_ended: false,
            close_wanted: false,
            listed: false,
            starved: false,
            short: false,
            metered: false,
            permitted: false,
            refused: false,
            drained_waits: false,
            end_waits: false,
            end_told: false,
            readable: false,
            writable: false,
            hung_up: false,
            watched: false,
            link: Link::default(),
        }
    }

    /// Begins a stream in a free slot, keeping the generation.
    pub(crate) fn open(&mut self, state: State, socket: Option<OwnedFd>, peer: SocketAddr) {
        debug_assert!(self.state == State::Free && self.queue.bytes() == 0);
        *self = Slot {
            generation: self.generation,
            state,
            socket,
            peer,
            ..Slot::new()
        };
    }

    /// Whether the caller may queue octets.
    #[inline]
    pub(crate) fn takes_octets(&self) -> bool {
        match self.state {
            State::Open | State::Ending => true,
            State::Connecting => !self.close_wanted,
            _ => false,
        }
    }

    /// Whether the caller wants to hear what comes.
    #[inline]
    pub(crate) fn hears(&self) -> bool {
        matches!(self.state, State::Open | State::Ending)
    }

    /// Whether an operation's last completion is still to come.
    pub(crate) fn in_kernel(&self) -> bool {
        self.connecting || self.receiving || self.sending
    }

    pub(crate) fn wants(&self) -> Wants {
        let sends = matches!(self.state, State::Open | State::Ending | State::Closing);
        let hears = matches!(self.state, State::Open | State::Closing | State::Lingering);
        Wants {
            connect: self.state == State::Connecting && !self.connecting,
            send: sends && !self.sending && self.queue.bytes() > 0,
            receive: hears
                && !self.receiving
                && !self.peer_ended
                && !self.starved
                && (self.permitted || !self.metered || self.state != State::Open),
            cancel: self.state == State::Dead && !self.canceled && self.in_kernel(),
        }
    }
}
