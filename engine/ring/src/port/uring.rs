//! The io_uring backend: one ring, registered sockets, one multishot receive for each socket into
//! one shared ring of provided buffers. Submissions are gathered and leave with one io_uring_enter
//! per turn; none is made when there is nothing to give and the kernel has nothing to tell.
//! Deliberately no SQPOLL (it costs a core) and no IOU_PBUF_RING_INC (spurious EFAULT with recvmsg).

mod provided;
mod tcp;

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use io_uring::types::{CancelBuilder, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use crate::arrival::{Arrival, BUFFER_BYTES, CONTROL_ROOM_BYTES, NAME_ROOM_BYTES};
use crate::config::{Notice, PortConfig, SendPath};
use crate::listener::Listener;
use crate::probe::{self, UringMissing};
use crate::socket::Socket;
use crate::waker::Bell;

use super::Wait;
use super::store::{Operation, Store};
use super::streams::{ACCEPTS_MAX, Streams};
use provided::ProvidedBuffers;
use tcp::Tcp;

/// Submission entries: two slabs of `send_many`; small, because the ring is walked round and round.
const SUBMISSIONS_MAX: u32 = 256;

/// Completion entries that a ring may have (IORING_MAX_CQ_ENTRIES is 65,536).
const COMPLETIONS_MAX: u32 = 65_536;

/// Milliseconds that a drop waits for the kernel to let go of every buffer. A cancel takes
/// microseconds; a zero-copy send in a device queue may take as long as the device.
const DRAIN_MS_MAX: u64 = 2000;

/// IORING_RECVSEND_FIXED_BUF of linux/io_uring.h, which the crate does not export.
const RECVSEND_FIXED_BUF: u16 = 1 << 2;
/// IORING_SEND_ZC_REPORT_USAGE.
const SEND_ZC_REPORT_USAGE: u16 = 1 << 3;
/// IORING_NOTIF_USAGE_ZC_COPIED, in the result of a notification.
const NOTIF_USAGE_ZC_COPIED: u32 = 1 << 31;

/// Octets of registered memory in one buffer (the kernel allows 1 GiB).
const FIXED_BYTES_MAX: usize = 1 << 30;

const KIND_SEND: u64 = 0;
const KIND_RECEIVE: u64 = 1;
const KIND_WAKE: u64 = 2;
const KIND_CANCEL: u64 = 3;
/// Kinds of streams, from here on.
const KIND_ACCEPT: u64 = 4;
const KIND_CONNECT: u64 = 5;
const KIND_STREAM_SEND: u64 = 6;
const KIND_STREAM_RECEIVE: u64 = 7;

/// What a completion belongs to: the kind in the top octet, slab or socket below.
fn user_data(kind: u64, index: u32) -> u64 {
    kind << 56 | u64::from(index)
}

pub(crate) struct Uring {
    ring: IoUring,
    provided: ProvidedBuffers,
    /// Room for name and control of each received datagram; read by the kernel at arming.
    receive_header: Box<libc::msghdr>,
    /// Sockets whose multishot receive ended, in the order in which it did.
    unarmed: VecDeque<u16>,
    wake: RawFd,
    wake_armed: bool,
    send_path: SendPath,
    /// Slabs in one registered buffer.
    slabs_per_fixed: u32,
    /// Operations whose last completion is still to come.
    outstanding: u32,
    draining: bool,
    /// None for a port without streams.
    tcp: Option<Box<Tcp>>,
}

impl std::fmt::Debug for Uring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uring")
            .field("outstanding", &self.outstanding)
            .finish_non_exhaustive()
    }
}

