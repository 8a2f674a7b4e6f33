//! The rows of a bench's table that speak of sessions, and the table that sets addressing modes side by
//! side. Everything comes from the record.

use std::collections::BTreeMap;

use comfy_table::{Cell, CellAlignment};

use super::{Row, Target, empty, held, microseconds, range};
use crate::quantity::{grouped, scaled};
use crate::record::{ModeFigures, Record, SessionFigures};
use crate::scenario::Place;

/// Targets of the built-in scenarios of sessions.
const CYCLES: Target = Target::least(1e5, 2.5e5, ["100 k", "250 k"]);
const DIRECT_SHARE: Target = Target::least(0.75, 0.9, ["75 %", "90 %"]);
const HELD: Target = Target::least(1e6, 4e6, ["1 M", "4 M"]);
const HELD_BYTES: Target = Target::most(1024.0, 256.0, ["1024", "256"]);
const FLOODED: Target = Target::least(0.8, 0.95, ["80 %", "95 %"]);
const SIPP_TIMES: Target = Target::least(8.0, 25.0, ["8", "25"]);

/// All rows of sessions; none in a record without any.
pub fn rows(record: &Record) -> Vec<Row> {
    let mut rows = Vec::new();
    if let Some(sessions) = &record.sessions {
        // Modes and holds have no steady rate.
        if record.addressing.is_empty() && record.hold.is_none() && record.outcome.is_none() {
            rows.extend(cycle_rows(record, sessions));
        }
        rows.extend(book_rows(sessions));
    }
    rows.extend(hold_rows(record));
    rows.extend(flood_rows(record));
    rows.extend(outcome_rows(record));
    rows.extend(sipp_rows(record));
    rows
}

fn cycle_rows(record: &Record, sessions: &SessionFigures) -> Vec<Row> {
    let target = (record.scenario == "sessions").then_some(CYCLES);
    let mut rows = vec![
        Row {
            figure: "whole cycles /s",
            value: scaled(sessions.cycles_per_s),
            method: format!(
                "sessions ended by BYE with their content, per wall second; {}",
                range(&sessions.cycles_per_s_spread)
            ),
            target: held(target, sessions.cycles_per_s),
        },
        Row {
            figure: "engine CPU us/cycle",
            value: format!("{:.2}", sessions.engine_cpu_ns_per_cycle.median / 1000.0),
            method: format!(
                "thread CPU clock; {}",
                range(&sessions.engine_cpu_ns_per_cycle)
            ),
            target: String::new(),
        },
        Row {
            figure: "loadgen CPU us/cycle",
            value: format!("{:.2}", sessions.loadgen_cpu_ns_per_cycle.median / 1000.0),
            method: format!(
                "whole process, schedstat; {}",
                range(&sessions.loadgen_cpu_ns_per_cycle)
            ),
            target: String::new(),
        },
        Row {
            figure: "messages /cycle",
            value: format!("{:.2}", sessions.messages_per_cycle),
            method: format!(
                "datagrams both ways; {:.0} octets",
                sessions.octets_per_cycle
            ),
            target: String::new(),
        },
    ];
    rows.extend(share_rows(record, sessions));
    if let Some(setup) = &sessions.setup_us {
        rows.push(Row {
            figure: "setup p50, p99, p99.9",
            value: [setup.p50, setup.p99, setup.p999]
                .map(microseconds)
                .join(", "),
            method: format!(
                "open loop at {} SIRs/s, due time of the SIR to its session; max {}",
                scaled(setup.offered_per_s),
                microseconds(setup.max)
            ),
            target: String::new(),
        });
    }
    rows
}

fn share_rows(record: &Record, sessions: &SessionFigures) -> Vec<Row> {
    let cycle = record
        .ceiling
        .as_ref()
        .and_then(|ceiling| ceiling.cycle.as_ref());
    let (Some(cycle), Some(share)) = (cycle, sessions.ceiling_share) else {
        return Vec::new();
    };
    let (probe, shape, target) = match record.config.place {
        Place::Direct => (
            &cycle.datagrams,
            "one datagram each".to_owned(),
            (record.scenario == "sessions-direct").then_some(DIRECT_SHARE),
        ),
        _ => (
            &cycle.trains,
            format!("trains of {}, {} next hops", cycle.train, cycle.next_hops),
            None,
        ),
    };
    let raw = probe.as_ref().map_or(0.0, |probe| probe.per_second.median);
    let octets: u64 = cycle
        .message_bytes
        .iter()
        .map(|bytes| u64::from(*bytes))
        .sum();
    vec![
        Row {
            figure: "raw cycles /s",
            value: scaled(raw),
            method: format!("same run, no Sirocco code: 9 messages, {octets} octets, {shape}"),
            target: String::new(),
        },
        Row {
            figure: "share of ceiling",
            value: format!("{:.1} %", share * 100.0),
            method: format!(
                "cycles/s over raw cycles/s; in CPU time {:.1} %",
                sessions.ceiling_cpu_share.unwrap_or_default() * 100.0
            ),
            target: held(target, share),
        },
    ]
}

