//! Messages that leave: one lane for each kind, in which messages of one length to one place become
//! a train. A received train of one kind gives a train of another, so trains last a whole session.
//!
//! A message that is shorter than its lane's train is padded where its writer left a place for white
//! space; one that is longer, or goes elsewhere, begins another train. Faults of the network are
//! played here: each message may be lost, doubled, or held back. Called by `calls` and by the worker.

use std::collections::BTreeMap;

use crate::hash::{scaled, seeded};
use crate::population::Origin;

/// The octets of one train: what a slab of the port holds.
const TRAIN_BYTES_MAX: usize = 65_507;
/// Lengths are rounded up to this, so that texts of almost one length share a train.
const WIDTH_STEP: usize = 16;
/// The longest message ever written.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4096;
/// The messages held back at once for reordering.
const HELD_MAX: usize = 1024;

/// The kinds of messages that ride together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Invite,
    Ack,
    Reply,
    Bye,
    Message,
    Register,
}
const KINDS: usize = 6;

/// What the network does to messages, in thousandths each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Disturbance {
    /// Messages lost.
    pub loss_per_mille: u16,
    /// Messages doubled.
    pub duplicate_per_mille: u16,
    /// Messages that come one turn late.
    pub reorder_per_mille: u16,
}

impl Disturbance {
    /// Tells whether nothing is disturbed.
    #[inline]
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.loss_per_mille == 0 && self.duplicate_per_mille == 0 && self.reorder_per_mille == 0
    }

    /// Returns the share of messages that are disturbed in any way.
    #[must_use]
    pub fn sum_per_mille(&self) -> usize {
        let shares = [
            self.loss_per_mille,
            self.duplicate_per_mille,
            self.reorder_per_mille,
        ];
        shares.iter().map(|&share| usize::from(share)).sum()
    }

    /// Returns the fate that `hash` draws.
    pub(crate) fn fate(&self, hash: u64) -> Fate {
        let mut point = scaled(hash, 1000);
        for (share, fate) in [
            (self.loss_per_mille, Fate::Lost),
            (self.duplicate_per_mille, Fate::Doubled),
            (self.reorder_per_mille, Fate::Held),
        ] {
            if point < u32::from(share) {
                return fate;
            }
            point -= u32::from(share);
        }
        Fate::Passes
    }
}

/// What becomes of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Passes,
    Lost,
    Doubled,
    Held,
}

/// A message in the making, and where it may be widened by white space.
pub(crate) struct Draft {
    pub(crate) octets: Box<[u8; MESSAGE_BYTES_MAX]>,
    pub(crate) length: usize,
    pub(crate) space_at: usize,
}

/// Messages of one length to one place.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) origin: Origin,
    pub(crate) octets: Vec<u8>,
    pub(crate) segment: usize,
    pub(crate) count: usize,
}

/// All lanes of one worker.
pub(crate) struct Lanes {
    open: [Option<Load>; KINDS],
    ready: Vec<Load>,
    spare: Vec<Load>,
    segments_max: usize,
    disturbance: Disturbance,
    seed: u64,
    drawn: u64,
    held: Vec<(Kind, Origin, Vec<u8>)>,
    /// Messages written, by kind, and octets of all; what is lost on purpose counts.
    pub(crate) messages: [u64; KINDS],
    pub(crate) octets: u64,
    pub(crate) disturbed: u64,
}

impl Draft {
    pub(crate) fn new() -> Draft {
        Draft {
            octets: Box::new([0; MESSAGE_BYTES_MAX]),
            length: 0,
            space_at: 0,
        }
    }

    /// Takes a message that was drafted before.
    pub(crate) fn load(&mut self, octets: &[u8], space_at: usize) {
        let length = octets.len().min(MESSAGE_BYTES_MAX);
        self.octets[..length].copy_from_slice(&octets[..length]);
        (self.length, self.space_at) = (length, space_at.min(length));
    }
}

impl Lanes {
    pub(crate) fn new(segments_max: usize, disturbance: Disturbance, seed: u64) -> Lanes {
        Lanes {
            open: [const { None }; KINDS],
            ready: Vec::with_capacity(64),
            spare: Vec::with_capacity(64),
            segments_max,
            disturbance,
            seed: seeded(seed, 0x6c61_6e65),
            drawn: 0,
            held: Vec::new(),
            messages: [0; KINDS],
            octets: 0,
            disturbed: 0,
        }
    }

    /// Puts a drafted message on its lane.
    #[inline]
    pub(crate) fn put(&mut self, kind: Kind, origin: Origin, draft: &Draft) {
        let octets = &draft.octets[..draft.length];
        // What a connection carries comes whole and in order.
        if self.disturbance.is_none() || origin.stream > 0 {
            return self.append(kind, origin, octets, draft.space_at);
        }
        self.drawn += 1;
        match self.disturbance.fate(seeded(self.seed, self.drawn)) {
            Fate::Passes => self.append(kind, origin, octets, draft.space_at),
            Fate::Lost => {
                self.messages[kind as usize] += 1;
                self.disturbed += 1;
            }
            Fate::Doubled => {
                self.disturbed += 1;
                self.append(kind, origin, octets, draft.space_at);
                self.append(kind, origin, octets, draft.space_at);
            }
            Fate::Held => {
                self.disturbed += 1;
                if self.held.len() < HELD_MAX {
                    self.held.push((kind, origin, octets.to_vec()));
                }
            }
        }
    }

