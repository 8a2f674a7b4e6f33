//! From assumptions and coefficients to lines: what is offered, what it takes of workers, memory and
//! links, what is held, what the radio side pages, and how long a push to everybody takes. Every line has
//! its interval and says how far it lies beyond the records. Called by `plan` and its what-if tables.

mod engines;

use serde::{Deserialize, Serialize};
use sirocco_dispatch::transaction::{T1_NS, TIMER_F_NS, Transaction};

use super::assumptions::Assumptions;
use super::coefficients::{Coefficients, ModeCost};
use super::cost::{Stretch, stretch};
use super::erlang;
use super::estimate::Estimate;

/// RFC 768, 791, 8200: octets of UDP and IP headers of a datagram, by IP version.
const HEADER_OCTETS: [(u32, f64); 2] = [(4, 28.0), (6, 48.0)];

/// IEEE 802.3: preamble 8, header 14, check sequence 4, gap 12.
const ETHERNET_OCTETS: f64 = 38.0;

/// One line of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Stable name.
    pub name: String,
    /// Group that it is shown in.
    pub section: String,
    /// What it is, for people.
    pub words: String,
    /// Its unit; empty for a number.
    pub unit: String,
    /// The figure with its interval.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// How far it lies beyond what was measured; empty within.
    pub extrapolated: Vec<Stretch>,
}

/// What is asked of the engines in the worst second of the busy hour.
#[derive(Clone, Copy, Debug)]
struct Offered {
    orders: f64,
    /// First transmissions, further pushes included.
    sirs: f64,
    unanswered: f64,
    /// Answered SIRs whose device builds no session.
    plain: f64,
    /// Answered SIRs with a session of the wanted device.
    cycles: f64,
    sessions: f64,
    retransmissions: Estimate,
}

/// A plan being worked out.
pub struct Sizing<'a> {
    plan: &'a Assumptions,
    measured: &'a Coefficients,
    mode: ModeCost,
    offered: Offered,
    lines: Vec<Line>,
}

impl<'a> Sizing<'a> {
    /// Prepares the plan; `None` where no record has its mode.
    #[must_use]
    pub fn new(plan: &'a Assumptions, measured: &'a Coefficients) -> Option<Self> {
        let mode = measured.mode(plan.mode, plan.devices_per_subscriber)?;
        let orders = plan.subscribers * plan.pushes_per_busy_hour / 3600.0 * plan.peak_factor;
        let silent = 1.0 - plan.answer_share;
        let attempts: f64 = (0..=plan.repushes)
            .map(|n| silent.powi(n.cast_signed()))
            .sum();
        let sirs = orders * mode.sirs * attempts;
        let cycles = sirs * plan.answer_share * plan.session_share;
        let offered = Offered {
            orders,
            sirs,
            unanswered: sirs * silent,
            plain: sirs * plan.answer_share - cycles,
            cycles,
            sessions: cycles * mode.sessions,
            retransmissions: measured.retransmissions.scaled(sirs * silent),
        };
        Some(Self {
            plan,
            measured,
            mode,
            offered,
            lines: Vec::new(),
        })
    }

    /// Every line.
    #[must_use]
    pub fn lines(mut self) -> Vec<Line> {
        self.traffic();
        let workers = self.engines();
        self.wire();
        self.memory(workers);
        self.held(workers);
        self.machines(workers);
        self.radio();
        self.everybody(workers);
        self.lines
    }

    fn push(
        &mut self,
        section: &str,
        (name, words, unit): (&str, &str, &str),
        estimate: Estimate,
        extrapolated: Vec<Stretch>,
    ) {
        self.lines.push(Line {
            name: name.to_owned(),
            section: section.to_owned(),
            words: words.to_owned(),
            unit: unit.to_owned(),
            estimate,
            extrapolated,
        });
    }