impl Uring {
    pub(crate) fn open(
        config: &PortConfig,
        sockets: (&[Socket], &[Listener]),
        bell: &Bell,
        store: &Store,
        notices: &mut Vec<Notice>,
    ) -> Result<Uring, UringMissing> {
        let (sockets, listeners) = sockets;
        let ring = probe::ring(SUBMISSIONS_MAX, completions(config))?;
        probe::operations(&ring)?;
        let descriptors: Vec<RawFd> = sockets.iter().map(Socket::descriptor).collect();
        let failed = |step| {
            move |error: io::Error| UringMissing::Setup {
                step,
                errno: error.raw_os_error().unwrap_or(0),
            }
        };
        ring.submitter()
            .register_files(&descriptors)
            .map_err(failed("registering sockets"))?;
        let receive = &store.receive;
        let provided = ProvidedBuffers::register(
            &ring,
            provided::GROUP,
            receive.count(),
            BUFFER_BYTES,
            |buffer| receive.address(buffer),
        )?;
        let tcp = match &store.streams {
            Some(streams) => Some(Box::new(Tcp::open(&ring, listeners, streams)?)),
            None => None,
        };
        // SAFETY: msghdr is plain integers and pointers, for which all zeroes is valid.
        let mut receive_header: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        receive_header.msg_namelen = NAME_ROOM_BYTES as u32;
        receive_header.msg_controllen = CONTROL_ROOM_BYTES as _;
        let socket_count = sockets.len() as u16;
        let mut uring = Uring {
            ring,
            provided,
            receive_header,
            unarmed: (0..socket_count).collect(),
            wake: bell.descriptor(),
            wake_armed: false,
            send_path: config.send_path,
            slabs_per_fixed: store.slabs.count(),
            outstanding: 0,
            draining: false,
            tcp,
        };
        uring.choose_send_path(store, notices);
        // Every socket is armed before the first datagram can be missed; later arming is paced.
        while let Some(socket) = uring.unarmed.pop_front() {
            uring.arm(socket).map_err(failed("arming receives"))?;
        }
        uring.arm_wake().map_err(failed("arming the eventfd"))?;
        uring.ring.submit().map_err(failed("io_uring_enter"))?;
        Ok(uring)
    }

    /// Falls back from registered to plain zero-copy, and from zero-copy to copies, with a notice.
    fn choose_send_path(&mut self, store: &Store, notices: &mut Vec<Notice>) {
        if self.send_path == SendPath::Copy {
            return;
        }
        if !probe::zero_copy(&self.ring) {
            notices.push(Notice::ZeroCopyMissing("SENDMSG_ZC needs Linux 6.1"));
            self.send_path = SendPath::Copy;
            return;
        }
        if self.send_path == SendPath::ZeroCopyFixed {
            let registered = self
                .register_slabs(store)
                .and_then(|()| self.try_fixed_send());
            if let Err(error) = registered {
                let errno = error.raw_os_error().unwrap_or(0);
                notices.push(Notice::FixedBuffersMissing(errno));
                self.send_path = SendPath::ZeroCopy;
            }
        }
    }

