//! The reception: judges who comes with a token, and books what becomes of them.
//!
//! It is the [`Host`] of the sessions: tokens are checked and used up here, contents found, what devices
//! return goes into the index, and the books of pushes are kept. A session knows its owner as two words
//! that only this module reads. No dialog and no datagram is known here.

use crate::contents::Contents;
use crate::kept::KeptTexts;
use crate::order::Pushed;
use crate::pushes::{Pushes, Standing};
use crate::returned::{Returned, ReturnedCounts};
use crate::templates::packed;
use crate::token::{Claim, Holder, TICK_NS, TICKS_PER_S, Tick, TokenKey};
use crate::used::{Use, Used};
use hdrhistogram::Histogram;
use siphasher::sip::SipHasher13;
use sirocco_index::{Change, Device, DeviceId, DeviceKind, Identity, Index};
use sirocco_session as session;
use sirocco_session::{Grant, Host, Invitation, Refusal, SessionEvent, SessionHandle};
use sirocco_wire::identity::{PackedDevice, parameter_len, write_parameter};
use sirocco_wire::sip::uri::SipUri;
use std::collections::HashMap;
use std::hash::Hasher;
use std::net::SocketAddr;

/// Longest time to a session that is told apart, in microseconds: the longest life of a token.
const TIME_TO_SESSION_US_MAX: u64 = 3_600_000_000;
/// Longest registration that a device can have, in seconds: a week.
const REGISTERED_S_MAX: u32 = 604_800;

/// What the host of the sessions keeps of its own.
pub struct Reception {
    /// What orders push.
    pub contents: Contents,
    /// The books.
    pub pushes: Pushes,
    /// Makes and checks tokens.
    pub token_key: TokenKey,
    /// From the due time of a SIR to the INVITE of its first wanted device, in microseconds.
    pub time_to_session_us: Histogram<u64>,
    /// What devices returned.
    pub returned: ReturnedCounts,
    used: Used,
    hasher: SipHasher13,
    /// Open sessions by device, where sessions outlive their push.
    connections: HashMap<u64, SessionHandle>,
    keeps_connections: bool,
}

/// The reception at work, for the length of one call.
pub struct Desk<'a> {
    /// Who has which devices.
    pub index: &'a mut Index,
    /// What is kept.
    pub reception: &'a mut Reception,
    /// The operator's way to hide IMEIs.
    pub kept: &'a KeptTexts,
}

/// Who owns a session, in the two words that the sessions keep for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    identity: Identity,
    standing: Standing,
    /// Second in which the token expires, modulo 4096.
    expiry_s: u64,
    /// High 8 bits of the number of its content, whose low ones the session knows.
    content_high: u8,
    /// The device's number, of which the words keep the low 22 bits.
    device: u64,
}

/// One device of one user, by its number: `mask` has the bits of it that are known.
#[derive(Clone, Copy)]
struct Holding {
    identity: Identity,
    device: u64,
    mask: u64,
}

const SHAPE_BITS: u32 = 20;
const EXPIRY_BITS: u32 = 12;
const CONTENT_HIGH_BITS: u32 = 8;
const DEVICE_BITS: u32 = 22;
const DEVICE_MASK: u64 = (1 << DEVICE_BITS) - 1;
const _: () = assert!(SHAPE_BITS + 2 + EXPIRY_BITS + CONTENT_HIGH_BITS + DEVICE_BITS == 64);

impl Owner {
    fn words(self) -> [u64; 2] {
        let standing = u64::from(self.standing.is_first) | u64::from(self.standing.is_wanted) << 1;
        let low = u64::from(self.identity.shape) | standing << SHAPE_BITS;
        let expiry = self.expiry_s & ((1 << EXPIRY_BITS) - 1);
        let content = u64::from(self.content_high) << EXPIRY_BITS;
        let device = self.device & DEVICE_MASK;
        let high = expiry | content | device << (EXPIRY_BITS + CONTENT_HIGH_BITS);
        [self.identity.key, low | high << (SHAPE_BITS + 2)]
    }

    /// What the sessions are told of it and of its content.
    fn grant(self, content: u32) -> Grant {
        Grant {
            content: content as u16,
            owner: self.words(),
        }
    }

