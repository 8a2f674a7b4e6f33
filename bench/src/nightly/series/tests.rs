//! Whole suites over many nights.
