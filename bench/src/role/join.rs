//! `sirocco loadgen --join`: a load generator that a bench on another host commands. It connects, proves
//! the secret, becomes what the bench says, and then does what a child does, with a connection in place
//! of stdin and stdout. It opens no file that the bench names: whoever knows the secret gets a load
//! generator, not a shell.

use std::io::{self, BufReader};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use sirocco_loadgen::{LoadgenConfig, Place};

use super::loadgen::{Manner, Wires, idle, work};
use super::{EXIT_INVALID, EXIT_USAGE, Voice, complain};
use crate::cli::LoadgenArgs;
use crate::together::handshake::{self, Assignment, HandshakeError, Secret};
use crate::together::{TogetherError, secret};

/// Time in which the bench has to open its port: whoever starts first waits for the other.
const CONNECT_WITHIN: Duration = Duration::from_secs(60);

/// Time between two tries.
const TRY_EVERY: Duration = Duration::from_millis(200);

/// Time for one try.
const TRY_WITHIN: Duration = Duration::from_secs(3);

/// Time from joining to being taken, which lasts until all are there.
const TAKEN_WITHIN: Duration = Duration::from_secs(3600);

/// Time for the bench's kernel to acknowledge what is told it; a host that fell silent is gone by then.
const UNHEARD_MAX_MS: u32 = 10_000;

/// Why a generator did not join or not finish.
#[derive(Debug, thiserror::Error)]
enum JoinError {
    /// No such address.
    #[error("--join {address}: {error}; give HOST:PORT as the bench's --listen has it")]
    Address { address: String, error: io::Error },
    /// Nobody listens.
    #[error(
        "--join {address}: nobody listened there within 60 s ({error}); start the bench with --listen"
    )]
    Nobody { address: String, error: io::Error },
    /// The handshake failed.
    #[error("--join {address}: {error}")]
    Handshake {
        address: String,
        error: HandshakeError,
    },
    /// The secret cannot be used.
    #[error(transparent)]
    Secret(#[from] TogetherError),
    /// The connection cannot be used.
    #[error("the connection to the bench: {0}")]
    Connection(#[from] io::Error),
    /// The bench asked for what is not done for others.
    #[error("the bench's settings are refused: {0}")]
    Settings(String),
    /// The worker failed.
    #[error("{0}")]
    Worker(Box<dyn std::error::Error>),
    /// The bench went away in the middle.
    #[error("the bench closed the connection before the end: its run is over or broken")]
    Left,
}

/// Runs the role; returns its exit code.
pub fn start(args: &LoadgenArgs, address: &str) -> u8 {
    match join(args, address) {
        Ok(()) => 0,
        Err(error @ (JoinError::Address { .. } | JoinError::Secret(_))) => {
            complain(format!("loadgen: {error}"));
            EXIT_USAGE
        }
        Err(error) => {
            complain(format!("loadgen: {error}"));
            EXIT_INVALID
        }
    }
}

fn join(args: &LoadgenArgs, address: &str) -> Result<(), JoinError> {
    let secret = args.secret_file.as_deref().map(secret);
    let secret = secret.transpose()?.unwrap_or_else(Secret::none);
    let stream = connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TAKEN_WITHIN))?;
    let unheard = nix::sys::socket::sockopt::TcpUserTimeout;
    nix::sys::socket::setsockopt(&stream, unheard, &UNHEARD_MAX_MS).map_err(io::Error::from)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    complain(format!("loadgen: joined {address}, waiting for the others"));
    let taken = handshake::apply(&mut reader, &mut &stream, &secret, host.trim().to_owned());
    let assignment = taken.map_err(|error| JoinError::Handshake {
        address: address.to_owned(),
        error,
    })?;
    let Assignment { number, of, config } = assignment;
    complain(format!("loadgen: generator {number} of {of}"));
    stream.set_read_timeout(None)?;
    let voice = Voice::into(stream.try_clone()?);
    let config = match own(args, config, stream.local_addr()?.ip()) {
        Ok(config) => config,
        Err(reason) => {
            voice.emit("failed", &serde_json::json!({ "text": reason }));
            return Err(JoinError::Settings(reason));
        }
    };
    let wires = Wires {
        commands: Box::new(reader),
        voice: voice.clone(),
    };
    match work(config, wires, Manner::Commanded { held: true }, None) {
        Ok(true) => Ok(()),
        Ok(false) => Err(JoinError::Left),
        Err(error) => {
            voice.emit("failed", &serde_json::json!({ "text": error.to_string() }));
            Err(JoinError::Worker(error))
        }
    }
}

