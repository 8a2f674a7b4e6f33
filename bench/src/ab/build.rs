//! From a revision to a program: a checkout of its own (git worktree), a target folder of its own, one
//! `cargo build`. Two checkouts that share a target folder can pass as fresh builds of one another, so no
//! folder is ever shared, and what is found there is taken again only when it is clean and at the right
//! commit. Called by `ab`.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::cli::AbArgs;
use crate::host::binary_hash;

/// What one side is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A program that is there.
    Built(PathBuf),
    /// A revision, built with these features.
    Revision {
        /// As git names it, or `.`.
        revision: String,
        /// Cargo features; empty for none.
        features: String,
    },
}

/// A program to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// What was asked for: a revision, `.` or a path.
    pub given: String,
    /// Commit that it was built from, `-dirty` when the working tree differs; empty for a program given.
    pub commit: String,
    /// Cargo features; empty for none.
    pub features: String,
    /// Its file.
    pub path: PathBuf,
    /// SipHash-1-3 of the file in hexadecimal digits.
    pub binary_hash: String,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)?;
        if !self.commit.is_empty() {
            write!(f, ", commit {}", self.commit)?;
        }
        if !self.features.is_empty() {
            write!(f, ", features {}", self.features)?;
        }
        write!(f, ", binary {}", self.binary_hash)
    }
}

/// Why there is no program.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A program that was given cannot be read.
    #[error("{0}: no program there that can be read")]
    NoProgram(PathBuf),
    /// git knows no such revision, or this is no repository.
    #[error("no revision {revision}: {said}; give one that git knows, or . for the working tree")]
    NoRevision {
        /// What was given.
        revision: String,
        /// What git said.
        said: String,
    },
    /// HEAD was asked for, and the working tree is another.
    #[error(
        "the working tree differs from {0}, which would be built without the changes: give . to measure \
         the tree as it is, commit, or give --ignore-dirty"
    )]
    Dirty(String),
    /// Something else lies where the checkout has to be.
    #[error("{path} is no clean checkout of {commit}; remove it with git worktree remove --force")]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What should be there.
        commit: String,
    },
    /// A command failed.
    #[error("{what}: {said}")]
    Failed {
        /// What was being done.
        what: String,
        /// Its last words.
        said: String,
    },
    /// The system refused something.
    #[error("{what}: {error}")]
    System {
        /// What was being done.
        what: String,
        /// What the system said.
        error: io::Error,
    },
}

impl BuildError {
    /// Whether the user asked for what cannot be.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NoProgram(_) | Self::NoRevision { .. } | Self::Dirty(_) | Self::Foreign { .. }
        )
    }
}

/// The program of one side, built if it has to be.
///
/// # Errors
/// [`BuildError`] says what to do.
pub fn program(wanted: &Wanted, args: &AbArgs, scratch: &Path) -> Result<Program, BuildError> {
    let (revision, features) = match wanted {
        Wanted::Built(path) => {
            // The runs may have another search path: the file itself, not a name.
            let path = fs::canonicalize(path).map_err(|_| BuildError::NoProgram(path.clone()))?;
            let given = path.display().to_string();
            return hashed(Program {
                given,
                path,
                ..Program::default()
            });
        }
        Wanted::Revision { revision, features } => (revision, features),
    };
    let scratch = made(scratch)?;
    let here = Path::new(".");
    let top = PathBuf::from(resolved(here, revision, &["rev-parse", "--show-toplevel"])?);
    let head = resolved(here, revision, &["rev-parse", "--verify", "HEAD"])?;
    let is_dirty = is_changed(&top)?;
    let tree = revision == ".";
    let commit = match tree {
        true => head.clone(),
        false => {
            let name = format!("{revision}^{{commit}}");
            resolved(
                here,
                revision,
                &["rev-parse", "--verify", "--end-of-options", &name],
            )?
        }
    };
    let is_mixed = args.revisions.iter().any(|revision| revision == ".");
    if !tree && is_dirty && commit == head && !is_mixed && !args.ignore_dirty {
        return Err(BuildError::Dirty(revision.clone()));
    }
    let short = &commit[..commit.len().min(12)];
    let (checkout, folder) = match tree {
        true => (top, scratch.join("working-tree")),
        false => {
            let folder = scratch.join(short);
            (checkout(&top, &folder.join("tree"), &commit)?, folder)
        }
    };
    let target = folder.join(format!(
        "target-{}",
        plain(&format!("{}-{features}", args.profile))
    ));
    let dirty = if tree && is_dirty { "-dirty" } else { "" };
    hashed(Program {
        given: revision.clone(),
        commit: format!("{short}{dirty}"),
        features: features.clone(),
        path: cargo(&checkout, &target, (features, !tree), args)?,
        ..Program::default()
    })
}

