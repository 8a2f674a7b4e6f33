//! Values as people read them at an axis or beside a bar: with a unit, three digits at most. Called by
//! charts and tables.

use crate::quantity::scaled;

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Things a second.
    PerSecond,
    /// Nanoseconds.
    Nanoseconds,
    /// Microseconds.
    Microseconds,
    /// Seconds.
    Seconds,
    /// A share: 0.5 is 50 %.
    Share,
    /// A share as the axis of a percentile plot has it: 0.999 is 99.9 %.
    Percentile,
    /// Octets.
    Octets,
}

impl Unit {
    /// The value with its unit.
    #[must_use]
    pub fn write(self, value: f64) -> String {
        match self {
            Self::Count => plain(value),
            Self::PerSecond => format!("{}/s", plain(value)),
            Self::Nanoseconds => time(value),
            Self::Microseconds => time(value * 1e3),
            Self::Seconds => time(value * 1e9),
            Self::Share => format!("{} %", plain(value * 100.0)),
            Self::Percentile => percentile(value),
            Self::Octets => format!("{} B", plain(value)),
        }
    }
}

/// Three digits without trailing zeros: `2.5 M`, `10 k`, `0`.
fn plain(value: f64) -> String {
    if value != 0.0 && !(0.001..1e15).contains(&value.abs()) {
        return format!("{value:.2e}").replace(".00e", "e");
    }
    let text = match value.abs() < 0.1 {
        // Two digits that say something.
        true => format!("{value:.*}", if value.abs() < 0.01 { 4 } else { 3 }),
        false => scaled(value),
    };
    let (number, factor) = text.find(' ').map_or((&*text, ""), |at| text.split_at(at));
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    };
    format!("{number}{factor}")
}

fn time(ns: f64) -> String {
    match ns.abs() {
        v if v >= 1e9 => format!("{} s", plain(ns / 1e9)),
        v if v >= 1e6 => format!("{} ms", plain(ns / 1e6)),
        v if v >= 1e3 => format!("{} us", plain(ns / 1e3)),
        _ => format!("{} ns", plain(ns)),
    }
}

/// As many digits as the nines need, and no more.
fn percentile(share: f64) -> String {
    let text = format!("{:.6}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_people_write_them() {
        for (unit, value, wanted) in [
            (Unit::Count, 0.0, "0"),
            (Unit::Count, 64.0, "64"),
            (Unit::Count, 2.5, "2.5"),
            (Unit::Count, 0.2, "0.2"),
            (Unit::Count, 0.08, "0.08"),
            (Unit::Count, 0.0012, "0.0012"),
            (Unit::Count, 0.000_012, "1.20e-5"),
            (Unit::Count, -1e300, "-1e300"),
            (Unit::PerSecond, 2_500_000.0, "2.5 M/s"),
            (Unit::PerSecond, 20_000.0, "20 k/s"),
            (Unit::Microseconds, 20.0, "20 us"),
            (Unit::Microseconds, 2000.0, "2 ms"),
            (Unit::Microseconds, 1e6, "1 s"),
            (Unit::Nanoseconds, 371.0, "371 ns"),
            (Unit::Seconds, 12.0, "12 s"),
            (Unit::Share, 0.243, "24.3 %"),
            (Unit::Percentile, 0.99999, "99.999 %"),
            (Unit::Percentile, 0.0, "0 %"),
            (Unit::Octets, 10_822.0, "10.8 k B"),
        ] {
            assert_eq!(unit.write(value), wanted);
        }
    }
}
