//! What a device does with one transmission of a SIR: the behaviour of its class, or of an edge
//! override that is on, and the memory that makes a retransmission get what the first one got.
//!
//! It decides and counts; bytes are written by `source`, trains made by `population`. Every choice is
//! a function of the seed, the Request-URI, the branch and the transmission's number, so the same
//! traffic gets the same treatment again. Called by `population` once per accepted request.

use crate::hash::{scaled, seeded};
use crate::journal::Journal;
use crate::late::GATHER_NS;
use crate::mix::{Behaviour, DELAY_MS_MAX, Mix};
use crate::outcome::Outcomes;
use crate::seen::{Seen, Sighting};
use crate::session::{Delay, Setting};
use crate::tally::{ClassCounts, Tally};

/// Separates the loss of a transmission from other choices made of the same hash.
const LOSS_SALT: u64 = 0x6c6f_7373_0000_0000;
/// Separates the time of an answer from other choices made of the same hash.
const LATE_SALT: u64 = 0x6c61_7465_0000_0000;
/// What one class may wait beyond its delay: the gathering of late answers.
const GATHER_MS: u64 = GATHER_NS / NS_PER_MS;
const NS_PER_MS: u64 = 1_000_000;

/// The hashes by which a request is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    /// Of the Request-URI.
    pub(crate) uri_hash: u64,
    /// Of the whole branch of the top Via.
    pub(crate) branch_hash: u64,
}

/// What happens to one transmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Answer now, with so many copies behind the answer.
    Answer { copies: u8 },
    /// Keep the answer for so many nanoseconds.
    Defer { delay_ns: u64 },
    /// No answer.
    Withhold,
}

/// Decides for every device of the population.
pub(crate) struct Judge {
    pub(crate) mix: Mix,
    pub(crate) seed: u64,
    pub(crate) seen: Seen,
    pub(crate) tally: Tally,
    pub(crate) journal: Option<Journal>,
    pub(crate) started_ns: u64,
    /// What decisions of devices are answered with, behind the classes and overrides.
    pub(crate) outcomes: Outcomes,
}

impl Judge {
    /// Returns the class index of the override that rules `edge` now, if one does.
    #[inline]
    pub(crate) fn override_of(&self, edge: u16, now_ns: u64) -> Option<u8> {
        if self.mix.edges.is_empty() {
            return None;
        }
        let elapsed_ms = now_ns.saturating_sub(self.started_ns) / 1_000_000;
        let rules = |o: &crate::mix::EdgeOverride| o.covers(edge) && o.is_on(elapsed_ms);
        let index = self.mix.edges.iter().position(rules)?;
        Some((self.mix.classes.len() + index) as u8)
    }

