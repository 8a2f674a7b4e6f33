//! Writes capture files of datagrams and of messages cut out of a stream, so that tshark can read them
//! without any privilege.

use std::path::Path;

/// Ports of the capture, those of SIP so that tshark takes it for SIP.
const SOURCE_PORT: u16 = 5060;
const TARGET_PORT: u16 = 5060;
/// Link type of raw IP packets (LINKTYPE_RAW of the pcap format).
const RAW_IP: u32 = 101;

/// Port to which messages of a stream go, that of MSRP (RFC 4975 15.4).
pub const STREAM_PORT: u16 = 2_855;

/// Writes datagrams to a pcap file, one a millisecond.
pub fn write(path: &Path, datagrams: &[Vec<u8>]) {
    let packets = datagrams.iter().map(|payload| packet(payload));
    write_packets(path, packets);
}

/// Writes messages of a stream to a pcap file, each as a segment of a connection of its own.
pub fn write_stream(path: &Path, messages: &[Vec<u8>]) {
    // From ports that stand for no protocol: tshark would ask the lower one first.
    let packets = (40_000..).zip(messages);
    write_packets(path, packets.map(|(port, message)| segment(port, message)));
}

fn write_packets(path: &Path, packets: impl Iterator<Item = Vec<u8>>) {
    let mut file = Vec::new();
    let header = [0xa1b2_c3d4, 2 << 16 | 4, 0, 0, 65_535, RAW_IP];
    for word in header {
        file.extend_from_slice(&u32::to_be_bytes(word));
    }
    for (number, packet) in packets.enumerate() {
        let length = packet.len() as u32;
        for word in [1_700_000_000, number as u32 * 1_000, length, length] {
            file.extend_from_slice(&word.to_be_bytes());
        }
        file.extend_from_slice(&packet);
    }
    std::fs::write(path, file).expect("a writable directory");
}

/// An IPv4 packet with a TCP segment from `port`, both without checksums.
fn segment(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&(payload.len() as u16 + 40).to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0x40, 0, 64, 6, 0, 0]);
    packet.extend_from_slice(&[127, 0, 0, 1, 127, 0, 0, 1]);
    packet.extend_from_slice(&port.to_be_bytes());
    packet.extend_from_slice(&STREAM_PORT.to_be_bytes());
    // Sequence and acknowledgement 1, a header of five words, PSH and ACK, a full window, no urgent octets.
    packet.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
    packet.extend_from_slice(payload);
    packet
}

/// An IPv4 packet with a UDP datagram, both without checksums: tshark does not ask for them.
fn packet(payload: &[u8]) -> Vec<u8> {
    let udp_len = payload.len() as u16 + 8;
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&(udp_len + 20).to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0]);
    packet.extend_from_slice(&[127, 0, 0, 1, 127, 0, 0, 1]);
    packet.extend_from_slice(&SOURCE_PORT.to_be_bytes());
    packet.extend_from_slice(&TARGET_PORT.to_be_bytes());
    packet.extend_from_slice(&udp_len.to_be_bytes());
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(payload);
    packet
}
