//! The next hops: how much each may have in flight, whether it is closed, and who waits for it.
//!
//! A window bounds the SIRs that one next hop has not answered yet; what does not fit waits in its
//! backlog. 503 with Retry-After closes it for that long (RFC 3261 21.5.4). Where its trains stand is
//! noted here too, but trains themselves live in `train`. No I/O, no clock.

use crate::train::NO_TRAIN;
use crate::transaction::Target;
use sirocco_index::NEXT_HOP_DIRECT;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Longest Retry-After that is honoured, in seconds: beyond it a next hop needs an operator.
pub const RETRY_AFTER_MAX_S: u32 = 3_600;
/// A full window without any answer for this long means that the next hop is stalled: twice T1.
pub const STALLED_AFTER_NS: u64 = 1_000_000_000;
/// The time of no event.
const NEVER: u64 = u64::MAX;
/// Length classes that may have an open train at one next hop at the same time.
pub const OPEN_TRAINS_MAX: usize = 4;

/// One next hop.
pub struct NextHop {
    /// Transactions that count against its window.
    pub in_window: usize,
    /// Open trains by number, or `NO_TRAIN`.
    pub open_trains: [u32; OPEN_TRAINS_MAX],
    closed_until_ns: u64,
    /// Since when it has answered nothing though something was sent; `NEVER` if it owes no answer.
    silent_ns: u64,
    backlog: VecDeque<Waiting>,
    listed: bool,
}

/// What a next hop says to one more target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Send it.
    Open,
    /// It has to wait: the window is full, or others wait already.
    Full,
    /// It has to wait: Retry-After is running.
    Closed,
}

impl NextHop {
    fn new() -> Self {
        Self {
            in_window: 0,
            open_trains: [NO_TRAIN; OPEN_TRAINS_MAX],
            closed_until_ns: 0,
            silent_ns: NEVER,
            backlog: VecDeque::new(),
            listed: false,
        }
    }
}

/// How much may be in flight and wait.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Unanswered SIRs of one next hop.
    pub window: usize,
    /// Unanswered SIRs of all direct devices together.
    pub window_direct: usize,
    /// Waiting targets of one next hop.
    pub backlog_per_hop: usize,
    /// Waiting targets of all next hops together.
    pub backlog_total: usize,
}

/// All next hops of one shard, by their number in the index; `NEXT_HOP_DIRECT` stands for all devices
/// that are addressed themselves, which share one window and are never closed.
pub struct NextHops {
    /// Next hops 0 to n - 1, and the direct one last.
    hops: Vec<NextHop>,
    window: usize,
    window_direct: usize,
    backlog_per_hop: usize,
    backlog_total: usize,
    backlogged: usize,
    /// Next hops whose backlog may be served now.
    ready: VecDeque<u16>,
    /// Closed next hops by the time of their opening.
    opening: BinaryHeap<Reverse<(u64, u16)>>,
}

/// A target that waits for its next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Who is to get a SIR.
    pub target: Target,
    /// Transactions of this target that ended with 503.
    pub retries: u8,
}

impl NextHops {
    /// Builds the state for next hops 0 to `count` - 1 and for direct devices.
    #[must_use]
    pub fn new(count: usize, limits: Limits) -> Self {
        Self {
            hops: std::iter::repeat_with(NextHop::new)
                .take(count + 1)
                .collect(),
            window: limits.window,
            window_direct: limits.window_direct,
            backlog_per_hop: limits.backlog_per_hop,
            backlog_total: limits.backlog_total,
            backlogged: 0,
            ready: VecDeque::with_capacity(count),
            opening: BinaryHeap::with_capacity(count),
        }
    }

    /// Makes room for next hops that the index has learnt since.
    pub fn extend_to(&mut self, count: usize) {
        while self.hops.len() < count + 1 {
            let direct = self.hops.len() - 1;
            self.hops.push(NextHop::new());
            self.hops.swap(direct, direct + 1);
        }
    }

    #[inline]
    fn place(&self, number: u16) -> usize {
        usize::from(number).min(self.hops.len() - 1)
    }

    #[inline]
    fn window_of(&self, number: u16) -> usize {
        if number == NEXT_HOP_DIRECT {
            self.window_direct
        } else {
            self.window
        }
    }

    /// One next hop.
    #[inline]
    pub fn at(&mut self, number: u16) -> &mut NextHop {
        let place = self.place(number);
        &mut self.hops[place]
    }

    /// Whether one more target may be sent to a next hop now; others that wait go first.
    #[inline]
    #[must_use]
    pub fn admission(&self, number: u16, now: u64) -> Admission {
        let hop = &self.hops[self.place(number)];
        if hop.closed_until_ns > now {
            Admission::Closed
        } else if hop.in_window >= self.window_of(number) || !hop.backlog.is_empty() {
            Admission::Full
        } else {
            Admission::Open
        }
    }

    /// Whether Retry-After is running for a next hop.
    #[inline]
    #[must_use]
    pub fn is_closed(&self, number: u16, now: u64) -> bool {
        self.hops[self.place(number)].closed_until_ns > now
    }

