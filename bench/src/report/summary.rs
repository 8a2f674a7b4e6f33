//! The records of a report in one table, and what identifies each: verdict, command, commit, host. Words
//! only. Called by `page`.

use std::time::Duration;

use super::chart::unit::Unit;
use super::source::Source;
use crate::nightly::outputs::time::iso;

/// The figures of the table by their place in a record, with that of their least and greatest.
const COLUMNS: [Column; 8] = [
    Column::new(
        "SIRs answered",
        "/sirs_per_s",
        "/sirs_per_s_spread",
        Unit::PerSecond,
    ),
    Column::new(
        "engine CPU a SIR",
        "/engine/cpu_ns_per_sir",
        "/engine/cpu_ns_per_sir_spread",
        Unit::Nanoseconds,
    ),
    Column::new(
        "cycles",
        "/sessions/cycles_per_s",
        "/sessions/cycles_per_s_spread",
        Unit::PerSecond,
    ),
    Column::new("share of ceiling", "/ceiling_share", "", Unit::Share),
    Column::new("p50", "/latency_us/p50", "", Unit::Microseconds),
    Column::new("p99", "/latency_us/p99", "", Unit::Microseconds),
    Column::new(
        "SIRs a train",
        "/engine/segments_per_train",
        "",
        Unit::Count,
    ),
    Column::new(
        "limit",
        "/limit/rate_per_s",
        "/limit/interval",
        Unit::PerSecond,
    ),
];

struct Column {
    name: &'static str,
    place: &'static str,
    spread: &'static str,
    unit: Unit,
}

impl Column {
    const fn new(
        name: &'static str,
        place: &'static str,
        spread: &'static str,
        unit: Unit,
    ) -> Self {
        Self {
            name,
            place,
            spread,
            unit,
        }
    }
}

/// A value of the table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// What a sort goes by; empty for nothing.
    pub value: String,
    /// What is shown.
    pub text: String,
    /// Least and greatest.
    pub aside: String,
}

/// One record in the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its number on the page, from 1.
    pub record: usize,
    /// Its scenario.
    pub name: String,
    /// Its verdict in a word.
    pub verdict: &'static str,
    /// `good` or `bad`.
    pub class: &'static str,
    /// Its commit.
    pub commit: String,
    /// Its figures, one for each name of [`Table::header`].
    pub cells: Vec<Cell>,
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Names of its columns.
    pub header: Vec<&'static str>,
    /// A row a record.
    pub rows: Vec<Row>,
}

/// The table of all records; columns that no record fills are left out.
#[must_use]
pub fn table(records: &[Source]) -> Table {
    let filled = |column: &&Column| {
        records
            .iter()
            .any(|record| record.number(column.place).is_some())
    };
    let columns: Vec<&Column> = COLUMNS.iter().filter(filled).collect();
    let row = |(at, record): (usize, &Source)| Row {
        record: at + 1,
        name: record.name(),
        verdict: verdict(record),
        class: class(record),
        commit: record.text("/commit").to_owned(),
        cells: columns.iter().map(|column| cell(record, column)).collect(),
    };
    let mut header = vec!["scenario", "verdict"];
    header.extend(columns.iter().map(|column| column.name));
    header.push("commit");
    Table {
        header,
        rows: records.iter().enumerate().map(row).collect(),
    }
}

fn cell(record: &Source, column: &Column) -> Cell {
    let Some(value) = record.number(column.place) else {
        return Cell {
            text: "-".to_owned(),
            ..Cell::default()
        };
    };
    let end = |names: [&str; 2]| {
        let mut places = names.iter().map(|name| format!("{}/{name}", column.spread));
        let found = places.find_map(|place| record.number(&place));
        found.filter(|_| !column.spread.is_empty())
    };
    let ends = end(["min", "low"]).zip(end(["max", "high"]));
    let aside = ends
        .map(|(low, high)| format!("{} to {}", column.unit.write(low), column.unit.write(high)));
    Cell {
        value: value.to_string(),
        text: column.unit.write(value),
        aside: aside.unwrap_or_default(),
    }
}

/// The verdict in a word.
#[must_use]
pub fn verdict(record: &Source) -> &'static str {
    match record.stamp() {
        "" => "valid",
        stamp => stamp,
    }
}

/// How the verdict looks.
#[must_use]
pub fn class(record: &Source) -> &'static str {
    if record.stamp().is_empty() {
        "good"
    } else {
        "bad"
    }
}

/// The command as typed, without the folders of the program.
#[must_use]
pub fn command(record: &Source) -> String {
    let words = record.list("/command_line").iter();
    let words: Vec<&str> = words.filter_map(|word| word.as_str()).collect();
    let program = words
        .first()
        .map_or("", |word| word.rsplit('/').next().unwrap_or(word));
    let quoted =
        |word: &&str| match word.is_empty() || word.contains([' ', '\'', '"', '*', ';', '$']) {
            true => format!("'{}'", word.replace('\'', r"'\''")),
            false => (*word).to_owned(),
        };
    let rest = words.iter().skip(1).map(quoted);
    let all: Vec<String> = std::iter::once(program.to_owned()).chain(rest).collect();
    all.join(" ")
}

/// What identifies a record: file, commit, time, machine. Empty values are left out.
#[must_use]
pub fn facts(record: &Source) -> Vec<(&'static str, String)> {
    let text = |place: &str| record.text(place).to_owned();
    let whole = |place: &str| record.number(place).map(|number| format!("{number}"));
    let started = record.number("/started_unix_s").unwrap_or(0.0);
    let took = Duration::try_from_secs_f64(record.number("/took_s").unwrap_or(0.0));
    let ticks = |name: &str| record.number(&format!("/cpu_ticks/{name}"));
    let stolen = ticks("steal").zip(ticks("total").filter(|total| *total > 0.0));
    let mitigations = record.list("/host/mitigations").iter();
    let mitigations: Vec<&str> = mitigations.filter_map(|word| word.as_str()).collect();
    let memory = record.number("/host/memory_bytes").unwrap_or(0.0) / f64::from(1 << 30);
    let machine = format!(
        "{} CPUs online, {memory:.1} GiB, {}",
        whole("/host/cpus_online").unwrap_or_default(),
        match record
            .json
            .pointer("/host/virtualised")
            .and_then(|v| v.as_bool())
        {
            Some(true) => "virtual",
            Some(false) => "no hypervisor seen",
            None => "not known whether virtual",
        }
    );
    let cores = record
        .list("/cores")
        .iter()
        .filter_map(|core| core.as_u64());
    let cores: Vec<String> = cores.map(|core| core.to_string()).collect();
    let facts = [
        (
            "scenario",
            format!("{}: {}", text("/scenario"), text("/config/summary")),
        ),
        ("commit", text("/commit")),
        ("begun", iso(started.max(0.0) as u64)),
        (
            "took",
            took.map_or(String::new(), |took| format!("{:.0} s", took.as_secs_f64())),
        ),
        ("CPU", text("/host/cpu_model")),
        ("kernel", text("/host/kernel")),
        ("machine", machine),
        ("cores", cores.join(" and ")),
        ("governor", text("/host/governor")),
        ("huge pages", text("/host/transparent_huge_pages")),
        ("build", text("/host/build/rustc")),
        (
            "stolen time",
            stolen.map_or(String::new(), |(steal, total)| {
                Unit::Share.write(steal / total)
            }),
        ),
        ("mitigations", mitigations.join("; ")),
    ];
    facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect()
}
