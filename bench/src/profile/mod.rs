//! `sirocco profile`: a bench whose engine worker perf samples, as flame graph, text and folded stacks.
//!
//! Hardware counters where the host has them, the CPU clock otherwise; where perf cannot sample at all, the stage
//! breakdown of the same run alone, which needs nothing of the host. A profiled run is slower: its record is no
//! figure to publish. Called by `main`.

mod flame;
mod perf;
mod stacks;

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::Value;

use crate::cli::ProfileArgs;
use crate::role::{EXIT_INVALID, EXIT_USAGE, complain};
use perf::{Perf, PerfError};
use stacks::Stacks;

/// Time between two looks for the worker.
const LOOK: Duration = Duration::from_millis(5);
/// Functions in the text.
const FUNCTIONS_SHOWN: usize = 40;

/// Runs the command; returns its exit code.
pub fn start(args: &ProfileArgs) -> u8 {
    let earlier = match args.against.as_deref().map(read_folded).transpose() {
        Ok(earlier) => earlier,
        Err(error) => {
            complain(error);
            return EXIT_USAGE;
        }
    };
    let perf = match Perf::find(args.event.as_deref()) {
        Ok(perf) => Some(perf),
        Err(error) if args.event.is_some() => {
            complain(error);
            return EXIT_USAGE;
        }
        Err(error) => {
            complain(format!(
                "{error}. Nothing is sampled; the stages of the run are told"
            ));
            None
        }
    };
    match run(args, perf.as_ref(), earlier.as_ref()) {
        Ok(code) => code,
        Err(error) => {
            complain(format!("profile: {error}"));
            EXIT_INVALID
        }
    }
}

fn read_folded(path: &Path) -> Result<Stacks, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Stacks::of_folded(&text).map_err(|line| {
        format!(
            "{}: line {line} is no folded stack; give the .folded file of an earlier profile",
            path.display()
        )
    })
}

fn run(args: &ProfileArgs, perf: Option<&Perf>, earlier: Option<&Stacks>) -> Result<u8, PerfError> {
    if let Some(folder) = args.out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let data = named(&args.out, "perf.data");
    let mut bench = Command::new(std::env::current_exe()?)
        .arg("bench")
        .args(&args.bench)
        .spawn()?;
    let recording = match perf {
        Some(perf) => worker(&mut bench)?
            .map(|thread| perf.record(thread, (args.frequency, args.stack_bytes), &data))
            .transpose()?,
        None => None,
    };
    let is_recorded = recording.is_some();
    let ended = bench.wait()?;
    recording.map_or(Ok(()), perf::Recording::finish)?;
    let code = ended
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(EXIT_INVALID);
    let stages = stages(Path::new("target/sirocco/latest.json"));
    match perf.filter(|_| is_recorded) {
        Some(perf) => {
            let stacks = Stacks::of_perf(&perf.samples(&data)?);
            // It is large, and perf alone can read it.
            std::fs::remove_file(&data).ok();
            if stacks.total() == 0 {
                complain("perf took no sample of the worker: let the bench run longer");
                return Ok(EXIT_INVALID);
            }
            publish(args, perf, (&stacks, earlier), &stages)?;
        }
        None => crate::print(&stages),
    }
    Ok(code)
}

