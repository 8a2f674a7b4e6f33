//! A slow-down of a known size, compiled in only with the feature `planted-slow-down`: the proof of the
//! nightly run has to find it in a history of real nights. No build that anybody uses has it.

use sirocco_ring::clock;

/// Share of a turn's time that is burned on top of it.
const SHARE: f64 = 0.05;

/// Spins for [`SHARE`] of the time since `began_ns`.
pub fn slow_down(began_ns: u64) {
    let now = clock::now_ns();
    let until = now + (now.saturating_sub(began_ns) as f64 * SHARE) as u64;
    while clock::now_ns() < until {
        std::hint::spin_loop();
    }
}
