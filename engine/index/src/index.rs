//! The index of one shard: user identity -> devices, the reading half.
//!
//! Looks up single identities, batches and everything; `edit` has inserts, updates, removals and
//! expiry. No operation costs more than one bucket and one identity's devices, so dispatching
//! goes on between them. Each worker owns its index alone. Called by dispatch and `population`.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::bucket::tag_of;
use crate::device::{Device, NEXT_HOP_DIRECT};
use crate::directory::{Directory, WalkCursor};
use crate::hash::HashKey;
use crate::identity::{AOR_MAX, AorError, AorParts, Identity, IdentityText, canonical, split};
use crate::names::Names;
use crate::runs::{Run, RunHeap};
use crate::texts::TextHeap;

/// Next hops at most: a device keeps 16 bits, of which one value means its own contact.
pub const NEXT_HOPS_MAX: usize = NEXT_HOP_DIRECT as usize;

/// Identities whose cache lines are in flight together; more would only evict each other's
/// lines from the fill buffers of one core.
const LOOKUP_BATCH: usize = 64;

/// Why the index refused something.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The kernel refused memory or address space.
    #[error("the index cannot grow ({0}): give the machine more memory or lift `ulimit -v`")]
    Memory(#[from] io::Error),
    /// The text is not a user identity.
    #[error(transparent)]
    Aor(#[from] AorError),
    /// Too many (prefix, suffix) pairs.
    #[error("more than 2^20 different domains: use fewer, or more shards")]
    ShapesFull,
    /// Too many next hops.
    #[error("more than 65535 different next hops: group devices behind fewer edges")]
    NextHopsFull,
    /// A device names a next hop that was never interned.
    #[error("device refers to a next hop that was not interned")]
    NextHopUnknown,
    /// A direct device has no address.
    #[error("device without next hop has no contact: give it one of the two")]
    ContactMissing,
    /// A device id is too long.
    #[error("device id is longer than 255 octets")]
    DeviceIdLength,
    /// An identity has too many devices.
    #[error("identity has 2^20 devices already")]
    DevicesFull,
}

/// How full an index is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Occupancy {
    /// Identities held.
    pub identities: usize,
    /// Devices held.
    pub devices: usize,
    /// Bytes of memory occupied.
    pub memory_bytes: usize,
    /// Bytes of it in freed blocks.
    pub free_bytes: usize,
    /// Octets of identities and device ids kept as text.
    pub text_bytes: usize,
    /// Table buckets on overflow chains.
    pub overflow_buckets: usize,
    /// Buckets of the longest chain.
    pub chain_buckets_longest: usize,
}

/// The index of one shard.
pub struct Index {
    pub(crate) hash: HashKey,
    pub(crate) directory: Directory,
    pub(crate) runs: RunHeap,
    pub(crate) names: Names,
    pub(crate) device_texts: TextHeap,
    pub(crate) hops: Vec<SocketAddr>,
    hop_numbers: HashMap<SocketAddr, u16>,
    pub(crate) contacts_v6: Vec<Ipv6Addr>,
    pub(crate) contacts_v6_free: Vec<u32>,
    pub(crate) sweep_position: usize,
}

impl Index {
    /// An empty index that holds `identities_hint` identities before its table first grows.
    ///
    /// # Errors
    /// [`IndexError::Memory`] when the kernel refuses address space.
    pub fn new(identities_hint: usize) -> Result<Self, IndexError> {
        Self::with_hash_key(identities_hint, HashKey::random())
    }

    /// An empty index under a known hash key: walks go alike in each run, as a simulation needs.
    /// Whoever knows the key can flood its table, so nothing that listens may use it.
    ///
    /// # Errors
    /// [`IndexError::Memory`] when the kernel refuses address space.
    pub fn with_known_key(identities_hint: usize, key: [u64; 2]) -> Result<Self, IndexError> {
        Self::with_hash_key(identities_hint, HashKey(key))
    }

    pub(crate) fn with_hash_key(hint: usize, hash: HashKey) -> Result<Self, IndexError> {
        Ok(Index {
            hash,
            directory: Directory::new(hint)?,
            runs: RunHeap::new()?,
            names: Names::new(hash)?,
            device_texts: TextHeap::new()?,
            hops: Vec::new(),
            hop_numbers: HashMap::new(),
            contacts_v6: Vec::new(),
            contacts_v6_free: Vec::new(),
            sweep_position: 0,
        })
    }