    /// Decides about one transmission and counts it; returns the class index it was treated by. Of a
    /// first transmission `consider` may say which status it is answered with instead of its class's.
    #[inline]
    pub(crate) fn decide(
        &mut self,
        keys: Keys,
        now_ns: u64,
        ruled: Option<u8>,
        consider: impl FnOnce(u8, &Setting<'_>) -> Option<u16>,
    ) -> (u8, Action) {
        let class = ruled.unwrap_or_else(|| self.mix.class_of(self.seed, keys.uri_hash) as u8);
        let mut sighting = self.seen.sight(keys.branch_hash, now_ns, class);
        let counts = &mut self.tally.classes[usize::from(sighting.class)];
        if sighting.transmission == 1 {
            counts.sirs += 1;
            if let Some(journal) = &mut self.journal {
                journal.note(keys.uri_hash, keys.branch_hash, now_ns);
            }
            let setting = Setting {
                mix: &self.mix,
                seed: self.seed,
                key: self.outcomes.key.as_ref(),
                statuses: self.outcomes.statuses(),
            };
            let status = consider(class, &setting);
            let answered = status.map_or(class, |status| self.outcomes.of(class, status));
            if answered != class {
                sighting.class = answered;
                self.seen.reclass(sighting, answered);
            }
        } else {
            counts.retransmissions += 1;
        }
        let class = sighting.class;
        let behaviour = self.behaviour(class);
        let action = self.act(behaviour, keys, sighting);
        let genuine = !matches!(behaviour, Behaviour::Garbage | Behaviour::Forged { .. });
        if genuine && matches!(action, Action::Answer { .. }) {
            self.seen.settle(sighting);
        }
        (class, action)
    }

    #[inline]
    fn act(&mut self, behaviour: Behaviour, keys: Keys, sighting: Sighting) -> Action {
        let action = match behaviour {
            Behaviour::Answer { .. } | Behaviour::Garbage | Behaviour::Forged { .. } => {
                Action::Answer { copies: 0 }
            }
            Behaviour::Silent => Action::Withhold,
            Behaviour::Late { delay, .. } if sighting.transmission == 1 => Action::Defer {
                delay_ns: self.answer_ns(delay, keys.branch_hash),
            },
            // RFC 3261 17.2.2: before its final response a server transaction ignores
            // retransmissions; afterwards it sends the response again.
            Behaviour::Late { delay, .. }
                if sighting.age_ms
                    <= self.answer_ns(delay, keys.branch_hash) / NS_PER_MS + GATHER_MS =>
            {
                Action::Withhold
            }
            Behaviour::Late { .. } => Action::Answer { copies: 0 },
            Behaviour::Duplicate { copies, .. } => Action::Answer { copies },
            Behaviour::Lossy { drop_per_mille, .. } => {
                if loses(
                    self.seed,
                    keys.branch_hash,
                    sighting.transmission,
                    drop_per_mille,
                ) {
                    self.counts(sighting.class).lost += 1;
                    return Action::Withhold;
                }
                Action::Answer { copies: 0 }
            }
        };
        let counts = self.counts(sighting.class);
        match action {
            Action::Answer { copies } => {
                counts.answers += 1 + u64::from(copies);
                counts.copies += u64::from(copies);
            }
            Action::Withhold => counts.withheld += 1,
            Action::Defer { .. } => {}
        }
        action
    }

    /// Draws how long a device takes to answer a SIR: the same each time it is asked.
    fn answer_ns(&self, delay: Delay, branch_hash: u64) -> u64 {
        let drawn_ns = delay.draw_ns(seeded(self.seed ^ LATE_SALT, branch_hash));
        drawn_ns.min(u64::from(DELAY_MS_MAX) * NS_PER_MS)
    }

    #[inline]
    fn behaviour(&self, class: u8) -> Behaviour {
        let index = usize::from(class);
        let classes = self.mix.classes.len();
        match index.checked_sub(classes) {
            None => self.mix.classes[index].behaviour,
            Some(edge) if edge < self.mix.edges.len() => self.mix.edges[edge].behaviour,
            Some(_) => self.outcomes.behaviour(class),
        }
    }

    /// Returns the counts of one class.
    pub(crate) fn counts(&mut self, class: u8) -> &mut ClassCounts {
        &mut self.tally.classes[usize::from(class)]
    }
}

/// Tells whether a transmission is lost: the same seed, branch and number give the same fate.
#[inline]
fn loses(seed: u64, branch_hash: u64, transmission: u32, drop_per_mille: u16) -> bool {
    let transmission_hash = seeded(u64::from(transmission), branch_hash);
    scaled(seeded(seed ^ LOSS_SALT, transmission_hash), 1000) < u32::from(drop_per_mille)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// No device decides: the class's own answer.
    fn plain(_: u8, _: &Setting<'_>) -> Option<u16> {
        None
    }

    fn judge(mix: &str) -> Judge {
        let mix: Mix = mix.parse().unwrap();
        let classes = mix.classes.len() + mix.edges.len();
        Judge {
            mix,
            seed: 7,
            seen: Seen::with_capacity(1 << 16, false).unwrap(),
            tally: Tally::new(classes),
            journal: None,
            started_ns: 0,
            outcomes: Outcomes::default(),
        }
    }

    fn keys(n: u64) -> Keys {
        Keys {
            uri_hash: seeded(1, n),
            branch_hash: seeded(2, n),
        }
    }

    #[test]
    fn a_late_class_answers_once_and_then_repeats() {
        let mut judge = judge("late(600ms,200):1");
        let actions: Vec<Action> = [0, 500, 590, 700, 1500]
            .map(|ms| judge.decide(keys(1), 1000 * MS + ms * MS, None, plain).1)
            .to_vec();
        let answer = Action::Answer { copies: 0 };
        assert_eq!(
            actions,
            [
                Action::Defer { delay_ns: 600 * MS },
                Action::Withhold,
                Action::Withhold,
                answer,
                answer
            ]
        );
        let counts = judge.tally.classes[0];
        assert_eq!(
            (counts.sirs, counts.retransmissions, counts.withheld),
            (1, 4, 2)
        );
    }

    #[test]
    fn losses_are_independent_per_transmission_and_repeatable() {
        let run = || {
            let mut judge = judge("lossy(300,200):1");
            let mut fates = Vec::new();
            for transmission in 0..4 {
                for n in 0..2_500 {
                    let at_ns = transmission * 500 * MS;
                    fates.push(judge.decide(keys(n), at_ns, None, plain).1 == Action::Withhold);
                }
            }
            (fates, judge.tally.classes[0])
        };
        let (fates, counts) = run();
        assert_eq!(run().0, fates);
        // Four standard deviations of a binomial count: sqrt(10000 * 0.3 * 0.7) = 46.
        assert!((2_816..=3_184).contains(&counts.lost), "{}", counts.lost);
        assert_eq!(counts.lost + counts.answers, 10_000);
        let both = (0..2_500).filter(|&n| fates[n] && fates[n + 2_500]).count();
        assert!(
            (134..=316).contains(&both),
            "0.3 * 0.3 of 2500 is 225: {both}"
        );
    }

    #[test]
    fn an_override_rules_its_edges_while_it_is_on_and_retransmissions_keep_it() {
        let mut judge = judge("200:1;edges(2,on=1s,off=1s):503(retry-after=1)");
        assert_eq!(judge.override_of(1, 0), None);
        assert_eq!(judge.override_of(2, 999 * MS), Some(1));
        assert_eq!(judge.override_of(2, 1001 * MS), None);
        assert_eq!(judge.decide(keys(1), 999 * MS, Some(1), plain).0, 1);
        assert_eq!(judge.decide(keys(1), 1499 * MS, None, plain).0, 1);
        assert_eq!(judge.decide(keys(2), 1499 * MS, None, plain).0, 0);
    }

    #[test]
    fn silence_and_copies_are_counted() {
        let mut silent = judge("silent:1");
        assert_eq!(
            silent.decide(keys(1), 0, None, plain),
            (0, Action::Withhold)
        );
        assert_eq!(
            (
                silent.tally.classes[0].withheld,
                silent.tally.classes[0].answers
            ),
            (1, 0)
        );
        let mut twice = judge("dup(200,2):1");
        assert_eq!(
            twice.decide(keys(1), 0, None, plain),
            (0, Action::Answer { copies: 2 })
        );
        assert_eq!(
            (
                twice.tally.classes[0].answers,
                twice.tally.classes[0].copies
            ),
            (3, 2)
        );
    }
}
