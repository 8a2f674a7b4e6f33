//! The text form of a shape, as people type it: `ramp 0..2M/30s, hold 60s, spike x5/2s`.
//!
//! docs/load.md has the grammar in EBNF. Every error names the column and says what to write there. Rates
//! and times are the words of the rest of the command line: `250k`, `2.5M`, `500ms`, `10s`, `2m`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::presets::{PRESETS, Preset, Unit};
use crate::shape::{ENTRIES_MAX, Kind, LENGTH_NS_MAX, RATE_MAX, SEGMENTS_MAX, Segment, Shape};

/// Longest text: a page.
const TEXT_BYTES_MAX: usize = 8 * 1024;
/// Repeats within repeats: what is deeper nobody can read.
const DEPTH_MAX: usize = 8;

const RATE: &str = "a rate: digits with an optional k, M or G, such as 500k or 2M";
const TIME: &str = "a time: digits with ms, s or m, such as 500ms, 30s or 2m";
const COUNT: &str = "a whole count, such as 10";
const SEGMENT: &str = "a segment: ramp A..B/T, hold R/T, hold T, spike xF/T, step R xN/T, \
     sine R+-A/P/T, pause T, burst N, repeat N (..), or a storm: registration(), avalanche(), \
     re-push(), regional()";

/// Why a text is no shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("load: column {column}: {found}; write {wanted}")]
pub struct GrammarError {
    /// Column of the fault, from 1.
    pub column: usize,
    /// What is there.
    pub found: String,
    /// What to write.
    pub wanted: String,
}

impl FromStr for Shape {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        let mut reader = Reader {
            text,
            at: 0,
            rate: None,
        };
        if text.len() > TEXT_BYTES_MAX {
            return Err(reader.fault("the text is too long", "at most 8192 characters"));
        }
        let segments = reader.items(0)?;
        reader.blank();
        if reader.at < text.len() {
            return Err(reader.fault("", "`,` and another segment, or nothing"));
        }
        let shape = Shape::of(text.trim().to_owned(), segments);
        check(&shape).map_err(|(found, wanted)| GrammarError {
            column: 1,
            found: found.to_owned(),
            wanted: wanted.to_owned(),
        })?;
        Ok(shape)
    }
}

/// Bounds of a whole shape.
fn check(shape: &Shape) -> Result<(), (&'static str, &'static str)> {
    let rates = shape.segments().iter().filter(|s| s.kind != Kind::Burst);
    let highest = rates.map(|s| match s.kind {
        Kind::Sine => s.from + s.to,
        _ => s.from.max(s.to),
    });
    if highest.fold(0.0, f64::max) > RATE_MAX {
        return Err(("the rate goes beyond 1G", "a shape that stays below it"));
    }
    if shape.length_ns().is_none_or(|ns| ns > LENGTH_NS_MAX) {
        return Err(("the shape is longer than a day", "a shorter one"));
    }
    match shape.entries() {
        entries if entries > ENTRIES_MAX => Err(("the shape asks for more than 2^53", "less")),
        entries if entries > 0.0 => Ok(()),
        _ => Err(("the shape asks for nothing", "a rate above 0 somewhere")),
    }
}

