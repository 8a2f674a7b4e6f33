//! When load is due: shapes of a rate over time, arrivals, and the exact times that follow from both.
//!
//! A leaf: numbers in, numbers out. No clock, no I/O, no allocation once a schedule is made. The engine's
//! source of orders takes its times from here, and the bench its draws. A shape is a line of text (`grammar`), its storms are formulas (`presets`). Only additions,
//! multiplications, divisions and square roots are used, which IEEE 754 rounds alike everywhere, so a seed
//! means the same times on every machine.

#![forbid(unsafe_code)]

mod arrivals;
mod digest;
mod draw;
mod grammar;
mod presets;
mod schedule;
mod shape;
mod steer;

pub use arrivals::Arrivals;
pub use digest::Digest;
pub use draw::Draw;
pub use grammar::GrammarError;
pub use presets::{PRESETS, Preset};
pub use schedule::{Plan, Schedule};
pub use shape::{Kind, LENGTH_NS_MAX, RATE_MAX, SEGMENTS_MAX, Segment, Shape};
pub use steer::{STEERS_MAX, Steer, Steered};
