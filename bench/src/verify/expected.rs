//! What should happen, computed from the population's text and the mix alone: no index, no engine. One
//! pass over everybody wants the first device of each identity, or all of them; each wanted device is
//! expected to get one SIR under the Request-URI that names it, and to end as its behaviour lets it.

use std::collections::HashMap;
use std::io::{self, Write};

use sirocco_loadgen::{Behaviour, Mix, public_hash};
use sirocco_wire::identity::DeviceIdentity;

use super::{Expectation, TIMEOUT};
use crate::scenario::Wanted;

/// Delay in milliseconds from which on a late answer may come after Timer F (RFC 3261 17.1.2.2: 64*T1 is
/// 32 s), less the time that a SIR can be on its way.
const LATE_MS: f64 = 30_000.0;

/// Outcome code of a target that was stored for later (RFC 3428 7: 202 is not delivery).
const STORED: u16 = 202;

/// Longest population line in bytes; what is longer is refused by the population's own reader.
const LINE_BYTES_MAX: usize = 4096;

/// How the pass is made.
#[derive(Clone, Debug)]
pub struct Pass {
    /// Which devices of an identity are wanted.
    pub wanted: Wanted,
    /// What devices do.
    pub mix: Mix,
    /// Seed of the loadgen.
    pub seed: u64,
    /// Further transactions of a target after 503 with Retry-After.
    pub retries_max: u32,
}

/// Collects expectations from the lines of a population written to it.
#[derive(Debug)]
pub struct Collector {
    pass: Pass,
    line: Vec<u8>,
    aor: Vec<u8>,
    uri: Vec<u8>,
    expected: HashMap<u64, Expectation>,
    /// Request-URIs wanted by their hash, of these hashes only.
    names_wanted: Vec<u64>,
    names: HashMap<u64, String>,
}

impl Collector {
    /// Collects for `pass`; `names_wanted` are the hashes whose Request-URI is kept as text.
    #[must_use]
    pub fn new(pass: Pass, names_wanted: Vec<u64>) -> Self {
        Self {
            pass,
            line: Vec::new(),
            aor: Vec::new(),
            uri: Vec::new(),
            expected: HashMap::new(),
            names_wanted,
            names: HashMap::new(),
        }
    }

    /// What was collected.
    #[must_use]
    pub fn expected(self) -> Vec<Expectation> {
        self.expected.into_values().collect()
    }

    /// The Request-URIs asked for.
    #[must_use]
    pub fn names(self) -> HashMap<u64, String> {
        self.names
    }

    /// Takes one line without its end: AOR, device identity, and what does not matter here.
    fn take(&mut self, line: &[u8]) {
        let mut columns = line.split(|octet| *octet == b'\t');
        let (Some(aor), Some(device)) = (columns.next(), columns.next()) else {
            return;
        };
        if line.starts_with(b"#") || aor.is_empty() {
            return;
        }
        let first = self.aor != aor;
        if first {
            self.aor.clear();
            self.aor.extend_from_slice(aor);
        }
        if !first && self.pass.wanted == Wanted::OneInTurn {
            return;
        }
        self.uri.clear();
        self.uri.extend_from_slice(aor);
        self.uri.extend_from_slice(b";gr=");
        match DeviceIdentity::parse(device) {
            Some(device) => self.uri.extend_from_slice(&device.parameter_text()),
            None => self.uri.extend_from_slice(device),
        }
        self.expect();
    }

    fn expect(&mut self) {
        let uri_hash = public_hash(&self.uri);
        if self.names_wanted.contains(&uri_hash) {
            self.names
                .insert(uri_hash, String::from_utf8_lossy(&self.uri).into_owned());
        }
        let (outcomes, retries_max) = self.possible(uri_hash);
        let fresh = Expectation {
            uri_hash,
            targets: 0,
            retries_max,
            outcomes,
        };
        self.expected.entry(uri_hash).or_insert(fresh).targets += 1;
    }

