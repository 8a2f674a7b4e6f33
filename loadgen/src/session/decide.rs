//! Whether a device follows a SIR: the part of the patent that the device plays, in its order.
//!
//! A pure function of what the SIR bids, what the device is and what its policy says; the first reason
//! to refuse wins. Called by `consider` once for each copy of a SIR.

use serde::{Deserialize, Serialize};
use sirocco_wire::sip::SealCheck;

use super::policy::{SessionPolicy, Traits};

/// What a device decided, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Word {
    /// It builds the session.
    Accepted = 0,
    /// The SIR means another device.
    Unmatched,
    /// It has a session already.
    Connected,
    /// The SIR has no tag, and the device wants one.
    Unsealed,
    /// The SIR's tag is wrong.
    Forged,
    /// The PPG is not on the device's list.
    UnknownPpg,
    /// A capability is missing.
    NotCapable,
    /// The user has not subscribed.
    NotSubscribed,
    /// The user prefers other devices.
    Preference,
    /// The user declines.
    Declined,
}

/// The number of words.
pub(crate) const WORDS: usize = 10;

impl Word {
    pub(crate) const ALL: [Word; WORDS] = [
        Word::Accepted,
        Word::Unmatched,
        Word::Connected,
        Word::Unsealed,
        Word::Forged,
        Word::UnknownPpg,
        Word::NotCapable,
        Word::NotSubscribed,
        Word::Preference,
        Word::Declined,
    ];

    /// Returns the key in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        [
            "accepted",
            "unmatched",
            "connected",
            "unsealed",
            "forged",
            "unknown-ppg",
            "not-capable",
            "not-subscribed",
            "preference",
            "declined",
        ][self as usize]
    }

    /// Returns the word of a refusal as it is returned to the PPG.
    pub(crate) fn refusal(self) -> &'static str {
        match self {
            Word::Connected => "busy",
            Word::NotCapable => "not-capable",
            Word::NotSubscribed => "not-subscribed",
            Word::Unsealed | Word::Forged | Word::UnknownPpg => "not-authentic",
            Word::Preference => "preference",
            Word::Accepted | Word::Unmatched | Word::Declined => "declined",
        }
    }
}

/// What a device found of a SIR's security.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    Authentic,
    UnknownPpg,
    Forged,
    Unsealed,
}

impl Security {
    /// Judges a SIR by its tag, and by whether its PPG is on the device's list.
    pub(crate) fn of(seal: SealCheck, ppg_is_listed: bool) -> Security {
        match seal {
            SealCheck::Forged => Security::Forged,
            _ if !ppg_is_listed => Security::UnknownPpg,
            SealCheck::Authentic => Security::Authentic,
            SealCheck::Unsealed => Security::Unsealed,
        }
    }

    /// Returns the word that is returned to the PPG.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Security::Authentic => "authentic",
            Security::UnknownPpg => "unknown-ppg",
            Security::Forged => "forged",
            Security::Unsealed => "unsealed",
        }
    }
}

/// What a device knows of one SIR.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// The body names no device, or this one.
    pub(crate) is_meant: bool,
    pub(crate) is_connected: bool,
    pub(crate) security: Security,
    pub(crate) traits: Traits,
    /// What the user draws, 0 to 999.
    pub(crate) mood: u32,
}

/// Decides.
#[inline]
pub(crate) fn decide(policy: &SessionPolicy, facts: &Facts) -> Word {
    let traits = facts.traits;
    if !facts.is_meant {
        Word::Unmatched
    } else if facts.is_connected && !policy.ignore_connected {
        Word::Connected
    } else if facts.security == Security::Forged {
        Word::Forged
    } else if facts.security == Security::UnknownPpg {
        Word::UnknownPpg
    } else if policy.sealed_only && facts.security == Security::Unsealed {
        Word::Unsealed
    } else if traits.capability & policy.capability != policy.capability {
        Word::NotCapable
    } else if traits.subscription & policy.subscription != policy.subscription {
        Word::NotSubscribed
    } else if traits.preference < policy.preference_min {
        Word::Preference
    } else if facts.mood >= u32::from(policy.accept_per_mille) {
        Word::Declined
    } else {
        Word::Accepted
    }
}

