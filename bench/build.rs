//! Says at build time how the program is built, for the fingerprint in each record: compiler, profile,
//! flags. Reads what cargo tells build scripts and the workspace's manifest; changes nothing in the
//! build. Settings given to cargo by `--config` are not told to build scripts and so not seen.

use std::env;
use std::fs;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../Cargo.toml");
    let told = |name: &str| env::var(name).unwrap_or_default();
    let version = Command::new(told("RUSTC")).arg("-V").output();
    let rustc = version.map_or_else(
        |_| String::new(),
        |out| String::from_utf8_lossy(&out.stdout).trim().to_owned(),
    );
    let profile = told("PROFILE");
    let mut features: Vec<String> = env::vars()
        .filter_map(|(name, _)| Some(name.strip_prefix("CARGO_FEATURE_")?.to_lowercase()))
        .collect();
    features.sort();
    for (name, value) in [
        ("RUSTC", rustc),
        ("TARGET", told("TARGET")),
        ("OPT_LEVEL", told("OPT_LEVEL")),
        (
            "FLAGS",
            told("CARGO_ENCODED_RUSTFLAGS").replace('\u{1f}', " "),
        ),
        ("CPU_FEATURES", told("CARGO_CFG_TARGET_FEATURE")),
        ("FEATURES", features.join(",")),
        ("SETTINGS", settings(&profile)),
        ("PROFILE", profile),
    ] {
        println!("cargo::rustc-env=SIROCCO_BUILD_{name}={value}");
    }
}

/// Settings of the profile: those of the manifest, then those of the environment, which win.
fn settings(profile: &str) -> String {
    let section = if profile == "debug" { "dev" } else { profile };
    let manifest = fs::read_to_string("../Cargo.toml").unwrap_or_default();
    let mut found: Vec<String> = manifest
        .lines()
        .skip_while(|line| line.trim() != format!("[profile.{section}]"))
        .skip(1)
        .take_while(|line| !line.trim_start().starts_with('['))
        .filter(|line| line.contains('='))
        .map(|line| line.replace([' ', '"'], ""))
        .collect();
    let prefix = format!("CARGO_PROFILE_{}_", section.to_uppercase());
    for setting in ["LTO", "CODEGEN_UNITS", "OPT_LEVEL", "PANIC", "DEBUG"] {
        let name = format!("{prefix}{setting}");
        println!("cargo::rerun-if-env-changed={name}");
        if let Ok(value) = env::var(&name) {
            found.push(format!("{name}={value}"));
        }
    }
    found.join(" ")
}
