//! Standing bars without gaps, one a value: a histogram over whole numbers. Called by the figures.

use super::lines::Place;
use super::svg::{self, Anchor, Part, Svg, Words};
use super::{Axis, Inside, WIDTH, stamp};

/// A histogram.
#[derive(Clone, Debug)]
pub struct Columns {
    /// What it shows, for a reader who does not see it.
    pub title: String,
    /// Along.
    pub x: Axis,
    /// Up.
    pub y: Axis,
    /// Value along and height of each column.
    pub columns: Vec<(f64, f64)>,
    /// What is marked.
    pub places: Vec<Place>,
    /// Why the figure may not be used; empty when it may.
    pub stamp: String,
}

impl Columns {
    /// The chart as SVG.
    #[must_use]
    pub fn draw(&self) -> String {
        let mut svg = Svg::new(WIDTH);
        let mut top = 30.0;
        if !self.stamp.is_empty() {
            stamp(&mut svg, &self.stamp);
            top += 20.0;
        }
        top += 18.0 * self.places.len().min(1) as f64;
        let labels = self.y.scale.ticks().into_iter();
        let widest = labels
            .map(|tick| svg::width_of(&self.y.unit.write(tick)))
            .fold(20.0, f64::max);
        let inside = Inside {
            left: widest + 6.0,
            top,
            right: WIDTH - 8.0,
            bottom: top + 150.0,
        };
        inside.frame(&mut svg, &self.x, &self.y);
        for (value, height) in &self.columns {
            let (from, to) = (
                inside.x(&self.x, value - 0.5),
                inside.x(&self.x, value + 0.5),
            );
            let y = inside.y(&self.y, *height);
            let told = format!(
                "{}: {}",
                self.x.unit.write(*value),
                self.y.unit.write(*height)
            );
            if *height > 0.0 {
                let size = ((to - from - 0.4).max(0.6), (inside.bottom - y).max(0.8));
                svg.bar((from, inside.bottom - size.1), size, 0, &told);
            }
        }
        for place in self.places.iter().take(1) {
            let x = inside.x(&self.x, place.at);
            svg.line((x, inside.top - 24.0), (x, inside.bottom), Part::Rule);
            let (anchor, at) = match x > WIDTH / 2.0 {
                true => (Anchor::End, x - 4.0),
                false => (Anchor::Start, x + 4.0),
            };
            let name = svg::cut(&place.name, 52);
            svg.text((at, inside.top - 28.0), anchor, Words::Strong, &name);
        }
        svg.finish(inside.bottom + 38.0, &self.title)
    }
}
