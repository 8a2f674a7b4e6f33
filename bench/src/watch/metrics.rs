//! A reading as OpenMetrics text. Names and units are the interface of docs/watch.md; the text is made
//! when it is asked for, from counts that the workers published anyway.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use serde_json::Value;
use sirocco_dispatch::live::LATENCY_BOUNDS_US;
use sirocco_dispatch::stopwatch::Stage;

use super::reading::Reading;

/// Counts of the engine: place in its progress, name, help.
const ENGINE: [(&str, &str, &str); 8] = [
    (
        "sirs_sent",
        "engine_sirs_sent",
        "First transmissions of SIRs",
    ),
    (
        "sirs_answered",
        "engine_sirs_answered",
        "SIRs closed by a final response",
    ),
    (
        "retransmissions",
        "engine_retransmissions",
        "Transmissions by Timer E",
    ),
    (
        "delivered",
        "engine_units_delivered",
        "Units whose device took the SIR",
    ),
    (
        "stored",
        "engine_units_stored",
        "Units stored elsewhere (202)",
    ),
    (
        "failed",
        "engine_units_failed",
        "Units failed, whatever the cause",
    ),
    (
        "expired",
        "engine_units_expired",
        "Units whose deadline passed",
    ),
    (
        "cancelled",
        "engine_units_cancelled",
        "Units ended by a drain or stop",
    ),
];

/// States of the engine.
const ENGINE_NOW: [(&str, &str, &str); 2] = [
    (
        "in_flight",
        "engine_units_in_flight",
        "Units accepted and not ended",
    ),
    (
        "behind",
        "engine_identities_behind",
        "Identities due that could not be handed out",
    ),
];

/// Counts of the load generator.
const LOADGEN: [(&str, &str, &str); 8] = [
    (
        "sirs_received",
        "loadgen_sirs_received",
        "Distinct SIRs received",
    ),
    (
        "retransmissions_received",
        "loadgen_retransmissions_received",
        "SIRs received again",
    ),
    (
        "datagrams_received",
        "loadgen_datagrams_received",
        "Datagrams of any kind",
    ),
    (
        "responses_sent",
        "loadgen_responses_sent",
        "Answers handed to the kernel",
    ),
    (
        "malformed",
        "loadgen_datagrams_malformed",
        "Datagrams that are no SIP",
    ),
    (
        "dropped",
        "loadgen_datagrams_dropped",
        "Datagrams left without an answer",
    ),
    (
        "sessions_begun",
        "loadgen_sessions_begun",
        "Sessions that devices began to build",
    ),
    (
        "sessions_established",
        "loadgen_sessions_established",
        "Sessions built",
    ),
];

/// States of the load generator.
const LOADGEN_NOW: [(&str, &str, &str); 2] = [
    (
        "sessions_open",
        "loadgen_sessions_open",
        "Calls that are not over",
    ),
    (
        "late_waiting",
        "loadgen_answers_waiting",
        "Late answers that wait for their time",
    ),
];

/// The text, with its end.
///
/// # Errors
/// None in practice: memory is written to.
pub fn text(reading: &Reading) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("sirocco");
    registry.register_collector(Box::new(Collected(reading.clone())));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Collected(Reading);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if self.0.engine.is_object() {
            counts(&mut encoder, &self.0.engine, &ENGINE)?;
            states(&mut encoder, &self.0.engine, &ENGINE_NOW)?;
            self.times(&mut encoder)?;
            self.latency(&mut encoder)?;
        }
        if self.0.loadgen.is_object() {
            counts(&mut encoder, &self.0.loadgen, &LOADGEN)?;
            states(&mut encoder, &self.0.loadgen, &LOADGEN_NOW)?;
            let cpu = seconds(self.0.loadgen("cpu_ns"));
            counter(&mut encoder, "loadgen_cpu", "CPU time of the worker", cpu)?;
        }
        Ok(())
    }
}

impl Collected {
    fn times(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let cpu = seconds(self.0.engine("cpu_ns"));
        counter(encoder, "engine_cpu", "CPU time of the worker", cpu)?;
        let help = "Wall time of the worker by stage (docs/explain.md)";
        let kind = MetricType::Counter;
        let mut family =
            encoder.encode_descriptor("engine_stage", help, Some(&Unit::Seconds), kind)?;
        for stage in Stage::ALL {
            let labels = [("stage", stage.name())];
            let spent = ConstCounter::new(seconds(self.0.stage_ns(stage)));
            spent.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// Cumulative counts by their bounds: what a histogram is, without a sum, which nobody keeps.
    fn latency(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help =
            "Answers since the last mark by the time from their due time, at most le seconds";
        let mut family =
            encoder.encode_descriptor("engine_answers_within", help, None, MetricType::Gauge)?;
        let counts = self.0.latency();
        let mut seen = 0;
        let bounds = LATENCY_BOUNDS_US
            .iter()
            .map(|us| format!("{}", *us as f64 / 1e6));
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(counts) {
            seen += count;
            let labels = [("le", bound.as_str())];
            ConstGauge::new(i64::try_from(seen).unwrap_or(i64::MAX))
                .encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    let kind = MetricType::Counter;
    let metric = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), kind)?;
    ConstCounter::new(value).encode(metric)
}

fn counts(
    encoder: &mut DescriptorEncoder<'_>,
    side: &Value,
    of: &[(&str, &str, &str)],
) -> fmt::Result {
    for (place, name, help) in of {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(side[place].as_u64().unwrap_or(0)).encode(metric)?;
    }
    Ok(())
}

fn states(
    encoder: &mut DescriptorEncoder<'_>,
    side: &Value,
    of: &[(&str, &str, &str)],
) -> fmt::Result {
    for (place, name, help) in of {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(side[place].as_i64().unwrap_or(0)).encode(metric)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_sides_are_written_with_their_names_and_units() {
        let reading = Reading {
            engine: json!({
                "sirs_sent": 9, "in_flight": 3, "cpu_ns": 1_500_000_000_u64,
                "stage_ns": { "look up": 2_000_000_000_u64 }, "latency": [5, 1],
            }),
            loadgen: json!({ "sirs_received": 9, "cpu_ns": 0 }),
        };
        let text = text(&reading).unwrap();
        for line in [
            "sirocco_engine_sirs_sent_total 9\n",
            "sirocco_engine_units_in_flight 3\n",
            "sirocco_engine_cpu_seconds_total 1.5\n",
            "sirocco_engine_stage_seconds_total{stage=\"look up\"} 2.0\n",
            "sirocco_engine_answers_within{le=\"0.00001\"} 5\n",
            "sirocco_engine_answers_within{le=\"0.00002\"} 6\n",
            "sirocco_loadgen_sirs_received_total 9\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_side_that_is_not_there_is_left_out() {
        let text = text(&Reading::default()).unwrap();
        assert_eq!(text, "# EOF\n");
    }
}