fn hashed(program: Program) -> Result<Program, BuildError> {
    let binary_hash = binary_hash(&program.path);
    if binary_hash.is_empty() {
        return Err(BuildError::NoProgram(program.path));
    }
    Ok(Program {
        binary_hash,
        ..program
    })
}

/// A name without what a path gives a meaning to.
fn plain(name: &str) -> String {
    let kept = |c: char| if c.is_alphanumeric() { c } else { '-' };
    name.trim_end_matches('-').chars().map(kept).collect()
}

/// The folder, made and as an absolute path: git and cargo run elsewhere.
fn made(folder: &Path) -> Result<PathBuf, BuildError> {
    let made = fs::create_dir_all(folder).and_then(|()| fs::canonicalize(folder));
    made.map_err(|error| BuildError::System {
        what: format!("cannot make {}", folder.display()),
        error,
    })
}

/// The clean checkout of `commit` at `tree`: the one that is there, or a new one.
fn checkout(top: &Path, tree: &Path, commit: &str) -> Result<PathBuf, BuildError> {
    if tree.exists() {
        let is_own = git(tree, &["rev-parse", "HEAD"])? == commit
            && git(tree, &["rev-parse", "--show-prefix"])?.is_empty()
            && !is_changed(tree)?;
        return match is_own {
            true => Ok(tree.to_owned()),
            false => Err(BuildError::Foreign {
                path: tree.to_owned(),
                commit: commit.to_owned(),
            }),
        };
    }
    // A checkout that somebody deleted is still known to git.
    git(top, &["worktree", "prune"])?;
    let path = tree.to_string_lossy();
    git(
        top,
        &["worktree", "add", "--quiet", "--detach", &path, commit],
    )?;
    Ok(tree.to_owned())
}

/// Whether tracked files differ from HEAD, or files lie there that git neither tracks nor ignores.
fn is_changed(tree: &Path) -> Result<bool, BuildError> {
    Ok(!git(tree, &["status", "--porcelain"])?.is_empty())
}

/// Builds the command and returns its program.
fn cargo(
    checkout: &Path,
    target: &Path,
    (features, locked): (&str, bool),
    args: &AbArgs,
) -> Result<PathBuf, BuildError> {
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(checkout)
        .args(["build", "-p", "sirocco", "--bin", "sirocco"]);
    cargo.args([
        "--message-format=json-render-diagnostics",
        "--profile",
        &args.profile,
    ]);
    cargo.arg("--target-dir").arg(target);
    if locked {
        cargo.arg("--locked");
    }
    if !features.is_empty() {
        cargo.args(["--features", features]);
    }
    if args.quiet {
        cargo.arg("--quiet");
    }
    let what = format!("cargo build in {}", checkout.display());
    let ended = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let ended = ended.map_err(|error| BuildError::System {
        what: what.clone(),
        error,
    })?;
    let failed = |said: &str| BuildError::Failed {
        what: what.clone(),
        said: said.to_owned(),
    };
    if !ended.status.success() {
        return Err(failed("it failed, see above"));
    }
    let messages = String::from_utf8_lossy(&ended.stdout);
    let program = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_own =
            message["target"]["name"] == "sirocco" && message["target"]["kind"][0] == "bin";
        let program = message["executable"].as_str().map(PathBuf::from);
        program.filter(|_| is_own)
    });
    program.ok_or_else(|| failed("it built no program named sirocco"))
}

/// What git says to a question about a revision; a refusal means that there is none.
fn resolved(here: &Path, revision: &str, arguments: &[&str]) -> Result<String, BuildError> {
    git(here, arguments).map_err(|error| match error {
        BuildError::Failed { said, .. } => BuildError::NoRevision {
            revision: revision.to_owned(),
            said,
        },
        other => other,
    })
}

/// What git says, without the end of its line.
fn git(folder: &Path, arguments: &[&str]) -> Result<String, BuildError> {
    let what = format!("git {}", arguments.join(" "));
    let mut command = Command::new("git");
    let ended = command
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let ended = ended.map_err(|error| BuildError::System {
        what: what.clone(),
        error,
    })?;
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        let said = said.lines().last().unwrap_or("it said nothing").to_owned();
        return Err(BuildError::Failed { what, said });
    }
    Ok(String::from_utf8_lossy(&ended.stdout).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let args = crate::ab::tests::args("HEAD .");
        let error = program(
            &Wanted::Built("/nowhere/sirocco".into()),
            &args,
            Path::new("/tmp"),
        );
        let error = error.unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("/nowhere/sirocco"));
    }

    #[test]
    fn folders_are_named_without_what_a_path_means() {
        assert_eq!(plain("release-"), "release");
        assert_eq!(plain("release-../a b"), "release----a-b");
    }
}