    /// Asks for a fixed send by a socket that does not exist: a kernel that knows such sends looks
    /// for the socket (EBADF), an older one refuses the flag first (EINVAL).
    fn try_fixed_send(&mut self) -> io::Result<()> {
        let nowhere = Fixed(u32::MAX >> 1);
        let ioprio = SEND_ZC_REPORT_USAGE | RECVSEND_FIXED_BUF;
        let header: *const libc::msghdr = &raw const *self.receive_header;
        let entry = opcode::SendMsgZc::new(nowhere, header)
            .ioprio(ioprio)
            .build();
        let entry = with_buffer_index(entry, 0).user_data(user_data(KIND_CANCEL, 0));
        self.push_or_submit(&entry)?;
        let mut errno = 0;
        while self.outstanding > 0 {
            self.ring.submit_and_wait(1)?;
            for completion in self.ring.completion() {
                if !cqueue::notif(completion.flags()) {
                    errno = completion.result().saturating_neg();
                }
                self.outstanding -= u32::from(!cqueue::more(completion.flags()));
            }
        }
        if errno == libc::EBADF {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(errno))
        }
    }

    /// Registers the slab mapping in blocks of whole slabs, each below the kernel's limit.
    fn register_slabs(&mut self, store: &Store) -> io::Result<()> {
        let stride = store.slabs.stride();
        self.slabs_per_fixed = (FIXED_BYTES_MAX / stride) as u32;
        let base = store.slabs.memory().as_ptr();
        let count = store.slabs.count();
        let blocks: Vec<libc::iovec> = (0..count)
            .step_by(self.slabs_per_fixed as usize)
            .map(|first| libc::iovec {
                iov_base: base.wrapping_add(first as usize * stride).cast(),
                iov_len: (count - first).min(self.slabs_per_fixed) as usize * stride,
            })
            .collect();
        let submitter = self.ring.submitter();
        // SAFETY: the blocks lie in the slab mapping, which the store unmaps only after the drain.
        unsafe { submitter.register_buffers(&blocks) }
    }

    /// Queues one send; `header` is the envelope of an operation that just departed.
    #[inline]
    pub(crate) fn queue(
        &mut self,
        store: &mut Store,
        socket: u16,
        operation: Operation,
        header: *const libc::msghdr,
    ) {
        let socket = Fixed(u32::from(socket));
        let entry = match self.send_path {
            SendPath::Copy => opcode::SendMsg::new(socket, header).build(),
            SendPath::ZeroCopy => opcode::SendMsgZc::new(socket, header)
                .ioprio(SEND_ZC_REPORT_USAGE)
                .build(),
            SendPath::ZeroCopyFixed => {
                let ioprio = SEND_ZC_REPORT_USAGE | RECVSEND_FIXED_BUF;
                let entry = opcode::SendMsgZc::new(socket, header)
                    .ioprio(ioprio)
                    .build();
                with_buffer_index(entry, (operation.slab / self.slabs_per_fixed) as u16)
            }
        };
        let entry = entry.user_data(user_data(KIND_SEND, operation.slab));
        if !self.push(&entry) {
            // The queue is full in the middle of a turn: give it to the kernel and make room for its
            // completions too.
            self.flush(store);
            if !self.push(&entry) {
                store.record(operation, -libc::ENOBUFS);
                store.finish(operation);
            }
        }
    }

    #[inline]
    fn push(&mut self, entry: &squeue::Entry) -> bool {
        let mut submission = self.ring.submission();
        // SAFETY: what the entry points to (envelope, slab, receive header) stays mapped and, where
        // the table says so, unwritten until the operation's last completion.
        let pushed = unsafe { submission.push(entry) }.is_ok();
        self.outstanding += u32::from(pushed);
        pushed
    }

    #[cold]
    fn flush(&mut self, store: &mut Store) {
        store.counters.syscalls += 1;
        let before = self.ring.submission().len();
        // A failure leaves the queue full, which the caller sees.
        let _ = self.ring.submit();
        store.counters.submissions += (before - self.ring.submission().len()) as u64;
        self.reap(store);
    }

    fn arm(&mut self, socket: u16) -> io::Result<()> {
        let header: *const libc::msghdr = &raw const *self.receive_header;
        let group = provided::GROUP;
        let entry = opcode::RecvMsgMulti::new(Fixed(u32::from(socket)), header, group)
            .build()
            .user_data(user_data(KIND_RECEIVE, u32::from(socket)));
        self.push_or_submit(&entry)
    }

    fn arm_wake(&mut self) -> io::Result<()> {
        let entry = opcode::PollAdd::new(Fd(self.wake), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(user_data(KIND_WAKE, 0));
        self.push_or_submit(&entry)?;
        self.wake_armed = true;
        Ok(())
    }

    fn push_or_submit(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        if self.push(entry) {
            return Ok(());
        }
        self.ring.submit()?;
        if self.push(entry) {
            Ok(())
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    /// Arms ended receives again, at most as many as there are buffers (more would only end again)
    /// and as the submission queue has room for, so that a turn stays one system call.
    #[inline]
    fn rearm(&mut self, store: &mut Store) -> io::Result<()> {
        if self.unarmed.is_empty() && self.wake_armed {
            return Ok(());
        }
        let submission = self.ring.submission();
        let room = submission.capacity() - submission.len();
        drop(submission);
        if room > 0 && !self.wake_armed {
            self.arm_wake()?;
        }
        for _ in 0..store.receive.available().min(room.saturating_sub(1)) {
            let Some(socket) = self.unarmed.pop_front() else {
                break;
            };
            store.counters.rearms += 1;
            self.arm(socket)?;
        }
        Ok(())
    }

    /// Gives the kernel what is queued, and sleeps if asked; completions are left for `reap`.
    #[inline]
    pub(crate) fn submit(&mut self, store: &mut Store, bell: &Bell, wait: Wait) -> io::Result<()> {
        self.rearm(store)?;
        if self.tcp.is_some() {
            self.serve_streams(store);
        }
        let submission = self.ring.submission();
        let queued = submission.len();
        let told = submission.taskrun() || submission.cq_overflow();
        let overflown = submission.cq_overflow();
        drop(submission);
        store.counters.cq_overflow += u64::from(overflown);
        let result = match wait {
            Wait::Until(time) if self.may_sleep(store) => self.enter_and_wait(store, bell, time),
            _ if queued > 0 || told => {
                store.counters.syscalls += 1;
                self.ring.submit().map(drop)
            }
            _ => Ok(()),
        };
        let left = self.ring.submission().len();
        store.counters.submissions += queued.saturating_sub(left) as u64;
        match result.as_ref().map_err(io::Error::raw_os_error) {
            // A signal, the time asked for, or a completion queue that reaping will empty.
            Err(Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN)) => Ok(()),
            _ => result,
        }
    }

    /// Nothing is reaped-to-be, every socket listens, and no stream wants more than fitted in.
    fn may_sleep(&mut self, store: &Store) -> bool {
        let served = |streams: &Streams| !streams.has_work();
        self.unarmed.is_empty()
            && self.ring.completion().is_empty()
            && store.streams.as_deref().is_none_or(served)
    }

    fn enter_and_wait(&mut self, store: &mut Store, bell: &Bell, time: Duration) -> io::Result<()> {
        store.counters.syscalls += 1;
        let result = if bell.lie_down() {
            let timespec = Timespec::from(time);
            let arguments = SubmitArgs::new().timespec(&timespec);
            self.ring.submitter().submit_with_args(1, &arguments)
        } else {
            self.ring.submit()
        };
        store.counters.wakes += u64::from(bell.rise());
        result.map(drop)
    }

    /// Takes every completion there is.
    #[inline]
    pub(crate) fn reap(&mut self, store: &mut Store) {
        let Uring {
            ring,
            provided,
            unarmed,
            wake_armed,
            outstanding,
            draining,
            tcp,
            ..
        } = self;
        for completion in ring.completion() {
            store.counters.completions += 1;
            let data = completion.user_data();
            let last = !cqueue::more(completion.flags());
            *outstanding -= u32::from(last);
            match data >> 56 {
                KIND_SEND => reap_send(store, &completion),
                KIND_RECEIVE => {
                    let socket = data as u16;
                    reap_receive(store, provided, socket, &completion);
                    if last && !*draining {
                        unarmed.push_back(socket);
                    }
                }
                KIND_WAKE if last => *wake_armed = false,
                KIND_ACCEPT.. => {
                    if let (Some(tcp), Some(streams)) = (&mut *tcp, &mut store.streams) {
                        tcp.reap(streams, &completion, *draining);
                    }
                }
                _ => {}
            }
        }
    }

    /// Takes a buffer back into the ring of provided buffers; `publish_buffers` shows it to the kernel.
    #[inline]
    pub(crate) fn give_back(&mut self, store: &Store, buffer: u16) {
        self.provided.add(store.receive.address(buffer), buffer);
    }

    #[inline]
    pub(crate) fn publish_buffers(&mut self) {
        self.provided.publish();
    }

    /// Cancels every operation and waits for its last completion; false when the kernel did not let
    /// go within `DRAIN_MS_MAX`.
    pub(crate) fn drain(&mut self, store: &mut Store) -> bool {
        self.draining = true;
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::any())
            .build()
            .user_data(user_data(KIND_CANCEL, 0));
        let deadline = Instant::now() + Duration::from_millis(DRAIN_MS_MAX);
        // What is queued but not submitted goes out first: it must complete like all else.
        let mut canceling = self.push_or_submit(&cancel).is_ok();
        while self.outstanding > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let timespec = Timespec::from(left.min(Duration::from_millis(50)));
            let arguments = SubmitArgs::new().timespec(&timespec);
            let _ = self.ring.submitter().submit_with_args(1, &arguments);
            self.reap(store);
            canceling = canceling || self.push_or_submit(&cancel).is_ok();
        }
        true
    }
}

