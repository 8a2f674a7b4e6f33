//! The port against the kernel, over loopback, on both backends. One binary, a module per theme.

#![allow(missing_docs)]

mod loopback;
mod rig;
