//! Rules of Rust text: where `unsafe` may be, sizes, openings, names, what must not stay, citations.

use crate::source::{File, numbered, split};
use crate::{Fault, assert_caught, hold_for_each};

/// Where `unsafe` may be written.
const UNSAFE_HOMES: [&str; 2] = ["engine/ring/", "engine/index/src/memory.rs"];
/// Lines of a file at most, unit tests aside.
const FILE_LINES_MAX: usize = 600;
/// Module names that say nothing.
const EMPTY_NAMES: [&str; 8] = [
    "util", "utils", "helper", "helpers", "common", "misc", "manager", "managers",
];
/// Openings of function names that say nothing.
const EMPTY_VERBS: [&str; 4] = ["get_", "handle_", "process_", "do_"];
/// Calls that mark unfinished work.
const UNFINISHED: [&str; 3] = ["dbg!", "todo!", "unimplemented!"];

/// Whether `word` stands in `line` as a word of its own.
fn has_word(line: &str, word: &str) -> bool {
    let inside = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(inside) && !after.is_some_and(inside)
    })
}

fn rust_lines(file: &File, fault: impl Fn(&str) -> Option<String>) -> Vec<Fault> {
    if !file.is_rust() {
        return Vec::new();
    }
    let (code, _) = split(&file.text);
    let faults =
        numbered(&code).filter_map(|(line, text)| Some(Fault::new(file, line, fault(text)?)));
    faults.collect()
}

fn unsafe_stays_home(file: &File) -> Vec<Fault> {
    if UNSAFE_HOMES.iter().any(|home| file.path.starts_with(home)) {
        return Vec::new();
    }
    rust_lines(file, |line| {
        has_word(line, "unsafe").then(|| {
            "unsafe outside its home; put the operation behind a safe function of engine/ring"
                .to_owned()
        })
    })
}

fn files_are_short(file: &File) -> Vec<Fault> {
    if !file.is_rust() || file.stem() == "tests" {
        return Vec::new();
    }
    let (code, _) = split(&file.text);
    // Unit tests close a file: what follows the first inline test module is theirs.
    let lines: Vec<_> = code.lines().collect();
    let opens = |pair: &[&str]| pair[0].trim() == "#[cfg(test)]" && pair[1].contains("mod tests {");
    let length = lines.windows(2).position(opens).unwrap_or(lines.len());
    if length <= FILE_LINES_MAX {
        return Vec::new();
    }
    let what = format!(
        "{length} lines without tests; split it below {FILE_LINES_MAX} along what changes alone"
    );
    vec![Fault::new(file, length, what)]
}

fn files_say_what_they_are_for(file: &File) -> Vec<Fault> {
    // A target without a main function of its own may begin with attributes of the crate.
    let first = file.text.lines().find(|line| !line.starts_with("#!["));
    if !file.is_rust() || first.is_some_and(|line| line.starts_with("//! ")) {
        return Vec::new();
    }
    let what = "opens without //!; say what the file is for, what it leaves out and who calls it";
    vec![Fault::new(file, 1, what)]
}

fn modules_have_names(file: &File) -> Vec<Fault> {
    if !file.is_rust() {
        return Vec::new();
    }
    let mut parts = file.path.trim_end_matches(".rs").split('/');
    let what = |name: &str| format!("{name} says nothing; name it after the one thing it holds");
    if let Some(name) = parts.find(|part| EMPTY_NAMES.contains(part)) {
        return vec![Fault::new(file, 1, what(name))];
    }
    rust_lines(file, |line| {
        let name = line.split("mod ").nth(1)?.trim_end_matches([' ', '{', ';']);
        EMPTY_NAMES.contains(&name).then(|| what(name))
    })
}

fn functions_have_names(file: &File) -> Vec<Fault> {
    rust_lines(file, |line| {
        let name = line.split("fn ").nth(1)?;
        let verb = EMPTY_VERBS.iter().find(|verb| name.starts_with(**verb))?;
        Some(format!(
            "a function {verb}…; name it after what it does or returns"
        ))
    })
}

fn nothing_is_unfinished(file: &File) -> Vec<Fault> {
    let mut faults = rust_lines(file, |line| {
        let left = UNFINISHED.iter().find(|left| line.contains(**left));
        if let Some(left) = left {
            return Some(format!("{left} left in; finish it or take it out"));
        }
        let ignored = line.contains("#[ignore]") || line.contains("#[ignore =");
        ignored.then(|| "an ignored test; make it pass, or take it out".to_owned())
    });
    if file.is_rust() {
        let (_, comments) = split(&file.text);
        let left = numbered(&comments).filter(|(_, line)| {
            ["TODO", "FIXME", "XXX"]
                .iter()
                .any(|word| has_word(line, word))
        });
        faults.extend(left.map(|(line, _)| {
            Fault::new(
                file,
                line,
                "a note of unfinished work; file an issue and take the note out",
            )
        }));
    }
    faults
}

fn citations_have_one_form(file: &File) -> Vec<Fault> {
    let text = match () {
        () if file.is_rust() => split(&file.text).1,
        () if file.path.ends_with(".md") => file.text.clone(),
        () => return Vec::new(),
    };
    let what = "a citation in another form; write `RFC 3261 17.1.1.2`";
    let faults = numbered(&text).filter(|(_, line)| has_odd_citation(line));
    faults
        .map(|(line, _)| Fault::new(file, line, what))
        .collect()
}