/// What is left of a text.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Rate that the next segment begins with.
    rate: Option<f64>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn blank(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// A fault here; `found` empty = what the text has here.
    fn fault(&self, found: &str, wanted: &str) -> GrammarError {
        let near: String = self.rest().chars().take(12).collect();
        GrammarError {
            column: self.text[..self.at].chars().count() + 1,
            found: match (found, near.trim_end()) {
                ("", "") => "the text ends".to_owned(),
                ("", near) => format!("`{near}` is not understood"),
                (found, _) => found.to_owned(),
            },
            wanted: wanted.to_owned(),
        }
    }

    /// Takes `mark` if it is here, after blanks.
    fn takes(&mut self, mark: &str) -> bool {
        self.blank();
        let is_here = self.rest().starts_with(mark);
        if is_here {
            self.at += mark.len();
        }
        is_here
    }

    fn expect(&mut self, mark: &str, wanted: &str) -> Result<(), GrammarError> {
        if self.takes(mark) {
            return Ok(());
        }
        Err(self.fault("", wanted))
    }

    fn word(&mut self) -> &'a str {
        self.blank();
        let rest = self.rest();
        let is_in = |c: char| c.is_ascii_alphabetic() || c == '-';
        let length = rest.find(|c| !is_in(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// A number and the letters behind it.
    fn number(&mut self, wanted: &str) -> Result<(f64, &'a str), GrammarError> {
        self.blank();
        let (begin, rest) = (self.at, self.rest());
        let length = rest
            .char_indices()
            .find(|&(at, c)| {
                // Two dots part two rates.
                let fraction = c == '.' && rest[at + 1..].starts_with(|d: char| d.is_ascii_digit());
                !(c.is_ascii_digit() || c == '_' || fraction)
            })
            .map_or(rest.len(), |(at, _)| at);
        let digits = rest[..length].replace('_', "");
        let value = digits.parse::<f64>().ok().filter(|value| value.is_finite());
        let Some(value) = value else {
            return Err(self.fault("", wanted));
        };
        self.at = begin + length;
        let rest = self.rest();
        // `x` parts a step from its count.
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic() || c == 'x')
            .unwrap_or(rest.len());
        self.at += letters;
        Ok((value, &rest[..letters]))
    }

    fn scaled(&mut self, wanted: &str) -> Result<f64, GrammarError> {
        self.blank();
        let begin = self.at;
        let (value, letters) = self.number(wanted)?;
        let factor = match letters {
            "" => 1.0,
            "k" | "K" => 1e3,
            "m" | "M" => 1e6,
            "g" | "G" => 1e9,
            _ => {
                self.at = begin;
                return Err(self.fault("", wanted));
            }
        };
        Ok(value * factor)
    }

    fn rate(&mut self) -> Result<f64, GrammarError> {
        self.scaled(RATE)
    }

    fn count(&mut self) -> Result<f64, GrammarError> {
        self.blank();
        let begin = self.at;
        let count = self.scaled(COUNT)?;
        if count.fract() == 0.0 && count <= ENTRIES_MAX {
            return Ok(count);
        }
        self.at = begin;
        Err(self.fault("", COUNT))
    }

    /// A time in nanoseconds.
    fn time(&mut self) -> Result<u64, GrammarError> {
        self.blank();
        let begin = self.at;
        let (value, letters) = self.number(TIME)?;
        let unit = match letters {
            "us" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => 0.0,
        };
        let ns = (value * unit).round();
        let fits = ns <= LENGTH_NS_MAX as f64;
        if unit > 0.0 && fits && (ns > 0.0 || value == 0.0) {
            return Ok(ns as u64);
        }
        self.at = begin;
        Err(self.fault(if fits { "" } else { "longer than a day" }, TIME))
    }

    /// Segments up to the end or to a closing parenthesis.
    fn items(&mut self, depth: usize) -> Result<Vec<Segment>, GrammarError> {
        let mut segments = Vec::new();
        loop {
            self.blank();
            let begin = self.at;
            let mut item = self.item(depth)?;
            segments.append(&mut item);
            if segments.len() > SEGMENTS_MAX {
                self.at = begin;
                return Err(self.fault("more than 4096 segments", "fewer repeats"));
            }
            if !self.takes(",") {
                return Ok(segments);
            }
        }
    }

    fn item(&mut self, depth: usize) -> Result<Vec<Segment>, GrammarError> {
        let begin = self.at;
        let one = match self.word() {
            "ramp" => self.ramp()?,
            "hold" => self.hold()?,
            "spike" => self.spike()?,
            "step" => return self.steps(),
            "sine" => self.sine()?,
            "pause" => Segment::line(Kind::Pause, 0.0, 0.0, self.time()?),
            "burst" => Segment::burst(self.count()?),
            "repeat" => return self.repeat(depth),
            name => match PRESETS.iter().find(|preset| preset.name == name) {
                Some(preset) => return self.preset(preset),
                None => {
                    self.at = begin;
                    return Err(self.fault("", SEGMENT));
                }
            },
        };
        Ok(vec![one])
    }

    /// The rate before, or a fault.
    fn before(&mut self) -> Result<f64, GrammarError> {
        let wanted = "the rate, as in hold 500k/60s, or put a ramp or hold before it";
        self.blank();
        self.rate
            .ok_or_else(|| self.fault("there is no rate before it", wanted))
    }

    fn ramp(&mut self) -> Result<Segment, GrammarError> {
        self.blank();
        let from = if self.rest().starts_with("..") {
            self.before()?
        } else {
            self.rate()?
        };
        self.expect("..", "`..` and the rate at its end, as in ramp 0..2M/30s")?;
        let to = self.rate()?;
        self.expect("/", "`/` and its length, as in ramp 0..2M/30s")?;
        self.rate = Some(to);
        Ok(Segment::line(Kind::Ramp, from, to, self.time()?))
    }

    fn hold(&mut self) -> Result<Segment, GrammarError> {
        let rest = self.rest();
        let end = rest.find([',', ')']).unwrap_or(rest.len());
        let rate = if rest[..end].contains('/') {
            let rate = self.rate()?;
            self.expect("/", "`/` and its length, as in hold 500k/60s")?;
            rate
        } else {
            self.before()?
        };
        self.rate = Some(rate);
        Ok(Segment::line(Kind::Hold, rate, rate, self.time()?))
    }

    fn spike(&mut self) -> Result<Segment, GrammarError> {
        let before = self.before()?;
        self.expect("x", "`x` and the factor, as in spike x5/2s")?;
        let wanted = "a factor, such as 5 or 2.5";
        let (factor, letters) = self.number(wanted)?;
        if !letters.is_empty() {
            self.at -= letters.len();
            return Err(self.fault("", "`/` and its length, as in spike x5/2s"));
        }
        self.expect("/", "`/` and its length, as in spike x5/2s")?;
        let rate = before * factor;
        Ok(Segment::line(Kind::Spike, rate, rate, self.time()?))
    }

    fn steps(&mut self) -> Result<Vec<Segment>, GrammarError> {
        self.blank();
        let begin = self.at;
        let down = self.takes("-");
        let size = self.rate()?;
        self.expect("x", "`x` and how many, as in step 100k x10/5s")?;
        let count = self.count()?;
        self.expect("/", "`/` and the length of each, as in step 100k x10/5s")?;
        let length_ns = self.time()?;
        let first = self.rate.unwrap_or(0.0);
        let signed = if down { -size } else { size };
        let last = first + signed * count;
        if last < 0.0 || count > SEGMENTS_MAX as f64 || count < 1.0 {
            self.at = begin;
            return Err(self.fault(
                "the steps go below 0, or are none or more than 4096",
                "fewer or smaller ones",
            ));
        }
        self.rate = Some(last);
        let step = |number: u32| {
            let rate = first + signed * f64::from(number);
            Segment::line(Kind::Step, rate, rate, length_ns)
        };
        Ok((1..=count as u32).map(step).collect())
    }

    fn sine(&mut self) -> Result<Segment, GrammarError> {
        self.blank();
        let wanted = "sine R+-A/P/T: rate, amplitude, period, length, as in sine 1M+-500k/10s/60s";
        let begin = self.at;
        let from = self.rate()?;
        self.expect("+-", wanted)?;
        let to = self.rate()?;
        self.expect("/", wanted)?;
        let period_ns = self.time()?;
        self.expect("/", wanted)?;
        let length_ns = self.time()?;
        if to > from {
            self.at = begin;
            return Err(self.fault("the sine goes below 0", "an amplitude of at most the rate"));
        }
        // Each of its lines takes a microsecond at least.
        if period_ns < 64_000 {
            self.at = begin;
            return Err(self.fault("the period is below 64 us", "a longer one"));
        }
        self.rate = Some(from);
        Ok(Segment {
            period_ns,
            ..Segment::line(Kind::Sine, from, to, length_ns)
        })
    }

    fn repeat(&mut self, depth: usize) -> Result<Vec<Segment>, GrammarError> {
        self.blank();
        let begin = self.at;
        let count = self.count()?;
        self.expect(
            "(",
            "`(` and what is repeated, as in repeat 3 (hold 1k/5s, pause 5s)",
        )?;
        if depth == DEPTH_MAX {
            return Err(self.fault("repeats are nested too deep", "at most 8 levels"));
        }
        let mut segments = Vec::new();
        if count < 1.0 || count > SEGMENTS_MAX as f64 {
            self.at = begin;
            return Err(self.fault("", "a count from 1 to 4096"));
        }
        // Read anew each time, for a step goes on from the rate that the last one ended with.
        let inner = self.at;
        for _ in 0..count as u32 {
            self.at = inner;
            segments.append(&mut self.items(depth + 1)?);
            if segments.len() > SEGMENTS_MAX {
                self.at = begin;
                return Err(self.fault("more than 4096 segments", "fewer repeats"));
            }
        }
        self.expect(")", "`)` behind what is repeated")?;
        Ok(segments)
    }

    /// The figures of a storm: `name=value`, in any order.
    fn preset(&mut self, preset: &Preset) -> Result<Vec<Segment>, GrammarError> {
        let names: Vec<_> = preset.figures.iter().map(|figure| figure.name).collect();
        let wanted = format!("name=value with a name of {}", names.join(", "));
        let mut values: Vec<f64> = preset.figures.iter().map(|figure| figure.default).collect();
        self.expect("(", "`(`, its figures if any, and `)`")?;
        while !self.takes(")") {
            self.blank();
            let begin = self.at;
            let name = self.word();
            let Some(place) = names.iter().position(|known| *known == name) else {
                self.at = begin;
                return Err(self.fault("", &wanted));
            };
            self.expect("=", &wanted)?;
            values[place] = match preset.figures[place].unit {
                Unit::Count => self.count()?,
                Unit::Rate => self.rate()?,
                Unit::Time => self.time()? as f64 / 1e9,
            };
            self.blank();
            if !self.takes(",") && !self.rest().starts_with(')') {
                return Err(self.fault("", "`,` and another figure, or `)`"));
            }
        }
        let segments = (preset.segments)(&values);
        let sound = |s: &Segment| s.from.is_finite() && s.to.is_finite() && s.from >= 0.0;
        if !segments.iter().all(sound) {
            return Err(self.fault("a time of 0 divides", "a longer refresh, within or boot"));
        }
        self.rate = segments.last().map(|last| last.to);
        let whole = |s: Segment| match s.kind {
            Kind::Burst => Segment::burst(s.from.round()),
            _ => s,
        };
        Ok(segments.into_iter().map(whole).collect())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