    fn traffic(&mut self) {
        let Offered {
            orders,
            sirs,
            sessions,
            retransmissions,
            ..
        } = self.offered;
        let exact = Estimate::exact;
        let beyond: Vec<Stretch> = self.mode.stretch.clone().into_iter().collect();
        let section = "worst second";
        self.push(
            section,
            ("orders_per_s", "orders", "/s"),
            exact(orders),
            vec![],
        );
        self.push(
            section,
            ("sirs_per_s", "SIRs, further pushes included", "/s"),
            exact(sirs),
            vec![],
        );
        self.push(
            section,
            (
                "retransmissions_per_s",
                "retransmissions to devices that do not answer",
                "/s",
            ),
            retransmissions,
            vec![],
        );
        self.push(
            section,
            ("sessions_per_s", "sessions, unwanted ones included", "/s"),
            exact(sessions),
            beyond,
        );
    }

    /// Messages a second, both ways, and their octets.
    fn messages(&self) -> (Estimate, Estimate) {
        let (offered, measured) = (&self.offered, self.measured);
        let again = offered.retransmissions;
        let plain = 2.0f64.mul_add(offered.plain, offered.unanswered);
        let messages = Estimate::exact(plain + offered.cycles * self.mode.messages).plus(again);
        let both = measured.request_octets + measured.response_octets;
        let octets = offered.plain * both
            + offered.unanswered * measured.request_octets
            + offered.cycles * self.mode.octets;
        (
            messages,
            Estimate::exact(octets).plus(again.scaled(measured.request_octets)),
        )
    }

    fn bits(&self) -> Estimate {
        let (messages, octets) = self.messages();
        let known = HEADER_OCTETS
            .iter()
            .find(|(version, _)| *version == self.plan.ip_version);
        let headers = known.map_or(0.0, |(_, octets)| octets + ETHERNET_OCTETS);
        octets.plus(messages.scaled(headers)).scaled(8.0)
    }

    fn wire(&mut self) {
        let (messages, bits) = (self.messages().0, self.bits());
        let trains = messages.scaled(1.0 / self.plan.train);
        let beyond: Vec<Stretch> = self.mode.stretch.clone().into_iter().collect();
        let section = "wire";
        self.push(
            section,
            ("packets_per_s", "packets on the wire, both ways", "/s"),
            messages,
            beyond.clone(),
        );
        self.push(
            section,
            (
                "trains_per_s",
                "the same as the kernel takes them, in trains",
                "/s",
            ),
            trains,
            beyond.clone(),
        );
        self.push(
            section,
            (
                "bits_per_s",
                "bits on the wire with UDP, IP and Ethernet, both ways",
                "bit/s",
            ),
            bits,
            beyond,
        );
    }

    /// Transactions open at once: answered ones until their answer, others until Timer F.
    fn transactions(&self) -> f64 {
        let answered = self.plan.answer_ms / 1e3 * self.plan.answer_share;
        let silent = TIMER_F_NS as f64 / 1e9 * (1.0 - self.plan.answer_share);
        self.offered.sirs * (answered + silent)
    }

    fn erlangs(&self) -> f64 {
        self.offered.sessions * self.plan.session_held_s
    }

    /// Bytes of all workers together.
    fn bytes(&self, workers: u32) -> [Estimate; 3] {
        let n = f64::from(workers);
        let identities = self.plan.subscribers / n;
        let devices = identities * self.plan.devices_per_subscriber;
        let index = self.measured.index_bytes(identities, devices).scaled(n);
        let sessions = self.measured.session_bytes.scaled(self.erlangs());
        let transactions = Estimate::exact(self.transactions() * size_of::<Transaction>() as f64);
        [index, sessions, transactions]
    }

