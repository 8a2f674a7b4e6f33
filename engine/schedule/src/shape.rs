//! A shape: the rate wanted at each moment, as a list of segments.
//!
//! Every segment is a straight line of the rate, a point at which so many are due at once, or a sine that
//! is drawn as 64 straight lines a period. So the cumulative count has a closed form and an exact inverse
//! everywhere. Data and arithmetic; the text form is in `grammar`.

use std::fmt;

/// Highest rate a second: beyond it due times would share nanoseconds.
pub const RATE_MAX: f64 = 1e9;
/// Longest shape: a day.
pub const LENGTH_NS_MAX: u64 = 86_400_000_000_000;
/// Most segments of one shape, repeats written out: a plan that nobody reads any more.
pub const SEGMENTS_MAX: usize = 4096;
/// Most entries of one shape: a count stays exact in a record's JSON number.
pub const ENTRIES_MAX: f64 = 9_007_199_254_740_992.0;
/// Straight lines that draw one period of a sine; off by at most 0.12 % of the amplitude.
pub const SINE_LINES: u64 = 64;

/// sin(k pi / 32) for k = 0 to 16, written out so that no library rounds them otherwise.
const SINES: [f64; 17] = [
    0.0,
    0.098_017_140_329_560_6,
    0.195_090_322_016_128_27,
    0.290_284_677_254_462_33,
    0.382_683_432_365_089_8,
    0.471_396_736_825_997_64,
    0.555_570_233_019_602_2,
    0.634_393_284_163_645_5,
    std::f64::consts::FRAC_1_SQRT_2,
    0.773_010_453_362_737,
    0.831_469_612_302_545_2,
    0.881_921_264_348_355,
    0.923_879_532_511_286_7,
    0.956_940_335_732_208_9,
    0.980_785_280_403_230_4,
    0.995_184_726_672_196_9,
    1.0,
];

/// What a segment was written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From one rate to another in a straight line.
    Ramp,
    /// One rate.
    Hold,
    /// A multiple of the rate before, for a while.
    Spike,
    /// One of several equal steps.
    Step,
    /// A sine about a rate.
    Sine,
    /// Nothing.
    Pause,
    /// So many at once.
    Burst,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ramp => "ramp",
            Self::Hold => "hold",
            Self::Spike => "spike",
            Self::Step => "step",
            Self::Sine => "sine",
            Self::Pause => "pause",
            Self::Burst => "burst",
        })
    }
}

/// A stretch of a shape; rates are entries a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    /// What it was written as.
    pub kind: Kind,
    /// Rate at its begin; of a sine the rate it swings about; of a burst the count.
    pub from: f64,
    /// Rate at its end; of a sine its amplitude.
    pub to: f64,
    /// Length in nanoseconds; 0 of a burst, `u64::MAX` of one without end.
    pub length_ns: u64,
    /// Period of a sine in nanoseconds; 0 of any other.
    pub period_ns: u64,
}

impl Segment {
    /// A straight line of the rate.
    #[must_use]
    pub fn line(kind: Kind, from: f64, to: f64, length_ns: u64) -> Self {
        Self {
            kind,
            from,
            to,
            length_ns,
            period_ns: 0,
        }
    }

    /// So many entries at one moment.
    #[must_use]
    pub fn burst(count: f64) -> Self {
        Self::line(Kind::Burst, count, count, 0)
    }

    /// Number of the straight lines it consists of.
    #[must_use]
    pub(crate) fn lines(&self) -> u64 {
        if self.kind != Kind::Sine {
            return 1;
        }
        // The last one is cut where the segment ends.
        let whole = self.length_ns / self.period_ns * SINE_LINES;
        let rest = self.length_ns % self.period_ns;
        let nodes =
            (u128::from(rest) * u128::from(SINE_LINES)).div_ceil(u128::from(self.period_ns));
        whole + nodes as u64
    }

    /// Straight line `number` of it.
    #[must_use]
    pub(crate) fn at(&self, number: u64) -> Line {
        match self.kind {
            Kind::Burst => Line {
                at_once: self.from,
                ..Line::default()
            },
            Kind::Sine => self.sine_line(number),
            _ => Line {
                length_ns: self.length_ns,
                from: self.from,
                to: self.to,
                at_once: 0.0,
            },
        }
    }

    fn sine_line(&self, number: u64) -> Line {
        let node = |number: u64| {
            let (period, place) = (number / SINE_LINES, number % SINE_LINES);
            let within = u128::from(place) * u128::from(self.period_ns) / u128::from(SINE_LINES);
            period * self.period_ns + within as u64
        };
        let rate = |number: u64| (self.from + self.to * sine(number % SINE_LINES)).max(0.0);
        let (begin, end) = (node(number), node(number + 1));
        let whole = Line {
            length_ns: end - begin,
            from: rate(number),
            to: rate(number + 1),
            at_once: 0.0,
        };
        match self.length_ns.checked_sub(begin) {
            Some(left) if left < whole.length_ns => Line {
                to: whole.rate_at(left),
                length_ns: left,
                ..whole
            },
            _ => whole,
        }
    }

    /// Entries that it asks for; infinite without end.
    #[must_use]
    pub fn entries(&self) -> f64 {
        (0..self.lines()).map(|number| self.at(number).mass()).sum()
    }
}

