//! The stage of a bench: both children and the one queue of their lines. Every wait goes through here,
//! so that a child's death, a timeout and Ctrl-C end any phase at once and with a reason. Knows the
//! form of the protocol (events by name), not its content. Called by `plan`.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver as Actions, never};
use serde_json::Value;

use super::child::{Child, Line, Side};
use super::control::Action;
use crate::host::{cpu_ns_of, resident_bytes_of};
use crate::role::protocol::EngineCommand;
use crate::together::SILENCE_MAX;
use crate::together::figures::Member;
use crate::together::gather::Joined;

/// How often a wait looks for Ctrl-C.
const LOOK: Duration = Duration::from_millis(50);

/// Time for a child to answer a question at once.
const ANSWER: Duration = Duration::from_secs(10);

/// Why a bench broke off.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A child could not be started.
    #[error("cannot start the {side}: {error}")]
    Start {
        /// Which one.
        side: Side,
        /// What the system said.
        error: std::io::Error,
    },
    /// A child ended too early.
    #[error("the {side} ended while {phase}: {words}")]
    Died {
        /// Which one.
        side: Side,
        /// What the bench was doing.
        phase: String,
        /// Its last lines on stderr.
        words: String,
    },
    /// A child did not do in time what it was told.
    #[error("the {side} took longer than {seconds} s for {phase}; last words: {words}")]
    Slow {
        /// Which one.
        side: Side,
        /// What the bench was doing.
        phase: String,
        /// How long it was given.
        seconds: u64,
        /// Its last lines on stderr.
        words: String,
    },
    /// A generator said that it cannot.
    #[error("{side}: {words}")]
    Failed {
        /// Which one.
        side: Side,
        /// Its words.
        words: String,
    },
    /// A generator that joined fell silent.
    #[error(
        "the {side} said nothing for {seconds} s while {phase}; look at its host and the network between"
    )]
    Silent {
        /// Which one.
        side: Side,
        /// What the bench was doing.
        phase: String,
        /// How long.
        seconds: u64,
    },
    /// Generators did not join.
    #[error(transparent)]
    Gather(#[from] crate::together::gather::GatherError),
    /// Ctrl-C or SIGTERM.
    #[error("interrupted; engine and loadgen were stopped")]
    Interrupted,
}

/// All children, and what they say.
#[derive(Debug)]
pub struct Stage {
    program: PathBuf,
    children: HashMap<Side, Child>,
    lines: Sender<(Side, Line)>,
    received: Receiver<(Side, Line)>,
    interrupted: Arc<AtomicBool>,
    notices: Vec<String>,
    /// Last progress of each side.
    progress: HashMap<Side, Value>,
    /// Sides told to stop: their end is no death.
    leaving: HashSet<Side>,
    actions: Actions<Action>,
    /// Whether a schedule is at work that can be changed.
    is_steerable: bool,
    stopped: bool,
    /// Whether a change was passed on.
    changed: bool,
    /// The generators, in their order.
    members: Vec<Member>,
    /// When those that joined last said something.
    heard: HashMap<Side, Instant>,
}

/// Called with the last progress of each side whenever there is news.
pub type Watch<'a> = dyn FnMut(&HashMap<Side, Value>) + 'a;

impl Stage {
    /// An empty stage; `program` is this binary, `interrupted` is set by the signal handlers.
    #[must_use]
    pub fn new(program: PathBuf, interrupted: Arc<AtomicBool>) -> Self {
        let (lines, received) = channel();
        Self {
            program,
            children: HashMap::new(),
            lines,
            received,
            interrupted,
            notices: Vec::new(),
            progress: HashMap::new(),
            leaving: HashSet::new(),
            actions: never(),
            is_steerable: false,
            stopped: false,
            changed: false,
            members: Vec::new(),
            heard: HashMap::new(),
        }
    }

    /// Takes changes from `actions` whenever it waits.
    pub fn listen(&mut self, actions: Actions<Action>) {
        self.actions = actions;
    }

    /// Says that a schedule is at work which changes go to, or that it has ended.
    pub fn let_steer(&mut self, is_steerable: bool) {
        self.is_steerable = is_steerable;
    }

    /// Whether the run was told to end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Starts a child.
    ///
    /// # Errors
    /// [`StageError::Start`].
    pub fn start(&mut self, side: Side, arguments: &[String]) -> Result<(), StageError> {
        let child = Child::start(side, &self.program, arguments, &self.lines)
            .map_err(|error| StageError::Start { side, error })?;
        self.children.insert(side, child);
        Ok(())
    }

