//! Due times against the rate they come from, live changes against the same list known before.

use super::*;
use proptest::prelude::*;

fn plan(text: &str) -> Plan {
    Plan::new(
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}")),
    )
}

/// Every due time, to a bound that shows a schedule without end.
fn due(plan: &Plan) -> Vec<u64> {
    let mut schedule = Schedule::new(plan);
    let all = std::iter::from_fn(|| schedule.take(u64::MAX - 1)).take(2_000_000);
    all.collect()
}

fn between(times: &[u64], begin_s: f64, end_s: f64) -> usize {
    let within = begin_s * 1e9..end_s * 1e9;
    times
        .iter()
        .filter(|due| within.contains(&(**due as f64)))
        .count()
}

#[test]
fn equal_distances_give_each_segment_exactly_its_count() {
    let times = due(&plan(
        "ramp 0..2k/3s, hold 2s, spike x5/1s, step 1k x2/1s, pause 1s, sine 1k+-1k/1s/2s, burst 77, hold 1s",
    ));
    assert!(times.is_sorted());
    let counts = [
        (0.0, 3.0, 3000),
        (3.0, 5.0, 4000),
        (5.0, 6.0, 10_000),
        (6.0, 7.0, 3000),
        (7.0, 8.0, 4000),
        (8.0, 9.0, 0),
        (9.0, 10.0, 1000),
        (10.0, 11.0, 1000),
        (11.0, 11.000_000_5, 78),
        (11.0, 12.0, 1077),
    ];
    for (begin, end, count) in counts {
        assert_eq!(between(&times, begin, end), count, "{begin} to {end} s");
    }
    assert_eq!(times.len(), 27_077);
}

#[test]
fn a_ramp_is_met_at_its_closed_form() {
    let times = due(&plan("ramp 0..1k/10s"));
    assert_eq!(times.len(), 5000);
    for (number, due) in times.iter().enumerate() {
        // 50 t^2 = i.
        let wanted = (number as f64 / 50.0).sqrt() * 1e9;
        assert!(
            (*due as f64 - wanted).abs() <= 1.5,
            "{number}: {due} {wanted}"
        );
    }
    let down = due(&plan("ramp 1k..0/10s"));
    let wanted = |number: usize| 10e9 - ((5000 - number) as f64 / 50.0).sqrt() * 1e9;
    for number in [0, 1, 2500, 4999] {
        assert!(
            (down[number] as f64 - wanted(number)).abs() <= 1.5,
            "{number}"
        );
    }
}

#[test]
fn poisson_arrivals_keep_the_rate_and_scatter_about_it() {
    let constant = due(&plan("ramp 0..20k/5s, hold 5s"));
    let poisson = Plan {
        arrivals: Arrivals::Poisson,
        seed: 9,
        ..plan("ramp 0..20k/5s, hold 5s")
    };
    let times = due(&poisson);
    assert!(times.is_sorted());
    // Four standard deviations of a Poisson count.
    let off = times.len().abs_diff(constant.len()) as f64;
    assert!(off < 4.0 * (constant.len() as f64).sqrt(), "{off}");
    // Counts of equal mean: variance over mean is 1 for Poisson, 0 for equal distances.
    let dispersion = |times: &[u64]| {
        let counts: Vec<f64> = (0..500)
            .map(|n| {
                between(
                    times,
                    5.0 + f64::from(n) / 100.0,
                    5.01 + f64::from(n) / 100.0,
                ) as f64
            })
            .collect();
        let mean = counts.iter().sum::<f64>() / 500.0;
        counts.iter().map(|c| (c - mean) * (c - mean)).sum::<f64>() / 500.0 / mean
    };
    assert!(
        (dispersion(&times) - 1.0).abs() < 0.26,
        "{}",
        dispersion(&times)
    );
    assert!(dispersion(&constant) < 0.01);
    assert_eq!(times, due(&poisson), "a seed means the same times");
    assert_ne!(
        times,
        due(&Plan {
            seed: 10,
            ..poisson
        })
    );
}

