//! JUnit XML, for the test view of a CI: a case for each run, counter, objective and time. A regression is
//! a failure, what was not measured an error, what has no baseline skipped. An alarm is told in its case's
//! output and fails nothing. Called by `outputs`.

use std::io::{self, Write};

use quick_xml::Writer;
use quick_xml::events::BytesText;

use crate::nightly::gate::{Gate, Standing};
use crate::nightly::history::Line;
use crate::nightly::night::{Compared, Night};
use crate::nightly::series::NIGHTS_MIN;

/// How a case ended.
enum Ended {
    Passed,
    Failure(String),
    Error(String),
    Skipped(String),
    /// Passed, with something to say.
    Said(String),
}

/// One case.
struct Case {
    class: String,
    name: String,
    ended: Ended,
}

/// The document.
///
/// # Errors
/// None in practice: memory is written to.
pub fn write(night: &Night) -> io::Result<Vec<u8>> {
    let cases = cases(night);
    let count = |is: fn(&Ended) -> bool| cases.iter().filter(|c| is(&c.ended)).count().to_string();
    let (failures, errors, skipped) = (
        count(|ended| matches!(ended, Ended::Failure(_))),
        count(|ended| matches!(ended, Ended::Error(_))),
        count(|ended| matches!(ended, Ended::Skipped(_))),
    );
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writeln!(
        writer.get_mut(),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"
    )?;
    let suites = writer.create_element("testsuites");
    suites.write_inner_content(|writer| {
        let suite = writer
            .create_element("testsuite")
            .with_attribute(("name", format!("sirocco nightly {}", night.suite).as_str()))
            .with_attribute(("tests", cases.len().to_string().as_str()))
            .with_attribute(("failures", failures.as_str()))
            .with_attribute(("errors", errors.as_str()))
            .with_attribute(("skipped", skipped.as_str()))
            .with_attribute(("timestamp", super::time::iso(night.unix_s).as_str()));
        suite.write_inner_content(|writer| cases.iter().try_for_each(|case| case.write(writer)))?;
        Ok(())
    })?;
    Ok(writer.into_inner())
}

fn cases(night: &Night) -> Vec<Case> {
    let mut cases: Vec<Case> = night.lines.iter().map(run).collect();
    cases.extend(night.gates.iter().map(counter));
    for line in &night.lines {
        cases.extend(line.objectives.iter().map(|reached| {
            let value = reached
                .value
                .map_or("nothing".to_owned(), |value| value.to_string());
            let words = format!("reached {value}");
            let ended = match (reached.met, night.objectives_held) {
                (true, _) => Ended::Passed,
                (false, true) => Ended::Failure(words),
                (false, false) => Ended::Said(format!("missed, not held: {words}")),
            };
            Case::new(&line.scenario, reached.objective.to_string(), ended)
        }));
    }
    cases.extend(night.compared.iter().map(|row| time(night, row)));
    cases
}

fn run(line: &Line) -> Case {
    let reasons = line.verdict.reasons.join("; ");
    let ended = match (line.verdict.passed, line.counts()) {
        (false, _) => Ended::Failure(reasons),
        (true, false) if reasons.is_empty() => Ended::Error("nothing was measured".to_owned()),
        (true, false) => Ended::Error(reasons),
        (true, true) => Ended::Passed,
    };
    Case::new(&line.scenario, "run".to_owned(), ended)
}

fn counter(gate: &Gate) -> Case {
    let shown = |value: Option<f64>| value.map_or("nothing".to_owned(), |value| value.to_string());
    let words = format!(
        "{} accepted, {} tonight",
        shown(gate.accepted),
        shown(gate.tonight)
    );
    let ended = match gate.standing {
        Standing::Same => Ended::Passed,
        Standing::Better => Ended::Said(format!("better: {words}")),
        Standing::Worse => Ended::Failure(words),
        Standing::Missing => Ended::Error(words),
        Standing::NoBaseline => Ended::Skipped(words),
    };
    Case::new(&gate.scenario, gate.counter.clone(), ended)
}

fn time(night: &Night, row: &Compared) -> Case {
    let own =
        |f: &&crate::nightly::series::Finding| f.scenario == row.scenario && f.figure == row.figure;
    let findings: Vec<String> = night
        .findings
        .iter()
        .filter(own)
        .map(super::markdown::finding)
        .collect();
    let ended = if row.nights < NIGHTS_MIN {
        Ended::Skipped(format!("{} nights of {NIGHTS_MIN}", row.nights))
    } else if findings.is_empty() {
        Ended::Passed
    } else {
        Ended::Said(findings.join("\n"))
    };
    Case::new(&row.scenario, row.figure.clone(), ended)
}

impl Case {
    fn new(class: &str, name: String, ended: Ended) -> Self {
        let class = class.to_owned();
        Self { class, name, ended }
    }

    fn write(&self, writer: &mut Writer<Vec<u8>>) -> io::Result<()> {
        let element = writer
            .create_element("testcase")
            .with_attribute(("classname", self.class.as_str()))
            .with_attribute(("name", self.name.as_str()));
        let (kind, words) = match &self.ended {
            Ended::Passed => return element.write_empty().map(drop),
            Ended::Said(words) => ("system-out", words),
            Ended::Failure(words) => ("failure", words),
            Ended::Error(words) => ("error", words),
            Ended::Skipped(words) => ("skipped", words),
        };
        element.write_inner_content(|writer| {
            let inner = writer.create_element(kind);
            if kind == "system-out" {
                inner.write_text_content(BytesText::new(words))?;
            } else {
                inner
                    .with_attribute(("message", words.as_str()))
                    .write_empty()?;
            }
            Ok(())
        })?;
        Ok(())
    }
}
