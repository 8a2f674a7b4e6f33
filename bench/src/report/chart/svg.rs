//! Elements of an SVG with what they look like: each carries its colours as attributes, so that a file
//! stands alone, and a class, by which a page's style sheet turns them for a dark screen. Every text is
//! escaped here. Writes no layout; charts do.

use std::fmt::Write;

use quick_xml::escape::escape;

/// Colours of series, told apart by people who see no red or no green (after Okabe and Ito, darkened to
/// a contrast of 3 to 1 against white). Series also differ by dashes and marks.
const TONES: [&str; TONES_COUNT] = [
    "#0067a5", "#c24e00", "#00795a", "#a0457c", "#8f6200", "#4b5563",
];

/// How many series are told apart.
pub const TONES_COUNT: usize = 6;

/// Dashes of series, in the order of the tones.
const DASHES: [&str; TONES_COUNT] = ["", "7 4", "2 3", "9 3 2 3", "4 2", "1 3"];

/// The parts of a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// An axis.
    Axis,
    /// A line across the chart at a tick.
    Grid,
    /// A line that marks a place.
    Rule,
    /// A range that is marked.
    Band,
    /// The ground of a bar.
    Track,
}

impl Part {
    fn attributes(self) -> &'static str {
        match self {
            Self::Axis => r##"class="axis" stroke="#6b7280""##,
            Self::Grid => r##"class="grid" stroke="#e5e7eb""##,
            Self::Rule => r##"class="rule" stroke="#111827" stroke-dasharray="4 3""##,
            Self::Band => r##"class="band" fill="#9ca3af" fill-opacity="0.3""##,
            Self::Track => r##"class="track" fill="#f0f1f3""##,
        }
    }
}

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// At a tick.
    Tick,
    /// Of an axis, a row, a series.
    Label,
    /// A value, or a heading inside the chart.
    Strong,
    /// That a figure may not be used.
    Stamp,
}

impl Words {
    fn attributes(self) -> &'static str {
        match self {
            Self::Tick => r##"class="tick" fill="#4b5563" font-size="12""##,
            Self::Label => r##"class="label" fill="#1f2937" font-size="13""##,
            Self::Strong => r##"class="strong" fill="#111827" font-size="13" font-weight="600""##,
            Self::Stamp => r##"class="stamp" fill="#b3001b" font-size="14" font-weight="700""##,
        }
    }
}

/// Where a text lies against its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// It is centred.
    Middle,
    /// It ends there.
    End,
}

impl Anchor {
    fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// Mean width of a glyph of a label in units.
pub const GLYPH: f64 = 7.6;

/// Width of a label in a sans-serif type, somewhat too wide: no type is measured here.
#[must_use]
pub fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * GLYPH
}

/// The text, cut to a number of characters.
#[must_use]
pub fn cut(text: &str, characters_max: usize) -> String {
    if text.chars().count() <= characters_max {
        return text.to_owned();
    }
    let kept: String = text
        .chars()
        .take(characters_max.saturating_sub(1))
        .collect();
    format!("{kept}…")
}

/// A drawing that grows.
#[derive(Clone, Debug)]
pub struct Svg {
    width: f64,
    body: String,
}

impl Svg {
    /// An empty one of this width in units; its height is known at the end.
    #[must_use]
    pub fn new(width: f64) -> Self {
        Self {
            width,
            body: String::new(),
        }
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        self.body.write_fmt(element).ok();
        self.body.push('\n');
    }

