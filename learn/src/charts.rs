//! Pictures as SVG: the reliability diagram and the confusion matrix of an evaluation, the curve of a training, the labels of a manifest. Owns how they
//! look; needs no font or library of its own, so that the same numbers give the same file.

mod label_counts;
mod svg;

use std::fmt::Write;

pub use self::label_counts::label_counts;
use self::svg::{BLUE, FONT, INK, RED, Svg, escaped};
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

/// Named values from 0 to 1 as bars, in the order in which they are given; the axis begins a little below the least.
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
    svg.text(16.0, 30.0, 17.0, "start", INK, title);
    for (row, (name, value)) in values.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let width = WIDTH * (value - low) / (most - low).max(1e-9);
        svg.text(left - 8.0, y + 16.0, 12.0, "end", INK, name);
        svg.rect(
            [left, y + 3.0, width, ROW - 6.0],
            &format!("fill=\"{BLUE}\""),
        );
        let number = format!("{value:.4}");
        svg.text(left + width + 6.0, y + 16.0, 12.0, "start", INK, &number);
    }
    let axis = format!("{below} (from {low:.3})");
    svg.text(left, bottom + 24.0, 12.0, "start", "#666666", &axis);
    svg.end()
}

/// Counts by label and prediction, coloured by the share of the label's rows.
pub fn confusion_matrix(title: &str, classes: &[String], metrics: &Metrics) -> String {
    const CELL: f64 = 62.0;
    let longest = classes
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0) as f64;
    let (left, top) = (54.0 + 7.5 * longest, 76.0 + 6.0 * longest);
    let side = CELL * classes.len() as f64;
    let mut svg = Svg::new(left + side + 90.0, top + side + 30.0);
    svg.text(16.0, 28.0, 17.0, "start", INK, title);
    let numbers = format!(
        "accuracy {:.4}   macro-F1 {:.4}",
        metrics.accuracy, metrics.macro_f1
    );
    svg.text(16.0, 48.0, 13.0, "start", "#666666", &numbers);
    svg.text(left + side / 2.0, 68.0, 13.0, "middle", INK, "predicted");
    svg.upright(20.0, top + side / 2.0, 13.0, "label");
    svg.text(
        left + side + 45.0,
        top - 10.0,
        12.0,
        "middle",
        INK,
        "recall",
    );
    for (row, counts) in metrics.confusion.iter().enumerate() {
        let y = top + CELL * row as f64;
        svg.text(
            left - 8.0,
            y + CELL / 2.0 + 4.0,
            13.0,
            "end",
            INK,
            &classes[row],
        );
        let x = left + CELL * row as f64 + CELL / 2.0 + 4.0;
        let _ = writeln!(
            svg.0,
            "<text transform=\"translate({x:.1} {:.1}) rotate(-45)\" {FONT} font-size=\"13\" fill=\"{INK}\">{}</text>",
            top - 8.0,
            escaped(&classes[row])
        );
        let support: u64 = counts.iter().sum();
        for (column, &count) in counts.iter().enumerate() {
            let x = left + CELL * column as f64;
            let share = if support == 0 {
                0.0
            } else {
                count as f64 / support as f64
            };
            let style = format!("fill=\"{BLUE}\" fill-opacity=\"{share:.3}\" stroke=\"#d0d0d0\"");
            svg.rect([x, y, CELL, CELL], &style);
            let ink = if share > 0.55 { "#ffffff" } else { INK };
            let middle = x + CELL / 2.0;
            svg.text(
                middle,
                y + CELL / 2.0 + 1.0,
                14.0,
                "middle",
                ink,
                &count.to_string(),
            );
            if count > 0 {
                svg.text(
                    middle,
                    y + CELL / 2.0 + 16.0,
                    10.0,
                    "middle",
                    ink,
                    &format!("{:.1} %", 100.0 * share),
                );
            }
        }
        let recall = format!("{:.3}", metrics.per_class[row].recall);
        svg.text(
            left + side + 45.0,
            y + CELL / 2.0 + 4.0,
            13.0,
            "middle",
            INK,
            &recall,
        );
    }
    svg.rect([left, top, side, side], "fill=\"none\" stroke=\"#444444\"");
    svg.end()
}

/// A training epoch by epoch, each list as long as there are epochs.
#[derive(Clone, Debug, Default)]
pub struct LearningCurve {
    /// Mean loss over the rows of each epoch.
    pub train_loss: Vec<f64>,
    /// On the validation rows.
    pub nll: Vec<f64>,
    /// On the validation rows.
    pub accuracy: Vec<f64>,
    /// On the validation rows.
    pub macro_f1: Vec<f64>,
    /// The epoch that is kept, from 0.
    pub best: Option<u32>,
}

