//! Fields of a model card as written in the file; `contradictions` checks their combinations.

use serde::{Deserialize, Serialize};

use super::values::{Factors, Size};
use crate::face::Expression;

/// Description of a model's input and output; `card.yaml` in its folder.
///
/// A face is converted into the model's input in this order: [`CropSpec`], colour, CLAHE (`at: crop`), `interpolation`
/// to the input's size, CLAHE (`at: input`), `scaling`, layout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// Name of the network whose weights are in `model.safetensors`. Default: none, the weights are `model.onnx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// The model's input tensor.
    pub input: InputSpec,
    /// The part of the frame that becomes the input. Default: the box, enlarged to the input's aspect ratio.
    #[serde(default)]
    pub crop: CropSpec,
    /// Contrast-limited adaptive histogram equalisation. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clahe: Option<ClaheSpec>,
    /// How the crop is resized to the input's size.
    pub interpolation: Interpolation,
    /// Operations on the values 0..255, in this order; an empty list leaves them unchanged.
    pub scaling: Vec<ScalingStep>,
    /// The model's output.
    pub output: OutputSpec,
    /// Divisor of the logits before the softmax (Guo et al. 2017); 1 changes nothing. Default: 1.
    #[serde(default = "one")]
    pub temperature: f64,
    /// Licence of the weights.
    pub licence: String,
    /// Origin of the weights: an address, or the run that trained them.
    pub source: String,
    /// SHA-256 of the weights file, 64 hexadecimal digits. Default: none, for a card that has no weights yet; required
    /// in a model folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

fn one() -> f64 {
    1.0
}

/// A model's input tensor, without its batch dimension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Name of the input in the model.
    pub name: String,
    /// `[width, height]` in pixels, or one number for a square.
    pub size: Size,
    /// Order of the dimensions.
    pub layout: Layout,
    /// Channels and their order.
    pub colour: Colour,
}

impl InputSpec {
    /// Returns the number of values in one input.
    pub fn len(&self) -> usize {
        self.size.width * self.size.height * self.colour.channels()
    }

    /// Returns whether an input has no values; such a card is rejected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the dimensions of one input, without the batch.
    pub fn shape(&self) -> [usize; 3] {
        let (height, width) = (self.size.height, self.size.width);
        match self.layout {
            Layout::Nchw => [self.colour.channels(), height, width],
            Layout::Nhwc => [height, width, self.colour.channels()],
        }
    }
}

/// Order of an input's dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Batch, channel, row, column.
    Nchw,
    /// Batch, row, column, channel.
    Nhwc,
}

/// Channels of an input and their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One channel: 0.299 R + 0.587 G + 0.114 B, rounded.
    Gray,
}

impl Colour {
    /// Returns the number of channels.
    pub fn channels(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Gray => 1,
        }
    }
}

/// The part of a frame that becomes a model's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CropSpec {
    /// Margin added on each side of the box, as a fraction of its width or height; negative values shrink it. Between
    /// -0.4 and 1. Default: 0.
    pub margin: f64,
    /// How a box is fitted to the input's aspect ratio. Default: `keep`.
    pub aspect: Aspect,
    /// Whether the face is rotated upright. Default: `none`.
    pub alignment: Alignment,
    /// Fill where the crop extends beyond the frame. Default: `replicate`.
    pub border: Border,
}

/// How a box is fitted to the input's aspect ratio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// It is enlarged around its centre in the shorter direction: the face keeps its proportions.
    #[default]
    Keep,
    /// It is stretched.
    Stretch,
}

/// Whether a face is rotated upright.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alignment {
    /// The crop is the box.
    #[default]
    None,
    /// The five landmarks are mapped to their positions in the ArcFace template (Deng 2019) by a similarity transform.
    /// A face without landmarks gets no crop.
    Landmarks,
    /// As `landmarks`, but a face without landmarks is cropped by its box.
    LandmarksOrBox,
}

/// Fill where a crop extends beyond its frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Border {
    /// The frame's outermost pixels.
    #[default]
    Replicate,
    /// Black.
    Zero,
}

