//! `sirocco ab` from outside: programs that write prepared records stand in for builds, so that what is
//! judged is known; a cargo that builds them stands in for the real one, which takes minutes; and the
//! command itself runs once against itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::PoisonError;

use serde_json::Value;

use crate::bench::TURN;
use crate::process::{Directory, Ended, run};
use crate::sirocco;

/// CPU time in the prepared record, which a stand-in replaces.
const PLACE: f64 = 987_654_321.5;

/// A kept record with one run, whose CPU time is [`PLACE`].
fn prepared(folder: &Path) -> PathBuf {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/records/dispatch.json");
    let text = fs::read_to_string(kept).expect("a kept record");
    let mut record: Value = serde_json::from_str(&text).expect("JSON");
    record["runs"].as_array_mut().expect("runs").truncate(1);
    record["runs"][0]["engine"]["cpu_ns_per_sir"] = PLACE.into();
    let path = folder.join("record.json");
    fs::write(&path, record.to_string()).expect("a writable folder");
    path
}

/// The words of a program that writes the record with a CPU time of 300 ns times `factor`, off by up to
/// 1 % from run to run, on a machine that gets slower all the time.
fn stand_in(folder: &Path, record: &Path, factor: f64) -> String {
    format!(
        r#"#!/bin/sh
for last; do :; done
echo "$@" >> {folder}/runs
awk -v n="$(wc -l < {folder}/runs)" \
    '{{ gsub("{PLACE}", 300 * {factor} * (1 + 0.01 * n) * (1 + 0.002 * (n * 7 % 5 - 2))); print }}' \
    {record} > "$last"
"#,
        folder = folder.display(),
        record = record.display(),
    )
}

fn executable(path: &Path, words: &str) {
    fs::write(path, words).expect("a writable folder");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a file of ours");
}

/// Compares two stand-ins that take `a` and `b` times as long.
fn compared(folder: &Directory, (a, b): (f64, f64), options: &str) -> Ended {
    let record = prepared(folder.path());
    for (name, factor) in [("a", a), ("b", b)] {
        executable(
            &folder.file(name),
            &stand_in(folder.path(), &record, factor),
        );
    }
    let mut command = sirocco(folder.path());
    command.args("ab --bin-a a --bin-b b --quiet --json -".split(' '));
    run(command.args(options.split_whitespace()))
}

/// A metric of the JSON.
fn judged(ended: &Ended, metric: &str) -> Value {
    let outcome: Value = serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", ended.stdout, ended.stderr));
    assert_eq!(outcome["schema"], "sirocco.ab/1");
    let findings = outcome["findings"].as_array().expect("findings").clone();
    let mut findings = findings.into_iter();
    findings
        .find(|finding| finding["metric"] == metric)
        .expect("the metric")
}

#[test]
fn a_build_that_is_five_percent_slower_is_a_regression_and_a_faster_one_passes() {
    let folder = Directory::new("ab");
    let slower = compared(&folder, (1.0, 1.05), "--pairs 8");
    assert_eq!(slower.code, Some(1), "{slower:?}");
    let cpu = judged(&slower, "cpu_ns_per_sir");
    assert_eq!(
        (&cpu["word"], &cpu["regression"]),
        (&"worse".into(), &true.into()),
        "{cpu}"
    );
    // Two runs of a pair lie 1 % apart by the drift; the random order takes it out of the estimate.
    let change = cpu["ratio"]["estimate"].as_f64().expect("a ratio") - 1.0;
    assert!((change - 0.05).abs() < 0.015, "{cpu}");
    assert!(
        cpu["floor"]
            .as_f64()
            .is_some_and(|floor| (0.001..0.03).contains(&floor)),
        "{cpu}"
    );
    let written = judged(&slower, "bytes_written_per_sir");
    assert_eq!(written["word"], "same");
    let faster = compared(&folder, (1.05, 1.0), "--pairs 8");
    assert_eq!(faster.code, Some(0), "{faster:?}");
    assert_eq!(judged(&faster, "cpu_ns_per_sir")["word"], "better");
}

#[test]
fn what_shows_nothing_says_so_and_few_pairs_pass_nothing() {
    let folder = Directory::new("ab-same");
    let same = compared(&folder, (1.0, 1.0), "--pairs 8");
    assert_eq!(same.code, Some(0), "{same:?}");
    assert_eq!(judged(&same, "cpu_ns_per_sir")["word"], "none-shown");
    let few = compared(&folder, (1.0, 1.5), "--pairs 3");
    assert_eq!(few.code, Some(2), "{few:?}");
    assert_eq!(judged(&few, "cpu_ns_per_sir")["word"], "cannot-tell");
}

