//! Laps add up, splits divide, idle turns are idle.

use super::*;

/// Works for `ns` by the clock.
fn work(ns: u64) {
    let begin = clock::now_ns();
    while clock::now_ns() < begin + ns {}
}

/// One turn of work in every kind of lap, the selection split into three.
fn busy_turn(watch: &mut Stopwatch) {
    watch.lap(Lap::Enter);
    work(20_000);
    watch.split(Stage::Select);
    work(20_000);
    watch.split(Stage::LookUp);
    work(20_000);
    watch.split(Stage::Train);
    watch.lap(Lap::Selection);
    watch.turn(true);
}

#[test]
fn stages_add_up_to_the_wall_time_whatever_was_split() {
    let mut watch = Stopwatch::new(true);
    let begin = watch.standing();
    for turn in 0..200 {
        if turn % 3 == 0 {
            watch.lap(Lap::Enter);
            watch.turn(false);
        } else {
            busy_turn(&mut watch);
        }
    }
    let times = watch.times(&watch.standing().since(&begin));
    let sum: u64 = times.stage_ns.values().sum();
    assert!(sum.abs_diff(times.sum_ns) <= STAGES as u64, "{times:?}");
    // What lies between a stamp and a reading of the clock is not in the sum: twice, at most a preemption.
    assert!(
        times.sum_ns <= times.wall_ns + times.wall_ns / 100,
        "{times:?}"
    );
    assert!(
        times.sum_ns >= times.wall_ns / 2,
        "a lap is lost: {times:?}"
    );
    assert_eq!((times.turns, times.turns_idle), (200, 67));
    assert!((15..=25).contains(&times.turns_sampled), "{times:?}");
    for stage in ["select", "look up", "train", "idle"] {
        assert!(times.stage_ns[stage] > 0, "{stage}: {times:?}");
    }
    assert_eq!((times.stage_ns["patch"], times.stage_ns["parse"]), (0, 0));
}

#[test]
fn a_lap_is_divided_as_its_splits_were_and_an_unsplit_one_goes_to_its_rest() {
    let mut ticks = Ticks::default();
    ticks.laps[Lap::Selection as usize] = 700;
    ticks.splits[Lap::Selection as usize][Stage::Select as usize] = 30;
    ticks.splits[Lap::Selection as usize][Stage::LookUp as usize] = 10;
    ticks.splits[Lap::Selection as usize][Stage::Train as usize] = 60;
    ticks.laps[Lap::Departure as usize] = 11;
    let stages = ticks.stages();
    assert_eq!(stages[Stage::Select as usize], 210.0);
    assert_eq!(stages[Stage::LookUp as usize], 70.0);
    assert_eq!(stages[Stage::Train as usize], 420.0 + 11.0);
    assert_eq!(stages.iter().sum::<f64>(), 711.0);
}

#[test]
fn sleep_is_idle_and_what_the_kernel_worked_meanwhile_is_not() {
    let mut watch = Stopwatch::new(true);
    watch.may_sleep();
    std::thread::sleep(std::time::Duration::from_millis(5));
    let cpu = ThreadCpu::start();
    while cpu.elapsed_ns() < 5_000_000 {}
    watch.lap(Lap::Wait);
    assert_eq!(
        watch.turn(true) / 1_000_000,
        0,
        "a turn's length is without sleep"
    );
    let times = watch.times(&watch.standing());
    // The sleep took 5 ms at least, the work 5 ms of CPU: preemption only adds to the first.
    assert!(times.stage_ns["idle"] >= 4_900_000, "{times:?}");
    assert!(times.stage_ns["submit"] >= 4_900_000, "{times:?}");
}

#[test]
fn a_stopwatch_that_is_off_says_nothing() {
    let mut watch = Stopwatch::new(false);
    busy_turn(&mut watch);
    assert_eq!(watch.turn(true), 0);
    assert_eq!(watch.times(&watch.standing()), StageTimes::default());
    assert_eq!(watch.clock(), "off");
}
