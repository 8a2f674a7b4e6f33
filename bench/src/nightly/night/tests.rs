//! Exit codes of judged nights, and the outputs as other programs would read them.

use super::*;
use crate::nightly::history::tests::line;
use crate::nightly::history::{History, Reached};
use crate::nightly::outputs;

/// Nights of one scenario with these times a SIR, each with one counter.
fn history(times: &[f64]) -> Vec<Line> {
    let nights = times.iter().enumerate();
    let each = nights.flat_map(|(night, time)| {
        let night = night as u64 * 86_400 + 1;
        let timed = line(night, "cpu_ns_per_sir", &[time * 0.99, *time, time * 1.02]);
        let mut counted = line(night, "x", &[]);
        counted.scenario = "counted".to_owned();
        counted
            .counters
            .insert("shard_bytes_written_per_sir".to_owned(), 233.0);
        [counted, timed]
    });
    each.collect()
}

/// The last night of `history` against the counters of its first.
fn judged(history: &[Line]) -> Night {
    let mut baseline = Baseline::default();
    baseline.accept(&history[0]);
    unjudged(history).judged(history, &baseline)
}

fn unjudged(history: &[Line]) -> Night {
    let lines = history.to_vec();
    let read = History {
        lines,
        ..History::default()
    };
    crate::nightly::last(&read).expect("a night")
}

/// Thirty-one nights, the last five slower by 5 %: seen on the third of them, confirmed on the fourth.
fn slower() -> Night {
    judged(&history(&slower_times()))
}

fn slower_times() -> Vec<f64> {
    let wobble = |night: usize| 1.0 + 0.004 * ((night * 7 % 5) as f64 - 2.0);
    let level = |night| if night < 26 { 200.0 } else { 210.0 };
    (0..31).map(|night| level(night) * wobble(night)).collect()
}

#[test]
fn a_sound_night_passes_and_a_slow_one_only_alarms() {
    let nights = |count: usize| judged(&history(&slower_times()[..count]));
    for count in 8..30 {
        assert_eq!(
            (nights(count).exit_code(), nights(count).alarms().count()),
            (0, 0)
        );
    }
    // Noise is a tenth of the step here: the third night sees it, the fourth confirms it.
    assert!(outputs::markdown::write(&nights(29)).contains("perhaps slower"));
    let slow = nights(30);
    assert_eq!(slow.exit_code(), 0, "times alarm, they do not fail");
    let alarms: Vec<_> = slow.alarms().collect();
    assert_eq!(alarms.len(), 1);
    let alarm = alarms[0];
    let (before, after) = (25 * 86_400 + 1, 26 * 86_400 + 1);
    assert_eq!(alarm.last_before, format!("c{before}"));
    assert_eq!(alarm.first_after, format!("c{after}"));
    assert_eq!(alarm.nights_since, 4);
}

#[test]
fn an_alarm_is_raised_once() {
    let next = slower();
    assert_eq!(next.alarms().count(), 0);
    assert_eq!(next.findings.len(), 1, "it is still told");
    assert!(outputs::markdown::write(&next).contains("known: slower"));
}

#[test]
fn every_exit_code_has_its_cause() {
    let nights = history(&[200.0; 10]);
    let code = |change: &dyn Fn(&mut Vec<Line>)| {
        let mut nights = nights.clone();
        change(&mut nights);
        judged(&nights).exit_code()
    };
    let counted = nights.len() - 2;
    assert_eq!(code(&|_| ()), 0);
    let more = |line: &mut Line| *line.counters.values_mut().next().unwrap() += 1.0;
    assert_eq!(code(&|n| more(&mut n[counted])), 1, "a counter is worse");
    assert_eq!(
        code(&|n| n[counted + 1].verdict.passed = false),
        1,
        "a check failed"
    );
    assert_eq!(
        code(&|n| n[counted + 1].verdict.valid = false),
        2,
        "a run is invalid"
    );
    assert_eq!(
        code(&|n| n[counted + 1].times.clear()),
        2,
        "no samples never pass"
    );
    assert_eq!(
        code(&|n| n[counted].counters.clear()),
        2,
        "no counters never pass"
    );
    assert_eq!(
        code(&|n| n[counted + 1].host_key = "new".to_owned()),
        3,
        "another host"
    );
    assert_eq!(
        code(&|n| n[counted + 1].settings = "new".to_owned()),
        3,
        "other settings"
    );
    let none = unjudged(&nights).judged(&nights, &Baseline::default());
    assert_eq!(none.exit_code(), 3, "nothing was accepted");
    assert_eq!(Night::default().exit_code(), 2, "a night without lines");
    assert_eq!(judged(&history(&[200.0; 7])).exit_code(), 3, "seven nights");
    assert_eq!(judged(&history(&[200.0; 8])).exit_code(), 0, "eight nights");
}

