//! `compare` on records in files: exit codes, what is refused, folders. Figures are made up; no run is made.

use super::*;
use crate::record::tests::sound;

/// A folder of a test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("sirocco-compare-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, record: &Record) -> PathBuf {
        let path = self.0.join(name);
        record.write(&path).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn record(cpu_ns: [f64; 6]) -> Record {
    let mut record = sound();
    let run = record.runs[0].clone();
    let runs = cpu_ns.map(|cpu| {
        let mut run = run.clone();
        run.engine.cpu_ns_per_sir = cpu;
        run
    });
    record.runs = runs.into();
    record
}

fn args(a: &Path, b: &Path) -> CompareArgs {
    CompareArgs {
        a: a.to_owned(),
        b: b.to_owned(),
        force: false,
        threshold: 0.05,
        confidence: 0.95,
        json: None,
        quiet: true,
    }
}

const STEADY: [f64; 6] = [400.0, 401.0, 399.0, 400.0, 402.0, 398.0];

#[test]
fn exit_codes_tell_a_regression_from_a_pass_and_from_nothing() {
    let folder = Folder::new("codes");
    let steady = folder.write("a.json", &record(STEADY));
    let slow = folder.write("b.json", &record(STEADY.map(|cpu| cpu * 1.2)));
    let single = {
        let mut single = record(STEADY);
        single.runs.truncate(1);
        // Without the counters, which one run is enough for.
        single.devices = 0;
        folder.write("c.json", &single)
    };
    assert_eq!(start(&args(&steady, &steady)), 0);
    assert_eq!(start(&args(&steady, &slow)), EXIT_FAILED);
    assert_eq!(start(&args(&slow, &steady)), 0);
    let comparison = compare(&args(&single, &single)).unwrap();
    let cpu = (comparison.scenarios[0].figures.iter())
        .find(|figure| figure.metric == "engine_cpu_ns_per_sir");
    assert_eq!(cpu.unwrap().finding, Finding::TooFewSamples);
    assert_eq!(
        start(&args(&folder.0.join("none.json"), &steady)),
        EXIT_INVALID
    );
}

#[test]
fn unlike_machines_and_scenarios_are_refused_by_name_unless_forced() {
    let folder = Folder::new("unlike");
    let a = folder.write("a.json", &record(STEADY));
    let mut other = record(STEADY);
    other.host.kernel = "7.0".to_owned();
    other.config.next_hops += 1;
    other.config.runs.measured_ms += 1;
    let mut same_kernel = record(STEADY);
    same_kernel.host.kernel = "6.18".to_owned();
    let b = folder.write("b.json", &other);
    let known = folder.write("known.json", &same_kernel);
    let refused = compare(&args(&known, &b)).unwrap();
    let named = refused.scenarios[0].refused.join("\n");
    assert!(named.contains("kernel: `6.18` and `7.0`"), "{named}");
    assert!(named.contains("/next-hops"), "{named}");
    assert!(!named.contains("measured-ms"), "{named}");
    assert!(refused.scenarios[0].figures.is_empty());
    assert_eq!(refused.exit_code(), EXIT_INVALID);
    let mut forced = args(&known, &b);
    forced.force = true;
    let forced = compare(&forced).unwrap();
    assert!(!forced.scenarios[0].figures.is_empty());
    assert!(forced.scenarios[0].warned.join("\n").contains("kernel"));
    // A side that does not tell its kernel is an older record.
    let unknown = compare(&args(&a, &known)).unwrap();
    assert!(unknown.scenarios[0].refused.is_empty());
}

#[test]
fn an_invalid_run_is_refused() {
    let folder = Folder::new("invalid");
    let a = folder.write("a.json", &record(STEADY));
    let mut invalid = record(STEADY);
    invalid.verdict.valid = false;
    invalid.verdict.reasons = vec!["the core was shared".to_owned()];
    let b = folder.write("b.json", &invalid);
    let comparison = compare(&args(&a, &b)).unwrap();
    assert!(comparison.scenarios[0].refused[0].contains("the core was shared"));
}

#[test]
fn folders_are_pooled_by_scenario_and_strange_files_passed_over() {
    let folder = Folder::new("folders");
    let (a, b) = (Folder(folder.0.join("a")), Folder(folder.0.join("b")));
    for side in [&a, &b] {
        fs::create_dir_all(&side.0).unwrap();
        side.write("1.json", &record(STEADY));
        side.write("2.json", &record(STEADY));
    }
    fs::write(a.0.join("notes.json"), "[1]").unwrap();
    let mut lone = record(STEADY);
    lone.scenario = "fanout".to_owned();
    b.write("3.json", &lone);
    let comparison = compare(&args(&a.0, &b.0)).unwrap();
    assert_eq!(comparison.alone, ["fanout"]);
    let cpu = &comparison.scenarios[0].figures[1];
    assert_eq!((cpu.a.samples.len(), cpu.b.samples.len()), (12, 12));
}

#[test]
fn nothing_shared_says_what_each_side_has() {
    let folder = Folder::new("shared");
    let a = folder.write("a.json", &record(STEADY));
    let mut other = record(STEADY);
    other.scenario = "fanout".to_owned();
    let b = folder.write("b.json", &other);
    let error = compare(&args(&a, &b))
        .expect_err("nothing shared")
        .to_string();
    assert!(
        error.contains("dispatch") && error.contains("fanout"),
        "{error}"
    );
}

#[test]
fn the_table_puts_differences_first() {
    let folder = Folder::new("table");
    let a = folder.write("a.json", &record(STEADY));
    let b = folder.write("b.json", &record(STEADY.map(|cpu| cpu * 1.2)));
    let text = table::comparison(&compare(&args(&a, &b)).unwrap());
    let (cpu, rate) = (text.find("engine_cpu_ns_per_sir"), text.find("sirs_per_s"));
    assert!(cpu.unwrap() < rate.unwrap(), "{text}");
    assert!(text.contains("regression"), "{text}");
}