    #[inline]
    fn append(&mut self, kind: Kind, origin: Origin, octets: &[u8], space_at: usize) {
        self.messages[kind as usize] += 1;
        let lane = kind as usize;
        let fits = self.open[lane].as_ref().is_some_and(|load| {
            load.origin == origin
                && octets.len() <= load.segment
                && load.count < self.segments_max
                && load.octets.len() + load.segment <= TRAIN_BYTES_MAX
        });
        if !fits {
            self.close(lane);
            let segment = octets.len().next_multiple_of(WIDTH_STEP);
            self.open[lane] = Some(self.fresh(origin, segment));
        }
        let Some(load) = &mut self.open[lane] else {
            return;
        };
        let start = load.octets.len();
        load.octets.extend_from_slice(&octets[..space_at]);
        load.octets
            .resize(start + space_at + load.segment - octets.len(), b' ');
        load.octets.extend_from_slice(&octets[space_at..]);
        load.count += 1;
        self.octets += load.segment as u64;
    }

    fn fresh(&mut self, origin: Origin, segment: usize) -> Load {
        let mut load = self.spare.pop().unwrap_or_else(|| Load {
            origin,
            octets: Vec::with_capacity(TRAIN_BYTES_MAX),
            segment,
            count: 0,
        });
        load.octets.clear();
        (load.origin, load.segment, load.count) = (origin, segment, 0);
        load
    }

    fn close(&mut self, lane: usize) {
        self.ready.extend(self.open[lane].take());
    }

    /// Closes all trains, so that [`Lanes::take`] gives them.
    pub(crate) fn flush(&mut self) {
        (0..KINDS).for_each(|lane| self.close(lane));
    }

    /// Puts what was held back on its lane again: it leaves behind what came after it.
    pub(crate) fn release_held(&mut self) {
        for (kind, origin, octets) in std::mem::take(&mut self.held) {
            let end = octets.len();
            // Without a place for white space it goes as a train of its own.
            self.close(kind as usize);
            let mut load = self.fresh(origin, end);
            load.octets.extend_from_slice(&octets);
            load.count = 1;
            self.messages[kind as usize] += 1;
            self.octets += end as u64;
            self.ready.push(load);
        }
    }

    /// Zeroes what is counted.
    pub(crate) fn reset(&mut self) {
        (self.messages, self.octets, self.disturbed) = ([0; KINDS], 0, 0);
    }

    /// Returns the messages written, by kind.
    pub(crate) fn sent_by_kind(&self) -> BTreeMap<String, u64> {
        let names = ["invite", "ack", "reply", "bye", "message", "register"];
        let named = names.iter().zip(self.messages);
        named
            .map(|(name, count)| ((*name).to_owned(), count))
            .collect()
    }

    /// Takes the closed trains one by one, in the order they were closed; give each back.
    #[inline]
    pub(crate) fn drain(&mut self, mut send: impl FnMut(&Load)) {
        for load in self.ready.drain(..) {
            send(&load);
            self.spare.push(load);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::origin;

    fn draft(text: &[u8], space_at: usize) -> Draft {
        let mut draft = Draft::new();
        draft.octets[..text.len()].copy_from_slice(text);
        (draft.length, draft.space_at) = (text.len(), space_at);
        draft
    }

    fn taken(lanes: &mut Lanes) -> Vec<(usize, Vec<u8>)> {
        let mut all = Vec::new();
        lanes.flush();
        lanes.drain(|load| all.push((load.count, load.octets.clone())));
        all
    }

    #[test]
    fn messages_of_one_kind_and_place_become_one_train() {
        let mut lanes = Lanes::new(64, Disturbance::default(), 1);
        lanes.put(Kind::Invite, origin(), &draft(b"invite:70", 7));
        lanes.put(Kind::Ack, origin(), &draft(b"ack:70", 4));
        lanes.put(Kind::Invite, origin(), &draft(b"invite:7", 7));
        let trains = taken(&mut lanes);
        assert_eq!(trains.len(), 2);
        assert_eq!(trains[0], (2, b"invite:       70invite:        7".to_vec()));
        assert_eq!(trains[1], (1, b"ack:          70".to_vec()));
    }

    #[test]
    fn a_longer_message_another_place_or_a_full_train_begins_another() {
        let mut lanes = Lanes::new(2, Disturbance::default(), 1);
        lanes.put(Kind::Bye, origin(), &draft(b"0123456789", 3));
        lanes.put(Kind::Bye, origin(), &draft(b"0123456789abcdefg", 3));
        let elsewhere = Origin {
            socket: 9,
            ..origin()
        };
        lanes.put(Kind::Bye, elsewhere, &draft(b"x", 0));
        (0..3).for_each(|_| lanes.put(Kind::Bye, elsewhere, &draft(b"x", 0)));
        let counts: Vec<usize> = taken(&mut lanes).iter().map(|(count, _)| *count).collect();
        assert_eq!(counts, [1, 1, 2, 2]);
        assert!(taken(&mut lanes).is_empty());
    }

    #[test]
    fn disturbances_have_their_shares_and_repeat_by_seed() {
        let disturbance = Disturbance {
            loss_per_mille: 100,
            duplicate_per_mille: 100,
            reorder_per_mille: 100,
        };
        let fates = |seed| -> Vec<Fate> {
            (0..10_000)
                .map(|n| disturbance.fate(seeded(seed, n)))
                .collect()
        };
        assert_eq!(fates(3), fates(3));
        for fate in [Fate::Lost, Fate::Doubled, Fate::Held] {
            let count = fates(3).iter().filter(|&&drawn| drawn == fate).count();
            assert!((880..=1120).contains(&count), "{fate:?} {count}");
        }
        let mut lanes = Lanes::new(64, disturbance, 3);
        for _ in 0..1000 {
            lanes.put(Kind::Message, origin(), &draft(b"x", 0));
        }
        lanes.release_held();
        let sent: usize = taken(&mut lanes).iter().map(|(count, _)| count).sum();
        // Lost and doubled ones balance, held ones come later.
        assert!((930..=1070).contains(&sent), "{sent}");
    }
}
