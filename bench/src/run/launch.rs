//! Arguments and readiness of the children: which cores, which addresses, which settings. Called by
//! `plan` and by `checked`, so that the pass that verifies runs the same processes in the same way as
//! the ones that measure.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use sirocco_loadgen::LoadgenConfig;
use sirocco_ring::clock::now_ns;

use super::child::Side;
use super::stage::{Stage, StageError, Watch};
use crate::flight;
use crate::role::protocol::{EngineReady, LoadgenReady};
use crate::scenario::{Place, Scenario};
use crate::together::clock::{self, Exchange, Offset};
use crate::together::figures::Member;
use crate::together::{Generators, share};

/// First port of simulated devices in direct mode; each address of 127.0.0.0/8 answers there.
pub const DIRECT_PORT: u16 = 5060;

/// Where records go.
const HOME: &str = "target/sirocco";

/// Time for the loadgen to open its sockets.
const LOADGEN_READY: Duration = Duration::from_secs(20);

/// Time for the engine to open its sockets, beside loading.
const ENGINE_READY: Duration = Duration::from_secs(20);

/// How far ahead a begin or an end is agreed, in nanoseconds: for a line to cross and be read on a busy host.
const AHEAD_NS: u64 = 50_000_000;

/// Time for a begin to be told back.
const BEGUN: Duration = Duration::from_secs(10);

/// Slowest loading that is waited for, in identities a second.
const LOAD_PER_S_MIN: u64 = 100_000;

/// What the engine's failures are called in the folder of a run, and beside its record.
const FLIGHT: &str = "flight";

/// The cores of engine and loadgen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// Core of the engine's worker.
    pub engine: usize,
    /// Core of the loadgen's worker.
    pub loadgen: usize,
}

impl Cores {
    /// True when both sides run on one core: the figures are then worth nothing.
    #[must_use]
    pub fn shared(&self) -> bool {
        self.engine == self.loadgen
    }
}

/// The cores asked for, or the first two allowed ones.
///
/// # Errors
/// A text that says what to type, when cores are missing or outside the allowed set.
pub fn cores(asked: &[usize], allow_shared: bool) -> Result<Cores, String> {
    let allowed = sirocco_ring::affinity::cores_allowed()
        .map_err(|error| format!("cannot read the cores allowed: {error}"))?;
    choose(asked, &allowed, allow_shared)
}

fn choose(asked: &[usize], allowed: &[usize], allow_shared: bool) -> Result<Cores, String> {
    let chosen = if asked.is_empty() { allowed } else { asked };
    if let Some(core) = asked.iter().find(|core| !allowed.contains(core)) {
        return Err(format!(
            "--cores: {core} is not among the allowed cores {allowed:?}"
        ));
    }
    let cores = match *chosen {
        [engine, loadgen, ..] => Cores { engine, loadgen },
        [one] => Cores {
            engine: one,
            loadgen: one,
        },
        [] => return Err("no core is allowed to this process".to_owned()),
    };
    if cores.shared() && !allow_shared {
        return Err(format!(
            "engine and loadgen need a core each and only core {} is given; \
             --allow-shared-core runs all the same, with a verdict of invalid",
            cores.engine
        ));
    }
    Ok(cores)
}