    /// Lets a target wait for next hop `number`; `false` if the backlog has no room for it.
    #[must_use]
    pub fn wait(&mut self, number: u16, waiting: Waiting) -> bool {
        let place = self.place(number);
        let hop = &mut self.hops[place];
        if hop.backlog.len() >= self.backlog_per_hop || self.backlogged >= self.backlog_total {
            return false;
        }
        hop.backlog.push_back(waiting);
        self.backlogged += 1;
        true
    }

    /// Whether there is room for `more` targets to wait, wherever they go.
    #[must_use]
    pub fn has_room(&self, more: usize) -> bool {
        self.backlogged + more <= self.backlog_total
    }

    /// Targets that wait, over all next hops.
    #[must_use]
    pub fn backlogged(&self) -> usize {
        self.backlogged
    }

    /// Notes that a transaction left the window, by an answer if `answered`.
    #[inline]
    pub fn leave_window(&mut self, number: u16, now: u64, answered: bool) {
        let place = self.place(number);
        let hop = &mut self.hops[place];
        hop.in_window -= 1;
        if answered {
            hop.silent_ns = if hop.in_window == 0 { NEVER } else { now };
        }
        if !hop.backlog.is_empty() && !hop.listed && hop.closed_until_ns <= now {
            hop.listed = true;
            self.ready.push_back(number);
        }
    }

    /// Notes a transaction in the window.
    #[inline]
    pub fn enter_window(&mut self, number: u16, now: u64) {
        let hop = self.at(number);
        hop.in_window += 1;
        hop.silent_ns = hop.silent_ns.min(now);
    }

    /// Notes an answer to a SIR that had left the window before.
    pub fn note_answer(&mut self, number: u16, now: u64) {
        let hop = self.at(number);
        hop.silent_ns = if hop.in_window == 0 { NEVER } else { now };
    }

    /// Whether a next hop has answered nothing for [`STALLED_AFTER_NS`] though its window is full.
    #[must_use]
    pub fn is_stalled(&self, number: u16, now: u64) -> bool {
        self.stalled_ns(number)
            .is_some_and(|stalled| stalled <= now)
    }

    /// From when on a next hop whose window is full counts as stalled, if it answers nothing until then.
    #[must_use]
    pub fn stalled_ns(&self, number: u16) -> Option<u64> {
        let hop = &self.hops[self.place(number)];
        let is_full = hop.in_window >= self.window_of(number);
        (is_full && hop.silent_ns != NEVER).then(|| hop.silent_ns + STALLED_AFTER_NS)
    }

    /// Whether a next hop may have room for a target that waits for it.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Closes a next hop for `seconds`; a later opening time wins.
    pub fn close(&mut self, number: u16, now: u64, seconds: u32) {
        if number == NEXT_HOP_DIRECT {
            return;
        }
        let until = now + u64::from(seconds.min(RETRY_AFTER_MAX_S)) * 1_000_000_000;
        let place = self.place(number);
        let hop = &mut self.hops[place];
        if until > hop.closed_until_ns {
            hop.closed_until_ns = until;
            self.opening.push(Reverse((until, number)));
        }
    }

    /// Lists the next hops whose Retry-After is over by `now`.
    pub fn reopen(&mut self, now: u64) {
        while let Some(&Reverse((until, number))) = self.opening.peek() {
            if until > now {
                return;
            }
            self.opening.pop();
            let place = self.place(number);
            let hop = &mut self.hops[place];
            if hop.closed_until_ns <= now && !hop.backlog.is_empty() && !hop.listed {
                hop.listed = true;
                self.ready.push_back(number);
            }
        }
    }

    /// When the next closed next hop opens.
    #[must_use]
    pub fn next_opening_ns(&self) -> Option<u64> {
        self.opening.peek().map(|Reverse((until, _))| *until)
    }

    /// Takes one waiting target whose next hop has room again; `None` if there is none.
    pub fn take_ready(&mut self, now: u64) -> Option<Waiting> {
        while let Some(&number) = self.ready.front() {
            let window = self.window_of(number);
            let place = self.place(number);
            let hop = &mut self.hops[place];
            if hop.in_window < window
                && hop.closed_until_ns <= now
                && let Some(waiting) = hop.backlog.pop_front()
            {
                self.backlogged -= 1;
                return Some(waiting);
            }
            hop.listed = false;
            self.ready.pop_front();
        }
        None
    }

    /// Drops the waiting targets that `is_over` names.
    pub fn drop_waiting(&mut self, mut is_over: impl FnMut(&Waiting) -> bool) {
        for hop in &mut self.hops {
            let before = hop.backlog.len();
            hop.backlog.retain(|waiting| !is_over(waiting));
            self.backlogged -= before - hop.backlog.len();
        }
    }

