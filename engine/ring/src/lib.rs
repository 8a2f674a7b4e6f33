//! Kernel I/O of one worker thread: UDP sockets and TCP streams behind io_uring, or behind sendmmsg,
//! recvmmsg and epoll where io_uring is not to be had. Knows no protocol. The home of `unsafe`: every SAFETY note refers to
//! the table below, and docs/memory.md says the same in prose.
//!
//! # Who owns which buffer until when
//!
//! ("ours": our code may read and write; "kernel": nobody of ours touches it)
//!
//! | buffer | ours from | kernel from | until | the bytes while the kernel owns them |
//! |---|---|---|---|---|
//! | send slab | `take_slab`, or mapped | `send`, `send_many` | copy: last completion of its flight. Zero-copy: the last *notification* (F_NOTIF); the first completion with F_MORE only carries the result | unchanged; contents survive, so a filled template stays filled |
//! | `Slab` token | `take_slab` | moved into `send` | a new one at `take_slab` | the token is the right to write: not Clone, bound to its port |
//! | Envelope (header, vector, control, address) | its slab is ours | its slab departs | its slab arrives | the control part is read again when a blocked send is retried, so SUBMIT_STABLE is not enough |
//! | receive buffer | completion with its buffer id | handed back at the end of `receive` | the next completion with its id | written by the kernel |
//! | `Received` bytes | the call of the receiver | the call returns | - | a borrow that cannot outlive the call |
//! | octets in a stream's blocks | `send_stream` copies them in, behind those in flight | SEND or SENDMSG takes a run of them | its completion; one flight a stream | unchanged; a partial send gives the rest back |
//! | stream envelope (header, vectors, target) | the stream has no send and no connect in flight | SENDMSG or CONNECT submitted | its completion | read by the kernel |
//! | accept room (peer's address and its length) | no accept is pending in it | ACCEPT submitted | its completion | written by the kernel |
//! | stream receive buffer | completion with its buffer id | handed back once its event was told, or at once when nobody hears the stream | the next completion with its id | written by the kernel |
//! | stream slot and its socket | - | an operation of the stream is submitted | its last completion; free once the end was told, too | the descriptor is closed after the last completion, so that no operation meets another file |
//! | provided buffer ring | entries from tail on | entries published by the tail store | taken by the kernel | read by the kernel |
//! | receive message header (multishot) | - | first arming | the port drained | name and control room, read at arming |
//! | submission and completion rings | crate `io-uring` | | ring dropped | after the drain, before the mappings |
//! | sockets, eventfd | `Port`, `Waker` | registered with the ring | ring dropped | - |
//!
//! A port that is dropped cancels everything and waits for every last completion, up to
//! `DRAIN_MS_MAX`; only then is memory unmapped. If the kernel does not let go in time the
//! mappings are leaked, never unmapped under it.
//!
//! Deliberately absent: retries, timers, threads, protocols, and any lock.

// The one crate whose work is the kernel's memory; each block is one operation with its note.
#![allow(unsafe_code)]

mod address;
pub mod affinity;
pub mod allocation;
mod arrival;
pub mod clock;
mod config;
mod counters;
mod envelope;
mod listener;
pub mod memory;
mod port;
pub mod probe;
mod slab;
mod socket;
mod stream;
pub mod tracepoints;
mod waker;

pub use arrival::Received;
pub use config::{
    BACKLOG, Backend, CLOSE_MS_MAX, DATAGRAMS_PER_SLAB_MAX, LISTENERS_MAX, ListenerConfig, Notice,
    OpenError, PortConfig, RECEIVE_BUFFERS, RECEIVE_BUFFERS_MAX, SEGMENTS_MAX, SLAB_BYTES_MAX,
    SLABS_MAX, SOCKET_BUFFER_BYTES, SOCKETS_MAX, STREAM_BLOCK_BYTES, STREAM_BLOCKS_MAX,
    STREAM_BUFFER_BYTES, STREAM_QUEUE_BYTES_MAX, STREAMS_MAX, SendPath, SocketConfig,
    TRAIN_BYTES_MAX,
};
pub use counters::{Counters, SendErrors};
pub use port::{Datagram, Port, SendError, Sent, Train, Wait};
pub use slab::Slab;
pub use stream::{CloseCause, StreamCounters, StreamEvent, StreamFull, StreamId};
pub use waker::Waker;
