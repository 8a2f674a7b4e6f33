//! The writing side of the population format: lines appended to a buffer.
//!
//! Writes digits and hexadecimal by hand, since formatting would cost more than the rest of
//! generating. Called by `generate` only.

use std::io::{self, Write};

use crate::device::DeviceKind;
use crate::identity::{pack_number, unpack_digits};
use crate::population::generate::{GenerateSpec, Generated};
use crate::population::hex_digits;

/// The buffer is written out when it is this long.
const FLUSH_BYTES: usize = 256 << 10;

/// Lines in the making.
#[derive(Default)]
pub(super) struct Text {
    buffer: Vec<u8>,
    domains: Vec<String>,
    hops: Vec<String>,
}

impl Text {
    pub fn new(spec: &GenerateSpec) -> Text {
        Text {
            buffer: Vec::with_capacity(2 * FLUSH_BYTES),
            domains: spec.domains.clone(),
            hops: spec.next_hops.iter().map(ToString::to_string).collect(),
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    pub fn flush_when_full(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.buffer.len() < FLUSH_BYTES {
            return Ok(());
        }
        self.flush(out)
    }

    pub fn flush(&mut self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Appends one device.
    pub fn line(&mut self, device: &Generated) {
        let mut digits = [0; 16];
        let start = self.buffer.len();
        self.put(b"sip:+");
        self.put(unpack_digits(pack_number(device.number), &mut digits));
        self.put(b"@");
        self.buffer
            .extend_from_slice(self.domains[device.domain].as_bytes());
        let aor = start..self.buffer.len();
        self.put(b"\t");
        if device.kind == DeviceKind::Gruu {
            // RFC 5627 3.1: a public GRUU is its user's AOR with a parameter.
            self.buffer.extend_from_within(aor);
            self.put(b";gr=urn:uuid:");
            self.uuid(device.id);
        } else {
            self.device_id(device);
        }
        match device.contact {
            None => {
                self.put(b"\t");
                self.buffer
                    .extend_from_slice(self.hops[device.next_hop].as_bytes());
                self.put(b"\t-");
            }
            Some((ip, port)) => {
                self.put(b"\tdirect\t");
                for (at, octet) in ip.octets().into_iter().enumerate() {
                    self.put(&b"."[..usize::from(at > 0)]);
                    self.decimal(u64::from(octet));
                }
                self.put(b":");
                self.decimal(u64::from(port));
            }
        }
        self.put(if device.connected {
            b"\tsip\tconnected\t"
        } else {
            b"\tsip\tidle\t"
        });
        self.hexadecimal(u32::from(device.capability) << 24, 2);
        self.put(b"\t");
        self.decimal(u64::from(device.preference));
        self.put(b"\t");
        self.hexadecimal(u32::from(device.subscription) << 24, 2);
        self.put(b"\t-\n");
    }

    /// Appends the device id in the spelling of its kind.
    #[inline]
    pub fn device_id(&mut self, device: &Generated) {
        match device.kind {
            DeviceKind::Uuid => {
                self.put(b"urn:uuid:");
                self.uuid(device.id);
            }
            _ => self.other_id(device),
        }
    }

    fn other_id(&mut self, device: &Generated) {
        let high = (device.id >> 96) as u32;
        // Unique within its identity: the device number takes the low bits.
        let low = (device.id >> 64) as u32 & 0xfff0_0000 | device.device;
        match device.kind {
            DeviceKind::Gruu | DeviceKind::Uuid => {
                self.put(b"sip:");
                self.decimal(device.number);
                self.put(b"@ims.example;gr=urn:uuid:");
                self.uuid(device.id);
            }
            DeviceKind::Imei => {
                self.put(b"urn:gsma:imei:00440150-");
                let serial = 1_000_000 + u64::from(device.device) % 1_000_000;
                self.decimal(serial);
                // The leading 1 only kept the zeros.
                let at = self.buffer.len() - 7;
                self.buffer.remove(at);
                self.put(b"-0");
            }
            DeviceKind::Uri => {
                self.put(b"https://device.example/");
                self.hexadecimal(high, 8);
                self.hexadecimal(low, 8);
            }
            DeviceKind::Urn => {
                self.put(b"urn:dev:org:32473-");
                self.hexadecimal(high, 8);
                self.hexadecimal(low, 8);
            }
            DeviceKind::Rfid => {
                self.put(b"urn:epc:id:sgtin:0614141.112345.");
                self.decimal(1 + u64::from(device.device));
            }
            DeviceKind::Esn => {
                self.put(b"urn:3gpp2:esn:");
                self.hexadecimal(low, 8);
            }
            DeviceKind::Mac => {
                self.put(b"urn:dev:mac:");
                // A locally administered address.
                self.hexadecimal(high & 0x00ff_ffff | 0x0200_0000, 8);
                self.hexadecimal(low, 8);
            }
            DeviceKind::Fingerprint => self.fingerprint(device),
        }
    }

    /// RFC 6920: 43 characters of base64url are 256 bits and two zero bits.
    fn fingerprint(&mut self, device: &Generated) {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        self.put(b"ni:///sha-256;");
        for at in 0..42 {
            let bits = (device.id.rotate_left(at * 3) & 63) as usize;
            self.buffer.push(ALPHABET[bits]);
        }
        self.put(b"A");
    }

    #[inline]
    fn put(&mut self, text: &[u8]) {
        self.buffer.extend_from_slice(text);
    }

    #[inline]
    fn uuid(&mut self, id: u128) {
        let mut text = *b"--------------------------------????";
        let word = |shift: u32| spread_hex((id >> shift) as u32);
        let [a, b, c, d] = [word(96), word(64), word(32), word(0)];
        text[..8].copy_from_slice(&a);
        text[9..13].copy_from_slice(&b[..4]);
        text[14..18].copy_from_slice(&b[4..]);
        text[19..23].copy_from_slice(&c[..4]);
        text[24..28].copy_from_slice(&c[4..]);
        text[28..].copy_from_slice(&d);
        self.put(&text);
    }

    /// The first `count` hexadecimal digits of a word.
    #[inline]
    fn hexadecimal(&mut self, word: u32, count: usize) {
        let text = spread_hex(word);
        self.put(&text[..count]);
    }

    #[inline]
    fn decimal(&mut self, mut value: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.put(&digits[at..]);
    }
}

#[inline]
fn spread_hex(word: u32) -> [u8; 8] {
    hex_digits(crate::identity::spread(word)).to_be_bytes()
}
