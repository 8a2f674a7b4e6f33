//! A flame graph as one SVG file that needs no other: a box for each function, as wide as its share of the
//! samples, on the box of its caller. Held against an earlier profile, colours say what grew and what shrank.
//!
//! The tooltip of a box has its name, samples and share. No script: what is too narrow to be seen is in the text
//! beside it. Called by `profile`.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::stacks::Node;

/// Width of the drawing, height of a box, width of a letter, in pixels.
const WIDTH: f64 = 1200.0;
const BOX: f64 = 17.0;
const LETTER: f64 = 6.6;
/// Narrowest box that is drawn.
const NARROWEST: f64 = 0.4;
/// Room for title and foot.
const MARGIN: f64 = 40.0;

const STYLE: &str = "<style>text{font:11px ui-monospace,monospace;fill:#111}.t{font-size:14px;fill:#222}\
rect{stroke:#fff;stroke-width:.5}svg{background:#fff}\
@media(prefers-color-scheme:dark){svg{background:#161616}.t{fill:#ddd}rect{stroke:#161616}}</style>";

/// Draws the tree under a title; `earlier` is the tree of an earlier profile.
#[must_use]
pub fn svg(title: &str, root: &Node, earlier: Option<&Node>) -> String {
    let height = depth(root) as f64 * BOX + 2.0 * MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         style=\"max-width:100%;height:auto\"><title>{0}</title>{STYLE}<text class=\"t\" x=\"8\" y=\"22\">{0}</text>\n",
        escaped(title)
    );
    let drawing = Drawing {
        total: root.count.max(1) as f64,
        earlier_total: earlier.map(|tree| tree.count.max(1) as f64),
        bottom: height - MARGIN,
    };
    drawing.row(
        &mut out,
        &root.inside,
        (0.0, 0),
        earlier.map(|tree| &tree.inside),
    );
    out.push_str("</svg>\n");
    out
}

fn depth(node: &Node) -> usize {
    node.inside
        .values()
        .map(|inside| 1 + depth(inside))
        .max()
        .unwrap_or(0)
}

struct Drawing {
    total: f64,
    earlier_total: Option<f64>,
    bottom: f64,
}

impl Drawing {
    fn row(
        &self,
        out: &mut String,
        nodes: &BTreeMap<String, Node>,
        (mut x, level): (f64, usize),
        earlier: Option<&BTreeMap<String, Node>>,
    ) {
        for (name, node) in nodes {
            let width = node.count as f64 / self.total * WIDTH;
            let before = earlier.and_then(|nodes| nodes.get(name));
            if width >= NARROWEST {
                self.draw(out, (name, node), (x, width, level), before);
                let before = before.map(|node| &node.inside);
                self.row(out, &node.inside, (x, level + 1), before);
            }
            x += width;
        }
    }

    fn draw(
        &self,
        out: &mut String,
        (name, node): (&str, &Node),
        (x, width, level): (f64, f64, usize),
        before: Option<&Node>,
    ) {
        let y = self.bottom - (level + 1) as f64 * BOX;
        let share = node.count as f64 / self.total;
        let earlier = self
            .earlier_total
            .map(|total| before.map_or(0.0, |node| node.count as f64) / total);
        let (fill, change) = match earlier {
            None => (warm(name), String::new()),
            Some(earlier) => (
                difference(share - earlier),
                format!(", {:+.2} points", (share - earlier) * 100.0),
            ),
        };
        // Writing to a string does not fail.
        let _ = write!(
            out,
            "<g><title>{}: {} samples, {:.2} %{change}</title><rect x=\"{x:.2}\" y=\"{y:.1}\" width=\"{width:.2}\" \
             height=\"{BOX}\" fill=\"{fill}\"/>",
            escaped(name),
            node.count,
            share * 100.0
        );
        let letters = ((width - 6.0) / LETTER) as usize;
        if letters >= 3 {
            let short = escaped(&shortened(name, letters));
            let _ = write!(
                out,
                "<text x=\"{:.2}\" y=\"{:.1}\">{short}</text>",
                x + 3.0,
                y + 12.5
            );
        }
        out.push_str("</g>\n");
    }
}