    /// Takes a generator that joined.
    ///
    /// # Errors
    /// [`StageError::Start`].
    pub fn admit(&mut self, side: Side, joined: Joined) -> Result<(), StageError> {
        let child = Child::joined(side, joined, &self.lines)
            .map_err(|error| StageError::Start { side, error })?;
        self.children.insert(side, child);
        self.heard.insert(side, Instant::now());
        Ok(())
    }

    /// Whether Ctrl-C was pressed; whoever waits elsewhere looks here.
    #[must_use]
    pub fn interrupted(&self) -> &AtomicBool {
        &self.interrupted
    }

    /// The generators, in their order.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Says who the generators are; those of `Side::Loadgen` 0 and up, in this order.
    pub fn set_members(&mut self, members: Vec<Member>) {
        self.members = members;
    }

    /// CPU time of the generators so far in nanoseconds, asked of those that joined.
    ///
    /// # Errors
    /// [`StageError`], when one does not answer.
    pub fn generators_cpu_ns(&mut self) -> Result<u64, StageError> {
        let mut sum = 0;
        for side in self.generators() {
            match self.children.get(&side).and_then(Child::id) {
                Some(id) => sum += cpu_ns_of(id),
                None => sum += self.ask(side, "cpu")?,
            }
        }
        Ok(sum)
    }

    /// Asks a generator for a time: `clock` or `cpu`, answered by an event of that name.
    ///
    /// # Errors
    /// [`StageError`], when it does not answer.
    pub fn ask(&mut self, side: Side, what: &str) -> Result<u64, StageError> {
        self.tell(side, what)?;
        let told = self.wait((side, what), "telling a time", ANSWER, &mut |_| {})?;
        Ok(told["ns"].as_u64().unwrap_or_default())
    }

    /// Resident memory of a process in bytes; 0 when it is none of this host.
    fn resident_bytes(&self, side: Side) -> u64 {
        let child = self.children.get(&side);
        child.and_then(Child::id).map_or(0, resident_bytes_of)
    }

    /// Resident memory of the engine and of all generators on this host, in bytes.
    #[must_use]
    pub fn resident(&self) -> [u64; 2] {
        let generators = self.generators().into_iter();
        [
            self.resident_bytes(Side::Engine),
            generators.map(|side| self.resident_bytes(side)).sum(),
        ]
    }

    /// The generators' sides, in their order.
    #[must_use]
    pub fn generators(&self) -> Vec<Side> {
        (0..self.members.len())
            .map(|number| Side::Loadgen(number as u16))
            .collect()
    }

    /// Tells each generator what `command` says for it.
    ///
    /// # Errors
    /// [`StageError::Died`] when one listens no more.
    pub fn tell_generators(
        &mut self,
        command: impl Fn(&Member) -> String,
    ) -> Result<(), StageError> {
        for (number, command) in (0..).zip(self.members.iter().map(&command).collect::<Vec<_>>()) {
            self.tell(Side::Loadgen(number), &command)?;
        }
        Ok(())
    }

