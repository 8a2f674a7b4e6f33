//! The orders of a run with sessions: every addressing mode, contents of every way, and whom each wants.

use std::collections::HashSet;

use serde_json::json;

use crate::people::{People, Person};
use crate::random::Random;

/// Addressing modes, as orders name them.
const MODES: [&str; 5] = ["prior-art", "targeted", "self-select", "matched", "fan-out"];
/// Devices that an order may name.
const SELECTED_MAX: usize = 64;
/// Octets of the longest content: a dozen chunks of MSRP.
const CONTENT_BYTES_MAX: u64 = 24_000;
/// Octets of a content that fits a MESSAGE of 1300 octets over UDP (RFC 3428 8), whatever names are in it.
const MESSAGE_BYTES_MAX: usize = 600;

/// One order and what the model expects of it.
pub struct Campaign {
    /// The order as JSON.
    pub json: String,
    /// Addressing mode.
    pub mode: &'static str,
    /// The application that tells its SIRs from others.
    pub application: String,
    /// The content, which no other order has.
    pub content: String,
    /// Whether the content surely fits a MESSAGE.
    pub is_short: bool,
    aors: HashSet<String>,
    capability: u8,
    devices: Vec<String>,
}

impl Campaign {
    /// Draws order number `number` for some of the identities.
    pub fn draw(random: &mut Random, people: &People, number: usize) -> Self {
        let mode = *random.pick(&MODES);
        let share = random.between(100, 1_000);
        let listed = people.settled.iter().filter(|_| random.chance(share));
        let mut aors: Vec<_> = listed.map(|(aor, _)| aor.clone()).collect();
        if aors.is_empty() {
            aors.push(people.settled[0].0.clone());
        }
        let selects = mode != "fan-out" && random.chance(600);
        let (mut capability, mut devices) = (0, Vec::new());
        if selects && random.chance(500) {
            capability = 1 << random.below(8);
        } else if selects {
            let own = people.settled.iter().filter(|(aor, _)| aors.contains(aor));
            let own = own.map(|(_, numbers)| &people.devices[numbers[0]].device);
            devices = own
                .filter(|device| is_selectable(device))
                .take(SELECTED_MAX)
                .cloned()
                .collect();
        }
        let is_short = random.chance(700);
        let length = if is_short {
            random.between(20, MESSAGE_BYTES_MAX as u64)
        } else {
            random.between(MESSAGE_BYTES_MAX as u64 + 1, CONTENT_BYTES_MAX)
        };
        let content = format!("order-{number}|{:x<1$}", "", length as usize);
        let content = content[..length as usize].to_owned();
        let application = format!("app-{number}");
        let mut order = json!({
            "order": format!("order-{number}"),
            "mode": mode,
            "to": { "identities": aors },
            "select": { "capability": capability, "devices": devices },
            "application": application,
            "content": { "type": "text/plain", "text": content },
            "push": random.pick(&["auto", "message", "msrp"]),
        });
        if mode == "matched" {
            order["device-position"] = json!(random.pick(&["header", "value", "body"]));
        }
        Self {
            json: order.to_string(),
            mode,
            application,
            content,
            is_short,
            aors: aors.into_iter().collect(),
            capability,
            devices,
        }
    }

    /// Whether the order is for a device's user.
    pub fn is_for(&self, person: &Person) -> bool {
        self.aors.contains(&person.aor)
    }

    /// Whether the order wants a device of such a user.
    pub fn wants(&self, person: &Person) -> bool {
        self.is_for(person)
            && person.capability & self.capability == self.capability
            && (self.devices.is_empty() || self.devices.contains(&person.device))
    }

    /// Whether its SIRs name the user alone, so that all devices get them.
    pub fn is_one_for_all(&self) -> bool {
        matches!(self.mode, "prior-art" | "self-select")
    }

    /// Whether a device that gets one of its SIRs follows: `named` is the device that the body names.
    pub fn is_followed(&self, person: &Person, named: Option<&[u8]>) -> bool {
        match self.mode {
            "self-select" => self.wants(person),
            "matched" => named.is_some_and(|named| named == person.shown().as_bytes()),
            _ => true,
        }
    }
}

/// Whether an order may name a device: what an order refuses to read is tested where orders are read.
fn is_selectable(device: &str) -> bool {
    sirocco_wire::identity::PackedDevice::pack(device.as_bytes()).is_some()
}
