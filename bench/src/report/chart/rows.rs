//! Bars that lie, a row each: its name above at the left, its value at the right, so that long names have
//! room on a phone. Rows may stand in groups, each with a scale of its own. Called by the figures.

use super::svg::{self, Anchor, Part, Svg, Words};
use super::{WIDTH, stamp};

/// One bar.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// What it is.
    pub name: String,
    /// Its length.
    pub value: f64,
    /// Its value in words.
    pub words: String,
    /// Which series it belongs to.
    pub tone: usize,
}

/// Bars that share a scale from 0.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// What they count; empty for one group alone.
    pub name: String,
    /// The bars.
    pub rows: Vec<Row>,
}

/// A chart of lying bars.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// What it shows, for a reader who does not see it.
    pub title: String,
    /// The groups, from above.
    pub groups: Vec<Group>,
    /// Why the figure may not be used; empty when it may.
    pub stamp: String,
}

/// Height of one row with its distance to the next.
const ROW: f64 = 22.0;

impl Rows {
    /// The chart as SVG.
    #[must_use]
    pub fn draw(&self) -> String {
        let mut svg = Svg::new(WIDTH);
        let mut y = 0.0;
        if !self.stamp.is_empty() {
            stamp(&mut svg, &self.stamp);
            y += 22.0;
        }
        let rows = || self.groups.iter().flat_map(|group| &group.rows);
        let widest =
            |of: fn(&Row) -> &str| rows().map(|r| svg::width_of(of(r))).fold(0.0, f64::max);
        let left = (widest(|row| &row.name) + 8.0).min(WIDTH * 0.4);
        let right = WIDTH - (widest(|row| &row.words) + 8.0).min(WIDTH * 0.45);
        for group in &self.groups {
            if !group.name.is_empty() {
                svg.text((0.0, y + 18.0), Anchor::Start, Words::Strong, &group.name);
                y += 25.0;
            }
            let greatest = group.rows.iter().map(|row| row.value).fold(0.0, f64::max);
            for row in &group.rows {
                row.draw(&mut svg, y, (left, right), greatest);
                y += ROW;
            }
            y += 4.0;
        }
        svg.finish(y + 2.0, &self.title)
    }
}

impl Row {
    fn draw(&self, svg: &mut Svg, y: f64, (left, right): (f64, f64), greatest: f64) {
        let characters = (left / svg::GLYPH) as usize;
        let name = svg::cut(&self.name, characters);
        svg.text((0.0, y + 15.0), Anchor::Start, Words::Label, &name);
        let share = if greatest > 0.0 && self.value.is_finite() {
            (self.value / greatest).clamp(0.0, 1.0)
        } else {
            0.0
        };
        svg.area((left, y + 4.0), (right - left, ROW - 8.0), Part::Track);
        let told = format!("{}: {}", self.name, self.words);
        if share > 0.0 {
            let length = ((right - left) * share).max(1.0);
            svg.bar((left, y + 4.0), (length, ROW - 8.0), self.tone, &told);
        }
        svg.text((WIDTH, y + 15.0), Anchor::End, Words::Strong, &self.words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share_of_the_longest() {
        let row = |name: &str, value: f64| Row {
            name: name.to_owned(),
            value,
            words: "w".to_owned(),
            tone: 0,
        };
        let rows = vec![
            row("a", 4.0),
            row("b", 1.0),
            row("c", 0.0),
            row("d", f64::NAN),
        ];
        let drawn = Rows {
            title: "t".to_owned(),
            groups: vec![Group {
                name: String::new(),
                rows,
            }],
            stamp: String::new(),
        }
        .draw();
        let lengths: Vec<f64> = drawn
            .lines()
            .filter(|line| line.contains("class=\"f0\""))
            .map(|line| {
                let at = line.split("width=\"").nth(1).unwrap();
                at.split('"').next().unwrap().parse().unwrap()
            })
            .collect();
        assert_eq!(lengths.len(), 2, "{drawn}");
        assert!((lengths[0] / lengths[1] - 4.0).abs() < 0.01);
    }
}
