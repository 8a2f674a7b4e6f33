//! What the monotonic clocks of two processes are apart, from exchanges over their connection: the
//! exchange that took least time bounds the error by half that time (Cristian 1989; the bound of RFC
//! 5905's round-trip delay). No drift is corrected: a run is short. Pure arithmetic, called by
//! `run::launch`.

use serde::{Deserialize, Serialize};

/// Exchanges of which the shortest counts.
pub const EXCHANGES: usize = 16;

/// One question and its answer, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// When it was asked, by our clock.
    pub asked_ns: u64,
    /// When it was answered, by the other's.
    pub told_ns: u64,
    /// When the answer was here, by our clock.
    pub heard_ns: u64,
}

/// The other's clock against ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClockFigures {
    /// The other's CLOCK_MONOTONIC minus ours, in microseconds: of two hosts it is mostly the difference
    /// of their times since boot.
    pub offset_us: f64,
    /// How far that may be off, in microseconds: half the shortest exchange.
    pub uncertainty_us: f64,
    /// Exchanges it was made of.
    pub exchanges: u64,
}

/// An offset as it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    /// The other's clock minus ours in nanoseconds.
    pub ns: i64,
    /// Half the shortest exchange in nanoseconds.
    pub uncertainty_ns: u64,
    /// Exchanges it was made of.
    pub exchanges: u64,
}

impl Offset {
    /// The estimate of the exchange that took least time; zeroes of none.
    #[must_use]
    pub fn of(exchanges: &[Exchange]) -> Self {
        let took = |exchange: &Exchange| exchange.heard_ns.saturating_sub(exchange.asked_ns);
        let Some(best) = exchanges.iter().min_by_key(|exchange| took(exchange)) else {
            return Self::default();
        };
        let half = took(best) / 2;
        let middle = i128::from(best.asked_ns) + i128::from(half);
        let apart = i128::from(best.told_ns) - middle;
        Self {
            ns: i64::try_from(apart).unwrap_or(i64::MAX),
            uncertainty_ns: half.max(1),
            exchanges: exchanges.len() as u64,
        }
    }

    /// A time of our clock by the other's.
    #[must_use]
    pub fn theirs(&self, ours_ns: u64) -> u64 {
        ours_ns.saturating_add_signed(self.ns)
    }

    /// A time of the other's clock by ours.
    #[must_use]
    pub fn ours(&self, theirs_ns: u64) -> u64 {
        theirs_ns.saturating_add_signed(self.ns.saturating_neg())
    }

    /// As the record holds it.
    #[must_use]
    pub fn figures(&self) -> ClockFigures {
        ClockFigures {
            offset_us: self.ns as f64 / 1e3,
            uncertainty_us: self.uncertainty_ns as f64 / 1e3,
            exchanges: self.exchanges,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An exchange with delays there and back, seen by a clock that is `apart` ahead of ours.
    fn exchange(at: u64, there: u64, back: u64, apart: i64) -> Exchange {
        Exchange {
            asked_ns: at,
            told_ns: (at + there).saturating_add_signed(apart),
            heard_ns: at + there + back,
        }
    }

    #[test]
    fn the_truth_is_within_the_uncertainty_whatever_the_delays() {
        for apart in [-5_000_000_000i64, -7, 0, 3, 123_456_789_012] {
            let delays = [(900, 40_000), (30_000, 200), (1_500, 700), (0, 90_000)];
            let at = 10_000_000_000;
            let exchanges: Vec<_> = delays
                .iter()
                .map(|&(there, back)| exchange(at, there, back, apart))
                .collect();
            let offset = Offset::of(&exchanges);
            assert_eq!(offset.uncertainty_ns, 1_100, "the shortest counts");
            assert!(
                offset.ns.abs_diff(apart) <= offset.uncertainty_ns,
                "{offset:?}"
            );
            assert_eq!(offset.ours(offset.theirs(at)), at);
        }
    }

    #[test]
    fn no_exchange_gives_no_offset_and_nonsense_does_not_panic() {
        assert_eq!(Offset::of(&[]), Offset::default());
        let wild = Exchange {
            asked_ns: u64::MAX,
            told_ns: 0,
            heard_ns: 0,
        };
        let offset = Offset::of(&[wild]);
        assert_eq!(offset.theirs(u64::MAX), offset.theirs(u64::MAX));
        let wild = Offset::of(&[Exchange {
            told_ns: u64::MAX,
            asked_ns: 0,
            heard_ns: 0,
        }])
        .ours(0);
        assert_eq!(wild, 0);
    }
}
