//! Writes a capture file of UDP datagrams, so that tshark can read them without any privilege.

use std::path::Path;

/// Ports of the capture, those of SIP so that tshark takes it for SIP.
const SOURCE_PORT: u16 = 5060;
const TARGET_PORT: u16 = 5060;
/// Link type of raw IP packets (LINKTYPE_RAW of the pcap format).
const RAW_IP: u32 = 101;

/// Writes datagrams to a pcap file, one a millisecond.
pub fn write(path: &Path, datagrams: &[Vec<u8>]) {
    let mut file = Vec::new();
    let header = [0xa1b2_c3d4, 2 << 16 | 4, 0, 0, 65_535, RAW_IP];
    for word in header {
        file.extend_from_slice(&u32::to_be_bytes(word));
    }
    for (number, payload) in datagrams.iter().enumerate() {
        let packet = packet(payload);
        let length = packet.len() as u32;
        for word in [1_700_000_000, number as u32 * 1_000, length, length] {
            file.extend_from_slice(&word.to_be_bytes());
        }
        file.extend_from_slice(&packet);
    }
    std::fs::write(path, file).expect("a writable directory");
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
