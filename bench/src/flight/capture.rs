//! The capture: every kept datagram as a packet of its own, in the order of time, as pcap with raw IP.
//!
//! Headers and checksums are etherparse's; the file is a head of 24 octets and 16 before each packet, which is
//! less than the interface of a crate for it. No segments: each SIR of a train left as a datagram, and is one
//! here. Called by `flight` alone.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use etherparse::PacketBuilder;
use sirocco_dispatch::flight::{Flight, FlightLog, Step};

use super::Origin;

/// Nanosecond timestamps in the byte order of the writer (draft-ietf-opsawg-pcap 4).
const MAGIC: u32 = 0xa1b2_3c4d;
/// Packets begin with an IPv4 or IPv6 header (LINKTYPE_RAW of the tcpdump group's registry).
const LINK_TYPE_RAW: u32 = 101;
/// Longest packet.
const SNAP_LENGTH: u32 = 65_535;
/// The usual hop limit of Linux (`net.ipv4.ip_default_ttl`).
const HOP_LIMIT: u8 = 64;

/// One datagram.
struct Packet<'a> {
    at_ns: u64,
    from: SocketAddr,
    to: SocketAddr,
    payload: &'a [u8],
}

/// Writes the capture of a log.
///
/// # Errors
/// What the writer says.
pub fn write(log: &FlightLog, origin: Origin, out: &mut impl Write) -> io::Result<()> {
    for word in [MAGIC, 2 | 4 << 16, 0, 0, SNAP_LENGTH, LINK_TYPE_RAW] {
        out.write_all(&word.to_le_bytes())?;
    }
    let mut packets: Vec<Packet<'_>> = log
        .flights
        .iter()
        .flat_map(|flight| packets(flight, origin))
        .collect();
    packets.sort_by_key(|packet| packet.at_ns);
    for packet in packets {
        let unix_ns = origin.unix_ns(packet.at_ns);
        let octets = encoded(&packet)?;
        let length = octets.len() as u32;
        let seconds = (unix_ns / 1_000_000_000) as u32;
        for word in [seconds, (unix_ns % 1_000_000_000) as u32, length, length] {
            out.write_all(&word.to_le_bytes())?;
        }
        out.write_all(&octets)?;
    }
    Ok(())
}

fn packets(flight: &Flight, origin: Origin) -> impl Iterator<Item = Packet<'_>> {
    flight.events().iter().filter_map(move |event| {
        let payload = flight.octets(event);
        let (from, to) = match event.step {
            Step::Sent => (origin.local, event.peer),
            Step::Received => (event.peer, origin.local),
            Step::Provisional(_) | Step::Failed => return None,
        };
        let at_ns = event.at_ns;
        (!payload.is_empty()).then_some(Packet {
            at_ns,
            from,
            to,
            payload,
        })
    })
}

/// A datagram with its UDP and IP headers.
fn encoded(packet: &Packet<'_>) -> io::Result<Vec<u8>> {
    let mut octets = Vec::with_capacity(packet.payload.len() + 48);
    let (from, to) = (packet.from.ip(), packet.to.ip());
    let builder = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            PacketBuilder::ipv4(from.octets(), to.octets(), HOP_LIMIT)
        }
        _ => PacketBuilder::ipv6(sixteen(from), sixteen(to), HOP_LIMIT),
    };
    builder
        .udp(packet.from.port(), packet.to.port())
        .write(&mut octets, packet.payload)
        .map_err(io::Error::other)?;
    Ok(octets)
}

/// An address as IPv6 has it.
fn sixteen(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use sirocco_dispatch::flight::{Recorder, Subject};

    fn log(local: &str, peer: &str, times: &[u64]) -> (FlightLog, Origin) {
        let mut recorder = Recorder::new(4);
        let (local, peer) = (local.parse().unwrap(), peer.parse().unwrap());
        for &at_ns in times {
            let flight = recorder.begin(at_ns, (Subject::Sir, 486), true).unwrap();
            let sent = flight.keep(|out| out.extend_from_slice(b"asked"));
            let came = flight.keep(|out| out.extend_from_slice(b"refused!"));
            flight.add(at_ns, Step::Sent, peer, sent);
            flight.add(at_ns + 5, Step::Received, peer, came);
            flight.add(at_ns + 5, Step::Failed, peer, (0, 0));
        }
        let epoch_ns = 1_700_000_000_000_000_000;
        (recorder.log(), Origin { local, epoch_ns })
    }

    /// Times and packets of a capture.
    fn read(capture: &[u8]) -> Vec<(u64, &[u8])> {
        let word = |at: usize| u32::from_le_bytes(capture[at..at + 4].try_into().unwrap());
        assert_eq!(
            (word(0), word(4), word(20)),
            (MAGIC, 0x0004_0002, LINK_TYPE_RAW)
        );
        let (mut at, mut packets) = (24, Vec::new());
        while at < capture.len() {
            let length = word(at + 8) as usize;
            assert_eq!(length, word(at + 12) as usize);
            let time = u64::from(word(at)) * 1_000_000_000 + u64::from(word(at + 4));
            packets.push((time, &capture[at + 16..at + 16 + length]));
            at += 16 + length;
        }
        packets
    }

    #[test]
    fn packets_are_whole_datagrams_of_both_ways_in_the_order_of_time() {
        for (local, peer) in [
            ("192.0.2.1:5070", "192.0.2.9:5060"),
            ("[2001:db8::1]:7", "[2001:db8::2]:9"),
        ] {
            let (log, origin) = log(local, peer, &[1_000, 1_003]);
            let mut out = Vec::new();
            write(&log, origin, &mut out).unwrap();
            let packets = read(&out);
            let times: Vec<_> = packets
                .iter()
                .map(|(time, _)| time - origin.epoch_ns)
                .collect();
            assert_eq!(times, [1_000, 1_003, 1_005, 1_008]);
            let sliced = SlicedPacket::from_ip(packets[2].1).unwrap();
            let Some(TransportSlice::Udp(udp)) = sliced.transport else {
                panic!("no UDP")
            };
            assert_eq!(udp.payload(), b"refused!");
            assert_eq!(udp.destination_port(), origin.local.port());
            assert!(matches!(
                (sliced.net, origin.local),
                (Some(NetSlice::Ipv4(_)), SocketAddr::V4(_))
                    | (Some(NetSlice::Ipv6(_)), SocketAddr::V6(_))
            ));
        }
    }

    #[test]
    fn an_ipv6_socket_that_hears_ipv4_is_written_with_mapped_addresses() {
        let (log, origin) = log("[::ffff:192.0.2.1]:5070", "192.0.2.9:5060", &[1]);
        let mut out = Vec::new();
        write(&log, origin, &mut out).unwrap();
        let sliced = SlicedPacket::from_ip(read(&out)[0].1).unwrap();
        let Some(NetSlice::Ipv6(ip)) = sliced.net else {
            panic!("no IPv6")
        };
        let expected = "::ffff:192.0.2.9".parse::<std::net::Ipv6Addr>().unwrap();
        assert_eq!(ip.header().destination_addr(), expected);
    }
}
