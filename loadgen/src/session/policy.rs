//! What a device of one class does once it has a SIR: whether it wants the session, when it calls,
//! what it takes, when it hangs up, and which fault it has.
//!
//! Data and its rules; `decide` applies it, `calls` acts it out. docs/loadgen.md describes each key.
//! Read from scenario files by serde.

use serde::{Deserialize, Serialize};

use super::delay::Delay;

/// The most addresses on a device's list of PPGs: the list is compared one by one for each SIR.
pub const PPG_LIST_MAX: usize = 64;
/// The highest preference a population can state (docs/population.md).
pub const PREFERENCE_MAX: u8 = 15;

/// What devices of one class do with a SIR.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SessionPolicy {
    /// How content is taken; what is not offered cannot be pushed.
    pub takes: Vec<Take>,
    /// How long the device (or its user) thinks before the INVITE leaves.
    pub think: Delay,
    /// How long after the session is up the device hangs up itself; left out, it waits for BYE.
    pub hang_up: Option<Delay>,
    /// Over what its requests go to a PPG or another server.
    pub transport: Transport,
    /// How long a device takes to answer an in-dialog MESSAGE.
    pub content_delay: Delay,
    /// How long a device takes to answer a BYE.
    pub bye_delay: Delay,
    /// Octets a second that devices of this class behind one edge read of MSRP together; 0 for as they come.
    pub msrp_read_rate: u64,
    /// The share of users who accept, in thousandths.
    pub accept_per_mille: u16,
    /// Only SIRs with an authentic tag (`a=`) are followed.
    pub sealed_only: bool,
    /// The PPG addresses, `host` or `host:port`, a session may be built to; empty for any.
    pub ppg_list: Vec<String>,
    /// The least preference of a device that follows a SIR.
    pub preference_min: u8,
    /// Capability bits that must all be set.
    pub capability: u8,
    /// Subscription bits that must all be set.
    pub subscription: u8,
    /// What is answered to a SIR that a device declines; 0 is silence.
    pub declined_status: u16,
    /// What is answered to a SIR that names another device; 0 is silence.
    pub unmatched_status: u16,
    /// What is answered by a device that has a session already; 0 is silence.
    pub connected_status: u16,
    /// A device that has a session already builds another one.
    pub ignore_connected: bool,
    /// What a device without a line in the population has.
    pub device: Traits,
    /// What goes wrong with its sessions.
    pub fault: Fault,
}

/// What carries SIP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Datagrams.
    #[default]
    Udp,
    /// One connection from each edge to each server (RFC 3261 18).
    Tcp,
}

/// A way to take content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Take {
    /// As an in-dialog MESSAGE (RFC 3428).
    Message,
    /// By MSRP (RFC 4975).
    Msrp,
}

/// What a device can and wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Traits {
    /// Eight bits whose meaning the operator assigns.
    pub capability: u8,
    /// The user's preference for this device, 0 to 15.
    pub preference: u8,
    /// One bit for each push application.
    pub subscription: u8,
}

/// What goes wrong with a session, on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The device is gone once its INVITE has left.
    VanishInvited,
    /// The device is gone once it has sent ACK.
    VanishEstablished,
    /// It never sends ACK, and answers what comes in the dialog.
    NoAck,
    /// It sends ACK so many milliseconds late.
    LateAck {
        /// The delay, at most 32,000 ms.
        ms: u32,
    },
    /// It offers MSRP and never connects.
    HalfOpen,
    /// It binds its MSRP session and answers nothing that comes there.
    Mute,
    /// It sends each INVITE twice.
    DoubleInvite,
    /// Its token has one digit changed.
    ForgedToken,
    /// It calls twice with the same token.
    ReplayedToken,
    /// It calls so late that the token has expired.
    ExpiredToken {
        /// How long it waits, at most an hour.
        hold_ms: u32,
    },
}

impl Default for Traits {
    fn default() -> Traits {
        Traits {
            capability: 0xff,
            preference: PREFERENCE_MAX,
            subscription: 0xff,
        }
    }
}

impl Default for SessionPolicy {
    fn default() -> SessionPolicy {
        SessionPolicy {
            takes: vec![Take::Message],
            think: Delay::None,
            hang_up: None,
            transport: Transport::Udp,
            content_delay: Delay::None,
            bye_delay: Delay::None,
            msrp_read_rate: 0,
            accept_per_mille: 1000,
            sealed_only: false,
            ppg_list: Vec::new(),
            preference_min: 0,
            capability: 0,
            subscription: 0,
            declined_status: 603,
            unmatched_status: 0,
            connected_status: 0,
            ignore_connected: false,
            device: Traits::default(),
            fault: Fault::None,
        }
    }
}

impl SessionPolicy {
    /// Returns the first rule broken, in words that say what to choose.
    ///
    /// # Errors
    /// A bound or rule is broken.
    pub fn check(&self) -> Result<(), String> {
        if self.accept_per_mille > 1000 {
            return Err("accept-per-mille is 0 to 1000".into());
        }
        if self.preference_min > PREFERENCE_MAX || self.device.preference > PREFERENCE_MAX {
            return Err(format!("a preference is 0 to {PREFERENCE_MAX}"));
        }
        if self.ppg_list.len() > PPG_LIST_MAX {
            return Err(format!("ppg-list holds at most {PPG_LIST_MAX} addresses"));
        }
        for (name, status) in [
            ("declined-status", self.declined_status),
            ("unmatched-status", self.unmatched_status),
            ("connected-status", self.connected_status),
        ] {
            // RFC 4320 4.2: a non-INVITE request is never answered with 408.
            if status != 0 && (!(200..=699).contains(&status) || status == 408) {
                return Err(format!(
                    "{name} is 0 for silence, or 200 to 699 without 408"
                ));
            }
        }
        match self.fault {
            Fault::LateAck { ms } if ms > 32_000 => Err("late-ack is at most 32000 ms".into()),
            Fault::ExpiredToken { hold_ms } if hold_ms > 3_600_000 => {
                Err("expired-token holds at most 3600000 ms".into())
            }
            _ => Ok(()),
        }
    }

    /// Tells whether content can come by `take`.
    #[must_use]
    pub fn takes(&self, take: Take) -> bool {
        self.takes.contains(&take)
    }
}