    /// A straight line between two points.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), part: Part) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let look = part.attributes();
        self.add(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" {look}/>"#
        ));
    }

    /// A rectangle from its upper left corner.
    pub fn area(&mut self, at: (f64, f64), size: (f64, f64), part: Part) {
        let ((x, y), (width, height)) = (at, size);
        let look = part.attributes();
        self.add(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" {look}/>"#
        ));
    }

    /// A filled bar of a series; `told` is shown when a pointer rests on it.
    pub fn bar(&mut self, at: (f64, f64), size: (f64, f64), tone: usize, told: &str) {
        let ((x, y), (width, height), tone) = (at, size, tone % TONES_COUNT);
        let (fill, told) = (TONES[tone], escape(told));
        self.add(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" class="f{tone}" fill="{fill}"><title>{told}</title></rect>"#
        ));
    }

    /// The line of a series through its points.
    pub fn curve(&mut self, points: &[(f64, f64)], tone: usize) {
        let tone = tone % TONES_COUNT;
        let (stroke, dash) = (TONES[tone], DASHES[tone]);
        let mut path = String::new();
        for (at, (x, y)) in points.iter().enumerate() {
            let letter = if at == 0 { 'M' } else { 'L' };
            write!(path, "{letter}{x:.1} {y:.1}").ok();
        }
        self.add(format_args!(
            r#"<path d="{path}" class="k{tone}" fill="none" stroke="{stroke}" stroke-width="2" stroke-linejoin="round" stroke-dasharray="{dash}"/>"#
        ));
    }

    /// A mark of a series at a point: each tone has its form. An open one says that something is not right.
    pub fn mark(&mut self, at: (f64, f64), tone: usize, open: bool, told: &str) {
        let tone = tone % TONES_COUNT;
        let (form, colour, told) = (form(tone, at), TONES[tone], escape(told));
        let (class, fill) = match open {
            true => (format!("k{tone} paper"), "#ffffff"),
            false => (format!("k{tone} f{tone}"), colour),
        };
        self.add(format_args!(
            r#"<path d="{form}" class="{class}" fill="{fill}" stroke="{colour}" stroke-width="1.5"><title>{told}</title></path>"#
        ));
    }

    /// A text; it is escaped here.
    pub fn text(&mut self, at: (f64, f64), anchor: Anchor, words: Words, text: &str) {
        let ((x, y), look, anchor, text) = (at, words.attributes(), anchor.word(), escape(text));
        self.add(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" {look}>{text}</text>"#
        ));
    }

    /// The whole drawing; `told` is what a screen reader says.
    #[must_use]
    pub fn finish(self, height: f64, told: &str) -> String {
        let (width, body, told) = (self.width, self.body, escape(told));
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" role="img" font-family="system-ui,-apple-system,Segoe UI,Roboto,Helvetica,Arial,sans-serif">
<title>{told}</title>
<rect width="{width:.0}" height="{height:.0}" class="paper" fill="#ffffff"/>
{body}</svg>
"##
        )
    }
}

/// The outline of a tone's mark: disc, square, triangle, diamond, triangle on its head, bar.
fn form(tone: usize, (x, y): (f64, f64)) -> String {
    let polygon = |points: &[(f64, f64)]| {
        let each = points.iter().enumerate().map(|(at, (dx, dy))| {
            let letter = if at == 0 { 'M' } else { 'L' };
            format!("{letter}{:.1} {:.1}", x + dx, y + dy)
        });
        each.collect::<String>() + "Z"
    };
    match tone {
        0 => format!(
            "M{:.1} {y:.1}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0Z",
            x - 3.5
        ),
        1 => polygon(&[(-3.2, -3.2), (3.2, -3.2), (3.2, 3.2), (-3.2, 3.2)]),
        2 => polygon(&[(0.0, -4.2), (4.0, 3.2), (-4.0, 3.2)]),
        3 => polygon(&[(0.0, -4.4), (4.4, 0.0), (0.0, 4.4), (-4.4, 0.0)]),
        4 => polygon(&[(0.0, 4.2), (4.0, -3.2), (-4.0, -3.2)]),
        _ => polygon(&[(-1.6, -4.4), (1.6, -4.4), (1.6, 4.4), (-1.6, 4.4)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_escaped() {
        let hostile = "</svg><script>alert('1')</script>&\"";
        let mut svg = Svg::new(100.0);
        svg.text((0.0, 0.0), Anchor::Start, Words::Label, hostile);
        svg.bar((0.0, 0.0), (1.0, 1.0), 0, hostile);
        svg.mark((0.0, 0.0), 9, true, hostile);
        let text = svg.finish(50.0, hostile);
        assert!(!text.contains("<script"), "{text}");
        assert_eq!(text.matches("</svg>").count(), 1);
    }

    #[test]
    fn what_is_drawn_is_sound_xml() {
        let mut svg = Svg::new(100.0);
        for tone in 0..=TONES_COUNT {
            svg.curve(&[(0.0, 1.0), (2.0, 3.0)], tone);
            svg.mark((5.0, 5.0), tone, tone % 2 == 0, "a & b");
        }
        svg.line((0.0, 0.0), (1.0, 1.0), Part::Rule);
        svg.area((0.0, 0.0), (1.0, 1.0), Part::Band);
        let text = svg.finish(50.0, "title");
        let mut reader = quick_xml::Reader::from_str(&text);
        loop {
            match reader.read_event().unwrap() {
                quick_xml::events::Event::Eof => break,
                _ => continue,
            }
        }
    }

    #[test]
    fn long_names_are_cut_by_characters() {
        assert_eq!(cut("länge", 5), "länge");
        assert_eq!(cut("längere", 5), "läng…");
    }
}