/// Contrast-limited adaptive histogram equalisation, as implemented by OpenCV's `createCLAHE`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaheSpec {
    /// Contrast limit, above 0.
    pub clip: f64,
    /// Number of tiles `[horizontal, vertical]`, or one number for both.
    pub tiles: Size,
    /// The channel that is equalised.
    pub on: ClaheChannel,
    /// Whether it runs before or after the resize.
    pub at: ClaheStage,
}

/// The channel that is equalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaheChannel {
    /// The only channel of a gray input.
    Gray,
    /// L of the Lab colour space, for a colour input.
    L,
}

/// When the equalisation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaheStage {
    /// On the crop at the frame's own resolution, before the resize.
    Crop,
    /// At the input's size, after the resize.
    Input,
}

/// How a picture is resized; OpenCV's methods of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Interpolation {
    Nearest,
    Linear,
    Cubic,
    /// Mean of the pixels that map to one; close to `linear` if a picture is enlarged.
    Area,
    Lanczos4,
}

/// One step of converting the values 0..255 into a model's input values. Each factor is one number, or one for each
/// channel in the input's order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum ScalingStep {
    Divide(Factors),
    Multiply(Factors),
    Add(Factors),
    Subtract(Factors),
    /// (x − mean) / std.
    Normalise(Normalisation),
}

/// (x − mean) / std.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Normalisation {
    pub mean: Factors,
    pub std: Factors,
}

/// A model's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OutputFile", into = "OutputFile")]
pub struct OutputSpec {
    /// Name of the output in the model.
    pub name: String,
    /// Kind of its values.
    pub kind: OutputKind,
    /// The seven expressions in the model's order.
    pub classes: Vec<Expression>,
    /// Positions of the model's other values (`contempt` in the card), which are left out; probabilities are
    /// renormalised without them.
    pub ignored: Vec<usize>,
}

impl OutputSpec {
    /// Returns the number of values that the model outputs for one input, before some are left out.
    pub fn len(&self) -> usize {
        self.classes.len() + self.ignored.len()
    }

    /// Returns whether there are no classes; such a card is rejected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An output in the card's file format.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputFile {
    name: String,
    kind: OutputKind,
    classes: Vec<ClassName>,
}

/// A class of a model: one of the seven expressions, or another one.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ClassName {
    Angry,
    Disgust,
    Fear,
    Happy,
    Sad,
    Surprise,
    Neutral,
    Contempt,
}

impl ClassName {
    /// The expressions in the order of [`Expression::ALL`].
    const EXPRESSIONS: [Self; 7] = [
        Self::Angry,
        Self::Disgust,
        Self::Fear,
        Self::Happy,
        Self::Sad,
        Self::Surprise,
        Self::Neutral,
    ];

    fn expression(self) -> Option<Expression> {
        let position = Self::EXPRESSIONS.iter().position(|&class| class == self);
        position.map(|index| Expression::ALL[index])
    }
}

impl From<OutputFile> for OutputSpec {
    fn from(file: OutputFile) -> Self {
        let classes = file.classes.iter().enumerate();
        Self {
            name: file.name,
            kind: file.kind,
            classes: file
                .classes
                .iter()
                .filter_map(|class| class.expression())
                .collect(),
            ignored: classes
                .filter(|(_, class)| class.expression().is_none())
                .map(|(position, _)| position)
                .collect(),
        }
    }
}

impl From<OutputSpec> for OutputFile {
    fn from(spec: OutputSpec) -> Self {
        let named = spec
            .classes
            .iter()
            .map(|class| ClassName::EXPRESSIONS[class.index()]);
        let mut classes: Vec<ClassName> = named.collect();
        for &position in &spec.ignored {
            classes.insert(position.min(classes.len()), ClassName::Contempt);
        }
        Self {
            name: spec.name,
            kind: spec.kind,
            classes,
        }
    }
}

/// Kind of an output's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// Before the softmax.
    Logits,
    /// After it: 0..1, summing to 1.
    Probabilities,
}
