//! Description of a network as layers with a head, and its cost.

use super::architecture::Architecture;
use super::layer::{self, Layer, TensorSpec};

/// Final layer, which maps the embedding to logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Head {
    /// Fully connected, with bias.
    Linear {
        /// Number of classes.
        classes: i64,
    },
    /// ArcFace's inference form: scale · cosine, no margin and no bias (Deng et al. 2019,
    /// <https://arxiv.org/abs/1801.07698>).
    ArcFace {
        /// Number of classes.
        classes: i64,
        /// Scale s, 30 in most uses.
        scale: f64,
    },
}

impl Head {
    /// Returns the number of classes.
    pub fn classes(self) -> i64 {
        match self {
            Self::Linear { classes } | Self::ArcFace { classes, .. } => classes,
        }
    }
}

/// Network as layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Architecture of the network.
    pub architecture: Architecture,
    /// Head of the network.
    pub head: Head,
    /// Layers from the image to the embedding, [N, channels, H, W] → [N, features].
    pub body: Vec<Layer>,
    /// Layer from the embedding to logits, [N, features] → [N, classes].
    pub classifier: Layer,
}

/// Cost of a network at one input size; see [`Description::cost`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Number of trained values: weights, biases, scales.
    pub parameters: i64,
    /// Multiply-accumulate operations of convolutions and fully connected layers for one image; FLOPs are twice as
    /// many.
    pub multiply_accumulates: i64,
}

impl Description {
    /// Returns the description of a network with this head.
    pub fn new(architecture: Architecture, head: Head) -> Self {
        let name = architecture.head_name().to_owned();
        let inputs = architecture.features();
        let classifier = match head {
            Head::Linear { classes } => Layer::Linear {
                name,
                inputs,
                outputs: classes,
            },
            Head::ArcFace { classes, scale } => Layer::Cosine {
                name,
                inputs,
                outputs: classes,
                scale,
            },
        };
        Self {
            architecture,
            head,
            body: architecture.body(),
            classifier,
        }
    }

    /// Returns all tensors, in the order of the layers.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        layer::tensors_of(self.body.iter().chain([&self.classifier]))
    }

    /// Returns whether a tensor belongs to the head.
    pub fn is_of_head(&self, tensor: &str) -> bool {
        let head = self.architecture.head_name();
        tensor
            .strip_prefix(head)
            .is_some_and(|part| part.starts_with('.'))
    }

    /// Returns the number of parameters, and of operations for an image of this size in pixels, at most 65,536 x 65,536
    /// (the numbers fit into 64 bits then).
    pub fn cost(&self, width: i64, height: i64) -> Cost {
        let tensors = self.tensors();
        let trained = tensors.iter().filter(|tensor| tensor.role.is_trained());
        let mut counted = 0;
        let shape = operations(&self.body, [height, width], &mut counted);
        operations(std::slice::from_ref(&self.classifier), shape, &mut counted);
        Cost {
            parameters: trained.map(TensorSpec::len).sum(),
            multiply_accumulates: counted,
        }
    }
}

/// Adds up the multiply-accumulates of layers that take an image of [height, width]; returns the size of their output.
fn operations(layers: &[Layer], mut size: [i64; 2], counted: &mut i64) -> [i64; 2] {
    for layer in layers {
        match layer {
            Layer::Conv(conv) => {
                size = size.map(|side| {
                    let (before, after) = conv.padding.amounts(side, conv.kernel, conv.stride);
                    (side + before + after - conv.kernel) / conv.stride + 1
                });
                let each = conv.inputs / conv.groups * conv.kernel * conv.kernel;
                *counted += each * conv.outputs * size[0] * size[1];
            }
            Layer::Linear {
                inputs, outputs, ..
            }
            | Layer::Cosine {
                inputs, outputs, ..
            } => *counted += inputs * outputs * size[0] * size[1],
            Layer::MaxPool {
                kernel,
                stride,
                padding,
            } => size = size.map(|side| (side + 2 * padding - kernel) / stride + 1),
            Layer::MeanPool => size = [1, 1],
            Layer::Residual { body, shortcut } => {
                operations(shortcut, size, counted);
                size = operations(body, size, counted);
            }
            Layer::Gate(gate) => {
                operations(gate, size, counted);
            }
            _ => {}
        }
    }
    size
}
