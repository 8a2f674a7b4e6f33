//! Tests of the mix: its text form, its rules and its shares.

use super::*;
use crate::hash::public_hash;

fn parse(text: &str) -> Mix {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refusal(text: &str) -> String {
    text.parse::<Mix>().expect_err(text).to_string()
}

#[test]
fn every_behaviour_is_read() {
    let mix = parse(
        "200:80, 503(retry-after=2):5, silent:4, late(600ms,202):3, dup(200,2):2, \
         lossy(250,200):2, garbage:2, bad=forged(200):2",
    );
    let behaviours: Vec<Behaviour> = mix.classes.iter().map(|c| c.behaviour).collect();
    assert_eq!(
        behaviours,
        [
            Behaviour::Answer {
                status: 200,
                retry_after_s: None
            },
            Behaviour::Answer {
                status: 503,
                retry_after_s: Some(2)
            },
            Behaviour::Silent,
            Behaviour::Late {
                delay: Delay::Fixed { ms: 600.0 },
                status: 202
            },
            Behaviour::Duplicate {
                status: 200,
                copies: 2
            },
            Behaviour::Lossy {
                drop_per_mille: 250,
                status: 200
            },
            Behaviour::Garbage,
            Behaviour::Forged { status: 200 },
        ]
    );
    assert_eq!(mix.weight_total(), 100);
    assert_eq!(mix.classes[7].name, "bad");
    assert_eq!(mix.classes[3].name, "late-600ms-202");
}

#[test]
fn an_override_is_read_with_ranges_and_pattern() {
    let mix = parse("200:1;edges(0-3|9,on=1s,off=4s,phase=500ms):503(retry-after=1)");
    let edge = &mix.edges[0];
    assert_eq!(edge.name, "edges-503");
    assert_eq!(edge.ranges, [(0, 3), (9, 9)]);
    assert_eq!((edge.on_ms, edge.off_ms, edge.phase_ms), (1000, 4000, 500));
    assert!(edge.covers(2) && edge.covers(9) && !edge.covers(4));
    let on: Vec<u64> = (0..12_000)
        .step_by(500)
        .filter(|&ms| edge.is_on(ms))
        .collect();
    assert_eq!(on, [500, 1000, 5500, 6000, 10_500, 11_000]);
}

#[test]
fn an_override_without_pattern_is_always_on() {
    let mix = parse("200:1;edges(1):silent");
    assert!(mix.edges[0].is_on(0) && mix.edges[0].is_on(123_456));
}

#[test]
fn text_and_json_round_trip() {
    for text in [
        "200:1",
        "200:80,503(retry-after=2):5,silent:4,late(600ms,202):3,dup(200,2):2,lossy(250,200):2",
        "late(lognormal(300ms,0.6),200):1,slow=late(uniform(1s,2s),202):1,late(exponential(5ms),480):2",
        "a=garbage:1,b=forged(480):2;edges(0-3|9,on=1s,off=4s):503(retry-after=1);edges(4):silent",
    ] {
        let mix = parse(text);
        assert_eq!(parse(&mix.to_string()), mix, "{text}");
        let json = serde_json::to_string(&mix).unwrap();
        assert_eq!(serde_json::from_str::<Mix>(&json).unwrap(), mix);
    }
    let parts = r#"{"classes":[{"name":"ok","weight":9,"behaviour":{"answer":{"status":200}}},
        {"name":"mute","weight":1,"behaviour":"silent"}]}"#;
    assert_eq!(
        serde_json::from_str::<Mix>(parts).unwrap(),
        parse("ok=200:9,mute=silent:1")
    );
}

#[test]
fn errors_name_the_place_and_the_remedy() {
    assert!(refusal("200").contains("behaviour:weight"));
    assert!(refusal("200:x").contains("whole number"));
    assert!(refusal("late(600,200):1").contains("250ms"));
    assert!(
        refusal("late(600ms,200:1").contains("`)`")
            || refusal("late(600ms,200:1").contains("weight")
    );
    assert!(refusal("chatty:1").contains("expected a status"));
    assert!(refusal("408:1").contains("RFC 4320"));
    assert!(refusal("180:1").contains("final status"));
    assert!(refusal("200(retry-after=1):1").contains("20.33"));
    assert!(refusal("200:0").contains("sum to 0"));
    assert!(refusal("200:999999,202:2").contains("sum to 1000001"));
    assert!(refusal("200:1,200:1").contains("used twice"));
    assert!(refusal("dup(200,9):1").contains("copies"));
    assert!(refusal("lossy(1001,200):1").contains("per mille"));
    assert!(refusal("late(65s,200):1").contains("delay"));
    assert!(refusal("late(exponential(65s),200):1").contains("delay"));
    assert!(refusal("late(normal(1s),200):1").contains("lognormal"));
    assert!(refusal("200:1;edges(3-1):503").contains("first <= last"));
    assert!(refusal("200:1;edge(1):503").contains("edges("));
    assert!(refusal("200:1;edges(1,on=0s):503").contains("on must"));
    assert!(refusal("").contains("behaviour:weight"));
    assert!(refusal(&"200:1,".repeat(2000)).contains("longer than"));
}

#[test]
fn classes_beyond_the_bound_are_refused() {
    let text: Vec<String> = (0..=CLASSES_MAX).map(|n| format!("c{n}=200:1")).collect();
    assert!(refusal(&text.join(",")).contains("more than 64"));
}

#[test]
fn shares_follow_the_weights_and_the_seed_alone() {
    let mix = parse("200:90,silent:10");
    let hashes: Vec<u64> = (0..100_000u32)
        .map(|n| public_hash(format!("sip:+86{n}@ims").as_bytes()))
        .collect();
    let silent = hashes.iter().filter(|&&h| mix.class_of(7, h) == 1).count();
    // Four standard deviations of a binomial count: sqrt(100000 * 0.1 * 0.9) = 95.
    assert!((9_620..=10_380).contains(&silent), "{silent}");
    let again = hashes.iter().filter(|&&h| mix.class_of(7, h) == 1).count();
    assert_eq!(silent, again);
    assert!(
        hashes
            .iter()
            .any(|&h| mix.class_of(7, h) != mix.class_of(8, h))
    );
}

#[test]
fn a_class_of_weight_zero_is_never_chosen() {
    let mix = parse("a=200:0,b=silent:1,c=202:0");
    assert!((0..1000u64).all(|n| mix.class_of(1, public_hash(&n.to_le_bytes())) == 1));
}

#[test]
fn overrides_follow_their_edges_to_the_worker_that_holds_them() {
    let behaviour = Behaviour::Silent;
    let over = |name: &str, ranges: &[(u16, u16)]| EdgeOverride {
        name: name.to_owned(),
        ranges: ranges.to_vec(),
        on_ms: 1,
        off_ms: 0,
        phase_ms: 0,
        behaviour,
    };
    let mut mix = Mix::all_ok();
    mix.edges = vec![over("a", &[(0, 2), (6, 9)]), over("b", &[(3, 3)])];
    let ranges = |mix: &Mix| -> Vec<(String, Vec<(u16, u16)>)> {
        let edges = mix.edges.iter();
        edges
            .map(|edge| (edge.name.clone(), edge.ranges.clone()))
            .collect()
    };
    let own = |first, count| ranges(&mix.of_edges(first, count));
    assert_eq!(own(0, 10), ranges(&mix));
    assert_eq!(
        own(2, 3),
        [("a".into(), vec![(0, 0)]), ("b".into(), vec![(1, 1)])]
    );
    assert_eq!(own(8, 2), [("a".into(), vec![(0, 1)])]);
    assert_eq!(own(4, 2), []);
}
