//! The load generator on a thread of the test: devices behind one edge, and the way to end them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam::channel::bounded;
use sirocco_loadgen::{Control, Live, LoadgenConfig, LoadgenReport, Mix, Place, Ready, run};
use sirocco_tests::process::PATIENCE;

/// Devices that answer.
pub struct Devices {
    /// The edge that they stand behind.
    pub edge: SocketAddr,
    control: Arc<Control>,
    thread: JoinHandle<LoadgenReport>,
}

impl Devices {
    /// Starts devices that behave as the mix says, and waits until they can be reached.
    pub fn start(mix: Mix) -> Self {
        Self::start_with(config(mix))
    }

    /// Starts devices of a whole configuration.
    pub fn start_with(config: LoadgenConfig) -> Self {
        let control = Arc::new(Control::new());
        let (ready, introduced) = bounded(1);
        let thread = thread::spawn({
            let control = control.clone();
            move || {
                let ready =
                    |started: &Ready| ready.send(started.addresses[0]).expect("the test waits");
                let ended = run(&config, &Live::new(), &control, ready);
                ended.expect("devices that answer")
            }
        });
        let edge = introduced
            .recv_timeout(PATIENCE)
            .expect("devices that start");
        Self {
            edge,
            control,
            thread,
        }
    }

    /// Ends them: what they saw.
    pub fn stop(self) -> LoadgenReport {
        self.control.stop();
        self.thread.join().expect("devices that stop")
    }
}

/// Devices behind one edge, small enough for a test.
pub fn config(mix: Mix) -> LoadgenConfig {
    LoadgenConfig {
        place: Place::Edges {
            count: 1,
            bind: [127, 0, 0, 1].into(),
            port_base: 0,
        },
        mix,
        seen_entries: 1 << 20,
        late_slots: 1 << 10,
        train_segments: 64,
        huge_pages: false,
        ..LoadgenConfig::default()
    }
}
