//! Programs of other people that some tests need: where they are, and what to do where they are not.
//!
//! A missing tool skips its tests with a loud line; where `CI=true` it fails them, since nothing may be
//! skipped there. It installs nothing: `cargo ci` does.

use std::io::Write;
use std::path::PathBuf;

/// A program that some tests need, and the Debian package that brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Name of the program.
    pub program: &'static str,
    /// Name of the package.
    pub package: &'static str,
}

/// Decodes captures.
pub const TSHARK: Tool = Tool {
    program: "tshark",
    package: "tshark",
};
/// Plays SIP scenarios.
pub const SIPP: Tool = Tool {
    program: "sipp",
    package: "sip-tester",
};
/// Registers contacts and forwards to them.
pub const KAMAILIO: Tool = Tool {
    program: "kamailio",
    package: "kamailio",
};
/// A user agent that people make calls with.
pub const BARESIP: Tool = Tool {
    program: "baresip",
    package: "baresip-core",
};
/// A browser that shows a page without a window.
pub const CHROMIUM: Tool = Tool {
    program: "chromium",
    package: "chromium",
};
/// Stands for liblinphone, a user agent in a library, which comes with it.
pub const LINPHONE: Tool = Tool {
    program: "linphonec",
    package: "linphone-cli",
};
/// Runs the program that makes a user agent of liblinphone.
pub const PYTHON: Tool = Tool {
    program: "python3",
    package: "python3",
};
/// Attaches to probes of a running program.
pub const BPFTRACE: Tool = Tool {
    program: "bpftrace",
    package: "bpftrace",
};
/// Every tool that a test needs.
pub const ALL: [Tool; 8] = [
    TSHARK, SIPP, KAMAILIO, BARESIP, CHROMIUM, LINPHONE, PYTHON, BPFTRACE,
];

impl Tool {
    /// Where the program is; `None` if it is not installed.
    #[must_use]
    pub fn path(self) -> Option<PathBuf> {
        let search = std::env::var_os("PATH").unwrap_or_default();
        // Debian keeps daemons where an ordinary user's search path does not lead.
        let extra = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
        let mut places = std::env::split_paths(&search).chain(extra);
        places.find_map(|place| {
            let path = place.join(self.program);
            path.is_file().then_some(path)
        })
    }

    /// The program for the test `test`, or `None` and a loud line.
    ///
    /// # Panics
    /// Where `CI=true`: there a missing tool is a failure.
    #[must_use]
    pub fn path_or_skip(self, test: &str) -> Option<PathBuf> {
        let path = self.path();
        if path.is_none() {
            let Tool { program, package } = self;
            assert!(
                !in_ci(),
                "{test} needs {program}: install package {package}"
            );
            // Past the capture of the test harness: a skipped test has to be seen.
            let line = format!("SKIPPED {test}: no {program}; install package {package}\n");
            std::io::stderr().write_all(line.as_bytes()).ok();
        }
        path
    }
}

/// Whether nothing may be skipped (`CI=true`).
#[must_use]
pub fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}
