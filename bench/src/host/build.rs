//! How the running program was built: compiler, profile, flags, and a hash of its file, so that a record
//! says which binary made it. `bench/build.rs` tells most of it at build time. Part of the fingerprint.

use std::fs;
use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

/// One build of the program; texts are empty where a record does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Build {
    /// Compiler, as `rustc -V` names it.
    pub rustc: String,
    /// Target triple.
    pub target: String,
    /// Profile: `release`, `debug`.
    pub profile: String,
    /// Settings of the profile in the manifest and in CARGO_PROFILE_*: lto, codegen-units, panic, debug.
    pub profile_settings: String,
    /// Optimisation level.
    pub opt_level: String,
    /// Whether debug assertions are compiled in: `yes` or `no`.
    pub debug_assertions: String,
    /// Flags of the compiler beside the profile's, such as `-C target-cpu=native`.
    pub rustflags: String,
    /// CPU features that the compiler may use.
    pub cpu_features: String,
    /// Cargo features.
    pub cargo_features: String,
    /// SipHash-1-3 of the program's file, in hexadecimal digits.
    pub binary_hash: String,
}

impl Build {
    /// The build of the running program.
    #[must_use]
    pub fn running() -> Self {
        let told = str::to_owned;
        Self {
            rustc: told(env!("SIROCCO_BUILD_RUSTC")),
            target: told(env!("SIROCCO_BUILD_TARGET")),
            profile: told(env!("SIROCCO_BUILD_PROFILE")),
            profile_settings: told(env!("SIROCCO_BUILD_SETTINGS")),
            opt_level: told(env!("SIROCCO_BUILD_OPT_LEVEL")),
            debug_assertions: told(if cfg!(debug_assertions) { "yes" } else { "no" }),
            rustflags: told(env!("SIROCCO_BUILD_FLAGS")),
            cpu_features: told(env!("SIROCCO_BUILD_CPU_FEATURES")),
            cargo_features: told(env!("SIROCCO_BUILD_FEATURES")),
            binary_hash: binary_hash("/proc/self/exe"),
        }
    }
}

/// SipHash-1-3 of a file, in hexadecimal digits; empty when it cannot be read.
#[must_use]
pub fn binary_hash(path: impl AsRef<std::path::Path>) -> String {
    let hash = |bytes: Vec<u8>| {
        let mut hasher = SipHasher13::new();
        hasher.write(&bytes);
        format!("{:016x}", hasher.finish())
    };
    fs::read(path).map(hash).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_of_this_test_is_known() {
        let build = Build::running();
        assert!(build.rustc.starts_with("rustc 1."), "{build:?}");
        assert!(!build.target.is_empty() && build.binary_hash.len() == 16);
        assert_eq!(build.debug_assertions == "yes", cfg!(debug_assertions));
    }

    #[test]
    fn a_file_that_is_not_there_has_no_hash() {
        assert_eq!(binary_hash("/nowhere"), "");
    }
}
