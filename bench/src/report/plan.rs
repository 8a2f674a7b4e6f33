//! The tables of a plan (`sirocco plan --json`), read by place: its lines with their intervals, modes side
//! by side, what was varied, what was predicted, what it rests on. A line that lies beyond what was
//! measured says so. Called by `report`.

use serde_json::Value;

use super::chart::unit::Unit;
use super::source::number;

/// Rows of a table at most.
const ROWS_MAX: usize = 200;

/// A cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// What a sort goes by; empty for a text.
    pub value: String,
    /// What is shown.
    pub text: String,
}

impl Cell {
    fn text(text: &str) -> Self {
        Self {
            value: String::new(),
            text: text.to_owned(),
        }
    }

    fn number(value: Option<f64>) -> Self {
        Self {
            value: value.map_or(String::new(), |value| value.to_string()),
            text: value.map_or("-".to_owned(), |value| Unit::Count.write(value)),
        }
    }
}

/// One table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Names of its columns.
    pub header: Vec<String>,
    /// Its rows.
    pub rows: Vec<Vec<Cell>>,
}

/// What a page shows of a plan.
#[derive(Clone, Debug, Default)]
pub struct PlanShown {
    /// The answer to whether it fits; empty when that was not asked.
    pub answer: String,
    /// Its tables.
    pub tables: Vec<Table>,
    /// What no record tells.
    pub limits: Vec<String>,
}

/// Reads a plan.
#[must_use]
pub fn shown(plan: &Value) -> PlanShown {
    let mut tables = vec![lines("The plan", &plan["lines"])];
    tables.push(modes(list(&plan["modes"])));
    tables.push(varied(&plan["what_if"]));
    tables.push(checked(list(&plan["checked"])));
    tables.push(assumed(&plan["assumptions"]));
    tables.push(measured(list(&plan["coefficients"])));
    tables.retain(|table| !table.rows.is_empty());
    PlanShown {
        answer: word(&plan["fits"]["words"]).to_owned(),
        tables,
        limits: list(&plan["limits"])
            .iter()
            .map(|limit| word(limit).to_owned())
            .collect(),
    }
}

