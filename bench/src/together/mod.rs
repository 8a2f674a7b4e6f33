//! Several load generators in one run: each holds edges of its own, so that no SIR is answered twice;
//! all begin and end at agreed times, and what they measured is added without loss. They are children
//! of the bench on this host, or join it from others by TCP; the lines between are the same. `share` cuts
//! the edges, `clock` estimates what their clocks are apart, `handshake` lets nobody in without the
//! secret, `gather` waits for those that join, `figures` is what the record holds of each.
//!
//! The messages after the handshake are neither encrypted nor signed: a network that others write into
//! needs a tunnel. Called by `run::launch` and, for the other end, by `role::join`.

pub mod clock;
pub mod figures;
pub mod gather;
pub mod handshake;
pub mod share;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use sirocco_loadgen::GENERATORS_MAX;

use self::gather::Gathering;
use self::handshake::Secret;
use crate::cli::TogetherArgs;
use crate::scenario::{Place, Scenario};

/// Generators of one bench.
#[derive(Debug)]
pub struct Generators {
    /// How many there are.
    pub count: u16,
    /// Cores of those on this host, in turn.
    pub cores: Vec<usize>,
    /// Address of the engine's socket.
    pub engine: IpAddr,
    /// Where others join; none starts all of them here.
    pub gathering: Option<Gathering>,
}

/// Why the generators asked for cannot be had; every text says what to type.
#[derive(Debug, thiserror::Error)]
pub enum TogetherError {
    /// The scenario does not serve.
    #[error("--generators {count}: {reason}")]
    Scenario {
        /// How many were asked for.
        count: u16,
        /// Why not, and what would.
        reason: String,
    },
    /// The options do not go together.
    #[error("{0}")]
    Options(&'static str),
    /// The secret cannot be used.
    #[error("--secret-file {path}: {reason}")]
    Secret {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The address cannot be listened on.
    #[error("--listen {address}: {error}; give an address of this host and a free port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
}

impl Generators {
    /// Reads the options; `cores` are those of the command line, or all that are allowed. Listens where
    /// others join, so that they find the port open while the bench still measures something else.
    ///
    /// # Errors
    /// [`TogetherError`], before anything is started.
    pub fn read(
        args: &TogetherArgs,
        scenario: &Scenario,
        cores: &[usize],
    ) -> Result<Self, TogetherError> {
        let count = args.generators;
        fits(count, scenario)?;
        let gathering = match args.listen {
            Some(address) => Some(listen(args, address, scenario)?),
            None if args.secret_file.is_some() => {
                return Err(TogetherError::Options(
                    "--secret-file is for generators that join: give --listen HOST:PORT too",
                ));
            }
            None => None,
        };
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let engine = args
            .engine_address
            .or(args.listen.map(|listen| listen.ip()));
        let engine = engine.unwrap_or(loopback);
        if engine.is_unspecified() {
            return Err(TogetherError::Options(
                "SIRs leave from one address: give it with --engine-address",
            ));
        }
        Ok(Self {
            count,
            // The first core is the engine's, unless there is no other.
            cores: cores
                .get(1..)
                .filter(|rest| !rest.is_empty())
                .unwrap_or(cores)
                .to_vec(),
            engine,
            gathering,
        })
    }

    /// One generator here, on this core: what a bench has that was asked for nothing else.
    #[must_use]
    pub fn one(core: usize) -> Self {
        Self {
            count: 1,
            cores: vec![core],
            engine: IpAddr::V4(Ipv4Addr::LOCALHOST),
            gathering: None,
        }
    }

    /// The core of a generator on this host.
    #[must_use]
    pub fn core(&self, number: u16) -> Option<usize> {
        let turn = usize::from(number).checked_rem(self.cores.len())?;
        self.cores.get(turn).copied()
    }

    /// Whether two of them share a core of this host: neither may then burn it by waiting.
    #[must_use]
    pub fn share_cores(&self) -> bool {
        self.gathering.is_none() && usize::from(self.count) > self.cores.len()
    }

    /// Whether they join from elsewhere.
    #[must_use]
    pub fn join(&self) -> bool {
        self.gathering.is_some()
    }
}

/// Whether a scenario can be cut for so many.
fn fits(count: u16, scenario: &Scenario) -> Result<(), TogetherError> {
    let refuse = |reason: String| Err(TogetherError::Scenario { count, reason });
    if !(1..=GENERATORS_MAX).contains(&count.into()) {
        return refuse(format!("give 1 to {GENERATORS_MAX}"));
    }
    if count == 1 {
        return Ok(());
    }
    if scenario.place != Place::Edges {
        return refuse(format!(
            "generators share edges, and scenario {} has none; take one with place = \"edges\"",
            scenario.name
        ));
    }
    if scenario.next_hops < count {
        return refuse(format!(
            "{} next hops do not go round; give --next-hops {count} or more",
            scenario.next_hops
        ));
    }
    let sources = ["invite", "flood", "register"];
    match sources
        .iter()
        .find(|source| scenario.loadgen.contains_key(**source))
    {
        Some(source) => refuse(format!(
            "each would run [loadgen.{source}] in full; leave it out of the scenario"
        )),
        None => Ok(()),
    }
}

fn listen(
    args: &TogetherArgs,
    address: SocketAddr,
    scenario: &Scenario,
) -> Result<Gathering, TogetherError> {
    if scenario.place != Place::Edges {
        return Err(TogetherError::Options(
            "--listen needs a scenario with place = \"edges\": generators elsewhere hold edges",
        ));
    }
    if scenario.addressing.is_some() || scenario.hold.is_some() || scenario.flood.is_some() {
        return Err(TogetherError::Options(
            "--listen cannot run this scenario: it starts its processes several times or reads their memory; \
             use --generators without --listen",
        ));
    }
    if scenario.population.file.is_some() {
        return Err(TogetherError::Options(
            "--listen needs a generated population: a file names next hops of its own",
        ));
    }
    let secret = match &args.secret_file {
        Some(path) => secret(path)?,
        None if address.ip().is_loopback() => Secret::none(),
        None => {
            return Err(TogetherError::Options(
                "--listen on an address that others reach needs --secret-file FILE, the same file at the \
                 generators",
            ));
        }
    };
    Gathering::open(address, secret, args.join_within)
        .map_err(|error| TogetherError::Listen { address, error })
}

/// Reads a secret.
///
/// # Errors
/// [`TogetherError::Secret`], when the file cannot be read or is too short.
pub fn secret(path: &Path) -> Result<Secret, TogetherError> {
    Secret::read(path).map_err(|reason| TogetherError::Secret {
        path: path.display().to_string(),
        reason,
    })
}

/// Longest time that a generator which joined may say nothing: it tells its progress four times a second.
pub const SILENCE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &TogetherArgs, scenario: &str) -> Result<Generators, String> {
        let scenario = Scenario::find(scenario).unwrap();
        Generators::read(args, &scenario, &[2, 3, 4]).map_err(|error| error.to_string())
    }

