//! Lines of plans made from the kept records: sums by hand where a standard or the planner fixes them,
//! and what has to hold whatever the records say.

use super::*;
use crate::plan::assumptions::tests::carrier;
use crate::plan::evidence::tests::kept;
use crate::scenario::Mode;

fn measured() -> Coefficients {
    Coefficients::of(&kept(), &carrier()).expect("coefficients of the kept records")
}

fn lines(measured: &Coefficients, assignments: &[&str]) -> Vec<Line> {
    let plan = assignments
        .iter()
        .fold(carrier(), |plan, text| plan.with(text).expect(text));
    Sizing::new(&plan, measured)
        .expect("a mode that was measured")
        .lines()
}

fn of(lines: &[Line], name: &str) -> Estimate {
    let found = lines.iter().find(|line| line.name == name);
    found.unwrap_or_else(|| panic!("no line {name}")).estimate
}

/// 3.6 M subscribers, one push in the hour: 1,000 a second.
const PLAIN: [&str; 8] = [
    "subscribers=3600000",
    "pushes-per-busy-hour=1",
    "peak-factor=1",
    "repushes=0",
    "answer-share=1",
    "session-share=0",
    "devices-per-subscriber=3",
    "spare-machines=0",
];

#[test]
fn what_the_planner_fixes_is_arithmetic() {
    let measured = measured();
    let plain = lines(&measured, &PLAIN);
    assert!((of(&plain, "orders_per_s").value - 1000.0).abs() < 1e-9);
    assert!((of(&plain, "packets_per_s").value - 2000.0).abs() < 1e-6);
    let octets = measured.request_octets + measured.response_octets + 2.0 * (28.0 + 38.0);
    assert!((of(&plain, "bits_per_s").value - 8000.0 * octets).abs() < 1.0);
    assert_eq!(of(&plain, "retransmissions_per_s").high, 0.0);
    assert_eq!(of(&plain, "sessions_held").value, 0.0);
    assert_eq!(of(&plain, "session_places_per_worker").value, 0.0);
    // 500 areas, 80 % idle, one device a SIR.
    assert!((of(&plain, "pages_per_area_per_s").value - 1.6).abs() < 1e-9);
    assert!((of(&plain, "transactions_open").value - 1500.0).abs() < 1e-6);
}

#[test]
fn silent_devices_are_pushed_again_and_retransmitted_to() {
    let measured = measured();
    let half = lines(
        &measured,
        &[&PLAIN[..], &["answer-share=0.5", "repushes=2"]].concat(),
    );
    // 1 + 1/2 + 1/4 attempts, half of them unanswered, each sent ten times more (RFC 3261 17.1.2.2).
    assert!((of(&half, "sirs_per_s").value - 1750.0).abs() < 1e-9);
    let again = of(&half, "retransmissions_per_s").value;
    assert!((again / 8750.0 - 1.0).abs() < 0.02, "{again}");
    assert!((of(&half, "transactions_open").value - 1750.0 * (0.75 + 16.0)).abs() < 1e-6);
}

#[test]
fn the_prior_art_pages_and_costs_for_every_device() {
    let measured = measured();
    let in_mode = |mode: Mode| {
        let mode = format!("mode={mode}");
        lines(
            &measured,
            &["devices-per-subscriber=3", "session-share=1", &mode],
        )
    };
    let (targeted, prior) = (in_mode(Mode::Targeted), in_mode(Mode::PriorArt));
    for (name, times) in [("pages_per_area_per_s", 3.0), ("sessions_per_s", 3.0)] {
        let ratio = of(&prior, name).value / of(&targeted, name).value;
        assert!((ratio - times).abs() < 0.01, "{name}: {ratio}");
    }
    assert!(of(&prior, "cpu_us_per_order").low > of(&targeted, "cpu_us_per_order").value);
    // A device that compares and stays silent was paged all the same.
    let matched = in_mode(Mode::Matched);
    assert_eq!(
        of(&matched, "sessions_per_s"),
        of(&targeted, "sessions_per_s")
    );
    assert!(
        of(&matched, "pages_per_area_per_s").value > of(&targeted, "pages_per_area_per_s").value
    );
}