    /// Takes every waiting target, for a drain.
    pub fn take_all(&mut self) -> impl Iterator<Item = Waiting> + '_ {
        self.backlogged = 0;
        self.hops.iter_mut().flat_map(|hop| hop.backlog.drain(..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::target;

    fn hops(count: usize, window: usize, backlog_per_hop: usize, backlog_total: usize) -> NextHops {
        NextHops::new(
            count,
            Limits {
                window,
                window_direct: 2,
                backlog_per_hop,
                backlog_total,
            },
        )
    }

    #[test]
    fn direct_devices_share_a_window_and_are_never_closed() {
        let mut hops = hops(1, 1, 1, 1);
        hops.at(NEXT_HOP_DIRECT).in_window = 1;
        hops.close(NEXT_HOP_DIRECT, 0, 5);
        assert_eq!(hops.admission(NEXT_HOP_DIRECT, 0), Admission::Open);
        hops.extend_to(3);
        hops.at(NEXT_HOP_DIRECT).in_window += 1;
        assert_eq!(hops.admission(NEXT_HOP_DIRECT, 0), Admission::Full);
        assert_eq!(hops.admission(2, 0), Admission::Open);
    }

    fn waiting(next_hop: u16, order: u16) -> Waiting {
        Waiting {
            target: target(next_hop, order),
            retries: 0,
        }
    }

    #[test]
    fn a_full_window_makes_targets_wait_in_order() {
        let mut hops = hops(2, 1, 2, 3);
        assert_eq!(hops.admission(0, 0), Admission::Open);
        hops.at(0).in_window += 1;
        assert_eq!(hops.admission(0, 0), Admission::Full);
        assert!(hops.wait(0, waiting(0, 1)));
        assert!(hops.wait(0, waiting(0, 2)));
        assert!(!hops.wait(0, waiting(0, 3)), "two a next hop");
        assert_eq!(hops.take_ready(0), None, "the window is still full");
        hops.leave_window(0, 10, true);
        assert_eq!(
            hops.admission(0, 10),
            Admission::Full,
            "those who wait go first"
        );
        assert_eq!(
            hops.take_ready(10).map(|waiting| waiting.target.order),
            Some(1)
        );
        hops.at(0).in_window += 1;
        assert_eq!(hops.take_ready(10), None);
        assert_eq!(hops.backlogged(), 1);
    }

    #[test]
    fn retry_after_closes_and_reopens() {
        let mut hops = hops(1, 8, 8, 8);
        hops.close(0, 0, 2);
        hops.close(0, 0, 1);
        assert_eq!(hops.admission(0, 1_999_999_999), Admission::Closed);
        assert!(hops.wait(0, waiting(0, 1)));
        hops.reopen(1_000_000_000);
        assert_eq!(
            hops.take_ready(1_000_000_000),
            None,
            "the longer Retry-After holds"
        );
        assert_eq!(hops.next_opening_ns(), Some(2_000_000_000));
        hops.reopen(2_000_000_000);
        assert_eq!(
            hops.take_ready(2_000_000_000)
                .map(|waiting| waiting.target.order),
            Some(1)
        );
        assert_eq!(hops.admission(0, 2_000_000_000), Admission::Open);
    }

    #[test]
    fn a_stalled_next_hop_is_one_that_answers_nothing() {
        let mut hops = hops(1, 1, 1, 1);
        let start = 7 * STALLED_AFTER_NS;
        hops.enter_window(0, start);
        let stalled = start + STALLED_AFTER_NS;
        assert_eq!(
            hops.stalled_ns(0),
            Some(stalled),
            "not from the start of the clock"
        );
        assert!(!hops.is_stalled(0, stalled - 1) && hops.is_stalled(0, stalled));
        hops.leave_window(0, start + 500, true);
        assert_eq!(hops.stalled_ns(0), None);
        hops.enter_window(0, stalled);
        assert!(!hops.is_stalled(0, stalled), "it owed nothing meanwhile");
        // Timer E empties the window; the next hop is silent all the same.
        hops.leave_window(0, stalled + 500, false);
        hops.enter_window(0, stalled + 500);
        assert!(hops.is_stalled(0, stalled + STALLED_AFTER_NS));
        hops.note_answer(0, stalled + 600);
        assert!(
            !hops.is_stalled(0, stalled + STALLED_AFTER_NS),
            "a late answer is one"
        );
    }

    #[test]
    fn what_waits_for_an_order_that_is_over_is_dropped() {
        let mut hops = hops(2, 1, 8, 8);
        for (hop, order) in [(0, 1), (0, 2), (1, 1), (0, 1)] {
            assert!(hops.wait(hop, waiting(hop, order)));
        }
        hops.drop_waiting(|waiting| waiting.target.order == 1);
        assert_eq!(hops.backlogged(), 1);
        let left: Vec<_> = hops
            .take_all()
            .map(|waiting| waiting.target.order)
            .collect();
        assert_eq!(left, [2]);
    }

    #[test]
    fn retry_after_is_bounded() {
        let mut hops = hops(1, 1, 1, 1);
        hops.close(0, 0, u32::MAX);
        assert_eq!(
            hops.next_opening_ns(),
            Some(u64::from(RETRY_AFTER_MAX_S) * 1_000_000_000)
        );
    }
}
