//! The compiled templates: one set for each distinct content, one template for each length class.
//!
//! Orders of the same content share a set, so that the send slabs stay filled with its literal octets
//! from one order to the next. A template is compiled when its class is first met. Sets that no order
//! uses are kept until their room is needed. No rendering here: `train` does that.

use sirocco_index::{Device, IdentityText};
use sirocco_wire::identity::PackedDevice;
use sirocco_wire::sip::seal::SirKey;
use sirocco_wire::sip::template::{DevicePosition, LengthClass, SirSpec, Template};
use sirocco_wire::sip::uri::{SIP_PORT, split_host_port};
use sirocco_wire::sir::When;

/// Contents whose templates are kept at the same time.
pub const SETS_MAX: usize = 1024;
/// Templates of all sets together; a population has a handful of length classes.
pub const TEMPLATES_MAX: usize = 16_384;

/// What all SIRs of one engine have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Via sent-by: the address of this worker.
    pub sent_by: String,
    /// The From URI.
    pub from: String,
    /// The From tag, drawn at start.
    pub from_tag: String,
    /// Where devices build their session: the worker's own URI, or that of another gateway.
    pub ppg_uri: String,
    /// Seals every SIR, if there is one.
    pub sir_key: Option<SirKey>,
}

/// What the SIRs of one order have in common beyond their sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Application name, such as `push.sia`.
    pub application: String,
    /// Whether the Request-URI carries the device identity to be routed by.
    pub routed: bool,
    /// Where the body carries the device identity.
    pub device_position: DevicePosition,
    /// Expires in seconds, none to leave it out.
    pub expires_s: Option<u32>,
    /// Letters of what its SIRs ask for.
    pub ask: String,
    /// The application that devices activate, and when.
    pub activate: Option<(String, When)>,
}

/// A compiled template and the serial that tells whether a slab is filled with it.
pub struct Compiled {
    /// The template.
    pub template: Template,
    /// Never reused, even if the template's number is.
    pub serial: u64,
    /// Its SIRs name one device, in the Request-URI or in the body.
    pub is_bound: bool,
}

struct Set {
    content: Content,
    users: u32,
    classes: Vec<(LengthClass, u16)>,
}

/// All templates of one shard.
pub struct Templates {
    sender: Sender,
    sets: Vec<Set>,
    compiled: Vec<Compiled>,
    free: Vec<u16>,
    serial: u64,
}

/// Why an order's content gets no set: all are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{SETS_MAX} different contents are active; retry when one of their orders is over")]
pub struct SetsFull;

impl Templates {
    /// Builds an empty collection.
    #[must_use]
    pub fn new(sender: Sender) -> Self {
        Self {
            sender,
            sets: Vec::new(),
            compiled: Vec::new(),
            free: Vec::new(),
            serial: 0,
        }
    }

    /// The set of a content, for one more order.
    ///
    /// # Errors
    /// [`SetsFull`] if [`SETS_MAX`] contents have active orders.
    pub fn enlist(&mut self, content: Content) -> Result<u16, SetsFull> {
        if let Some(number) = self.sets.iter().position(|set| set.content == content) {
            self.sets[number].users += 1;
            return Ok(number as u16);
        }
        let fresh = Set {
            content,
            users: 1,
            classes: Vec::new(),
        };
        if self.sets.len() < SETS_MAX {
            self.sets.push(fresh);
            return Ok((self.sets.len() - 1) as u16);
        }
        let unused = self
            .sets
            .iter()
            .position(|set| set.users == 0)
            .ok_or(SetsFull)?;
        let evicted = std::mem::replace(&mut self.sets[unused], fresh);
        self.free
            .extend(evicted.classes.iter().map(|(_, number)| number));
        Ok(unused as u16)
    }

    /// Ends one order's use of a set.
    pub fn release(&mut self, set: u16) {
        self.sets[usize::from(set)].users -= 1;
    }

    /// The template for an identity and a device in a set; `None` if the SIR would be too long.
    #[inline]
    pub fn find(&mut self, set: u16, aor_len: usize, device_len: usize) -> Option<u16> {
        let found = &self.sets[usize::from(set)];
        let class = LengthClass::of(aor_len, device_len, &self.sender.spec(&found.content))?;
        let known = found.classes.iter().find(|(known, _)| *known == class);
        known
            .map(|(_, number)| *number)
            .or_else(|| self.compile(set, class))
    }

    /// Whether the sent-by of a Via is the one that all SIRs of this shard have.
    #[must_use]
    pub fn is_sent_by(&self, sent_by: &[u8]) -> bool {
        let (host, port) = split_host_port(sent_by);
        let (own_host, own_port) = split_host_port(self.sender.sent_by.as_bytes());
        host.eq_ignore_ascii_case(own_host)
            && port.unwrap_or(SIP_PORT) == own_port.unwrap_or(SIP_PORT)
    }