    /// Identities held.
    pub fn len(&self) -> usize {
        self.directory.len()
    }

    /// Whether no identity is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Devices held.
    pub fn devices_len(&self) -> usize {
        self.runs.devices_len()
    }

    /// Bytes of memory the index occupies, free blocks included, in whole pages.
    pub fn memory_bytes(&self) -> usize {
        let hops = self.hops.capacity() * size_of::<SocketAddr>()
            + self.hop_numbers.capacity() * (size_of::<(SocketAddr, u16)>() + 1);
        let contacts = self.contacts_v6.capacity() * size_of::<Ipv6Addr>()
            + self.contacts_v6_free.capacity() * size_of::<u32>();
        let tables = self.directory.memory_bytes() + self.names.memory_bytes();
        tables + self.runs.memory_bytes() + self.device_texts.memory_bytes() + hops + contacts
    }

    /// How full the index is, for reports; looks at every bucket.
    pub fn occupancy(&self) -> Occupancy {
        Occupancy {
            identities: self.len(),
            devices: self.devices_len(),
            memory_bytes: self.memory_bytes(),
            free_bytes: self.free_bytes(),
            text_bytes: self.names.texts.live_bytes() + self.device_texts.live_bytes(),
            overflow_buckets: self.directory.overflow_len(),
            chain_buckets_longest: self.directory.chain_max(),
        }
    }

    /// Bytes in blocks that were freed and wait for reuse.
    pub fn free_bytes(&self) -> usize {
        self.runs.free_bytes() + self.names.texts.free_bytes() + self.device_texts.free_bytes()
    }

    /// Packs a user identity for lookup. `None`: not an AOR, or one this index cannot hold,
    /// so no identity of it is known.
    pub fn pack(&self, text: &[u8]) -> Option<Identity> {
        // A number in canonical surroundings, which is what nearly all are, needs no rewriting.
        if let Ok(AorParts {
            prefix,
            user_end,
            digits: Some(key),
        }) = split(text)
            && let Some(shape) = self.names.find_shape(&text[..prefix], &text[user_end..])
        {
            return Some(Identity { key, shape });
        }
        let mut out = [0; AOR_MAX];
        let (length, parts) = canonical(text, &mut out).ok()?;
        let text = &out[..length];
        let shape = self
            .names
            .find_shape(&text[..parts.prefix], &text[parts.user_end..])?;
        let key = match parts.digits {
            Some(key) => key,
            None => self
                .names
                .find_text(shape, &text[parts.prefix..parts.user_end])?,
        };
        Some(Identity { key, shape })
    }

    /// Packs a user identity for an insert, keeping its shape and text. A text that gets no
    /// device stays until [`Index::remove_identity`].
    ///
    /// # Errors
    /// [`IndexError::Aor`], [`IndexError::ShapesFull`] or [`IndexError::Memory`].
    pub fn intern(&mut self, text: &[u8]) -> Result<Identity, IndexError> {
        let mut out = [0; AOR_MAX];
        let (length, parts) = canonical(text, &mut out)?;
        let text = &out[..length];
        let shape = self
            .names
            .intern_shape(&text[..parts.prefix], &text[parts.user_end..])?;
        let key = match parts.digits {
            Some(key) => key,
            None => self
                .names
                .intern_text(shape, &text[parts.prefix..parts.user_end])?,
        };
        Ok(Identity { key, shape })
    }

    /// The text of `identity` in three parts; `digits` is scratch space.
    #[inline]
    pub fn unpack<'a>(&'a self, identity: Identity, digits: &'a mut [u8; 16]) -> IdentityText<'a> {
        self.names.text(identity, digits)
    }

    /// The next-hop table; [`Device::next_hop`] indexes it.
    #[inline]
    pub fn next_hops(&self) -> &[SocketAddr] {
        &self.hops
    }

    /// The number of a next hop, which is added when it is new.
    ///
    /// # Errors
    /// [`IndexError::NextHopsFull`].
    pub fn intern_next_hop(&mut self, address: SocketAddr) -> Result<u16, IndexError> {
        if let Some(&number) = self.hop_numbers.get(&address) {
            return Ok(number);
        }
        if self.hops.len() == NEXT_HOPS_MAX {
            return Err(IndexError::NextHopsFull);
        }
        let number = self.hops.len() as u16;
        self.hops.push(address);
        self.hop_numbers.insert(address, number);
        Ok(number)
    }