/// A name that fits: its end tells more than its path.
fn shortened(name: &str, letters: usize) -> String {
    let count = name.chars().count();
    if count <= letters {
        return name.to_owned();
    }
    let kept: String = name.chars().skip(count - (letters - 2)).collect();
    format!("..{kept}")
}

/// A warm colour, the same for the same name.
fn warm(name: &str) -> String {
    let hash = name.bytes().fold(5381_u32, |hash, octet| {
        hash.wrapping_mul(33) ^ u32::from(octet)
    });
    format!(
        "rgb({},{},{})",
        205 + hash % 50,
        110 + hash / 50 % 110,
        60 + hash / 5_500 % 40
    )
}

/// Red for what grew, blue for what shrank, full from five points on.
fn difference(points: f64) -> String {
    let pale = (240.0 * (1.0 - (points.abs() / 0.05).min(1.0)) + 10.0) as u8;
    match points {
        points if points > 0.0 => format!("rgb(245,{pale},{pale})"),
        points if points < 0.0 => format!("rgb({pale},{pale},245)"),
        _ => "rgb(235,235,235)".to_owned(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::stacks::Stacks;
    use quick_xml::Reader;
    use quick_xml::events::Event;

    /// Widths of the boxes by the text of their tooltips; the reader checks that it is XML.
    fn boxes(svg: &str) -> BTreeMap<String, f64> {
        let (mut reader, mut title, mut boxes) =
            (Reader::from_str(svg), String::new(), BTreeMap::new());
        loop {
            match reader.read_event().unwrap() {
                Event::Start(tag) if tag.name().as_ref() == "title" => {
                    title = reader.read_text(tag.name()).unwrap().to_string();
                }
                Event::Empty(tag) => {
                    let width = tag.try_get_attribute("width").unwrap().unwrap();
                    boxes.insert(title.clone(), width.value.parse().unwrap());
                }
                Event::Eof => return boxes,
                _ => {}
            }
        }
    }

    #[test]
    fn boxes_are_as_wide_as_their_share_and_names_are_escaped() {
        let stacks = Stacks::of_folded("run;<A as B>::c 3\nrun;d 1\n").unwrap();
        let boxes = boxes(&svg("a & b", &stacks.tree(), None));
        assert_eq!(boxes["run: 4 samples, 100.00 %"], 1200.0);
        assert_eq!(boxes["&lt;A as B&gt;::c: 3 samples, 75.00 %"], 900.0);
        assert_eq!(boxes["d: 1 samples, 25.00 %"], 300.0);
    }

    #[test]
    fn against_an_earlier_profile_a_box_says_and_shows_how_its_share_changed() {
        let now = Stacks::of_folded("run;a 3\nrun;b 1\n").unwrap();
        let earlier = Stacks::of_folded("run;a 20\nrun;b 20\n").unwrap();
        let svg = svg("t", &now.tree(), Some(&earlier.tree()));
        assert!(
            svg.contains("a: 3 samples, 75.00 %, +25.00 points") && svg.contains("rgb(245,10,10)")
        );
        assert!(
            svg.contains("b: 1 samples, 25.00 %, -25.00 points") && svg.contains("rgb(10,10,245)")
        );
        assert!(svg.contains("run: 4 samples, 100.00 %, +0.00 points"));
    }

    #[test]
    fn what_is_too_narrow_is_left_out_and_long_names_keep_their_end() {
        let stacks = Stacks::of_folded("run;wide 10000\nrun;narrow 1\n").unwrap();
        assert!(!svg("t", &stacks.tree(), None).contains("narrow"));
        assert_eq!(shortened("sirocco_wire::sip::patch", 8), "..:patch");
    }
}
