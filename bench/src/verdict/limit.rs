//! What a record of a limit has to show: books that balance although probes beyond the limit were made,
//! an answer, and the objective where one is stated. No answer is an invalid run, not a slow engine;
//! only an engine that meets the criterion at no rate, or misses its objective, fails.

use super::Verdict;
use crate::record::{Ending, LimitFigures, Record};

/// Judges a search.
pub fn judge(record: &Record, limit: &LimitFigures, verdict: &mut Verdict) {
    let ledger = &record.ledger;
    if ledger.residue != 0 {
        verdict.failed(format!(
            "the ledger does not balance: {} targets of {} are neither settled nor in flight",
            ledger.residue, ledger.accepted
        ));
    }
    if let Some(sessions) = &record.sessions {
        if sessions.residue != 0 || sessions.pushed("residue") != 0 {
            verdict.failed("the books of sessions or pushes do not balance".to_owned());
        }
        if sessions.contents_corrupt != 0 {
            verdict.failed(format!(
                "{} contents are not what was pushed",
                sessions.contents_corrupt
            ));
        }
    }
    match limit.ending {
        Ending::Found if limit.meets_objective() => {}
        Ending::Found => verdict.failed(format!(
            "the limit is {:.0} {}/s, the objective {:.0}",
            limit.rate_per_s.unwrap_or_default(),
            limit.unit,
            limit.objective_per_s.unwrap_or_default()
        )),
        Ending::NeverMet => verdict.failed(limit.words.clone()),
        _ => verdict.invalid(limit.words.clone()),
    }
}

#[cfg(test)]
mod tests {
    use crate::record::{Ending, LimitFigures, tests::sound};
    use crate::verdict::judge;

    fn code(ending: Ending, rate: Option<f64>, objective: Option<f64>) -> u8 {
        let mut record = sound();
        record.limit = Some(LimitFigures {
            ending,
            rate_per_s: rate,
            objective_per_s: objective,
            ..LimitFigures::default()
        });
        judge(&record, false).exit_code()
    }

    #[test]
    fn a_limit_passes_an_objective_fails_and_no_answer_is_invalid() {
        assert_eq!(code(Ending::Found, Some(10.0), None), 0);
        assert_eq!(code(Ending::Found, Some(10.0), Some(10.0)), 0);
        assert_eq!(code(Ending::Found, Some(10.0), Some(11.0)), 1);
        assert_eq!(code(Ending::NeverMet, None, None), 1);
        for ending in [
            Ending::TestbedFirst,
            Ending::Disturbed,
            Ending::OutOfBudget,
            Ending::NeverHeld,
        ] {
            assert_eq!(code(ending, None, Some(1.0)), 2, "{ending:?}");
        }
    }

    #[test]
    fn books_that_do_not_balance_fail_a_limit_too() {
        let mut record = sound();
        record.limit = Some(LimitFigures {
            ending: Ending::Found,
            rate_per_s: Some(1.0),
            ..LimitFigures::default()
        });
        record.ledger.residue = 1;
        assert_eq!(judge(&record, false).exit_code(), 1);
    }
}
