//! User identity -> devices: the index that dispatch resolves orders with.
//!
//! One [`Index`] belongs to one shard and one thread. It answers batched, prefetched lookups
//! while devices are inserted, updated, removed and expire; `population` fills it from text and
//! `snapshot` from a checksummed file. It opens no socket, reads no clock and knows no protocol:
//! a device id is a kind and 16 bytes, or text. Layout: docs/decisions/0002-index-layout.md.

mod bucket;
mod device;
mod directory;
mod edit;
mod hash;
mod identity;
mod index;
mod memory;
mod names;
pub mod population;
mod runs;
mod snapshot;
mod texts;

pub use device::{
    Bearer, Change, DEVICE_TEXT_MAX, Device, DeviceEntry, DeviceId, DeviceKind, EXPIRES_NEVER,
    NEXT_HOP_DIRECT, PREFERENCE_MAX,
};
pub use directory::WalkCursor;
pub use edit::Inserted;
pub use identity::{AOR_MAX, AorError, Identity, IdentityText};
pub use index::{Index, IndexError, NEXT_HOPS_MAX, Occupancy};
pub use names::SHAPES_MAX;
pub use runs::{DEVICES_PER_IDENTITY_MAX, Run};
pub use snapshot::SnapshotError;
