//! What a device returns because its SIR asked for it: lines of `text/parameters` (RFC 7826 Appendix F).
//!
//! `capability`, `preference` and `subscription` are numbers that the index keeps for the next selection;
//! `security` and `refusal` are words that are counted. Lines of other names are passed over, values out
//! of range are counted and change nothing. It does not know who returned it.

use serde::{Deserialize, Serialize};
use sirocco_index::{Change, PREFERENCE_MAX};
use sirocco_wire::parameters;

/// The words of `refusal`, in the order of their counters.
pub const REFUSALS: [&str; 6] = [
    "declined",
    "busy",
    "not-subscribed",
    "not-capable",
    "not-authentic",
    "preference",
];

/// What one body says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// Capability bits.
    pub capability: Option<u8>,
    /// Preference of the user for the device.
    pub preference: Option<u8>,
    /// Subscription bits.
    pub subscription: Option<u8>,
    /// Whether the device says how it judged the SIR's security; `true`: authentic.
    pub authentic: Option<bool>,
    /// Why it refuses, by its place in [`REFUSALS`]; their number for any other word.
    pub refusal: Option<usize>,
    /// Values that were out of range.
    pub faults: u64,
}

/// What has been returned since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReturnedCounts {
    /// Bodies with capability, preference or subscription.
    pub updates: u64,
    /// Devices that judged their SIR authentic.
    pub authentic: u64,
    /// Devices that did not.
    pub not_authentic: u64,
    /// REGISTER requests that a SIR asked for.
    pub registered: u64,
    /// Refusals by [`REFUSALS`], and others.
    pub refusals: [u64; REFUSALS.len() + 1],
    /// Values out of range.
    pub faults: u64,
    /// Devices that have left the index since.
    pub unknown_devices: u64,
}

impl Returned {
    /// Reads a body.
    #[must_use]
    pub fn read(body: &[u8]) -> Self {
        let mut returned = Self::default();
        for (name, value) in parameters::read(body) {
            match name.to_ascii_lowercase().as_slice() {
                b"capability" => returned.capability = returned.number(value, u8::MAX),
                b"preference" => returned.preference = returned.number(value, PREFERENCE_MAX),
                b"subscription" => returned.subscription = returned.number(value, u8::MAX),
                b"security" => returned.authentic = Some(value.eq_ignore_ascii_case(b"authentic")),
                b"refusal" => returned.refusal = Some(refusal(value)),
                _ => {}
            }
        }
        returned
    }

    fn number(&mut self, value: &[u8], max: u8) -> Option<u8> {
        let text = std::str::from_utf8(value).unwrap_or_default();
        let number = text.parse().ok().filter(|number| *number <= max);
        self.faults += u64::from(number.is_none());
        number
    }

    /// What the index is to keep of it, if anything.
    #[must_use]
    pub fn change(&self) -> Option<Change> {
        let change = Change {
            capability: self.capability,
            preference: self.preference,
            subscription: self.subscription,
            ..Change::default()
        };
        let any = self.capability.or(self.preference).or(self.subscription);
        any.map(|_| change)
    }
}

impl ReturnedCounts {
    /// Counts one body.
    pub fn count(&mut self, returned: &Returned) {
        self.updates += u64::from(returned.change().is_some());
        self.authentic += u64::from(returned.authentic == Some(true));
        self.not_authentic += u64::from(returned.authentic == Some(false));
        self.faults += returned.faults;
        if let Some(refusal) = returned.refusal {
            self.refusals[refusal] += 1;
        }
    }
}

fn refusal(word: &[u8]) -> usize {
    let mut known = REFUSALS.iter();
    let place = known.position(|known| known.as_bytes().eq_ignore_ascii_case(word));
    place.unwrap_or(REFUSALS.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_are_read_and_the_rest_is_passed_over() {
        let body = b"device: urn:uuid:x\r\nCapability: 3\r\npreference:5\r\nsubscription: 255\r\n\
                     security: authentic\r\nrefusal: busy\r\nnonsense\r\n";
        let returned = Returned::read(body);
        assert_eq!(
            (returned.capability, returned.preference),
            (Some(3), Some(5))
        );
        assert_eq!(
            (returned.subscription, returned.authentic),
            (Some(255), Some(true))
        );
        assert_eq!((returned.refusal, returned.faults), (Some(1), 0));
        assert!(returned.change().is_some());
    }

    #[test]
    fn what_is_out_of_range_changes_nothing_and_is_counted() {
        let returned = Returned::read(b"capability: 256\r\npreference: 16\r\nsubscription: -1\r\n");
        assert_eq!((returned.change().is_none(), returned.faults), (true, 3));
        let mut counts = ReturnedCounts::default();
        counts.count(&returned);
        counts.count(&Returned::read(b"refusal: whatever\r\n"));
        assert_eq!((counts.faults, counts.refusals[REFUSALS.len()]), (3, 1));
    }
}
