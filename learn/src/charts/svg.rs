//! Shapes and text of an SVG picture, independent of what they show.

use std::fmt::Write;

use crate::markup::escaped;

const FONT: &str = "font-family=\"Helvetica, Arial, sans-serif\"";
pub(super) const INK: &str = "#222222";
pub(super) const BLUE: &str = "#3b6fb6";
pub(super) const RED: &str = "#d1495b";

/// Appearance of a text, and where it is anchored.
#[derive(Clone, Copy)]
pub(super) struct Letters {
    size: f64,
    anchor: &'static str,
    colour: &'static str,
}

impl Letters {
    /// Returns letters of `size` pixels for a text that begins at its point.
    pub(super) const fn start(size: f64) -> Self {
        Self::at("start", size)
    }

    /// Returns letters for a text centred on its point.
    pub(super) const fn middle(size: f64) -> Self {
        Self::at("middle", size)
    }

    /// Returns letters for a text that ends at its point.
    pub(super) const fn end(size: f64) -> Self {
        Self::at("end", size)
    }

    pub(super) const fn in_colour(self, colour: &'static str) -> Self {
        Self { colour, ..self }
    }

    const fn at(anchor: &'static str, size: f64) -> Self {
        let colour = INK;
        Self {
            size,
            anchor,
            colour,
        }
    }
}

/// Letters of the picture's title.
pub(super) const TITLE: Letters = Letters::start(17.0);
/// Letters of the line below the title.
pub(super) const SUBTITLE: Letters = Letters::start(13.0).in_colour("#666666");

/// Picture being drawn. Points are (x, y) in pixels from the upper left corner.
pub(super) struct Svg(String);

impl Svg {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
        ))
    }

    pub(super) fn text(&mut self, (x, y): (f64, f64), letters: Letters, text: &str) {
        let Letters {
            size,
            anchor,
            colour,
        } = letters;
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" {FONT} font-size=\"{size}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{}</text>",
            escaped(text)
        );
    }

    /// Adds text that reads upwards.
    pub(super) fn upright(&mut self, (x, y): (f64, f64), size: f64, text: &str) {
        let _ = writeln!(
            self.0,
            "<text transform=\"translate({x:.1} {y:.1}) rotate(-90)\" {FONT} font-size=\"{size}\" text-anchor=\"middle\" fill=\"{INK}\">{}</text>",
            escaped(text)
        );
    }

    /// Adds text that slants to the upper right.
    pub(super) fn slanting(&mut self, (x, y): (f64, f64), size: f64, text: &str) {
        let _ = writeln!(
            self.0,
            "<text transform=\"translate({x:.1} {y:.1}) rotate(-45)\" {FONT} font-size=\"{size}\" fill=\"{INK}\">{}</text>",
            escaped(text)
        );
    }

    pub(super) fn rect(&mut self, [x, y, width, height]: [f64; 4], style: &str) {
        let _ = writeln!(
            self.0,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" {style}/>"
        );
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), style: &str) {
        let _ = writeln!(
            self.0,
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" {style}/>",
            from.0, from.1, to.0, to.1
        );
    }

    pub(super) fn polyline(&mut self, points: &[(f64, f64)], colour: &str) {
        let points: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let _ = writeln!(
            self.0,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
    }

    pub(super) fn end(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}