    fn read(words: [u64; 2]) -> Self {
        let low = words[1];
        let standing = low >> SHAPE_BITS;
        let high = low >> (SHAPE_BITS + 2);
        Self {
            identity: Identity {
                key: words[0],
                shape: (low & ((1 << SHAPE_BITS) - 1)) as u32,
            },
            standing: Standing {
                is_first: standing & 1 != 0,
                is_wanted: standing & 2 != 0,
            },
            expiry_s: high & ((1 << EXPIRY_BITS) - 1),
            content_high: (high >> EXPIRY_BITS) as u8,
            device: high >> (EXPIRY_BITS + CONTENT_HIGH_BITS),
        }
    }

    fn holding(&self) -> Holding {
        Holding {
            identity: self.identity,
            device: self.device,
            mask: DEVICE_MASK,
        }
    }
}

/// A token that holds, and whom it holds for.
struct Checked {
    claim: Claim,
    identity: Identity,
    /// The number of the device that showed it.
    device: u64,
}

impl Reception {
    /// Builds a reception that remembers `tokens_remembered` used tokens in each of two generations.
    #[must_use]
    pub fn new(token_key: TokenKey, now: u64, key: [u64; 2], tokens_remembered: usize) -> Self {
        let tick = token_key.tick(now);
        Self {
            contents: Contents::default(),
            pushes: Pushes::new(tick.0 / TICKS_PER_S),
            used: Used::new(tokens_remembered, token_key.lifetime(), tick),
            token_key,
            time_to_session_us: Histogram::new_with_bounds(1, TIME_TO_SESSION_US_MAX, 2)
                .expect("fixed bounds"),
            returned: ReturnedCounts::default(),
            hasher: SipHasher13::new_with_keys(key[0], key[1]),
            connections: HashMap::new(),
            keeps_connections: false,
        }
    }

    /// Whether sessions outlive their push, so that later pushes may find them.
    pub fn keep_connections(&mut self, keeps: bool) {
        self.keeps_connections = keeps;
    }

    /// Forgets what nobody can ask for any more.
    pub fn sweep(&mut self, now: u64) {
        let tick = self.token_key.tick(now);
        self.contents.sweep(tick);
        self.pushes.sweep(tick.0 / TICKS_PER_S);
    }

    /// The open session of a device, if it has one, and what grants it one more content.
    #[must_use]
    pub fn connection(
        &self,
        identity: Identity,
        (device, text): (&Device, &[u8]),
        content: u32,
    ) -> Option<(SessionHandle, Grant)> {
        let number = self.number(device, text);
        let session = self.connections.get(&self.place(identity, number))?;
        let owner = Owner {
            identity,
            standing: Standing {
                is_first: true,
                is_wanted: true,
            },
            expiry_s: 0,
            content_high: (content >> 16) as u8,
            device: number,
        };
        Some((*session, owner.grant(content)))
    }

    /// Bytes of what grows with sessions.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let entry = size_of::<(u64, SessionHandle)>() + 1;
        self.used.memory_bytes() + self.connections.capacity() * entry * 8 / 7
    }

    /// A number that stands for a device of the index, whatever form it shows.
    fn number(&self, device: &Device, text: &[u8]) -> u64 {
        if device.has_text_id() {
            self.number_shown(PackedDevice::pack(text).as_ref(), text)
        } else {
            self.number_of(&packed(device))
        }
    }

    /// The number of a device by what it shows: the same for all spellings that pack alike, also where the
    /// index keeps its own as text.
    fn number_shown(&self, packed: Option<&PackedDevice>, text: &[u8]) -> u64 {
        match packed {
            Some(packed) => self.number_of(packed),
            None => self.number_of_text(text),
        }
    }

    /// A GRUU and the UUID in its `gr` parameter are one device.
    fn number_of(&self, device: &PackedDevice) -> u64 {
        let mut hasher = self.hasher;
        hasher.write_u8(device.kind.max(DeviceKind::Uuid as u8));
        hasher.write(&device.bytes);
        hasher.finish()
    }

    fn number_of_text(&self, text: &[u8]) -> u64 {
        let mut hasher = self.hasher;
        hasher.write(text);
        hasher.finish()
    }

    /// Where a device of an identity stands among the connections.
    fn place(&self, identity: Identity, device: u64) -> u64 {
        let mut hasher = self.hasher;
        hasher.write_u64(identity.key);
        hasher.write_u32(identity.shape);
        hasher.write_u64(device & DEVICE_MASK);
        hasher.finish()
    }
}

