//! The whole cycle and each refusal over datagrams, against a host and an outbox in memory.

use super::*;
use crate::testing::{Device, PEER, People, SECOND, config};
use crate::{End, Grant, Push, Refusal};
use sirocco_wire::sip::HeaderName;

mod cycle;
mod refusals;
