//! A device of a user identity, as it lies in memory: 32 bytes, plain data.
//!
//! [`Device`] is what a lookup returns; [`DeviceEntry`] is what an insert takes and [`Change`]
//! what an update takes. Rendering an id as a URN is the wire crate's business: here an id is a
//! kind and 16 bytes, or text in the index's arena.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// `next_hop` of a device that is reached at its own contact address.
pub const NEXT_HOP_DIRECT: u16 = 0xffff;

/// `expires_s` of a binding that does not expire.
pub const EXPIRES_NEVER: u32 = u32::MAX;

/// Octets of a device id kept as text at most; the length of a SIP URI that fits a SIR.
pub const DEVICE_TEXT_MAX: usize = 255;

/// The largest preference; it has 4 bits.
pub const PREFERENCE_MAX: u8 = 15;

const FLAG_CONNECTED: u8 = 1;
const FLAG_TEXT: u8 = 1 << 1;
const FLAG_IPV6: u8 = 1 << 2;
const FLAG_CONTACT: u8 = 1 << 3;
const PREFERENCE_SHIFT: u8 = 4;

/// The nine device identity kinds; numbers equal those of the wire crate.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum DeviceKind {
    /// A globally routable user agent URI, RFC 5627.
    Gruu = 0,
    /// `urn:uuid`, RFC 9562.
    Uuid = 1,
    /// `urn:gsma:imei`, RFC 7254.
    Imei = 2,
    /// Any other URI.
    Uri = 3,
    /// Any other URN.
    Urn = 4,
    /// An EPC tag.
    Rfid = 5,
    /// An electronic serial number or MEID.
    Esn = 6,
    /// An IEEE MAC address, RFC 9039.
    Mac = 7,
    /// A certificate fingerprint.
    Fingerprint = 8,
}

impl DeviceKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [DeviceKind; 9] = [
        DeviceKind::Gruu,
        DeviceKind::Uuid,
        DeviceKind::Imei,
        DeviceKind::Uri,
        DeviceKind::Urn,
        DeviceKind::Rfid,
        DeviceKind::Esn,
        DeviceKind::Mac,
        DeviceKind::Fingerprint,
    ];

    fn from_bits(bits: u8) -> DeviceKind {
        Self::ALL
            .get(usize::from(bits))
            .copied()
            .unwrap_or(DeviceKind::Urn)
    }
}

/// What carries the SIR to the device.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Bearer {
    /// SIP over UDP.
    SipUdp = 0,
    /// SIP over TCP.
    SipTcp = 1,
    /// HTTP.
    Http = 2,
    /// Short message service.
    Sms = 3,
    /// WSP push.
    Wsp = 4,
    /// USSD.
    Ussd = 5,
    /// A circuit-switched channel.
    Circuit = 6,
    /// A packet-switched channel.
    Packet = 7,
}

impl Bearer {
    /// All bearers, in the order of their numbers.
    pub const ALL: [Bearer; 8] = [
        Bearer::SipUdp,
        Bearer::SipTcp,
        Bearer::Http,
        Bearer::Sms,
        Bearer::Wsp,
        Bearer::Ussd,
        Bearer::Circuit,
        Bearer::Packet,
    ];
}

/// One device as stored: 32 bytes, two to a cache line.
#[derive(Copy, Clone, Default, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Device {
    pub(crate) id: [u8; 16],
    pub(crate) contact_ip: u32,
    /// Seconds on the population's clock at which the binding ends; [`EXPIRES_NEVER`].
    pub expires_s: u32,
    /// Index into [`crate::Index::next_hops`], or [`NEXT_HOP_DIRECT`].
    pub next_hop: u16,
    pub(crate) contact_port: u16,
    kind_bearer: u8,
    flags: u8,
    /// Capability bits, whose meaning the operator assigns.
    pub capability: u8,
    /// Subscription bits, one for each push application the operator numbers.
    pub subscription: u8,
}

const _: () = assert!(size_of::<Device>() == 32 && align_of::<Device>() == 4);

impl Device {
    /// The kind of the device id.
    #[inline]
    pub fn kind(&self) -> DeviceKind {
        DeviceKind::from_bits(self.kind_bearer & 15)
    }

    /// The packed id (meaningful when `!has_text_id()`); layout for each kind as in the wire
    /// crate's `PackedDevice`.
    #[inline]
    pub fn packed_id(&self) -> &[u8; 16] {
        &self.id
    }

    /// Whether the id is text in the arena: ask [`crate::Index::device_id_text`].
    #[inline]
    pub fn has_text_id(&self) -> bool {
        self.flags & FLAG_TEXT != 0
    }

    /// The bearer.
    #[inline]
    pub fn bearer(&self) -> Bearer {
        Bearer::ALL[usize::from(self.kind_bearer >> 4) & 7]
    }

    /// Whether the device has a session up already (embodiment 4, step 402: no SIR is needed).
    #[inline]
    pub fn connected(&self) -> bool {
        self.flags & FLAG_CONNECTED != 0
    }

    /// The user's preference for this device, 0 to [`PREFERENCE_MAX`].
    #[inline]
    pub fn preference(&self) -> u8 {
        self.flags >> PREFERENCE_SHIFT
    }

