//! Checks for cards that are well-formed YAML but inconsistent.

use super::spec::{ClaheChannel, Colour, ModelCard, ScalingStep};
use super::values::Factors;
use crate::face::{EXPRESSIONS, Expression};

/// Maximum side of an input; more is a mistake, and would take gigabytes.
const MOST_PIXELS: usize = 4096;
/// Maximum number of tiles in either direction.
const MOST_TILES: usize = 256;

impl ModelCard {
    /// Returns everything in the card that no model can fulfil; empty for a valid card.
    pub(super) fn contradictions(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.check_input(&mut problems);
        self.check_crop(&mut problems);
        self.check_clahe(&mut problems);
        self.check_scaling(&mut problems);
        self.check_classes(&mut problems);
        self.check_rest(&mut problems);
        problems
    }

    fn check_input(&self, problems: &mut Vec<String>) {
        for (side, pixels) in [
            ("width", self.input.size.width),
            ("height", self.input.size.height),
        ] {
            if !(1..=MOST_PIXELS).contains(&pixels) {
                problems.push(format!(
                    "the {side} of `input.size` is {pixels}, but must be between 1 and {MOST_PIXELS}"
                ));
            }
        }
        if self.input.name.is_empty() {
            problems.push("`input.name` is empty".to_owned());
        }
        if self.output.name.is_empty() {
            problems.push("`output.name` is empty".to_owned());
        }
    }

    fn check_crop(&self, problems: &mut Vec<String>) {
        let margin = self.crop.margin;
        if !(-0.4..=1.0).contains(&margin) {
            problems.push(format!(
                "`crop.margin` is {margin}, but must be between -0.4 and 1 (a fraction of the box, not pixels)"
            ));
        }
    }

    fn check_clahe(&self, problems: &mut Vec<String>) {
        let Some(clahe) = &self.clahe else { return };
        if !(clahe.clip.is_finite() && clahe.clip > 0.0) {
            problems.push(format!(
                "`clahe.clip` is {}, but must be above 0; leave `clahe` out to have none",
                clahe.clip
            ));
        }
        for tiles in [clahe.tiles.width, clahe.tiles.height] {
            if !(1..=MOST_TILES).contains(&tiles) {
                problems.push(format!(
                    "`clahe.tiles` is {tiles}, but must be between 1 and {MOST_TILES}"
                ));
            }
        }
        match (clahe.on, self.input.colour) {
            (ClaheChannel::Gray, Colour::Rgb | Colour::Bgr) => problems.push(
                "`clahe.on: gray` contradicts the colour input; equalise `l`, or set `input.colour: gray`".to_owned(),
            ),
            (ClaheChannel::L, Colour::Gray) => problems.push(
                "`clahe.on: l` contradicts `input.colour: gray`; equalise `gray`".to_owned(),
            ),
            _ => {}
        }
    }

    fn check_scaling(&self, problems: &mut Vec<String>) {
        for (index, step) in self.scaling.iter().enumerate() {
            let at = |name: &str| format!("`scaling[{index}].{name}`");
            match step {
                ScalingStep::Divide(by) => self.check_factors(&at("divide"), by, true, problems),
                ScalingStep::Multiply(by) => {
                    self.check_factors(&at("multiply"), by, false, problems);
                }
                ScalingStep::Add(by) => self.check_factors(&at("add"), by, false, problems),
                ScalingStep::Subtract(by) => {
                    self.check_factors(&at("subtract"), by, false, problems);
                }
                ScalingStep::Normalise(by) => {
                    self.check_factors(&at("normalise.mean"), &by.mean, false, problems);
                    self.check_factors(&at("normalise.std"), &by.std, true, problems);
                }
            }
        }
    }

    fn check_factors(
        &self,
        at: &str,
        factors: &Factors,
        divides: bool,
        problems: &mut Vec<String>,
    ) {
        let (given, channels) = (factors.0.len(), self.input.colour.channels());
        if given != 1 && given != channels {
            problems.push(format!(
                "{at} has {given} values, but `input.colour` has {channels} channels"
            ));
        }
        if factors.0.iter().any(|factor| !factor.is_finite()) {
            problems.push(format!("{at} must be finite"));
        }
        if divides && factors.0.contains(&0.0) {
            problems.push(format!("{at} divides by 0"));
        }
    }

    fn check_classes(&self, problems: &mut Vec<String>) {
        let classes = &self.output.classes;
        if classes.len() != EXPRESSIONS {
            problems.push(format!(
                "`output.classes` has {} names, but must have all {EXPRESSIONS} expressions once",
                classes.len()
            ));
        }
        for expression in Expression::ALL {
            match classes.iter().filter(|&&class| class == expression).count() {
                1 => {}
                0 => problems.push(format!("`output.classes` lacks {expression}")),
                n => problems.push(format!("`output.classes` has {expression} {n} times")),
            }
        }
    }

    fn check_rest(&self, problems: &mut Vec<String>) {
        if self.output.ignored.len() > 1 {
            problems.push("`output.classes` has contempt more than once".to_owned());
        }
        if self.architecture.is_some() && !self.output.ignored.is_empty() {
            problems.push(
                "`output.classes` has contempt, which only a model.onnx may output".to_owned(),
            );
        }
        let temperature = self.temperature;
        if !(temperature.is_finite() && temperature > 0.0) {
            problems.push(format!(
                "`temperature` is {temperature}, but must be above 0"
            ));
        }
        let texts = [
            ("architecture", self.architecture.as_deref()),
            ("licence", Some(self.licence.as_str())),
            ("source", Some(self.source.as_str())),
        ];
        for (name, text) in texts {
            if text.is_some_and(|text| text.trim().is_empty()) {
                problems.push(format!("`{name}` is empty"));
            }
        }
        let is_digest =
            |sum: &String| sum.len() == 64 && sum.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !self.sha256.as_ref().is_none_or(is_digest) {
            problems.push("`sha256` is not 64 hexadecimal digits".to_owned());
        }
    }
}
