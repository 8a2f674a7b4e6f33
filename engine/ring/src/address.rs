//! Socket addresses and control messages as the kernel's octets, written and read with checked
//! slices only. Layouts: ip(7), ipv6(7), udp(7), cmsg(3). Called by `envelope` and `arrival`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Octets of the longest address written: struct sockaddr_in6.
pub(crate) const NAME_BYTES: usize = 28;

/// Octets of a control message's header on 64-bit Linux: length (8), level (4), type (4).
const CONTROL_HEADER_BYTES: usize = 16;

/// Writes `address` as sockaddr_in or sockaddr_in6 and returns its length.
#[inline]
pub(crate) fn encode(address: SocketAddr, name: &mut [u8; NAME_BYTES]) -> u32 {
    match address {
        SocketAddr::V4(v4) => {
            name[0..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            name[2..4].copy_from_slice(&v4.port().to_be_bytes());
            name[4..8].copy_from_slice(&v4.ip().octets());
            name[8..16].fill(0);
            16
        }
        SocketAddr::V6(v6) => {
            name[0..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            name[2..4].copy_from_slice(&v6.port().to_be_bytes());
            name[4..8].copy_from_slice(&v6.flowinfo().to_ne_bytes());
            name[8..24].copy_from_slice(&v6.ip().octets());
            name[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
            28
        }
    }
}

/// Reads a sockaddr_in or sockaddr_in6; None for anything else or too short.
#[inline]
pub(crate) fn decode(name: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(*name.first_chunk()?);
    let port = u16::from_be_bytes(*name.get(2..)?.first_chunk()?);
    match i32::from(family) {
        libc::AF_INET => {
            let octets: [u8; 4] = *name.get(4..)?.first_chunk()?;
            Some(SocketAddr::from((Ipv4Addr::from(octets), port)))
        }
        libc::AF_INET6 => {
            let flow = u32::from_ne_bytes(*name.get(4..)?.first_chunk()?);
            let octets: [u8; 16] = *name.get(8..)?.first_chunk()?;
            let scope = u32::from_ne_bytes(*name.get(24..)?.first_chunk()?);
            Some(SocketAddrV6::new(Ipv6Addr::from(octets), port, flow, scope).into())
        }
        _ => None,
    }
}

/// Appends one control message at `at` and returns where the next one begins.
#[inline]
fn append(control: &mut [u8], at: usize, level: i32, kind: i32, data: &[u8]) -> usize {
    let length = CONTROL_HEADER_BYTES + data.len();
    control[at..at + 8].copy_from_slice(&length.to_ne_bytes());
    control[at + 8..at + 12].copy_from_slice(&level.to_ne_bytes());
    control[at + 12..at + 16].copy_from_slice(&kind.to_ne_bytes());
    control[at + 16..at + length].copy_from_slice(data);
    at + length.next_multiple_of(8)
}

/// Writes UDP_SEGMENT (when `segment` is not 0) and the source address (when given); returns the length.
#[inline]
pub(crate) fn write_control(control: &mut [u8; 64], segment: u16, source: Option<IpAddr>) -> usize {
    let mut at = 0;
    if segment != 0 {
        let kind = libc::UDP_SEGMENT;
        at = append(control, at, libc::SOL_UDP, kind, &segment.to_ne_bytes());
    }
    match source {
        None => at,
        Some(IpAddr::V4(ip)) => {
            // struct in_pktinfo: interface index (0, any), the source wanted, unused.
            let mut info = [0; 12];
            info[4..8].copy_from_slice(&ip.octets());
            append(control, at, libc::IPPROTO_IP, libc::IP_PKTINFO, &info)
        }
        Some(IpAddr::V6(ip)) => {
            let mut info = [0; 20];
            info[..16].copy_from_slice(&ip.octets());
            append(control, at, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info)
        }
    }
}

/// What the control messages of a received datagram said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ControlRead {
    /// Octets of each segment of a train; 0 when it is a single datagram.
    pub(crate) segment: usize,
    /// The local address it came to.
    pub(crate) local: Option<IpAddr>,
}

/// Reads UDP_GRO, IP_PKTINFO and IPV6_PKTINFO; skips what it does not know, stops at nonsense.
#[inline]
pub(crate) fn read_control(mut control: &[u8]) -> ControlRead {
    let mut read = ControlRead::default();
    while let Some((header, rest)) = control.split_first_chunk::<CONTROL_HEADER_BYTES>() {
        let length = usize::from_ne_bytes(*header.first_chunk().expect("16 octets hold 8"));
        let level = i32::from_ne_bytes(*header[8..].first_chunk().expect("8 octets hold 4"));
        let kind = i32::from_ne_bytes(*header[12..].first_chunk().expect("4 octets hold 4"));
        let Some(data) = length
            .checked_sub(CONTROL_HEADER_BYTES)
            .and_then(|end| rest.get(..end))
        else {
            return read;
        };
        match (level, kind) {
            (libc::SOL_UDP, libc::UDP_GRO) => {
                let segment = data
                    .first_chunk()
                    .map_or(0, |octets| i32::from_ne_bytes(*octets));
                read.segment = usize::try_from(segment).unwrap_or(0);
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // The third field is the destination address in the IP header.
                let destination = data.get(8..).and_then(|tail| tail.first_chunk::<4>());
                read.local = destination.map(|octets| Ipv4Addr::from(*octets).into());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let destination = data.first_chunk::<16>();
                read.local = destination.map(|octets| Ipv6Addr::from(*octets).into());
            }
            _ => {}
        }
        control = control.get(length.next_multiple_of(8)..).unwrap_or(&[]);
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_round_trip() {
        for text in [
            "127.0.0.1:5060",
            "255.255.255.255:65535",
            "[::1]:1",
            "[fe80::1%7]:5061",
        ] {
            let address: SocketAddr = text.parse().unwrap();
            let mut name = [0xff; NAME_BYTES];
            let length = encode(address, &mut name) as usize;
            assert_eq!(decode(&name[..length]), Some(address));
            assert_eq!(decode(&name[..length - 14]), None);
        }
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[1; NAME_BYTES]), None);
    }

    #[test]
    fn control_messages_are_read_in_any_order_and_never_past_the_end() {
        let mut control = [0; 64];
        let segment = 550_i32.to_ne_bytes();
        let at = append(&mut control, 0, libc::SOL_UDP, libc::UDP_GRO, &segment);
        let mut info = [0; 12];
        info[8..].copy_from_slice(&[127, 1, 2, 3]);
        let end = append(&mut control, at, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        let whole = ControlRead {
            segment: 550,
            local: Some(IpAddr::from([127, 1, 2, 3])),
        };
        assert_eq!(read_control(&control[..end]), whole);
        assert_eq!(read_control(&control[..at]).local, None);
        for cut in 0..end {
            read_control(&control[..cut]);
        }
        control[..8].copy_from_slice(&usize::MAX.to_ne_bytes());
        assert_eq!(read_control(&control), ControlRead::default());
        control[..8].copy_from_slice(&3_usize.to_ne_bytes());
        assert_eq!(read_control(&control), ControlRead::default());
    }

    #[test]
    fn written_control_fits_and_says_what_was_asked() {
        let mut control = [0; 64];
        assert_eq!(write_control(&mut control, 0, None), 0);
        assert_eq!(write_control(&mut control, 550, None), 24);
        let source = Some(Ipv6Addr::LOCALHOST.into());
        assert_eq!(write_control(&mut control, 550, source), 64);
        assert_eq!(read_control(&control).local, source);
    }
}
