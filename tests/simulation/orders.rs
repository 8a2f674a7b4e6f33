//! The orders of a run: drawn at random in every form, each with what the model expects of it.

use std::collections::HashMap;

use serde_json::json;
use sirocco_dispatch::load::{Load, Wanted};
use sirocco_dispatch::order::{Audience, Order};
use sirocco_index::Index;

use crate::people::{People, Person};
use crate::random::Random;

/// Whom an order is for.
pub enum To {
    /// Identities, and how often each is offered.
    Listed(HashMap<String, u64>),
    /// Every identity of the index.
    Everybody,
}

/// Which devices an order wants, as the model understands it.
#[derive(Default)]
pub struct Select {
    devices: Vec<String>,
    capability: u8,
    preference: u8,
    subscription: u8,
    connected: bool,
}

/// One order of a run.
pub struct Planned {
    /// Its name.
    pub name: String,
    /// Its application: what tells its SIRs from those of other orders on the wire.
    pub application: String,
    /// Whom it is for.
    pub to: To,
    /// Which devices it wants.
    pub select: Select,
    /// From acceptance to its end, in nanoseconds.
    pub deadline_ns: Option<u64>,
    /// Units it must come to if nothing cuts it short; `None` if volatile identities are in it.
    pub units: Option<u64>,
    /// Whether it is a load: a drain ends it early.
    pub is_load: bool,
    /// Whether each offer wants only one device of its identity.
    pub one_in_turn: bool,
    form: Form,
}

enum Form {
    Json(String),
    Load {
        aors: Vec<String>,
        rate: Option<f64>,
        orders_max: u64,
    },
}

impl Select {
    /// Whether a device is wanted.
    pub fn wants(&self, person: &Person) -> bool {
        (self.devices.is_empty() || self.devices.contains(&person.device))
            && person.capability & self.capability == self.capability
            && person.preference >= self.preference
            && person.subscription & self.subscription == self.subscription
            && (person.connected || !self.connected)
    }
}

impl Planned {
    /// Draws order number `number`.
    pub fn draw(random: &mut Random, people: &People, number: usize) -> Self {
        let is_shared = random.chance(200);
        let application = if is_shared {
            "push.sia".to_owned()
        } else {
            format!("app-{number}")
        };
        let deadline_ms = [1, 20, 700, 3_000, 40_000];
        let has_deadline = !is_shared && random.chance(250);
        let deadline_ms =
            has_deadline.then(|| random.between(0, *random.clone().pick(&deadline_ms)));
        let mut planned = Self {
            name: format!("order-{number}"),
            application,
            to: To::Everybody,
            select: Select::default(),
            deadline_ns: deadline_ms.map(|ms| ms * 1_000_000),
            units: None,
            is_load: false,
            one_in_turn: false,
            form: Form::Json(String::new()),
        };
        match random.below(10) {
            0 => planned.plan_json(random, people, &json!({ "everybody": true }), deadline_ms),
            1 | 2 => planned.plan_load(random, people),
            3 | 4 => {
                let (aor, _) = random.pick(&people.settled);
                planned.to = To::Listed(HashMap::from([(aor.clone(), 1)]));
                planned.plan_json(random, people, &json!({ "identity": aor }), deadline_ms);
            }
            _ => planned.plan_list(random, people, deadline_ms),
        }
        planned
    }

    fn plan_list(&mut self, random: &mut Random, people: &People, deadline_ms: Option<u64>) {
        let share = random.between(20, 1_000);
        let mut lines = Vec::new();
        let mut times = HashMap::new();
        let mut unknown = 0;
        let takes_volatile = random.chance(300);
        for (aor, _) in people.settled.iter().filter(|_| random.chance(share)) {
            lines.push(aor.clone());
            times.insert(aor.clone(), 1);
        }
        for (aor, _) in people.volatile.iter().filter(|_| takes_volatile) {
            lines.push(aor.clone());
            times.insert(aor.clone(), 1);
        }
        for _ in 0..random.below(4) {
            let stranger = [
                "sip:nobody@nowhere.example",
                "not an identity",
                "sip:+8600000@ims.example",
            ];
            lines.push((*random.pick(&stranger)).to_owned());
            unknown += 1;
        }
        self.to = To::Listed(times);
        self.plan_json(random, people, &json!({ "identities": lines }), deadline_ms);
        self.units = self
            .expected(people)
            .map(|units| units + unknown)
            .filter(|_| !takes_volatile);
    }