    /// Whether the binding has ended at `now_s`.
    #[inline]
    pub fn expired(&self, now_s: u32) -> bool {
        self.expires_s <= now_s && self.expires_s != EXPIRES_NEVER
    }

    /// Whether the device has a contact address.
    #[inline]
    pub fn has_contact(&self) -> bool {
        self.flags & FLAG_CONTACT != 0
    }

    /// The contact address when it is IPv4; for either family see [`crate::Index::contact`].
    #[inline]
    pub fn contact_v4(&self) -> Option<SocketAddr> {
        if self.flags & (FLAG_CONTACT | FLAG_IPV6) != FLAG_CONTACT {
            return None;
        }
        Some(SocketAddr::new(
            IpAddr::V4(Ipv4Addr::from_bits(self.contact_ip)),
            self.contact_port,
        ))
    }

    #[inline]
    pub(crate) fn has_ipv6_contact(&self) -> bool {
        self.flags & FLAG_IPV6 != 0
    }

    /// Keeps `ip` (an IPv4 address, or a number of the IPv6 table when `ipv6`) as contact.
    #[inline]
    pub(crate) fn put_contact(&mut self, contact: Option<StoredContact>) {
        self.flags &= !(FLAG_CONTACT | FLAG_IPV6);
        let contact = contact.map(|contact| {
            self.flags |= FLAG_CONTACT | if contact.ipv6 { FLAG_IPV6 } else { 0 };
            (contact.ip, contact.port)
        });
        (self.contact_ip, self.contact_port) = contact.unwrap_or((0, 0));
    }

    #[inline]
    pub(crate) fn mark_connected(&mut self, connected: bool) {
        self.flags = self.flags & !FLAG_CONNECTED | u8::from(connected);
    }

    #[inline]
    pub(crate) fn put_preference(&mut self, preference: u8) {
        let low = self.flags & ((1 << PREFERENCE_SHIFT) - 1);
        self.flags = low | preference.min(PREFERENCE_MAX) << PREFERENCE_SHIFT;
    }

    #[inline]
    pub(crate) fn put_bearer(&mut self, bearer: Bearer) {
        self.kind_bearer = self.kind_bearer & 15 | (bearer as u8) << 4;
    }

    /// A device with this id and the fields of `entry`, its contact still unset.
    #[inline]
    pub(crate) fn new(id: [u8; 16], text: bool, entry: &DeviceEntry<'_>) -> Device {
        let mut device = Device {
            id,
            contact_ip: 0,
            expires_s: entry.expires_s,
            next_hop: entry.next_hop,
            contact_port: 0,
            kind_bearer: entry.id.kind() as u8,
            flags: if text { FLAG_TEXT } else { 0 },
            capability: entry.capability,
            subscription: entry.subscription,
        };
        device.put_bearer(entry.bearer);
        device.mark_connected(entry.connected);
        device.put_preference(entry.preference);
        device
    }
}

/// A contact as a device stores it.
#[derive(Copy, Clone)]
pub(crate) struct StoredContact {
    pub ip: u32,
    pub port: u16,
    pub ipv6: bool,
}

/// The id of a device as callers give it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum DeviceId<'a> {
    /// An id that fits 16 bytes, laid out as in the wire crate's `PackedDevice`.
    Packed {
        /// Its kind.
        kind: DeviceKind,
        /// Its bytes.
        bytes: [u8; 16],
    },
    /// Any other id: at most [`DEVICE_TEXT_MAX`] octets of canonical text, compared bytewise.
    Text {
        /// Its kind.
        kind: DeviceKind,
        /// Its text.
        text: &'a [u8],
    },
}

impl DeviceId<'_> {
    /// The kind of the id.
    #[inline]
    pub fn kind(&self) -> DeviceKind {
        match self {
            DeviceId::Packed { kind, .. } | DeviceId::Text { kind, .. } => *kind,
        }
    }
}

/// All of a device, as an insert takes it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct DeviceEntry<'a> {
    /// The device id, unique within its identity.
    pub id: DeviceId<'a>,
    /// A number from [`crate::Index::intern_next_hop`], or [`NEXT_HOP_DIRECT`].
    pub next_hop: u16,
    /// The device's own address.
    pub contact: Option<SocketAddr>,
    /// What carries the SIR.
    pub bearer: Bearer,
    /// Whether a session is up.
    pub connected: bool,
    /// Capability bits.
    pub capability: u8,
    /// Preference, at most [`PREFERENCE_MAX`].
    pub preference: u8,
    /// Subscription bits.
    pub subscription: u8,
    /// End of the binding in seconds, or [`EXPIRES_NEVER`].
    pub expires_s: u32,
}

/// Fields of a device to overwrite in place; `None` leaves a field as it is.
#[derive(Copy, Clone, Default, Debug)]
pub struct Change {
    /// New next hop.
    pub next_hop: Option<u16>,
    /// New contact, `Some(None)` to forget it.
    pub contact: Option<Option<SocketAddr>>,
    /// New bearer.
    pub bearer: Option<Bearer>,
    /// New connection state.
    pub connected: Option<bool>,
    /// New capability bits.
    pub capability: Option<u8>,
    /// New preference.
    pub preference: Option<u8>,
    /// New subscription bits.
    pub subscription: Option<u8>,
    /// New end of the binding.
    pub expires_s: Option<u32>,
}
