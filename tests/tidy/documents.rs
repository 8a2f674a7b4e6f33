//! Rules of all text: no foreign hosts, no paths of one machine, and documents name only what exists.

use std::path::Path;

use crate::arrows::is_package;
use crate::source::{File, numbered, split, top};
use crate::{Fault, assert_caught, hold_for_each};

/// Hosts that the tree may name: standards, the kernel's and the tools' own pages, names for examples.
const HOSTS: [&str; 16] = [
    "github.com",
    "docs.rs",
    "doc.rust-lang.org",
    "rustup.rs",
    "sh.rustup.rs",
    "www.rfc-editor.org",
    "datatracker.ietf.org",
    "man7.org",
    "docs.kernel.org",
    "www.kernel.org",
    "patents.google.com",
    "www.symbian.com",
    "www.wireshark.org",
    "www.kamailio.org",
    "www.apache.org",
    // The namespace of SVG.
    "www.w3.org",
];
/// The one registry of Cargo.lock.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// Directories that exist on one machine only.
const MACHINE_PATHS: [&str; 4] = ["/home/", "/root/", "/work/", "/Users/"];
/// Sub-commands of cargo that are no alias.
const CARGO: [&str; 12] = [
    "build", "run", "test", "bench", "clippy", "fmt", "doc", "check", "fuzz", "miri", "install",
    "nextest",
];

fn hosts_are_known(file: &File) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (line, text) in file.lines() {
        for (at, scheme) in text.match_indices("://") {
            let is_web = text[..at].ends_with("http") || text[..at].ends_with("https");
            let host = text[at + scheme.len()..]
                .split(['/', ':', '"', ')', '>', '\'', ' ', ',', '`'])
                .next();
            let host = host.unwrap_or("").trim_end_matches('.');
            let is_example =
                host.ends_with(".example") || host.contains("example.") || host.starts_with("127.");
            if is_web && !HOSTS.contains(&host) && !is_example && host.contains('.') {
                let what = format!(
                    "names the host {host}; take it out, or add it to HOSTS in tests/tidy/documents.rs"
                );
                faults.push(Fault::new(file, line, what));
            }
        }
    }
    faults
}

fn crates_come_from_one_registry(file: &File) -> Vec<Fault> {
    let is_lock = file.path.ends_with("Cargo.lock");
    let is_setting = file.path.starts_with(".cargo/");
    let faults = file.lines().filter(|(_, line)| {
        let foreign = is_lock && line.starts_with("source = ") && !line.contains(REGISTRY);
        let redirected =
            is_setting && (line.starts_with("[source") || line.starts_with("[registries"));
        foreign || redirected
    });
    let what = "crates from elsewhere; use the public registry alone";
    faults
        .map(|(line, _)| Fault::new(file, line, what))
        .collect()
}

fn paths_are_relative(file: &File) -> Vec<Fault> {
    if file.path == "tests/tidy/documents.rs" {
        return Vec::new();
    }
    let faults = file.lines().filter(|(_, line)| {
        MACHINE_PATHS.iter().any(|path| {
            let mut places = line.match_indices(path);
            places.any(|(at, _)| {
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-*".contains(c))
            })
        })
    });
    let what = "a path of one machine; make it relative to the tree";
    faults
        .map(|(line, _)| Fault::new(file, line, what))
        .collect()
}

/// Documents that comments and other documents name by their path from the top.
fn documents_exist(file: &File) -> Vec<Fault> {
    let text = if file.is_rust() {
        split(&file.text).1
    } else {
        file.text.clone()
    };
    let mut faults = Vec::new();
    for (line, text) in numbered(&text) {
        for (at, _) in text.match_indices("docs/") {
            let name = text[at..]
                .split(|c: char| !c.is_alphanumeric() && !"/-_.".contains(c))
                .next();
            let name = name.unwrap_or("").trim_end_matches('.');
            if name.ends_with(".md") && !top().join(name).is_file() {
                faults.push(Fault::new(
                    file,
                    line,
                    format!("names {name}, which does not exist; write it or name another"),
                ));
            }
        }
    }
    faults
}

/// Relative links of Markdown.
fn links_lead_somewhere(file: &File) -> Vec<Fault> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let base = top().join(Path::new(&file.path).parent().unwrap_or(Path::new("")));
    let mut faults = Vec::new();
    for (line, text) in file.lines() {
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#', ' ']).next().unwrap_or("");
            if !target.is_empty() && !target.contains("://") && !base.join(target).exists() {
                faults.push(Fault::new(
                    file,
                    line,
                    format!("links to {target}, which does not exist; correct the link"),
                ));
            }
        }
    }
    faults
}