    fn memory(&mut self, workers: u32) {
        let [index, sessions, transactions] = self.bytes(workers);
        let identities = self.plan.subscribers / f64::from(workers);
        let beyond: Vec<Stretch> = self
            .measured
            .index_stretch(identities)
            .into_iter()
            .collect();
        let held: Vec<Stretch> = self.held_stretch(workers).into_iter().collect();
        let all = [beyond.clone(), held.clone()].concat();
        let total = index.plus(sessions).plus(transactions);
        let section = "memory";
        self.push(
            section,
            ("index_bytes", "index of all workers", "B"),
            index,
            beyond,
        );
        self.push(
            section,
            ("session_bytes", "sessions held", "B"),
            sessions,
            held,
        );
        self.push(
            section,
            ("transaction_bytes", "transactions open", "B"),
            transactions,
            vec![],
        );
        self.push(
            section,
            ("memory_bytes", "all of it, without buffers of ports", "B"),
            total,
            all,
        );
    }

    fn held_stretch(&self, workers: u32) -> Option<Stretch> {
        let each = self.erlangs() / f64::from(workers);
        // Fewer than were held is no stretch: a session costs what it costs.
        stretch(
            "sessions held a worker",
            each,
            [0.0, self.measured.held_most].into_iter(),
        )
    }

    fn held(&mut self, workers: u32) {
        let n = f64::from(workers);
        let (each, exact) = (self.erlangs() / n, Estimate::exact);
        let places = erlang::places_refusing(each, self.plan.blocking_max);
        // A place in the window is free again when the answer comes or Timer E first fires.
        let t1_s = T1_NS as f64 / 1e9;
        let answered = (self.plan.answer_ms / 1e3).min(t1_s) * self.plan.answer_share;
        let stays_s = answered + t1_s * (1.0 - self.plan.answer_share);
        let window = erlang::places_waiting(self.offered.sirs / n * stays_s, self.plan.waiting_max);
        let beyond: Vec<Stretch> = self.held_stretch(workers).into_iter().collect();
        let section = "held";
        self.push(
            section,
            ("sessions_held", "sessions held at once, mean", "E"),
            exact(self.erlangs()),
            beyond.clone(),
        );
        for (name, words, places, beyond) in [
            (
                "session_places_per_worker",
                "places for them a worker: sessions-max (Erlang B)",
                places,
                beyond,
            ),
            (
                "window_places_per_worker",
                "places in the window a worker: window-total (Erlang C)",
                window,
                vec![],
            ),
        ] {
            if let Some(places) = places {
                self.push(section, (name, words, ""), exact(places as f64), beyond);
            }
        }
        self.push(
            section,
            ("transactions_open", "transactions open at once", ""),
            exact(self.transactions()),
            vec![],
        );
    }

    /// Pages a second in the mean tracking area: each device that a SIR reaches and that is idle is paged
    /// once; what is sent again meanwhile finds it being paged.
    fn pages(&self) -> f64 {
        self.offered.sirs * self.mode.copies * self.plan.idle_share / self.plan.tracking_areas
    }

    fn radio(&mut self) {
        let (mean, plan) = (self.pages(), self.plan);
        let busiest = mean * plan.busiest_area_factor;
        let beyond: Vec<Stretch> = self.mode.stretch.clone().into_iter().collect();
        let exact = Estimate::exact;
        let section = "paging";
        self.push(
            section,
            ("devices_reached_per_sir", "devices that a SIR reaches", ""),
            exact(self.mode.copies),
            beyond.clone(),
        );
        self.push(
            section,
            (
                "pages_per_area_per_s",
                "pages in the mean tracking area",
                "/s",
            ),
            exact(mean),
            beyond.clone(),
        );
        self.push(
            section,
            (
                "pages_per_busiest_area_per_s",
                "pages in the busiest tracking area",
                "/s",
            ),
            exact(busiest),
            beyond.clone(),
        );
        self.push(
            section,
            (
                "page_messages_per_s",
                "paging messages over all cells",
                "/s",
            ),
            exact(mean * plan.tracking_areas * plan.cells_per_area),
            beyond.clone(),
        );
        if plan.pages_per_area_max > 0.0 {
            self.push(
                section,
                (
                    "paging_filled_share",
                    "share of the paging that the busiest area can take",
                    "",
                ),
                exact(busiest / plan.pages_per_area_max),
                beyond,
            );
        }
    }
}

#[cfg(test)]
mod tests;
