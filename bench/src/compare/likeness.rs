//! Whether two records may be compared: same job, same machine, both valid. Every obstacle is named; the
//! caller decides whether the user forces it. Called by `compare`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::side::Side;
use crate::host::{Host, Weight};

/// Keys of a scenario that do not change the job: names, bounds of the verdict, how often it is repeated.
const NOT_THE_JOB: [&str; 5] = [
    "/name",
    "/summary",
    "/checks/",
    "/runs/repetitions",
    "/runs/drain-ms-max",
];

/// Keys that say how long is measured: the job is the same, and the reader has to know.
const LENGTHS: [&str; 3] = ["/runs/warm-up-ms", "/runs/measured-ms", "/runs/latency-ms"];

/// Most differences named of one kind; the rest is counted.
const NAMED_MAX: usize = 8;

/// What speaks against a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Obstacles {
    /// What refuses it.
    pub refused: Vec<String>,
    /// What the reader has to know.
    pub warned: Vec<String>,
}

/// Looks at both sides.
#[must_use]
pub fn obstacles(a: &Side, b: &Side) -> Obstacles {
    let mut found = Obstacles::default();
    for (letter, side) in [("A", a), ("B", b)] {
        found.validity(letter, side);
        for (path, record) in &side.records[1..] {
            let of = format!("{} in {letter}", path.display());
            found.pair(side.first(), record, &format!(" ({of})"));
        }
    }
    found.pair(a.first(), b.first(), "");
    found
}

impl Obstacles {
    fn validity(&mut self, letter: &str, side: &Side) {
        for (path, record) in &side.records {
            let verdict = &record["verdict"];
            if verdict["valid"] == true && verdict["passed"] == true {
                continue;
            }
            let word = match verdict["passed"] == true {
                true => "invalid",
                false => "failed",
            };
            let reasons = verdict["reasons"].as_array().into_iter().flatten();
            let reasons: Vec<&str> = reasons.filter_map(Value::as_str).collect();
            self.refused.push(format!(
                "{letter} is {word} ({}): {}",
                path.display(),
                reasons.join("; ")
            ));
        }
    }

    fn pair(&mut self, a: &Value, b: &Value, place: &str) {
        self.job(a, b, place);
        let host = |record: &Value| {
            serde_json::from_value::<Host>(record["host"].clone()).unwrap_or_default()
        };
        let mut unknown = Vec::new();
        for difference in host(a).differences(&host(b)) {
            if difference.a.is_empty() || difference.b.is_empty() {
                unknown.push(difference.what);
            } else if difference.weight == Weight::Refused {
                self.refused
                    .push(format!("the hosts differ{place}: {difference}"));
            } else {
                self.warned
                    .push(format!("the builds differ{place}: {difference}"));
            }
        }
        if !unknown.is_empty() {
            self.warned.push(format!(
                "unknown for one side{place}, so not compared: {}",
                unknown.join(", ")
            ));
        }
        if a["cores"] != b["cores"] {
            self.refused.push(format!(
                "the cores of engine and loadgen differ{place}: {} and {}",
                a["cores"], b["cores"]
            ));
        }
        if place.is_empty() && a["notices"] != b["notices"] {
            self.warned.push(format!(
                "the host granted unlike things: {} and {}",
                a["notices"], b["notices"]
            ));
        }
    }

    fn job(&mut self, a: &Value, b: &Value, place: &str) {
        let mut unlike = Vec::new();
        let (left, right) = (leaves(&a["config"]), leaves(&b["config"]));
        let keys: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
        for key in keys {
            if NOT_THE_JOB.iter().any(|ignored| key.starts_with(ignored)) {
                continue;
            }
            let shown = |side: &BTreeMap<String, Value>| {
                side.get(key)
                    .map_or_else(|| "unset".to_owned(), Value::to_string)
            };
            let (a, b) = (shown(&left), shown(&right));
            if a != b {
                let is_length = LENGTHS.contains(&key.as_str());
                let key = key.trim_start_matches('/').replace('/', ".");
                match is_length {
                    true => self.warned.push(format!(
                        "measured for unlike times{place}: {key}: {a} and {b}"
                    )),
                    false => unlike.push(format!("{key}: {a} and {b}")),
                }
            }
        }
        for count in ["identities", "devices"] {
            if a[count] != b[count] {
                unlike.push(format!("{count}: {} and {}", a[count], b[count]));
            }
        }
        let more = unlike.len().saturating_sub(NAMED_MAX);
        unlike.truncate(NAMED_MAX);
        for difference in unlike {
            self.refused
                .push(format!("the scenarios differ{place}: {difference}"));
        }
        if more > 0 {
            self.refused
                .push(format!("the scenarios differ{place} in {more} more keys"));
        }
    }
}