fn causes(counts: &BTreeMap<String, i64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let counts = counts.iter().map(|(cause, count)| {
        let count = grouped(u64::try_from(*count).unwrap_or(0));
        format!("{cause} {count}")
    });
    counts.collect::<Vec<_>>().join(", ")
}

fn book_rows(sessions: &SessionFigures) -> Vec<Row> {
    let pushed = |name: &str| grouped(u64::try_from(sessions.pushed(name)).unwrap_or(0));
    let met = |residue: i64| {
        let word = if residue == 0 { "met" } else { "missed" };
        format!("0: {word}")
    };
    vec![
        Row {
            figure: "session residue",
            value: sessions.residue.to_string(),
            method: format!(
                "open {}; ended: {}; refused: {}",
                sessions.open,
                causes(&sessions.ended),
                causes(&sessions.refused)
            ),
            target: met(sessions.residue),
        },
        Row {
            figure: "push residue",
            value: sessions.pushed("residue").to_string(),
            method: format!(
                "{} due + {} unanswered = {} built + {} unbuilt + {} waiting; {} delivered, {} direct, {} \
                 unwanted, {} duplicates",
                pushed("due"),
                pushed("unanswered"),
                pushed("built"),
                pushed("unbuilt"),
                pushed("waiting"),
                pushed("delivered"),
                pushed("direct"),
                pushed("unwanted"),
                pushed("duplicates")
            ),
            target: met(sessions.pushed("residue")),
        },
    ]
}

fn hold_rows(record: &Record) -> Vec<Row> {
    let Some(hold) = &record.hold else {
        return Vec::new();
    };
    let target = |target| (record.scenario == "hold").then_some(target);
    vec![
        Row {
            figure: "sessions held open",
            value: grouped(hold.open),
            method: format!(
                "of {} wanted, built up in {:.1} s",
                grouped(hold.wanted),
                hold.built_ms as f64 / 1000.0
            ),
            target: held(target(HELD), hold.open as f64),
        },
        Row {
            figure: "bytes /session",
            value: format!("{:.0}", hold.table_bytes_per_session),
            method: format!(
                "all session tables; resident memory grew by {:.0} (loadgen {:.0})",
                hold.resident_bytes_per_session, hold.loadgen_resident_bytes_per_session
            ),
            target: held(target(HELD_BYTES), hold.table_bytes_per_session),
        },
    ]
}

fn flood_rows(record: &Record) -> Vec<Row> {
    let Some(flood) = &record.flood else {
        return Vec::new();
    };
    vec![Row {
        figure: "kept under the flood",
        value: format!("{:.1} %", flood.kept_share * 100.0),
        method: format!(
            "{} cycles/s alone, {} beside {} forged INVITEs/s, of which {:.1} % were counted as such",
            scaled(flood.alone_per_s.median),
            scaled(flood.flooded_per_s.median),
            scaled(flood.forged_per_s.median),
            flood.refused_share * 100.0
        ),
        target: FLOODED.text(flood.kept_share),
    }]
}

fn outcome_rows(record: &Record) -> Vec<Row> {
    let (Some(outcome), Some(asked)) = (&record.outcome, &record.config.outcome) else {
        return Vec::new();
    };
    let right = serde_json::to_value(outcome.right).unwrap_or_default();
    let word = if outcome.ihs <= asked.ihs_max {
        "met"
    } else {
        "missed"
    };
    vec![Row {
        figure: "%IHS",
        value: format!("{:.3} %", outcome.ihs * 100.0),
        method: format!(
            "{} attempts; right end `{}`: {}, within {} ms: {}; faults: {}",
            grouped(outcome.attempts),
            right.as_str().unwrap_or_default(),
            grouped(outcome.right_ends),
            outcome.within_ms,
            grouped(outcome.in_time),
            causes(&outcome.faults)
        ),
        target: format!("<= {:.3} %: {word}", asked.ihs_max * 100.0),
    }]
}

