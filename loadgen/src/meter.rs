//! What a worker measures of itself: how long answers took to leave, how many came together, and what
//! the port counted since the last reset.
//!
//! The clock is read once a turn and handed in. An answer's lag is counted from the turn that reaped
//! its request to the end of the turn that gave it to the kernel, which is a little more than true.
//! Called by `worker`.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use sirocco_ring::clock::ThreadCpu;
use sirocco_ring::{Counters, Port, Received};

use crate::config::LoadgenConfig;
use crate::journal::JournalTotals;
use crate::live::Span;
use crate::mix::Behaviour;
use crate::packed::Packed;
use crate::population::{Population, SEGMENTS_MAX};
use crate::report::{Lag, LoadgenReport, Spread};
use crate::sum;

/// How often the CPU clock is read: it is a system call.
const CPU_READ_NS: u64 = 20_000_000;
/// The longest delay a histogram holds: one minute; a longer one counts as that.
const DELAY_NS_MAX: u64 = 60_000_000_000;

/// Counts and histograms since the start or the last reset.
pub(crate) struct Meter {
    pub(crate) started_ns: u64,
    pub(crate) cpu_ns: u64,
    pub(crate) answers_queued: u64,
    bytes_queued: u64,
    /// Messages of calls.
    departed: u64,
    /// Answers for which no send slab was free.
    no_slab: u64,
    /// Answers queued in this turn, and when their requests were reaped.
    leaving: u64,
    reaped_ns: u64,
    cpu: ThreadCpu,
    cpu_read_ns: u64,
    base: Counters,
    base_kernel_drops: u64,
    trains_in: Histogram<u64>,
    trains_out: Histogram<u64>,
    /// Delays of the open span, and of those before it.
    lag: Histogram<u64>,
    lag_before: Histogram<u64>,
    lateness: Histogram<u64>,
    /// When the open span began, and the time in it that found nothing to do.
    span_began_ns: u64,
    idle_ns: u64,
}

impl Meter {
    /// Starts measuring at `now_ns`, on the thread of `port`.
    pub(crate) fn new(port: &Port, now_ns: u64) -> Meter {
        let delays = || {
            Histogram::new_with_bounds(1, DELAY_NS_MAX, 3).expect("constant bounds are in order")
        };
        let sizes = || {
            Histogram::new_with_bounds(1, SEGMENTS_MAX as u64, 3)
                .expect("constant bounds are in order")
        };
        Meter {
            started_ns: now_ns,
            cpu_ns: 0,
            answers_queued: 0,
            bytes_queued: 0,
            departed: 0,
            no_slab: 0,
            leaving: 0,
            reaped_ns: now_ns,
            cpu: ThreadCpu::start(),
            cpu_read_ns: now_ns,
            base: *port.counters(),
            base_kernel_drops: port.kernel_drops().unwrap_or(0),
            trains_in: sizes(),
            trains_out: sizes(),
            lag: delays(),
            lag_before: delays(),
            lateness: delays(),
            span_began_ns: now_ns,
            idle_ns: 0,
        }
    }

    /// Notes that a turn ended at `now_ns`, after one that found nothing to do where `was_idle`: what was
    /// queued before it has left.
    #[inline]
    pub(crate) fn turned(&mut self, now_ns: u64, was_idle: bool) {
        if was_idle {
            self.idle_ns += now_ns.saturating_sub(self.reaped_ns);
        }
        if self.leaving > 0 {
            self.lag
                .saturating_record_n(now_ns.saturating_sub(self.reaped_ns), self.leaving);
            self.leaving = 0;
        }
        self.reaped_ns = now_ns;
    }

    /// Ends the open span, to be numbered by whoever keeps it, and begins the next; what the report says
    /// stays whole.
    pub(crate) fn close_span(&mut self, now_ns: u64) -> Span {
        let lag = Lag::of(&self.lag);
        let wall_ns = now_ns.saturating_sub(self.span_began_ns);
        let idle_ns = std::mem::take(&mut self.idle_ns);
        self.lag_before
            .add(&self.lag)
            .expect("both hold the same bounds");
        self.lag.reset();
        self.span_began_ns = now_ns;
        let ns = |us: f64| (us * 1_000.0) as u64;
        Span {
            number: 0,
            wall_ns,
            busy_ns: wall_ns.saturating_sub(idle_ns),
            lag_p50_ns: ns(lag.p50),
            lag_p99_ns: ns(lag.p99),
            lag_max_ns: ns(lag.max),
        }
    }

    /// Delays of all spans.
    fn lag_of_all(&self) -> Histogram<u64> {
        let mut all = self.lag_before.clone();
        all.add(&self.lag).expect("both hold the same bounds");
        all
    }

    /// Every histogram that the report shows a part of, `lag` of all spans among them.
    fn packed(&self, lag: &Histogram<u64>, population: &Population) -> BTreeMap<String, Packed> {
        let own = [
            (sum::LAG, lag),
            (sum::LATENESS, &self.lateness),
            (sum::TRAINS_IN, &self.trains_in),
            (sum::TRAINS_OUT, &self.trains_out),
        ];
        let own = own.map(|(name, histogram)| (name.to_owned(), Packed::of(histogram)));
        let setups = population.setups().into_iter();
        let setups = setups.map(|(class, histogram)| {
            let name = match class {
                Some(class) => format!("{}/{class}", sum::SETUP),
                None => sum::SETUP.to_owned(),
            };
            (name, Packed::of(&histogram))
        });
        let answers = population.answer_histograms().map(|(class, histogram)| {
            let name = format!("{}/{class}", sum::ANSWER_TIME);
            (name, Packed::of(histogram))
        });
        own.into_iter().chain(setups).chain(answers).collect()
    }