/// Waits for the worker of a bench's engine; none if the bench ends without one.
fn worker(bench: &mut Child) -> io::Result<Option<u32>> {
    loop {
        if let Some(thread) = perf::worker_of(bench.id()) {
            return Ok(Some(thread));
        }
        if bench.try_wait()?.is_some() {
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

fn publish(
    args: &ProfileArgs,
    perf: &Perf,
    (stacks, earlier): (&Stacks, Option<&Stacks>),
    stages: &str,
) -> io::Result<()> {
    let title = format!(
        "sirocco bench {}: worker, {} samples of {} at {} Hz",
        args.bench.join(" "),
        stacks.total(),
        perf.event,
        args.frequency
    );
    let tree = earlier.map(Stacks::tree);
    let svg = flame::svg(&title, &stacks.tree(), tree.as_ref());
    let text = format!("{title}\n{}\n{stages}", hottest(stacks, earlier));
    let files = [("svg", &svg), ("txt", &text), ("folded", &stacks.folded())];
    for (ending, content) in files {
        std::fs::write(named(&args.out, ending), content)?;
    }
    crate::print(&text);
    crate::print(&format!(
        "\nflame graph: {}\nstacks, for --against: {}\n",
        named(&args.out, "svg").display(),
        named(&args.out, "folded").display()
    ));
    Ok(())
}

fn named(prefix: &Path, ending: &str) -> PathBuf {
    let mut path = prefix.as_os_str().to_owned();
    path.push(".");
    path.push(ending);
    path.into()
}

/// The functions in which most samples fell, with their share before where an earlier profile is given.
fn hottest(stacks: &Stacks, earlier: Option<&Stacks>) -> String {
    let share = |stacks: &Stacks, count: u64| count as f64 / stacks.total().max(1) as f64 * 100.0;
    let mut text = format!(
        "{} of them do not reach the worker's loop: cut off or not unwound\n",
        stacks.cut
    );
    let before = earlier.map(|earlier| (earlier, earlier.functions()));
    let mut functions: Vec<(&str, [u64; 2])> = stacks.functions().into_iter().collect();
    functions.sort_by_key(|(name, [own, all])| (std::cmp::Reverse((*own, *all)), *name));
    let change = if before.is_some() { "   change" } else { "" };
    let _ = writeln!(text, "    self   total{change}  function");
    for (name, [own, all]) in functions.into_iter().take(FUNCTIONS_SHOWN) {
        let own = share(stacks, own);
        let _ = write!(text, "{own:6.2} % {:5.1} %", share(stacks, all));
        if let Some((earlier, functions)) = &before {
            let was = functions
                .get(name)
                .map_or(0.0, |[was, _]| share(earlier, *was));
            let _ = write!(text, " {:+8.2}", own - was);
        }
        let _ = writeln!(text, "  {name}");
    }
    text
}

/// The stage breakdown of a record, as text.
fn stages(path: &Path) -> String {
    let record = std::fs::read_to_string(path).unwrap_or_default();
    let record: Value = serde_json::from_str(&record).unwrap_or_default();
    let stages = &record["stages"];
    let (Some(wall_ns), Some(each)) = (stages["wall_ns"].as_u64(), stages["stage_ns"].as_object())
    else {
        return "the record of the run has no stages\n".to_owned();
    };
    let mut text = "stages of the same run, by the worker's own stamps:\n".to_owned();
    let mut each: Vec<_> = each
        .iter()
        .filter_map(|(name, ns)| Some((ns.as_u64()?, name)))
        .collect();
    each.sort_unstable_by_key(|(ns, _)| std::cmp::Reverse(*ns));
    for (ns, name) in each.into_iter().filter(|(ns, _)| *ns > 0) {
        let _ = writeln!(
            text,
            "{:6.2} %  {name}",
            ns as f64 / wall_ns.max(1) as f64 * 100.0
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hottest_functions_stand_first_with_what_changed() {
        let now = Stacks::of_folded("run;a 6\nrun;b 3\nrun 1\n").unwrap();
        let earlier = Stacks::of_folded("run;a 1\nrun;b 1\n").unwrap();
        let text = hottest(&now, Some(&earlier));
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(lines[0], " 60.00 %  60.0 %   +10.00  a");
        assert_eq!(lines[2], " 10.00 % 100.0 %   +10.00  run");
        assert!(hottest(&now, None).contains(" 30.00 %  30.0 %  b"));
    }

    #[test]
    fn stages_are_told_from_a_record_and_their_want_is_said() {
        let path = std::env::temp_dir().join(format!("sirocco-stages-{}.json", std::process::id()));
        std::fs::write(
            &path,
            r#"{"stages":{"wall_ns":200,"stage_ns":{"patch":50,"idle":150,"close":0}}}"#,
        )
        .unwrap();
        let text = stages(&path);
        std::fs::remove_file(&path).unwrap();
        assert!(
            text.ends_with(" 75.00 %  idle\n 25.00 %  patch\n"),
            "{text}"
        );
        assert!(stages(Path::new("/nowhere")).contains("no stages"));
    }

    #[test]
    fn an_earlier_profile_that_is_none_is_named_with_its_line() {
        let error = read_folded(Path::new("/nowhere/a.folded")).expect_err("no file");
        assert!(error.contains("/nowhere/a.folded"));
    }
}
