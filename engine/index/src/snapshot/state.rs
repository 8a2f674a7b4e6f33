//! The small sections of a snapshot: sizes and free lists, domains, next hops, IPv6 contacts.
//!
//! Decoding trusts nothing: a section that passed its CRC and still makes no sense is refused.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::directory::DIRECTORY_STATE;
use crate::hash::HashKey;
use crate::identity::AOR_MAX;
use crate::index::{Index, IndexError};
use crate::runs::RUNS_STATE;
use crate::texts::TEXTS_STATE;

/// Small sections.
pub(super) const SMALL: usize = 4;

/// Bytes of a next hop: an IPv6 or mapped address, port, and whether it is IPv4.
const HOP_BYTES: usize = 19;

/// Why sections make no index.
pub(super) enum Refused {
    Content,
    Index(IndexError),
}

impl From<IndexError> for Refused {
    fn from(error: IndexError) -> Self {
        Refused::Index(error)
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Refused::Content,
            _ => Refused::Index(error.into()),
        }
    }
}

pub(super) fn encode(index: &Index) -> [Vec<u8>; SMALL] {
    let words = index.hash.0.into_iter();
    let words = words
        .chain(index.directory.state())
        .chain(index.runs.state());
    let words = words
        .chain(index.names.directory.state())
        .chain(index.names.texts.state());
    let words = words.chain(index.device_texts.state());
    let mut shapes = Vec::new();
    for shape in &index.names.shapes {
        shapes.extend_from_slice(&[shape.prefix_len as u8, shape.text.len() as u8]);
        shapes.extend_from_slice(&shape.text);
    }
    let mut hops = Vec::new();
    for hop in &index.hops {
        let address = match hop.ip() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        hops.extend_from_slice(&address.octets());
        hops.extend_from_slice(&hop.port().to_le_bytes());
        hops.push(u8::from(hop.is_ipv4()));
    }
    let mut contacts = (index.contacts_v6.len() as u64).to_le_bytes().to_vec();
    contacts.extend(index.contacts_v6.iter().flat_map(Ipv6Addr::octets));
    contacts.extend(
        index
            .contacts_v6_free
            .iter()
            .flat_map(|number| number.to_le_bytes()),
    );
    [
        words.flat_map(u64::to_le_bytes).collect(),
        shapes,
        hops,
        contacts,
    ]
}

pub(super) fn decode(small: &[Vec<u8>; SMALL]) -> Result<Index, Refused> {
    let [state, shapes, hops, contacts] = small;
    let mut words = state.chunks_exact(8).map(|bytes| {
        bytes
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
    });
    let mut index = Index::with_hash_key(0, HashKey(take(&mut words)?))?;
    index
        .directory
        .resize(take::<DIRECTORY_STATE>(&mut words)?)?;
    index.runs.resize(&take::<RUNS_STATE>(&mut words)?)?;
    index
        .names
        .directory
        .resize(take::<DIRECTORY_STATE>(&mut words)?)?;
    index
        .names
        .texts
        .resize(&take::<TEXTS_STATE>(&mut words)?)?;
    index
        .device_texts
        .resize(&take::<TEXTS_STATE>(&mut words)?)?;
    if words.next().is_some() || state.len() % 8 != 0 {
        return Err(Refused::Content);
    }
    decode_shapes(shapes, &mut index)?;
    decode_hops(hops, &mut index)?;
    decode_contacts(contacts, &mut index)?;
    Ok(index)
}

fn take<const N: usize>(words: &mut impl Iterator<Item = u64>) -> Result<[u64; N], Refused> {
    let mut taken = [0; N];
    for word in &mut taken {
        *word = words.next().ok_or(Refused::Content)?;
    }
    Ok(taken)
}

fn decode_shapes(mut bytes: &[u8], index: &mut Index) -> Result<(), Refused> {
    while let [prefix_len, length, rest @ ..] = bytes {
        let (text, rest) = rest
            .split_at_checked(usize::from(*length))
            .ok_or(Refused::Content)?;
        let parts = text
            .split_at_checked(usize::from(*prefix_len))
            .ok_or(Refused::Content)?;
        let expected = index.names.shapes.len();
        if text.len() > AOR_MAX || index.names.intern_shape(parts.0, parts.1)? as usize != expected
        {
            return Err(Refused::Content);
        }
        bytes = rest;
    }
    if bytes.is_empty() {
        Ok(())
    } else {
        Err(Refused::Content)
    }
}

fn decode_hops(bytes: &[u8], index: &mut Index) -> Result<(), Refused> {
    let (hops, rest) = bytes.as_chunks::<HOP_BYTES>();
    for (number, hop) in hops.iter().enumerate() {
        let [address @ .., low, high, is_ipv4] = hop;
        let address = Ipv6Addr::from(*address);
        let ip = match (is_ipv4, address.to_ipv4_mapped()) {
            (0, _) => IpAddr::V6(address),
            (1, Some(address)) => IpAddr::V4(address),
            _ => return Err(Refused::Content),
        };
        let address = SocketAddr::new(ip, u16::from_le_bytes([*low, *high]));
        if usize::from(index.intern_next_hop(address)?) != number {
            return Err(Refused::Content);
        }
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(Refused::Content)
    }
}

fn decode_contacts(bytes: &[u8], index: &mut Index) -> Result<(), Refused> {
    let (count, rest) = bytes.split_first_chunk::<8>().ok_or(Refused::Content)?;
    let length = u64::from_le_bytes(*count)
        .checked_mul(16)
        .ok_or(Refused::Content)?;
    let (addresses, free) = rest
        .split_at_checked(length as usize)
        .ok_or(Refused::Content)?;
    index.contacts_v6 = addresses
        .as_chunks()
        .0
        .iter()
        .map(|&octets| octets.into())
        .collect();
    let (free, rest) = free.as_chunks();
    index.contacts_v6_free = free
        .iter()
        .map(|&bytes| u32::from_le_bytes(bytes))
        .collect();
    let within = |&number: &u32| (number as usize) < index.contacts_v6.len();
    let sound = rest.is_empty() && index.contacts_v6_free.iter().all(within);
    if sound { Ok(()) } else { Err(Refused::Content) }
}
