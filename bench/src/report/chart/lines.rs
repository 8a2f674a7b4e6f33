//! Lines over an axis: several series, each with its own tone, dashes and marks, with places and ranges
//! that are marked by a name. Called by the figures.

use super::svg::{self, Anchor, Part, Svg, Words};
use super::{Axis, Inside, WIDTH, stamp};

/// One point of a series.
#[derive(Clone, Debug, Default)]
pub struct Point {
    /// Where it lies along.
    pub x: f64,
    /// Where it lies up.
    pub y: f64,
    /// Whether something is not right with it: its mark is open.
    pub open: bool,
}

/// One series.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Its points in their order.
    pub points: Vec<Point>,
    /// Whether each point has a mark.
    pub marked: bool,
}

/// A place or range along the x axis with a name.
#[derive(Clone, Debug)]
pub struct Place {
    /// The place.
    pub at: f64,
    /// The range around it, where there is one.
    pub range: Option<[f64; 2]>,
    /// Its name.
    pub name: String,
}

/// A chart of lines.
#[derive(Clone, Debug)]
pub struct Lines {
    /// What it shows, for a reader who does not see it.
    pub title: String,
    /// Along.
    pub x: Axis,
    /// Up.
    pub y: Axis,
    /// The series.
    pub lines: Vec<Line>,
    /// What is marked.
    pub places: Vec<Place>,
    /// Levels along the y axis that hold from one x to another: means of stretches, bounds.
    pub levels: Vec<[f64; 3]>,
    /// Why the figure may not be used; empty when it may.
    pub stamp: String,
}

/// Height of the inside.
const HEIGHT: f64 = 190.0;

/// Height of a row of the legend, and of a place's name.
const ROW: f64 = 17.0;

impl Lines {
    /// The chart as SVG.
    #[must_use]
    pub fn draw(&self) -> String {
        let mut svg = Svg::new(WIDTH);
        if !self.stamp.is_empty() {
            stamp(&mut svg, &self.stamp);
        }
        let legend_end = self.legend(&mut svg);
        let top = legend_end + 30.0 + ROW * self.places.len().min(3) as f64;
        let labels = self.y.scale.ticks().into_iter();
        let widest = labels
            .map(|tick| svg::width_of(&self.y.unit.write(tick)))
            .fold(20.0, f64::max);
        let inside = Inside {
            left: widest + 6.0,
            top,
            right: WIDTH - 8.0,
            bottom: top + HEIGHT,
        };
        inside.frame(&mut svg, &self.x, &self.y);
        for (at, place) in self.places.iter().enumerate() {
            self.place(&mut svg, &inside, place, at % 3);
        }
        for [from, to, level] in &self.levels {
            let y = inside.y(&self.y, *level);
            let (from, to) = (inside.x(&self.x, *from), inside.x(&self.x, *to));
            svg.line((from, y), (to, y), Part::Rule);
        }
        for (tone, line) in self.lines.iter().enumerate() {
            self.line(&mut svg, &inside, line, tone);
        }
        svg.finish(inside.bottom + 38.0, &self.title)
    }

    /// Draws the legend, a series after the other; returns where it ends.
    fn legend(&self, svg: &mut Svg) -> f64 {
        let room = if self.stamp.is_empty() { 0.0 } else { 24.0 };
        if self.lines.len() < 2 {
            return room;
        }
        let (mut x, mut y) = (0.0, room + 12.0);
        for (tone, line) in self.lines.iter().enumerate() {
            let name = svg::cut(&line.name, 48);
            let width = 38.0 + svg::width_of(&name);
            if x > 0.0 && x + width > WIDTH {
                (x, y) = (0.0, y + ROW);
            }
            svg.curve(&[(x, y - 4.0), (x + 26.0, y - 4.0)], tone);
            svg.mark((x + 13.0, y - 4.0), tone, false, &line.name);
            svg.text((x + 31.0, y), Anchor::Start, Words::Label, &name);
            x += width + 6.0;
        }
        y + 6.0
    }

    fn place(&self, svg: &mut Svg, inside: &Inside, place: &Place, row: usize) {
        if let Some([from, to]) = place.range {
            let (from, to) = (inside.x(&self.x, from), inside.x(&self.x, to));
            let size = ((to - from).max(1.0), inside.bottom - inside.top);
            svg.area((from, inside.top), size, Part::Band);
        }
        let x = inside.x(&self.x, place.at);
        let y = inside.top - 30.0 - ROW * row as f64;
        svg.line((x, y + 4.0), (x, inside.bottom), Part::Rule);
        let (anchor, at) = match x > (inside.left + inside.right) / 2.0 {
            true => (Anchor::End, x + 2.0),
            false => (Anchor::Start, x - 2.0),
        };
        svg.text((at, y), anchor, Words::Strong, &svg::cut(&place.name, 52));
    }

    fn line(&self, svg: &mut Svg, inside: &Inside, line: &Line, tone: usize) {
        let at = |point: &Point| (inside.x(&self.x, point.x), inside.y(&self.y, point.y));
        let places: Vec<(f64, f64)> = line.points.iter().map(at).collect();
        if places.len() > 1 {
            svg.curve(&places, tone);
        }
        if line.marked || places.len() == 1 {
            for (point, at) in line.points.iter().zip(places) {
                let (x, y) = (self.x.unit.write(point.x), self.y.unit.write(point.y));
                svg.mark(at, tone, point.open, &format!("{}: {y} at {x}", line.name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::chart::scale::Scale;
    use crate::report::chart::unit::Unit;

    fn chart(lines: Vec<Line>) -> Lines {
        let axis = |title: &str| Axis {
            scale: Scale::linear(0.0, 10.0),
            unit: Unit::Count,
            title: title.to_owned(),
        };
        Lines {
            title: "t".to_owned(),
            x: axis("x"),
            y: axis("y"),
            lines,
            places: Vec::new(),
            levels: Vec::new(),
            stamp: String::new(),
        }
    }

    fn line(name: &str, points: &[(f64, f64)]) -> Line {
        let point = |(x, y): &(f64, f64)| Point {
            x: *x,
            y: *y,
            open: false,
        };
        Line {
            name: name.to_owned(),
            points: points.iter().map(point).collect(),
            marked: true,
        }
    }

    #[test]
    fn points_lie_where_their_values_are() {
        let drawn = chart(vec![line("a", &[(0.0, 0.0), (10.0, 10.0)])]).draw();
        // Left, bottom, right and top of the inside.
        let path = drawn
            .lines()
            .find(|l| l.contains("class=\"k0\" fill=\"none\""));
        assert!(path.unwrap().contains("M26.0 220.0L392.0 30.0"), "{drawn}");
        assert!(drawn.contains("<title>a: 10 at 10</title>"));
    }

    #[test]
    fn several_series_have_a_legend_and_a_stamp_is_seen() {
        let lone = chart(vec![line("alone", &[(1.0, 1.0)])]).draw();
        assert!(!lone.contains(">alone</text>"));
        let mut both = chart(vec![line("one", &[(1.0, 1.0)]), line("two", &[(2.0, 2.0)])]);
        both.stamp = "INVALID".to_owned();
        let drawn = both.draw();
        assert!(drawn.contains(">one</text>") && drawn.contains(">two</text>"));
        assert!(drawn.contains(">INVALID</text>"));
    }
}