#[test]
fn each_run_gets_the_options_and_the_seed_gives_the_order() {
    let folder = Directory::new("ab-order");
    let order = |seed: &str| {
        let ended = compared(
            &folder,
            (1.0, 1.0),
            &format!("--pairs 8 --seed {seed} -- --rate 5"),
        );
        let outcome: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        outcome["b_first"].clone()
    };
    assert_eq!(order("3"), order("3"));
    // Four blocks are drawn: two seeds of sixteen may agree, five may not.
    assert!(
        ["4", "5", "6", "7"]
            .iter()
            .any(|seed| order(seed) != order("3"))
    );
    let runs = fs::read_to_string(folder.file("runs")).expect("runs");
    let first = runs.lines().next().expect("a run");
    assert!(
        first.starts_with("bench --rate 5 --repetitions 1 --no-ceiling --quiet --json "),
        "{first}"
    );
    // Eight pairs after eight of A against itself in each comparison.
    assert_eq!(runs.lines().count() % 32, 0);
}

#[test]
fn runs_that_fail_are_told_apart() {
    let folder = Directory::new("ab-fails");
    let record = prepared(folder.path());
    let sound = stand_in(folder.path(), &record, 1.0);
    executable(&folder.file("sound"), &sound);
    let verdict = |valid: bool, passed: bool| {
        let mut record: Value =
            serde_json::from_str(&fs::read_to_string(&record).expect("text")).expect("JSON");
        record["verdict"] =
            serde_json::json!({ "valid": valid, "passed": passed, "reasons": ["as prepared"] });
        format!("#!/bin/sh\nfor last; do :; done\necho '{record}' > \"$last\"\nexit 2\n")
    };
    executable(&folder.file("failing"), &verdict(true, false));
    executable(&folder.file("invalid"), &verdict(false, true));
    executable(
        &folder.file("strange"),
        "#!/bin/sh\necho no such option >&2\nexit 4\n",
    );
    executable(&folder.file("dead"), "#!/bin/sh\nkill -9 $$\n");
    let code = |a: &str, b: &str, words: &str| {
        let mut command = sirocco(folder.path());
        command.args(["ab", "--pairs", "2", "--quiet", "--bin-a", a, "--bin-b", b]);
        let ended = run(&mut command);
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
        ended.code
    };
    assert_eq!(
        code(
            "sound",
            "failing",
            "B failed a check of its run: as prepared"
        ),
        Some(1)
    );
    assert_eq!(code("failing", "sound", "A failed a check"), Some(2));
    assert_eq!(
        code("sound", "invalid", "only 0 of 2 pairs were valid in 4"),
        Some(2)
    );
    assert_eq!(code("sound", "strange", "no such option"), Some(4));
    assert_eq!(code("sound", "dead", "B made no record"), Some(2));
    assert_eq!(code("sound", "nowhere", "no program there"), Some(4));
}

/// A repository of two commits, the second of which makes a program that takes a fifth longer, and a cargo
/// that says what it was asked and copies that program.
struct Repository {
    folder: Directory,
}

impl Repository {
    fn new() -> Self {
        let own = Self {
            folder: Directory::new("ab-git"),
        };
        let (tools, tree) = (own.folder.file("tools"), own.tree());
        fs::create_dir_all(&tools).expect("a folder");
        fs::create_dir_all(&tree).expect("a folder");
        let record = prepared(own.folder.path());
        own.git("init --quiet");
        fs::write(tree.join(".gitignore"), "/target\n").expect("a file");
        for factor in [1.0, 1.2] {
            let words = stand_in(own.folder.path(), &record, factor);
            fs::write(tree.join("program"), words).expect("a file");
            own.git("add .");
            own.git("commit --quiet --message change");
        }
        let cargo = format!(
            r#"#!/bin/sh
echo "$PWD $*" >> {log}
while [ "$1" != --target-dir ]; do shift; done
mkdir -p "$2"
cp program "$2/sirocco" && chmod +x "$2/sirocco"
echo '{{"target":{{"name":"sirocco","kind":["bin"]}},"executable":"'"$2"'/sirocco"}}'
"#,
            log = own.folder.file("builds").display()
        );
        executable(&tools.join("cargo"), &cargo);
        own
    }

    fn tree(&self) -> PathBuf {
        self.folder.file("tree")
    }