impl Desk<'_> {
    /// Checks a token against who shows it; it is not used up.
    fn check(&self, now: Tick, invitation: &Invitation<'_>) -> Result<Checked, Refusal> {
        if invitation.token.is_empty() {
            return Err(Refusal::TokenMissing);
        }
        let claim = Claim::read(invitation.token).ok_or(Refusal::TokenForged)?;
        let user = aor(invitation.user);
        let identity = self.index.pack(user).ok_or(Refusal::TokenForged)?;
        let shown = PackedDevice::pack(invitation.device);
        let key = &self.reception.token_key;
        let holds = match (claim.is_text(), claim.is_bound(), &shown) {
            (true, is_bound, _) => self.holds_texts(&claim, identity, invitation.device, is_bound),
            (false, false, _) => key.verify(&claim, Holder::Packed(identity, None)),
            (false, true, None) => false,
            (false, true, Some(shown)) => {
                let kind = kind_of(shown.kind);
                key.verify(&claim, Holder::Packed(identity, Some((kind, &shown.bytes))))
            }
        };
        if !holds {
            return Err(Refusal::TokenForged);
        }
        if claim.left(now) <= 0 || key.issued(&claim, now) < self.reception.used.not_before() {
            return Err(Refusal::TokenExpired);
        }
        // An ordinary user agent may name no device: where its user has one alone, it is that one.
        let sole = (!claim.is_bound() && invitation.device.is_empty()).then(|| self.sole(identity));
        let named = || {
            self.reception
                .number_shown(shown.as_ref(), invitation.device)
        };
        let device = sole.flatten().unwrap_or_else(named);
        Ok(Checked {
            claim,
            identity,
            device,
        })
    }

    /// The number of an identity's only device; `None` if it has several.
    fn sole(&self, identity: Identity) -> Option<u64> {
        let [device] = self.index.devices(self.index.lookup(identity)) else {
            return None;
        };
        let text = self.index.device_id_text(device);
        Some(self.reception.number(device, text))
    }

    /// Whether a claim holds for texts: the octets that made the Request-URI of its SIR.
    #[cold]
    fn holds_texts(
        &self,
        claim: &Claim,
        identity: Identity,
        device: &[u8],
        is_bound: bool,
    ) -> bool {
        let mut digits = [0; 16];
        let aor = self.index.unpack(identity, &mut digits);
        let aor = [aor.prefix, aor.user, aor.suffix].concat();
        let key = &self.reception.token_key;
        if !is_bound {
            return key.verify(claim, Holder::Text(&aor, b""));
        }
        let mut parameter = vec![0; parameter_len(device)];
        write_parameter(device, &mut parameter);
        // A GRUU that was the Request-URI itself belongs to the user whose AOR it is.
        let is_own_gruu = || self.index.pack(self::aor(device)) == Some(identity);
        key.verify(claim, Holder::Text(&aor, &parameter))
            || (is_own_gruu() && key.verify(claim, Holder::Text(device, b"")))
    }

    /// A device of the index; `None` if it has left.
    fn find(&self, holding: Holding) -> Option<Device> {
        let same = |number: u64| (number ^ holding.device) & holding.mask == 0;
        let devices = self.index.devices(self.index.lookup(holding.identity));
        let mut devices = devices.iter().copied();
        devices.find(|held| {
            let text = self.index.device_id_text(held);
            let hidden = || self.kept.obfuscated(held, text);
            let is_imei = held.kind() == DeviceKind::Imei;
            same(self.reception.number(held, text))
                || is_imei && hidden().is_some_and(|hidden| same(self.reception.number_of(&hidden)))
        })
    }

    /// Uses a token up; `Err` if this device has used it before. Tells which session of its SIR it opens.
    fn use_up(&mut self, now: Tick, checked: &Checked) -> Result<Standing, Refusal> {
        let (claim, token) = (&checked.claim, checked.claim.fingerprint());
        let issued = self.reception.token_key.issued(claim, now);
        if claim.is_bound() {
            first(self.reception.used.note(token, issued, now))?;
            return Ok(Standing {
                is_first: true,
                is_wanted: true,
            });
        }
        // Any device of the user may come, each of them once; one that the index lacks is a stranger.
        let device = self.find(checked.holding());
        let device = device.ok_or(Refusal::TokenForged)?;
        // Its own number, whichever of its forms it shows.
        let number = self
            .reception
            .number(&device, self.index.device_id_text(&device));
        let used = &mut self.reception.used;
        first(used.note((token ^ number) | 1, issued, now))?;
        let is_first = used.note(token & !1, issued, now) == Use::First;
        let content = self.reception.contents.at(claim.content());
        let text = self.index.device_id_text(&device);
        let hidden = || self.kept.obfuscated(&device, text);
        let is_wanted = content.is_none_or(|content| content.selector.wants(&device, text, hidden));
        Ok(Standing {
            is_first,
            is_wanted,
        })
    }

    /// Marks a device as connected, and remembers its session.
    fn connect(&mut self, owner: &Owner, session: SessionHandle) {
        if self.reception.keeps_connections {
            let place = self.reception.place(owner.identity, owner.device);
            self.reception.connections.insert(place, session);
            self.mark(owner.holding(), true);
        }
    }

    /// Marks a device as not connected, unless it has built a newer session since.
    fn disconnect(&mut self, owner: &Owner, session: SessionHandle) {
        let place = self.reception.place(owner.identity, owner.device);
        if self.reception.connections.get(&place) == Some(&session) {
            self.reception.connections.remove(&place);
            self.mark(owner.holding(), false);
        }
    }

    fn mark(&mut self, holding: Holding, connected: bool) {
        let change = Change {
            connected: Some(connected),
            ..Change::default()
        };
        self.change(holding, &change);
    }

    /// Changes some fields of a device; `false` if the index no longer has it.
    fn change(&mut self, holding: Holding, change: &Change) -> bool {
        let Some(device) = self.find(holding) else {
            return false;
        };
        let text = self.index.device_id_text(&device).to_vec();
        let id = if device.has_text_id() {
            DeviceId::Text {
                kind: device.kind(),
                text: &text,
            }
        } else {
            DeviceId::Packed {
                kind: device.kind(),
                bytes: *device.packed_id(),
            }
        };
        let changed = self.index.update(holding.identity, &id, change);
        changed.unwrap_or(false)
    }

    fn take_returned(&mut self, holding: Holding, parameters: &[u8]) {
        let returned = Returned::read(parameters);
        self.reception.returned.count(&returned);
        if returned.refusal.is_some() {
            self.reception.pushes.refuse();
        }
        let change = returned.change();
        if let Some(change) = change
            && !self.change(holding, &change)
        {
            self.reception.returned.unknown_devices += 1;
        }
    }
}