/// Losses above, scores below, and a line at the epoch that is kept.
pub fn learning_curve(curve: &LearningCurve) -> String {
    const LEFT: f64 = 60.0;
    const WIDTH: f64 = 520.0;
    const HEIGHT: f64 = 200.0;
    const TOPS: [f64; 2] = [50.0, 300.0];
    let epochs = curve.train_loss.len();
    let x_of = |epoch: usize| LEFT + WIDTH * (epoch as f64 + 0.5) / epochs.max(1) as f64;
    let mut svg = Svg::new(LEFT + WIDTH + 30.0, TOPS[1] + HEIGHT + 50.0);
    let panels = [
        [
            ("training loss", &curve.train_loss),
            ("validation NLL", &curve.nll),
        ],
        [("accuracy", &curve.accuracy), ("macro-F1", &curve.macro_f1)],
    ];
    for (top, lines) in TOPS.into_iter().zip(panels) {
        let values = || lines.iter().flat_map(|(_, values)| values.iter().copied());
        let low = values().fold(f64::INFINITY, f64::min);
        let high = values().fold(f64::NEG_INFINITY, f64::max);
        // A level line is in the middle.
        let (low, high) = if high > low {
            (low, high)
        } else {
            (low - 0.5, low + 0.5)
        };
        let y_of = |value: f64| top + HEIGHT * (high - value) / (high - low);
        svg.rect(
            [LEFT, top, WIDTH, HEIGHT],
            "fill=\"none\" stroke=\"#cccccc\"",
        );
        for value in [low, (low + high) / 2.0, high]
            .into_iter()
            .filter(|value| value.is_finite())
        {
            let y = y_of(value) + 4.0;
            svg.text(LEFT - 8.0, y, 12.0, "end", INK, &format!("{value:.3}"));
        }
        if let Some(best) = curve.best {
            let x = x_of(best as usize);
            let style = "stroke=\"#999999\" stroke-dasharray=\"4 4\"";
            svg.line((x, top), (x, top + HEIGHT), style);
        }
        for (place, ((name, values), colour)) in lines.into_iter().zip([BLUE, RED]).enumerate() {
            let points: Vec<_> = (0..)
                .zip(values)
                .map(|(epoch, &value)| (x_of(epoch), y_of(value)))
                .collect();
            svg.polyline(&points, colour);
            let last = values
                .last()
                .map_or(String::new(), |last| format!(" {last:.4}"));
            let x = LEFT + 220.0 * place as f64;
            svg.text(
                x,
                top - 10.0,
                13.0,
                "start",
                colour,
                &format!("{name}{last}"),
            );
        }
    }
    let bottom = TOPS[1] + HEIGHT;
    for epoch in [0, epochs.saturating_sub(1)] {
        svg.text(
            x_of(epoch),
            bottom + 18.0,
            12.0,
            "middle",
            INK,
            &epoch.to_string(),
        );
    }
    svg.text(
        LEFT + WIDTH / 2.0,
        bottom + 36.0,
        13.0,
        "middle",
        INK,
        "epoch",
    );
    svg.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::reliability;
    use crate::predictions::Predictions;

    #[test]
    fn bars_have_names_and_numbers_and_fit() {
        let values = [("a < b", 0.71234), ("c", 0.7)].map(|(name, value)| (name.to_owned(), value));
        let drawn = bars("t", "macro-F1", &values);
        for words in [
            "a &lt; b",
            "0.7123",
            "0.7000",
            "width=\"360.0\"",
            "macro-F1 (from 0.69",
        ] {
            assert!(drawn.contains(words), "`{words}` is not in {drawn}");
        }
        assert!(!bars("t", "x", &[]).contains("NaN"));
    }

    #[test]
    fn a_picture_holds_the_counts_and_escapes_names() {
        let classes = ["<a & b>", "c"].map(str::to_owned).to_vec();
        let logits = vec![2.0, 0.0, 3.0, 0.0, 0.0, 1.0];
        let predictions = Predictions::new(classes.clone(), logits, &[0, 1, 1]).unwrap();
        let metrics = Metrics::of(&predictions);
        let matrix = confusion_matrix("a < b", &classes, &metrics);
        assert!(matrix.contains("&lt;a &amp; b&gt;") && !matrix.contains("<a &"));
        assert_eq!(
            matrix.matches("50.0 %").count(),
            2,
            "the second class is right half of the time"
        );
        let diagram = reliability_diagram("t", &reliability(&predictions), &metrics);
        assert!(diagram.contains(&format!("ECE {:.4}", metrics.ece)));
        assert_eq!(
            diagram.matches("fill-opacity").count(),
            3,
            "three bins have rows"
        );
        assert!(matrix.ends_with("</svg>\n") && diagram.ends_with("</svg>\n"));
    }

    #[test]
    fn a_learning_curve_has_a_line_for_each_measure() {
        let curve = LearningCurve {
            train_loss: vec![2.0, 1.0, 0.5],
            nll: vec![1.9, 1.2, 1.3],
            accuracy: vec![0.3, 0.5, 0.5],
            macro_f1: vec![0.2, 0.4, 0.45],
            best: Some(2),
        };
        let drawn = learning_curve(&curve);
        assert_eq!(drawn.matches("<polyline").count(), 4);
        assert_eq!(drawn.matches("stroke-dasharray").count(), 2);
        for words in ["training loss 0.5000", "macro-F1 0.4500", ">2</text>"] {
            assert!(drawn.contains(words), "`{words}` is not in {drawn}");
        }
        // One epoch, and none at all, can be drawn too.
        for curve in [
            LearningCurve {
                train_loss: vec![1.0],
                nll: vec![1.0],
                ..LearningCurve::default()
            },
            LearningCurve::default(),
        ] {
            let drawn = learning_curve(&curve);
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        }
    }
}
