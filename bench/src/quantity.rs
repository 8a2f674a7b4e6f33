//! Numbers and durations as people type them: `1M`, `250k`, `2.5M`, `1_000_000`, `500ms`, `10s`, `2m`.
//! Called by the command line; every error says what to type instead. Scenario files use plain numbers.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Largest count accepted: beyond 2^53 a record's JSON number would no longer be exact.
const COUNT_MAX: u64 = 1 << 53;

/// Longest duration accepted: a day; a bench that needs more is a typing error.
const DURATION_MAX: Duration = Duration::from_secs(86_400);

/// Why a typed number is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct QuantityError {
    text: String,
    wanted: &'static str,
}

/// Reads a whole count with an optional factor k, M or G (powers of 1,000) and `_` between digits.
///
/// # Errors
/// When the text is no such number, is not whole, or is above 2^53.
pub fn count(text: &str) -> Result<u64, QuantityError> {
    let refused = || QuantityError {
        text: text.to_owned(),
        wanted: "a count: type digits with an optional k, M or G, such as 250k, 2.5M or 1000000",
    };
    let (digits, factor) = match text.trim().char_indices().last() {
        Some((at, 'k' | 'K')) => (&text.trim()[..at], 1_000),
        Some((at, 'M' | 'm')) => (&text.trim()[..at], 1_000_000),
        Some((at, 'G' | 'g')) => (&text.trim()[..at], 1_000_000_000),
        _ => (text.trim(), 1),
    };
    let digits = digits.replace('_', "");
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    if whole.is_empty() || !(whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit()) {
        return Err(refused());
    }
    if fraction.len() > 9 || (digits.ends_with('.')) {
        return Err(refused());
    }
    let whole: u64 = whole.parse().map_err(|_| refused())?;
    let scale = 10u64.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let fraction: u64 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().unwrap_or(0)
    };
    let parts = fraction.checked_mul(factor).ok_or_else(refused)?;
    let value = whole
        .checked_mul(factor)
        .and_then(|whole| whole.checked_add(parts / scale))
        .filter(|value| *value <= COUNT_MAX && parts % scale == 0);
    value.ok_or_else(refused)
}

/// Reads a count that fits 16 bits and is not 0: next hops, segments, repetitions.
///
/// # Errors
/// As [`count`], and when it is 0 or above 65,535.
pub fn small_count(text: &str) -> Result<u16, QuantityError> {
    let wanted = "a count from 1 to 65535";
    let refused = || QuantityError {
        text: text.to_owned(),
        wanted,
    };
    match u16::try_from(count(text)?) {
        Ok(0) | Err(_) => Err(refused()),
        Ok(value) => Ok(value),
    }
}

/// Reads a duration: a number with ms, s or m; a bare number is seconds.
///
/// # Errors
/// When the text is no such duration, is 0, or is longer than a day.
pub fn duration(text: &str) -> Result<Duration, QuantityError> {
    let refused = || QuantityError {
        text: text.to_owned(),
        wanted: "a duration: type a number with ms, s or m, such as 500ms, 10s or 2m",
    };
    let text_trimmed = text.trim();
    let (digits, seconds) = if let Some(digits) = text_trimmed.strip_suffix("ms") {
        (digits, 0.001)
    } else if let Some(digits) = text_trimmed.strip_suffix('s') {
        (digits, 1.0)
    } else if let Some(digits) = text_trimmed.strip_suffix('m') {
        (digits, 60.0)
    } else {
        (text_trimmed, 1.0)
    };
    if !digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(refused());
    }
    let value: f64 = digits.parse().map_err(|_| refused())?;
    Duration::try_from_secs_f64(value * seconds)
        .ok()
        .filter(|length| !length.is_zero() && *length <= DURATION_MAX)
        .ok_or_else(refused)
}

/// Reads a share: a percentage such as 2%, or a number from 0 to 1.
///
/// # Errors
/// When the text is neither, or is outside of 0 to 1.
pub fn share(text: &str) -> Result<f64, QuantityError> {
    let (digits, whole) = match text.trim().strip_suffix('%') {
        Some(digits) => (digits.trim(), 100.0),
        None => (text.trim(), 1.0),
    };
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let value = digits.parse::<f64>().ok().filter(|_| plain);
    let value = value.map(|value| value / whole);
    value
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| QuantityError {
            text: text.to_owned(),
            wanted: "a share: type a percentage such as 0.1%, or a number from 0 to 1",
        })
}