#[test]
fn a_missed_objective_fails_where_it_is_held() {
    let mut nights = history(&[200.0; 10]);
    let objective: crate::nightly::suite::Objective = "cpu_ns_per_sir <= 100".parse().unwrap();
    let last = nights.len() - 1;
    nights[last].objectives = vec![Reached {
        objective,
        value: Some(200.0),
        met: false,
    }];
    let mut night = judged(&nights);
    assert_eq!(night.exit_code(), 0);
    night.objectives_held = true;
    assert_eq!(night.exit_code(), 1);
}

#[test]
fn invalid_nights_are_kept_out_of_the_series() {
    let mut nights = history(&slower_times());
    // The slow nights were invalid: nothing is left to find.
    for line in nights
        .iter_mut()
        .filter(|line| line.night_unix_s > 26 * 86_400)
    {
        line.verdict.valid = line.night_unix_s > 29 * 86_400;
    }
    assert_eq!(judged(&nights).findings, []);
}

#[test]
fn the_page_fits_a_screen_and_begins_with_what_differs() {
    let mut night = slower();
    night.gates = (0..60)
        .map(|number| Gate {
            scenario: "counted".to_owned(),
            counter: format!("counter {number}"),
            tonight: Some(2.0),
            accepted: Some(1.0),
            standing: Standing::Worse,
        })
        .collect();
    let page = outputs::markdown::write(&night);
    assert!(page.lines().count() <= 25, "{page}");
    assert!(
        page.starts_with("### sirocco nightly: REGRESSION\n"),
        "{page}"
    );
    assert!(
        page.contains("counter 0: 1.000 -> 2.000 (+100.00 %)"),
        "{page}"
    );
    assert!(page.contains("more: see junit.xml"), "{page}");
    let calm = outputs::markdown::write(&judged(&history(&slower_times()[..30])));
    let alarm = calm
        .find("**alarm**: null: cpu_ns_per_sir")
        .expect("the alarm");
    assert!(
        alarm < calm.find("the same:").expect("what is the same"),
        "{calm}"
    );
}

#[test]
fn other_programs_can_read_the_outputs() {
    let folder = std::env::temp_dir().join(format!("sirocco-outputs-{}", std::process::id()));
    let mut nights = history(&slower_times());
    let last = nights.len() - 1;
    nights[last].scenario = "<null> & \"co\"".to_owned();
    let mut night = judged(&nights);
    outputs::write(&folder, &night, &nights).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    // A name that XML has to escape comes back from a reader of XML.
    let mut names = Vec::new();
    let text = read("junit.xml");
    let mut reader = quick_xml::Reader::from_str(&text);
    loop {
        use quick_xml::events::Event;
        match reader.read_event().unwrap() {
            Event::Eof => break,
            Event::Start(tag) | Event::Empty(tag) if tag.name().as_ref() == "testcase" => {
                let class = tag.try_get_attribute("classname").unwrap().unwrap();
                names.push(
                    class
                        .normalized_value(quick_xml::XmlVersion::Explicit1_0)
                        .unwrap()
                        .into_owned(),
                );
            }
            _ => {}
        }
    }
    assert!(names.contains(&"<null> & \"co\"".to_owned()), "{names:?}");
    let metrics = read("metrics.txt");
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    assert!(
        metrics.contains("scenario=\"<null> & \\\"co\\\"\""),
        "{metrics}"
    );
    let bmf: serde_json::Value = serde_json::from_str(&read("bmf.json")).unwrap();
    assert_eq!(
        bmf["counted"]["shard_bytes_written_per_sir"]["value"],
        233.0
    );
    night.unix_s = 0;
    assert!(outputs::write(&folder, &night, &[]).is_ok());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn otava_gets_a_row_a_night() {
    let nights = history(&slower_times());
    let folder = std::env::temp_dir().join(format!("sirocco-otava-{}", std::process::id()));
    outputs::write(&folder, &judged(&nights), &nights).unwrap();
    let table = std::fs::read_to_string(folder.join("otava-null.csv")).unwrap();
    let mut rows = table.lines();
    assert_eq!(rows.next(), Some("time,commit,host,cpu_ns_per_sir"));
    assert_eq!(rows.clone().count(), 31);
    let first = rows.next().unwrap();
    assert!(
        first.starts_with("1970-01-01T00:00:01+00:00,c1,host,"),
        "{first}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}