/// A send completed, or its zero-copy notification came.
#[inline]
fn reap_send(store: &mut Store, completion: &cqueue::Entry) {
    let operation = Operation {
        slab: completion.user_data() as u32,
    };
    let flags = completion.flags();
    if cqueue::notif(flags) {
        store.counters.zc_notifications += 1;
        let usage = completion.result() as u32;
        store.counters.zc_copied += u64::from(usage & NOTIF_USAGE_ZC_COPIED != 0);
    } else {
        store.record(operation, completion.result());
    }
    // F_MORE: the notification is still to come, and the slab is the kernel's until then.
    if !cqueue::more(flags) {
        store.finish(operation);
    }
}

/// A buffer arrived, or a receive ended.
#[inline]
fn reap_receive(
    store: &mut Store,
    provided: &mut ProvidedBuffers,
    socket: u16,
    completion: &cqueue::Entry,
) {
    let buffer = cqueue::buffer_select(completion.flags());
    match (u32::try_from(completion.result()), buffer) {
        (Ok(length), Some(buffer)) => {
            store.receive.push(Arrival {
                socket,
                buffer,
                length,
            });
        }
        (Err(_), None) if completion.result() == -libc::ENOBUFS => store.counters.enobufs += 1,
        (Err(_), None) if completion.result() == -libc::ECANCELED => {}
        (_, buffer) => {
            store.counters.receive_errors += 1;
            if let Some(buffer) = buffer {
                provided.add(store.receive.address(buffer), buffer);
                provided.publish();
            }
        }
    }
}

