//! Memory follows what is open and stays: sessions in rounds, floods of strangers, connections that say
//! nothing, for as long as you like.

use sirocco_session::StreamId;

use super::cables::Reader;
use super::campaign::Campaign;
use super::plan::Plan;
use super::world::{Event, SECOND, World};
use crate::network::Faults;
use crate::random::Random;
use crate::world::MS;

/// Rounds until every list has its size: tokens of the first ones have expired, their contents are gone.
const WARM_UP_ROUNDS: usize = 40;
/// Rounds that are watched.
const WATCHED_ROUNDS: usize = 200;
/// Forms of orders, one a round.
const FORMS: usize = 10;
/// Strangers' requests in a round, each from an address of its own.
const FORGED: u64 = 400;
/// Connections in a round that never say anything, and connections that stop in the middle.
const HALF_OPEN: u64 = 20;

/// A page of texts or a list that doubles, should a round need more at once than all before it. What each of
/// the thousand requests of each round left behind would be more, were it two octets.
const SLACK_BYTES: usize = 160 << 10;

fn plan(random: &mut Random) -> Plan {
    let mut plan = Plan::draw(random);
    plan.faults = Faults {
        lost_per_mille: 30,
        doubled_per_mille: 30,
        held_per_mille: 30,
        held_ns_max: 100 * MS,
        delay_ns: MS,
        grain_ns: 1,
    };
    plan.config.sessions_max = 4_096;
    plan.config.tokens_remembered = 1 << 12;
    plan.config.token_lifetime_s = 5;
    plan.config.streams_max = 64;
    plan.config.slabs = 64;
    plan.has_msrp = true;
    plan.identities = 60;
    plan.orders = 0;
    plan.failing_per_mille = 100;
    plan.cheating_per_mille = 100;
    plan.bad_cables_per_mille = 100;
    plan.flood = 0;
    plan.drain_at = None;
    plan.is_calm = false;
    plan
}

impl World {
    fn round(&mut self) {
        let number = self.campaigns.len();
        self.start = self.now;
        // Orders come again and again in the same forms: only chance on the wire differs.
        let mut form = Random::new((number % FORMS) as u64);
        let campaign = Campaign::draw(&mut form, &self.people, number);
        self.campaigns.push(campaign);
        self.network.at(self.now, Event::Order(number));
        for _ in 0..FORGED {
            let at = self.now + self.random.below(SECOND);
            self.network.at(at, Event::Forged);
        }
        for quiet in 0..HALF_OPEN {
            self.connect_and_stop(quiet);
        }
        self.live()
            .unwrap_or_else(|breach| panic!("round {number}: {breach}"));
        // The sweeps take what is over, some of it a turn.
        for _ in 0..20 {
            self.now += 10 * SECOND;
            self.turn()
                .unwrap_or_else(|breach| panic!("round {number}: {breach}"));
        }
    }

    /// A stranger connects and says nothing, or half of something that never ends.
    fn connect_and_stop(&mut self, quiet: u64) -> StreamId {
        let peer = ([127, 8, 0, quiet as u8], 40_000).into();
        let reader = Reader {
            bytes: 0,
            every_ns: SECOND,
        };
        let stream = self.cables.connect(peer, reader, None);
        self.open_cable(stream, peer);
        if quiet.is_multiple_of(2) {
            let half = format!("MSRP stop SEND\r\nTo-Path: {}", "x".repeat(1_500));
            self.network
                .at(self.now + MS, Event::Octets(stream, half.as_bytes().into()));
        }
        stream
    }
}

#[test]
fn memory_of_sessions_reaches_a_plateau_and_stays_there() {
    for seed in [1, 2] {
        let mut random = Random::new(seed);
        let plan = plan(&mut random);
        let mut world = World::with_plan(random, plan);
        let bytes: Vec<_> = (0..WARM_UP_ROUNDS + WATCHED_ROUNDS)
            .map(|_| {
                world.round();
                world.shard.session_bytes()
            })
            .collect();
        let counts = world.shard.session_counts();
        assert!(counts.opened > 1_000, "{counts:?}");
        assert!(counts.streams_silent > 100, "{counts:?}");
        assert!(counts.refused.token_forged > 3_000, "{counts:?}");
        let (first, last) = bytes[WARM_UP_ROUNDS..].split_at(WATCHED_ROUNDS / 2);
        let most = |bytes: &[usize]| bytes.iter().copied().max().expect("rounds");
        assert!(
            most(last) <= most(first) + SLACK_BYTES,
            "seed {seed}: {bytes:?}"
        );
    }
}

#[test]
fn a_flood_of_strangers_costs_no_memory() {
    let mut random = Random::new(7);
    let mut plan = plan(&mut random);
    // An identity or a device that is text is compared octet by octet, in memory that is given back.
    plan.direct_per_mille = 0;
    let mut world = World::with_plan(random, plan);
    let flood = |world: &mut World| {
        for _ in 0..5_000 {
            world.now += MS / 20;
            world.network.at(world.now, Event::Forged);
            world.turn().expect("no breach");
        }
        (world.shard.session_bytes(), world.forged_allocations)
    };
    let (bytes, _) = flood(&mut world);
    let (again, before) = flood(&mut world);
    let (still, after) = flood(&mut world);
    assert_eq!((bytes, bytes), (again, still), "octets of sessions");
    let counts = world.shard.session_counts();
    assert!(counts.refused.token_forged > 1_000, "{counts:?}");
    assert_eq!(counts.opened, 0);
    assert!(after - before <= 5_000, "{} allocations", after - before);
}
