//! The same orders on the same population in several addressing modes, side by side: what each costs
//! and what it brings. In every identity one device is the wanted one: its user prefers it, and every
//! order asks for that preference. How a mode finds it is what is compared. Called by `plan`.

use std::time::Duration;

use serde_json::Value;

use super::counted::{self, Count};
use super::figures;
use super::plan::{Bench, PlanError};
use super::results::Results;
use crate::quantity::Rate;
use crate::record::ModeFigures;
use crate::role::protocol::Drained;
use crate::scenario::{Mode, Scenario};

/// Runs the modes, each with fresh processes.
///
/// # Errors
/// When a side fails, the population cannot be written, or the user interrupts.
pub fn run(bench: &Bench<'_>) -> Result<Results, PlanError> {
    let mut results = Results::default();
    let Some(addressing) = &bench.scenario.addressing else {
        return Ok(results);
    };
    for &mode in &addressing.modes {
        let scenario = in_mode(bench.scenario, mode);
        let bench = Bench {
            scenario: &scenario,
            ..*bench
        };
        let mut stage = bench.stage()?;
        let mut own = Results {
            ready: bench.launch(&mut stage)?,
            ..Results::default()
        };
        bench.phase(format!("mode {mode}: {} orders", addressing.orders));
        // As fast as windows allow for the price: at a lower rate a worker mostly pays for waking up.
        let mut count = Count {
            orders: addressing.orders,
            rate: Rate::Max,
            limit: Duration::from_millis(addressing.mode_ms_max),
            holds: false,
        };
        let priced = counted::run(&bench, &mut stage, count)?;
        count.rate = scenario.runs.rate;
        let timed = counted::run(&bench, &mut stage, count)?;
        own.take(&timed);
        bench.finish(&mut stage, &mut own)?;
        for run in [&priced, &timed] {
            let figures = figures::counted(&run.measured, &scenario);
            results.runs.push(figures);
        }
        results.addressing.push(mode_figures(
            mode,
            addressing.orders,
            (&priced, &timed),
            &own,
        ));
        keep(&mut results, own, mode);
    }
    Ok(results)
}

/// The record holds the books of the last mode and the reports of all.
fn keep(results: &mut Results, own: Results, mode: Mode) {
    results.ready = own.ready;
    results.ledger = own.ledger;
    results.sessions = own.sessions;
    results.pushes = own.pushes;
    results.loadgen = own.loadgen;
    for (side, report) in own.reports {
        results.reports.insert(format!("{mode}/{side}"), report);
    }
    for notice in own.notices {
        if !results.notices.contains(&notice) {
            results.notices.push(notice);
        }
    }
}

/// The scenario with its orders in one mode, and with devices that decide where the mode lets them.
fn in_mode(scenario: &Scenario, mode: Mode) -> Scenario {
    let mut scenario = scenario.clone();
    scenario
        .order
        .insert("mode".to_owned(), mode.to_string().into());
    // Only a matched SIR carries an identity as data.
    if mode != Mode::Matched {
        scenario.order.remove("device-position");
    }
    // In the prior art nobody decides, elsewhere the identity in the SIR does: only self-select asks
    // what the device's user prefers.
    let policy = scenario
        .loadgen
        .get_mut("session")
        .and_then(toml::Value::as_table_mut);
    if let Some(policy) = policy.filter(|_| mode != Mode::SelfSelect) {
        policy.remove("preference-min");
    }
    scenario
}

/// What one mode cost and brought, for each order: the price of a run as fast as windows allow, the
/// times of one at a rate, all counts over both.
fn mode_figures(
    mode: Mode,
    orders: u64,
    (priced, timed): (&Drained, &Drained),
    own: &Results,
) -> ModeFigures {
    let (drained, ledger) = (timed, timed.ledger.clone().balanced());
    let each = |count: f64| count / (2 * orders.max(1)) as f64;
    let count = |count: i64| each(count as f64);
    let pushed = |name: &str| drained.pushes.get(name).copied().unwrap_or(0);
    let session = |name: &str| drained.sessions.get(name).copied().unwrap_or(0);
    let ended: i64 = drained
        .sessions
        .iter()
        .filter(|(name, _)| name.starts_with("ended."))
        .map(|(_, count)| count)
        .sum();
    let session_residue = session("opened") - session("open") - ended;
    let copies = own.reports.get("loadgen").map_or(0, copies);
    let sirs = priced.measured.sirs_sent + timed.measured.sirs_sent;
    let sirs = i64::try_from(sirs).unwrap_or(i64::MAX);
    let report = &own.loadgen;
    ModeFigures {
        mode,
        orders,
        sirs: count(sirs),
        copies: count(copies),
        // Fresh processes: all that the loadgen ever moved is of these orders.
        messages: each((report.datagrams_received + report.messages_sent) as f64),
        octets: each((report.datagram_bytes_received + report.datagram_bytes_sent) as f64),
        // A targeted SIR passes the edge; a forked one leaves it once for each device.
        forked_messages: count(2 * (copies - sirs).max(0)),
        sessions: count(session("opened")),
        unwanted: count(pushed("unwanted")),
        delivered: count(pushed("delivered")),
        duplicates: count(pushed("duplicates")),
        engine_cpu_us: priced.measured.cpu_ns as f64 / 1000.0 / orders.max(1) as f64,
        first_session_us: timed.measured.time_to_session_us.clone(),
        residue: ledger.residue.abs() + session_residue.abs() + pushed("residue").abs(),
    }
}

/// Copies of SIRs that devices got, by the loadgen's report.
fn copies(report: &Value) -> i64 {
    report["sessions"]["copies"].as_i64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::protocol::Counters;

    #[test]
    fn devices_decide_only_where_the_mode_lets_them() {
        let scenario = Scenario::find("addressing").unwrap();
        for &mode in &scenario.addressing.as_ref().unwrap().modes {
            let own = in_mode(&scenario, mode);
            assert_eq!(own.order["mode"].as_str(), Some(mode.to_string().as_str()));
            let policy = own.loadgen["session"].as_table().unwrap();
            let decides = policy.contains_key("preference-min");
            assert_eq!(decides, mode == Mode::SelfSelect);
            own.order_named("check").unwrap();
        }
    }

    #[test]
    fn figures_are_for_each_order() {
        let counts = |counts: &[(&str, i64)]| -> Counters {
            let named = counts.iter().map(|(name, n)| ((*name).to_owned(), *n));
            named.collect()
        };
        let mut drained = Drained {
            pushes: counts(&[("unwanted", 20), ("duplicates", 20), ("delivered", 30)]),
            sessions: counts(&[("opened", 30), ("ended.engine", 29), ("open", 0)]),
            ..Drained::default()
        };
        (drained.measured.sirs_sent, drained.measured.cpu_ns) = (5, 50_000);
        let mut own = Results::default();
        let report = serde_json::json!({"sessions": {"copies": 30}});
        own.reports.insert("loadgen".to_owned(), report);
        let figures = mode_figures(Mode::PriorArt, 5, (&drained, &drained), &own);
        assert_eq!(
            (figures.sirs, figures.copies, figures.sessions),
            (1.0, 3.0, 3.0)
        );
        assert_eq!((figures.duplicates, figures.unwanted), (2.0, 2.0));
        assert_eq!(
            (figures.forked_messages, figures.engine_cpu_us),
            (4.0, 10.0)
        );
        assert_eq!(
            figures.residue, 1,
            "a session that neither ended nor is open"
        );
    }
}
