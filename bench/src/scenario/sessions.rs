//! The part of a scenario that speaks of sessions: what every order says, how many are held, what is
//! flooded, which addressing modes are compared, and which outcome of a SIR is the right one. Reading
//! and checking only; `run` does what it says.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sirocco_dispatch::order::Order;
use sirocco_loadgen::LoadgenConfig;

use super::{Outside, Scenario, Wanted};
use crate::quantity::Rate;

/// Most octets of a content that a scenario makes: a MESSAGE beyond 1300 is MSRP's (RFC 3428 8).
const CONTENT_OCTETS_MAX: i64 = 1 << 20;

/// Sessions held open at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Hold {
    /// How many; each identity is asked in turn until so many are open.
    pub sessions: u64,
    /// Bytes of the engine's tables a session may take; more fails the run.
    pub bytes_max: u64,
    /// Longest time to build them all up, in milliseconds.
    pub build_ms_max: u64,
}

/// Forged INVITEs beside the legitimate sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Flood {
    /// Forged INVITEs for each legitimate one.
    pub times: u32,
    /// Legitimate sessions a second have to keep this share of the rate without the flood.
    pub kept_share_min: f64,
}

/// Addressing mode of an order, as the engine names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// One SIR to the user identity, forked to all devices, all of which build a session.
    PriorArt,
    /// One SIR to each wanted device, routed by its identity.
    Targeted,
    /// One SIR to the user identity; each device decides.
    SelfSelect,
    /// The same with the wanted device's identity as data; each device compares.
    Matched,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::PriorArt => "prior-art",
            Self::Targeted => "targeted",
            Self::SelfSelect => "self-select",
            Self::Matched => "matched",
        })
    }
}

/// The comparison of addressing modes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Addressing {
    /// The modes, in the order of the table.
    pub modes: Vec<Mode>,
    /// Orders in each mode, one identity each.
    pub orders: u64,
    /// Longest time for all orders of one mode, in milliseconds.
    pub mode_ms_max: u64,
}

/// What is the right end of a SIR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// One wanted device builds a session and takes the push; no other does.
    Session,
    /// The SIR is answered 200, at the first or a later attempt.
    Delivered,
    /// Somebody else delivers it later: 202.
    Stored,
    /// Nobody answers and the SIR is given up (Timer F).
    Timeout,
    /// No SIR at all: the push goes into the session that is open.
    Direct,
}

/// How each SIR is judged (wire-facts: inadequately handled is a wrong outcome or one too late).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Outcome {
    /// The right end.
    pub right: Right,
    /// Longest time from the due time to it, in milliseconds.
    pub within_ms: u64,
    /// Orders, one identity each.
    pub orders: u64,
    /// Share of inadequately handled SIRs that is still a pass (TS 186 008 takes 0.001).
    pub ihs_max: f64,
}

impl Scenario {
    /// Whether devices build sessions: whether orders bring a content.
    #[must_use]
    pub fn has_sessions(&self) -> bool {
        self.order.contains_key("content")
    }

    /// Fields of an order but name and recipients, its content spelt out.
    #[must_use]
    pub fn order_fields(&self) -> Map<String, Value> {
        let mut fields = match serde_json::to_value(&self.order) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        if let Some(Value::Object(content)) = fields.get_mut("content")
            && let Some(octets) = content.remove("octets").and_then(|o| o.as_i64())
        {
            let octets = octets.clamp(0, CONTENT_OCTETS_MAX) as usize;
            content.insert("text".to_owned(), filler(octets).into());
        }
        fields.entry("mode").or_insert_with(|| {
            match self.wanted {
                Wanted::OneInTurn => "targeted",
                Wanted::All => "fan-out",
            }
            .into()
        });
        fields
    }

    /// The order as the engine reads it.
    ///
    /// # Errors
    /// The field that is unknown or out of bounds, and what is possible.
    pub fn order_named(&self, name: &str) -> Result<Order, String> {
        order(self.order_fields(), name)
    }

