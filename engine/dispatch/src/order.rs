//! Orders: what a push initiator asks, as JSON from outside and ready for the worker inside.
//!
//! One JSON object orders SIRs for one identity, a list of identities, a file of millions of them or
//! everybody. Reading it (and its file) happens on a control thread; the worker gets an [`Order`] that
//! needs no further parsing but the packing of identities. It looks nothing up.

use crate::contents::{CONTENT_BYTES_MAX, Push};
use crate::load::Load;
use crate::templates::packed;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use sirocco_index::Device;
use sirocco_index::population::parse_device_id;
use sirocco_wire::identity::{DeviceIdentity, DeviceKind, PackedDevice};
use sirocco_wire::sip::template::DevicePosition;
use sirocco_wire::sir::{Request, When};
use std::path::PathBuf;

/// Octets of an identity list that one order may bring: about 40 million identities.
pub const LIST_BYTES_MAX: u64 = 1 << 30;
/// Devices that one selector may name; an identity rarely binds more.
pub const SELECTED_DEVICES_MAX: usize = 64;
/// Longest order name in octets.
pub const NAME_BYTES_MAX: usize = 128;

/// Addressing mode of an order: what its SIRs name, whom they reach, and who decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// One SIR to the user identity, which the network forks to all devices; all of them connect. What
    /// the others are measured against.
    PriorArt,
    /// One SIR to each wanted device, routed by its device identity (patent embodiments 1 and 2).
    #[default]
    Targeted,
    /// One SIR to the user identity, forked to all devices, each of which decides (embodiment 3).
    SelfSelect,
    /// One SIR to the user identity for each wanted device, forked to all devices, with the wanted one's
    /// identity as data to compare (embodiment 4).
    Matched,
    /// One SIR to each device of the identity, each with an outcome of its own.
    FanOut,
}

impl Mode {
    /// Whether the Request-URI is the AOR alone, for the network to fork.
    #[inline]
    #[must_use]
    pub fn is_to_aor(self) -> bool {
        matches!(self, Mode::PriorArt | Mode::SelfSelect | Mode::Matched)
    }

    /// Whether one SIR goes to an identity, whatever devices it has.
    #[inline]
    #[must_use]
    pub fn is_one_for_all(self) -> bool {
        matches!(self, Mode::PriorArt | Mode::SelfSelect)
    }
}

/// What an order pushes in the sessions that its SIRs lead to, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ContentRequest {
    /// Media type, such as `text/plain`.
    #[serde(rename = "type")]
    pub media_type: String,
    /// The content as text.
    pub text: Option<String>,
    /// A file with the content.
    pub file: Option<PathBuf>,
}

/// One thing that a SIR asks for (claims 11 to 13), as JSON: the word of a [`Request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked(pub Request);

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let word = String::deserialize(json)?;
        let request = Request::of_word(&word).map(Self);
        request.ok_or_else(|| D::Error::unknown_variant(&word, Request::WORDS))
    }
}

/// Reads when an application is activated: the word of a [`When`].
fn when<'de, D: Deserializer<'de>>(json: D) -> Result<When, D::Error> {
    let word = String::deserialize(json)?;
    let when = When::of_word(word.as_bytes());
    when.ok_or_else(|| D::Error::unknown_variant(&word, &["before", "after"]))
}

/// Which application a device activates, and when (claims 5 and 6), as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// Name of the application, such as `mms.ua`.
    pub application: String,
    /// Before or after the session is built.
    #[serde(deserialize_with = "when")]
    pub when: When,
}

/// Where a SIR carries the device identity as data, as JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Position {
    /// Nowhere in its body.
    #[default]
    None,
    /// In a header field of the push.
    Header,
    /// In a value of the body.
    Value,
    /// At the end of the body.
    Body,
}

impl From<Position> for DevicePosition {
    fn from(position: Position) -> Self {
        match position {
            Position::None => DevicePosition::None,
            Position::Header => DevicePosition::Header,
            Position::Value => DevicePosition::Value,
            Position::Body => DevicePosition::Body,
        }
    }
}

/// Which order goes first when several are active.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before all others.
    High,
    /// PAP's default.
    #[default]
    Medium,
    /// When nothing else waits.
    Low,
}

/// Whom an order is for, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipients {
    /// One user identity.
    Identity(String),
    /// Several user identities.
    Identities(Vec<String>),
    /// A file with one user identity a line; `#` begins a comment line.
    File(PathBuf),
    /// `true`: every identity of the index.
    Everybody(bool),
}

