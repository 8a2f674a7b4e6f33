//! The index of one shard, the changing half: insert, update, remove, expire.
//!
//! Runs between lookups on the thread that owns the index. A change invalidates the [`Run`]s of
//! its own identity only. Called by dispatch (registrar feed, expiry) and by `population`.

use std::net::{IpAddr, SocketAddr};

use crate::device::{Change, DEVICE_TEXT_MAX, Device, DeviceEntry, DeviceId};
use crate::device::{NEXT_HOP_DIRECT, StoredContact};
use crate::directory::Numbers;
use crate::hash::HashKey;
use crate::identity::Identity;
use crate::index::{Index, IndexError, text_number};
use crate::runs::{DEVICES_PER_IDENTITY_MAX, Run, RunHeap};

/// What an insert did.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Inserted {
    /// The identity is new.
    Identity,
    /// The device is new.
    Device,
    /// The device was there, and its fields were overwritten.
    Updated,
}

impl Index {
    /// Inserts a device, or overwrites the one with the same id.
    ///
    /// # Errors
    /// Any of [`IndexError`]; the index is unchanged then.
    pub fn insert(
        &mut self,
        identity: Identity,
        entry: &DeviceEntry<'_>,
    ) -> Result<Inserted, IndexError> {
        self.check(entry)?;
        let run = self.lookup(identity);
        if let Some(at) = self.position(run, &entry.id) {
            self.overwrite(run, at, entry);
            return Ok(Inserted::Updated);
        }
        let device = self.store(entry)?;
        match self.add(identity, run, &[device]) {
            Ok(()) if run.is_some() => Ok(Inserted::Device),
            Ok(()) => Ok(Inserted::Identity),
            Err(refused) => {
                self.forget(device);
                Err(refused)
            }
        }
    }

    /// Overwrites some fields of a device in place; false when it is unknown.
    ///
    /// # Errors
    /// [`IndexError::NextHopUnknown`] or [`IndexError::ContactMissing`]; nothing is changed.
    pub fn update(
        &mut self,
        identity: Identity,
        id: &DeviceId<'_>,
        change: &Change,
    ) -> Result<bool, IndexError> {
        let run = self.lookup(identity);
        let Some(at) = self.position(run, id) else {
            return Ok(false);
        };
        let mut device = self.devices(run)[at];
        let next_hop = change.next_hop.unwrap_or(device.next_hop);
        let has_contact = change
            .contact
            .map_or(device.has_contact(), |contact| contact.is_some());
        self.check_route(next_hop, has_contact)?;
        device.next_hop = next_hop;
        if let Some(contact) = change.contact {
            self.forget_contact(&device);
            let contact = contact.map(|contact| self.store_contact(contact));
            device.put_contact(contact);
        }
        device.put_bearer(change.bearer.unwrap_or(device.bearer()));
        device.mark_connected(change.connected.unwrap_or(device.connected()));
        device.put_preference(change.preference.unwrap_or(device.preference()));
        device.capability = change.capability.unwrap_or(device.capability);
        device.subscription = change.subscription.unwrap_or(device.subscription);
        device.expires_s = change.expires_s.unwrap_or(device.expires_s);
        self.runs.devices_mut(run.0)[at] = device;
        Ok(true)
    }

    /// Removes a device, and its identity with the last one; false when it is unknown.
    pub fn remove(&mut self, identity: Identity, id: &DeviceId<'_>) -> bool {
        let run = self.lookup(identity);
        let Some(at) = self.position(run, id) else {
            return false;
        };
        self.take_device(run, at);
        true
    }

    /// Removes an identity and its devices; returns how many there were.
    pub fn remove_identity(&mut self, identity: Identity) -> usize {
        let mut run = self.lookup(identity);
        let count = self.devices(run).len();
        for at in (0..count).rev() {
            run = self.take_device(run, at);
        }
        if count == 0 {
            self.names.release(identity);
        }
        count
    }