/// Connects, again and again until the bench listens.
fn connect(address: &str) -> Result<TcpStream, JoinError> {
    let bad = |error| JoinError::Address {
        address: address.to_owned(),
        error,
    };
    let until = Instant::now() + CONNECT_WITHIN;
    let resolved: Vec<SocketAddr> = address.to_socket_addrs().map_err(bad)?.collect();
    loop {
        let mut last = io::Error::other("the name has no address");
        for address in &resolved {
            match TcpStream::connect_timeout(address, TRY_WITHIN) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        if Instant::now() >= until || resolved.is_empty() {
            return Err(JoinError::Nobody {
                address: address.to_owned(),
                error: last,
            });
        }
        thread::sleep(TRY_EVERY);
    }
}

/// The bench's settings with what is this side's own: address, ports, core, waiting.
fn own(args: &LoadgenArgs, config: LoadgenConfig, near: IpAddr) -> Result<LoadgenConfig, String> {
    let files = [
        ("record-sirs", &config.record_sirs),
        ("population", &config.population),
        ("imei-namespace-file", &config.imei_namespace_file),
        ("sir-key-file", &config.sir_key_file),
        ("content-file", &config.content_file),
    ];
    if let Some((name, _)) = files.iter().find(|(_, path)| path.is_some()) {
        return Err(format!(
            "{name} names a file, and a generator that joined opens none for others"
        ));
    }
    let Place::Edges {
        count, port_base, ..
    } = config.place
    else {
        return Err("generators that join hold edges".to_owned());
    };
    let bind = args.bind.unwrap_or(near);
    if bind.is_unspecified() {
        return Err(
            "the engine sends to the edges' address: give one of this host with --bind".to_owned(),
        );
    }
    let config = LoadgenConfig {
        core: args.core,
        idle: args.idle.map_or(config.idle, idle),
        place: Place::Edges {
            count,
            bind,
            port_base: args.port_base.unwrap_or(port_base),
        },
        ..config
    };
    config.validate().map_err(|error| error.to_string())?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Role};
    use clap::Parser;

    fn args(more: &str) -> LoadgenArgs {
        let words = ["sirocco", "loadgen", "--join", "h:1"].into_iter();
        match Cli::try_parse_from(words.chain(more.split_whitespace()))
            .unwrap()
            .role
        {
            Role::Loadgen(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_bench_says_what_and_this_side_where() {
        let near = IpAddr::from([10, 7, 0, 2]);
        let config = own(
            &args("--core 3 --port-base 7000"),
            LoadgenConfig::default(),
            near,
        )
        .unwrap();
        assert_eq!(config.core, Some(3));
        let Place::Edges {
            bind, port_base, ..
        } = config.place
        else {
            panic!("{config:?}")
        };
        assert_eq!((bind, port_base), (near, 7000));
        let error = own(&args("--bind 0.0.0.0"), LoadgenConfig::default(), near);
        assert!(error.expect_err("no address").contains("--bind"));
    }

    #[test]
    fn no_file_is_opened_for_others() {
        let near = IpAddr::from([127, 0, 0, 1]);
        let changes: [fn(&mut LoadgenConfig); 5] = [
            |config| config.record_sirs = Some("/etc/passwd".into()),
            |config| config.population = Some("/etc/passwd".into()),
            |config| config.content_file = Some("/etc/passwd".into()),
            |config| config.sir_key_file = Some("/etc/passwd".into()),
            |config| config.imei_namespace_file = Some("/etc/passwd".into()),
        ];
        for change in changes {
            let mut config = LoadgenConfig::default();
            change(&mut config);
            assert!(
                own(&args(""), config, near)
                    .expect_err("a file")
                    .contains("opens none")
            );
        }
    }
}
