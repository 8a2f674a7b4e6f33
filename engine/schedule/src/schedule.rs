//! The cursor over a schedule: when the next entry is due, by the inverse of the cumulative rate.
//!
//! Entry i lies at a point of operational time (`arrivals`); the time at which the shape has asked for so
//! many entries is its due time. Straight lines make that a square root at most, and each line is entered
//! once, so an entry costs a few nanoseconds. A change while it runs cuts the line at its time, to the
//! nanosecond, so the same list of changes known from the start gives the same schedule.

use std::sync::Arc;

use crate::arrivals::{Arrivals, Gaps};
use crate::shape::{Line, Segment, Shape};
use crate::steer::{Helm, STEERS_MAX, Steer, Steered};

/// All that a schedule follows from.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The rate at each moment.
    pub shape: Shape,
    /// How entries follow each other.
    pub arrivals: Arrivals,
    /// Seed of the draws.
    pub seed: u64,
    /// What one entry counts for where rates are given; 1 unless an entry stands for several.
    pub unit: f64,
    /// Entries in all.
    pub entries_max: u64,
    /// Changes known before the begin, in the order of their times.
    pub steers: Vec<Steered>,
}

impl Plan {
    /// Entries at equal distances, as the shape says.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self {
            shape,
            arrivals: Arrivals::Constant,
            seed: 0,
            unit: 1.0,
            entries_max: u64::MAX,
            steers: Vec::new(),
        }
    }
}

/// The due times of a plan, one after the other.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Due time of the next entry; `u64::MAX` where none is due as things stand.
    next_ns: u64,
    /// Time of the next change.
    cut_ns: u64,
    /// Operational time of the next entry.
    point: f64,
    place: Place,
    gaps: Gaps,
    /// Where the search for the next entry began, if it has left that piece.
    rewind: Option<Place>,
    last_ns: u64,
    /// Segment of the entry taken last.
    last_segment: usize,
    taken: u64,
    entries_max: u64,
    is_over: bool,
    segments: Arc<[Segment]>,
    unit: f64,
    steers: Vec<Steered>,
}

/// Where a cursor stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    segment: usize,
    number: u64,
    /// What is left of the shape's line.
    line: Line,
    piece: Piece,
    helm: Helm,
    steered: usize,
}

/// A line as it is in force: steered, in entries, from a time on.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start_ns: u64,
    /// Operational time at its start.
    base: f64,
    mass: f64,
    /// Nanoseconds from one entry to the next; 0 where the rate changes.
    period_ns: f64,
    /// Entries a nanosecond at the start, and their change a nanosecond.
    rate: f64,
    slope: f64,
    line: Line,
}

impl Piece {
    fn new(line: Line, helm: &Helm, unit: f64, (start_ns, base): (u64, f64)) -> Self {
        let scaled = |rate: f64| rate * helm.scale / unit;
        let line = match (helm.paused, helm.rate) {
            (true, _) => Line {
                length_ns: u64::MAX,
                ..Line::default()
            },
            (false, Some(rate)) => Line {
                from: rate / unit,
                to: rate / unit,
                at_once: 0.0,
                ..line
            },
            (false, None) => Line {
                from: scaled(line.from),
                to: scaled(line.to),
                at_once: scaled(line.at_once),
                ..line
            },
        };
        let is_flat = line.from == line.to;
        Self {
            start_ns,
            base,
            mass: line.mass(),
            period_ns: if is_flat { 1e9 / line.from } else { 0.0 },
            rate: line.from / 1e9,
            slope: (line.to - line.from) / 1e9 / line.length_ns.max(1) as f64,
            line,
        }
    }

    fn end_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.line.length_ns)
    }

    /// When `entries` of it are due, fewer than its mass.
    #[inline]
    fn due_ns(&self, entries: f64) -> u64 {
        let entries = (entries - self.line.at_once).max(0.0);
        let offset = if self.period_ns > 0.0 {
            entries * self.period_ns
        } else {
            // The root of slope t^2 / 2 + rate t = entries that loses no digits, whatever the slope's sign.
            let root = (self.rate * self.rate + 2.0 * self.slope * entries).max(0.0);
            2.0 * entries / (self.rate + root.sqrt())
        };
        self.start_ns + (offset as u64).min(self.line.length_ns)
    }

    /// Operational time at `now_ns`, which lies in it.
    fn point_at(&self, now_ns: u64) -> f64 {
        self.base + self.line.at_once + self.line.mass_until(now_ns - self.start_ns)
    }
}