    /// Goes on with a sweep over all devices, removes those that expired by `now_s`, and stops
    /// after about `budget` devices (a whole identity more at most) or at the end of memory,
    /// whence the next call starts over. Returns how many devices it removed.
    pub fn expire_some(&mut self, now_s: u32, budget: usize) -> usize {
        let (mut examined, mut removed) = (0, 0);
        while examined < budget {
            let Some((number, after)) = self.runs.next_live(self.sweep_position) else {
                self.sweep_position = 0;
                break;
            };
            self.sweep_position = after;
            let mut run = Run(number);
            let count = self.devices(run).len();
            examined += count;
            for at in (0..count).rev() {
                if self.devices(run)[at].expired(now_s) {
                    run = self.take_device(run, at);
                    removed += 1;
                }
            }
        }
        removed
    }

    /// Inserts or overwrites devices that own nothing outside themselves (packed id, no IPv6
    /// contact, known next hop), all of one identity: the bulk path of loaders.
    pub(crate) fn insert_plain(
        &mut self,
        identity: Identity,
        devices: &[Device],
    ) -> Result<(), IndexError> {
        let run = self.lookup(identity);
        if !run.is_some() && devices.len() <= 16 && distinct(devices) {
            return self.add(identity, run, devices);
        }
        for device in devices {
            let run = self.lookup(identity);
            let same = |held: &Device| {
                held.id == device.id && held.kind() == device.kind() && !held.has_text_id()
            };
            match self.devices(run).iter().position(same) {
                Some(at) => {
                    let held = self.devices(run)[at];
                    self.forget_contact(&held);
                    self.runs.devices_mut(run.0)[at] = *device;
                }
                None => self.add(identity, run, &[*device])?,
            }
        }
        Ok(())
    }

    /// Starts loading the bucket of an identity that is about to be inserted or looked up.
    #[inline]
    pub(crate) fn prefetch(&self, identity: Identity) {
        self.directory
            .prefetch(self.directory.address(self.hash_of(identity)));
    }

    fn add(&mut self, identity: Identity, run: Run, fresh: &[Device]) -> Result<(), IndexError> {
        if self.devices(run).len() + fresh.len() > DEVICES_PER_IDENTITY_MAX {
            return Err(IndexError::DevicesFull);
        }
        let hash = self.hash_of(identity);
        if run.is_some() {
            let number = self.runs.append(run.0, fresh)?;
            if number != run.0 {
                self.directory.replace(hash, run.0, number);
            }
            return Ok(());
        }
        let number = self.runs.create(identity.key, identity.shape, fresh)?;
        let numbers = RunNumbers {
            runs: &self.runs,
            hash: self.hash,
        };
        let added = self.directory.insert(hash, number, &numbers);
        if let Err(refused) = added {
            self.runs.destroy(number);
            return Err(refused.into());
        }
        Ok(())
    }

    /// Takes a device out; returns the run from now on, [`Run::NONE`] when it was the last.
    fn take_device(&mut self, run: Run, at: usize) -> Run {
        let identity = self.identity(run);
        let device = self.devices(run)[at];
        self.forget(device);
        let number = self.runs.take_device(run.0, at);
        let hash = self.hash_of(identity);
        if number == 0 {
            self.directory.remove(hash, run.0);
            self.names.release(identity);
        } else if number != run.0 {
            self.directory.replace(hash, run.0, number);
        }
        Run(number)
    }

    fn position(&self, run: Run, id: &DeviceId<'_>) -> Option<usize> {
        let devices = self.devices(run).iter();
        match id {
            DeviceId::Packed { kind, bytes } => devices
                .enumerate()
                .find(|(_, held)| held.id == *bytes && held.kind() == *kind && !held.has_text_id())
                .map(|(at, _)| at),
            DeviceId::Text { kind, text } => {
                let digest = self.text_digest(text);
                devices
                    .enumerate()
                    .filter(|(_, held)| held.has_text_id() && held.kind() == *kind)
                    .find(|(_, held)| held.id[8..] == digest && self.device_id_text(held) == *text)
                    .map(|(at, _)| at)
            }
        }
    }