/// Every scalar of `value` by its pointer; what is empty or off counts as unset, since a key that a newer
/// build added is left out of older records and means its default.
fn leaves(value: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let mut open = vec![(String::new(), value)];
    while let Some((at, value)) = open.pop() {
        match value {
            Value::Object(fields) => {
                open.extend(
                    fields
                        .iter()
                        .map(|(key, value)| (format!("{at}/{key}"), value)),
                );
            }
            Value::Array(items) => {
                let items = items.iter().enumerate();
                open.extend(items.map(|(index, value)| (format!("{at}/{index}"), value)));
            }
            Value::Null | Value::Bool(false) => {}
            scalar => {
                found.insert(at, scalar.clone());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn side(change: impl FnOnce(&mut Value)) -> Side {
        let mut record = serde_json::to_value(crate::record::tests::sound()).unwrap();
        change(&mut record);
        Side {
            records: vec![(PathBuf::from("r.json"), record)],
        }
    }

    fn refused(change: impl FnOnce(&mut Value)) -> String {
        let found = obstacles(&side(|_| ()), &side(change));
        found.refused.join("\n")
    }

    #[test]
    fn like_is_compared_with_like() {
        assert_eq!(
            obstacles(&side(|_| ()), &side(|_| ())),
            Obstacles::default()
        );
        // Names, checks and the number of repetitions do not change the job.
        let other = refused(|r| {
            r["config"]["runs"]["repetitions"] = 9.into();
            r["config"]["checks"]["steal-share-max"] = 0.5.into();
            r["config"]["name"] = "mine".into();
            r["config"]["fresh-switch"] = false.into();
        });
        assert_eq!(other, "");
    }

    #[test]
    fn every_unlikeness_is_named() {
        for (change, words) in [
            (
                (|r| r["config"]["mix"] = "503:1".into()) as fn(&mut Value),
                "mix: \"200:1\" and \"503:1\"",
            ),
            (
                |r| r["config"]["engine"]["train-segments"] = 1.into(),
                "engine.train-segments: unset and 1",
            ),
            (|r| r["devices"] = 26.into(), "devices: 25 and 26"),
            (
                |r| r["cores"] = serde_json::json!([2, 3]),
                "[0,1] and [2,3]",
            ),
            (
                |r| {
                    r["verdict"] =
                        serde_json::json!({"valid": false, "passed": true, "reasons": ["busy"]});
                },
                "B is invalid (r.json): busy",
            ),
            (|r| r["verdict"]["passed"] = false.into(), "B is failed"),
        ] {
            let found = refused(change);
            assert!(found.contains(words), "{words}: {found}");
        }
    }

    #[test]
    fn unlike_machines_are_refused_and_unknown_ones_warned_of() {
        let kernel = |name: &str| {
            let name = name.to_owned();
            move |r: &mut Value| r["host"]["kernel"] = name.into()
        };
        let found = obstacles(&side(kernel("6.1")), &side(kernel("6.12")));
        assert_eq!(
            found.refused,
            ["the hosts differ: kernel: `6.1` and `6.12`"]
        );
        let found = obstacles(&side(kernel("6.1")), &side(kernel("")));
        assert_eq!(found.refused, Vec::<String>::new());
        assert!(found.warned[0].contains("kernel"), "{:?}", found.warned);
    }

    #[test]
    fn records_within_a_side_have_to_be_alike_too() {
        let mut mixed = side(|_| ());
        mixed
            .records
            .extend(side(|r| r["config"]["seed"] = 2.into()).records);
        let found = obstacles(&mixed, &side(|_| ()));
        assert!(
            found.refused[0].contains("r.json in A"),
            "{:?}",
            found.refused
        );
    }
}
