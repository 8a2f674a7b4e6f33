//! Charts as SVG, drawn here since they have to stand in a page without a script, turn with its colours
//! and be read on a phone (docs/decisions/0025-report.md). `scale` places values, `svg` draws, `lines`,
//! `rows` and `columns` are the three kinds. They know nothing of records.

pub mod columns;
pub mod lines;
pub mod rows;
pub mod scale;
pub mod svg;
pub mod unit;

use scale::Scale;
use svg::{Anchor, Part, Svg, Words};
use unit::Unit;

/// Width of every chart in units: about the pixels of a phone, so that 11 units are readable there.
pub const WIDTH: f64 = 400.0;

/// One axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// How values lie along it.
    pub scale: Scale,
    /// What they count.
    pub unit: Unit,
    /// What it shows.
    pub title: String,
}

/// Where the inside of a chart lies.
#[derive(Clone, Copy, Debug)]
struct Inside {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Inside {
    fn x(&self, axis: &Axis, value: f64) -> f64 {
        self.left + axis.scale.place(value) * (self.right - self.left)
    }

    fn y(&self, axis: &Axis, value: f64) -> f64 {
        self.bottom - axis.scale.place(value) * (self.bottom - self.top)
    }

    /// Draws both axes with grid, ticks and titles.
    fn frame(&self, svg: &mut Svg, x: &Axis, y: &Axis) {
        for tick in y.scale.ticks() {
            let at = self.y(y, tick);
            svg.line((self.left, at), (self.right, at), Part::Grid);
            let label = y.unit.write(tick);
            svg.text(
                (self.left - 5.0, at + 4.0),
                Anchor::End,
                Words::Tick,
                &label,
            );
        }
        let mut free_from = f64::MIN;
        for tick in x.scale.ticks() {
            let at = self.x(x, tick);
            let label = x.unit.write(tick);
            let half = svg::width_of(&label) / 2.0;
            svg.line((at, self.bottom), (at, self.bottom + 4.0), Part::Axis);
            // A label that would lie on its neighbour is left out; its tick stays.
            let at = at.min(WIDTH - half);
            if at - half >= free_from {
                svg.text(
                    (at, self.bottom + 16.0),
                    Anchor::Middle,
                    Words::Tick,
                    &label,
                );
                free_from = at + half + 4.0;
            }
        }
        svg.line(
            (self.left, self.bottom),
            (self.right, self.bottom),
            Part::Axis,
        );
        svg.text(
            (0.0, self.top - 13.0),
            Anchor::Start,
            Words::Label,
            &y.title,
        );
        let below = (self.right, self.bottom + 32.0);
        svg.text(below, Anchor::End, Words::Label, &x.title);
    }
}

/// Writes a stamp across the upper right corner.
fn stamp(svg: &mut Svg, words: &str) {
    svg.text((WIDTH - 2.0, 14.0), Anchor::End, Words::Stamp, words);
}