    /// A compiled template by its number.
    #[inline]
    #[must_use]
    pub fn at(&self, number: u16) -> &Compiled {
        &self.compiled[usize::from(number)]
    }

    #[cold]
    fn compile(&mut self, set: u16, class: LengthClass) -> Option<u16> {
        let content = &self.sets[usize::from(set)].content;
        let template = Template::compile(&self.sender.spec(content), class).ok()?;
        self.serial += 1;
        let compiled = Compiled {
            template,
            serial: self.serial,
            is_bound: content.routed || content.device_position != DevicePosition::None,
        };
        let number = match self.free.pop() {
            Some(number) => {
                self.compiled[usize::from(number)] = compiled;
                number
            }
            None if self.compiled.len() < TEMPLATES_MAX => {
                self.compiled.push(compiled);
                (self.compiled.len() - 1) as u16
            }
            None => return None,
        };
        self.sets[usize::from(set)].classes.push((class, number));
        Some(number)
    }
}

impl Sender {
    fn spec<'a>(&'a self, content: &'a Content) -> SirSpec<'a> {
        SirSpec {
            sent_by: &self.sent_by,
            from: &self.from,
            from_tag: &self.from_tag,
            ppg_uri: &self.ppg_uri,
            application: &content.application,
            device_position: content.device_position,
            routed: content.routed,
            expires_s: content.expires_s,
            ask: &content.ask,
            activate: (content.activate.as_ref()).map(|(name, when)| (name.as_str(), *when)),
            sealed: self.sir_key.as_ref(),
        }
    }
}

/// The wire form of a device identity that the index holds packed.
#[inline]
#[must_use]
pub fn packed(device: &Device) -> PackedDevice {
    PackedDevice {
        kind: device.kind() as u8,
        bytes: *device.packed_id(),
    }
}

/// Octets of a packed device identity as the value of `gr`.
#[inline]
#[must_use]
pub fn device_len(device: &Device) -> usize {
    packed(device).urn_len()
}

/// Octets of an identity's AOR.
#[inline]
#[must_use]
pub fn aor_len(text: &IdentityText<'_>) -> usize {
    text.prefix.len() + text.user.len() + text.suffix.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sender;

    fn content(application: &str) -> Content {
        Content {
            application: application.to_owned(),
            routed: true,
            device_position: DevicePosition::None,
            expires_s: None,
            ask: String::new(),
            activate: None,
        }
    }

    #[test]
    fn orders_of_one_content_share_a_set_and_lengths_share_a_class() {
        let mut templates = Templates::new(sender());
        let one = templates.enlist(content("a")).expect("room");
        assert_eq!(templates.enlist(content("a")), Ok(one));
        let other = templates.enlist(content("b")).expect("room");
        assert_ne!(one, other);
        let short = templates.find(one, 28, 45).expect("short");
        assert_eq!(templates.find(one, 28, 44), Some(short));
        assert_ne!(templates.find(one, 28, 65), Some(short));
        assert_ne!(templates.find(other, 28, 45), Some(short));
        assert_eq!(
            templates.find(one, 200, 60),
            None,
            "longer than a Request-URI may be"
        );
    }

    #[test]
    fn unused_sets_make_room_and_their_templates_are_compiled_anew() {
        let mut templates = Templates::new(sender());
        let names: Vec<_> = (0..SETS_MAX).map(|number| format!("a{number}")).collect();
        let sets: Vec<_> = names
            .iter()
            .map(|name| templates.enlist(content(name)).expect("room"))
            .collect();
        assert_eq!(templates.enlist(content("more")), Err(SetsFull));
        assert_eq!(
            templates.enlist(content("a5")),
            Ok(sets[5]),
            "known contents need no room"
        );
        let first = templates.find(sets[7], 28, 45).expect("short");
        let serial = templates.at(first).serial;
        templates.release(sets[7]);
        assert_eq!(
            templates.enlist(content("a7")),
            Ok(sets[7]),
            "kept until its room is needed"
        );
        assert_eq!(templates.find(sets[7], 28, 45), Some(first));
        templates.release(sets[7]);
        templates.release(sets[5]);
        let fresh = templates.enlist(content("more")).expect("room");
        assert_eq!(fresh, sets[7], "the other one is still in use");
        let again = templates.find(fresh, 28, 45).expect("short");
        assert_eq!(again, first, "numbers are used again");
        assert_ne!(templates.at(again).serial, serial, "serials are not");
    }
}
