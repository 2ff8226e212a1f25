//! Bar chart of the best points of a search.

use super::svg::{BLUE, Letters, Svg, TITLE};

/// Draws named values from 0 to 1 as bars, in the given order; the axis begins a little below the smallest.
pub fn bars(title: &str, below: &str, values: &[(String, f64)]) -> String {
    const TOP: f64 = 60.0;
    const ROW: f64 = 24.0;
    const WIDTH: f64 = 360.0;
    let longest = values.iter().map(|(name, _)| name.chars().count()).max();
    let left = 24.0 + 7.0 * longest.unwrap_or(0) as f64;
    let bottom = TOP + ROW * values.len() as f64;
    let least = values.iter().map(|(_, value)| *value).fold(1.0, f64::min);
    let most = values.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let low = (least - 0.25 * (most - least) - 0.005).max(0.0);
    let mut svg = Svg::new(left + WIDTH + 80.0, bottom + 40.0);
    svg.text((16.0, 30.0), TITLE, title);
    for (row, (name, value)) in values.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let width = WIDTH * (value - low) / (most - low).max(1e-9);
        svg.text((left - 8.0, y + 16.0), Letters::end(12.0), name);
        svg.rect(
            [left, y + 3.0, width, ROW - 6.0],
            &format!("fill=\"{BLUE}\""),
        );
        let number = format!("{value:.4}");
        svg.text(
            (left + width + 6.0, y + 16.0),
            Letters::start(12.0),
            &number,
        );
    }
    let axis = format!("{below} (from {low:.3})");
    svg.text(
        (left, bottom + 24.0),
        Letters::start(12.0).in_colour("#666666"),
        &axis,
    );
    svg.end()
}
