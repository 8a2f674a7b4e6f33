//! The reckoning: when all is over, the ledger, the orders' summaries and the wire tell the same story.

use sirocco_dispatch::intake::Tally;

use crate::observer::{Breach, ensure};
use crate::orders::Planned;
use crate::world::{MS, Story, World};

impl World {
    /// When all is over, the books, the summaries and the wire must tell the same story.
    pub(crate) fn reckon(&mut self) -> Result<Story, Breach> {
        let ledger = &self.shard.ledger;
        ensure(
            self.shard.in_flight() == 0 && self.shard.transactions_open() == 0,
            || format!("{} units are left", self.shard.in_flight()),
        )?;
        ensure(self.observer.open() == 0, || {
            format!("{} SIRs never ended", self.observer.open())
        })?;
        ensure(self.summaries.len() == self.taken.len(), || {
            format!(
                "{} orders taken, {} ended",
                self.taken.len(),
                self.summaries.len()
            )
        })?;
        let sum = |part: fn(&Tally) -> u64| {
            self.summaries
                .iter()
                .map(|ended| part(&ended.tally))
                .sum::<u64>()
        };
        let booked = [
            ("accepted", sum(|tally| tally.accepted), ledger.accepted),
            ("delivered", sum(|tally| tally.delivered), ledger.delivered),
            ("stored", sum(|tally| tally.stored), ledger.stored),
            ("failed", sum(|tally| tally.failed), ledger.failed()),
            ("expired", sum(|tally| tally.expired), ledger.expired),
            ("cancelled", sum(|tally| tally.cancelled), ledger.cancelled),
            ("named", self.names.len() as u64, ledger.cancelled),
            (
                "retransmitted",
                self.observer.retransmissions,
                ledger.retransmissions,
            ),
            (
                "sent",
                self.observer.counts.values().map(|count| count.sirs).sum(),
                ledger.sirs_sent,
            ),
        ];
        for (what, seen, booked) in booked {
            ensure(seen == booked, || {
                format!("{seen} {what}, but the ledger says {booked}")
            })?;
        }
        self.reckon_ends()?;
        self.reckon_orders()?;
        let ledger = &self.shard.ledger;
        Ok(Story {
            accepted: ledger.accepted,
            delivered: ledger.delivered,
            sirs_sent: ledger.sirs_sent,
            retransmissions: ledger.retransmissions,
            failed: ledger.failed(),
            expired: ledger.expired,
            cancelled: ledger.cancelled,
            simulated_ms: (self.now - self.start) / MS,
            trace: self.trace,
        })
    }

    /// Ends of SIRs that the wire saw are the ledger's, by cause.
    fn reckon_ends(&self) -> Result<(), Breach> {
        let ledger = &self.shard.ledger;
        let failed = ledger.failed_by_cause();
        for (&code, &ends) in &self.observer.ends {
            let booked = match code {
                200 => ledger.delivered,
                202 => ledger.stored,
                1000 => failed.get("timeout").copied().unwrap_or(0),
                1001 => failed.get("transport").copied().unwrap_or(0),
                // Units may expire or be cancelled before they are SIRs.
                1100 => ledger.expired.min(ends),
                1101 => ledger.cancelled.min(ends),
                // A 503 with Retry-After may be tried again.
                503 => failed
                    .get("503")
                    .copied()
                    .unwrap_or(0)
                    .max(ends - self.shunned().min(ends)),
                status => failed.get(&status.to_string()).copied().unwrap_or(0),
            };
            let is_exact = if code == 503 {
                booked <= ends
            } else {
                booked == ends
            };
            ensure(is_exact, || {
                format!("{ends} SIRs ended with {code}, but the ledger says {booked}")
            })?;
        }
        Ok(())
    }

    fn shunned(&self) -> u64 {
        self.observer
            .counts
            .values()
            .map(|count| count.shunned)
            .sum()
    }

    /// Every wanted device got what it was to get, if nothing cut its orders short.
    fn reckon_orders(&self) -> Result<(), Breach> {
        let is_cut = |order: &Planned| {
            order.deadline_ns.is_some() || order.is_load && self.drain_until.is_some()
        };
        if !self.names.is_empty() {
            return Ok(());
        }
        for order in &self.orders {
            let ended = self
                .summaries
                .iter()
                .find(|ended| ended.order == order.name);
            if let (Some(units), Some(ended), false) = (order.units, ended, is_cut(order)) {
                let accepted = ended.tally.accepted;
                ensure(accepted == units, || {
                    format!("{} came to {accepted} units, not {units}", order.name)
                })?;
            }
            let taken = self.orders.iter().enumerate();
            let taken = taken.filter(|(number, _)| self.taken.contains(number));
            let group = taken.map(|(_, other)| other);
            let group: Vec<_> = group
                .filter(|other| other.application == order.application)
                .collect();
            let is_exact = !group.iter().any(|order| is_cut(order) || order.one_in_turn);
            if is_exact && !self.plan.sheds() {
                self.reckon_group(&order.application, &group)?;
            }
        }
        Ok(())
    }

    fn reckon_group(&self, application: &str, group: &[&Planned]) -> Result<(), Breach> {
        for &device in self.people.settled.iter().flat_map(|(_, devices)| devices) {
            let person = &self.people.devices[device];
            let wanted: u64 = group.iter().map(|order| order.times(person)).sum();
            let count = self.observer.counts.get(&(application.to_owned(), device));
            let count = count.copied().unwrap_or_default();
            let is_right = count.sirs >= wanted && count.sirs <= wanted + count.shunned;
            ensure(is_right, || {
                format!(
                    "{} got {} SIRs of {application}, not {wanted}; failed: {:?}",
                    person.uri,
                    count.sirs,
                    self.shard.ledger.failed_by_cause()
                )
            })?;
        }
        Ok(())
    }
}