    /// Outcomes possible for a device, and how often it may be tried again.
    fn possible(&self, uri_hash: u64) -> ([u16; 2], u32) {
        let Pass {
            mix,
            seed,
            retries_max,
            ..
        } = &self.pass;
        // An edge that changes its mind with time allows any outcome.
        if !mix.edges.is_empty() {
            return ([0; 2], *retries_max);
        }
        let code = |status: u16| match status {
            STORED => STORED,
            200..300 => 200,
            other => other,
        };
        match mix.classes[mix.class_of(*seed, uri_hash)].behaviour {
            Behaviour::Answer {
                retry_after_s: Some(_),
                ..
            } => ([0; 2], *retries_max),
            Behaviour::Answer { status, .. } | Behaviour::Duplicate { status, .. } => {
                ([code(status), 0], 0)
            }
            Behaviour::Late { delay, status } if delay.longest_ms() < LATE_MS => {
                ([code(status), 0], 0)
            }
            Behaviour::Late { status, .. } | Behaviour::Lossy { status, .. } => {
                ([code(status), TIMEOUT], 0)
            }
            Behaviour::Silent | Behaviour::Garbage | Behaviour::Forged { .. } => ([TIMEOUT, 0], 0),
        }
    }
}

impl Write for Collector {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|octet| *octet == b'\n') {
            if self.line.len() + piece.len() > LINE_BYTES_MAX {
                return Err(io::Error::other("a population line is too long"));
            }
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let mut line = std::mem::take(&mut self.line);
                self.take(line.trim_ascii_end());
                line.clear();
                self.line = line;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "#sirocco-population 1\n#aor\tdevice\tnext hop\n\
        sip:+861@ims.example\turn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6\t127.0.0.1:6000\n\
        sip:+861@ims.example\turn:uuid:F81D4FAE-7DEC-11D0-A765-00A0C91E6BF7\t127.0.0.1:6000\n\
        sip:+862@ims.example\turn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf8\t127.0.0.1:6000\n";

    fn collect(wanted: Wanted, mix: &str) -> Collector {
        let pass = Pass {
            wanted,
            mix: mix.parse().unwrap(),
            seed: 1,
            retries_max: 2,
        };
        let second = b"sip:+861@ims.example;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf7";
        let mut collector = Collector::new(pass, vec![public_hash(second)]);
        // In small pieces, as a pipe may deliver them.
        for piece in TEXT.as_bytes().chunks(7) {
            collector.write_all(piece).unwrap();
        }
        collector
    }

    #[test]
    fn one_in_turn_wants_the_first_device_and_all_wants_each() {
        assert_eq!(collect(Wanted::OneInTurn, "200:1").expected().len(), 2);
        let all = collect(Wanted::All, "200:1");
        let names = all.names.values().cloned().collect::<Vec<_>>();
        assert_eq!(all.expected().len(), 3);
        // The device identity is in the form that a SIR carries: lower case (RFC 4122 3).
        assert!(names[0].ends_with("6bf7"), "{names:?}");
    }

    #[test]
    fn outcomes_follow_the_behaviour() {
        for (mix, outcomes, retries) in [
            ("200:1", [200, 0], 0),
            ("204:1", [200, 0], 0),
            ("202:1", [202, 0], 0),
            ("486:1", [486, 0], 0),
            ("silent:1", [TIMEOUT, 0], 0),
            ("lossy(100,200):1", [200, TIMEOUT], 0),
            ("late(40s,200):1", [200, TIMEOUT], 0),
            ("late(600ms,202):1", [202, 0], 0),
            ("503(retry-after=1):1", [0, 0], 2),
            ("200:1;edges(0):503", [0, 0], 2),
        ] {
            for expectation in collect(Wanted::All, mix).expected() {
                assert_eq!(expectation.outcomes, outcomes, "{mix}");
                assert_eq!(
                    (expectation.retries_max, expectation.targets),
                    (retries, 1),
                    "{mix}"
                );
            }
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let pass = Pass {
            wanted: Wanted::All,
            mix: Mix::all_ok(),
            seed: 1,
            retries_max: 0,
        };
        assert!(
            Collector::new(pass, Vec::new())
                .write_all(&[b'x'; 5000])
                .is_err()
        );
    }
}
