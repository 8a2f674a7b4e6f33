//! What is seen of a run while it goes on: metrics over HTTP. They are read from the progress that the
//! workers publish (relaxed counters), so no worker is asked for anything. `reading` is one progress,
//! `metrics` writes it as OpenMetrics, `server` answers for it. Nothing here is a record's figure.

pub mod metrics;
pub mod reading;
pub mod server;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};

use crate::run::child::Side;
use reading::Reading;

/// The last progress of a bench's two sides, shared between its threads.
#[derive(Clone, Debug, Default)]
pub struct Latest(Arc<Mutex<Reading>>);

impl Latest {
    /// Keeps news of the sides.
    pub fn news(&self, sides: &HashMap<Side, Value>) {
        let mut generators = Value::Null;
        for (side, progress) in sides {
            if let (Side::Loadgen(_), Some(progress)) = (side, progress.as_object()) {
                add(&mut generators, progress);
            }
        }
        *self.seen() = Reading {
            engine: sides.get(&Side::Engine).cloned().unwrap_or_default(),
            loadgen: generators,
        };
    }

    /// What was seen last.
    #[must_use]
    pub fn read(&self) -> Reading {
        self.seen().clone()
    }

    fn seen(&self) -> MutexGuard<'_, Reading> {
        // Whoever held it left a whole value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds one generator's counts to those of the others.
fn add(sum: &mut Value, progress: &Map<String, Value>) {
    if sum.is_null() {
        *sum = Value::Object(Map::new());
    }
    for (name, count) in progress {
        let others = sum[name].as_u64().unwrap_or(0);
        sum[name] = match count.as_u64() {
            Some(count) => others.saturating_add(count).into(),
            None => count.clone(),
        };
    }
}
