//! What a population does with a SIR: classes of behaviour with integer shares, and overrides that
//! make some edges behave differently for some of the time.
//!
//! This file holds the data and its rules; the short text form (`200:90,silent:10`) is in `text`, and
//! which device belongs to which class is decided by [`Mix::class_of`]. Nothing here touches bytes of
//! SIP: `answer` compiles a class into the literal parts of its responses.

mod text;

use serde::{Deserialize, Serialize};

use crate::hash::{scaled, seeded};
use crate::session::Delay;

/// The most classes and overrides of one mix together: a class index fits 6 bits of a `seen` entry.
pub const CLASSES_MAX: usize = 64;
/// The largest sum of weights: shares down to one in a million are more than a bench can resolve.
pub const WEIGHT_TOTAL_MAX: u32 = 1_000_000;
/// The most extra copies of one answer: enough to show that duplicates are harmless, and a bound on
/// how much one SIR may grow a train.
pub const COPIES_MAX: u8 = 8;
/// The longest delay of a late answer: past Timer F (RFC 3261 17.1.2.2, 32 s) nothing is left to test.
/// Longer draws of a distribution are cut to it.
pub const DELAY_MS_MAX: u32 = 64_000;
/// The longest Retry-After: one hour, far beyond any run.
pub const RETRY_AFTER_S_MAX: u32 = 3_600;
/// The longest period of an override's pattern: one hour.
pub const PERIOD_MS_MAX: u32 = 3_600_000;
/// The longest class name: it is a key of the report.
pub const NAME_BYTES_MAX: usize = 48;

/// The population's behaviour: classes of devices, and overrides per edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// The classes a device can belong to; never empty.
    pub classes: Vec<Class>,
    /// What some edges do instead for some of the time; the first that applies wins.
    pub edges: Vec<EdgeOverride>,
}

/// One class of devices that behave alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// The key of this class in the report.
    pub name: String,
    /// The share of the population, in units of the sum of all weights.
    pub weight: u32,
    /// What its devices do.
    pub behaviour: Behaviour,
}

/// What one device does with a SIR.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Behaviour {
    /// Answers every transmission at once.
    Answer {
        /// The status code, 200..=699 without 408.
        status: u16,
        /// The Retry-After header's seconds, where the status allows one.
        #[serde(default)]
        retry_after_s: Option<u32>,
    },
    /// Never answers.
    Silent,
    /// Answers once, some time after the first transmission; transmissions after that at once.
    Late {
        /// How long that is: drawn for each SIR, at most [`DELAY_MS_MAX`].
        delay: Delay,
        /// The status code.
        status: u16,
    },
    /// Answers every transmission with `copies` extra copies behind the answer.
    Duplicate {
        /// The status code.
        status: u16,
        /// The extra copies, 1..=[`COPIES_MAX`].
        copies: u8,
    },
    /// Loses each transmission independently with probability `drop_per_mille`, else answers it.
    Lossy {
        /// The share lost, in thousandths.
        drop_per_mille: u16,
        /// The status code of the transmissions that get through.
        status: u16,
    },
    /// Answers with a status line that no parser may accept.
    Garbage,
    /// Answers with a branch whose last character was changed: a response to no transaction.
    Forged {
        /// The status code.
        status: u16,
    },
}

/// What a set of edges does instead of the device's own class while a time pattern is on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeOverride {
    /// The key in the report.
    pub name: String,
    /// The edges concerned, as ranges with both ends included.
    pub ranges: Vec<(u16, u16)>,
    /// How long it applies in each period, in milliseconds; with `off_ms` 0 it always applies.
    pub on_ms: u32,
    /// How long it does not apply in each period.
    pub off_ms: u32,
    /// When the first period starts, counted from the worker's start.
    #[serde(default)]
    pub phase_ms: u32,
    /// What the edge does meanwhile.
    pub behaviour: Behaviour,
}

/// Why a mix is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MixError {
    /// The text does not follow the grammar.
    #[error("mix: at `{near}`: {reason}")]
    Syntax {
        /// The text around the error.
        near: String,
        /// What is expected there.
        reason: String,
    },
    /// The text is well-formed but breaks a rule.
    #[error("mix: class `{name}`: {reason}")]
    Rule {
        /// The class or override concerned.
        name: String,
        /// The rule, and what to do.
        reason: String,
    },
    /// A sum or count is out of bounds.
    #[error("mix: {0}")]
    Bounds(String),
}

