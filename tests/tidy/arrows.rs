//! The arrows between crates: who may depend on whom, read from every Cargo.toml, tests and benches
//! included. The judge (loadgen) must not link what it judges, and nothing links the tests.

use crate::source::{File, tree};
use crate::{Fault, hold};

/// Each crate by its directory, and the crates of Sirocco that it may depend on.
const ARROWS: [(&str, &str, &[&str]); 10] = [
    ("engine/wire", "sirocco-wire", &[]),
    ("engine/ring", "sirocco-ring", &[]),
    ("engine/index", "sirocco-index", &[]),
    ("engine/schedule", "sirocco-schedule", &[]),
    ("engine/session", "sirocco-session", &["sirocco-wire"]),
    (
        "engine/dispatch",
        "sirocco-dispatch",
        &[
            "sirocco-wire",
            "sirocco-ring",
            "sirocco-index",
            "sirocco-schedule",
            "sirocco-session",
        ],
    ),
    (
        "loadgen",
        "sirocco-loadgen",
        &["sirocco-wire", "sirocco-ring"],
    ),
    ("bench", "sirocco", ENGINE_AND_LOADGEN),
    ("tests", "sirocco-tests", ENGINE_AND_LOADGEN),
    ("tests/fuzz", "sirocco-fuzz", ENGINE_AND_LOADGEN),
];

/// What the ends of the arrows may depend on: all but each other.
const ENGINE_AND_LOADGEN: &[&str] = &[
    "sirocco-wire",
    "sirocco-ring",
    "sirocco-index",
    "sirocco-schedule",
    "sirocco-session",
    "sirocco-dispatch",
    "sirocco-loadgen",
];

const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Whether Sirocco has a package of this name; a name in capitals stands for any.
pub fn is_package(name: &str) -> bool {
    let stands_for_any = name.bytes().all(|octet| octet.is_ascii_uppercase());
    stands_for_any || ARROWS.iter().any(|(_, known, _)| *known == name)
}

/// Every dependency on a crate of Sirocco that no arrow allows.
fn arrows(file: &File) -> Vec<Fault> {
    let Some(directory) = file.path.strip_suffix("/Cargo.toml") else {
        return Vec::new();
    };
    let manifest: toml::Table = file.text.parse().expect("cargo reads it too");
    let Some((_, name, allowed)) = ARROWS.iter().find(|(known, ..)| *known == directory) else {
        let what =
            "a crate without arrows; add it to ARROWS in tests/tidy/arrows.rs and to the design";
        return vec![Fault::new(file, 1, what)];
    };
    let package = &manifest["package"]["name"];
    let mut faults = Vec::new();
    if package.as_str() != Some(name) {
        faults.push(Fault::new(
            file,
            2,
            format!("is {package}; name it {name:?}"),
        ));
    }
    for dependency in dependencies(&manifest) {
        let ours = ARROWS.iter().any(|(_, known, _)| *known == dependency);
        if ours && !allowed.contains(&dependency.as_str()) {
            let line = file.lines().find(|(_, line)| line.starts_with(&dependency));
            let what = format!(
                "{name} must not depend on {dependency}; move what both need to a crate that it may use"
            );
            faults.push(Fault::new(file, line.map_or(1, |(line, _)| line), what));
        }
    }
    faults
}

/// Names of all dependencies: of tests, of build scripts and of single targets too, renamed ones by
/// what they really are.
fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let mut tables = vec![manifest];
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    tables.extend(targets.into_iter().flat_map(|targets| {
        let each = targets.values();
        each.filter_map(toml::Value::as_table)
    }));
    let mut names = Vec::new();
    for table in tables {
        for section in SECTIONS {
            let listed = table.get(section).and_then(toml::Value::as_table);
            for (name, detail) in listed.into_iter().flatten() {
                let renamed = detail.get("package").and_then(toml::Value::as_str);
                names.push(renamed.unwrap_or(name).to_owned());
            }
        }
    }
    names
}

#[test]
fn crates_depend_along_the_arrows_only() {
    let files = tree();
    let faults: Vec<_> = files.iter().flat_map(arrows).collect();
    hold(&faults);
    for (directory, ..) in ARROWS {
        let manifest = format!("{directory}/Cargo.toml");
        assert!(
            files.iter().any(|file| file.path == manifest),
            "{manifest} is gone"
        );
    }
}

#[test]
fn an_arrow_the_wrong_way_is_caught() {
    let manifest = |body: &str| format!("[package]\nname = \"sirocco-loadgen\"\n{body}");
    let path = "loadgen/Cargo.toml";
    let allowed = manifest("[dependencies]\nsirocco-wire = \"1\"\nlibc = \"1\"\n");
    crate::assert_caught(arrows, path, &allowed, &[]);
    let judged = manifest("[dev-dependencies]\nsirocco-index.workspace = true\n");
    crate::assert_caught(arrows, path, &judged, &[4]);
    let target = manifest("[target.'cfg(unix)'.dependencies]\nsirocco-tests = \"1\"\n");
    crate::assert_caught(arrows, path, &target, &[4]);
    let renamed = manifest("[dependencies]\nother = { package = \"sirocco\" }\n");
    crate::assert_caught(arrows, path, &renamed, &[1]);
    crate::assert_caught(arrows, "extra/Cargo.toml", &allowed, &[1]);
}
