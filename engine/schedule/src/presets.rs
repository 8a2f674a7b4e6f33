//! Storms by name: shapes of things that happen to carriers, each a formula of a few figures.
//!
//! A preset writes segments and nothing else, so a storm is a shape like any other: it can be printed,
//! changed, recorded. What the formulas leave out is in docs/load.md. Called by `grammar`.

use crate::shape::{Kind, Segment};

/// What a figure of a preset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A count, such as 1M.
    Count,
    /// Entries a second, such as 500k.
    Rate,
    /// A time, such as 30s.
    Time,
}

/// A figure of a preset.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub unit: Unit,
    /// What it is where it is left out; times in seconds.
    pub default: f64,
}

/// A storm.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// Its figures.
    pub figures: &'static [Figure],
    /// Its segments, by the figures in their order.
    pub(crate) segments: fn(&[f64]) -> Vec<Segment>,
}

const fn count(name: &'static str, default: f64) -> Figure {
    Figure {
        name,
        unit: Unit::Count,
        default,
    }
}

const fn rate(name: &'static str, default: f64) -> Figure {
    Figure {
        name,
        unit: Unit::Rate,
        default,
    }
}

const fn time(name: &'static str, default: f64) -> Figure {
    Figure {
        name,
        unit: Unit::Time,
        default,
    }
}

/// All storms.
pub const PRESETS: [Preset; 4] = [
    Preset {
        name: "registration",
        figures: &[
            count("devices", 1e6),
            time("refresh", 1800.0),
            time("within", 10.0),
            time("before", 5.0),
            time("after", 15.0),
        ],
        segments: registration,
    },
    Preset {
        name: "avalanche",
        figures: &[
            count("devices", 1e6),
            time("refresh", 1800.0),
            time("outage", 2.0),
            time("boot", 10.0),
            time("restart-timer", 0.0),
            time("before", 5.0),
            time("after", 15.0),
        ],
        segments: avalanche,
    },
    Preset {
        name: "re-push",
        figures: &[
            rate("base", 100_000.0),
            time("outage", 5.0),
            rate("limit", 0.0),
            time("before", 5.0),
            time("after", 15.0),
        ],
        segments: re_push,
    },
    Preset {
        name: "regional",
        figures: &[
            rate("base", 100_000.0),
            time("away", 5.0),
            time("before", 5.0),
            time("after", 15.0),
        ],
        segments: regional,
    },
];

fn ns(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

fn hold(kind: Kind, rate: f64, seconds: f64) -> Segment {
    Segment::line(kind, rate, rate, ns(seconds))
}

/// All devices lose their binding and register anew within some time, equally spread, beside the refreshes
/// that go on: devices / refresh before and after, devices / within more meanwhile.
fn registration(figures: &[f64]) -> Vec<Segment> {
    let [devices, refresh, within, before, after] = figures else {
        return Vec::new();
    };
    let base = devices / refresh;
    vec![
        hold(Kind::Hold, base, *before),
        hold(Kind::Spike, base + devices / within, *within),
        hold(Kind::Hold, base, *after),
    ]
}

/// Power fails and comes back. Devices boot in a time that is spread as a triangle: a ramp to
/// 2 devices / boot and back. With a Restart-Timer each waits in addition for a time drawn equally from 0
/// to the timer, so the triangle flattens to devices / timer, with a ramp of the boot time at both ends.
fn avalanche(figures: &[f64]) -> Vec<Segment> {
    let [devices, refresh, outage, boot, timer, before, after] = figures else {
        return Vec::new();
    };
    let base = devices / refresh;
    let line = |from: f64, to: f64, seconds: f64| Segment::line(Kind::Ramp, from, to, ns(seconds));
    let mut segments = vec![
        hold(Kind::Hold, base, *before),
        hold(Kind::Pause, 0.0, *outage),
    ];
    if timer > boot {
        let peak = devices / timer;
        segments.push(line(0.0, peak, *boot));
        segments.push(hold(Kind::Spike, peak, timer - boot));
        segments.push(line(peak, 0.0, *boot));
    } else {
        let peak = 2.0 * devices / boot;
        segments.push(line(0.0, peak, boot / 2.0));
        segments.push(line(peak, 0.0, boot / 2.0));
    }
    segments.push(hold(Kind::Hold, base, *after));
    segments
}

/// Nothing can be pushed for some time; then what waited, base x outage, is due: all at once, or at a
/// limit, beside what goes on.
fn re_push(figures: &[f64]) -> Vec<Segment> {
    let [base, outage, limit, before, after] = figures else {
        return Vec::new();
    };
    let waiting = base * outage;
    let released = if *limit > 0.0 {
        hold(Kind::Spike, base + limit, waiting / limit)
    } else {
        Segment::burst(waiting)
    };
    vec![
        hold(Kind::Hold, *base, *before),
        hold(Kind::Pause, 0.0, *outage),
        released,
        hold(Kind::Hold, *base, *after),
    ]
}

/// The rate goes on while a share of next hops is away; which ones and when, the mix says.
fn regional(figures: &[f64]) -> Vec<Segment> {
    let [base, away, before, after] = figures else {
        return Vec::new();
    };
    vec![
        hold(Kind::Hold, *base, *before),
        hold(Kind::Hold, *base, *away),
        hold(Kind::Hold, *base, *after),
    ]
}

#[cfg(test)]
mod tests {
    use crate::Shape;

    fn entries(text: &str) -> f64 {
        text.parse::<Shape>().expect(text).entries()
    }

    #[test]
    fn each_storm_asks_for_what_its_formula_says() {
        // 1 M / 1800 s for 30 s, and everybody once.
        let registration = entries("registration()");
        assert!((registration - (1e6 + 1e6 / 1800.0 * 30.0)).abs() < 1e-3);
        for timer in ["0s", "60s"] {
            let text = format!("avalanche(restart-timer={timer}, before=0s, after=0s)");
            assert!((entries(&text) - 1e6).abs() < 1e-3, "{text}");
        }
        for limit in ["0", "50k"] {
            let text = format!("re-push(base=100k, outage=5s, limit={limit}, before=0s, after=0s)");
            let beside = if limit == "0" { 0.0 } else { 1e6 };
            assert!((entries(&text) - 5e5 - beside).abs() < 1e-3, "{text}");
        }
        assert_eq!(entries("regional(base=1k)"), 25_000.0);
    }
}
