//! The table at the end of a bench: each figure with its unit, its spread, how it was measured and what
//! it is held against. Text only; it takes everything from the record, so that table and record cannot
//! differ. Also the table of `sirocco ceiling`.

mod generators;
mod limit;
mod load;
mod sessions;
mod stages;

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle, presets};

use crate::ceiling::{Ceiling, Probe};
use crate::quantity::{Rate, grouped, scaled};
use crate::record::Record;
use crate::scenario::Place;
use crate::statistics::Spread;

/// Widest table in columns when stdout is no terminal.
const WIDTH: u16 = 118;

/// Lines around head and table alone: rows stay close together.
const STYLE: TableStyle = presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());

/// What a figure is held against: at least (or at most), and the aim.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Target {
    bound: f64,
    aim: f64,
    higher_is_better: bool,
    shown: [&'static str; 2],
}

impl Target {
    const fn least(bound: f64, aim: f64, shown: [&'static str; 2]) -> Self {
        Self {
            bound,
            aim,
            higher_is_better: true,
            shown,
        }
    }

    const fn most(bound: f64, aim: f64, shown: [&'static str; 2]) -> Self {
        Self {
            bound,
            aim,
            higher_is_better: false,
            shown,
        }
    }

    fn text(&self, value: f64) -> String {
        let reaches = |limit: f64| match self.higher_is_better {
            true => value >= limit,
            false => value <= limit,
        };
        let word = match (reaches(self.aim), reaches(self.bound)) {
            (true, _) => "aim met",
            (false, true) => "met",
            (false, false) => "missed",
        };
        let sign = if self.higher_is_better { ">=" } else { "<=" };
        format!("{sign} {}, aim {}: {word}", self.shown[0], self.shown[1])
    }
}

/// Targets of one scenario; a scenario of the user's own has none.
#[derive(Clone, Copy, Debug, Default)]
struct Targets {
    rate: Option<Target>,
    cpu: Option<Target>,
    share: Option<Target>,
    latency_p99: Option<Target>,
    syscalls: Option<Target>,
    allocations: Option<Target>,
}

impl Targets {
    fn of(record: &Record) -> Self {
        let many_hops = record.config.next_hops >= 1024;
        let steady = Self {
            allocations: Some(Target::most(0.0, 0.0, ["0", "0"])),
            ..Self::default()
        };
        match record.scenario.as_str() {
            "dispatch" if many_hops => Self {
                rate: Some(Target::least(0.7e6, 1.2e6, ["0.7 M", "1.2 M"])),
                ..steady
            },
            "dispatch" => Self {
                rate: Some(Target::least(1.5e6, 3e6, ["1.5 M", "3 M"])),
                cpu: Some(Target::most(500.0, 300.0, ["500", "300"])),
                share: Some(Target::least(0.5, 0.8, ["50 %", "80 %"])),
                latency_p99: Some(Target::most(5000.0, 1000.0, ["5 ms", "1 ms"])),
                syscalls: Some(Target::most(1.0 / 32.0, 1.0 / 64.0, ["1/32", "1/64"])),
                ..steady
            },
            "direct" => Self {
                share: Some(Target::least(0.8, 0.95, ["80 %", "95 %"])),
                ..steady
            },
            "null" => Self {
                rate: Some(Target::least(5e6, 8e6, ["5 M", "8 M"])),
                ..steady
            },
            _ => steady,
        }
    }
}

/// One row before it is laid out.
struct Row {
    figure: &'static str,
    value: String,
    method: String,
    target: String,
}

/// The whole closing text of a bench.
#[must_use]
pub fn bench(record: &Record) -> String {
    if let Some(limit) = &record.limit {
        return format!(
            "{}\n{}{}{}",
            headline(record),
            limit::text(limit),
            generators::text(record),
            verdict(record)
        );
    }
    let mut table = empty(&["figure", "value", "how it was measured", "held against"]);
    for row in rows(record) {
        let cells = vec![
            Cell::new(row.figure),
            Cell::new(row.value).set_alignment(CellAlignment::Right),
            Cell::new(row.method),
            Cell::new(row.target),
        ];
        table.add_row(cells);
    }
    let modes = sessions::addressing(&record.addressing);
    let generators = generators::text(record);
    let mut text = format!("{}\n{modes}{table}\n{generators}", headline(record));
    let shaped = record.runs.iter().rev().find_map(|run| run.load.as_ref());
    text.push_str(&shaped.map(load::text).unwrap_or_default());
    for notice in &record.notices {
        text.push_str(&format!("notice: {notice}\n"));
    }
    if let Some(verification) = &record.verify {
        text.push_str(&format!("SIR by SIR: {}\n", verification.summary()));
        for example in &verification.examples {
            let uri = if example.uri.is_empty() {
                &example.uri_hash
            } else {
                &example.uri
            };
            text.push_str(&format!(
                "  {:?}: {uri}: {}\n",
                example.fault, example.detail
            ));
        }
    }
    text.push_str(&verdict(record));
    text
}

fn headline(record: &Record) -> String {
    let config = &record.config;
    let headline = match config.place {
        Place::Nowhere => "engine headline (no sockets)".to_owned(),
        Place::Edges => format!(
            "wire headline, {} next hops",
            grouped(config.next_hops.into())
        ),
        Place::Direct => "wire headline, an address a device, one datagram each".to_owned(),
    };
    let repeated = match (&record.limit, &config.runs.load) {
        (Some(_), _) => String::new(),
        (None, Some(_)) => format!("{} ", plural(config.runs.repetitions, "repetition")),
        (None, None) => format!(
            "{} of {:.1} s ",
            plural(config.runs.repetitions, "repetition"),
            config.runs.measured_ms as f64 / 1000.0
        ),
    };
    format!(
        "scenario {} - {headline}\n{} identities, {} devices, mix {}, seed {}, {repeated}on cores {} and {}\n\
         {}, {}, commit {}",
        record.scenario,
        grouped(record.identities),
        grouped(record.devices),
        config.mix,
        record.seed,
        record.cores[0],
        record.cores[1],
        record.host.cpu_model,
        record.host.kernel,
        if record.commit.is_empty() {
            "unknown"
        } else {
            &record.commit
        },
    )
}

fn plural(count: u16, word: &str) -> String {
    if count == 1 {
        format!("1 {word}")
    } else {
        format!("{count} {word}s")
    }
}

fn range(spread: &Spread) -> String {
    let count = spread.samples.len();
    format!(
        "median of {count}, {} to {}",
        scaled(spread.min),
        scaled(spread.max)
    )
}

fn held(target: Option<Target>, value: f64) -> String {
    target.map(|target| target.text(value)).unwrap_or_default()
}

fn rows(record: &Record) -> Vec<Row> {
    let (engine, targets) = (&record.engine, Targets::of(record));
    let null = record.config.place == Place::Nowhere;
    let mut rows = vec![
        Row {
            figure: if null {
                "SIRs rendered /s"
            } else {
                "SIRs answered /s"
            },
            value: scaled(record.sirs_per_s),
            method: format!(
                "offered {}; final responses per wall second; {}",
                offered(record),
                range(&record.sirs_per_s_spread)
            ),
            target: held(targets.rate, record.sirs_per_s),
        },
        Row {
            figure: "engine CPU ns/SIR",
            value: format!("{:.0}", engine.cpu_ns_per_sir),
            method: format!(
                "thread CPU clock{}; {}",
                idling(record),
                range(&engine.cpu_ns_per_sir_spread)
            ),
            target: held(targets.cpu, engine.cpu_ns_per_sir),
        },
    ];
    rows.extend(ceiling_rows(record, targets));
    rows.extend(counter_rows(record, targets));
    rows.extend(stages::rows(record));
    rows.extend(latency_rows(record, targets));
    rows.push(ledger_row(record));
    rows.extend(stages::failures(record));
    rows.extend(sessions::rows(record));
    rows
}

/// What was offered, and that it was changed by hand.
fn offered(record: &Record) -> String {
    let runs = &record.config.runs;
    let rate = match &runs.load {
        Some(_) => "a shape".to_owned(),
        None => runs.rate.to_string(),
    };
    let changes: usize = (record.runs.iter())
        .map(|run| run.offered.steers.len())
        .sum();
    match changes {
        0 => rate,
        changes => format!("{rate}, changed {changes} times by hand"),
    }
}

/// A spinning worker burns its core at any rate below the greatest: the figure then is no price.
fn idling(record: &Record) -> &'static str {
    let spins = record
        .config
        .engine
        .get("idle")
        .and_then(|idle| idle.as_str())
        == Some("spin");
    let runs = &record.config.runs;
    match runs.rate {
        _ if spins && runs.load.is_some() => ", idle spinning included",
        Rate::PerSecond(_) if spins => ", idle spinning included",
        _ => "",
    }
}

fn ceiling_rows(record: &Record, targets: Targets) -> Vec<Row> {
    let (Some(ceiling), Some(share)) = (&record.ceiling, record.ceiling_share) else {
        return Vec::new();
    };
    let rate = |ns: Option<f64>| ns.map_or(0.0, |ns| 1e9 / ns);
    let (name, ns, shape) = match record.config.place {
        Place::Direct => (
            "raw datagrams /s",
            ceiling.datagram_ns_per_message,
            format!(
                "{} addresses, one datagram each",
                grouped(ceiling.addresses.into())
            ),
        ),
        _ => (
            "raw trains /s",
            ceiling.gso_gro_ns_per_message,
            format!(
                "trains of {}, {} next hops",
                ceiling.train, ceiling.next_hops
            ),
        ),
    };
    vec![
        Row {
            figure: name,
            value: scaled(rate(ns)),
            method: format!(
                "same run, no Sirocco code: {} B out, {} B back, {shape}",
                ceiling.request_bytes, ceiling.response_bytes
            ),
            target: String::new(),
        },
        Row {
            figure: "share of ceiling",
            value: format!("{:.1} %", share * 100.0),
            method: "answered SIRs/s over raw messages answered/s".to_owned(),
            target: held(targets.share, share),
        },
        Row {
            figure: "the same in CPU time",
            value: format!(
                "{:.1} %",
                record.ceiling_cpu_share.unwrap_or_default() * 100.0
            ),
            method: "raw CPU ns a message over engine CPU ns/SIR; steadier on busy machines"
                .to_owned(),
            target: String::new(),
        },
    ]
}

fn counter_rows(record: &Record, targets: Targets) -> Vec<Row> {
    let engine = &record.engine;
    let syscalls = match engine.syscalls_per_sir {
        per if per > 0.0 => format!("1/{:.0}", 1.0 / per),
        _ => "0".to_owned(),
    };
    vec![
        Row {
            figure: "syscalls /SIR",
            value: syscalls,
            method: format!(
                "counted by the engine; {:.1} SIRs a train, {:.0} B a SIR",
                engine.segments_per_train, engine.request_bytes
            ),
            target: held(targets.syscalls, engine.syscalls_per_sir),
        },
        Row {
            figure: "allocations /SIR",
            value: format!("{:.6}", engine.allocations_per_sir),
            method: "counting allocator on the worker's thread; worst repetition".to_owned(),
            target: held(targets.allocations, engine.allocations_per_sir),
        },
        Row {
            figure: "bytes written /SIR",
            value: format!("{:.0}", engine.bytes_written_per_sir),
            method: "bytes the engine put into send slabs".to_owned(),
            target: String::new(),
        },
    ]
}

/// Microseconds, or milliseconds from one on.
fn microseconds(value: f64) -> String {
    if value >= 1000.0 {
        format!("{:.2} ms", value / 1000.0)
    } else {
        format!("{value:.0} us")
    }
}

fn latency_rows(record: &Record, targets: Targets) -> Vec<Row> {
    let Some(latency) = &record.latency_us else {
        return Vec::new();
    };
    vec![Row {
        figure: "latency p50, p99, p99.9",
        value: format!(
            "{}, {}, {}",
            microseconds(latency.p50),
            microseconds(latency.p99),
            microseconds(latency.p999)
        ),
        method: format!(
            "open loop at {} SIRs/s on average, from the due time, unanswered ones included; max {}",
            scaled(latency.offered_per_s),
            microseconds(latency.max)
        ),
        target: targets
            .latency_p99
            .map(|t| format!("p99 {}", t.text(latency.p99)))
            .unwrap_or_default(),
    }]
}

fn ledger_row(record: &Record) -> Row {
    let ledger = &record.ledger;
    Row {
        figure: "ledger residue",
        value: ledger.residue.to_string(),
        method: format!(
            "{} accepted = {} delivered + {} stored + {} failed + {} expired + {} cancelled + {} in flight",
            grouped(ledger.accepted),
            grouped(ledger.delivered),
            grouped(ledger.stored),
            grouped(ledger.failed),
            grouped(ledger.expired),
            grouped(ledger.cancelled),
            grouped(ledger.in_flight)
        ),
        target: format!("0: {}", if ledger.residue == 0 { "met" } else { "missed" }),
    }
}

fn verdict(record: &Record) -> String {
    let verdict = &record.verdict;
    let mut text = match (verdict.passed, verdict.valid) {
        (false, _) => "verdict: FAILED\n".to_owned(),
        (true, false) => "verdict: INVALID, the figures may not be used\n".to_owned(),
        (true, true) => "verdict: valid, all checks passed\n".to_owned(),
    };
    for reason in &verdict.reasons {
        text.push_str(&format!("  - {reason}\n"));
    }
    text
}

/// A table with this head, in the look of all tables here.
#[must_use]
pub fn empty(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(WIDTH);
    table.set_header(header.to_vec());
    table
}

/// The table of `sirocco ceiling`.
#[must_use]
pub fn ceiling(ceiling: &Ceiling) -> String {
    let mut table = empty(&[
        "probe",
        "messages/s",
        "wall ns",
        "CPU ns",
        "spread",
        "lost",
        "fastest variant",
    ]);
    let rows: [(&str, &Option<Probe>); 4] = [
        ("trains, answered", &ceiling.gso_gro),
        ("trains, one way", &ceiling.gso_gro_one_way),
        ("datagrams, answered", &ceiling.datagram),
        ("TCP, answered", &ceiling.tcp),
    ];
    let cycles = ceiling.cycle.iter().flat_map(|cycle| {
        [
            ("cycles, trains", &cycle.trains),
            ("cycles, datagrams", &cycle.datagrams),
        ]
    });
    for (name, probe) in rows.into_iter().chain(cycles) {
        let Some(probe) = probe else { continue };
        table.add_row(vec![
            name.to_owned(),
            scaled(probe.per_second.median),
            format!("{:.0}", probe.ns_per_message),
            format!("{:.0}", probe.cpu_ns_per_message.median),
            format!("{:.1} %", probe.per_second.relative() * 100.0),
            probe.lost.to_string(),
            probe.variant.clone(),
        ]);
    }
    format!(
        "{} B out, {} B back; trains of {} to {} next hops; {} device addresses; one core each side; \
         nothing is built or parsed\n{table}\n",
        ceiling.request_bytes,
        ceiling.response_bytes,
        ceiling.train,
        ceiling.next_hops,
        ceiling.addresses
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sound;

    #[test]
    fn targets_say_which_way_they_point() {
        let rate = Target::least(1.5e6, 3e6, ["1.5 M", "3 M"]);
        assert!(rate.text(3e6).ends_with("aim met"));
        assert!(rate.text(2e6).ends_with(": met"));
        assert!(rate.text(1e6).ends_with("missed"));
        let cpu = Target::most(500.0, 300.0, ["500", "300"]);
        assert!(cpu.text(299.0).ends_with("aim met") && cpu.text(501.0).ends_with("missed"));
    }

    #[test]
    fn the_table_shows_what_the_record_holds() {
        let mut record = sound();
        record.ceiling = Some(Ceiling {
            gso_gro_ns_per_message: Some(100.0),
            train: 60,
            next_hops: 16,
            ..Ceiling::default()
        });
        record.ceiling_share = Some(0.2);
        record.ledger.residue = 3;
        let text = bench(&record);
        for shown in [
            "2.00 M",
            "20.0 %",
            "10.0 M",
            "trains of 60",
            "p99",
            "800 us",
            "missed",
        ] {
            assert!(text.contains(shown), "{shown} in\n{text}");
        }
        assert!(text.ends_with("verdict: valid, all checks passed\n"));
    }

    #[test]
    fn reasons_follow_the_verdict() {
        let mut record = sound();
        record.verdict.passed = false;
        record
            .verdict
            .reasons
            .push("the ledger does not balance".to_owned());
        assert!(bench(&record).contains("FAILED\n  - the ledger does not balance\n"));
    }
}