    /// Notes one received buffer.
    #[inline]
    pub(crate) fn arrived(&mut self, received: &Received<'_>) {
        self.trains_in
            .saturating_record(received.datagram_count() as u64);
    }

    /// Notes one train of answers.
    #[inline]
    pub(crate) fn queued(&mut self, answers: u32, length: usize) {
        self.answers_queued += u64::from(answers);
        self.bytes_queued += length as u64;
        self.leaving += u64::from(answers);
        self.trains_out.saturating_record(u64::from(answers));
    }

    /// Notes one train of messages of calls.
    #[inline]
    pub(crate) fn departed(&mut self, messages: usize) {
        self.trains_out.saturating_record(messages as u64);
        self.departed += messages as u64;
    }

    /// Notes answers that found no send slab.
    pub(crate) fn found_no_slab(&mut self, answers: u64) {
        self.no_slab += answers;
    }

    /// Notes how late a train of late answers left.
    pub(crate) fn was_late(&mut self, lateness_ns: u64, answers: u32) {
        self.lateness
            .saturating_record_n(lateness_ns, u64::from(answers));
    }

    /// Reads the thread's CPU time, now and then.
    #[inline]
    pub(crate) fn read_cpu(&mut self, now_ns: u64) {
        if now_ns >= self.cpu_read_ns {
            self.cpu_ns = self.cpu.elapsed_ns();
            self.cpu_read_ns = now_ns + CPU_READ_NS;
        }
    }

    /// Makes the report of everything but the record.
    pub(crate) fn report(
        &self,
        config: &LoadgenConfig,
        port: &Port,
        population: &Population,
        now_ns: u64,
    ) -> LoadgenReport {
        let tally = population.tally();
        let totals = tally.totals();
        let lag = self.lag_of_all();
        LoadgenReport {
            sirs_received: totals.sirs,
            retransmissions_received: totals.retransmissions,
            datagrams_received: tally.datagrams,
            responses_sent: self.answers_queued,
            response_bytes_sent: self.bytes_queued,
            messages_sent: self.answers_queued + self.departed,
            datagram_bytes_received: port.counters().bytes_received - self.base.bytes_received,
            datagram_bytes_sent: port.counters().bytes_sent - self.base.bytes_sent,
            by_status: by_status(population),
            classes: population
                .named_behaviours()
                .zip(&tally.classes)
                .map(|((name, _), counts)| (name.to_owned(), *counts))
                .collect(),
            by_class: population
                .named_behaviours()
                .zip(&tally.classes)
                .map(|((name, _), counts)| (name.to_owned(), counts.sirs))
                .collect(),
            malformed: tally.malformed,
            screen_rejects: tally
                .refused
                .iter()
                .map(|(k, v)| (k.to_string(), *v))
                .collect(),
            dropped: self.dropped(port, population),
            parsed: tally.parsed,
            segments_per_train_in: Spread::of(&self.trains_in),
            segments_per_train_out: Spread::of(&self.trains_out),
            cpu_ns: self.cpu.elapsed_ns(),
            wall_ns: now_ns.saturating_sub(self.started_ns),
            syscalls: port.counters().syscalls - self.base.syscalls,
            lag_us: Lag::of(&lag),
            histograms: self.packed(&lag, population),
            lateness_us: Lag::of(&self.lateness),
            answer_time_us: population.answer_times(),
            late_waiting: population.late_waiting() as u64,
            sessions: population.session_totals(),
            sessions_by_class: population.sessions(),
            forgotten: population.forgotten(),
            record_path: config.record_sirs.clone(),
            ..LoadgenReport::default()
        }
    }

    fn dropped(&self, port: &Port, population: &Population) -> BTreeMap<String, u64> {
        let tally = population.tally();
        let totals = tally.totals();
        let counters = port.counters();
        let kernel = port
            .kernel_drops()
            .unwrap_or(0)
            .saturating_sub(self.base_kernel_drops);
        let sends = counters.send_errors.total() - self.base.send_errors.total();
        let unreadable = counters.truncations + counters.malformed + counters.receive_errors
            - (self.base.truncations + self.base.malformed + self.base.receive_errors);
        let own = [
            ("lossy", totals.lost),
            ("late_slots_full", totals.late_dropped),
            ("no_slab", self.no_slab),
            ("send_failed", sends),
            ("receive_unreadable", unreadable),
            ("kernel_receive_buffer_full", kernel),
        ];
        let named = tally.dropped.iter().map(|(cause, count)| (*cause, *count));
        let all = own.into_iter().chain(named).filter(|(_, count)| *count > 0);
        all.map(|(cause, count)| (cause.to_owned(), count))
            .collect()
    }
}

fn by_status(population: &Population) -> BTreeMap<u16, u64> {
    let tally = population.tally();
    let mut by_status = tally.refused.clone();
    for ((_, behaviour), counts) in population.named_behaviours().zip(&tally.classes) {
        let genuine = !matches!(behaviour, Behaviour::Forged { .. });
        if let Some(status) = behaviour.status().filter(|_| genuine && counts.answers > 0) {
            *by_status.entry(status).or_default() += counts.answers;
        }
    }
    by_status
}

/// Adds what became of the record.
pub(crate) fn add_record(report: &mut LoadgenReport, totals: JournalTotals) {
    report.record_entries = totals.entries;
    report.record_left_out = totals.left_out;
    if totals.left_out > 0 {
        report.notices.push(format!(
            "the record lacks {} entries because its file was too slow; it proves nothing",
            totals.left_out
        ));
    }
}
