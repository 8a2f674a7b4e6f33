//! What a run with sessions is like: settings of the engine, faults of the network and of devices, all
//! drawn from its seed.

use sirocco_dispatch::config::{EngineConfig, SessionEnd};

use super::call::{Call, Failing};
use crate::network::Faults;
use crate::random::Random;
use crate::world::MS;

const SECOND: u64 = 1_000_000_000;

/// What a run is like.
#[derive(Debug)]
pub struct Plan {
    /// The network.
    pub faults: Faults,
    /// The engine.
    pub config: EngineConfig,
    /// Longest time that a session is held, in milliseconds.
    pub hold_ms: u64,
    /// Whether the engine listens for MSRP.
    pub has_msrp: bool,
    /// Identities.
    pub identities: u64,
    /// Devices that are addressed themselves, in a thousand.
    pub direct_per_mille: u64,
    /// Orders.
    pub orders: u64,
    /// Time within which they come, in nanoseconds.
    pub orders_within_ns: u64,
    /// Devices that fail in one of the ways, in a thousand.
    pub failing_per_mille: u64,
    /// Devices that try another token first or another one later, in a thousand.
    pub cheating_per_mille: u64,
    /// Connections that are slow, half-open or reset, in a thousand.
    pub bad_cables_per_mille: u64,
    /// Whether the sessions of an edge share one connection.
    pub shares_cables: bool,
    /// Forged INVITEs for each true one.
    pub flood: u64,
    /// When the engine is told to end, if it is.
    pub drain_at: Option<u64>,
    /// Slabs that the kernel refuses to send, in a thousand.
    pub refused_per_mille: u64,
    /// Neither network nor device fails.
    pub is_calm: bool,
}

impl Plan {
    /// Draws a run.
    pub fn draw(random: &mut Random) -> Self {
        let is_calm = random.chance(200);
        let share = |random: &mut Random, high| if is_calm { 0 } else { random.between(0, high) };
        let is_cramped = !is_calm && random.chance(200);
        let session_end =
            *random.pick(&[SessionEnd::Engine, SessionEnd::Engine, SessionEnd::Device]);
        let config = EngineConfig {
            window_total: random.between(20, 2_000) as usize,
            window_per_next_hop: random.between(10, 600) as usize,
            transactions: 4_000,
            train_segments: random.between(1, 128) as usize,
            departure_us: random.between(0, 2_000),
            slabs: random.between(4, 64) as u32,
            session_end,
            session_linger_ms: random.below(3_000) as u32 * u32::from(random.chance(500)),
            sessions_max: if is_cramped {
                random.between(1, 20) as u32
            } else {
                2_048
            },
            tokens_remembered: if is_cramped { 1 << 10 } else { 1 << 13 },
            token_lifetime_s: random.between(60, 600) as u32,
            streams_max: if is_cramped {
                random.between(1, 4) as u32
            } else {
                512
            },
            ..EngineConfig::default()
        };
        Self {
            faults: Faults {
                lost_per_mille: share(random, 100),
                doubled_per_mille: share(random, 100),
                held_per_mille: share(random, 100),
                held_ns_max: random.between(1, 1_000) * MS,
                delay_ns: random.between(10_000, 40 * MS),
                grain_ns: *random.pick(&[1, 10_000, 200_000, 2 * MS]),
            },
            config,
            hold_ms: random.between(2_000, 60_000),
            has_msrp: random.chance(800),
            identities: random.clone().between(1, *random.pick(&[4, 30, 120])),
            direct_per_mille: *random.pick(&[0, 100, 1_000]),
            orders: random.between(1, 8),
            orders_within_ns: random.between(1, 20_000) * MS,
            failing_per_mille: share(random, 300),
            cheating_per_mille: share(random, 300),
            bad_cables_per_mille: share(random, 400),
            shares_cables: random.chance(500),
            flood: if random.chance(300) { 10 } else { 0 },
            drain_at: (!is_calm && random.chance(150)).then(|| random.below(30 * SECOND)),
            refused_per_mille: share(random, 10),
            is_calm,
        }
    }

    /// Whether rooms may be too small for all who are entitled.
    pub fn is_cramped(&self) -> bool {
        self.config.sessions_max < 1_000
    }

    /// Longest life of a session: a 2xx unanswered, time to connect, the slowest reader, content
    /// unanswered for each order, the hold time, a BYE unanswered, and slack.
    pub fn session_ns_max(&self) -> u64 {
        let orders = if self.config.keeps_sessions() {
            self.orders
        } else {
            1
        };
        (3 * 32 + 10 + 60 + orders * 62) * SECOND + self.hold_ms * MS
    }

    /// Draws how the device of a call behaves.
    pub fn shape(&self, random: &mut Random, call: &mut Call) {
        call.takes_msrp = random.chance(600);
        if random.chance(self.failing_per_mille) {
            call.failing = *random.pick(&[
                Failing::AfterInvite,
                Failing::AfterAccept,
                Failing::BeforeContent,
                Failing::BeforeBye,
                Failing::RestartOnAccept,
                Failing::RestartOnContent,
            ]);
        }
        let hangs_up = if self.config.session_end == SessionEnd::Device {
            800
        } else {
            100
        };
        call.hangs_up_ns = random.chance(hangs_up).then(|| random.below(2 * SECOND));
    }
}
