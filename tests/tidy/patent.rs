//! docs/patent.md: a row for each claim and embodiment, each with code and tests that exist and run.
//!
//! In the third and fourth cell of a row a path in backticks is followed by what it holds, in backticks
//! as well: items in the third, test functions in the fourth. What a row means is for a reviewer.

use crate::source::{File, numbered, split, tree};
use crate::{Fault, assert_caught, hold};

const TABLE: &str = "docs/patent.md";
const CLAIMS: usize = 24;
/// Rows beside those of the claims.
const PARTS: [&str; 7] = [
    "embodiment 1",
    "embodiment 2",
    "embodiment 3",
    "embodiment 4",
    "table 1",
    "table 2",
    "step 402",
];
/// What declares an item by its name.
const DECLARATIONS: [&str; 8] = [
    "fn ", "struct ", "enum ", "trait ", "const ", "static ", "type ", "mod ",
];

fn wanted() -> impl Iterator<Item = String> {
    let claims = (1..=CLAIMS).map(|number| number.to_string());
    claims.chain(PARTS.map(str::to_owned))
}

fn rows_are_complete_and_true(file: &File) -> Vec<Fault> {
    if file.path != TABLE {
        return Vec::new();
    }
    let mut faults = Vec::new();
    let mut seen = Vec::new();
    for (line, text) in file.lines() {
        let cells: Vec<_> = text.split('|').map(str::trim).collect();
        let name = cells.get(1).copied().unwrap_or("");
        if !text.starts_with('|') || !wanted().any(|row| row == name) {
            continue;
        }
        let mut tell = |what: String| faults.push(Fault::new(file, line, what));
        if seen.contains(&name) {
            tell(format!("{name} has two rows; make it one"));
        }
        seen.push(name);
        let [_, _, what, code, tests, _] = cells[..] else {
            tell("a row has four cells: number, what, code, tests".to_owned());
            continue;
        };
        if what.is_empty() {
            tell(format!("{name} says nothing; say what it claims"));
        }
        pointless(code, is_declared).into_iter().for_each(&mut tell);
        pointless(tests, is_run).into_iter().for_each(&mut tell);
    }
    for row in wanted().filter(|row| !seen.contains(&row.as_str())) {
        faults.push(Fault::new(file, 0, format!("{row} has no row; write it")));
    }
    faults
}

/// What a cell names and the tree does not hold as `holds` wants it.
fn pointless(cell: &str, holds: fn(&str, &str) -> Result<(), &'static str>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut held: Option<&File> = None;
    let mut items = 0;
    for span in cell.split('`').skip(1).step_by(2) {
        if span.contains('/') {
            if held.is_some() && items == 0 {
                faults.push(format!("a path before {span} names nothing in it"));
            }
            (held, items) = (tree().iter().find(|file| file.path == span), 0);
            if held.is_none() {
                faults.push(format!("names {span}, which does not exist"));
            }
            continue;
        }
        items += 1;
        if let Some(Err(fault)) = held.map(|file| holds(&file.text, span)) {
            faults.push(format!("{span} {fault}"));
        }
    }
    if items == 0 {
        faults.push("names nothing; name a path and what it holds".to_owned());
    }
    faults
}

/// Whether Rust text declares an item; `Type::item` is an item of a type that the text names.
fn is_declared(text: &str, name: &str) -> Result<(), &'static str> {
    let (code, _) = split(text);
    let (owner, item) = name.rsplit_once("::").unwrap_or(("", name));
    let is_word = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let names = |line: &str, what: &str| {
        let mut places = line.match_indices(what);
        places.any(|(at, _)| is_word(&line[at + what.len()..]))
    };
    let declares = |line: &str| {
        let by_keyword = |keyword: &&str| names(line, &format!("{keyword}{item}"));
        // A variant or a field begins its line.
        let line = line.trim_start().trim_start_matches("pub ");
        let is_part = !owner.is_empty()
            && line
                .strip_prefix(item)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([',', ':', ' ', '(']));
        is_part || DECLARATIONS.iter().any(by_keyword)
    };
    if !owner.is_empty() && !code.lines().any(|line| names(line, owner)) {
        return Err("is of a type that the file does not name; correct the row");
    }
    let found = code.lines().any(declares);
    found
        .then_some(())
        .ok_or("is not declared there; correct the row")
}

/// Whether Rust text has a test of this name that is run.
fn is_run(text: &str, name: &str) -> Result<(), &'static str> {
    let (code, _) = split(text);
    let lines: Vec<_> = code.lines().map(str::trim).collect();
    let function = format!("fn {name}(");
    let place = lines.iter().position(|line| line.contains(&function));
    let Some(place) = place else {
        return Err("is no function there; correct the row");
    };
    let above = lines[..place].iter().rev();
    let attributes: Vec<_> = above.take_while(|line| line.starts_with("#[")).collect();
    if attributes.iter().any(|line| line.starts_with("#[ignore")) {
        return Err("is ignored; a claim is shown by a test that runs");
    }
    let is_test = attributes.iter().any(|line| **line == "#[test]");
    is_test.then_some(()).ok_or("is no test; correct the row")
}

#[test]
fn each_claim_has_code_and_a_test_that_runs() {
    let table = tree().iter().find(|file| file.path == TABLE);
    hold(&rows_are_complete_and_true(table.expect(TABLE)));
}

#[test]
fn a_broken_row_is_caught() {
    let here = "`tests/tidy/patent.rs`";
    let good =
        format!("what | {here}: `wanted`, `Fault::pointless` | {here}: `a_broken_row_is_caught`");
    let rows = |broken: &str| {
        let row = |(at, name): (usize, String)| match at {
            2 => format!("| {name} | {broken} |\n"),
            _ => format!("| {name} | {good} |\n"),
        };
        wanted().enumerate().map(row).collect::<String>()
    };
    let caught = |text: &str, lines: &[usize]| {
        assert_caught(rows_are_complete_and_true, TABLE, text, lines);
    };
    let path_only = format!("what | {here} | {here}: `a_broken_row_is_caught`");
    let test = format!("{here}: `a_broken_row_is_caught`");
    caught(&rows(&good), &[]);
    for broken in [
        format!(" | {here}: `wanted` | {test}"),
        format!("what | `tests/tidy/no.rs`: `wanted` | {test}"),
        format!("what | {here}: `want` | {test}"),
        format!("what | {here}: `Nobody::wanted` | {test}"),
        format!("what | {here}: `wanted` | {here}: `wanted`"),
        format!("what | {here}: `wanted` | {here}: `a_broken_row`"),
        format!("what | {here}: `wanted` | none"),
        path_only,
    ] {
        caught(&rows(&broken), &[3]);
    }
    let without: String = rows(&good)
        .lines()
        .skip(1)
        .map(|l| format!("{l}\n"))
        .collect();
    caught(&without, &[0]);
    let twice = format!("{}| 7 | {good} |\n", rows(&good));
    caught(&twice, &[32]);
    assert_eq!(numbered(&rows(&good)).count(), CLAIMS + PARTS.len());
    let ignored = ["#[test]\n#[ign", "ore = \"slow\"]\nfn slow() {}\n"].concat();
    assert!(is_run(&ignored, "slow").is_err());
    assert!(is_run("#[test]\nfn fast() {}\n", "fast").is_ok());
}
