//! How sure a model may be: the reliability diagram of an evaluation.

use super::svg::{BLUE, INK, RED, Svg};
use crate::metrics::{Bin, Metrics};

/// Accuracy of each bin of confidences beside what a calibrated model would have, and below it how many rows fall into each.
pub fn reliability_diagram(title: &str, bins: &[Bin], metrics: &Metrics) -> String {
    const LEFT: f64 = 70.0;
    const TOP: f64 = 60.0;
    const SIDE: f64 = 380.0;
    const COUNTS: f64 = 80.0;
    let bottom = TOP + SIDE;
    let mut svg = Svg::new(LEFT + SIDE + 30.0, bottom + COUNTS + 75.0);
    svg.text(LEFT, 28.0, 17.0, "start", INK, title);
    let numbers = format!(
        "ECE {:.4}   NLL {:.4}   accuracy {:.4}",
        metrics.ece, metrics.nll, metrics.accuracy
    );
    svg.text(LEFT, 48.0, 13.0, "start", "#666666", &numbers);
    let y_of = |share: f64| bottom - share * SIDE;
    for tick in 0..=5 {
        let share = f64::from(tick) / 5.0;
        let (x, y) = (LEFT + share * SIDE, y_of(share));
        svg.line((LEFT, y), (LEFT + SIDE, y), "stroke=\"#e5e5e5\"");
        svg.text(
            LEFT - 8.0,
            y + 4.0,
            12.0,
            "end",
            INK,
            &format!("{share:.1}"),
        );
        svg.text(
            x,
            bottom + COUNTS + 30.0,
            12.0,
            "middle",
            INK,
            &format!("{share:.1}"),
        );
    }
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(0).max(1) as f64;
    for bin in bins.iter().filter(|bin| bin.count > 0) {
        let (x, width) = (
            LEFT + bin.low * SIDE + 1.0,
            (bin.high - bin.low) * SIDE - 2.0,
        );
        let bar = [x, y_of(bin.accuracy), width, bin.accuracy * SIDE];
        svg.rect(bar, &format!("fill=\"{BLUE}\""));
        let (upper, lower) = (
            bin.accuracy.max(bin.confidence),
            bin.accuracy.min(bin.confidence),
        );
        let gap = [x, y_of(upper), width, (upper - lower) * SIDE];
        svg.rect(
            gap,
            &format!("fill=\"{RED}\" fill-opacity=\"0.35\" stroke=\"{RED}\""),
        );
        let height = bin.count as f64 / most * (COUNTS - 14.0);
        svg.rect(
            [x, bottom + COUNTS + 12.0 - height, width, height],
            "fill=\"#9aa5b1\"",
        );
        svg.text(
            x + width / 2.0,
            bottom + COUNTS + 8.0 - height,
            9.0,
            "middle",
            INK,
            &bin.count.to_string(),
        );
    }
    svg.line(
        (LEFT, bottom),
        (LEFT + SIDE, TOP),
        "stroke=\"#444444\" stroke-dasharray=\"5 4\"",
    );
    svg.rect([LEFT, TOP, SIDE, SIDE], "fill=\"none\" stroke=\"#444444\"");
    svg.line(
        (LEFT, bottom + COUNTS + 12.0),
        (LEFT + SIDE, bottom + COUNTS + 12.0),
        "stroke=\"#444444\"",
    );
    svg.upright(24.0, TOP + SIDE / 2.0, 13.0, "accuracy");
    svg.upright(24.0, bottom + COUNTS / 2.0 + 8.0, 13.0, "rows");
    svg.text(
        LEFT + SIDE / 2.0,
        bottom + COUNTS + 52.0,
        13.0,
        "middle",
        INK,
        "confidence (red: gap to accuracy)",
    );
    svg.end()
}
