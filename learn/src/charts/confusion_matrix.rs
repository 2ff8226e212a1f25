//! Confusion matrix of an evaluation.

use super::svg::{BLUE, INK, Letters, SUBTITLE, Svg, TITLE};
use crate::metrics::Metrics;

/// Side of a cell in pixels.
const CELL: f64 = 62.0;

/// Draws the counts by label and prediction, coloured by their share of the label's rows.
pub fn confusion_matrix(title: &str, classes: &[String], metrics: &Metrics) -> String {
    let lengths = classes.iter().map(|name| name.chars().count());
    let longest = lengths.max().unwrap_or(0) as f64;
    let (left, top) = (54.0 + 7.5 * longest, 76.0 + 6.0 * longest);
    let side = CELL * classes.len() as f64;
    let recalls = left + side + 45.0;
    let mut svg = Svg::new(left + side + 90.0, top + side + 30.0);
    svg.text((16.0, 28.0), TITLE, title);
    let numbers = format!(
        "accuracy {:.4}   macro-F1 {:.4}",
        metrics.accuracy, metrics.macro_f1
    );
    svg.text((16.0, 48.0), SUBTITLE, &numbers);
    let above = (left + side / 2.0, 68.0);
    svg.text(above, Letters::middle(13.0), "predicted");
    svg.upright((20.0, top + side / 2.0), 13.0, "label");
    svg.text((recalls, top - 10.0), Letters::middle(12.0), "recall");
    for (row, counts) in metrics.confusion.iter().enumerate() {
        let name = &classes[row];
        let y = top + CELL * row as f64;
        let baseline = y + CELL / 2.0 + 4.0;
        svg.text((left - 8.0, baseline), Letters::end(13.0), name);
        let x = left + CELL * row as f64 + CELL / 2.0 + 4.0;
        svg.slanting((x, top - 8.0), 13.0, name);
        let support: u64 = counts.iter().sum();
        for (column, &count) in counts.iter().enumerate() {
            let corner = (left + CELL * column as f64, y);
            cell(&mut svg, corner, count, support);
        }
        let recall = format!("{:.3}", metrics.per_class[row].recall);
        svg.text((recalls, baseline), Letters::middle(13.0), &recall);
    }
    svg.rect([left, top, side, side], "fill=\"none\" stroke=\"#444444\"");
    svg.end()
}

/// Draws a count, with its share of the `support` rows that have the label.
fn cell(svg: &mut Svg, (x, y): (f64, f64), count: u64, support: u64) {
    let share = count as f64 / support.max(1) as f64;
    let style = format!("fill=\"{BLUE}\" fill-opacity=\"{share:.3}\" stroke=\"#d0d0d0\"");
    svg.rect([x, y, CELL, CELL], &style);
    let ink = if share > 0.55 { "#ffffff" } else { INK };
    let (x, y) = (x + CELL / 2.0, y + CELL / 2.0);
    let letters = Letters::middle(14.0).in_colour(ink);
    svg.text((x, y + 1.0), letters, &count.to_string());
    if count > 0 {
        let letters = Letters::middle(10.0).in_colour(ink);
        svg.text((x, y + 16.0), letters, &format!("{:.1} %", 100.0 * share));
    }
}
