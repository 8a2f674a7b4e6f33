//! The HTML file. Its template escapes every text; drawings escape theirs (`chart::svg`); embedded data can
//! end no element. Scripts and styles carry a nonce made from the content, so that a text which slipped
//! through all of that would still not run. Called by `report`.

use std::fmt::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use askama::Template;
use sha2::{Digest, Sha256};

use super::figure::{Figure, Origin, Section};
use super::plan::PlanShown;
use super::source::Source;
use super::summary::{self, Row};
use crate::nightly::outputs::time::iso;

/// A figure with where it leads.
struct Shown {
    figure: Figure,
    anchor: String,
    from: String,
    verdict: &'static str,
    class: &'static str,
}

/// A section with its figures.
struct Part {
    slug: &'static str,
    title: &'static str,
    figures: Vec<Shown>,
}

/// A record at the end of the page.
struct Entry {
    number: usize,
    scenario: String,
    verdict: &'static str,
    class: &'static str,
    reasons: Vec<String>,
    facts: Vec<(&'static str, String)>,
    command: String,
    figures: Vec<(String, String)>,
    file: String,
    data: String,
}

/// The page.
#[derive(Template)]
#[template(path = "report.html")]
pub struct Page {
    title: String,
    made: String,
    program: String,
    nonce: String,
    css: &'static str,
    js: &'static str,
    notices: Vec<String>,
    header: Vec<&'static str>,
    rows: Vec<Row>,
    sections: Vec<Part>,
    plan: Option<PlanShown>,
    records: Vec<Entry>,
    extras: Vec<Extra>,
}

/// A file besides the records: shown as figures or tables, and embedded.
pub struct Extra {
    kind: &'static str,
    file: String,
    data: String,
}

impl Extra {
    /// The file at `path` with this text.
    #[must_use]
    pub fn new(kind: &'static str, path: &Path, text: &str) -> Self {
        let file = path.file_name().unwrap_or_default();
        Self {
            kind,
            file: file.to_string_lossy().into_owned(),
            data: embedded(text),
        }
    }
}

/// What a page is made from.
pub struct Content<'a> {
    /// Its heading, where one was given.
    pub title: Option<&'a str>,
    /// The records.
    pub records: &'a [Source],
    /// The figures.
    pub sections: Vec<Section>,
    /// The plan.
    pub plan: Option<PlanShown>,
    /// Further files.
    pub extras: Vec<Extra>,
    /// What a reader has to know besides.
    pub notices: Vec<String>,
}

impl Page {
    /// Puts records and figures together.
    #[must_use]
    pub fn new(content: Content<'_>) -> Self {
        let Content {
            title,
            records,
            sections,
            plan,
            extras,
            notices,
        } = content;
        let table = summary::table(records);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let sections: Vec<Section> = sections
            .into_iter()
            .filter(|section| !section.figures.is_empty())
            .collect();
        let entries = records.iter().enumerate();
        let records_shown = entries
            .map(|(at, record)| entry(at, record, &sections))
            .collect();
        let part = |section: Section| Part {
            slug: section.slug,
            title: section.title,
            figures: section
                .figures
                .into_iter()
                .map(|f| shown(f, records, &extras))
                .collect(),
        };
        Self {
            title: title.unwrap_or("Sirocco report").to_owned(),
            made: iso(now.unwrap_or_default().as_secs()),
            program: format!("sirocco {}", env!("CARGO_PKG_VERSION")),
            nonce: nonce(records),
            css: include_str!("../../templates/report.css"),
            js: include_str!("../../templates/report.js"),
            notices,
            header: table.header,
            rows: table.rows,
            sections: sections.into_iter().map(part).collect::<Vec<_>>(),
            plan,
            records: records_shown,
            extras,
        }
    }

    /// Every figure of the page.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        let all = self.sections.iter().flat_map(|part| &part.figures);
        all.map(|shown| &shown.figure)
    }

    /// The file.
    #[must_use]
    pub fn html(&self) -> String {
        self.render()
            .expect("a template of texts fails on no value")
    }
}

fn shown(figure: Figure, records: &[Source], extras: &[Extra]) -> Shown {
    let Origin::Record(at) = figure.origin else {
        let history = extras.iter().find(|extra| extra.kind == "history");
        return Shown {
            anchor: "data-of-history".to_owned(),
            from: history.map_or(String::new(), |extra| extra.file.clone()),
            verdict: "",
            class: "",
            figure,
        };
    };
    let record = &records[at];
    Shown {
        anchor: format!("record-{}", at + 1),
        from: match record.text("/commit") {
            "" => format!("{}, no commit", record.file()),
            commit => format!("{}, commit {commit}", record.file()),
        },
        verdict: summary::verdict(record),
        class: summary::class(record),
        figure,
    }
}

fn entry(at: usize, record: &Source, sections: &[Section]) -> Entry {
    let own = |figure: &&Figure| figure.origin == Origin::Record(at);
    let figures = sections.iter().flat_map(|section| &section.figures);
    let reasons = record.list("/verdict/reasons").iter();
    Entry {
        number: at + 1,
        scenario: record.name(),
        verdict: summary::verdict(record),
        class: summary::class(record),
        reasons: reasons
            .filter_map(|reason| reason.as_str().map(str::to_owned))
            .collect(),
        facts: summary::facts(record),
        command: summary::command(record),
        figures: figures
            .filter(own)
            .map(|figure| (figure.slug.clone(), figure.title.clone()))
            .collect(),
        file: record.file(),
        data: embedded(&record.text),
    }
}

/// JSON as the content of a `script` element: no `<`, so that nothing in it ends the element or begins
/// a comment. It stands in strings alone, where JSON has another way to write it.
fn embedded(json: &str) -> String {
    json.replace('<', "\\u003c")
}

/// What scripts and styles of this page show: a hash of its data, which nobody knows before the page.
fn nonce(records: &[Source]) -> String {
    let mut hash = Sha256::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    hash.update(now.unwrap_or_default().as_nanos().to_le_bytes());
    records.iter().for_each(|record| hash.update(&record.text));
    hash.finalize()
        .iter()
        .take(16)
        .fold(String::new(), |mut hex, octet| {
            // Writing to a string cannot fail.
            write!(hex, "{octet:02x}").ok();
            hex
        })
}
