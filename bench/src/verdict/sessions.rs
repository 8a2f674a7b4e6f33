//! What a record of sessions has to show: books that balance, contents that arrived, duplicates where
//! the prior art makes them and nowhere else, and the shares that the scenario asks for.

use super::Verdict;
use crate::record::{ModeFigures, Record, SessionFigures};
use crate::scenario::Mode;

/// Judges the parts that speak of sessions; a record without any passes.
pub fn judge(record: &Record, verdict: &mut Verdict) {
    if let Some(sessions) = &record.sessions {
        books(record, sessions, verdict);
    }
    hold(record, verdict);
    flood(record, verdict);
    outcome(record, verdict);
    for mode in &record.addressing {
        addressing(mode, verdict);
    }
    if let Some(sipp) = record.sipp.as_ref().filter(|sipp| sipp.failed > 0) {
        verdict.invalid(format!(
            "{} of SIPp's own sessions failed: it was overdriven; run on a quieter machine",
            sipp.failed
        ));
    }
}

fn books(record: &Record, sessions: &SessionFigures, verdict: &mut Verdict) {
    if sessions.residue != 0 {
        verdict.failed(format!(
            "the books of sessions do not balance: {} are neither ended nor open",
            sessions.residue
        ));
    }
    let residue = sessions.pushed("residue");
    if residue != 0 {
        verdict.failed(format!(
            "the books of pushes do not balance: {residue} are missing"
        ));
    }
    // Modes run one after another; their books are judged one by one.
    if !record.addressing.is_empty() {
        return;
    }
    let (due, delivered) = (sessions.pushed("due"), sessions.pushed("delivered"));
    if let Some(least) = record.config.checks.pushed_share_min {
        let share = delivered as f64 / due.max(1) as f64;
        if due == 0 || share < least {
            verdict.failed(format!(
                "only {:.4} % of {due} pushes were delivered, {:.4} % are wanted",
                share * 100.0,
                least * 100.0
            ));
        }
    }
    if sessions.contents_received < delivered {
        verdict.failed(format!(
            "devices received {} contents, yet {delivered} are booked as delivered",
            sessions.contents_received
        ));
    }
    if sessions.contents_corrupt != 0 {
        verdict.failed(format!(
            "{} contents are not what was pushed",
            sessions.contents_corrupt
        ));
    }
}

fn hold(record: &Record, verdict: &mut Verdict) {
    let (Some(hold), Some(wanted)) = (&record.hold, &record.config.hold) else {
        return;
    };
    if hold.open < hold.wanted {
        verdict.failed(format!(
            "{} sessions were open at once, {} are wanted",
            hold.open, hold.wanted
        ));
    }
    if hold.table_bytes_per_session > wanted.bytes_max as f64 {
        verdict.failed(format!(
            "a session takes {:.0} bytes of tables, {} are allowed",
            hold.table_bytes_per_session, wanted.bytes_max
        ));
    }
}

fn flood(record: &Record, verdict: &mut Verdict) {
    let Some(asked) = &record.config.flood else {
        return;
    };
    match &record.flood {
        None => verdict.invalid("no flood was measured".to_owned()),
        Some(flood) if flood.kept_share < asked.kept_share_min => verdict.failed(format!(
            "under the flood {:.1} % of the rate was kept, {:.1} % are wanted",
            flood.kept_share * 100.0,
            asked.kept_share_min * 100.0
        )),
        Some(_) => {}
    }
}

fn outcome(record: &Record, verdict: &mut Verdict) {
    let (Some(outcome), Some(asked)) = (&record.outcome, &record.config.outcome) else {
        return;
    };
    if outcome.ihs > asked.ihs_max {
        verdict.failed(format!(
            "{:.3} % of {} attempts were inadequately handled, {:.3} % are allowed",
            outcome.ihs * 100.0,
            outcome.attempts,
            asked.ihs_max * 100.0
        ));
    }
}

