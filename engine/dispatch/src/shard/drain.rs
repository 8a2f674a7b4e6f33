//! The drain: a shard that ends takes no more orders, lets what is in flight end, and names the rest.

use super::Shard;
use crate::ledger::Outcome;
use crate::next_hop::Waiting;
use crate::outcome::Uri;
use crate::transaction::Target;
use sirocco_index::Identity;

/// One unit that a stop cancelled, named so that its initiator can order it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remainder {
    /// Name of the order.
    pub order: String,
    /// User identity, or the GRUU that the SIR was for.
    pub identity: String,
    /// Device identity as it rides in a SIR: an IMEI is obfuscated. `None` if devices had not been
    /// selected yet, or the identity is a GRUU.
    pub device: Option<String>,
    /// Whether a SIR was sent, whose answer is unknown.
    pub sent: bool,
}

impl Shard {
    /// Refuses new orders from now on and ends loads; everything accepted goes on.
    pub fn drain(&mut self) {
        self.draining = true;
        self.intake.stop_loads();
    }

    /// Whether the shard drains.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Cancels all that is not settled and hands each unit's name to `name`; the ledger balances after.
    pub fn cancel(&mut self, now: u64, mut name: impl FnMut(Remainder)) {
        self.drain();
        self.cancel_transactions(now, &mut name);
        let mut waiting: Vec<Waiting> = self.next_hops.take_all().collect();
        waiting.extend(self.held.take());
        waiting.extend(self.resumed.drain(..));
        waiting.extend(self.deferred.drain().flat_map(|(_, queue)| queue));
        self.deferred_count = 0;
        for Waiting { target, .. } in waiting {
            name(self.remainder(&target, false));
            self.settle_target(&target, Outcome::Cancelled);
        }
        self.cancel_candidates(&mut name);
    }

    fn cancel_transactions(&mut self, now: u64, name: &mut impl FnMut(Remainder)) {
        let open: Vec<_> = self.transactions.open_handles().collect();
        for handle in open {
            let Some(transaction) = self.transactions.find(handle) else {
                continue;
            };
            let (target, sent) = (transaction.target, transaction.transmissions() > 0);
            name(self.remainder(&target, sent));
            self.conclude(now, handle, Outcome::Cancelled);
        }
    }

    fn cancel_candidates(&mut self, name: &mut impl FnMut(Remainder)) {
        loop {
            while let Some(candidate) = self.candidates.pop_front() {
                name(Remainder {
                    order: self.intake.at(candidate.order).name.clone(),
                    identity: self.aor(candidate.identity),
                    device: None,
                    sent: false,
                });
                self.settle_due(candidate.due_ns, candidate.order, Outcome::Cancelled);
            }
            if !self.refill(u64::MAX) {
                return;
            }
        }
    }

    fn remainder(&self, target: &Target, sent: bool) -> Remainder {
        let uri = Uri::of(&self.index, &self.kept, target);
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        Remainder {
            order: self.intake.at(target.order).name.clone(),
            identity: text(&uri.aor),
            device: Some(text(&uri.device)).filter(|device| !device.is_empty()),
            sent,
        }
    }

    pub(super) fn aor(&self, identity: Identity) -> String {
        let mut digits = [0; 16];
        let text = self.index.unpack(identity, &mut digits);
        String::from_utf8_lossy(&[text.prefix, text.user, text.suffix].concat()).into_owned()
    }
}
