//! The whole cycle, each refusal, connections and MSRP, against a host and an outbox in memory.

use super::*;
use crate::testing::{Device, PEER, People, SECOND, config, ended};
use crate::{End, Grant, Push, Refusal};
use sirocco_wire::sip::HeaderName;

mod cycle;
mod msrp;
mod refusals;
mod simulation;
mod streams;
