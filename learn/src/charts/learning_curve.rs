//! The course of a training.

use super::svg::{BLUE, INK, RED, Svg};

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
