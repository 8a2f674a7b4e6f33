//! Stacks and how often each was met: read from perf's text, kept as folded lines, merged into a tree.
//!
//! A folded line is what flame graph tools exchange: frames from the outside in between semicolons, a space, a
//! count. No process is started here. Called by `profile`.

use std::collections::BTreeMap;

/// Frames kept of one stack, the innermost.
const FRAMES_MAX: usize = 128;
/// Where the stacks of the worker begin: what lies outside of it is how a thread starts.
const OUTSIDE: &str = "sirocco_dispatch::worker::";
/// The loop itself, where it was not inlined.
const LOOP: &str = "sirocco_dispatch::worker::Worker::work";
/// Loading the population happens on the same thread, before the worker runs.
const LOADING: [&str; 2] = ["sirocco_index::population::", "sirocco_index::snapshot::"];

/// Samples by stack, frames from the outside in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stacks {
    counts: BTreeMap<Vec<String>, u64>,
    /// Samples whose stack does not reach the worker's loop: cut off, or not unwound.
    pub cut: u64,
}

impl Stacks {
    /// Reads what `perf script -F comm,ip,sym` writes: a line without indent for each sample, then a line for each
    /// frame from the inside out, then an empty one. Samples taken while the population was loaded are left out.
    #[must_use]
    pub fn of_perf(text: &str) -> Self {
        let mut stacks = Self::default();
        for sample in text.split("\n\n") {
            let frames = sample.lines().filter(|line| line.starts_with([' ', '\t']));
            let mut frames: Vec<String> = frames.filter_map(frame).take(FRAMES_MAX).collect();
            frames.reverse();
            stacks.add(frames);
        }
        stacks
    }

    fn add(&mut self, mut frames: Vec<String>) {
        let loads = |frame: &String| LOADING.iter().any(|place| frame.starts_with(place));
        // Not every unwinding comes as far out as the others.
        let outside = frames
            .iter()
            .rposition(|frame| frame == LOOP)
            .or_else(|| frames.iter().position(|frame| frame.starts_with(OUTSIDE)));
        if frames.is_empty() || outside.is_none() && frames.iter().any(loads) {
            return;
        }
        match outside {
            Some(place) => drop(frames.drain(..place)),
            None => self.cut += 1,
        }
        *self.counts.entry(frames).or_default() += 1;
    }

    /// Reads folded lines.
    ///
    /// # Errors
    /// The number of the first line that is none.
    pub fn of_folded(text: &str) -> Result<Self, usize> {
        let mut stacks = Self::default();
        for (number, line) in (1_usize..).zip(text.lines()) {
            let (frames, count) = line.rsplit_once(' ').ok_or(number)?;
            let count: u64 = count.parse().map_err(|_| number)?;
            let frames: Vec<String> = frames.split(';').map(str::to_owned).collect();
            *stacks.counts.entry(frames).or_default() += count;
        }
        Ok(stacks)
    }

    /// Folded lines, in the order of their frames.
    #[must_use]
    pub fn folded(&self) -> String {
        let line =
            |(frames, count): (&Vec<String>, &u64)| format!("{} {count}\n", frames.join(";"));
        self.counts.iter().map(line).collect()
    }

    /// All samples.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Samples in which each function was innermost, and in which it was anywhere.
    #[must_use]
    pub fn functions(&self) -> BTreeMap<&str, [u64; 2]> {
        let mut functions: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
        for (frames, count) in &self.counts {
            let mut seen: Vec<&str> = frames.iter().map(String::as_str).collect();
            if let Some(innermost) = seen.last() {
                functions.entry(innermost).or_default()[0] += count;
            }
            seen.sort_unstable();
            seen.dedup();
            for frame in seen {
                functions.entry(frame).or_default()[1] += count;
            }
        }
        functions
    }

    /// The tree of all stacks.
    #[must_use]
    pub fn tree(&self) -> Node {
        let mut root = Node::default();
        for (frames, count) in &self.counts {
            root.count += count;
            let mut node = &mut root;
            for frame in frames {
                node = node.inside.entry(frame.clone()).or_default();
                node.count += count;
            }
        }
        root
    }
}

/// A function within those around it.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Samples in it, and in what it called.
    pub count: u64,
    /// What it called.
    pub inside: BTreeMap<String, Node>,
}

/// The name of one frame: no address, no hash of a symbol, nothing that a folded line could not hold.
fn frame(line: &str) -> Option<String> {
    let (_, name) = line.trim().split_once(' ')?;
    let name = name
        .split("::h")
        .next()
        .filter(|_| has_hash(name))
        .unwrap_or(name);
    let name = name.trim();
    if name.is_empty() {
        return None;
    }
    Some(name.replace([';', '\n'], ":"))
}

/// Whether a name ends with the hash of a legacy symbol: `::h` and 16 hexadecimal digits.
fn has_hash(name: &str) -> bool {
    let hash = name.rsplit_once("::h").map(|(_, hash)| hash);
    hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERF: &str = "worker \n\t    55aa sirocco_wire::sip::template::Template::patch\n\t 66 sirocco_dispatch::worker::run::h0123456789abcdef\n\t 77 std::thread::start\n\nworker \n\t 1 memcpy\n\t 2 sirocco_dispatch::worker::run\n\nworker \n\t 1 sirocco_index::population::generate_into\n\t 2 std::thread::start\n\nworker \n\t 9 [unknown]\n\n";

    #[test]
    fn perf_s_text_becomes_stacks_of_the_worker_alone() {
        let stacks = Stacks::of_perf(PERF);
        assert_eq!((stacks.total(), stacks.cut), (3, 1));
        let folded = "[unknown] 1\nsirocco_dispatch::worker::run;memcpy 1\n\
                      sirocco_dispatch::worker::run;sirocco_wire::sip::template::Template::patch 1\n";
        assert_eq!(stacks.folded(), folded);
        let read = Stacks::of_folded(folded).unwrap();
        assert_eq!(read.folded(), folded);
        assert_eq!(Stacks::of_folded("a;b 1\nno count"), Err(2));
    }

    #[test]
    fn a_function_counts_once_for_a_sample_however_often_it_stands_in_it() {
        let stacks = Stacks::of_folded("a;b;a 3\na 2\n").unwrap();
        assert_eq!(stacks.functions()["a"], [5, 5]);
        assert_eq!(stacks.functions()["b"], [0, 3]);
        let tree = stacks.tree();
        assert_eq!((tree.count, tree.inside["a"].inside["b"].count), (5, 3));
    }

    #[test]
    fn a_name_loses_its_address_and_its_hash_and_keeps_the_rest() {
        assert_eq!(
            frame("\t ab core::hash::hasher"),
            Some("core::hash::hasher".to_owned())
        );
        assert_eq!(
            frame("\t ab <A as B>::c::h0123456789abcdef"),
            Some("<A as B>::c".to_owned())
        );
        assert_eq!(frame("\t ab "), None);
    }
}
