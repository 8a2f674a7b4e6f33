//! What is read, what is refused, and where.

use super::*;

fn shape(text: &str) -> Shape {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn lines(text: &str) -> Vec<(Kind, f64, f64, u64)> {
    let read = shape(text);
    let line = |s: &Segment| (s.kind, s.from, s.to, s.length_ns / 1_000_000);
    read.segments().iter().map(line).collect()
}

#[test]
fn a_line_of_all_segments_is_read_with_the_rate_going_on_from_one_to_the_next() {
    let read = lines(
        "ramp 0..2M/30s, hold 60s, spike x5/2s, step 100k x2/5s, sine 1M+-500k/10s/60s, pause 1s, \
         hold 500ms, ramp ..0/1m, burst 7",
    );
    let wanted = [
        (Kind::Ramp, 0.0, 2e6, 30_000),
        (Kind::Hold, 2e6, 2e6, 60_000),
        (Kind::Spike, 1e7, 1e7, 2_000),
        (Kind::Step, 2.1e6, 2.1e6, 5_000),
        (Kind::Step, 2.2e6, 2.2e6, 5_000),
        (Kind::Sine, 1e6, 5e5, 60_000),
        (Kind::Pause, 0.0, 0.0, 1_000),
        (Kind::Hold, 1e6, 1e6, 500),
        (Kind::Ramp, 1e6, 0.0, 60_000),
        (Kind::Burst, 7.0, 7.0, 0),
    ];
    assert_eq!(read, wanted);
}

#[test]
fn repeats_are_written_out_and_may_nest() {
    let read = lines("hold 1k/1s, repeat 2 (step 1k x1/1s, repeat 2 (pause 1s))");
    let rates: Vec<f64> = read.iter().map(|(_, from, ..)| *from).collect();
    assert_eq!(rates, [1e3, 2e3, 0.0, 0.0, 3e3, 0.0, 0.0]);
}

#[test]
fn a_storm_takes_its_figures_in_any_order() {
    let read =
        lines("registration(within=20s, devices=2M, refresh=1000s, before=1s, after=1s), hold 2s");
    let wanted = [
        (Kind::Hold, 2e3, 2e3, 1_000),
        (Kind::Spike, 1.02e5, 1.02e5, 20_000),
        (Kind::Hold, 2e3, 2e3, 1_000),
        (Kind::Hold, 2e3, 2e3, 2_000),
    ];
    assert_eq!(read, wanted);
}

#[test]
fn a_fault_names_its_column_and_what_to_write() {
    let mut faults = Vec::new();
    for (text, column, words) in [
        ("", 1, "ramp A..B/T"),
        ("rampe 0..2M/30s", 1, "ramp A..B/T"),
        ("hold 60s", 6, "hold 500k/60s"),
        ("spike x5/2s", 7, "hold 500k/60s"),
        ("ramp 0..2Q/30s", 9, "500k"),
        ("ramp 0..2M/30", 12, "30s"),
        ("ramp 0-2M/30s", 7, "`..`"),
        ("hold 1k/1s,", 12, "ramp A..B/T"),
        ("hold 1k/1s hold 2k/1s", 12, "`,`"),
        ("hold 1k/1s, spike 5/2s", 19, "`x`"),
        ("hold 1k/1s, step -2k x1/1s", 18, "fewer or smaller"),
        ("sine 1k+-2k/1s/5s", 6, "amplitude"),
        ("sine 1k+-1k/1us/5s", 6, "longer"),
        ("repeat 3 hold 1k/1s", 10, "`(`"),
        ("repeat 3 (hold 1k/1s", 21, "`)`"),
        ("repeat 5000 (hold 1k/1s)", 8, "1 to 4096"),
        ("repeat 70 (repeat 70 (hold 1k/1s))", 8, "fewer repeats"),
        ("burst 1.5", 7, "whole count"),
        ("avalanche(device=3)", 11, "restart-timer"),
        ("avalanche(devices=3", 20, "`,`"),
        ("registration(within=0s)", 24, "longer refresh"),
        ("hold 2G/1s", 1, "below it"),
        ("hold 1/25h", 8, "500ms"),
        ("hold 1/20h, hold 1/20h", 1, "shorter"),
        ("pause 1s", 1, "above 0"),
    ] {
        let error = text.parse::<Shape>().expect_err(text);
        faults.extend((error.column != column).then(|| format!("{text}: {column}: {error}")));
        assert!(error.to_string().contains(words), "{text}: {error}");
    }
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn nothing_makes_the_reader_panic() {
    let alphabet = "ramp hold/ spike x5 step 1k2M..+-(),=sine 0.5 9 repeat burst ü\u{1F600}";
    let characters: Vec<char> = alphabet.chars().collect();
    let mut state = 1u64;
    for _ in 0..20_000 {
        let text: String = (0..24)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                characters[(state >> 33) as usize % characters.len()]
            })
            .collect();
        if let Ok(shape) = text.parse::<Shape>() {
            assert!(shape.entries() > 0.0, "{text}");
        }
    }
}

#[test]
fn a_text_of_words_of_the_grammar_is_read_or_refused_but_never_panics() {
    let words = [
        "ramp ",
        "hold ",
        "spike x",
        "step ",
        "sine ",
        "pause ",
        "burst ",
        "repeat ",
        "0",
        "1k",
        "5",
        "..",
        "/",
        "1s",
        "10ms",
        "+-",
        "x3",
        "(",
        ")",
        ",",
        "registration(",
        "re-push()",
        "=",
        "devices",
    ];
    let mut state = 7u64;
    let mut read = 0;
    for _ in 0..50_000 {
        let text: String = (0..1 + state as usize % 7)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                words[(state >> 33) as usize % words.len()]
            })
            .collect();
        read += u32::from(text.parse::<Shape>().is_ok());
    }
    assert!(
        read > 0,
        "the words never make a shape: the test proves nothing"
    );
}
