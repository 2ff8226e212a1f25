//! Reliability diagram of an evaluation.

use super::svg::{BLUE, Letters, RED, SUBTITLE, Svg, TITLE};
use crate::metrics::{Bin, Metrics};

const LEFT: f64 = 70.0;
const TOP: f64 = 60.0;
const SIDE: f64 = 380.0;
const RIGHT: f64 = LEFT + SIDE;
const BOTTOM: f64 = TOP + SIDE;
/// Height of the lower part, with the number of rows in each bin.
const COUNTS: f64 = 80.0;
/// Baseline of the count bars.
const FLOOR: f64 = BOTTOM + COUNTS + 12.0;

/// Draws the accuracy in each confidence bin beside that of a calibrated model, and below it the number of rows in each
/// bin.
pub fn reliability_diagram(title: &str, bins: &[Bin], metrics: &Metrics) -> String {
    let mut svg = Svg::new(RIGHT + 30.0, BOTTOM + COUNTS + 75.0);
    svg.text((LEFT, 28.0), TITLE, title);
    let numbers = format!(
        "ECE {:.4}   NLL {:.4}   accuracy {:.4}",
        metrics.ece, metrics.nll, metrics.accuracy
    );
    svg.text((LEFT, 48.0), SUBTITLE, &numbers);
    grid(&mut svg);
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(0).max(1);
    for bin in bins.iter().filter(|bin| bin.count > 0) {
        accuracy_and_gap(&mut svg, bin);
        rows(&mut svg, bin, most as f64);
    }
    frame(&mut svg);
    svg.end()
}

fn y_of(share: f64) -> f64 {
    BOTTOM - share * SIDE
}

/// Returns the left edge and width of a bin's bars.
fn extent(bin: &Bin) -> (f64, f64) {
    let width = (bin.high - bin.low) * SIDE - 2.0;
    (LEFT + bin.low * SIDE + 1.0, width)
}

fn grid(svg: &mut Svg) {
    for tick in 0..=5 {
        let share = f64::from(tick) / 5.0;
        let (x, y) = (LEFT + share * SIDE, y_of(share));
        let number = format!("{share:.1}");
        svg.line((LEFT, y), (RIGHT, y), "stroke=\"#e5e5e5\"");
        svg.text((LEFT - 8.0, y + 4.0), Letters::end(12.0), &number);
        svg.text((x, FLOOR + 18.0), Letters::middle(12.0), &number);
    }
}

fn accuracy_and_gap(svg: &mut Svg, bin: &Bin) {
    let (x, width) = extent(bin);
    let bar = [x, y_of(bin.accuracy), width, bin.accuracy * SIDE];
    svg.rect(bar, &format!("fill=\"{BLUE}\""));
    let upper = bin.accuracy.max(bin.confidence);
    let lower = bin.accuracy.min(bin.confidence);
    let gap = [x, y_of(upper), width, (upper - lower) * SIDE];
    let style = format!("fill=\"{RED}\" fill-opacity=\"0.35\" stroke=\"{RED}\"");
    svg.rect(gap, &style);
}

fn rows(svg: &mut Svg, bin: &Bin, most: f64) {
    let (x, width) = extent(bin);
    let height = bin.count as f64 / most * (COUNTS - 14.0);
    svg.rect([x, FLOOR - height, width, height], "fill=\"#9aa5b1\"");
    let above = (x + width / 2.0, FLOOR - 4.0 - height);
    svg.text(above, Letters::middle(9.0), &bin.count.to_string());
}

/// Draws the diagonal of a calibrated model, the axes and their names.
fn frame(svg: &mut Svg) {
    let dashed = "stroke=\"#444444\" stroke-dasharray=\"5 4\"";
    svg.line((LEFT, BOTTOM), (RIGHT, TOP), dashed);
    let outline = "fill=\"none\" stroke=\"#444444\"";
    svg.rect([LEFT, TOP, SIDE, SIDE], outline);
    let solid = "stroke=\"#444444\"";
    svg.line((LEFT, FLOOR), (RIGHT, FLOOR), solid);
    svg.upright((24.0, TOP + SIDE / 2.0), 13.0, "accuracy");
    svg.upright((24.0, BOTTOM + COUNTS / 2.0 + 8.0), 13.0, "rows");
    let below = (LEFT + SIDE / 2.0, FLOOR + 40.0);
    let what = "confidence (red: gap to accuracy)";
    svg.text(below, Letters::middle(13.0), what);
}
