//! The settlement: when all is over, the sessions, the books of pushes, and what devices have tell the
//! same story.

use std::collections::{HashMap, HashSet};

use super::call::{Call, Failing, Title};
use super::world::World;
use crate::observer::{Breach, ensure};
use crate::world::MS;

/// Time behind the life of the last token after which nothing is owed, in nanoseconds.
const BEHIND_NS: u64 = 200_000_000_000;

/// What came of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// Calls of devices, refused ones included.
    pub calls: u64,
    /// Sessions.
    pub opened: u64,
    /// Contents delivered.
    pub delivered: u64,
    /// Chunks of MSRP.
    pub chunks: u64,
    /// Contents given to open sessions.
    pub direct: u64,
    /// Contents that a user got again.
    pub duplicates: u64,
    /// Sessions of devices that nobody wanted.
    pub unwanted: u64,
    /// Requests of strangers.
    pub forged: u64,
    /// Repetitions by timers of sessions.
    pub repetitions: u64,
    /// Calls refused because their token was used.
    pub refused_used: u64,
    /// Calls refused because their token had expired.
    pub refused_expired: u64,
    /// Calls refused because there was no room.
    pub overload: u64,
    /// Sessions that ended without ACK.
    pub no_ack: u64,
    /// Sessions whose device did not answer.
    pub no_answer: u64,
    /// Sessions whose device had restarted.
    pub gone: u64,
    /// Contents lost with their connection.
    pub connection: u64,
    /// Contents that sound devices had to get.
    pub owed: u64,
    /// Simulated time in milliseconds.
    pub simulated_ms: u64,
    /// A hash of everything that was sent, when and where to.
    pub trace: u64,
}

/// Runs a seed.
pub fn run(seed: u64) -> Result<Story, Breach> {
    let mut world = World::new(seed);
    let ended = world.live().and_then(|()| world.settle());
    ended.map_err(|breach| {
        let after = (world.now - world.start) as f64 / 1e9;
        format!("sessions, after {after:.6} s of simulated time: {breach}")
    })
}

impl World {
    fn settle(&mut self) -> Result<Story, Breach> {
        let simulated_ms = (self.now - self.start) / MS;
        let lifetime_s = u64::from(self.plan.config.token_lifetime_s);
        self.now += lifetime_s * 1_000 * MS + BEHIND_NS;
        self.turn()?;
        let counts = self.shard.session_counts();
        let pushes = self.shard.pushes();
        ensure(counts.open == 0, || {
            format!("{} sessions are left", counts.open)
        })?;
        ensure(pushes.residue == 0 && pushes.waiting == 0, || {
            format!("pushes are not settled: {pushes:?}")
        })?;
        let settled = counts.delivered + counts.failed.total();
        let is_settled = counts.pushing == 0 && settled == counts.opened + pushes.direct;
        ensure(is_settled, || {
            format!("contents are not settled: {counts:?}")
        })?;
        ensure(counts.delivered == pushes.delivered, || {
            format!("{counts:?} against {pushes:?}")
        })?;
        let accepted = self.witness.accepted_ns.len() as u64;
        let all_left = counts.no_room == 0 && self.shard.replies_dropped() == 0;
        ensure(
            accepted == counts.opened || !all_left && accepted < counts.opened,
            || format!("{accepted} sessions were seen, {} opened", counts.opened),
        )?;
        let got: u64 = self.witness.got.values().sum();
        ensure(counts.delivered <= got, || {
            format!(
                "{} contents are claimed, devices have {got}",
                counts.delivered
            )
        })?;
        let owed = self.settle_debts()?;
        self.settle_duplicates()?;
        Ok(Story {
            calls: self.calls.len() as u64,
            opened: counts.opened,
            delivered: counts.delivered,
            chunks: counts.chunks,
            direct: pushes.direct,
            duplicates: pushes.duplicates,
            unwanted: pushes.unwanted,
            forged: self.forged,
            repetitions: self.witness.repetitions,
            refused_used: counts.refused.token_used,
            refused_expired: counts.refused.token_expired,
            overload: counts.refused.overload,
            no_ack: counts.ended.no_ack,
            no_answer: counts.ended.no_answer,
            gone: counts.ended.gone,
            connection: counts.failed.connection,
            owed,
            simulated_ms,
            trace: self.trace,
        })
    }

    /// Each sound device that followed its SIR has its content, whatever the network and others did.
    fn settle_debts(&self) -> Result<u64, Breach> {
        let again = self.calls.iter().filter(|call| call.title == Title::Used);
        let again: HashSet<_> = again
            .map(|call| (call.device, call.token.as_str()))
            .collect();
        let is_owed = |call: &&Call| {
            let campaign = &self.campaigns[call.campaign];
            call.title == Title::Own
                && call.failing == Failing::None
                && !call.lost_cable
                && !again.contains(&(call.device, call.token.as_str()))
                && (campaign.is_short || call.takes_msrp && self.plan.has_msrp)
        };
        if self.plan.is_cramped() || self.is_drained {
            return Ok(0);
        }
        let mut owed = 0;
        for call in self.calls.iter().filter(is_owed) {
            owed += 1;
            ensure(self.witness.has(call.campaign, call.device), || {
                format!(
                    "call {} of {} did not get the content of its {} order {}; accepted: {}, refused: {:?}",
                    call.number,
                    self.people.devices[call.device].uri,
                    self.campaigns[call.campaign].mode,
                    call.campaign,
                    call.is_accepted,
                    call.refused
                )
            })?;
        }
        Ok(owed)
    }

    /// Only SIRs for all devices of a user bring duplicates; in a calm run each of them is booked.
    fn settle_duplicates(&self) -> Result<(), Breach> {
        let pushes = self.shard.pushes();
        let mut got: HashMap<(usize, &str), u64> = HashMap::new();
        let mut unwanted = 0;
        for &(campaign, device) in self.witness.got.keys() {
            let person = &self.people.devices[device];
            if self.campaigns[campaign].is_one_for_all() {
                *got.entry((campaign, &person.aor)).or_default() += 1;
            }
            unwanted += u64::from(!self.campaigns[campaign].wants(person));
        }
        let most: u64 = got.values().sum();
        ensure(pushes.duplicates <= most, || {
            format!(
                "{} duplicates are booked, devices got {most}",
                pushes.duplicates
            )
        })?;
        let all_short = self.campaigns.iter().all(|campaign| campaign.is_short);
        // One host has no more than its share of all connections; what waited for another one is not pushed.
        let all_connected = self.shard.session_counts().streams_refused == 0;
        if !(self.plan.is_calm && all_short && all_connected) || pushes.direct > 0 {
            return Ok(());
        }
        let duplicates: u64 = got.values().map(|count| count - 1).sum();
        ensure(
            pushes.duplicates == duplicates && pushes.unwanted == unwanted,
            || {
                format!(
                    "devices got {duplicates} duplicates, {unwanted} unwanted; the books say {pushes:?}"
                )
            },
        )
    }
}
