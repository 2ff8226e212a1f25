//! Learning curve of a training.

use super::svg::{BLUE, Letters, RED, Svg};

/// Metrics of a training by epoch; each list has one value per epoch.
#[derive(Clone, Debug, Default)]
pub struct LearningCurve {
    /// Mean loss over the rows of each epoch.
    pub train_loss: Vec<f64>,
    /// NLL on the validation rows.
    pub nll: Vec<f64>,
    /// Accuracy on the validation rows.
    pub accuracy: Vec<f64>,
    /// Macro-F1 on the validation rows.
    pub macro_f1: Vec<f64>,
    /// Best epoch, which is kept, from 0.
    pub best: Option<u32>,
}

const LEFT: f64 = 60.0;
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 200.0;
const TOPS: [f64; 2] = [50.0, 300.0];

/// Two lines of a panel, each with its name.
type Lines<'a> = [(&'static str, &'a [f64]); 2];

/// Draws losses above, scores below, and a line at the epoch that is kept.
pub fn learning_curve(curve: &LearningCurve) -> String {
    let bottom = TOPS[1] + HEIGHT;
    let mut svg = Svg::new(LEFT + WIDTH + 30.0, bottom + 50.0);
    let panels: [Lines<'_>; 2] = [
        [
            ("training loss", &curve.train_loss),
            ("validation NLL", &curve.nll),
        ],
        [("accuracy", &curve.accuracy), ("macro-F1", &curve.macro_f1)],
    ];
    for (top, lines) in TOPS.into_iter().zip(panels) {
        panel(&mut svg, top, lines, curve);
    }
    let letters = Letters::middle(12.0);
    for epoch in [0, curve.epochs().saturating_sub(1)] {
        let x = curve.x_of(epoch);
        svg.text((x, bottom + 18.0), letters, &epoch.to_string());
    }
    let below = (LEFT + WIDTH / 2.0, bottom + 36.0);
    svg.text(below, Letters::middle(13.0), "epoch");
    svg.end()
}

impl LearningCurve {
    fn epochs(&self) -> usize {
        self.train_loss.len()
    }

    fn x_of(&self, epoch: usize) -> f64 {
        LEFT + WIDTH * (epoch as f64 + 0.5) / self.epochs().max(1) as f64
    }
}

fn panel(svg: &mut Svg, top: f64, lines: Lines<'_>, curve: &LearningCurve) {
    let (low, high) = range(lines);
    let y_of = |value: f64| top + HEIGHT * (high - value) / (high - low);
    let frame = [LEFT, top, WIDTH, HEIGHT];
    svg.rect(frame, "fill=\"none\" stroke=\"#cccccc\"");
    let ticks = [low, (low + high) / 2.0, high];
    for value in ticks.into_iter().filter(|value| value.is_finite()) {
        let point = (LEFT - 8.0, y_of(value) + 4.0);
        svg.text(point, Letters::end(12.0), &format!("{value:.3}"));
    }
    if let Some(best) = curve.best {
        let x = curve.x_of(best as usize);
        let style = "stroke=\"#999999\" stroke-dasharray=\"4 4\"";
        svg.line((x, top), (x, top + HEIGHT), style);
    }
    for (place, ((name, values), colour)) in lines.into_iter().zip([BLUE, RED]).enumerate() {
        let points = values.iter().enumerate();
        let points: Vec<_> = points
            .map(|(epoch, &value)| (curve.x_of(epoch), y_of(value)))
            .collect();
        svg.polyline(&points, colour);
        let last = values.last().map(|last| format!(" {last:.4}"));
        let legend = format!("{name}{}", last.unwrap_or_default());
        let point = (LEFT + 220.0 * place as f64, top - 10.0);
        svg.text(point, Letters::start(13.0).in_colour(colour), &legend);
    }
}

/// Returns the smallest and largest value; if all are equal, a range with that value in the middle.
fn range(lines: Lines<'_>) -> (f64, f64) {
    let values = || lines.iter().flat_map(|(_, values)| values.iter().copied());
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(f64::NEG_INFINITY, f64::max);
    if high > low {
        (low, high)
    } else {
        (low - 0.5, low + 0.5)
    }
}
