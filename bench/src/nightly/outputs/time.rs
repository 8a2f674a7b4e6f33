//! Dates in UTC from seconds since 1970, as ISO 8601: all that the outputs need of a calendar.

/// Seconds of a day; leap seconds are not counted in Unix time.
const DAY_S: u64 = 86_400;

/// `2026-11-24T02:31:00+00:00`.
#[must_use]
pub fn iso(unix_s: u64) -> String {
    let (year, month, day) = date(unix_s / DAY_S);
    let second = unix_s % DAY_S;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00")
}

/// Year, month and day of a day counted from 1970-01-01, in years that begin with March, so that the
/// leap day is the last (Richards, in the Explanatory Supplement to the Astronomical Almanac, 15.11).
fn date(day: u64) -> (u64, u64, u64) {
    // 719,468 days lie between 0000-03-01 and 1970-01-01; 146,097 days are 400 years.
    let day = day + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..10 => (year, month + 3),
        _ => (year + 1, month - 9),
    };
    (era * 400 + year, month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    // GNU date: `date -u -d @N -Iseconds`.
    #[test]
    fn dates_are_those_of_the_calendar() {
        for (unix_s, wanted) in [
            (0, "1970-01-01T00:00:00+00:00"),
            (951_782_399, "2000-02-28T23:59:59+00:00"),
            (951_782_400, "2000-02-29T00:00:00+00:00"),
            (1_709_251_199, "2024-02-29T23:59:59+00:00"),
            (1_795_487_054, "2026-11-24T02:24:14+00:00"),
            (4_107_542_400, "2100-03-01T00:00:00+00:00"),
        ] {
            assert_eq!(iso(unix_s), wanted);
        }
    }
}
