//! Charts as SVG files: the reliability diagram and the confusion matrix of an evaluation, the bars of a search, the
//! learning curve of a training, the label counts of a manifest. Owns their appearance; uses no fonts or libraries, so
//! that the same numbers give the same file.

mod bars;
mod confusion_matrix;
mod label_counts;
mod learning_curve;
mod reliability_diagram;
mod svg;

pub use self::bars::bars;
pub use self::confusion_matrix::confusion_matrix;
pub use self::label_counts::label_counts;
pub use self::learning_curve::{LearningCurve, learning_curve};
pub use self::reliability_diagram::reliability_diagram;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Metrics, reliability};
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
        // A single epoch, or none at all, can be drawn too.
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
