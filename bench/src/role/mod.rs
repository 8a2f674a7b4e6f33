//! The roles that run as children of a bench or on their own: engine and loadgen. Each turns stdin
//! lines into commands and writes JSON lines, one object a line, to stdout; stderr is for people.

pub mod engine;
pub mod loadgen;
pub mod population;
pub mod protocol;

use std::io::{self, Write};

use serde::Serialize;

/// Exit code of a check that failed, a regression or a missed objective.
pub const EXIT_FAILED: u8 = 1;

/// Exit code where there is nothing yet to compare with.
pub const EXIT_NO_BASELINE: u8 = 3;

/// Exit code of a role that could not do its work: the run is invalid.
pub const EXIT_INVALID: u8 = 2;

/// Exit code of a usage error.
pub const EXIT_USAGE: u8 = 4;

/// Writes `body` as one line with `event` as its name. A closed stdout is no error: whoever listened
/// is gone, and the closing of stdin ends the role.
pub fn emit<T: Serialize>(event: &str, body: &T) {
    let value = match serde_json::to_value(body) {
        Ok(serde_json::Value::Object(mut fields)) => {
            fields.insert("event".to_owned(), event.into());
            serde_json::Value::Object(fields)
        }
        _ => serde_json::json!({ "event": event }),
    };
    let mut line = value.to_string();
    line.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .ok();
}

/// Tells people something on stderr, under the program's name.
pub fn complain(words: impl std::fmt::Display) {
    let mut out = io::stderr().lock();
    // A closed stderr leaves nobody to tell.
    writeln!(out, "sirocco: {words}").ok();
}