/// Whether a line cites an RFC otherwise than as `RFC 3261 17.1.1.2`.
fn has_odd_citation(line: &str) -> bool {
    // Names of files and addresses are no citations, nor are values of options.
    let words: Vec<_> = line
        .split_whitespace()
        .filter(|word| !word.contains(['/', '`', '_']))
        .collect();
    let number = |word: &str| word.starts_with(|first: char| first.is_ascii_digit());
    (0..words.len()).any(|at| {
        let word = words[at].trim_start_matches(['(', '"', '[']);
        if at > 0 && words[at - 1].starts_with("--") {
            return false;
        }
        let next = words.get(at + 1).copied().unwrap_or("");
        let after = words.get(at + 2).copied().unwrap_or("");
        let Some(tail) = word
            .get(..3)
            .filter(|head| head.eq_ignore_ascii_case("rfc"))
            .map(|_| &word[3..])
        else {
            return false;
        };
        let glued = number(tail.trim_start_matches('-'));
        let lower = tail.is_empty() && !word.starts_with("RFC") && number(next);
        let wordy = tail.is_empty()
            && number(next)
            && !next.ends_with([',', '.', ';', ':'])
            && (after.starts_with("section") || after.starts_with('§'));
        glued || lower || wordy
    })
}

#[test]
fn unsafe_is_written_in_its_home_only() {
    hold_for_each(unsafe_stays_home);
    let text = "//! A file.\n#![forbid(unsafe_code)]\n// unsafe in words\nfn f() { unsafe {} }\n";
    assert_caught(unsafe_stays_home, "engine/wire/src/a.rs", text, &[4]);
    assert_caught(unsafe_stays_home, "engine/index/src/runs.rs", text, &[4]);
    assert_caught(unsafe_stays_home, "engine/index/src/memory.rs", text, &[]);
    assert_caught(unsafe_stays_home, "docs/a.md", text, &[]);
}

#[test]
fn files_are_short_without_their_tests() {
    hold_for_each(files_are_short);
    let long = "x();\n".repeat(FILE_LINES_MAX);
    let tests = "#[cfg(test)]\nmod tests {\n}\n";
    assert_caught(
        files_are_short,
        "bench/src/a.rs",
        &format!("{long}{tests}"),
        &[],
    );
    assert_caught(
        files_are_short,
        "bench/src/a.rs",
        &format!("{long}y();\n{tests}"),
        &[601],
    );
    assert_caught(
        files_are_short,
        "bench/src/a/tests.rs",
        &format!("{long}{long}"),
        &[],
    );
}

#[test]
fn every_file_says_what_it_is_for() {
    hold_for_each(files_say_what_they_are_for);
    assert_caught(
        files_say_what_they_are_for,
        "bench/src/a.rs",
        "fn f() {}\n",
        &[1],
    );
    assert_caught(files_say_what_they_are_for, "bench/src/a.rs", "", &[1]);
    let attribute = "#![no_main]\n//! What.\n";
    assert_caught(
        files_say_what_they_are_for,
        "bench/src/a.rs",
        attribute,
        &[],
    );
}

#[test]
fn modules_are_named_after_what_they_hold() {
    hold_for_each(modules_have_names);
    assert_caught(modules_have_names, "bench/src/utils.rs", "//! A.\n", &[1]);
    assert_caught(
        modules_have_names,
        "bench/src/common/a.rs",
        "//! A.\n",
        &[1],
    );
    let text = "//! A.\nmod misc;\npub mod helpers {}\nmod commons;\n";
    assert_caught(modules_have_names, "bench/src/a.rs", text, &[2]);
    assert_caught(
        modules_have_names,
        "bench/src/a.rs",
        "pub mod helpers {\n",
        &[1],
    );
}

#[test]
fn functions_are_named_after_what_they_do() {
    hold_for_each(functions_have_names);
    let text = "fn get_port() {}\nfn gets_port() {}\npub fn handle_it() {}\nfn done() {}\n";
    assert_caught(functions_have_names, "bench/src/a.rs", text, &[1, 3]);
}

#[test]
fn nothing_unfinished_stays() {
    hold_for_each(nothing_is_unfinished);
    let text = "dbg!(1);\n#[ignore]\nfn f() { todo!() }\nlet s = \"todo!\";\n// TODO: later\n";
    assert_caught(nothing_is_unfinished, "bench/src/a.rs", text, &[1, 2, 3, 5]);
}

#[test]
fn citations_of_rfcs_have_one_form() {
    hold_for_each(citations_have_one_form);
    let text = "// RFC 3261 17.1.1.2: good.\n// RFC3261 bad\n// RFC-3261 bad\n// RFC 3428 section 8\n\
        // rfc 3261\n// (RFC 3261, section 8 of it) good\n// tests/data/rfc4475 good\n\
        // bench --method rfc7502 good\n";
    assert_caught(
        citations_have_one_form,
        "bench/src/a.rs",
        text,
        &[2, 3, 4, 5],
    );
    assert_caught(citations_have_one_form, "docs/a.md", "see RFC3261\n", &[1]);
    assert_caught(
        citations_have_one_form,
        "bench/src/a.rs",
        "let rfc3261 = 1;\n",
        &[],
    );
}