    /// Waits for the event `name` of every generator, and returns them in the generators' order.
    ///
    /// # Errors
    /// [`StageError`], when one ends or is late, or the user interrupts.
    pub fn wait_generators(
        &mut self,
        name: &str,
        phase: &str,
        limit: Duration,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<Value>, StageError> {
        let until = Instant::now() + limit;
        let mut told: Vec<Option<Value>> = vec![None; self.members.len()];
        while let Some(waited) = told.iter().position(Option::is_none) {
            let Some((from, event)) = self.next_event(until, phase)? else {
                let side = Side::Loadgen(waited as u16);
                return Err(self.slow(side, phase, limit));
            };
            match from {
                Side::Loadgen(number) if event["event"] == name => {
                    if name == "report" {
                        self.leaving.insert(from);
                    }
                    if let Some(place) = told.get_mut(usize::from(number)) {
                        *place = Some(event);
                    }
                }
                _ => self.note(from, event, watch),
            }
        }
        Ok(told.into_iter().flatten().collect())
    }

    /// Tells a child a command.
    ///
    /// # Errors
    /// [`StageError::Died`] when it listens no more.
    pub fn tell(&mut self, side: Side, command: &str) -> Result<(), StageError> {
        let told = self
            .children
            .get_mut(&side)
            .map(|child| child.tell(command));
        match told {
            Some(Ok(())) => Ok(()),
            _ => Err(self.died(side, "being told a command")),
        }
    }

    /// Tells a child to stop and waits for its report.
    ///
    /// # Errors
    /// [`StageError`], when it ends without one, takes too long, or the user interrupts.
    pub fn dismiss(
        &mut self,
        side: Side,
        limit: Duration,
        watch: &mut Watch<'_>,
    ) -> Result<Value, StageError> {
        self.tell(side, "stop")?;
        let report = self.wait((side, "report"), "writing its report", limit, watch)?;
        self.leaving.insert(side);
        Ok(report)
    }

    /// Waits for the event `name` of one side and returns it; other events pass by.
    ///
    /// # Errors
    /// [`StageError`], when a child ends, the time is over, or the user interrupts.
    pub fn wait(
        &mut self,
        (side, name): (Side, &str),
        phase: &str,
        limit: Duration,
        watch: &mut Watch<'_>,
    ) -> Result<Value, StageError> {
        let until = Instant::now() + limit;
        while let Some((from, event)) = self.next_event(until, phase)? {
            let named = event
                .get("event")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if from == side && named == name {
                return Ok(event);
            }
            self.note(from, event, watch);
        }
        Err(self.slow(side, phase, limit))
    }

    fn slow(&self, side: Side, phase: &str, limit: Duration) -> StageError {
        StageError::Slow {
            side,
            phase: phase.to_owned(),
            seconds: limit.as_secs(),
            words: self.words(side),
        }
    }

    /// Waits for an event as [`Stage::wait`]; `None` when the user stops the run or the time is over: the
    /// first limit, or the second once the run was changed by hand.
    ///
    /// # Errors
    /// [`StageError`], when a child ends or the user interrupts.
    pub fn wait_or_stop(
        &mut self,
        (side, name): (Side, &str),
        (limit, changed): (Duration, Duration),
        watch: &mut Watch<'_>,
    ) -> Result<Option<Value>, StageError> {
        let begin = Instant::now();
        self.changed = false;
        while !self.stopped {
            let until = begin + if self.changed { changed } else { limit };
            let look = until.min(Instant::now() + LOOK);
            match self.next_event(look, "measuring")? {
                Some((from, event)) if from == side && event["event"] == name => {
                    return Ok(Some(event));
                }
                Some((from, event)) => self.note(from, event, watch),
                None if look == until => return Ok(None),
                None => {}
            }
        }
        Ok(None)
    }

    /// Lets the children run for `length` or until told to stop, watching them.
    ///
    /// # Errors
    /// [`StageError`], when a child ends or the user interrupts.
    pub fn run_for(
        &mut self,
        length: Duration,
        phase: &str,
        watch: &mut Watch<'_>,
    ) -> Result<(), StageError> {
        let until = Instant::now() + length;
        while !self.stopped {
            let look = until.min(Instant::now() + LOOK);
            match self.next_event(look, phase)? {
                Some((from, event)) => self.note(from, event, watch),
                None if look == until => break,
                None => {}
            }
        }
        Ok(())
    }

    /// The next event of any child; `None` when `until` is reached.
    fn next_event(
        &mut self,
        until: Instant,
        phase: &str,
    ) -> Result<Option<(Side, Value)>, StageError> {
        loop {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(StageError::Interrupted);
            }
            self.act()?;
            let left = until.saturating_duration_since(Instant::now());
            match self.received.recv_timeout(left.min(LOOK)) {
                Ok((side, Line::Event(event))) => {
                    if let Some(heard) = self.heard.get_mut(&side) {
                        *heard = Instant::now();
                    }
                    if event["event"] == "failed" {
                        let words = event["text"].as_str().unwrap_or_default().to_owned();
                        return Err(StageError::Failed { side, words });
                    }
                    return Ok(Some((side, event)));
                }
                Ok((side, Line::Words(words) | Line::Noise(words))) => {
                    if let Some(child) = self.children.get_mut(&side) {
                        child.hear(words);
                    }
                }
                Ok((side, Line::Closed)) if self.leaving.contains(&side) => {}
                Ok((side, Line::Closed)) => return Err(self.died(side, phase)),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return Ok(None),
                // Nothing waits unread, so whoever seems silent is.
                Err(RecvTimeoutError::Timeout) => self.hear_silence(phase)?,
                // Unreachable while `self.lines` lives; an end all the same.
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }

    /// Does what was asked for since the last look.
    fn act(&mut self) -> Result<(), StageError> {
        while let Ok(action) = self.actions.try_recv() {
            match action {
                Action::Stop => self.stopped = true,
                Action::Steer(change) if self.is_steerable => {
                    self.changed = true;
                    self.tell(Side::Engine, &EngineCommand::Steer(change).line())?;
                }
                Action::Steer(_) => self.notice(
                    Side::Engine,
                    "a change of the rate came while no schedule was at work, and was left out",
                ),
            }
        }
        Ok(())
    }

    /// Whether one that joined is gone without a word: its host may be down, or the network.
    fn hear_silence(&self, phase: &str) -> Result<(), StageError> {
        let silent = |(side, heard): (&Side, &Instant)| {
            let is_silent = heard.elapsed() > SILENCE_MAX && !self.leaving.contains(side);
            is_silent.then_some(*side)
        };
        match self.heard.iter().find_map(silent) {
            None => Ok(()),
            Some(side) => Err(StageError::Silent {
                side,
                phase: phase.to_owned(),
                seconds: SILENCE_MAX.as_secs(),
            }),
        }
    }

    fn note(&mut self, side: Side, event: Value, watch: &mut Watch<'_>) {
        if event.get("event").and_then(Value::as_str) == Some("notice") {
            self.notice(
                side,
                event
                    .get("text")
                    .and_then(Value::as_str)
                    .unwrap_or_default(),
            );
            return;
        }
        self.progress.insert(side, event);
        watch(&self.progress);
    }

    /// Keeps what a child said about a limit or a missing feature, once.
    pub fn notice(&mut self, side: Side, text: &str) {
        let notice = format!("{side}: {text}");
        if !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }

    /// What the children said so far.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Stops all children where they are, so that both cores are free.
    pub fn pause(&mut self) {
        self.children.values_mut().for_each(Child::pause);
    }

    /// Lets them go on.
    pub fn resume(&mut self) {
        self.children.values_mut().for_each(Child::resume);
    }

    /// Ends all children, the engine first.
    pub fn end(&mut self) {
        self.children.remove(&Side::Engine);
        self.children.clear();
        self.heard.clear();
        self.members.clear();
        while self.received.try_recv().is_ok() {}
    }

    fn died(&mut self, side: Side, phase: &str) -> StageError {
        // What it said last may still be on its way.
        let until = Instant::now() + LOOK;
        while let Ok((from, line)) = self
            .received
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            if let (Line::Words(words), Some(child)) = (line, self.children.get_mut(&from)) {
                child.hear(words);
            }
        }
        let words = self.words(side);
        StageError::Died {
            side,
            phase: phase.to_owned(),
            words,
        }
    }

    fn words(&self, side: Side) -> String {
        match self.children.get(&side).map(Child::last_words) {
            Some(words) if !words.is_empty() => words.join(" | "),
            _ => "it said nothing".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn stage(script: &str) -> Stage {
        let mut stage = Stage::new("/bin/sh".into(), Arc::default());
        stage
            .start(Side::Engine, &["-c".to_owned(), script.to_owned()])
            .unwrap();
        stage
    }

    #[test]
    fn an_event_is_waited_for_while_others_pass() {
        let mut stage = stage(
            "echo '{\"event\":\"notice\",\"text\":\"no huge pages\"}'
             echo '{\"event\":\"progress\",\"sirs\":3}'; echo '{\"event\":\"ready\",\"n\":1}'; cat",
        );
        let mut seen = Vec::new();
        let mut watch = |progress: &HashMap<Side, Value>| {
            seen.push(progress[&Side::Engine]["sirs"].as_u64());
        };
        let ready = stage
            .wait((Side::Engine, "ready"), "starting", LONG, &mut watch)
            .unwrap();
        assert_eq!(ready["n"], 1);
        assert_eq!(seen, [Some(3)]);
        assert_eq!(stage.notices(), ["engine: no huge pages"]);
    }

    #[test]
    fn a_dead_child_is_reported_with_its_last_words() {
        let mut stage = stage("echo 'no such device' >&2; exit 3");
        let error = stage.wait((Side::Engine, "ready"), "starting", LONG, &mut |_| {});
        let text = error.expect_err("dead").to_string();
        assert!(text.contains("engine ended while starting"), "{text}");
        assert!(text.contains("no such device"), "{text}");
    }

    #[test]
    fn the_end_of_a_dismissed_child_is_no_death() {
        let mut stage = stage("read x; echo '{\"event\":\"report\"}'");
        stage
            .start(Side::Loadgen(0), &["-c".to_owned(), "cat".to_owned()])
            .unwrap();
        stage.dismiss(Side::Engine, LONG, &mut |_| {}).unwrap();
        stage.run_for(LOOK * 4, "waiting", &mut |_| {}).unwrap();
    }

    #[test]
    fn a_child_that_says_nothing_is_given_up() {
        let mut stage = stage("cat");
        let wait = stage.wait((Side::Engine, "ready"), "loading", LOOK, &mut |_| {});
        assert!(matches!(wait, Err(StageError::Slow { .. })), "{wait:?}");
        stage.end();
        assert!(stage.tell(Side::Engine, "stop").is_err());
    }

    #[test]
    fn an_interrupt_ends_a_wait_at_once() {
        let mut stage = stage("cat");
        stage.interrupted.store(true, Ordering::Relaxed);
        let run = stage.run_for(LONG, "measuring", &mut |_| {});
        assert!(matches!(run, Err(StageError::Interrupted)));
    }
}