    /// The loadgen's settings, defaults filled in; `mix`, place and seed come by the scenario's own keys.
    ///
    /// # Errors
    /// The setting that is unknown or out of bounds, and what is possible.
    pub fn loadgen_config(&self) -> Result<LoadgenConfig, String> {
        let value = serde_json::to_value(&self.loadgen).map_err(|error| error.to_string())?;
        let config: LoadgenConfig =
            serde_json::from_value(value).map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    /// Bounds of the session keys; `bound` says what is out of them.
    pub(super) fn session_bounds(
        &self,
        bound: impl Fn(&'static str, u64, u64, u64, &'static str) -> Result<(), Outside>,
    ) -> Result<(), Outside> {
        const COUNT: &str = "1 to 16777216";
        const MILLIS: &str = "1 to 3600000";
        let count = |key, value| bound(key, value, 1, 1 << 24, COUNT);
        let millis = |key, value| bound(key, value, 1, 3_600_000, MILLIS);
        if let Some(hold) = &self.hold {
            count("hold.sessions", hold.sessions)?;
            millis("hold.build-ms-max", hold.build_ms_max)?;
        }
        if let Some(flood) = &self.flood {
            bound("flood.times", flood.times.into(), 1, 1000, "1 to 1000")?;
            let open_loop = u64::from(self.runs.rate != Rate::Max);
            bound(
                "flood",
                open_loop,
                1,
                1,
                "a number as runs.rate: the flood is a multiple of it",
            )?;
        }
        if let Some(addressing) = &self.addressing {
            count("addressing.orders", addressing.orders)?;
            millis("addressing.mode-ms-max", addressing.mode_ms_max)?;
            let modes = addressing.modes.len() as u64;
            bound("addressing.modes", modes, 1, 4, "one mode to all four")?;
        }
        if let Some(outcome) = &self.outcome {
            count("outcome.orders", outcome.orders)?;
            millis("outcome.within-ms", outcome.within_ms)?;
        }
        Ok(())
    }
}

/// An order of these fields, to be given an audience.
///
/// # Errors
/// What the engine says about them.
pub fn order(mut fields: Map<String, Value>, name: &str) -> Result<Order, String> {
    fields.insert("order".to_owned(), name.into());
    fields.insert("to".to_owned(), serde_json::json!({ "everybody": true }));
    Order::read(&Value::Object(fields).to_string()).map_err(|error| error.to_string())
}

/// A text of so many octets.
fn filler(octets: usize) -> String {
    const WORDS: &str = "Sirocco pushes this content into a session that the device has built. ";
    WORDS.chars().cycle().take(octets).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_of_so_many_octets_is_spelt_out() {
        let mut scenario = Scenario::find("sessions").unwrap();
        let content = scenario.order["content"].as_table_mut().unwrap();
        content.insert("octets".to_owned(), 77.into());
        let fields = scenario.order_fields();
        assert_eq!(fields["content"]["text"].as_str().map(str::len), Some(77));
        assert!(fields["content"].get("octets").is_none());
        assert_eq!(fields["mode"], "targeted");
        assert!(scenario.has_sessions() && !Scenario::find("dispatch").unwrap().has_sessions());
    }

    #[test]
    fn a_field_that_no_order_has_is_named_with_its_file() {
        let text = "\n[order]\ncolour = 3\n";
        let dispatch = Scenario::find("dispatch").unwrap().to_toml();
        let error = Scenario::parse(&format!("{dispatch}{text}"), "mine.toml")
            .expect_err("unknown field")
            .to_string();
        assert!(
            error.contains("mine.toml") && error.contains("colour"),
            "{error}"
        );
    }

    #[test]
    fn a_setting_that_the_loadgen_has_not_is_named_with_its_file() {
        let text = "\n[loadgen]\nsession = { takes = [\"pigeon\"] }\n";
        let dispatch = Scenario::find("dispatch").unwrap().to_toml();
        let error = Scenario::parse(&format!("{dispatch}{text}"), "mine.toml")
            .expect_err("unknown word")
            .to_string();
        assert!(
            error.contains("mine.toml") && error.contains("pigeon"),
            "{error}"
        );
    }

    #[test]
    fn a_flood_needs_a_rate_to_be_a_multiple_of() {
        let mut scenario = Scenario::find("flood").unwrap();
        scenario.runs.rate = Rate::Max;
        let error = Scenario::parse(&scenario.to_toml(), "mine.toml")
            .expect_err("no rate")
            .to_string();
        assert!(
            error.contains("flood") && error.contains("runs.rate"),
            "{error}"
        );
    }
}
