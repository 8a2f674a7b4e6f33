//! The part of a plan that asks for workers and machines: the load of so many workers, what they bring
//! together, the fewest that are enough, machines by what binds them, and how long everybody takes.
//! Called by `sizing`.

use super::Sizing;
use crate::plan::cost::{At, Stretch};
use crate::plan::estimate::Estimate;

/// Most workers that are looked for: a plan beyond it holds a typing error.
const WORKERS_MAX: u32 = 1 << 20;

impl Sizing<'_> {
    fn at(&self, workers: u32, train: f64) -> At {
        At {
            train,
            identities: (self.plan.subscribers / f64::from(workers)).max(1.0),
            hops: self.plan.edges,
        }
    }

    /// CPU seconds a second of all workers, if they were so many.
    pub(super) fn load(&self, workers: u32, train: f64) -> Estimate {
        let (at, offered, measured) = (self.at(workers, train), &self.offered, self.measured);
        let sir = measured
            .sir
            .at(at)
            .scaled(offered.plain + offered.unanswered);
        let cycle = measured
            .cycle
            .at(at)
            .times(self.mode.cpu)
            .scaled(offered.cycles);
        let again = measured.retransmission(at).times(offered.retransmissions);
        sir.plus(cycle).plus(again).scaled(1e-9)
    }

    /// What so many workers bring, in workers that are alone: whole machines and the rest of one.
    pub(super) fn capacity(&self, workers: u32) -> Estimate {
        let of_machine = self.plan.workers_per_machine;
        let whole = self
            .measured
            .scaling
            .brings(of_machine)
            .scaled(f64::from(workers / of_machine));
        match workers % of_machine {
            0 => whole,
            rest => whole.plus(self.measured.scaling.brings(rest)),
        }
    }

    /// Fewest workers for the load, each busy for no more than it may be: the likely number, and the ones at
    /// both ends of the intervals. More workers have smaller indexes each, so the load depends on them.
    pub(super) fn workers(&self, train: f64) -> Estimate {
        let fewest = |load: fn(Estimate) -> f64, capacity: fn(Estimate) -> f64| {
            let enough = |workers: u32| {
                load(self.load(workers, train))
                    <= capacity(self.capacity(workers)) * self.plan.busy_share_max
            };
            let (mut low, mut high) = (0, WORKERS_MAX);
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                match enough(middle) {
                    true => high = middle,
                    false => low = middle,
                }
            }
            f64::from(high)
        };
        Estimate::between(
            fewest(|load| load.value, |capacity| capacity.value),
            fewest(|load| load.low, |capacity| capacity.high),
            fewest(|load| load.high, |capacity| capacity.low),
        )
    }

    /// How far the cost of SIRs and sessions lies beyond the records.
    fn cost_stretches(&self, workers: u32, train: f64) -> Vec<Stretch> {
        let at = self.at(workers, train);
        let mut found = self.measured.sir.stretches(at);
        if self.offered.cycles > 0.0 {
            for beyond in self.measured.cycle.stretches(at) {
                match found
                    .iter_mut()
                    .find(|stretch| stretch.factor == beyond.factor)
                {
                    Some(same) if same.times >= beyond.times => (),
                    Some(same) => *same = beyond,
                    None => found.push(beyond),
                }
            }
            found.extend(self.mode.stretch.clone());
        }
        found
    }

    /// The likely number of workers, beside the lines about them.
    pub(super) fn engines(&mut self) -> u32 {
        let workers = self.workers(self.plan.train);
        let likely = workers.value as u32;
        let beyond = self.cost_stretches(likely, self.plan.train);
        let with_machine = |found: &[Stretch], workers: u32| -> Vec<Stretch> {
            let together = workers.min(self.plan.workers_per_machine);
            let machine = self.measured.scaling.stretch(together);
            found.iter().cloned().chain(machine).collect()
        };
        let load = self.load(likely, self.plan.train);
        let each = load.scaled(1e6 / self.offered.orders);
        let (alone, alone_beyond) = (self.workers(1.0), self.cost_stretches(likely, 1.0));
        let worker_lines = with_machine(&beyond, workers.high as u32);
        let alone_lines = with_machine(&alone_beyond, alone.high as u32);
        let section = "engines";
        self.push(
            section,
            ("cpu_us_per_order", "CPU time an order", "us"),
            each,
            beyond.clone(),
        );
        self.push(
            section,
            ("busy_workers", "workers kept busy", ""),
            load,
            beyond,
        );
        self.push(
            section,
            ("workers", "workers needed", ""),
            workers,
            worker_lines,
        );
        self.push(
            section,
            (
                "workers_without_trains",
                "the same if nothing makes trains",
                "",
            ),
            alone,
            alone_lines,
        );
        likely
    }

    pub(super) fn machines(&mut self, workers: u32) {
        let by = |name: &str| self.lines.iter().find(|line| line.name == name);
        let needed = by("workers").map_or(Estimate::exact(1.0), |line| line.estimate);
        let beyond = by("workers")
            .map(|line| line.extrapolated.clone())
            .unwrap_or_default();
        let memory_beyond = by("memory_bytes")
            .map(|line| line.extrapolated.clone())
            .unwrap_or_default();
        let bytes = self
            .bytes(workers)
            .into_iter()
            .fold(Estimate::default(), Estimate::plus);
        let whole = |share: f64| share.ceil().max(1.0);
        let cpu = needed.mapped(|n| whole(n / f64::from(self.plan.workers_per_machine)));
        let memory =
            bytes.mapped(|bytes| whole(bytes / (self.plan.memory_gib * (1u64 << 30) as f64)));
        let link = self
            .bits()
            .mapped(|bits| whole(bits / (self.plan.link_gbit * 1e9 * self.plan.busy_share_max)));
        let spare = Estimate::exact(f64::from(self.plan.spare_machines));
        let machines = cpu.max(memory).max(link).plus(spare);
        let all = [beyond.clone(), memory_beyond.clone()].concat();
        let section = "machines";
        self.push(section, ("machines_by_cpu", "by workers", ""), cpu, beyond);
        self.push(
            section,
            ("machines_by_memory", "by memory", ""),
            memory,
            memory_beyond,
        );
        self.push(
            section,
            ("machines_by_link", "by link, both ways on one", ""),
            link,
            vec![],
        );
        self.push(
            section,
            ("machines", "machines, spare ones included", ""),
            machines,
            all,
        );
    }

    pub(super) fn everybody(&mut self, workers: u32) {
        let load = self.load(workers, self.plan.train);
        let capacity = self.capacity(workers).scaled(self.plan.busy_share_max);
        let mean_s = self.plan.subscribers / self.offered.orders;
        let engines = load.over(capacity).scaled(mean_s);
        let together = self
            .measured
            .scaling
            .stretch(workers.min(self.plan.workers_per_machine));
        let beyond: Vec<Stretch> = self
            .cost_stretches(workers, self.plan.train)
            .into_iter()
            .chain(together)
            .collect();
        let section = "a push to everybody";
        self.push(
            section,
            (
                "push_all_s",
                "by the workers needed, as busy as they may be",
                "s",
            ),
            engines,
            beyond,
        );
        if self.plan.pages_per_area_max > 0.0 {
            let paged = mean_s * self.pages() * self.plan.busiest_area_factor
                / self.plan.pages_per_area_max;
            self.push(
                section,
                (
                    "push_all_by_paging_s",
                    "by what the busiest area can page",
                    "s",
                ),
                Estimate::exact(paged),
                vec![],
            );
        }
    }
}