/// An offered rate: as fast as the windows allow, or so many SIRs a second (open loop).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "RateText", try_from = "RateText")]
pub enum Rate {
    /// As fast as the windows allow.
    #[default]
    Max,
    /// So many SIRs a second, due at fixed times whatever the answers do.
    PerSecond(u64),
}

/// A rate in a file: the word or the number.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum RateText {
    Number(u64),
    Word(String),
}

impl From<Rate> for RateText {
    fn from(rate: Rate) -> Self {
        match rate {
            Rate::Max => RateText::Word("max".to_owned()),
            Rate::PerSecond(value) => RateText::Number(value),
        }
    }
}

impl TryFrom<RateText> for Rate {
    type Error = QuantityError;

    fn try_from(text: RateText) -> Result<Self, Self::Error> {
        match text {
            RateText::Number(value) => value.to_string().parse(),
            RateText::Word(word) => word.parse(),
        }
    }
}

impl FromStr for Rate {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case("max") {
            return Ok(Rate::Max);
        }
        let wanted = "a rate: type SIRs a second, such as 500k or 1M, or the word max";
        match count(text) {
            Ok(value) if value > 0 => Ok(Rate::PerSecond(value)),
            _ => Err(QuantityError {
                text: text.to_owned(),
                wanted,
            }),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::Max => f.write_str("max"),
            Rate::PerSecond(value) => f.write_str(&grouped(*value)),
        }
    }
}

/// The number with a comma between groups of three digits: `2,500,000`.
#[must_use]
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate for people: three significant digits and a factor: `2.34 M`, `567 k`, `12`.
#[must_use]
pub fn scaled(value: f64) -> String {
    let (value, factor) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, " G"),
        v if v >= 1e6 => (value / 1e6, " M"),
        v if v >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    match value.abs() {
        v if v >= 100.0 || v == 0.0 => format!("{value:.0}{factor}"),
        v if v >= 10.0 => format!("{value:.1}{factor}"),
        _ => format!("{value:.2}{factor}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_people_type_them() {
        for (text, value) in [
            ("1M", 1_000_000),
            ("250k", 250_000),
            ("2.5M", 2_500_000),
            ("1_000_000", 1_000_000),
            ("0", 0),
            (" 16 ", 16),
            ("0.001k", 1),
            ("9.000M", 9_000_000),
        ] {
            assert_eq!(count(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_count_is_refused_with_the_remedy() {
        for text in [
            "",
            "M",
            "-1",
            "1.5",
            "1e6",
            "1.0005k",
            ".5M",
            "5.M",
            "99999999999G",
            "1MM",
        ] {
            let error = count(text).expect_err(text).to_string();
            assert!(error.contains("250k"), "{error}");
        }
        assert!(small_count("0").is_err() && small_count("65536").is_err());
        assert_eq!(small_count("1024"), Ok(1024));
    }

    #[test]
    fn durations_have_units_and_bounds() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for text in ["", "0", "s", "-1s", "2h", "1e3s", "100000s", "inf", "nan"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_is_a_percentage_or_a_number_up_to_one() {
        assert_eq!(share("2%"), Ok(0.02));
        assert_eq!(share("0"), Ok(0.0));
        assert_eq!(share(" 0.5 "), Ok(0.5));
        for text in ["", "%", "101%", "1.1", "-1%", "1e-3", "nan"] {
            let error = share(text).expect_err(text).to_string();
            assert!(error.contains("0.1%"), "{error}");
        }
    }

    #[test]
    fn a_rate_is_a_number_or_max_in_text_and_in_json() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("500k".parse(), Ok(Rate::PerSecond(500_000)));
        assert!("0".parse::<Rate>().is_err() && "fast".parse::<Rate>().is_err());
        for rate in [Rate::Max, Rate::PerSecond(7)] {
            let json = serde_json::to_string(&rate).unwrap();
            assert_eq!(serde_json::from_str::<Rate>(&json).unwrap(), rate);
        }
        assert!(serde_json::from_str::<Rate>("0").is_err());
    }

    #[test]
    fn numbers_are_shown_with_groups_and_factors() {
        assert_eq!(grouped(2_500_000), "2,500,000");
        assert_eq!(
            (grouped(999), grouped(1000)),
            ("999".to_owned(), "1,000".to_owned())
        );
        assert_eq!(scaled(2_345_678.0), "2.35 M");
        assert_eq!(
            (scaled(567_000.0), scaled(12.34)),
            ("567 k".to_owned(), "12.3".to_owned())
        );
        assert_eq!(
            (scaled(9_999.0), scaled(0.0)),
            ("9999".to_owned(), "0".to_owned())
        );
    }
}
