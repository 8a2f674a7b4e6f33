//! `sirocco report`: records, a history and a plan as one HTML file that needs no network and no script,
//! and the same figures as SVG files. `source` reads, `figures` draw with `chart`, `page` puts together.
//! Nothing is measured or judged here: what a record says is shown, its verdict with it.

mod chart;
mod figure;
mod figures;
mod page;
mod plan;
mod source;
mod summary;

use std::fs;
use std::path::Path;

use crate::cli::ReportArgs;
use crate::nightly::history::History;
use crate::role::{EXIT_INVALID, EXIT_USAGE, complain};
use figure::Section;
use page::{Content, Extra, Page};
use source::SourceError;

/// Runs the role; returns its exit code.
pub fn start(args: &ReportArgs) -> u8 {
    match report(args) {
        Ok(figures) => {
            let file = args.output.display();
            crate::print(&format!("{file}: {figures} figures\n"));
            0
        }
        Err(error) => {
            complain(&error);
            match error {
                SourceError::Nothing | SourceError::TooMany | SourceError::TooLong(_) => EXIT_USAGE,
                _ => EXIT_INVALID,
            }
        }
    }
}

/// Makes what was asked for; returns the number of figures.
fn report(args: &ReportArgs) -> Result<usize, SourceError> {
    let mut notices = Vec::new();
    let passed_over = |error: &crate::compare::side::SideError| {
        complain(format!("passed over: {error}"));
        notices.push(format!("passed over: {error}"));
    };
    let records = source::records(&args.records, passed_over)?;
    let mut sections = figures::of_records(&records);
    let (mut extras, mut plan_shown) = (Vec::new(), None);
    if let Some(path) = &args.history {
        let text = source::read(path)?;
        let history = History::parse(&text);
        notices.extend(history.notice());
        sections.push(Section {
            slug: "history",
            title: "Night by night",
            figures: figures::history::figures(&history.lines),
        });
        extras.push(Extra::new("history", path, &text));
    }
    if let Some(path) = &args.plan {
        let text = source::read(path)?;
        let read = serde_json::from_str(&text).map_err(|error| SourceError::NoPlan {
            path: path.clone(),
            error,
        })?;
        plan_shown = Some(plan::shown(&read));
        extras.push(Extra::new("plan", path, &text));
    }
    if records.is_empty() && extras.is_empty() {
        return Err(SourceError::Nothing);
    }
    let page = Page::new(Content {
        title: args.title.as_deref(),
        records: &records,
        sections,
        plan: plan_shown,
        extras,
        notices,
    });
    if let Some(folder) = &args.svg {
        for figure in page.figures() {
            let name = format!("{}.svg", figure.slug);
            write(&folder.join(name), &figure.svg)?;
        }
    }
    write(&args.output, &page.html())?;
    Ok(page.figures().count())
}

fn write(path: &Path, text: &str) -> Result<(), SourceError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let made = folder.map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(path, text))
        .map_err(|error| SourceError::File {
            what: "write",
            path: path.to_owned(),
            error,
        })
}
