//! Pictures as SVG: the reliability diagram and the confusion matrix of an evaluation, the labels of a manifest. Owns how they look; needs no
//! font or library of its own, so that the same numbers give the same file.

use std::fmt::Write;

use fermata_vision::Expression;

use crate::manifest::{Counts, Split};
use crate::metrics::{Bin, Metrics};

const FONT: &str = "font-family=\"Helvetica, Arial, sans-serif\"";
const INK: &str = "#222222";
const BLUE: &str = "#3b6fb6";
const RED: &str = "#d1495b";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

struct Svg(String);

impl Svg {
    fn new(width: f64, height: f64) -> Self {
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
        ))
    }

    fn text(&mut self, x: f64, y: f64, size: f64, anchor: &str, colour: &str, text: &str) {
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" {FONT} font-size=\"{size}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{}</text>",
            escaped(text)
        );
    }

    /// Text that reads upwards.
    fn upright(&mut self, x: f64, y: f64, size: f64, text: &str) {
        let _ = writeln!(
            self.0,
            "<text transform=\"translate({x:.1} {y:.1}) rotate(-90)\" {FONT} font-size=\"{size}\" text-anchor=\"middle\" fill=\"{INK}\">{}</text>",
            escaped(text)
        );
    }

    fn rect(&mut self, [x, y, width, height]: [f64; 4], style: &str) {
        let _ = writeln!(
            self.0,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" {style}/>"
        );
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), style: &str) {
        let _ = writeln!(
            self.0,
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" {style}/>",
            from.0, from.1, to.0, to.1
        );
    }

    fn end(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

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

/// Rows of a manifest by source and label, each bar divided by split.
pub fn label_counts(title: &str, counts: &Counts) -> String {
    const LEFT: f64 = 100.0;
    const WIDTH: f64 = 460.0;
    const BAR: f64 = 16.0;
    const LINE: f64 = 22.0;
    const SPLITS: [(Split, &str); 3] = [
        (Split::Train, BLUE),
        (Split::Validation, "#e9a23b"),
        (Split::Test, RED),
    ];
    let block = 40.0 + LINE * Expression::ALL.len() as f64;
    let mut svg = Svg::new(
        LEFT + WIDTH + 110.0,
        80.0 + block * counts.len().max(1) as f64,
    );
    svg.text(16.0, 28.0, 17.0, "start", INK, title);
    for (number, (split, colour)) in SPLITS.into_iter().enumerate() {
        let x = LEFT + 110.0 * number as f64;
        svg.rect([x, 42.0, 12.0, 12.0], &format!("fill=\"{colour}\""));
        svg.text(x + 18.0, 52.0, 12.0, "start", INK, &split.to_string());
    }
    let labels = counts.values().flat_map(|labels| labels.values());
    let most = labels.map(|splits| splits.values().sum()).max();
    let scale = WIDTH / most.unwrap_or(1usize).max(1) as f64;
    for (number, (source, labels)) in counts.iter().enumerate() {
        let top = 80.0 + block * number as f64;
        let all: usize = labels.values().flat_map(|splits| splits.values()).sum();
        let heading = format!("{source}: {all} rows");
        svg.text(16.0, top + 12.0, 14.0, "start", INK, &heading);
        for (place, label) in Expression::ALL.into_iter().enumerate() {
            let y = top + 22.0 + LINE * place as f64;
            svg.text(LEFT - 8.0, y + 12.0, 12.0, "end", INK, label.name());
            let mut x = LEFT;
            let splits = labels.get(&label);
            for (split, colour) in SPLITS {
                let count = splits.and_then(|splits| splits.get(&split));
                let width = scale * count.copied().unwrap_or(0) as f64;
                if width > 0.0 {
                    svg.rect([x, y, width, BAR], &format!("fill=\"{colour}\""));
                }
                x += width;
            }
            let count: usize = splits.map_or(0, |splits| splits.values().sum());
            svg.text(x + 6.0, y + 12.0, 11.0, "start", INK, &count.to_string());
        }
    }
    svg.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::reliability;
    use crate::predictions::Predictions;

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
    fn bars_are_as_long_as_their_counts() {
        use std::collections::BTreeMap;
        let splits = |train, test| BTreeMap::from([(Split::Train, train), (Split::Test, test)]);
        let labels = BTreeMap::from([
            (Expression::Happy, splits(30, 10)),
            (Expression::Sad, splits(10, 0)),
        ]);
        let counts = Counts::from([("a & b".to_owned(), labels)]);
        let picture = label_counts("t", &counts);
        assert!(picture.contains("a &amp; b: 50 rows"));
        for width in ["345.0", "115.0"] {
            assert!(picture.contains(&format!("width=\"{width}\"")), "{picture}");
        }
        assert_eq!(picture.matches("height=\"16.0\"").count(), 3);
    }
}
