//! What decisions of devices are answered with, where that is not the answer of their class: a status of
//! its own, or silence. Each is one more class index behind classes and overrides.
//!
//! Made once at the start. Called by `judge`.

use sirocco_wire::sip::SirKey;

use crate::mix::{Behaviour, Mix};
use crate::session::{Delay, SessionPolicy};

/// The answers of a mix and of the policies on it.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    /// The key that SIRs are checked with.
    pub(crate) key: Option<SirKey>,
    /// The status of every class index, 0 for silence.
    statuses: Vec<u16>,
    /// In which time every class index answers.
    delays: Vec<Delay>,
    /// The first class index of these.
    first: usize,
    behaviours: Vec<(String, Behaviour)>,
}

impl Outcomes {
    /// Collects what may be answered: each status in the time of each class that decides.
    pub(crate) fn new(
        mix: &Mix,
        policies: &[Option<SessionPolicy>],
        key: Option<SirKey>,
    ) -> Outcomes {
        let named = mix.named_behaviours();
        let mut delays: Vec<Delay> = named.map(|(_, behaviour)| behaviour.delay()).collect();
        let named = mix.named_behaviours();
        let mut statuses: Vec<u16> = named.map(|(_, b)| b.status().unwrap_or(0)).collect();
        let first = statuses.len();
        let mut wanted: Vec<(u16, Delay)> = Vec::new();
        for (policy, &delay) in policies.iter().zip(&delays) {
            let Some(policy) = policy else {
                continue;
            };
            let own = [
                policy.declined_status,
                policy.unmatched_status,
                policy.connected_status,
            ];
            // Forks may be answered with what any class answers.
            let all = own.into_iter().chain(statuses.iter().copied()).chain([0]);
            for status in all {
                let delay = if status == 0 { Delay::None } else { delay };
                if !wanted.contains(&(status, delay)) {
                    wanted.push((status, delay));
                }
            }
        }
        wanted.sort_by_key(|&(status, _)| status);
        let behaviours = wanted.iter().map(|&(status, delay)| {
            let behaviour = match (status, delay) {
                (0, _) => Behaviour::Silent,
                (status, Delay::None) => Behaviour::Answer {
                    status,
                    retry_after_s: None,
                },
                (status, delay) => Behaviour::Late { delay, status },
            };
            (format!("decided-{}", behaviour.default_name()), behaviour)
        });
        let behaviours = behaviours.collect();
        for (status, delay) in wanted {
            statuses.push(status);
            delays.push(delay);
        }
        Outcomes {
            key,
            statuses,
            delays,
            first,
            behaviours,
        }
    }

    /// Returns the status of each class index, 0 for silence.
    pub(crate) fn statuses(&self) -> &[u16] {
        &self.statuses
    }

    /// Returns the class index that answers `status`: `class` itself where it does.
    #[inline]
    pub(crate) fn of(&self, class: u8, status: u16) -> u8 {
        if self.statuses[usize::from(class)] == status {
            return class;
        }
        let delay = match status {
            0 => Delay::None,
            _ => self.delays[usize::from(class)],
        };
        let mut decided = self.statuses[self.first..]
            .iter()
            .zip(&self.delays[self.first..]);
        let at = decided.position(|one| one == (&status, &delay));
        at.map_or(class, |at| (self.first + at) as u8)
    }

    /// Returns what a class index behind the mix does.
    pub(crate) fn behaviour(&self, class: u8) -> Behaviour {
        let at = usize::from(class).checked_sub(self.first);
        let named = at.and_then(|at| self.behaviours.get(at));
        named.map_or(Behaviour::Silent, |(_, behaviour)| *behaviour)
    }

    /// Iterates over names and behaviours, in the order of their class index.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&str, Behaviour)> {
        self.behaviours
            .iter()
            .map(|(name, behaviour)| (name.as_str(), *behaviour))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_answered_by_indices_behind_the_mix() {
        let mix: Mix = "200:1,silent:1;edges(0):503".parse().unwrap();
        let policy = SessionPolicy::default();
        let outcomes = Outcomes::new(&mix, &[Some(policy), None, None], None);
        assert_eq!(outcomes.of(0, 200), 0);
        assert_eq!(outcomes.of(1, 0), 1);
        let declined = outcomes.of(0, 603);
        assert!(declined > 2);
        assert_eq!(outcomes.behaviour(declined).status(), Some(603));
        assert_eq!(outcomes.behaviour(outcomes.of(0, 0)), Behaviour::Silent);
        assert_eq!(
            outcomes.of(1, 200) as usize,
            3 + outcomes
                .named()
                .position(|(name, _)| name == "decided-200")
                .unwrap()
        );
        let mix: Mix = "200:1,late(exponential(2s),200):1".parse().unwrap();
        let policy = || Some(SessionPolicy::default());
        let timed = Outcomes::new(&mix, &[policy(), policy()], None);
        let delay = "exponential(2s)".parse().unwrap();
        let late = Behaviour::Late { delay, status: 603 };
        assert_eq!(timed.behaviour(timed.of(1, 603)), late);
        assert_eq!(timed.behaviour(timed.of(0, 603)).delay(), Delay::None);
        assert_eq!(timed.behaviour(timed.of(1, 0)), Behaviour::Silent);
        let none = Outcomes::new(&mix, &[None, None, None], None);
        assert_eq!(none.named().count(), 0);
        assert_eq!(none.of(0, 603), 0, "nothing else to answer");
    }
}