impl Mix {
    /// Returns a mix of one class in which every device answers 200.
    #[must_use]
    pub fn all_ok() -> Mix {
        let behaviour = Behaviour::Answer {
            status: 200,
            retry_after_s: None,
        };
        let class = Class {
            name: behaviour.default_name(),
            weight: 1,
            behaviour,
        };
        Mix {
            classes: vec![class],
            edges: Vec::new(),
        }
    }

    /// Returns the mix for a worker that holds edges `first` to `first + count - 1` of all: overrides
    /// are cut to these and count from the worker's own first edge; those of other edges go.
    #[must_use]
    pub fn of_edges(&self, first: u16, count: u16) -> Mix {
        let own = |&(from, to): &(u16, u16)| {
            let last = first.saturating_add(count.saturating_sub(1));
            let (from, to) = (from.max(first), to.min(last));
            (count > 0 && from <= to).then(|| (from - first, to - first))
        };
        let cut = |edge: &EdgeOverride| {
            let ranges: Vec<_> = edge.ranges.iter().filter_map(own).collect();
            let edge = EdgeOverride {
                ranges,
                ..edge.clone()
            };
            (!edge.ranges.is_empty()).then_some(edge)
        };
        Mix {
            classes: self.classes.clone(),
            edges: self.edges.iter().filter_map(cut).collect(),
        }
    }

    /// Returns the sum of all weights.
    #[must_use]
    pub fn weight_total(&self) -> u32 {
        self.classes.iter().map(|class| class.weight).sum()
    }

    /// Returns the index of the class that a Request-URI with this public hash belongs to; the same
    /// seed, hash and weights give the same class for ever.
    #[inline]
    #[must_use]
    pub fn class_of(&self, seed: u64, uri_hash: u64) -> usize {
        let mut point = scaled(seeded(seed ^ CLASS_SALT, uri_hash), self.weight_total());
        for (index, class) in self.classes.iter().enumerate() {
            if point < class.weight {
                return index;
            }
            point -= class.weight;
        }
        0
    }

    /// Checks every bound and rule.
    ///
    /// # Errors
    /// The first rule broken, naming the class.
    pub fn validate(&self) -> Result<(), MixError> {
        if self.classes.is_empty() {
            return Err(MixError::Bounds("no class; write for example 200:1".into()));
        }
        if self.classes.len() + self.edges.len() > CLASSES_MAX {
            return Err(MixError::Bounds(format!(
                "more than {CLASSES_MAX} classes and overrides"
            )));
        }
        let total: u64 = self
            .classes
            .iter()
            .map(|class| u64::from(class.weight))
            .sum();
        if total == 0 || total > u64::from(WEIGHT_TOTAL_MAX) {
            return Err(MixError::Bounds(format!(
                "weights sum to {total}; they must sum to 1..={WEIGHT_TOTAL_MAX}"
            )));
        }
        let mut names: Vec<&str> = Vec::with_capacity(CLASSES_MAX);
        for (name, behaviour) in self.named_behaviours() {
            let rule = |reason: String| MixError::Rule {
                name: name.to_owned(),
                reason,
            };
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                return Err(rule(format!("a name has 1..={NAME_BYTES_MAX} bytes")));
            }
            if names.contains(&name) {
                return Err(rule(
                    "the name is used twice; write name=behaviour:weight".into(),
                ));
            }
            names.push(name);
            behaviour.check().map_err(rule)?;
        }
        self.edges.iter().try_for_each(EdgeOverride::check)
    }

    /// Iterates over the classes and then the overrides, in the order of their class index.
    pub(crate) fn named_behaviours(&self) -> impl Iterator<Item = (&str, Behaviour)> {
        let classes = self
            .classes
            .iter()
            .map(|class| (class.name.as_str(), class.behaviour));
        classes.chain(
            self.edges
                .iter()
                .map(|edge| (edge.name.as_str(), edge.behaviour)),
        )
    }
}

/// Separates the choice of a class from other choices made of the same hash.
const CLASS_SALT: u64 = 0x636c_6173_7300_0000;

impl Default for Mix {
    fn default() -> Mix {
        Mix::all_ok()
    }
}

