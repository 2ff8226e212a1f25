//! Which labels are taken for which: the confusion matrix of an evaluation.

use std::fmt::Write;

use super::svg::{BLUE, FONT, INK, Svg};
use crate::markup::escaped;
use crate::metrics::Metrics;

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
