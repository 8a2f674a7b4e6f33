//! The roles that run as children of a bench or on their own: engine and loadgen. Each turns stdin
//! lines into commands and writes JSON lines, one object a line, to stdout; stderr is for people.

pub mod engine;
pub mod join;
pub mod loadgen;
pub mod population;
pub mod protocol;

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

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
    let line = event_line(event, body);
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .ok();
}

fn event_line<T: Serialize>(event: &str, body: &T) -> String {
    let value = match serde_json::to_value(body) {
        Ok(serde_json::Value::Object(mut fields)) => {
            fields.insert("event".to_owned(), event.into());
            serde_json::Value::Object(fields)
        }
        _ => serde_json::json!({ "event": event }),
    };
    let mut line = value.to_string();
    line.push('\n');
    line
}

/// Where a role's events go: its stdout, or a connection. Several threads may speak; a line stays whole.
#[derive(Clone)]
pub struct Voice(Arc<Mutex<dyn Write + Send>>);

impl Voice {
    /// Speaks into `out`.
    #[must_use]
    pub fn into(out: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(out)))
    }

    /// Writes `body` as one line with `event` as its name. As with [`emit`], nobody listening is no error.
    pub fn emit<T: Serialize>(&self, event: &str, body: &T) {
        let line = event_line(event, body);
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(line.as_bytes())
            .and_then(|()| out.flush())
            .ok();
    }
}

/// Tells people something on stderr, under the program's name.
pub fn complain(words: impl std::fmt::Display) {
    let mut out = io::stderr().lock();
    // A closed stderr leaves nobody to tell.
    writeln!(out, "sirocco: {words}").ok();
}