/// Commands in the blocks and the code spans of a document.
fn commands_exist(file: &File) -> Vec<Fault> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let mut fenced = false;
    let mut faults = Vec::new();
    for (line, text) in file.lines() {
        if text.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        let spans = text.split('`').skip(1).step_by(2);
        let block = (fenced || text.starts_with("    ")).then(|| text.trim());
        let commands = spans.chain(block).map(|text| text.trim_start_matches("$ "));
        faults.extend(
            commands
                .filter_map(unknown_command)
                .map(|what| Fault::new(file, line, what)),
        );
    }
    faults
}

fn unknown_command(command: &str) -> Option<String> {
    let words = command.split_whitespace();
    let mut words = words.skip_while(|word| word.contains('='));
    let program = words.next()?;
    if let Some(script) = program.strip_prefix("./") {
        let built = script.starts_with("target/");
        return (!built && !top().join(script).is_file())
            .then(|| format!("runs {program}, which does not exist; correct the command"));
    }
    if program.ends_with("sirocco") {
        return unknown_role(words.next()?);
    }
    if program != "cargo" {
        return None;
    }
    let mut words = words.skip_while(|word| word.starts_with('+'));
    let verb = words.next()?;
    if !CARGO.contains(&verb) {
        return Some(format!("cargo has no command {verb}; correct it"));
    }
    let mut own = words.clone().take_while(|word| *word != "--");
    let package = own.find(|word| *word == "-p").and_then(|_| own.next());
    if let Some(package) = package {
        return (!is_package(package))
            .then(|| format!("there is no package {package}; correct it"));
    }
    let is_command = verb == "run" && !words.clone().any(|word| word == "--example");
    let role = words.skip_while(|word| *word != "--").nth(1)?;
    is_command.then(|| unknown_role(role)).flatten()
}

/// Roles are the variants of one enum of the command line.
fn unknown_role(role: &str) -> Option<String> {
    let cli = std::fs::read_to_string(top().join("bench/src/cli.rs")).expect("the command line");
    let roles = cli
        .split("pub enum Role {")
        .nth(1)
        .and_then(|rest| rest.split("\n}").next());
    let roles = roles.expect("the roles of the command line");
    let mut names = roles
        .lines()
        .filter_map(|line| line.trim().split(['(', ',', '{']).next());
    let known = role.starts_with('-') || names.any(|name| name.eq_ignore_ascii_case(role));
    (!known).then(|| format!("sirocco has no role {role}; `sirocco --help` lists them"))
}

#[test]
fn only_known_hosts_are_named() {
    hold_for_each(hosts_are_known);
    let planted = ["https:", "//mirror.internal.net/x"].concat();
    let text = format!("see https://docs.rs/io-uring\n{planted}\nhttp://ppg.example/a\n");
    assert_caught(hosts_are_known, "docs/a.md", &text, &[2]);
}

#[test]
fn crates_come_from_the_public_registry() {
    hold_for_each(crates_come_from_one_registry);
    let lock =
        format!("source = \"{REGISTRY}\"\nsource = \"registry+https://mirror.example/index\"\n");
    assert_caught(crates_come_from_one_registry, "Cargo.lock", &lock, &[2]);
    let setting = "[alias]\n[source.crates-io]\n";
    assert_caught(
        crates_come_from_one_registry,
        ".cargo/config.toml",
        setting,
        &[2],
    );
}

#[test]
fn no_path_belongs_to_one_machine() {
    hold_for_each(paths_are_relative);
    let text = "cd /home/somebody/x\nuse target/home/x\nlet p = \"/root/.cargo\";\n";
    assert_caught(paths_are_relative, "docs/a.md", text, &[1, 3]);
}

#[test]
fn documents_that_are_named_exist() {
    hold_for_each(documents_exist);
    let text = "//! See docs/no-such-document.md.\nlet a = \"docs/neither.md\";\n";
    assert_caught(documents_exist, "bench/src/a.rs", text, &[1]);
}

#[test]
fn links_between_documents_lead_somewhere() {
    hold_for_each(links_lead_somewhere);
    let text = "[a](memory.md) [b](no-such.md)\n[c](https://docs.rs/x) [d](#here)\n";
    assert_caught(links_lead_somewhere, "docs/a.md", text, &[1]);
}

#[test]
fn commands_in_documents_exist() {
    hold_for_each(commands_exist);
    let readme = std::fs::read_to_string(top().join("README.md")).expect("a README");
    for command in ["cargo run --release -- bench", "./test"] {
        let shown = readme.lines().any(|line| line.trim() == command);
        assert!(shown, "README.md has to show {command}");
    }
    let text = "cargo nothing\n```\ncargo run --release -- bench --quiet\ncargo run -- dance\n./no-script\n\
        cargo frobnicate\nsirocco ceiling\nsirocco fly\nls\n```\n    cargo test -p nobody\n\
        `sirocco fly` and `cargo test`\nA=1 cargo bad\n";
    assert_caught(commands_exist, "README.md", text, &[4, 5, 6, 8, 11, 12]);
}