/// Duplicates and unwanted sessions are the prior art's, and its alone; the wanted push always comes.
fn addressing(figures: &ModeFigures, verdict: &mut Verdict) {
    let mode = figures.mode;
    if figures.residue != 0 {
        verdict.failed(format!(
            "mode {mode}: the books do not balance: {} are missing",
            figures.residue
        ));
    }
    if figures.delivered < 1.0 {
        verdict.failed(format!(
            "mode {mode}: {:.4} pushes delivered an order, at least 1 is wanted",
            figures.delivered
        ));
    }
    let surplus = figures.duplicates > 0.0 && figures.unwanted > 0.0;
    if mode == Mode::PriorArt && !surplus {
        verdict.failed(
            "mode prior-art shows no duplicate pushes: the comparison compares nothing".to_owned(),
        );
    }
    if mode != Mode::PriorArt && (figures.duplicates > 0.0 || figures.unwanted > 0.0) {
        verdict.failed(format!(
            "mode {mode}: {:.4} duplicate pushes and {:.4} unwanted sessions an order, 0 are allowed",
            figures.duplicates, figures.unwanted
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sound;
    use crate::record::{FloodFigures, HoldFigures, OutcomeFigures, SippFigures};
    use crate::scenario::{Right, Scenario};

    fn sessions() -> SessionFigures {
        SessionFigures {
            pushes: [("due", 10), ("delivered", 10), ("residue", 0)]
                .map(|(name, n)| (name.to_owned(), n))
                .into(),
            contents_received: 10,
            ..SessionFigures::default()
        }
    }

    fn mode(mode: Mode, surplus: f64) -> ModeFigures {
        ModeFigures {
            mode,
            orders: 10,
            sirs: 1.0,
            copies: 1.0,
            messages: 9.0,
            octets: 4000.0,
            forked_messages: 0.0,
            sessions: 1.0 + surplus,
            unwanted: surplus,
            delivered: 1.0 + surplus,
            duplicates: surplus,
            engine_cpu_us: 4.0,
            first_session_us: crate::record::Latency::default(),
            residue: 0,
        }
    }

    fn record(scenario: &str) -> Record {
        let mut record = sound();
        record.config = Scenario::find(scenario).unwrap();
        record.sessions = Some(sessions());
        record
    }

    fn judged(record: &Record) -> Verdict {
        let mut verdict = Verdict::default();
        judge(record, &mut verdict);
        verdict
    }

    #[test]
    fn books_that_do_not_balance_fail() {
        assert_eq!(judged(&record("sessions")), Verdict::default());
        let changes: [fn(&mut SessionFigures); 5] = [
            |s| s.residue = 1,
            |s| *s.pushes.get_mut("residue").unwrap() = -1,
            |s| *s.pushes.get_mut("delivered").unwrap() = 9,
            |s| s.contents_received = 9,
            |s| s.contents_corrupt = 1,
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut record = record("sessions");
            change(record.sessions.as_mut().unwrap());
            let verdict = judged(&record);
            assert_eq!(verdict.exit_code(), 1, "case {index}: {verdict:?}");
            assert_eq!(verdict.reasons.len(), 1, "case {index}: {verdict:?}");
        }
    }

    #[test]
    fn duplicates_are_the_prior_art_s_alone() {
        let mut record = record("addressing");
        let others = [Mode::Targeted, Mode::SelfSelect, Mode::Matched];
        record.addressing = others.map(|other| mode(other, 0.0)).into();
        record.addressing.push(mode(Mode::PriorArt, 2.0));
        assert_eq!(judged(&record), Verdict::default());
        record.addressing[3] = mode(Mode::PriorArt, 0.0);
        assert_eq!(judged(&record).exit_code(), 1);
        for (index, other) in others.into_iter().enumerate() {
            record.addressing[3] = mode(Mode::PriorArt, 2.0);
            record.addressing[index] = mode(other, 0.1);
            assert_eq!(judged(&record).exit_code(), 1, "{other}");
            record.addressing[index] = mode(other, 0.0);
        }
        record.addressing[0].delivered = 0.9;
        assert_eq!(judged(&record).reasons.len(), 1);
    }

    #[test]
    fn too_few_held_too_much_lost_to_a_flood_or_ends_too_wrong_fail() {
        let mut held = record("hold");
        let figures = HoldFigures {
            wanted: 10,
            open: 10,
            table_bytes_per_session: 256.0,
            ..HoldFigures::default()
        };
        held.hold = Some(figures.clone());
        assert_eq!(judged(&held), Verdict::default());
        held.hold = Some(HoldFigures {
            open: 9,
            ..figures.clone()
        });
        assert_eq!(judged(&held).exit_code(), 1);
        held.hold = Some(HoldFigures {
            table_bytes_per_session: 2000.0,
            ..figures
        });
        assert_eq!(judged(&held).exit_code(), 1);

        let mut flooded = record("flood");
        assert_eq!(judged(&flooded).exit_code(), 2);
        for (kept_share, code) in [(0.9, 0), (0.7, 1)] {
            flooded.flood = Some(FloodFigures {
                kept_share,
                ..FloodFigures::default()
            });
            assert_eq!(judged(&flooded).exit_code(), code);
        }

        let mut ended = record("s5");
        for (ihs, code) in [(0.001, 0), (0.002, 1)] {
            ended.outcome = Some(OutcomeFigures {
                right: Right::Stored,
                within_ms: 1000,
                attempts: 1000,
                right_ends: 1000,
                in_time: 999,
                faults: std::collections::BTreeMap::new(),
                ihs,
            });
            assert_eq!(judged(&ended).exit_code(), code);
        }
    }

    #[test]
    fn an_overdriven_sipp_voids_the_comparison() {
        let mut record = record("sessions");
        record.sipp = Some(SippFigures {
            failed: 1,
            ..SippFigures::default()
        });
        assert_eq!(judged(&record).exit_code(), 2);
    }
}
