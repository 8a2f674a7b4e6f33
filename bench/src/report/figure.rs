//! A figure: what it shows, its drawing, and where its numbers come from. Every figure names its source,
//! and one whose record is invalid says so in the drawing itself. Made by `figures`, shown by `page`.

use super::source::Source;

/// Where the numbers of a figure come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A record, by its place among those of the page.
    Record(usize),
    /// The history of nights.
    History,
}

/// One figure.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Its name in links and files: letters, digits and hyphens.
    pub slug: String,
    /// What it is.
    pub title: String,
    /// How it was measured and how to read it.
    pub words: String,
    /// The drawing, with every text escaped.
    pub svg: String,
    /// Where its numbers come from.
    pub origin: Origin,
}

/// Figures that answer one question.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its name in links.
    pub slug: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// The figures; a section without any is left out.
    pub figures: Vec<Figure>,
}

/// A record with its place on the page.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// Place among the records.
    pub at: usize,
    /// The record.
    pub record: &'a Source,
}

impl Placed<'_> {
    /// A figure of this record.
    #[must_use]
    pub fn figure(&self, kind: &str, title: &str, words: String, svg: String) -> Figure {
        let scenario = slug(&self.record.name());
        Figure {
            slug: format!("{kind}-{scenario}-{}", self.at + 1),
            title: format!("{}: {title}", self.record.name()),
            words,
            svg,
            origin: Origin::Record(self.at),
        }
    }
}

/// A name as part of a link or of a file's name, however hostile it was.
#[must_use]
pub fn slug(name: &str) -> String {
    let letter = |c: char| match c.is_ascii_alphanumeric() {
        true => c.to_ascii_lowercase(),
        false => '-',
    };
    let slug: String = name.chars().take(40).map(letter).collect();
    slug.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_leads_nowhere_else() {
        assert_eq!(slug("dispatch-1024"), "dispatch-1024");
        assert_eq!(slug("../../etc/<passwd>"), "etc--passwd");
    }
}