fn sipp_rows(record: &Record) -> Vec<Row> {
    let Some(sipp) = &record.sipp else {
        return Vec::new();
    };
    vec![Row {
        figure: "times SIPp",
        value: format!("{:.1}", sipp.times),
        method: format!(
            "sessions a CPU second, loadgen over SIPp in the same run: SIPp {:.1} us a session as \
             device ({:.1} as gateway), {} sessions/s",
            sipp.cpu_ns_per_session.median / 1000.0,
            sipp.gateway_cpu_ns_per_session.median / 1000.0,
            scaled(sipp.sessions_per_s.median)
        ),
        target: SIPP_TIMES.text(sipp.times),
    }]
}

/// One line of the comparison: its name, and how a mode's figure is shown.
type Line = (&'static str, fn(&ModeFigures) -> String);

/// The addressing modes side by side; empty in a record without them.
pub fn addressing(modes: &[ModeFigures]) -> String {
    if modes.is_empty() {
        return String::new();
    }
    let names: Vec<String> = modes
        .iter()
        .map(|figures| figures.mode.to_string())
        .collect();
    let mut header = vec!["for each order"];
    header.extend(names.iter().map(String::as_str));
    let mut table = empty(&header);
    let figures: [Line; 14] = [
        ("SIRs sent", |m| number(m.sirs)),
        ("copies delivered to devices", |m| number(m.copies)),
        ("messages, engine and edges", |m| number(m.messages)),
        ("octets, engine and edges", |m| format!("{:.0}", m.octets)),
        ("messages, edges and devices", |m| number(m.forked_messages)),
        ("sessions built", |m| number(m.sessions)),
        ("unwanted sessions", |m| number(m.unwanted)),
        ("pushes delivered", |m| number(m.delivered)),
        ("duplicate pushes", |m| number(m.duplicates)),
        ("engine CPU us", |m| format!("{:.2}", m.engine_cpu_us)),
        ("first wanted session p50", |m| {
            microseconds(m.first_session_us.p50)
        }),
        ("first wanted session p99", |m| {
            microseconds(m.first_session_us.p99)
        }),
        ("orders", |m| grouped(m.orders)),
        ("residue", |m| m.residue.to_string()),
    ];
    for (name, figure) in figures {
        let values = modes
            .iter()
            .map(|mode| Cell::new(figure(mode)).set_alignment(CellAlignment::Right));
        table.add_row(std::iter::once(Cell::new(name)).chain(values));
    }
    format!("{table}\n")
}

fn number(value: f64) -> String {
    format!("{value:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sound;
    use crate::record::{HoldFigures, Latency, SippFigures};
    use crate::scenario::Mode;

    #[test]
    fn sessions_show_rates_books_and_what_they_are_held_against() {
        let mut record = sound();
        record.scenario = "sessions".to_owned();
        let mut sessions = SessionFigures {
            cycles_per_s: 123_000.0,
            residue: 4,
            ..SessionFigures::default()
        };
        sessions.refused.insert("token-forged".to_owned(), 1234);
        record.sessions = Some(sessions);
        record.sipp = Some(SippFigures {
            times: 12.0,
            ..SippFigures::default()
        });
        let text = super::super::bench(&record);
        for shown in ["123 k", "1,234", "0: missed", "250 k", "times SIPp"] {
            assert!(text.contains(shown), "{shown} in\n{text}");
        }
        record.scenario = "hold".to_owned();
        record.hold = Some(HoldFigures {
            open: 1_000_000,
            table_bytes_per_session: 300.0,
            ..HoldFigures::default()
        });
        let text = super::super::bench(&record);
        assert!(text.contains("1,000,000") && text.contains("256"), "{text}");
        assert!(!text.contains("whole cycles"), "{text}");
    }

    #[test]
    fn modes_stand_side_by_side() {
        let figures = |mode, duplicates| ModeFigures {
            mode,
            orders: 10,
            sirs: 1.0,
            copies: 3.0,
            messages: 9.0,
            octets: 4000.0,
            forked_messages: 4.0,
            sessions: 1.0 + duplicates,
            unwanted: duplicates,
            delivered: 1.0 + duplicates,
            duplicates,
            engine_cpu_us: 4.0,
            first_session_us: Latency::default(),
            residue: 0,
        };
        let text = addressing(&[figures(Mode::PriorArt, 2.0), figures(Mode::Targeted, 0.0)]);
        let row = text.lines().find(|line| line.contains("duplicate pushes"));
        let row = row.unwrap();
        assert!(row.find("2.000") < row.find("0.000"), "{text}");
        assert!(text.contains("prior-art") && addressing(&[]).is_empty());
    }
}