/// Returns the status a decision is answered with: that of the class for an acceptance, 0 for silence.
pub(crate) fn status(policy: &SessionPolicy, word: Word, of_class: u16) -> u16 {
    match word {
        Word::Accepted => of_class,
        Word::Unmatched => policy.unmatched_status,
        Word::Connected => policy.connected_status,
        _ => policy.declined_status,
    }
}

/// Returns the one final response that a forking proxy sends back; 0 is none (yet).
///
/// RFC 3261 16.7 step 6: a 2xx goes back at once, then a 6xx, else the lowest class once all have
/// answered; a branch that stays silent keeps the others waiting, and RFC 4320 4.2 lets no 408 out.
pub(crate) fn best(statuses: impl Iterator<Item = u16> + Clone) -> u16 {
    let success = statuses.clone().find(|status| (200..300).contains(status));
    let global = statuses.clone().find(|status| *status >= 600);
    if let Some(status) = success.or(global) {
        return status;
    }
    if statuses.clone().any(|status| status == 0) {
        return 0;
    }
    let class = statuses
        .clone()
        .map(|status| status / 100)
        .min()
        .unwrap_or(0);
    // Within a class those that tell how to ask again come first.
    let telling = |status: &u16| matches!(status, 401 | 407 | 415 | 420 | 484);
    let mut of_class = statuses.filter(|status| status / 100 == class);
    let first = of_class.clone().next().unwrap_or(0);
    of_class.find(telling).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            is_meant: true,
            is_connected: false,
            security: Security::Unsealed,
            traits: Traits::default(),
            mood: 999,
        }
    }

    #[test]
    fn each_part_of_the_decision_refuses_by_its_own_word() {
        let policy = SessionPolicy {
            capability: 0b11,
            subscription: 0b100,
            preference_min: 5,
            ..SessionPolicy::default()
        };
        assert_eq!(decide(&policy, &facts()), Word::Accepted);
        let refused = |change: fn(&mut Facts)| {
            let mut facts = facts();
            change(&mut facts);
            decide(&policy, &facts)
        };
        assert_eq!(refused(|f| f.is_meant = false), Word::Unmatched);
        assert_eq!(refused(|f| f.is_connected = true), Word::Connected);
        assert_eq!(refused(|f| f.security = Security::Forged), Word::Forged);
        assert_eq!(
            refused(|f| f.security = Security::UnknownPpg),
            Word::UnknownPpg
        );
        assert_eq!(refused(|f| f.traits.capability = 0b01), Word::NotCapable);
        assert_eq!(
            refused(|f| f.traits.subscription = 0b11),
            Word::NotSubscribed
        );
        assert_eq!(refused(|f| f.traits.preference = 4), Word::Preference);
        let strict = SessionPolicy {
            sealed_only: true,
            accept_per_mille: 900,
            ..SessionPolicy::default()
        };
        assert_eq!(decide(&strict, &facts()), Word::Unsealed);
        let sealed = Facts {
            security: Security::Authentic,
            ..facts()
        };
        assert_eq!(decide(&strict, &sealed), Word::Declined);
        let eager = Facts {
            mood: 899,
            ..sealed
        };
        assert_eq!(decide(&strict, &eager), Word::Accepted);
        let busy = SessionPolicy {
            ignore_connected: true,
            ..SessionPolicy::default()
        };
        let connected = Facts {
            is_connected: true,
            ..facts()
        };
        assert_eq!(decide(&busy, &connected), Word::Accepted);
    }

    #[test]
    fn a_fork_sends_the_best_final_response_back() {
        let best = |statuses: &[u16]| best(statuses.iter().copied());
        assert_eq!(best(&[480, 200, 603]), 200);
        assert_eq!(best(&[480, 603, 0]), 603);
        assert_eq!(best(&[503, 486, 480]), 486);
        assert_eq!(best(&[480, 401]), 401);
        assert_eq!(best(&[480, 0]), 0, "one still may answer");
        assert_eq!(best(&[0, 200]), 200);
        assert_eq!(best(&[302, 404]), 302);
        assert_eq!(best(&[]), 0);
    }

    #[test]
    fn words_have_names_and_numbers() {
        for word in Word::ALL {
            assert_eq!(Word::ALL[word as usize], word);
            let json = serde_json::to_string(&word).unwrap();
            assert_eq!(json, format!("\"{}\"", word.name()));
        }
    }
}
