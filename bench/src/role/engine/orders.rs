//! What a recorded run keeps of the engine: a digest of the population, and the orders one by one with
//! their exact due times. The worker writes none of it while it runs: orders follow from the plan and its
//! changes, so they are made again after the drain and held against the digest of what was offered.
//!
//! The file is `sirocco.orders/1` and a line feed; then for each order the nanoseconds since the one
//! before, as LEB128, the identity's packed key, eight octets, low first, and its shape as LEB128.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use sirocco_dispatch::load::{Load, Offered, Wanted};
use sirocco_index::{Identity, Index, WalkCursor};
use sirocco_schedule::{Digest, Plan};

/// First line of a file of orders.
const MAGIC: &[u8] = b"sirocco.orders/1\n";
/// Identities looked at together.
const BATCH: usize = 256;

/// What orders are made of once more.
pub struct Orders {
    /// Where they go.
    pub path: PathBuf,
    /// Everybody, in the order of the schedule.
    pub identities: Arc<[Identity]>,
    /// Which of their devices.
    pub wanted: Wanted,
    /// Where due times come from; none where windows set the pace.
    pub plan: Option<Plan>,
}

impl Orders {
    /// Writes every order that was offered.
    ///
    /// # Errors
    /// The system's, and when the orders made again are not those that were offered.
    pub fn write(self, offered: &Offered) -> io::Result<()> {
        let plan = self.plan.map(|plan| Plan {
            steers: offered.steers.clone(),
            entries_max: offered.digest.entries,
            ..plan
        });
        let mut load = match &plan {
            Some(plan) => Load::planned(self.identities, self.wanted, Some(plan)),
            None => Load::new(self.identities, self.wanted, None, offered.digest.entries),
        };
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&self.path)?);
        out.write_all(MAGIC)?;
        let mut before_ns = 0;
        // Without a plan all is due at the begin.
        let now = plan.as_ref().map_or(0, |_| u64::MAX - 1);
        while let Some((identity, due_ns, _)) = load.take(now) {
            leb128(&mut out, due_ns - before_ns)?;
            out.write_all(&identity.key.to_le_bytes())?;
            leb128(&mut out, u64::from(identity.shape))?;
            before_ns = due_ns;
        }
        out.flush()?;
        if load.offered().digest == offered.digest {
            return Ok(());
        }
        Err(io::Error::other(
            "the orders made again are not those that were offered",
        ))
    }
}

fn leb128(out: &mut impl Write, mut value: u64) -> io::Result<()> {
    let mut octets = [0; 10];
    let mut length = 0;
    loop {
        octets[length] = (value & 0x7f) as u8;
        value >>= 7;
        length += 1;
        if value == 0 {
            return out.write_all(&octets[..length]);
        }
        octets[length - 1] |= 0x80;
    }
}

/// A digest of everybody and of their devices, whatever their order in memory: identity, device id and
/// next hop of each.
#[must_use]
pub fn population(index: &Index) -> Digest {
    let (mut cursor, mut runs) = (WalkCursor::START, Vec::new());
    let mut sum = Digest {
        word: 0,
        entries: 0,
    };
    while !cursor.finished() {
        cursor = index.walk(cursor, BATCH, &mut runs);
        for &run in &runs {
            let identity = index.identity(run);
            let mut one = Digest::default();
            one.add(identity.key, u64::from(identity.shape));
            for device in index.devices(run) {
                let id = u128::from_le_bytes(*device.packed_id());
                one.add(id as u64, (id >> 64) as u64);
                one.add(u64::from(device.next_hop), 0);
            }
            sum.word = sum.word.wrapping_add(one.word);
            sum.entries += 1;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use sirocco_schedule::{Arrivals, Shape, Steer, Steered};

    #[test]
    fn numbers_are_as_long_as_they_need() {
        let mut out = Vec::new();
        for value in [0, 127, 128, u64::MAX] {
            leb128(&mut out, value).unwrap();
        }
        let most = [[0xff; 9].as_slice(), &[1]].concat();
        assert_eq!(out, [&[0, 127, 0x80, 1][..], &most].concat());
    }

    #[test]
    fn orders_are_those_of_the_digest_or_refused() {
        let identities: Arc<[Identity]> = (0..5).map(|key| Identity { key, shape: 0 }).collect();
        let shape: Shape = "hold 1k/20ms".parse().unwrap();
        let plan = Plan {
            arrivals: Arrivals::Poisson,
            ..Plan::new(shape)
        };
        let steer = Steered {
            at_ns: 5_000_000,
            change: Steer::Scale(2.0),
        };
        let steered = Plan {
            steers: vec![steer],
            ..plan.clone()
        };
        let mut load = Load::planned(Arc::clone(&identities), Wanted::All, Some(&steered));
        while load.take(u64::MAX - 1).is_some() {}
        let path = std::env::temp_dir().join(format!("sirocco-orders-{}", std::process::id()));
        let orders = |identities: &Arc<[Identity]>| Orders {
            path: path.clone(),
            identities: Arc::clone(identities),
            wanted: Wanted::All,
            plan: Some(plan.clone()),
        };
        let offered = load.offered();
        orders(&identities).write(&offered).unwrap();
        let written = std::fs::read(&path).unwrap();
        assert!(written.starts_with(MAGIC));
        assert!(written.len() as u64 > offered.digest.entries * 10);
        let others: Arc<[Identity]> = identities[1..].into();
        assert!(orders(&others).write(&offered).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
