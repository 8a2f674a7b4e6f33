//! Failures of the shard go to the flight recorder: a SIR is rendered again when its transaction has failed.
//! Nothing is recorded of what never became a transaction; the ledger counts that by cause.

use super::Shard;
use crate::branch::Handle;
use crate::flight::{Flight, FlightLog, Step, Subject};
use crate::kept::Kept;
use crate::ledger::Outcome;
use crate::report::Failures;
use crate::transaction::{FIRST_SENT_WITHIN_NS, Target, Transaction};
use sirocco_index::NEXT_HOP_DIRECT;
use sirocco_ring::tracepoints;
use std::net::{Ipv4Addr, SocketAddr};

impl Shard {
    /// What the flight recorder has kept so far.
    #[must_use]
    pub fn flight_log(&self) -> FlightLog {
        self.flights.log()
    }

    /// How much the flight recorder has seen and kept.
    #[must_use]
    pub fn failures(&self) -> Failures {
        self.flights.failures()
    }

    /// Records a transaction that has failed, with the answer that ended it, if one did.
    #[cold]
    pub(super) fn record_failure(
        &mut self,
        (now, handle): (u64, Handle),
        ended: &Transaction,
        outcome: Outcome,
        answer: Option<&[u8]>,
    ) {
        let due_ns = ended.target.due_ns;
        tracepoints::failure(outcome.code().into(), || now.saturating_sub(due_ns));
        let repetitions = self.flights.repetitions(handle);
        let again = repetitions.clone().filter(|each| each.status.is_none());
        let untimed = usize::from(ended.transmissions()).saturating_sub(1 + again.count());
        let what = (Subject::Sir, outcome.code());
        // The recorder is lent out, so that what it records can be rendered from the rest.
        let mut flights = std::mem::take(&mut self.flights);
        if let Some(flight) = flights.begin(now, what, untimed == 0) {
            self.describe(flight, ended, outcome);
            flight.untimed = untimed as u8;
            let peer = self.goes_to(&ended.target);
            if ended.transmissions() > 0 {
                let sir = flight.keep(|out| self.render_again(&ended.target, handle, out));
                flight.first_within_ns = FIRST_SENT_WITHIN_NS;
                flight.add(ended.first_sent_ns(now), Step::Sent, peer, sir);
                for each in repetitions {
                    let (step, octets) = each.status.map_or((Step::Sent, sir), |status| {
                        (Step::Provisional(status), (0, 0))
                    });
                    flight.add(each.at_ns, step, peer, octets);
                }
            }
            if let Some(answer) = answer {
                let octets = flight.keep(|out| out.extend_from_slice(answer));
                flight.add(now, Step::Received, self.peer, octets);
            }
            flight.add(now, Step::Failed, peer, (0, 0));
        }
        self.flights = flights;
    }

    fn describe(&self, flight: &mut Flight, ended: &Transaction, outcome: Outcome) {
        outcome.write_name(&mut flight.cause);
        let order = self.intake.at(ended.target.order);
        flight.order.push_str(&order.name);
        flight.due_ns = ended.target.due_ns;
        flight.retries = ended.retries();
    }

    /// Where the SIR of a target goes.
    fn goes_to(&self, target: &Target) -> SocketAddr {
        let hop = target.device.next_hop;
        let address = if hop == NEXT_HOP_DIRECT {
            let kept = || self.kept.of(target).and_then(Kept::contact);
            target.device.contact_v4().or_else(kept)
        } else {
            self.index.next_hops().get(usize::from(hop)).copied()
        };
        address.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }
}