#[test]
fn an_entry_that_stands_for_several_comes_as_often_as_it_must() {
    let times = due(&Plan {
        unit: 2.5,
        ..plan("hold 1k/10s")
    });
    assert_eq!(times.len(), 4000);
    let few = due(&Plan {
        entries_max: 7,
        ..plan("hold 1k/10s")
    });
    assert_eq!(few.len(), 7);
}

#[test]
fn without_end_it_is_a_period() {
    let mut schedule = Schedule::new(&Plan::new(Shape::constant(1e6)));
    let times: Vec<u64> = std::iter::from_fn(|| schedule.take(4_000)).collect();
    assert_eq!(times, [0, 1000, 2000, 3000, 4000]);
    assert_eq!(schedule.behind(10_000), 6);
    assert_eq!(
        (schedule.lateness_ns(10_000), schedule.next_ns()),
        (5000, Some(5000))
    );
    assert!(!schedule.is_over());
    schedule.stop();
    assert!(schedule.is_over() && schedule.take(u64::MAX - 1).is_none());
}

#[test]
fn a_changed_rate_holds_from_its_moment_and_the_open_distance_counts() {
    let mut schedule = Schedule::new(&plan("hold 1k/10s"));
    assert_eq!(
        std::iter::from_fn(|| schedule.take(999_999_999)).count(),
        1000
    );
    // Half of the distance to 1.001 s has gone by; the other half goes at ten times the rate.
    assert_eq!(schedule.take(1_000_500_000), Some(1_000_000_000));
    assert!(schedule.steer(1_000_500_000, Steer::Rate(10_000.0)));
    assert_eq!(schedule.next_ns(), Some(1_000_550_000));
    let rest: Vec<u64> = std::iter::from_fn(|| schedule.take(u64::MAX - 1)).collect();
    assert_eq!(rest.len(), 89_995, "8.9995 s at 10 k");
    assert!(schedule.is_over());
}

#[test]
fn a_pause_stops_the_time_of_the_shape_and_a_scale_keeps_its_form() {
    let mut schedule = Schedule::new(&plan("hold 1k/1s, hold 2k/1s"));
    assert_eq!(
        std::iter::from_fn(|| schedule.take(500_000_000)).count(),
        501
    );
    schedule.steer(500_000_000, Steer::Pause(true));
    assert_eq!((schedule.next_ns(), schedule.is_over()), (None, false));
    assert_eq!(schedule.behind(u64::MAX - 1), 0);
    schedule.steer(10_500_000_000, Steer::Pause(false));
    schedule.steer(10_500_000_000, Steer::Scale(3.0));
    let rest: Vec<u64> = std::iter::from_fn(|| schedule.take(u64::MAX - 1)).collect();
    assert_eq!(between(&rest, 10.5, 11.0), 1500 - 1);
    assert_eq!(between(&rest, 11.0, 12.0), 6000);
    assert_eq!(rest.len(), 7499);
}

#[test]
fn what_was_due_before_a_change_stays_due() {
    let mut schedule = Schedule::new(&plan("hold 1k/10s"));
    // Nothing was taken for a second: the change comes behind a thousand entries that are due.
    schedule.steer(1_000_000_000, Steer::Rate(1.0));
    assert_eq!(schedule.behind(1_000_000_000), 1001);
    assert_eq!(
        std::iter::from_fn(|| schedule.take(1_000_000_000)).count(),
        1001
    );
    assert_eq!(schedule.next_ns(), Some(2_000_000_000));
}

#[test]
fn a_change_before_a_distant_entry_is_not_missed() {
    let mut schedule = Schedule::new(&plan("burst 1, pause 10s, hold 1k/1s"));
    assert_eq!(schedule.take(0), Some(0));
    assert_eq!(schedule.next_ns(), Some(10_000_000_000));
    schedule.steer(1_000_000_000, Steer::Rate(1000.0));
    assert_eq!(schedule.next_ns(), Some(1_000_000_000));
    let rest: Vec<u64> = std::iter::from_fn(|| schedule.take(u64::MAX - 1)).collect();
    assert_eq!(rest.len(), 10_000);
}

