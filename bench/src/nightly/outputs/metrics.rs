//! OpenMetrics text, for a textfile collector: tonight's figures, the alarms, the exit code. No
//! timestamps: a collector takes the file's. Called by `outputs`.

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::nightly::night::Night;

/// A gauge of floating point numbers.
type Number = Gauge<f64, AtomicU64>;

/// What a figure is of.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Of {
    scenario: String,
    figure: String,
}

/// The text.
///
/// # Errors
/// None in practice: memory is written to.
pub fn write(night: &Night) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("sirocco_nightly");
    let (times, counters) = (
        Family::<Of, Number>::default(),
        Family::<Of, Number>::default(),
    );
    for line in night.lines.iter().filter(|line| line.counts()) {
        let of = |figure: &String| Of {
            scenario: line.scenario.clone(),
            figure: figure.clone(),
        };
        for (name, count) in &line.counters {
            counters.get_or_create(&of(name)).set(*count);
        }
        for name in line.times.keys() {
            if let Some(median) = line.time(name) {
                times.get_or_create(&of(name)).set(median);
            }
        }
    }
    let one = |value: f64| {
        let gauge = Number::default();
        gauge.set(value);
        gauge
    };
    registry.register(
        "time",
        "Median of the night, in the unit of the figure's name",
        times,
    );
    registry.register(
        "deterministic",
        "Count of the night, the same on every machine",
        counters,
    );
    let alarms = one(night.alarms().count() as f64);
    registry.register(
        "alarms",
        "Changes for the worse that tonight confirms",
        alarms,
    );
    let code = one(f64::from(night.exit_code()));
    registry.register(
        "exit_code",
        "0 pass, 1 regression, 2 invalid, 3 no baseline",
        code,
    );
    let begun = one(night.unix_s as f64);
    registry.register(
        "start_time_seconds",
        "When the night began, Unix time",
        begun,
    );
    let run = Info::new(vec![
        ("commit".to_owned(), night.commit.clone()),
        ("suite".to_owned(), night.suite.clone()),
        ("host_key".to_owned(), night.host_key.clone()),
    ]);
    registry.register("run", "What was measured where", run);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}