fn list(value: &Value) -> &[Value] {
    let all = value.as_array().map_or(&[][..], Vec::as_slice);
    &all[..all.len().min(ROWS_MAX)]
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn header(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Value, lower and upper end.
fn estimate(value: &Value) -> [Cell; 3] {
    ["value", "low", "high"].map(|end| Cell::number(number(&value[end])))
}

fn stretch(value: &Value) -> Cell {
    let one = |stretch: &Value| {
        let times = number(&stretch["times"]).unwrap_or(0.0);
        format!(
            "{} {} times beyond",
            word(&stretch["factor"]),
            Unit::Count.write(times)
        )
    };
    let all: Vec<String> = list(value).iter().map(one).collect();
    Cell::text(&all.join("; "))
}

fn lines(title: &str, lines: &Value) -> Table {
    let row = |line: &Value| {
        let mut row = vec![
            Cell::text(word(&line["section"])),
            Cell::text(word(&line["words"])),
        ];
        row.extend(estimate(line));
        row.extend([
            Cell::text(word(&line["unit"])),
            stretch(&line["extrapolated"]),
        ]);
        row
    };
    Table {
        title: title.to_owned(),
        header: header(&[
            "part",
            "figure",
            "value",
            "from",
            "to",
            "unit",
            "beyond what was measured",
        ]),
        rows: list(lines).iter().map(row).collect(),
    }
}

/// A row a line, a column a mode.
fn modes(modes: &[Value]) -> Table {
    let mut names = header(&["figure", "unit"]);
    names.extend(modes.iter().map(|mode| word(&mode["mode"]).to_owned()));
    let first = modes.first().map_or(&[][..], |mode| list(&mode["lines"]));
    let of = |mode: &Value, name: &Value| {
        let found = list(&mode["lines"])
            .iter()
            .find(|line| line["name"] == *name);
        Cell::number(found.and_then(|line| number(&line["value"])))
    };
    let row = |line: &Value| {
        let mut row = vec![
            Cell::text(word(&line["words"])),
            Cell::text(word(&line["unit"])),
        ];
        row.extend(modes.iter().map(|mode| of(mode, &line["name"])));
        row
    };
    Table {
        title: "The addressing modes".to_owned(),
        header: names,
        rows: first.iter().map(row).collect(),
    }
}

/// One line of each variant.
fn varied(what_if: &Value) -> Table {
    let axes = list(&what_if["axes"]);
    let figure = &what_if["figure"];
    let mut names: Vec<String> = axes
        .iter()
        .map(|axis| word(&axis["key"]).to_owned())
        .collect();
    names.extend(["value", "from", "to"].map(str::to_owned));
    let row = |variant: &Value| {
        let values = list(&variant["values"]).iter();
        let mut row: Vec<Cell> = values.map(|value| Cell::text(word(value))).collect();
        let line = list(&variant["lines"])
            .iter()
            .find(|line| line["name"] == *figure);
        row.extend(estimate(line.unwrap_or(&Value::Null)));
        row
    };
    Table {
        title: format!("What if: {}", word(figure)),
        header: names,
        rows: list(&what_if["variants"]).iter().map(row).collect(),
    }
}

fn checked(checked: &[Value]) -> Table {
    let row = |one: &Value| {
        let mut row = vec![
            Cell::text(word(&one["record"])),
            Cell::text(word(&one["figure"])),
        ];
        row.extend(estimate(&one["predicted"]));
        row.push(Cell::number(number(&one["measured"])));
        let inside = match one["inside"].as_bool() {
            Some(true) => "inside",
            _ => "OUTSIDE",
        };
        row.extend([Cell::text(inside), stretch(&one["extrapolated"])]);
        row
    };
    let names = [
        "record",
        "figure",
        "predicted",
        "from",
        "to",
        "measured",
        "verdict",
        "beyond what was measured",
    ];
    Table {
        title: "Predicted and measured".to_owned(),
        header: header(&names),
        rows: checked.iter().map(row).collect(),
    }
}

fn assumed(assumptions: &Value) -> Table {
    let fields = assumptions.as_object().into_iter().flatten().take(ROWS_MAX);
    let row = |(name, value): (&String, &Value)| {
        let shown = match value {
            Value::Number(_) => Cell::number(number(value)),
            Value::String(text) => Cell::text(text),
            Value::Null => Cell::text("-"),
            other => Cell::text(&other.to_string()),
        };
        vec![Cell::text(&name.replace('_', " ")), shown]
    };
    Table {
        title: "What it assumes".to_owned(),
        header: header(&["assumption", "value"]),
        rows: fields.map(row).collect(),
    }
}

fn measured(coefficients: &[Value]) -> Table {
    let row = |one: &Value| {
        let mut row = vec![Cell::text(word(&one["name"]))];
        row.extend(estimate(&one["estimate"]));
        let records: Vec<&str> = list(&one["records"]).iter().map(word).collect();
        row.extend(
            [
                word(&one["unit"]),
                word(&one["method"]),
                &records.join(", "),
            ]
            .map(Cell::text),
        );
        row
    };
    Table {
        title: "What it rests on".to_owned(),
        header: header(&[
            "coefficient",
            "value",
            "from",
            "to",
            "unit",
            "method",
            "records",
        ]),
        rows: coefficients.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_plan_is_shown_with_its_intervals_and_what_lies_beyond() {
        let line = |name: &str, value: f64| {
            json!({ "name": name, "section": "engine", "words": "workers", "unit": "", "value": value,
                    "low": value - 1.0, "high": value + 1.0,
                    "extrapolated": [{ "factor": "identities", "times": 4.0 }] })
        };
        let plan = json!({
            "assumptions": { "subscribers": 1e6 },
            "lines": [line("workers", 7.0)],
            "modes": [{ "mode": "targeted", "lines": [line("workers", 7.0)] },
                      { "mode": "prior-art", "lines": [line("workers", 20.0)] }],
            "what_if": { "figure": "workers", "axes": [{ "key": "subscribers", "values": ["1M"] }],
                         "variants": [{ "values": ["1M"], "lines": [line("workers", 7.0)] }] },
            "fits": { "words": "it fits" },
        });
        let shown = shown(&plan);
        assert_eq!(shown.answer, "it fits");
        let titles: Vec<&str> = shown.tables.iter().map(|table| &*table.title).collect();
        assert_eq!(
            titles,
            [
                "The plan",
                "The addressing modes",
                "What if: workers",
                "What it assumes"
            ]
        );
        let texts = |table: usize| -> Vec<&str> {
            shown.tables[table].rows[0]
                .iter()
                .map(|cell| &*cell.text)
                .collect()
        };
        assert_eq!(
            texts(0),
            [
                "engine",
                "workers",
                "7",
                "6",
                "8",
                "",
                "identities 4 times beyond"
            ]
        );
        assert_eq!(texts(1), ["workers", "", "7", "20"]);
        assert_eq!(texts(2), ["1M", "7", "6", "8"]);
    }

    #[test]
    fn what_is_no_plan_shows_nothing() {
        for strange in [
            json!(null),
            json!([1]),
            json!({ "lines": 5, "modes": { "a": 1 } }),
        ] {
            assert!(shown(&strange).tables.is_empty(), "{strange}");
        }
    }
}
