//! What the tests of this crate share: foreign tools, child processes, directories of their own.
//!
//! Depends on std alone and on no crate of Sirocco. Nothing but tests and `cargo ci` uses it.

pub mod process;
pub mod tools;