    fn text_digest(&self, text: &[u8]) -> [u8; 8] {
        self.hash.hash_text(0, text).to_le_bytes()
    }

    fn check(&self, entry: &DeviceEntry<'_>) -> Result<(), IndexError> {
        if let DeviceId::Text { text, .. } = entry.id
            && text.len() > DEVICE_TEXT_MAX
        {
            return Err(IndexError::DeviceIdLength);
        }
        self.check_route(entry.next_hop, entry.contact.is_some())
    }

    fn check_route(&self, next_hop: u16, has_contact: bool) -> Result<(), IndexError> {
        if next_hop == NEXT_HOP_DIRECT {
            return if has_contact {
                Ok(())
            } else {
                Err(IndexError::ContactMissing)
            };
        }
        let known = usize::from(next_hop) < self.hops.len();
        if known {
            Ok(())
        } else {
            Err(IndexError::NextHopUnknown)
        }
    }

    fn store(&mut self, entry: &DeviceEntry<'_>) -> Result<Device, IndexError> {
        let mut device = match entry.id {
            DeviceId::Packed { bytes, .. } => Device::new(bytes, false, entry),
            DeviceId::Text { text, .. } => {
                let mut id = [0; 16];
                id[..4].copy_from_slice(&self.device_texts.keep(0, text)?.to_le_bytes());
                id[8..].copy_from_slice(&self.text_digest(text));
                Device::new(id, true, entry)
            }
        };
        let contact = entry.contact.map(|contact| self.store_contact(contact));
        device.put_contact(contact);
        Ok(device)
    }

    fn overwrite(&mut self, run: Run, at: usize, entry: &DeviceEntry<'_>) {
        let held = self.devices(run)[at];
        self.forget_contact(&held);
        let mut device = Device::new(held.id, held.has_text_id(), entry);
        let contact = entry.contact.map(|contact| self.store_contact(contact));
        device.put_contact(contact);
        self.runs.devices_mut(run.0)[at] = device;
    }

    fn store_contact(&mut self, contact: SocketAddr) -> StoredContact {
        let port = contact.port();
        let address = match contact.ip() {
            IpAddr::V4(address) => {
                return StoredContact {
                    ip: address.to_bits(),
                    port,
                    ipv6: false,
                };
            }
            IpAddr::V6(address) => address,
        };
        let number = match self.contacts_v6_free.pop() {
            Some(number) => {
                self.contacts_v6[number as usize] = address;
                number
            }
            None => {
                self.contacts_v6.push(address);
                self.contacts_v6.len() as u32 - 1
            }
        };
        StoredContact {
            ip: number,
            port,
            ipv6: true,
        }
    }

    fn forget_contact(&mut self, device: &Device) {
        if device.has_ipv6_contact() {
            self.contacts_v6_free.push(device.contact_ip);
        }
    }

    /// Frees what a device owns outside itself.
    fn forget(&mut self, device: Device) {
        self.forget_contact(&device);
        if device.has_text_id() {
            self.device_texts.release(text_number(&device.id));
        }
    }
}

/// The runs, as the directory sees them.
struct RunNumbers<'a> {
    runs: &'a RunHeap,
    hash: HashKey,
}

impl Numbers for RunNumbers<'_> {
    #[inline]
    fn hash(&self, number: u32) -> u64 {
        let header = self.runs.header(number);
        self.hash.hash_packed(header.key, header.shape())
    }

    #[inline]
    fn prefetch(&self, number: u32) {
        self.runs.prefetch_header(number);
    }
}

/// Whether no two of a few devices have the same id.
fn distinct(devices: &[Device]) -> bool {
    let same = |a: &Device, b: &Device| a.id == b.id && a.kind() == b.kind();
    devices
        .iter()
        .enumerate()
        .all(|(at, a)| !devices[..at].iter().any(|b| same(a, b)))
}
