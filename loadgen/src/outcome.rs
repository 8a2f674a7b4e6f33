//! What decisions of devices are answered with, where that is not the answer of their class: a status of
//! its own, or silence. Each is one more class index behind classes and overrides.
//!
//! Made once at the start. Called by `judge`.

use sirocco_wire::sip::SirKey;

use crate::mix::{Behaviour, CLASSES_MAX, Mix};
use crate::session::SessionPolicy;

/// The answers of a mix and of the policies on it.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    /// The key that SIRs are checked with.
    pub(crate) key: Option<SirKey>,
    /// The status of every class index, 0 for silence.
    statuses: Vec<u16>,
    /// The first class index of these.
    first: usize,
    behaviours: Vec<(String, Behaviour)>,
}

impl Outcomes {
    /// Collects what may be answered; as many as class indices are left.
    pub(crate) fn new(
        mix: &Mix,
        policies: &[Option<SessionPolicy>],
        key: Option<SirKey>,
    ) -> Outcomes {
        let named = mix.named_behaviours();
        let mut statuses: Vec<u16> = named.map(|(_, b)| b.status().unwrap_or(0)).collect();
        let first = statuses.len();
        let mut wanted: Vec<u16> = policies
            .iter()
            .flatten()
            .flat_map(|policy| {
                [
                    policy.declined_status,
                    policy.unmatched_status,
                    policy.connected_status,
                ]
            })
            .collect();
        if !wanted.is_empty() {
            // Forks may be answered with what any class answers.
            wanted.extend_from_slice(&statuses);
            wanted.push(0);
        }
        wanted.sort_unstable();
        wanted.dedup();
        wanted.truncate(CLASSES_MAX - first);
        let behaviours = wanted.iter().map(|&status| match status {
            0 => ("decided-silent".to_owned(), Behaviour::Silent),
            status => {
                let retry_after_s = None;
                let behaviour = Behaviour::Answer {
                    status,
                    retry_after_s,
                };
                (format!("decided-{status}"), behaviour)
            }
        });
        let behaviours = behaviours.collect();
        statuses.extend(wanted);
        Outcomes {
            key,
            statuses,
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
        let decided = self.statuses[self.first..].iter();
        let at = decided.clone().position(|&one| one == status);
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
        let none = Outcomes::new(&mix, &[None, None, None], None);
        assert_eq!(none.named().count(), 0);
        assert_eq!(none.of(0, 603), 0, "nothing else to answer");
    }
}