fn sine(place: u64) -> f64 {
    let (quarter, step) = (place / 16, (place % 16) as usize);
    match quarter {
        0 => SINES[step],
        1 => SINES[16 - step],
        2 => -SINES[step],
        _ => -SINES[16 - step],
    }
}

/// One straight line of the rate, or a point with mass.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Line {
    pub(crate) length_ns: u64,
    pub(crate) from: f64,
    pub(crate) to: f64,
    /// Entries due at its begin.
    pub(crate) at_once: f64,
}

impl Line {
    /// Entries under it.
    pub(crate) fn mass(&self) -> f64 {
        self.at_once + self.mass_until(self.length_ns)
    }

    /// Entries under its first `ns` nanoseconds, those at once not counted.
    pub(crate) fn mass_until(&self, ns: u64) -> f64 {
        let mean = (self.from + self.rate_at(ns)) / 2.0;
        // A rate of 0 without end has no mass.
        match (mean > 0.0, ns) {
            (false, _) => 0.0,
            (true, u64::MAX) => f64::INFINITY,
            (true, ns) => mean * ns as f64 / 1e9,
        }
    }

    /// The rate `ns` nanoseconds after its begin.
    pub(crate) fn rate_at(&self, ns: u64) -> f64 {
        if self.from == self.to || self.length_ns == 0 {
            return self.from;
        }
        self.from + (self.to - self.from) * (ns as f64 / self.length_ns as f64)
    }

    /// What is left of it after its first `ns` nanoseconds.
    pub(crate) fn rest(&self, ns: u64) -> Line {
        let length_ns = match self.length_ns {
            u64::MAX => u64::MAX,
            length => length - ns,
        };
        Line {
            length_ns,
            from: self.rate_at(ns),
            at_once: 0.0,
            ..*self
        }
    }
}

/// The rate wanted at each moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    text: String,
    segments: Vec<Segment>,
}

impl Shape {
    /// A shape of segments that were checked, with the text it is known by.
    pub(crate) fn of(text: String, segments: Vec<Segment>) -> Self {
        Self { text, segments }
    }

    /// One rate a second without end.
    #[must_use]
    pub fn constant(rate: f64) -> Self {
        let segment = Segment::line(Kind::Hold, rate, rate, u64::MAX);
        Self::of(String::new(), vec![segment])
    }

    /// The text it was read from; empty where it was not read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its segments in their order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Its length in nanoseconds; `None` without end.
    #[must_use]
    pub fn length_ns(&self) -> Option<u64> {
        let mut lengths = self.segments.iter().map(|segment| segment.length_ns);
        lengths
            .try_fold(0u64, |sum, length| sum.checked_add(length))
            .filter(|length| *length != u64::MAX)
    }

    /// Entries that it asks for; infinite without end. Arrivals at equal distances give this count,
    /// rounded up; Poisson arrivals give it as their mean.
    #[must_use]
    pub fn entries(&self) -> f64 {
        self.segments.iter().map(Segment::entries).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sine_is_drawn_by_lines_that_keep_its_mean_and_its_ends() {
        let sine = Segment {
            kind: Kind::Sine,
            from: 1000.0,
            to: 500.0,
            length_ns: 2_500_000_000,
            period_ns: 1_000_000_000,
        };
        assert_eq!(sine.lines(), 64 * 2 + 32);
        let lines: Vec<Line> = (0..sine.lines()).map(|n| sine.at(n)).collect();
        let length: u64 = lines.iter().map(|line| line.length_ns).sum();
        assert_eq!(length, sine.length_ns);
        for pair in lines.windows(2) {
            assert!((pair[0].to - pair[1].from).abs() < 1e-9, "{pair:?}");
        }
        let mut at_ns = 0;
        for line in &lines {
            let true_rate =
                |ns: u64| 1000.0 + 500.0 * (ns as f64 / 1e9 * std::f64::consts::TAU).sin();
            assert!((line.from - true_rate(at_ns)).abs() < 1e-3);
            let middle = line.length_ns / 2;
            let off = (line.rate_at(middle) - true_rate(at_ns + middle)).abs();
            assert!(off < 500.0 * 0.0013, "{off} at {at_ns}");
            at_ns += line.length_ns;
        }
        let whole: f64 = lines[..128].iter().map(Line::mass).sum();
        assert!((whole - 2000.0).abs() < 1e-6, "{whole}");
    }

    #[test]
    fn what_is_left_of_a_line_and_what_was_before_are_the_whole() {
        let line = Line {
            length_ns: 4_000_000_000,
            from: 100.0,
            to: 900.0,
            at_once: 0.0,
        };
        assert_eq!((line.mass(), line.rate_at(1_000_000_000)), (2000.0, 300.0));
        let rest = line.rest(1_000_000_000);
        assert_eq!((rest.from, rest.length_ns), (300.0, 3_000_000_000));
        assert_eq!(line.mass_until(1_000_000_000) + rest.mass(), 2000.0);
    }

    #[test]
    fn a_shape_without_end_has_neither_length_nor_count() {
        let shape = Shape::constant(7.0);
        assert_eq!((shape.length_ns(), shape.entries()), (None, f64::INFINITY));
    }
}
