//! Whole suites over many nights: how often noise raises an alarm, and that a planted slow-down does.

use super::*;
use sirocco_schedule::Draw;

/// Scenarios of a suite, each with every figure.
const SCENARIOS: usize = 12;
/// Nights of a history.
const NIGHTS: u64 = 30;

/// A roughly normal number of mean 0 and deviation 1: the sum of twelve uniform ones, less six.
fn normal(draw: &mut Draw) -> f64 {
    (0..12).map(|_| draw.unit()).sum::<f64>() - 6.0
}

/// Five repetitions of every figure a night; a machine and a night move them by 1 %, a repetition by 2 %.
/// CPU times of the first scenario are `slower` times as long from night 20 on.
fn history(seed: u64, slower: f64) -> Vec<Line> {
    let mut draw = Draw::new(seed);
    let mut lines = Vec::new();
    for night in 1..=NIGHTS {
        for scenario in 0..SCENARIOS {
            let mut line = Line {
                night_unix_s: night,
                commit: format!("c{night}"),
                scenario: format!("s{scenario}"),
                ..Line::default()
            };
            for figure in TIMES {
                let planted = scenario == 0 && figure == "cpu_ns_per_sir" && night >= 20;
                let level = if planted { 400.0 * slower } else { 400.0 };
                let night_level = level * (1.0 + 0.01 * normal(&mut draw));
                let repetition = |_| night_level * (1.0 + 0.02 * normal(&mut draw));
                let samples = (0..5).map(repetition).collect();
                line.times.insert(figure.to_owned(), samples);
            }
            lines.push(line);
        }
    }
    lines
}

/// The alarms of every night, each judged with the history that it had.
fn alarms(lines: &[Line]) -> Vec<(u64, Finding)> {
    let of = |night: u64| {
        let known = &lines[..SCENARIOS * night as usize];
        let found = findings(&continued(known, night));
        let news = found.into_iter().filter(|f| f.is_new && f.is_worse);
        news.map(move |finding| (night, finding))
            .collect::<Vec<_>>()
    };
    (1..=NIGHTS).flat_map(of).collect()
}

/// Histories of each kind.
const HISTORIES: u64 = 20;

#[test]
fn thirty_nights_of_noise_raise_far_less_than_one_alarm_on_average() {
    // A false step that is not there for a night and comes back is news again, so a single history may
    // have two.
    let raised: usize = (0..HISTORIES)
        .map(|seed| alarms(&history(seed, 1.0)).len())
        .sum();
    assert!(raised <= HISTORIES as usize / 4, "{raised}");
}

#[test]
fn a_slow_down_of_five_percent_is_found_in_each_history_with_its_commits() {
    for seed in 0..HISTORIES {
        let raised = alarms(&history(seed, 1.05));
        let own = |(_, finding): &&(u64, Finding)| {
            finding.scenario == "s0" && finding.figure == "cpu_ns_per_sir"
        };
        let found = raised.iter().find(own);
        let (night, finding) = found.unwrap_or_else(|| panic!("seed {seed}: {raised:?}"));
        assert!((22..=27).contains(night), "seed {seed}: {finding:?}");
        let commit = |name: &str| name[1..].parse::<u64>().unwrap();
        let (before, after) = (commit(&finding.last_before), commit(&finding.first_after));
        assert_eq!(after, before + 1);
        assert!(after.abs_diff(20) <= 2, "seed {seed}: {finding:?}");
    }
}