/// Which devices of an identity are wanted, as JSON; what is left out does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct SelectRequest {
    /// Device identities, in any of the nine kinds; compared as their kind's rules say.
    pub devices: Vec<String>,
    /// Capability bits that must all be set.
    pub capability: u8,
    /// Least preference, 0 to 15, that the user gave the device.
    pub preference: u8,
    /// Subscription bits that must all be set.
    pub subscription: u8,
    /// Only devices that are registered as connected.
    pub connected: bool,
}

/// An order as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OrderRequest {
    /// Name for reports, chosen by the initiator.
    pub order: String,
    /// Addressing mode; `targeted` if left out.
    #[serde(default)]
    pub mode: Mode,
    /// Whom it is for.
    pub to: Recipients,
    /// Which devices are wanted.
    #[serde(default)]
    pub select: SelectRequest,
    /// Milliseconds from acceptance after which nothing more is sent.
    pub deadline_ms: Option<u64>,
    /// Priority; `medium` if left out.
    #[serde(default)]
    pub priority: Priority,
    /// Application to be addressed on the device; `push.sia` if left out.
    pub application: Option<String>,
    /// What is pushed in the session; left out, the session is built and nothing is pushed.
    pub content: Option<ContentRequest>,
    /// How it is pushed; `auto` if left out.
    #[serde(default)]
    pub push: Push,
    /// Where the body of the SIR carries the device identity; `header` if left out in mode `matched`.
    pub device_position: Option<Position>,
    /// What the devices are asked to return or to send.
    #[serde(default)]
    pub ask: Vec<Asked>,
    /// Which application they activate.
    pub activate: Option<Activation>,
    /// Whether a SIR for an identity whose only device is wanted names the identity alone (claim 4).
    #[serde(default)]
    pub skip_lookup: bool,
}

/// Why an order is refused; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Not JSON, or not an order.
    #[error("the order is not understood: {0}; see docs/operations.md for its fields")]
    Syntax(#[from] serde_json::Error),
    /// A field outside its bounds.
    #[error("order {order:?}: {fault}")]
    Field {
        /// Name of the order.
        order: String,
        /// What is wrong and what is possible.
        fault: String,
    },
    /// The identity file cannot be read.
    #[error("order {order:?}: cannot read {path}: {error}; give a readable file: one identity a line in to.file, the content in content.file", path = path.display())]
    File {
        /// Name of the order.
        order: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

/// The devices that an order wants, ready to compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Device identities as named; empty = any.
    pub devices: Vec<Named>,
    /// Capability bits that must all be set.
    pub capability: u8,
    /// Least preference of the device.
    pub preference: u8,
    /// Subscription bits that must all be set.
    pub subscription: u8,
    /// Only connected devices.
    pub connected: bool,
    /// Nothing above restricts.
    pub wants_all: bool,
}

/// A device identity that an order names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// As the initiator spells it.
    pub text: Vec<u8>,
    /// In 16 octets, if it fits them.
    pub packed: Option<PackedDevice>,
}

impl Named {
    /// Reads a device identity of any of the nine kinds; `None` if it is none that an index could hold.
    #[must_use]
    pub fn read(text: &[u8]) -> Option<Self> {
        let is_known = DeviceIdentity::parse(text).is_some() || parse_device_id(text).is_ok();
        is_known.then(|| Self {
            text: text.to_owned(),
            packed: PackedDevice::pack(text),
        })
    }

    /// Whether it names a packed device. A GRUU and the UUID in its `gr` parameter are one device.
    #[inline]
    fn is_packed(&self, device: &PackedDevice) -> bool {
        let class = |kind: u8| kind.max(DeviceKind::Uuid as u8);
        let same = |named: PackedDevice| {
            class(named.kind) == class(device.kind) && named.bytes == device.bytes
        };
        self.packed.is_some_and(same)
    }

    /// Whether it names a device that the index keeps as text, by the rules of the device's kind.
    fn is_text(&self, text: &[u8]) -> bool {
        if self.text == text {
            return true;
        }
        let identities = DeviceIdentity::parse(&self.text).zip(DeviceIdentity::parse(text));
        identities.is_some_and(|(named, device)| named.same_device(&device))
    }
}

impl Selector {
    /// Whether a device is one of those that the order wants; `text` is its identity where it is not
    /// packed. A device with an IMEI is also named by its obfuscated form, which `obfuscated` computes.
    #[must_use]
    pub fn wants(
        &self,
        device: &Device,
        text: &[u8],
        obfuscated: impl FnOnce() -> Option<PackedDevice>,
    ) -> bool {
        device.capability & self.capability == self.capability
            && device.subscription & self.subscription == self.subscription
            && device.preference() >= self.preference
            && (device.connected() || !self.connected)
            && (self.devices.is_empty() || self.names(device, text, obfuscated))
    }