    fn plan_json(
        &mut self,
        random: &mut Random,
        people: &People,
        to: &serde_json::Value,
        deadline_ms: Option<u64>,
    ) {
        let is_fan_out = random.chance(300);
        if !is_fan_out {
            self.select = draw_select(random, people);
        }
        let Select {
            devices,
            capability,
            preference,
            subscription,
            connected,
        } = &self.select;
        let mut order = json!({
            "order": self.name,
            "mode": if is_fan_out { "fan-out" } else { "targeted" },
            "to": to,
            "priority": random.pick(&["high", "medium", "low"]),
            "application": self.application,
        });
        if !is_fan_out {
            order["select"] = json!({
                "devices": devices,
                "capability": capability,
                "preference": preference,
                "subscription": subscription,
                "connected": connected,
            });
        }
        if let Some(ms) = deadline_ms {
            order["deadline-ms"] = json!(ms);
        }
        self.units = self.expected(people);
        self.form = Form::Json(order.to_string());
    }

    fn plan_load(&mut self, random: &mut Random, people: &People) {
        let offset = random.below(people.settled.len() as u64) as usize;
        let aors: Vec<_> = people.settled[offset..]
            .iter()
            .map(|(aor, _)| aor.clone())
            .collect();
        let count = aors.len() as u64;
        let orders_max = random.between(1, count * 2);
        let times = aors.iter().enumerate().map(|(at, aor)| {
            let extra = u64::from((at as u64) < orders_max % count);
            (aor.clone(), orders_max / count + extra)
        });
        self.to = To::Listed(times.collect());
        self.is_load = true;
        self.one_in_turn = random.chance(500);
        let rate = random
            .chance(700)
            .then(|| random.between(50, 20_000) as f64);
        self.units = if self.one_in_turn {
            Some(orders_max)
        } else {
            self.expected(people)
        };
        self.form = Form::Load {
            aors,
            rate,
            orders_max,
        };
    }

    /// Units of an order for settled identities: one a wanted device, one for an identity without any.
    fn expected(&self, people: &People) -> Option<u64> {
        let To::Listed(times) = &self.to else {
            return None;
        };
        let listed = people.settled.iter().map(|(aor, devices)| {
            let wanted = devices
                .iter()
                .filter(|&&device| self.select.wants(&people.devices[device]));
            times.get(aor).copied().unwrap_or(0) * (wanted.count() as u64).max(1)
        });
        Some(listed.sum())
    }

    /// How often a settled device is wanted.
    pub fn times(&self, person: &Person) -> u64 {
        let offered = match &self.to {
            To::Listed(times) => times.get(&person.aor).copied().unwrap_or(0),
            To::Everybody => 1,
        };
        if self.select.wants(person) {
            offered
        } else {
            0
        }
    }

    /// The order as the shard takes it.
    pub fn order(&self, index: &Index) -> Order {
        match &self.form {
            Form::Json(json) => Order::read(json).expect("a sound order"),
            Form::Load {
                aors,
                rate,
                orders_max,
            } => {
                let identities: Vec<_> = aors
                    .iter()
                    .map(|aor| index.pack(aor.as_bytes()).expect("a settled identity"))
                    .collect();
                let wanted = if self.one_in_turn {
                    Wanted::OneInTurn
                } else {
                    Wanted::All
                };
                let load = Load::new(identities.into(), wanted, *rate, *orders_max);
                Order {
                    deadline_ns: self.deadline_ns,
                    application: self.application.clone(),
                    ..Order::new(&self.name, Audience::Load(load))
                }
            }
        }
    }
}

fn draw_select(random: &mut Random, people: &People) -> Select {
    let mut select = Select::default();
    match random.below(8) {
        0 => select.capability = 1 << random.below(8),
        1 => select.preference = random.below(16) as u8,
        2 => select.subscription = 1 << random.below(8),
        3 => select.connected = true,
        4 => {
            let count = random.between(1, 40);
            let named = (0..count).map(|_| random.pick(&people.devices).device.clone());
            select.devices = named.filter(|device| is_selectable(device)).collect();
        }
        _ => {}
    }
    select
}

/// Whether an order may name a device: what an order refuses to read is tested where orders are read.
fn is_selectable(device: &str) -> bool {
    sirocco_wire::identity::PackedDevice::pack(device.as_bytes()).is_some()
}
