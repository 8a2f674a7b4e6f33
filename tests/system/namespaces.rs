//! Three network namespaces of a test: the engine's, and one for each of two generators, joined to it by a
//! pair of virtual Ethernet devices. Needs root and the commands of iproute2; all is removed at the end.
//! Called by `generators`.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::tools::in_ci;

/// Generators.
const GENERATORS: u8 = 2;

/// The namespaces, by the names that `ip netns` gives them.
pub struct Namespaces {
    mark: u32,
}

impl Namespaces {
    /// Makes them; where that is not allowed, `None` and a loud line.
    ///
    /// # Panics
    /// Where `CI=true`: there nothing may be skipped.
    pub fn make_or_skip(test: &str) -> Option<Self> {
        let network = Self {
            mark: std::process::id(),
        };
        match network.make() {
            Ok(()) => Some(network),
            Err(reason) => {
                assert!(!in_ci(), "{test} needs network namespaces: {reason}");
                let line = format!(
                    "SKIPPED {test}: no network namespaces ({reason}); run as root with iproute2\n"
                );
                // Past the capture of the test harness: a skipped test has to be seen.
                std::io::stderr().write_all(line.as_bytes()).ok();
                None
            }
        }
    }

    fn make(&self) -> Result<(), String> {
        let engine = self.engine();
        ip(&["netns", "add", &engine])?;
        ip(&["-n", &engine, "link", "set", "lo", "up"])?;
        for number in 0..GENERATORS {
            let own = self.name(number);
            let [near, far] = [format!("sr{number}a"), format!("sr{number}b")];
            ip(&["netns", "add", &own])?;
            ip(&["-n", &own, "link", "set", "lo", "up"])?;
            ip(&[
                "-n", &engine, "link", "add", &near, "type", "veth", "peer", "name", &far, "netns",
                &own,
            ])?;
            ip(&[
                "-n",
                &engine,
                "address",
                "add",
                &format!("{}/24", gateway(number)),
                "dev",
                &near,
            ])?;
            ip(&["-n", &engine, "link", "set", &near, "up"])?;
            ip(&[
                "-n",
                &own,
                "address",
                "add",
                &format!("{}/24", self.address(number)),
                "dev",
                &far,
            ])?;
            ip(&["-n", &own, "link", "set", &far, "up"])?;
            // All find the engine at its one address, whichever cable leads there.
            if number > 0 {
                let way = gateway(number);
                ip(&[
                    "-n",
                    &own,
                    "route",
                    "add",
                    &self.engine_address(),
                    "via",
                    &way,
                ])?;
            }
        }
        Ok(())
    }

    fn engine(&self) -> String {
        format!("sirocco-{}-e", self.mark)
    }

    fn name(&self, number: u8) -> String {
        format!("sirocco-{}-{number}", self.mark)
    }

    /// The engine's address.
    pub fn engine_address(&self) -> String {
        gateway(0)
    }

    /// A generator's address.
    pub fn address(&self, number: u8) -> String {
        format!("10.213.{number}.2")
    }

    /// The same command in the namespace of a generator.
    pub fn inside(&self, number: u8, command: &Command) -> Command {
        within(&self.name(number), command)
    }

    /// The same command in the namespace of the engine.
    pub fn at_the_engine(&self, command: &Command) -> Command {
        within(&self.engine(), command)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        let names = (0..GENERATORS).map(|number| self.name(number));
        for name in names.chain([self.engine()]) {
            // One that was never made cannot be removed.
            ip(&["netns", "delete", &name]).ok();
        }
    }
}

/// The engine's end of a generator's cable.
fn gateway(number: u8) -> String {
    format!("10.213.{number}.1")
}

fn within(name: &str, command: &Command) -> Command {
    let mut inside = Command::new("ip");
    inside.args(["netns", "exec", name]);
    inside
        .arg(command.get_program())
        .args(command.get_args().collect::<Vec<&OsStr>>());
    if let Some(directory) = command.get_current_dir() {
        inside.current_dir(directory);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => inside.env(name, value),
            None => inside.env_remove(name),
        };
    }
    inside
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let said = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let said = said.map_err(|error| format!("ip: {error}"))?;
    if said.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&said.stderr).trim().to_owned())
}
