//! The fields of a model card, as they are written in the file; what they may not say together is `contradictions`'s.

use serde::{Deserialize, Serialize};

use super::values::{Factors, Size};
use crate::face::Expression;

/// What a model takes and what it says; `card.yaml` in its folder.
///
/// A face becomes the model's input in this order: [`CropSpec`], colour, CLAHE (`at: crop`), `interpolation` to the
/// input's size, CLAHE (`at: input`), `scaling`, layout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// Network that `model.safetensors` holds the weights of. Default: none, the weights are `model.onnx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// The tensor that the model takes.
    pub input: InputSpec,
    /// Which part of the frame becomes the input. Default: the box, grown to the input's aspect ratio.
    #[serde(default)]
    pub crop: CropSpec,
    /// Contrast-limited adaptive histogram equalisation. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clahe: Option<ClaheSpec>,
    /// How the crop is brought to the input's size.
    pub interpolation: Interpolation,
    /// What is done to the values 0..255, in this order; an empty list leaves them as they are.
    pub scaling: Vec<ScalingStep>,
    /// What the model says.
    pub output: OutputSpec,
    /// Logits are divided by it before the softmax (Guo et al. 2017); 1 changes nothing. Default: 1.
    #[serde(default = "one")]
    pub temperature: f64,
    /// Licence of the weights.
    pub licence: String,
    /// Where the weights come from: an address, or the run that trained them.
    pub source: String,
    /// SHA-256 of the weights' file, 64 hexadecimal digits. Default: none, for a card that has no weights yet; a
    /// model's folder needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

fn one() -> f64 {
    1.0
}

/// The tensor that a model takes, without its batch dimension.
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
    /// Values of one input.
    pub fn len(&self) -> usize {
        self.size.width * self.size.height * self.colour.channels()
    }

    /// True if an input has no values, which a card is refused for.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Dimensions of one input, without the batch.
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
    /// Number of channels.
    pub fn channels(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Gray => 1,
        }
    }
}

/// Which part of a frame becomes a model's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CropSpec {
    /// What is added on each side of the box, as a share of its width or height; negative takes away. Between -0.4
    /// and 1. Default: 0.
    pub margin: f64,
    /// What happens to a box whose aspect ratio is not the input's. Default: `keep`.
    pub aspect: Aspect,
    /// Whether the face is turned upright. Default: `none`.
    pub alignment: Alignment,
    /// What stands where the crop reaches beyond the frame. Default: `replicate`.
    pub border: Border,
}

/// What happens to a box whose aspect ratio is not the input's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// Its shorter direction grows around the centre: the face keeps its proportions.
    #[default]
    Keep,
    /// It is stretched.
    Stretch,
}

/// Whether a face is turned upright.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alignment {
    /// The crop is the box.
    #[default]
    None,
    /// The five landmarks are brought to the places of the ArcFace template (Deng 2019) by a similarity transform. A
    /// face without landmarks gets no crop.
    Landmarks,
    /// As `landmarks`, but a face without landmarks is cropped by its box.
    LandmarksOrBox,
}

/// What stands where a crop reaches beyond its frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Border {
    /// The frame's outermost pixels.
    #[default]
    Replicate,
    /// Black.
    Zero,
}

/// Contrast-limited adaptive histogram equalisation, as OpenCV's `createCLAHE` does it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaheSpec {
    /// Contrast limit, above 0.
    pub clip: f64,
    /// Tiles `[across, down]`, or one number for both.
    pub tiles: Size,
    /// Which channel is equalised.
    pub on: ClaheChannel,
    /// Before or after the resize.
    pub at: ClaheStage,
}

/// Which channel is equalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaheChannel {
    /// The only one of a gray input.
    Gray,
    /// L of Lab, of a colour input.
    L,
}

/// When the equalisation happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaheStage {
    /// On the crop in the frame's own resolution, before the resize.
    Crop,
    /// On the input's size, after the resize.
    Input,
}

/// How a picture is brought to another size; OpenCV's methods of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Interpolation {
    Nearest,
    Linear,
    Cubic,
    /// Mean of the pixels that fall on one; close to `linear` where a picture grows.
    Area,
    Lanczos4,
}

/// One step from the values 0..255 to what a model takes. Each factor is one number, or one for each channel in the
/// input's order.
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

/// What a model says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OutputFile", into = "OutputFile")]
pub struct OutputSpec {
    /// Name of the output in the model.
    pub name: String,
    /// What its values are.
    pub kind: OutputKind,
    /// The seven expressions in the order in which the model has them.
    pub classes: Vec<Expression>,
    /// Positions of the model's other values (`contempt` in the card), which are left out; probabilities are divided by
    /// the sum of the rest.
    pub ignored: Vec<usize>,
}

impl OutputSpec {
    /// How many values the model says of an input, before some are left out.
    pub fn len(&self) -> usize {
        self.classes.len() + self.ignored.len()
    }

    /// True for a card without classes, which is refused.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An output as the card writes it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputFile {
    name: String,
    kind: OutputKind,
    classes: Vec<ClassName>,
}

/// A class of a model: an expression, or one that is none of the seven.
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
    /// In the order of [`Expression::ALL`].
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

/// What the values of an output are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// Before the softmax.
    Logits,
    /// After it: 0..1, summing to 1.
    Probabilities,
}