impl Host for Desk<'_> {
    fn admit(
        &mut self,
        now: u64,
        invitation: &Invitation<'_>,
        takes: impl FnOnce(&session::Content<'_>) -> bool,
    ) -> Result<Grant, Refusal> {
        let tick = self.reception.token_key.tick(now);
        let checked = self.check(tick, invitation)?;
        let claim = &checked.claim;
        let issued = self.reception.token_key.issued(claim, tick);
        let content = self.reception.contents.of_token(claim.content(), issued);
        let content = content.ok_or(Refusal::ContentGone)?;
        if !takes(&offered(&content.pushed)) {
            return Err(Refusal::ContentUntaken);
        }
        let standing = self.use_up(tick, &checked)?;
        if standing.is_first && standing.is_wanted {
            let waited_us = tick.0.saturating_sub(issued.0) * (TICK_NS / 1_000);
            let times = &mut self.reception.time_to_session_us;
            times.saturating_record(waited_us.max(1));
        }
        let expiry = tick.0.wrapping_add_signed(claim.left(tick));
        let owner = Owner {
            identity: checked.identity,
            standing,
            expiry_s: expiry / TICKS_PER_S,
            content_high: (claim.content() >> 16) as u8,
            device: checked.device,
        };
        Ok(owner.grant(claim.content()))
    }

    /// Edges are where SIRs go to anyway.
    fn may_route(&self, address: SocketAddr) -> bool {
        self.index.next_hops().contains(&address)
    }

    fn content(&self, owner: [u64; 2], number: u16) -> Option<session::Content<'_>> {
        let high = Owner::read(owner).content_high;
        let number = u32::from(high) << 16 | u32::from(number);
        let content = &self.reception.contents.at(number)?.pushed;
        Some(offered(content))
    }

    fn returned(
        &mut self,
        now: u64,
        invitation: &Invitation<'_>,
        parameters: &[u8],
    ) -> Result<(), Refusal> {
        let tick = self.reception.token_key.tick(now);
        let holding = self.check(tick, invitation)?.holding();
        self.take_returned(holding, parameters);
        Ok(())
    }

    fn register(
        &mut self,
        now: u64,
        invitation: &Invitation<'_>,
        contact: &[u8],
        expires_s: u32,
    ) -> Result<(), Refusal> {
        let tick = self.reception.token_key.tick(now);
        let checked = self.check(tick, invitation)?;
        // A token for any device of the user does not tell one of them from the other.
        if !checked.claim.is_bound() {
            return Err(Refusal::TokenForged);
        }
        // Seconds of Unix time, as the index counts them: a tick is not a whole part of one.
        let now_s = u32::try_from(tick.0 * TICK_NS / 1_000_000_000).unwrap_or(u32::MAX - 1);
        // SIRs are sent to a contact: it is believed only if the request came from its address.
        let contact = address(contact).filter(|address| address.ip() == invitation.peer.ip());
        let change = Change {
            contact: contact.map(Some),
            expires_s: Some(now_s.saturating_add(expires_s.min(REGISTERED_S_MAX))),
            ..Change::default()
        };
        if !self.change(checked.holding(), &change) {
            return Err(Refusal::TokenForged);
        }
        self.reception.returned.registered += 1;
        Ok(())
    }

    fn received(&mut self, _now: u64, owner: [u64; 2], content_type: &[u8], body: &[u8]) {
        if content_type
            .to_ascii_lowercase()
            .starts_with(b"text/parameters")
        {
            self.take_returned(Owner::read(owner).holding(), body);
        }
    }

    fn note(&mut self, _now: u64, owner: [u64; 2], content: u16, event: SessionEvent) {
        let owner = Owner::read(owner);
        let number = u32::from(owner.content_high) << 16 | u32::from(content);
        let Reception {
            contents, pushes, ..
        } = &mut *self.reception;
        match event {
            SessionEvent::Established { session } => {
                pushes.build(owner.expiry_s, owner.standing);
                contents.begin_push(number);
                self.connect(&owner, session);
            }
            SessionEvent::Delivered => {
                pushes.deliver(owner.standing);
                contents.end_push(number);
            }
            SessionEvent::Failed(_) => {
                pushes.fail();
                contents.end_push(number);
            }
            // Its push had not begun.
            SessionEvent::Missed(_) => pushes.fail(),
            SessionEvent::Ended { session, .. } => self.disconnect(&owner, session),
        }
    }
}

impl Checked {
    fn holding(&self) -> Holding {
        Holding {
            identity: self.identity,
            device: self.device,
            mask: u64::MAX,
        }
    }
}

/// Refuses what is not the first use of a token.
fn first(used: Use) -> Result<(), Refusal> {
    match used {
        Use::First => Ok(()),
        Use::Again => Err(Refusal::TokenUsed),
        Use::TooOld => Err(Refusal::TokenExpired),
    }
}

/// A content as the sessions see it.
fn offered(content: &Pushed) -> session::Content<'_> {
    session::Content {
        content_type: &content.content_type,
        octets: &content.octets,
        prefer: content.push,
    }
}

/// The AOR of a From URI: without its parameters and headers.
fn aor(user: &[u8]) -> &[u8] {
    let end = memchr::memchr2(b';', b'?', user).unwrap_or(user.len());
    &user[..end]
}

fn kind_of(kind: u8) -> DeviceKind {
    (DeviceKind::ALL.get(usize::from(kind)).copied()).unwrap_or(DeviceKind::Urn)
}

/// The address that a contact URI names by number; names are not resolved.
fn address(contact: &[u8]) -> Option<SocketAddr> {
    SipUri::parse(contact)?.address()
}