    fn asked(generators: u16) -> TogetherArgs {
        TogetherArgs {
            generators,
            join_within: Duration::from_secs(1),
            ..TogetherArgs::default()
        }
    }

    #[test]
    fn generators_take_the_cores_after_the_engine_s_in_turn() {
        let three = read(&asked(3), "dispatch").unwrap();
        assert_eq!(
            [0, 1, 2].map(|n| three.core(n)),
            [Some(3), Some(4), Some(3)]
        );
        assert!(three.share_cores() && !three.join());
        assert!(!read(&asked(2), "dispatch").unwrap().share_cores());
    }

    #[test]
    fn what_cannot_be_shared_is_refused_with_what_can() {
        for (count, scenario, hint) in [
            (2, "direct", "edges"),
            (17, "dispatch", "--next-hops 17"),
            (0, "dispatch", "1 to 32"),
            (33, "dispatch", "1 to 32"),
        ] {
            let error = read(&asked(count), scenario).expect_err(scenario);
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn nobody_listens_to_strangers_without_a_secret() {
        let mut args = asked(2);
        args.listen = Some(([0, 0, 0, 0], 0).into());
        let error = read(&args, "dispatch").expect_err("open to all");
        assert!(error.contains("--secret-file"), "{error}");
        args.listen = Some(([127, 0, 0, 1], 0).into());
        let open = read(&args, "dispatch").unwrap();
        assert!(open.join() && open.engine.is_loopback());
        for scenario in ["addressing", "hold", "flood"] {
            assert!(read(&args, scenario).is_err(), "{scenario}");
        }
        args.listen = None;
        args.secret_file = Some("secret".into());
        assert!(
            read(&args, "dispatch")
                .expect_err("no listen")
                .contains("--listen")
        );
    }
}