    fn git(&self, arguments: &str) {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@example.net"])
            .current_dir(self.tree());
        let ended = run(git.args(arguments.split(' ')));
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }

    fn ab(&self, arguments: &str) -> Ended {
        let search = std::env::var("PATH").expect("a search path");
        let mut command = sirocco(&self.tree());
        command.env(
            "PATH",
            format!("{}:{search}", self.folder.file("tools").display()),
        );
        command.args("ab --quiet --json -".split(' '));
        run(command.args(arguments.split_whitespace()))
    }

    fn builds(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.file("builds")).unwrap_or_default();
        fs::remove_file(self.folder.file("builds")).ok();
        log.lines().map(str::to_owned).collect()
    }
}

#[test]
fn revisions_are_built_in_checkouts_and_target_folders_of_their_own() {
    let repository = Repository::new();
    let ended = repository.ab("HEAD~1 HEAD --pairs 8");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let outcome: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(outcome["same_binary"], false);
    assert_ne!(outcome["a"]["commit"], outcome["b"]["commit"]);
    let builds = repository.builds();
    assert_eq!(builds.len(), 2, "{builds:?}");
    let word = |line: &str, at: usize| line.split(' ').nth(at).map(str::to_owned);
    let target = |line: &str| {
        line.split("--target-dir ")
            .nth(1)
            .and_then(|rest| word(rest, 0))
    };
    assert_ne!(
        word(&builds[0], 0),
        word(&builds[1], 0),
        "one checkout each"
    );
    assert_ne!(
        target(&builds[0]),
        target(&builds[1]),
        "one target folder each"
    );
    assert!(builds[0].contains("--profile release") && builds[0].contains("--locked"));

    // The checkouts are taken again; features make another build of the same commit.
    let ended = repository.ab("HEAD HEAD --features-b slow --pairs 6");
    let outcome: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(
        (outcome["same_binary"].clone(), ended.code),
        (true.into(), Some(0)),
        "{ended:?}"
    );
    let builds = repository.builds();
    assert!(!builds[0].contains("--features") && builds[1].contains("--features slow"));
    assert_ne!(target(&builds[0]), target(&builds[1]));
}

#[test]
fn a_dirty_tree_is_never_taken_for_its_commit() {
    let repository = Repository::new();
    let tree = repository.tree();
    fs::copy(tree.join("program"), repository.folder.file("kept")).expect("a copy");
    let slower = fs::read_to_string(tree.join("program"))
        .expect("text")
        .replace("1.2", "2.4");
    fs::write(tree.join("program"), slower).expect("a file");
    let refused = repository.ab("HEAD~1 HEAD");
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("the working tree differs from HEAD"),
        "{refused:?}"
    );
    let both = repository.ab("HEAD . --pairs 6");
    assert_eq!(both.code, Some(1), "{both:?}");
    let outcome: Value = serde_json::from_str(&both.stdout).expect("JSON");
    let commit = outcome["b"]["commit"].as_str().expect("a commit");
    assert!(commit.ends_with("-dirty"), "{commit}");
    assert_eq!(
        repository.ab("HEAD~1 HEAD --ignore-dirty --pairs 6").code,
        Some(1)
    );
    assert_eq!(repository.ab("nowhere HEAD").code, Some(4));
    // Somebody has worked in the checkout.
    let commit = outcome["a"]["commit"].as_str().expect("a commit");
    fs::write(
        tree.join("target/sirocco/ab")
            .join(commit)
            .join("tree/more"),
        "x",
    )
    .expect("a file");
    let foreign = repository.ab("HEAD .");
    assert_eq!(foreign.code, Some(4), "{foreign:?}");
    assert!(
        foreign.stderr.contains("is no clean checkout"),
        "{foreign:?}"
    );
}

#[test]
fn the_command_runs_against_itself() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Directory::new("ab-itself");
    let program = env!("CARGO_BIN_EXE_sirocco");
    let mut command = sirocco(folder.path());
    command.args(["ab", "--bin-a", program, "--bin-b", program]);
    command
        .args("--pairs 1 --force -- --scenario null --identities 2000 --duration 200ms".split(' '));
    let ended = run(command.arg("--allow-shared-core"));
    // One pair tells nothing, however it ends.
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for words in [
        "the two binaries are the same file",
        "cpu_ns_per_sir",
        "too few pairs",
    ] {
        assert!(ended.stdout.contains(words), "{words}: {ended:?}");
    }
}
