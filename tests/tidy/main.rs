//! Holds the rules of docs/style.md that the compiler and clippy cannot: arrows between crates, where
//! `unsafe` may live, sizes, names, citations, hosts and paths, and that documents name what exists.
//!
//! Every fault is told as `file:line: what is wrong; what to do`. Each rule is a function over text, and
//! has a test that plants a fault, so that none can rot into one that never fails.

mod arrows;
mod documents;
mod patent;
mod source;
mod style;

use source::{File, tree};

/// One breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    path: String,
    line: usize,
    what: String,
}

impl Fault {
    fn new(file: &File, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: file.path.clone(),
            line,
            what: what.into(),
        }
    }
}

/// Fails with all faults at once.
fn hold(faults: &[Fault]) {
    let lines: Vec<_> = faults
        .iter()
        .map(|fault| format!("{}:{}: {}", fault.path, fault.line, fault.what))
        .collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

/// Applies a rule to every file of the tree.
fn hold_for_each(rule: impl Fn(&File) -> Vec<Fault>) {
    let faults: Vec<_> = tree().iter().flat_map(rule).collect();
    hold(&faults);
}

/// Asserts that a planted text breaks a rule on the given lines and nowhere else.
fn assert_caught(rule: impl Fn(&File) -> Vec<Fault>, path: &str, text: &str, lines: &[usize]) {
    let file = File {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let caught: Vec<_> = rule(&file).iter().map(|fault| fault.line).collect();
    assert_eq!(caught, lines, "in {path}:\n{text}");
}
