//! The books of pushes: what became of each SIR that a device took, beyond its answer.
//!
//! A SIR answered 2xx owes a session until its token expires. It is built once, or by several devices
//! where the SIR named no device; it is wanted or not; its content is delivered or not; or nobody came.
//! No state is kept for a SIR: what is owed is counted by the second in which its token expires, so that
//! the memory of it is bounded by the lifetime of tokens. Called by the reception, every turn to sweep.

use crate::token::TOKEN_LIFETIME_S_MAX;
use serde::{Deserialize, Serialize};

/// Seconds told apart: the longest lifetime of a token, and time to sweep.
const SECONDS: usize = 4096;
const _: () = assert!(SECONDS > TOKEN_LIFETIME_S_MAX as usize + 60);

/// The books as a report gives them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushBalance {
    /// SIRs answered 2xx, each of which may lead to a session.
    pub due: u64,
    /// Those of them whose first session came.
    pub built: u64,
    /// Sessions of the same SIR after its first one, by other devices of the user.
    pub again: u64,
    /// Sessions by devices that the order did not want.
    pub unwanted: u64,
    /// Contents delivered in sessions, once or more often for one SIR.
    pub delivered: u64,
    /// Contents delivered in a session after the first one of the same SIR: duplicates for the user.
    pub duplicates: u64,
    /// Contents that did not get through in a session.
    pub failed: u64,
    /// Contents given to an open session, without a SIR.
    pub direct: u64,
    /// SIRs of `due` for which a device returned its refusal.
    pub refused: u64,
    /// Tokens that expired without a session.
    pub unbuilt: u64,
    /// First sessions whose SIR was never answered 2xx: its answer was lost.
    pub unanswered: u64,
    /// SIRs whose session may still come.
    pub waiting: u64,
    /// due + unanswered - built - unbuilt - waiting: 0, or a bug.
    pub residue: i64,
}

/// Which session of its SIR a session is, and whether its device was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// No other device has built one for the same SIR.
    pub is_first: bool,
    /// The order's selector wants this device.
    pub is_wanted: bool,
}

/// The books of one shard.
#[derive(Clone, Debug)]
pub struct Pushes {
    counts: PushBalance,
    /// What is owed less what was built, by the second in which the token expires, modulo [`SECONDS`].
    open: Box<[i64; SECONDS]>,
    /// All seconds before this one are settled.
    swept_s: u64,
}

impl Pushes {
    /// Builds empty books at second `now_s`.
    #[must_use]
    pub fn new(now_s: u64) -> Self {
        Self {
            counts: PushBalance::default(),
            open: Box::new([0; SECONDS]),
            swept_s: now_s,
        }
    }

    /// A SIR was answered 2xx; its token expires in second `expiry_s`.
    #[inline]
    pub fn owe(&mut self, expiry_s: u64) {
        self.counts.due += 1;
        self.settle(expiry_s, 1);
    }

    /// A session was built with a token that expires in second `expiry_s`.
    #[inline]
    pub fn build(&mut self, expiry_s: u64, standing: Standing) {
        self.counts.unwanted += u64::from(!standing.is_wanted);
        if standing.is_first {
            self.counts.built += 1;
            self.settle(expiry_s, -1);
        } else {
            self.counts.again += 1;
        }
    }

    /// A device has the content.
    #[inline]
    pub fn deliver(&mut self, standing: Standing) {
        self.counts.delivered += 1;
        self.counts.duplicates += u64::from(!standing.is_first);
    }

    /// A content did not get through.
    #[inline]
    pub fn fail(&mut self) {
        self.counts.failed += 1;
    }

    /// A content went to an open session.
    #[inline]
    pub fn direct(&mut self) {
        self.counts.direct += 1;
    }

    /// A device returned that it refuses.
    #[inline]
    pub fn refuse(&mut self) {
        self.counts.refused += 1;
    }

    /// Settles the seconds before `now_s`: nobody comes any more.
    pub fn sweep(&mut self, now_s: u64) {
        // After a suspend of hours, once around settles all there is.
        self.swept_s = self.swept_s.max(now_s.saturating_sub(SECONDS as u64));
        while self.swept_s < now_s {
            let left = std::mem::take(&mut self.open[self.swept_s as usize % SECONDS]);
            self.counts.unbuilt += left.max(0).unsigned_abs();
            self.counts.unanswered += left.min(0).unsigned_abs();
            self.swept_s += 1;
        }
    }

    /// The books as they stand.
    #[must_use]
    pub fn balance(&self) -> PushBalance {
        let early: u64 = (self.open.iter())
            .map(|open| open.min(&0).unsigned_abs())
            .sum();
        let waiting: u64 = (self.open.iter())
            .map(|open| open.max(&0).unsigned_abs())
            .sum();
        let mut balance = PushBalance {
            waiting,
            unanswered: self.counts.unanswered + early,
            ..self.counts
        };
        let owed = balance.due + balance.unanswered;
        balance.residue = owed as i64 - (balance.built + balance.unbuilt + waiting) as i64;
        balance
    }

    #[inline]
    fn settle(&mut self, expiry_s: u64, units: i64) {
        self.open[expiry_s as usize % SECONDS] += units;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Standing = Standing {
        is_first: true,
        is_wanted: true,
    };
    const AGAIN: Standing = Standing {
        is_first: false,
        is_wanted: false,
    };

    #[test]
    fn the_books_balance_through_the_life_of_a_token() {
        let mut pushes = Pushes::new(0);
        pushes.owe(10);
        pushes.owe(10);
        pushes.owe(11);
        pushes.build(10, FIRST);
        pushes.deliver(FIRST);
        pushes.build(10, AGAIN);
        pushes.deliver(AGAIN);
        let open = pushes.balance();
        assert_eq!(
            (open.built, open.again, open.unwanted, open.duplicates),
            (1, 1, 1, 1)
        );
        assert_eq!((open.waiting, open.residue), (2, 0));
        pushes.sweep(11);
        let swept = pushes.balance();
        assert_eq!((swept.unbuilt, swept.waiting, swept.residue), (1, 1, 0));
    }

    #[test]
    fn a_session_may_come_before_or_without_the_answer() {
        let mut pushes = Pushes::new(0);
        pushes.build(5, FIRST);
        assert_eq!(
            (pushes.balance().unanswered, pushes.balance().residue),
            (1, 0)
        );
        pushes.owe(5);
        assert_eq!(
            (pushes.balance().unanswered, pushes.balance().residue),
            (0, 0)
        );
        pushes.build(6, FIRST);
        pushes.sweep(7);
        assert_eq!(
            (pushes.balance().unanswered, pushes.balance().residue),
            (1, 0)
        );
    }
}
