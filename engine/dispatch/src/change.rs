//! Changes of the index while dispatching, as JSON from outside.
//!
//! One JSON object names one change: a device as a line of the population format, inserted or
//! overwritten, or a device or an identity to remove. Reading happens on a control thread, applying
//! between two turns of the worker. What was selected before goes on as it was selected.

use serde::{Deserialize, Serialize};
use sirocco_index::population::{LineError, parse_device_id, parse_line};
use sirocco_index::{Index, IndexError, Inserted};

/// A change, checked and ready to apply.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum IndexChange {
    /// One line of the population format: the device is inserted, or overwritten if it is there.
    Put(String),
    /// A device, or all devices of an identity.
    Remove(Removal),
}

/// What to remove.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    /// User identity.
    pub identity: String,
    /// Device identity as the population spells it; left out, the identity goes with all its devices.
    pub device: Option<String>,
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Changed {
    /// The device and perhaps its identity are new.
    Inserted,
    /// The device was there and is overwritten.
    Updated,
    /// So many devices are removed.
    Removed(usize),
    /// Nothing is known that could be removed.
    Unknown,
}

/// Why a change is refused; the text says what to do. It repeats no identity.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Not JSON, or not a change.
    #[error("the change is not understood: {0}; see docs/operations.md for its fields")]
    Syntax(#[from] serde_json::Error),
    /// A line that is no device.
    #[error("put: {0}")]
    Line(#[from] LineError),
    /// Not a device identity.
    #[error("remove.device: {0}")]
    Device(sirocco_index::population::Reason),
    /// The index cannot take it.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl IndexChange {
    /// Reads one JSON object.
    ///
    /// # Errors
    /// [`ChangeError`] says what is wrong with it; identities that the index lacks are no fault.
    pub fn read(json: &str) -> Result<Self, ChangeError> {
        let change: Self = serde_json::from_str(json)?;
        match &change {
            Self::Put(line) => {
                parse_line(line.as_bytes())?;
            }
            Self::Remove(Removal { device, .. }) => {
                if let Some(device) = device {
                    parse_device_id(device.as_bytes()).map_err(ChangeError::Device)?;
                }
            }
        }
        Ok(change)
    }

    /// Applies the change.
    ///
    /// # Errors
    /// [`ChangeError::Index`] when there is no room; the index is as it was then.
    pub fn apply(&self, index: &mut Index) -> Result<Changed, ChangeError> {
        match self {
            Self::Put(line) => put(index, line.as_bytes()),
            Self::Remove(removal) => remove(index, removal),
        }
    }
}

fn put(index: &mut Index, line: &[u8]) -> Result<Changed, ChangeError> {
    let mut line = parse_line(line)?;
    if let Some(address) = line.next_hop {
        line.entry.next_hop = index.intern_next_hop(address)?;
    }
    let identity = index.intern(line.aor)?;
    Ok(match index.insert(identity, &line.entry)? {
        Inserted::Updated => Changed::Updated,
        Inserted::Identity | Inserted::Device => Changed::Inserted,
    })
}

fn remove(index: &mut Index, removal: &Removal) -> Result<Changed, ChangeError> {
    let Some(identity) = index.pack(removal.identity.as_bytes()) else {
        return Ok(Changed::Unknown);
    };
    let removed = match &removal.device {
        None => index.remove_identity(identity),
        Some(device) => {
            let id = parse_device_id(device.as_bytes()).map_err(ChangeError::Device)?;
            usize::from(index.remove(identity, &id))
        }
    };
    Ok(if removed == 0 {
        Changed::Unknown
    } else {
        Changed::Removed(removed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "sip:alice@ims.example";
    const UUID: &str = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";

    fn apply(index: &mut Index, json: &serde_json::Value) -> Changed {
        let change = IndexChange::read(&json.to_string()).expect("a change");
        change.apply(index).expect("room")
    }

    fn line(device: &str, hop: &str) -> serde_json::Value {
        serde_json::json!({ "put": format!("{ALICE}\t{device}\t{hop}\t-\tsip\tidle\t00\t0\t00\t-") })
    }

    #[test]
    fn devices_come_move_and_go() {
        let mut index = Index::new(1).expect("memory");
        let tag = "urn:epc:id:sgtin:1.2.3";
        assert_eq!(
            apply(&mut index, &line(UUID, "127.0.0.1:1")),
            Changed::Inserted
        );
        assert_eq!(
            apply(&mut index, &line(UUID, "127.0.0.1:2")),
            Changed::Updated
        );
        assert_eq!(
            apply(&mut index, &line(tag, "127.0.0.1:2")),
            Changed::Inserted
        );
        let identity = index.pack(ALICE.as_bytes()).expect("known");
        let devices = index.devices(index.lookup(identity));
        assert_eq!(
            devices
                .iter()
                .map(|device| device.next_hop)
                .collect::<Vec<_>>(),
            [1, 1]
        );
        let one =
            serde_json::json!({ "remove": { "identity": ALICE, "device": UUID.to_uppercase() } });
        assert_eq!(apply(&mut index, &one), Changed::Removed(1));
        assert_eq!(apply(&mut index, &one), Changed::Unknown);
        let all = serde_json::json!({ "remove": { "identity": ALICE } });
        assert_eq!(apply(&mut index, &all), Changed::Removed(1));
        assert_eq!(apply(&mut index, &all), Changed::Unknown);
        assert_eq!((index.len(), index.devices_len()), (0, 0));
    }

    #[test]
    fn what_is_no_change_is_refused_with_its_reason() {
        for (json, reason) in [
            ("{}", "not understood"),
            (r#"{"put":"sip:a@h"}"#, "column 2"),
            (
                r#"{"remove":{"identity":"sip:a@h","device":"phone"}}"#,
                "remove.device",
            ),
            (
                r#"{"remove":{"identity":"sip:a@h","devices":[]}}"#,
                "devices",
            ),
            (
                r#"{"put":"x","remove":{"identity":"sip:a@h"}}"#,
                "not understood",
            ),
        ] {
            let fault = IndexChange::read(json).expect_err(json).to_string();
            assert!(fault.contains(reason), "{json}: {fault}");
        }
    }
}