    #[inline]
    pub(crate) fn hash_of(&self, identity: Identity) -> u64 {
        self.hash.hash_packed(identity.key, identity.shape)
    }

    #[inline]
    fn is_run_of(&self, number: u32, identity: Identity) -> bool {
        let header = self.runs.header(number);
        header.key == identity.key && header.shape() == identity.shape
    }

    /// The devices of one identity, or [`Run::NONE`].
    #[inline]
    pub fn lookup(&self, identity: Identity) -> Run {
        let hash = self.hash_of(identity);
        Run(self
            .directory
            .find(hash, |number| self.is_run_of(number, identity))
            .unwrap_or(0))
    }

    /// The devices of each identity, in order, into `out` (cleared first). Three passes, so
    /// that the cache misses of a batch overlap: buckets, then runs, then comparison.
    pub fn lookup_batch(&self, identities: &[Identity], out: &mut Vec<Run>) {
        out.clear();
        out.reserve(identities.len());
        for batch in identities.chunks(LOOKUP_BATCH) {
            let mut hashes = [0u64; LOOKUP_BATCH];
            let mut candidates = [0u32; LOOKUP_BATCH];
            for (hash, &identity) in hashes.iter_mut().zip(batch) {
                *hash = self.hash_of(identity);
                self.directory.prefetch(self.directory.address(*hash));
            }
            for (candidate, &hash) in candidates.iter_mut().zip(&hashes[..batch.len()]) {
                *candidate = self
                    .directory
                    .candidate(self.directory.address(hash), tag_of(hash));
                self.runs.prefetch(*candidate);
            }
            for ((&identity, &hash), &candidate) in batch.iter().zip(&hashes).zip(&candidates) {
                if candidate != 0 && self.is_run_of(candidate, identity) {
                    out.push(Run(candidate));
                } else {
                    let is_wanted = |number| self.is_run_of(number, identity);
                    out.push(Run(self.directory.find(hash, is_wanted).unwrap_or(0)));
                }
            }
        }
    }

    /// The devices of a run; empty for [`Run::NONE`].
    #[inline]
    pub fn devices(&self, run: Run) -> &[Device] {
        self.runs.devices(run.0)
    }

    /// The identity that a run (not [`Run::NONE`]) belongs to.
    #[inline]
    pub fn identity(&self, run: Run) -> Identity {
        let header = self.runs.header(run.0);
        Identity {
            key: header.key,
            shape: header.shape(),
        }
    }

    /// The text of a device id that is not packed; empty for a packed one.
    #[inline]
    pub fn device_id_text(&self, device: &Device) -> &[u8] {
        if !device.has_text_id() {
            return &[];
        }
        self.device_texts
            .find(text_number(&device.id))
            .map_or(&[][..], |(_, text)| text)
    }

    /// The contact address of a device.
    #[inline]
    pub fn contact(&self, device: &Device) -> Option<SocketAddr> {
        if !device.has_ipv6_contact() {
            return device.contact_v4();
        }
        let address = self.contacts_v6.get(device.contact_ip as usize)?;
        Some(SocketAddr::new(IpAddr::V6(*address), device.contact_port))
    }

    /// Where a SIR to `device` goes: its next hop, or its contact when it is direct.
    #[inline]
    pub fn target(&self, device: &Device) -> Option<SocketAddr> {
        if device.next_hop == NEXT_HOP_DIRECT {
            return self.contact(device);
        }
        self.hops.get(usize::from(device.next_hop)).copied()
    }

    /// Visits the runs of at least `budget` identities (a few bucket chains more, or fewer at
    /// the end) into `out` (cleared first), prefetched, and returns where to go on. An identity
    /// held during the whole walk is visited exactly once, whatever changes meanwhile.
    pub fn walk(&self, cursor: WalkCursor, budget: usize, out: &mut Vec<Run>) -> WalkCursor {
        out.clear();
        self.directory.walk(cursor, budget, |number| {
            self.runs.prefetch(number);
            out.push(Run(number));
        })
    }

    /// All identities, in the order of memory.
    pub fn keys(&self) -> impl Iterator<Item = Identity> + '_ {
        let mut position = 0;
        std::iter::from_fn(move || {
            let (number, after) = self.runs.next_live(position)?;
            position = after;
            Some(self.identity(Run(number)))
        })
    }
}

pub(crate) fn text_number(id: &[u8; 16]) -> u32 {
    u32::from_le_bytes([id[0], id[1], id[2], id[3]])
}

#[cfg(test)]
mod tests;