    fn names(
        &self,
        device: &Device,
        text: &[u8],
        obfuscated: impl FnOnce() -> Option<PackedDevice>,
    ) -> bool {
        let is_named = |packed: &PackedDevice| {
            let mut named = self.devices.iter();
            named.any(|named| named.is_packed(packed))
        };
        let named = if device.has_text_id() {
            self.devices.iter().any(|named| named.is_text(text))
        } else {
            is_named(&packed(device))
        };
        let is_imei = device.kind() == sirocco_index::DeviceKind::Imei;
        named || (is_imei && obfuscated().is_some_and(|hidden| is_named(&hidden)))
    }
}

/// Whom an order is for, ready for the worker.
#[derive(Clone, Debug)]
pub enum Audience {
    /// User identities as text, one a line.
    List(Vec<u8>),
    /// Every identity of the index.
    Everybody,
    /// Identities in the order and at the times that a load schedule says.
    Load(Load),
}

/// An order, ready for the worker.
#[derive(Clone, Debug)]
pub struct Order {
    /// Name for reports.
    pub name: String,
    /// Addressing mode.
    pub mode: Mode,
    /// Whom it is for.
    pub audience: Audience,
    /// Which devices are wanted.
    pub selector: Selector,
    /// Nanoseconds from acceptance after which nothing more is sent.
    pub deadline_ns: Option<u64>,
    /// Which order goes first.
    pub priority: Priority,
    /// Application to be addressed on the device.
    pub application: String,
    /// What its sessions push, and how.
    pub content: Pushed,
    /// Where the body of its SIRs carries the device identity.
    pub device_position: DevicePosition,
    /// Letters of what its SIRs ask for.
    pub ask: String,
    /// Which application its SIRs activate.
    pub activate: Option<Activation>,
    /// A SIR for an identity whose only device is wanted names the identity alone (claim 4).
    pub skip_lookup: bool,
}

/// What the sessions of an order push: octets of a media type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Media type; empty where nothing is pushed.
    pub content_type: String,
    /// The octets.
    pub octets: Vec<u8>,
    /// How they go.
    pub push: Push,
}

impl Order {
    /// An order of medium priority for all devices of an audience, which pushes nothing.
    #[must_use]
    pub fn new(name: &str, audience: Audience) -> Self {
        Self {
            name: name.to_owned(),
            mode: Mode::default(),
            audience,
            selector: Selector {
                wants_all: true,
                ..Selector::default()
            },
            deadline_ns: None,
            priority: Priority::default(),
            application: "push.sia".to_owned(),
            content: Pushed::default(),
            device_position: DevicePosition::None,
            ask: String::new(),
            activate: None,
            skip_lookup: false,
        }
    }

    /// Reads one JSON object and whatever file it names.
    ///
    /// # Errors
    /// [`OrderError`] says which field is wrong; nothing of the order has been accepted then.
    pub fn read(json: &str) -> Result<Self, OrderError> {
        let request: OrderRequest = serde_json::from_str(json)?;
        request.check()?;
        let selector = request.selector()?;
        let audience = request.audience()?;
        let content = request.pushed()?;
        let position = match (request.device_position, request.mode) {
            (None, Mode::Matched) => Position::Header,
            (position, _) => position.unwrap_or_default(),
        };
        let letters = request.ask.iter().map(|Asked(request)| request.letter());
        let mut ask: Vec<char> = letters.map(char::from).collect();
        ask.sort_unstable();
        ask.dedup();
        Ok(Self {
            content,
            device_position: position.into(),
            ask: ask.into_iter().collect(),
            activate: request.activate,
            skip_lookup: request.skip_lookup,
            name: request.order,
            mode: request.mode,
            audience,
            selector,
            deadline_ns: request.deadline_ms.map(|ms| ms.saturating_mul(1_000_000)),
            priority: request.priority,
            application: request.application.unwrap_or_else(|| "push.sia".to_owned()),
        })
    }
}

impl OrderRequest {
    fn fault<T>(&self, fault: impl Into<String>) -> Result<T, OrderError> {
        Err(OrderError::Field {
            order: self.order.clone(),
            fault: fault.into(),
        })
    }

