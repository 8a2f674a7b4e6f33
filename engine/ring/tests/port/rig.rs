//! Two ports on loopback and the patience that tests share. Deliberately no assertions about time.

use std::time::Duration;

use sirocco_ring::{Backend, Port, PortConfig, Sent, SocketConfig, Wait};

pub const BACKENDS: [Backend; 2] = [Backend::Uring, Backend::Mmsg];

/// Longest wait for something that must come; a test that needs it has failed.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A small configuration with one loopback socket.
pub fn small(backend: Backend) -> PortConfig {
    let mut config = PortConfig::new(vec![SocketConfig::default()]);
    config.backend = backend;
    config.slab_count = 16;
    config.receive_buffer_count = 16;
    config.huge_pages = false;
    config
}

pub fn port(config: &PortConfig) -> Port {
    let port = Port::open(config).unwrap();
    assert!(config.backend == Backend::Auto || port.backend() == config.backend);
    port
}

pub struct Rig {
    pub left: Port,
    pub right: Port,
}

impl Rig {
    pub fn new(backend: Backend) -> Rig {
        Rig {
            left: port(&small(backend)),
            right: port(&small(backend)),
        }
    }

    /// Turns `left` until `count` reports came.
    pub fn reports(&mut self, count: usize) -> Vec<Sent> {
        reports(&mut self.left, count)
    }
}

pub fn reports(port: &mut Port, count: usize) -> Vec<Sent> {
    let mut reports = Vec::new();
    port.sent(|sent| reports.push(sent));
    while reports.len() < count {
        let before = reports.len();
        port.turn(Wait::Until(PATIENCE)).unwrap();
        port.sent(|sent| reports.push(sent));
        assert!(reports.len() > before, "a report is missing");
    }
    reports
}

/// Turns `port` until `count` datagrams came and returns them in order.
pub fn read_all(port: &mut Port, count: usize) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    while datagrams.len() < count {
        let before = datagrams.len();
        port.turn(Wait::Until(PATIENCE)).unwrap();
        port.receive(usize::MAX, |received| {
            datagrams.extend(received.datagrams().map(<[u8]>::to_vec));
        });
        assert!(
            datagrams.len() > before,
            "{before} of {count} datagrams came"
        );
    }
    datagrams
}

/// Fills each segment with a pattern of its number and `salt`.
pub fn fill_segments(bytes: &mut [u8], segment: usize, salt: u64) {
    for (number, segment) in bytes.chunks_mut(segment).enumerate() {
        let mut word = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt;
        for octet in segment {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *octet = (word >> 56) as u8;
        }
    }
}

/// True in a process that runs the test `name` alone; else runs such a process, which must succeed,
/// and is false. For tests that count or change what belongs to the whole process.
pub fn in_own_process(name: &str) -> bool {
    const CHILD: &str = "SIROCCO_RING_OWN_PROCESS";
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && told.contains("1 passed"),
        "{told}"
    );
    false
}
