//! A load generator at work beside a test, which waits for what it shows and takes its report.

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sirocco_loadgen::{Control, Live, LoadgenConfig, LoadgenProgress, LoadgenReport, run};

/// How long a test waits for something that must come before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A load generator on a thread of its own.
pub struct Running {
    pub addresses: Vec<SocketAddr>,
    pub live: Arc<Live>,
    pub control: Arc<Control>,
    thread: JoinHandle<LoadgenReport>,
}

impl Running {
    pub fn start(config: LoadgenConfig) -> Running {
        let (live, control) = (Arc::new(Live::new()), Arc::new(Control::new()));
        let (tell, ready) = mpsc::channel();
        let (shown, told) = (live.clone(), control.clone());
        let thread = std::thread::spawn(move || {
            let on_ready = |ready: &sirocco_loadgen::Ready| tell.send(ready.clone()).unwrap();
            run(&config, &shown, &told, on_ready).unwrap()
        });
        let addresses = ready.recv_timeout(PATIENCE).unwrap().addresses;
        Running {
            addresses,
            live,
            control,
            thread,
        }
    }

    /// Waits until what is shown is as wanted.
    pub fn until(&self, wanted: impl Fn(&LoadgenProgress) -> bool) {
        let started = Instant::now();
        while !wanted(&self.live.read()) {
            assert!(started.elapsed() < PATIENCE, "{:?}", self.live.read());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn stop(self) -> LoadgenReport {
        self.control.stop();
        self.thread.join().unwrap()
    }
}