/// Files of one bench, in a folder of its own that goes when it ends.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes the folder under target/sirocco.
    ///
    /// # Errors
    /// The system's.
    pub fn make() -> io::Result<Self> {
        let home = Path::new(HOME);
        remove_stale(home);
        let path = home.join(format!("run-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Puts the failures that the engine wrote where the record goes; those of earlier runs go.
    ///
    /// # Errors
    /// The system's.
    pub fn keep_flight(&self) -> io::Result<()> {
        let home = Path::new(HOME).join(FLIGHT);
        for (from, to) in flight::files(&self.file(FLIGHT))
            .iter()
            .zip(flight::files(&home))
        {
            if from.exists() {
                std::fs::rename(from, to)?;
            } else if to.exists() {
                std::fs::remove_file(to)?;
            }
        }
        Ok(())
    }

    /// Path of a file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// Removes the folders of benches that were killed; what cannot be removed is left.
fn remove_stale(home: &Path) {
    for entry in std::fs::read_dir(home).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name
            .strip_prefix("run-")
            .and_then(|pid| pid.parse::<u32>().ok())
        else {
            continue;
        };
        if !Path::new("/proc").join(pid.to_string()).exists() {
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed lies under target/.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Where each child writes its record of SIRs; none outside of `--verify`.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// The engine's.
    pub engine: Option<PathBuf>,
    /// The loadgens'; each adds its number.
    pub loadgen: Option<PathBuf>,
}

impl Records {
    /// The file of one loadgen.
    #[must_use]
    pub fn loadgen(&self, number: u16) -> Option<PathBuf> {
        let path = self.loadgen.as_ref()?;
        Some(path.with_extension(format!("{}.sirs", number + 1)))
    }
}

/// Starts all children on an empty stage and waits until they are ready and the generators have begun.
///
/// # Errors
/// [`StageError`], when a child cannot start or is not ready in time.
pub fn start(
    stage: &mut Stage,
    scenario: &Scenario,
    (cores, generators): (Cores, &Generators),
    (records, folder): (&Records, &Folder),
    watch: &mut Watch<'_>,
) -> Result<EngineReady, StageError> {
    let mut addresses = Vec::new();
    if scenario.place != Place::Nowhere {
        start_generators(stage, scenario, (cores, generators), records)?;
        let readies =
            stage.wait_generators("ready", "opening its sockets", LOADGEN_READY, watch)?;
        for (number, ready) in (0..).zip(readies) {
            let ready: LoadgenReady = serde_json::from_value(ready).unwrap_or_default();
            for notice in &ready.notices {
                stage.notice(Side::Loadgen(number), notice);
            }
            addresses.extend(ready.addresses);
        }
    }
    let hops = folder.file("next-hops");
    std::fs::write(&hops, addresses.join("\n")).map_err(|error| StageError::Start {
        side: Side::Engine,
        error,
    })?;
    let mut arguments = engine(scenario, (cores, generators), records, &hops);
    option(&mut arguments, "--flight", folder.file(FLIGHT).display());
    stage.start(Side::Engine, &arguments)?;
    let loading = Duration::from_secs(scenario.population.identities / LOAD_PER_S_MIN);
    let wait = (Side::Engine, "ready");
    let ready = stage.wait(
        wait,
        "loading its population",
        ENGINE_READY + loading,
        watch,
    )?;
    let ready: EngineReady = serde_json::from_value(ready).unwrap_or_default();
    ready
        .notices
        .iter()
        .for_each(|notice| stage.notice(Side::Engine, notice));
    begin(stage, watch)?;
    Ok(ready)
}

/// Starts the generators here, or waits for those that join.
fn start_generators(
    stage: &mut Stage,
    scenario: &Scenario,
    setting: (Cores, &Generators),
    records: &Records,
) -> Result<(), StageError> {
    let generators = setting.1;
    let config = |number| {
        share::config(scenario, setting, records, number).map_err(|words| StageError::Failed {
            side: Side::Loadgen(number),
            words,
        })
    };
    let configs: Vec<_> = (0..generators.count)
        .map(config)
        .collect::<Result<_, _>>()?;
    let shares = share::cut(scenario.next_hops, generators.count);
    let mut members: Vec<Member> = (shares.into_iter().zip(&configs))
        .map(|(share, config)| Member {
            share,
            core: config.core,
            ..Member::default()
        })
        .collect();
    if let Some(gathering) = &generators.gathering {
        let joined = gathering.gather(configs, stage.interrupted())?;
        for (number, joined) in (0..).zip(joined) {
            let member = &mut members[usize::from(number)];
            member.host.clone_from(&joined.host);
            member.peer = Some(joined.peer.to_string());
            stage.admit(Side::Loadgen(number), joined)?;
        }
    } else {
        for (number, config) in (0..).zip(&configs) {
            stage.start(Side::Loadgen(number), &loadgen(config))?;
            members[usize::from(number)].host = host_name();
        }
    }
    if generators.share_cores() {
        let notice = "generators share cores of this host, so that they wait instead of spinning and \
                      together are no faster than one";
        stage.notice(Side::Loadgen(0), notice);
    }
    stage.set_members(members);
    Ok(())
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// The barrier: learns what the generators' clocks are apart, agrees on a time far enough ahead for all to
/// hear of it, and waits until each says that it began.
fn begin(stage: &mut Stage, watch: &mut Watch<'_>) -> Result<(), StageError> {
    let mut members = stage.members().to_vec();
    for (member, side) in members.iter_mut().zip(stage.generators()) {
        let exchange = |stage: &mut Stage| {
            let asked_ns = now_ns();
            let told_ns = stage.ask(side, "clock")?;
            let heard_ns = now_ns();
            Ok::<_, StageError>(Exchange {
                asked_ns,
                told_ns,
                heard_ns,
            })
        };
        let exchanges = (0..clock::EXCHANGES).map(|_| exchange(stage));
        member.clock = Offset::of(&exchanges.collect::<Result<Vec<_>, _>>()?);
    }
    let far = members
        .iter()
        .map(|member| member.clock.uncertainty_ns)
        .max();
    let begin_ns = now_ns() + AHEAD_NS + 4 * far.unwrap_or_default();
    for member in &mut members {
        member.begin_ns = begin_ns;
    }
    stage.set_members(members);
    stage.tell_generators(|member| format!("begin-at {}", member.clock.theirs(member.begin_ns)))?;
    let begun = stage.wait_generators("begun", "waiting for its begin", BEGUN, watch)?;
    let mut members = stage.members().to_vec();
    for (member, begun) in members.iter_mut().zip(begun) {
        member.begun_ns = begun["ns"].as_u64().unwrap_or_default();
    }
    stage.set_members(members);
    Ok(())
}

/// Stops all generators at one time and returns their reports in their order.
///
/// # Errors
/// [`StageError`], when one ends without a report or takes too long.
pub fn dismiss_generators(
    stage: &mut Stage,
    limit: Duration,
    watch: &mut Watch<'_>,
) -> Result<Vec<Value>, StageError> {
    let far = stage
        .members()
        .iter()
        .map(|member| member.clock.uncertainty_ns)
        .max();
    let end_ns = now_ns() + AHEAD_NS + 4 * far.unwrap_or_default();
    stage.tell_generators(|member| format!("stop-at {}", member.clock.theirs(end_ns)))?;
    stage.wait_generators("report", "writing its report", limit, watch)
}

fn loadgen(config: &LoadgenConfig) -> Vec<String> {
    let mut arguments = words(&["loadgen", "--child", "--held"]);
    let settings = serde_json::to_string(config).unwrap_or_default();
    option(&mut arguments, "--scenario-json", settings);
    arguments
}

fn engine(
    scenario: &Scenario,
    (cores, generators): (Cores, &Generators),
    records: &Records,
    hops: &Path,
) -> Vec<String> {
    let population = &scenario.population;
    let mut arguments = words(&["engine", "--child"]);
    option(&mut arguments, "--core", cores.engine);
    option(
        &mut arguments,
        "--bind",
        SocketAddr::from((generators.engine, 0)),
    );
    option(&mut arguments, "--seed", scenario.seed);
    match &population.file {
        Some(file) => option(&mut arguments, "--population", file.display()),
        None => {
            option(&mut arguments, "--generate", population.identities);
            option(&mut arguments, "--devices-min", population.devices_min);
            option(&mut arguments, "--devices-max", population.devices_max);
        }
    }
    option(&mut arguments, "--next-hop-count", scenario.next_hops);
    match scenario.place {
        Place::Edges => option(
            &mut arguments,
            "--next-hops",
            format!("@{}", hops.display()),
        ),
        Place::Direct => option(&mut arguments, "--direct-port", DIRECT_PORT),
        Place::Nowhere => {}
    }
    if let Some(path) = &records.engine {
        option(&mut arguments, "--record-sirs", path.display());
    }
    let mut settings = scenario.engine.clone();
    let drain_ms = i64::try_from(scenario.runs.drain_ms_max).unwrap_or(i64::MAX);
    settings.insert("drain-ms".to_owned(), drain_ms.into());
    if cores.shared() {
        settings.insert("idle".to_owned(), "wait".into());
    }
    let settings = serde_json::to_string(&settings).unwrap_or_else(|_| "{}".to_owned());
    option(&mut arguments, "--config-json", settings);
    arguments
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn option(arguments: &mut Vec<String>, name: &str, value: impl std::fmt::Display) {
    arguments.push(name.to_owned());
    arguments.push(value.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Role};
    use clap::Parser;

    #[test]
    fn cores_are_chosen_and_checked() {
        let two = Cores {
            engine: 0,
            loadgen: 1,
        };
        assert_eq!(choose(&[], &[0, 1, 2], false), Ok(two));
        assert_eq!(
            choose(&[5, 3], &[3, 5], false),
            Ok(Cores {
                engine: 5,
                loadgen: 3
            })
        );
        assert!(
            choose(&[7, 0], &[0, 1], true)
                .expect_err("7")
                .contains("allowed cores")
        );
        assert!(
            choose(&[], &[4], false)
                .expect_err("one")
                .contains("--allow-shared-core")
        );
        assert!(choose(&[], &[4], true).is_ok_and(|cores| cores.shared()));
    }

    #[test]
    fn folders_of_dead_benches_go_and_others_stay() {
        let home = std::env::temp_dir().join(format!("sirocco-stale-{}", std::process::id()));
        // Process numbers end far below the first one.
        let names = [
            "run-4294967295".to_owned(),
            format!("run-{}", std::process::id()),
            "kept".to_owned(),
        ];
        names
            .iter()
            .for_each(|name| std::fs::create_dir_all(home.join(name)).unwrap());
        remove_stale(&home);
        assert_eq!(
            names.map(|name| home.join(name).exists()),
            [false, true, true]
        );
        std::fs::remove_dir_all(&home).unwrap();
    }

    #[test]
    fn the_children_understand_their_arguments() {
        for name in [
            "dispatch", "direct", "null", "overload", "sessions", "faults",
        ] {
            let scenario = Scenario::find(name).unwrap();
            let records = Records {
                engine: Some("e".into()),
                loadgen: Some("l".into()),
            };
            let cores = Cores {
                engine: 2,
                loadgen: 3,
            };
            let generators = Generators::one(3);
            let setting = (cores, &generators);
            let engine = engine(&scenario, setting, &records, Path::new("hops"));
            let parsed = Cli::try_parse_from(words(&["sirocco"]).iter().chain(&engine));
            let Role::Engine(engine) = parsed.unwrap().role else {
                panic!("{name}")
            };
            assert_eq!(
                (engine.core, engine.generate),
                (Some(2), Some(scenario.population.identities))
            );
            let config = share::config(&scenario, setting, &records, 0).unwrap();
            let parsed = Cli::try_parse_from(words(&["sirocco"]).iter().chain(&loadgen(&config)));
            let Role::Loadgen(loadgen) = parsed.unwrap().role else {
                panic!("{name}")
            };
            assert!(loadgen.child && loadgen.held);
            let settings = loadgen.scenario_json.as_deref().unwrap_or("{}");
            let settings: LoadgenConfig = serde_json::from_str(settings).unwrap();
            assert_eq!(settings, config);
            settings.validate().unwrap();
            assert_eq!(
                settings.session.is_some(),
                scenario.has_sessions(),
                "{name}"
            );
        }
    }
}