/// Completion entries: four for each submission, and room for everything that may complete at once:
/// all slabs (a zero-copy send completes twice), all buffers, the end of every receive.
fn completions(config: &PortConfig) -> u32 {
    let sockets = config.sockets.len() as u32;
    let datagrams = config.slab_count * 2 + config.receive_buffer_count + sockets * 2;
    let streams = match config.streams_max {
        0 => 0,
        // Of each stream a send and the end of its receive; buffers; and pending accepts.
        count => count * 2 + config.stream_buffers + (config.listeners.len() * ACCEPTS_MAX) as u32,
    };
    let at_once = datagrams + streams;
    at_once
        .max(SUBMISSIONS_MAX * 4)
        .next_power_of_two()
        .min(COMPLETIONS_MAX)
}

/// Sets `buf_index` (octets 40 and 41 of an entry, linux/io_uring.h), for which the crate's SendMsgZc
/// has no setter.
#[inline]
fn with_buffer_index(mut entry: squeue::Entry, index: u16) -> squeue::Entry {
    const BUFFER_INDEX_AT: usize = 40;
    let octets = (&raw mut entry).cast::<u8>().wrapping_add(BUFFER_INDEX_AT);
    // SAFETY: an Entry is 64 octets of plain integers (`repr(C)`), aligned to 8, and ours alone.
    unsafe { octets.cast::<u16>().write(index) };
    entry
}