    fn check(&self) -> Result<(), OrderError> {
        if self.order.is_empty() || self.order.len() > NAME_BYTES_MAX {
            return self.fault(format!(
                "the name has to be 1 to {NAME_BYTES_MAX} octets long"
            ));
        }
        if self.select.devices.len() > SELECTED_DEVICES_MAX {
            return self.fault(format!(
                "select.devices names at most {SELECTED_DEVICES_MAX}"
            ));
        }
        if self.mode == Mode::FanOut && self.select != SelectRequest::default() {
            return self
                .fault("mode fan-out reaches all devices; leave select out or use targeted");
        }
        if self.mode.is_one_for_all() && self.device_position.is_some_and(|at| at != Position::None)
        {
            return self
                .fault("its mode names no device; leave device-position out or use matched");
        }
        if self.mode == Mode::Matched && self.device_position == Some(Position::None) {
            return self.fault("mode matched compares device identities; give device-position header, value or body");
        }
        let named = self
            .activate
            .as_ref()
            .map(|activate| activate.application.as_str());
        for application in [self.application.as_deref(), named].into_iter().flatten() {
            self.check_application(application.as_bytes())?;
        }
        Ok(())
    }

    fn check_application(&self, application: &[u8]) -> Result<(), OrderError> {
        // RFC 3840 9: a tag-value is of the octets of token-nobang, which a colon is not.
        let plain = |octet: &u8| octet.is_ascii_alphanumeric() || b".-_+".contains(octet);
        if application.is_empty() || application.len() > 64 || !application.iter().all(plain) {
            return self.fault("application is 1 to 64 letters, digits or . - _ +");
        }
        Ok(())
    }

    fn selector(&self) -> Result<Selector, OrderError> {
        let mut devices = Vec::with_capacity(self.select.devices.len());
        for text in &self.select.devices {
            let Some(named) = Named::read(text.as_bytes()) else {
                return self.fault(format!(
                    "select.devices: device {} of the list is no device identity; see docs/population.md",
                    devices.len() + 1
                ));
            };
            devices.push(named);
        }
        let SelectRequest {
            capability,
            preference,
            subscription,
            connected,
            ..
        } = self.select;
        let wants_all = self.select == SelectRequest::default();
        Ok(Selector {
            devices,
            capability,
            preference,
            subscription,
            connected,
            wants_all,
        })
    }

    fn pushed(&self) -> Result<Pushed, OrderError> {
        let Some(content) = &self.content else {
            return Ok(Pushed::default());
        };
        let octets = match (&content.text, &content.file) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(path)) => self.read(path, CONTENT_BYTES_MAX as u64)?,
            _ => return self.fault("content has either text or file"),
        };
        if octets.len() > CONTENT_BYTES_MAX {
            return self.fault(format!("content has at most {CONTENT_BYTES_MAX} octets"));
        }
        // RFC 3261 25.1: m-type SLASH m-subtype, and parameters that end no header field.
        let media_type = content.media_type.as_bytes();
        let plain = |octet: &u8| octet.is_ascii_graphic() || *octet == b' ';
        let slash = media_type.iter().position(|&octet| octet == b'/');
        let is_type = slash.is_some_and(|at| at > 0 && at + 1 < media_type.len());
        if !is_type || media_type.len() > 128 || !media_type.iter().all(plain) {
            return self.fault("content.type is a media type such as text/plain");
        }
        Ok(Pushed {
            content_type: content.media_type.clone(),
            octets,
            push: self.push,
        })
    }

    fn audience(&self) -> Result<Audience, OrderError> {
        match &self.to {
            Recipients::Identity(identity) => Ok(Audience::List(identity.clone().into_bytes())),
            Recipients::Identities(identities) => {
                Ok(Audience::List(identities.join("\n").into_bytes()))
            }
            Recipients::Everybody(true) => Ok(Audience::Everybody),
            Recipients::Everybody(false) => self.fault("to.everybody is true or absent"),
            Recipients::File(path) => self.file(path),
        }
    }

    fn file(&self, path: &std::path::Path) -> Result<Audience, OrderError> {
        self.read(path, LIST_BYTES_MAX).map(Audience::List)
    }

    fn read(&self, path: &std::path::Path, bytes_max: u64) -> Result<Vec<u8>, OrderError> {
        let cannot = |error| OrderError::File {
            order: self.order.clone(),
            path: path.to_owned(),
            error,
        };
        let length = std::fs::metadata(path).map_err(cannot)?.len();
        if length > bytes_max {
            return self.fault(format!(
                "{} has {length} octets, more than {bytes_max}; split it",
                path.display()
            ));
        }
        std::fs::read(path).map_err(cannot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_is_a_token_that_accept_contact_can_carry() {
        let read = |application: &str| {
            Order::read(&format!(
                r#"{{"order":"o","to":{{"everybody":true}},"application":"{application}"}}"#
            ))
        };
        assert_eq!(read("push.sia").expect("a token").application, "push.sia");
        for wrong in ["x:y", "", "a;b", "a\\\"b"] {
            let fault = read(wrong).expect_err(wrong).to_string();
            assert!(fault.contains("application is 1 to 64"), "{fault}");
        }
    }
}