#[test]
fn changes_have_a_bound() {
    let mut schedule = Schedule::new(&plan("hold 1k/10s"));
    let kept = (0..STEERS_MAX + 1)
        .filter(|_| schedule.steer(5, Steer::Scale(2.0)))
        .count();
    assert_eq!((kept, schedule.steers().len()), (STEERS_MAX, STEERS_MAX));
}

/// A shape of a few random segments.
fn shapes() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        (0u32..5000, 0u32..5000, 1u32..2000).prop_map(|(a, b, t)| format!("ramp {a}..{b}/{t}ms")),
        (0u32..5000, 1u32..2000).prop_map(|(r, t)| format!("hold {r}/{t}ms")),
        (1u32..500).prop_map(|t| format!("pause {t}ms")),
        (1u32..200).prop_map(|n| format!("burst {n}")),
        (1u32..4000, 1u32..300, 1u32..900)
            .prop_map(|(r, p, t)| format!("sine {r}+-{r}/{p}ms/{t}ms")),
    ];
    prop::collection::vec(segment, 1..6).prop_map(|parts| parts.join(", "))
}

fn steers() -> impl Strategy<Value = Vec<(u64, Steer)>> {
    let change = prop_oneof![
        (0u32..9000).prop_map(|rate| Steer::Rate(rate.into())),
        (0u32..5).prop_map(|scale| Steer::Scale(f64::from(scale) / 2.0)),
        any::<bool>().prop_map(Steer::Pause),
    ];
    prop::collection::vec((0u64..6_000_000_000, change), 0..8).prop_map(|mut changes| {
        changes.sort_by_key(|(at, _)| *at);
        changes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn the_inverse_agrees_with_the_cumulative_rate(text in shapes()) {
        let Ok(shape) = text.parse::<Shape>() else { return Ok(()) };
        let times = due(&Plan::new(shape.clone()));
        prop_assert!(times.is_sorted());
        // A sine's mass is a sum of many; a count at the very end may fall to either side.
        let entries = shape.entries();
        prop_assert!((times.len() as f64 - entries.ceil()).abs() <= 1.0, "{} {entries}", times.len());
        // The count before the begin of each segment, by summing the segments alone.
        let (mut at_ns, mut before) = (0, 0.0);
        for segment in shape.segments() {
            let earlier = times.iter().filter(|due| **due < at_ns).count() as f64;
            let until = times.iter().filter(|due| **due <= at_ns).count() as f64;
            // Those of a burst are due at the very moment.
            let holds = earlier <= before + 1.0 && until >= before - 1.0;
            prop_assert!(holds, "{text}: {earlier} to {until}, {before} at {at_ns}");
            at_ns += segment.length_ns;
            before += segment.entries();
        }
    }

    #[test]
    fn changes_live_and_changes_known_before_give_one_schedule(
        text in shapes(), changes in steers(), seed in 0u64..50, poisson: bool, step_ns in 1u64..50_000_000,
    ) {
        let Ok(shape) = text.parse::<Shape>() else { return Ok(()) };
        let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Constant };
        let plan = Plan { arrivals, seed, entries_max: 30_000, ..Plan::new(shape) };
        let mut live = Schedule::new(&plan);
        let (mut times, mut now_ns, mut pending) = (Vec::new(), 0, changes.into_iter().peekable());
        while !live.is_over() && now_ns < 30_000_000_000 {
            while let Some((_, change)) = pending.next_if(|(at, _)| *at <= now_ns) {
                live.steer(now_ns, change);
            }
            let behind = live.behind(now_ns);
            let before = times.len();
            times.extend(std::iter::from_fn(|| live.take(now_ns)));
            if !poisson {
                let taken = (times.len() - before) as u64;
                prop_assert!(taken.abs_diff(behind) <= 1, "{behind} behind, {taken} taken");
            }
            now_ns += step_ns;
        }
        prop_assert!(times.is_sorted());
        let mut replayed = Schedule::new(&Plan { steers: live.steers().to_vec(), ..plan });
        let again: Vec<u64> = std::iter::from_fn(|| replayed.take(now_ns)).take(times.len()).collect();
        prop_assert_eq!(times, again);
    }
}