impl Schedule {
    /// Makes the cursor at the first entry.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let mut steers: Vec<Steered> = Vec::with_capacity(STEERS_MAX);
        steers.extend(plan.steers.iter().take(STEERS_MAX));
        let segments: Arc<[Segment]> = plan.shape.segments().into();
        let line = segments
            .first()
            .map_or(Line::default(), |first| first.at(0));
        let helm = Helm::STRAIGHT;
        let mut schedule = Self {
            next_ns: u64::MAX,
            cut_ns: steers.first().map_or(u64::MAX, |first| first.at_ns),
            point: 0.0,
            place: Place {
                segment: 0,
                number: 0,
                line,
                piece: Piece::new(line, &helm, plan.unit, (0, 0.0)),
                helm,
                steered: 0,
            },
            gaps: Gaps::new(plan.arrivals, plan.seed),
            rewind: None,
            last_ns: 0,
            last_segment: 0,
            taken: 0,
            entries_max: plan.entries_max,
            is_over: plan.entries_max == 0,
            segments,
            unit: plan.unit,
            steers,
        };
        schedule.point = schedule.gaps.first();
        if !schedule.is_over {
            schedule.search();
        }
        schedule
    }

    /// Takes the next entry if it is due by `now_ns`: when it was due.
    #[inline]
    pub fn take(&mut self, now_ns: u64) -> Option<u64> {
        let due_ns = self.next_ns;
        if due_ns > now_ns || due_ns == u64::MAX {
            return None;
        }
        self.taken += 1;
        self.last_ns = due_ns;
        self.last_segment = self.place.segment;
        self.point += self.gaps.next();
        self.rewind = None;
        let entries = self.point - self.place.piece.base;
        let next_ns = self.place.piece.due_ns(entries).max(due_ns);
        if entries < self.place.piece.mass
            && next_ns <= self.cut_ns
            && self.taken < self.entries_max
        {
            self.next_ns = next_ns;
        } else if self.taken >= self.entries_max {
            self.stop();
        } else {
            self.search();
        }
        Some(due_ns)
    }

    /// When the next entry is due; `None` where none is, as things stand.
    #[inline]
    #[must_use]
    pub fn next_ns(&self) -> Option<u64> {
        (self.next_ns != u64::MAX).then_some(self.next_ns)
    }

    /// Whether all entries were taken; a paused schedule is not over.
    #[inline]
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Entries taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Number of the shape's segment that the entry taken last belongs to, from 0.
    #[inline]
    #[must_use]
    pub fn segment(&self) -> usize {
        self.last_segment
    }

    /// Arrivals that it was made for.
    #[must_use]
    pub fn arrivals(&self) -> Arrivals {
        self.gaps.arrivals()
    }

    /// Changes so far, those to come included.
    #[must_use]
    pub fn steers(&self) -> &[Steered] {
        &self.steers
    }

    /// Ends it here.
    pub fn stop(&mut self) {
        (self.next_ns, self.is_over) = (u64::MAX, true);
    }

    /// Changes it from `now_ns` on, which no earlier change may lie behind; what was due before stays due.
    /// Returns whether there was room to keep the change: [`STEERS_MAX`].
    pub fn steer(&mut self, now_ns: u64, change: Steer) -> bool {
        if self.steers.len() == STEERS_MAX {
            return false;
        }
        let earlier = self.steers.last().map_or(0, |last| last.at_ns);
        let at_ns = now_ns.max(earlier).max(self.last_ns);
        self.steers.push(Steered { at_ns, change });
        self.cut_ns = self.next_cut();
        if !self.is_over {
            if let Some(place) = self.rewind.take() {
                self.place = place;
                self.cut_ns = self.next_cut();
            }
            self.search();
        }
        true
    }

    /// Entries due by `now_ns` and not taken; of Poisson arrivals, beyond the next one, as many as are to be
    /// expected.
    #[must_use]
    pub fn behind(&self, now_ns: u64) -> u64 {
        if self.next_ns > now_ns || self.next_ns == u64::MAX {
            return 0;
        }
        let mut place = self.place;
        loop {
            let cut_ns = self.cut_after(&place).min(place.piece.end_ns());
            if now_ns < cut_ns || !self.step(&mut place, cut_ns) {
                break;
            }
        }
        let until_ns = now_ns.clamp(place.piece.start_ns, place.piece.end_ns());
        let due = (place.piece.point_at(until_ns) - self.point).max(0.0) as u64 + 1;
        due.min(self.entries_max - self.taken)
    }

    /// How long the next entry has been due at `now_ns`, in nanoseconds.
    #[must_use]
    pub fn lateness_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.next_ns)
    }

    fn cut_after(&self, place: &Place) -> u64 {
        self.steers
            .get(place.steered)
            .map_or(u64::MAX, |steered| steered.at_ns)
    }

    fn next_cut(&self) -> u64 {
        self.cut_after(&self.place)
    }

    /// Finds when the next entry is due, on this piece or on a later one.
    fn search(&mut self) {
        loop {
            let piece = &self.place.piece;
            let entries = self.point - piece.base;
            let mut until_ns = piece.end_ns();
            if entries < piece.mass {
                let due_ns = piece.due_ns(entries).max(self.last_ns);
                if due_ns <= self.cut_ns {
                    self.next_ns = due_ns;
                    return;
                }
                until_ns = self.cut_ns;
            }
            let mut place = self.place;
            if until_ns.min(self.cut_ns) == u64::MAX {
                // A rate of 0 without end: nothing is due until that is changed.
                self.next_ns = u64::MAX;
                return;
            }
            if !self.step(&mut place, until_ns.min(self.cut_ns)) {
                self.stop();
                return;
            }
            self.rewind.get_or_insert(self.place);
            self.place = place;
            self.cut_ns = self.next_cut();
        }
    }

    /// Goes on to what begins at `at_ns`: the shape's next line, or this one changed. False at the end.
    fn step(&self, place: &mut Place, at_ns: u64) -> bool {
        let piece = place.piece;
        if at_ns < piece.end_ns() {
            if !place.helm.paused {
                place.line = place.line.rest(at_ns - piece.start_ns);
            }
            let base = piece.point_at(at_ns);
            if let Some(steered) = self.steers.get(place.steered) {
                place.helm.turn(steered.change);
                place.steered += 1;
            }
            place.piece = Piece::new(place.line, &place.helm, self.unit, (at_ns, base));
            return true;
        }
        let segment = &self.segments[place.segment];
        (place.segment, place.number) = match place.number + 1 {
            number if number < segment.lines() => (place.segment, number),
            _ => (place.segment + 1, 0),
        };
        let Some(segment) = self.segments.get(place.segment) else {
            return false;
        };
        place.line = segment.at(place.number);
        let start = (at_ns, piece.base + piece.mass);
        place.piece = Piece::new(place.line, &place.helm, self.unit, start);
        true
    }
}

#[cfg(test)]
mod tests;