impl Behaviour {
    /// Returns the name a class of this behaviour has when none is given.
    #[must_use]
    pub fn default_name(&self) -> String {
        match *self {
            Behaviour::Answer { status, .. } => status.to_string(),
            Behaviour::Silent => "silent".into(),
            Behaviour::Late { delay, status } => {
                // A name has no parentheses, so that it can be written before a behaviour.
                let delay = delay.to_string().replace(['(', ','], "-").replace(')', "");
                format!("late-{delay}-{status}")
            }
            Behaviour::Duplicate { status, copies } => format!("dup-{status}-{copies}"),
            Behaviour::Lossy {
                drop_per_mille,
                status,
            } => {
                format!("lossy-{drop_per_mille}-{status}")
            }
            Behaviour::Garbage => "garbage".into(),
            Behaviour::Forged { status } => format!("forged-{status}"),
        }
    }

    /// Returns the status code of the answers of this behaviour, if it has any.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match *self {
            Behaviour::Answer { status, .. }
            | Behaviour::Late { status, .. }
            | Behaviour::Duplicate { status, .. }
            | Behaviour::Lossy { status, .. }
            | Behaviour::Forged { status } => Some(status),
            Behaviour::Silent | Behaviour::Garbage => None,
        }
    }

    /// Returns how long it takes to answer.
    #[must_use]
    pub fn delay(&self) -> Delay {
        match *self {
            Behaviour::Late { delay, .. } => delay,
            _ => Delay::None,
        }
    }

    fn check(&self) -> Result<(), String> {
        if let Some(status) = self.status() {
            check_status(status)?;
        }
        match *self {
            Behaviour::Answer {
                status,
                retry_after_s: Some(seconds),
            } => check_retry_after(status, seconds),
            Behaviour::Late { delay, .. }
                if delay.is_none() || delay.typical_ms() > f64::from(DELAY_MS_MAX) =>
            {
                Err(format!(
                    "delay {delay}; it must be above 0 and at most {DELAY_MS_MAX} ms"
                ))
            }
            Behaviour::Duplicate { copies, .. } if copies == 0 || copies > COPIES_MAX => {
                Err(format!("{copies} copies; they must be 1..={COPIES_MAX}"))
            }
            Behaviour::Lossy { drop_per_mille, .. } if drop_per_mille > 1000 => Err(format!(
                "{drop_per_mille} per mille dropped; it must be 0..=1000"
            )),
            _ => Ok(()),
        }
    }
}

fn check_status(status: u16) -> Result<(), String> {
    if status == 408 {
        // RFC 4320 4.2: a non-INVITE request is never answered with 408.
        return Err("408 is never sent to a MESSAGE (RFC 4320); use silent".into());
    }
    if !(200..=699).contains(&status) {
        return Err(format!("status {status}; a final status is 200..=699"));
    }
    Ok(())
}

fn check_retry_after(status: u16, seconds: u32) -> Result<(), String> {
    // RFC 3261 20.33: the responses that may carry Retry-After.
    if !matches!(status, 404 | 413 | 480 | 486 | 500 | 503 | 600 | 603) {
        return Err(format!(
            "status {status} carries no Retry-After (RFC 3261 20.33)"
        ));
    }
    if seconds > RETRY_AFTER_S_MAX {
        return Err(format!(
            "retry-after {seconds} s; it must be 0..={RETRY_AFTER_S_MAX} s"
        ));
    }
    Ok(())
}

impl EdgeOverride {
    /// Tells whether this override concerns `edge`.
    #[inline]
    #[must_use]
    pub fn covers(&self, edge: u16) -> bool {
        self.ranges
            .iter()
            .any(|&(first, last)| (first..=last).contains(&edge))
    }

    /// Tells whether this override is on, `elapsed_ms` after the worker's start, or the load's.
    #[inline]
    #[must_use]
    pub fn is_on(&self, elapsed_ms: u64) -> bool {
        let Some(since) = elapsed_ms.checked_sub(u64::from(self.phase_ms)) else {
            return false;
        };
        let period = u64::from(self.on_ms) + u64::from(self.off_ms);
        self.off_ms == 0 || since % period < u64::from(self.on_ms)
    }

    fn check(&self) -> Result<(), MixError> {
        let rule = |reason: String| {
            Err(MixError::Rule {
                name: self.name.clone(),
                reason,
            })
        };
        if self.ranges.is_empty() || self.ranges.iter().any(|&(first, last)| first > last) {
            return rule("an edge range is first-last, with first <= last".into());
        }
        if self.on_ms == 0 {
            return rule("on must be at least 1 ms".into());
        }
        if [self.on_ms, self.off_ms, self.phase_ms]
            .iter()
            .any(|&ms| ms > PERIOD_MS_MAX)
        {
            return rule(format!(
                "on, off and phase must each be at most {PERIOD_MS_MAX} ms"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