#[test]
fn more_of_anything_never_needs_less() {
    let measured = measured();
    let names = [
        "workers",
        "workers_without_trains",
        "machines",
        "memory_bytes",
        "bits_per_s",
    ];
    for key in ["subscribers", "pushes-per-busy-hour", "peak-factor"] {
        let mut before: Option<Vec<Line>> = None;
        for factor in ["10", "100", "1000", "3000"] {
            let value = if key == "subscribers" {
                format!("{factor}M")
            } else {
                factor.to_owned()
            };
            let now = lines(&measured, &[&format!("{key}={value}")]);
            for name in names {
                let (least, most) = (of(&now, name).low, of(&now, name).high);
                assert!(
                    least <= of(&now, name).value && of(&now, name).value <= most,
                    "{name}"
                );
                if let Some(before) = &before {
                    assert!(
                        of(&now, name).high >= of(before, name).high,
                        "{key} {factor} {name}"
                    );
                }
            }
            before = Some(now);
        }
    }
}

#[test]
fn the_workers_are_enough_and_one_less_is_not() {
    let measured = measured();
    let plan = carrier()
        .with("pushes-per-busy-hour=400")
        .expect("many pushes");
    let sizing = Sizing::new(&plan, &measured).expect("a mode that was measured");
    let workers = sizing.workers(plan.train).value as u32;
    assert!(workers > plan.workers_per_machine, "{workers}");
    let fits = |workers: u32| {
        sizing.load(workers, plan.train).value
            <= sizing.capacity(workers).value * plan.busy_share_max
    };
    assert!(fits(workers) && !fits(workers - 1));
}

#[test]
fn what_lies_beyond_the_records_says_so() {
    let measured = measured();
    let beyond = |assignments: &[&str], name: &str| {
        let lines = lines(&measured, assignments);
        let line = lines
            .into_iter()
            .find(|line| line.name == name)
            .expect(name);
        let named = line
            .extrapolated
            .into_iter()
            .map(|stretch| (stretch.factor, stretch.times));
        named.collect::<Vec<_>>()
    };
    let within = [
        "subscribers=1M",
        "edges=16",
        "devices-per-subscriber=2.5",
        "workers-per-machine=1",
    ];
    assert_eq!(beyond(&within, "workers"), []);
    assert_eq!(beyond(&within, "memory_bytes"), []);
    let far = beyond(&[&within[..], &["subscribers=40M"]].concat(), "workers");
    assert_eq!(far, [("identities a worker".to_owned(), 40.0)]);
    let many = beyond(&[&within[..], &["edges=4096"]].concat(), "workers");
    assert!(
        many.iter()
            .any(|(factor, _)| factor == "next hops a worker"),
        "{many:?}"
    );
    // Trains of 64 to 1,024 next hops were never seen, though each was seen alone.
    let thin = beyond(
        &[&within[..], &["edges=256", "train=64", "session-share=1"]].concat(),
        "workers",
    );
    assert!(
        thin.iter()
            .any(|(factor, _)| factor.starts_with("SIRs a train with")),
        "{thin:?}"
    );
}

#[test]
fn machines_are_what_binds_and_the_spare_ones() {
    let measured = measured();
    let tight = lines(&measured, &["memory-gib=1", "spare-machines=2"]);
    let by_memory = of(&tight, "machines_by_memory");
    assert!(by_memory.value > of(&tight, "machines_by_cpu").value);
    assert_eq!(of(&tight, "machines").value, by_memory.value + 2.0);
}

#[test]
fn everybody_takes_the_share_of_the_hour_that_the_load_takes_of_the_workers() {
    let measured = measured();
    let lines = lines(&measured, &["subscribers=1M", "pages-per-area-max=100"]);
    let (busy, workers) = (
        of(&lines, "busy_workers").value,
        of(&lines, "workers").value,
    );
    let plan = carrier();
    let hour = 3600.0 / plan.pushes_per_busy_hour / plan.peak_factor;
    let expected = hour * busy / (workers * plan.busy_share_max);
    assert_eq!(workers, 1.0);
    assert!((of(&lines, "push_all_s").value / expected - 1.0).abs() < 1e-9);
    assert!(of(&lines, "push_all_by_paging_s").value > 0.0);
}
