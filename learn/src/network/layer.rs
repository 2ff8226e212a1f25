//! The description that a network is made from: the libtorch module, the ONNX graph, and the counts of parameters and
//! operations are all made by walking it, so that they cannot drift apart. Owns what layers there are, the parameters
//! of each, and shapes. Does not compute anything.

/// One step of a network. Images are [N, C, H, W].
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// Convolution.
    Conv(Conv),
    /// Batch normalisation over the channels.
    BatchNorm(Norm),
    /// Layer normalisation over the last dimension.
    LayerNorm(Norm),
    /// Fully connected over the last dimension, with bias.
    Linear {
        /// Name of the parameters, without `.weight` and `.bias`.
        name: String,
        /// Values in.
        inputs: i64,
        /// Values out.
        outputs: i64,
    },
    /// Cosine of the angle between the input and each class's weight, times a scale: ArcFace without its margin (Deng
    /// et al. 2019).
    Cosine {
        /// Name of the weight, without `.weight`.
        name: String,
        /// Values in.
        inputs: i64,
        /// Classes.
        outputs: i64,
        /// s.
        scale: f64,
    },
    /// A function of each value.
    Activation(Activation),
    /// Largest value of a window.
    MaxPool {
        /// Window's side.
        kernel: i64,
        /// Step.
        stride: i64,
        /// Border of −∞ on each side.
        padding: i64,
    },
    /// Mean of each channel: [N, C, H, W] → [N, C, 1, 1].
    MeanPool,
    /// [N, C, 1, 1] → [N, C].
    Flatten,
    /// [N, C, H, W] → [N, H, W, C].
    ChannelsLast,
    /// [N, H, W, C] → [N, C, H, W].
    ChannelsFirst,
    /// Each channel times a parameter (ConvNeXt's layer scale).
    Scale {
        /// Whole name of the parameter.
        name: String,
        /// Channels.
        channels: i64,
    },
    /// The sum of two branches; an empty shortcut is the input itself.
    Residual {
        /// The branch that computes.
        body: Vec<Layer>,
        /// The other branch.
        shortcut: Vec<Layer>,
    },
    /// The input times what the branch makes of it: squeeze and excitation (Hu et al. 2018).
    Gate(Vec<Layer>),
}

/// A convolution with a square kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Name of the parameters, without `.weight` and `.bias`.
    pub name: String,
    /// Channels in.
    pub inputs: i64,
    /// Channels out.
    pub outputs: i64,
    /// Side of the kernel.
    pub kernel: i64,
    /// Step.
    pub stride: i64,
    /// Border.
    pub padding: Padding,
    /// Groups of channels; as many as channels is a depthwise convolution.
    pub groups: i64,
    /// Whether it adds a bias.
    pub bias: bool,
}

/// Border of zeros around an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// So many on each side.
    Each(i64),
    /// TensorFlow's SAME: as many as make the output ⌈size / stride⌉, the odd one at the bottom and on the right.
    Same,
}

impl Padding {
    /// Zeros before and after a dimension of this size.
    pub fn amounts(self, size: i64, kernel: i64, stride: i64) -> (i64, i64) {
        match self {
            Self::Each(padding) => (padding, padding),
            Self::Same => {
                let outputs = (size + stride - 1) / stride;
                let all = ((outputs - 1) * stride + kernel - size).max(0);
                (all / 2, all - all / 2)
            }
        }
    }
}

/// Parameters of a normalisation.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// Name of the parameters, without `.weight` and so on.
    pub name: String,
    /// Channels.
    pub channels: i64,
    /// Added to the variance.
    pub epsilon: f64,
}

/// A function of each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// x·sigmoid(x).
    Silu,
    /// x·relu6(x + 3) / 6.
    HardSwish,
    /// relu6(x + 3) / 6.
    HardSigmoid,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// x·Φ(x), by the error function.
    Gelu,
}

/// What a tensor of a network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorRole {
    /// Weight of a convolution or a fully connected layer: trained, with weight decay.
    Weight,
    /// Bias, weight of a normalisation, or a scale: trained, without weight decay.
    Undecayed,
    /// Running mean or variance of a batch normalisation.
    Statistic,
    /// `num_batches_tracked`, one 64-bit integer.
    BatchCount,
}

impl TensorRole {
    /// Whether gradients are taken of it.
    pub fn is_trained(self) -> bool {
        matches!(self, Self::Weight | Self::Undecayed)
    }
}

/// A tensor of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// timm's name.
    pub name: String,
    /// Its dimensions; none for a number.
    pub shape: Vec<i64>,
    /// What it is.
    pub role: TensorRole,
}

impl TensorSpec {
    fn new(name: String, shape: &[i64], role: TensorRole) -> Self {
        Self {
            name,
            shape: shape.to_vec(),
            role,
        }
    }

    /// Number of values.
    pub fn len(&self) -> i64 {
        self.shape.iter().product()
    }

    /// Never: a tensor has a value.
    pub fn is_empty(&self) -> bool {
        false
    }
}

impl Norm {
    fn affine(&self) -> [TensorSpec; 2] {
        ["weight", "bias"].map(|part| {
            let name = format!("{}.{part}", self.name);
            TensorSpec::new(name, &[self.channels], TensorRole::Undecayed)
        })
    }
}

impl Layer {
    /// The layer's own tensors, without those of its branches.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        use TensorRole::{BatchCount, Statistic, Undecayed, Weight};
        let spec = |name: &str, part: &str, shape: &[i64], role| {
            TensorSpec::new(format!("{name}.{part}"), shape, role)
        };
        match self {
            Self::Conv(conv) => {
                let shape = [
                    conv.outputs,
                    conv.inputs / conv.groups,
                    conv.kernel,
                    conv.kernel,
                ];
                let mut tensors = vec![spec(&conv.name, "weight", &shape, Weight)];
                if conv.bias {
                    tensors.push(spec(&conv.name, "bias", &[conv.outputs], Undecayed));
                }
                tensors
            }
            Self::BatchNorm(norm) => {
                let mut tensors = norm.affine().to_vec();
                for part in ["running_mean", "running_var"] {
                    tensors.push(spec(&norm.name, part, &[norm.channels], Statistic));
                }
                tensors.push(spec(&norm.name, "num_batches_tracked", &[], BatchCount));
                tensors
            }
            Self::LayerNorm(norm) => norm.affine().to_vec(),
            Self::Linear {
                name,
                inputs,
                outputs,
            } => vec![
                spec(name, "weight", &[*outputs, *inputs], Weight),
                spec(name, "bias", &[*outputs], Undecayed),
            ],
            Self::Cosine {
                name,
                inputs,
                outputs,
                ..
            } => vec![spec(name, "weight", &[*outputs, *inputs], Weight)],
            Self::Scale { name, channels } => {
                vec![TensorSpec::new(name.clone(), &[*channels], Undecayed)]
            }
            _ => Vec::new(),
        }
    }

    /// The layers inside, in order.
    pub fn branches(&self) -> impl Iterator<Item = &Layer> {
        let (first, second): (&[Layer], &[Layer]) = match self {
            Self::Residual { body, shortcut } => (body, shortcut),
            Self::Gate(gate) => (gate, &[]),
            _ => (&[], &[]),
        };
        first.iter().chain(second)
    }
}

/// All tensors of layers and their branches, in order.
pub fn tensors_of<'a>(layers: impl IntoIterator<Item = &'a Layer>) -> Vec<TensorSpec> {
    let mut tensors = Vec::new();
    collect(layers, &mut tensors);
    tensors
}

fn collect<'a>(layers: impl IntoIterator<Item = &'a Layer>, tensors: &mut Vec<TensorSpec>) {
    for layer in layers {
        tensors.extend(layer.tensors());
        let inside: Vec<&Layer> = layer.branches().collect();
        collect(inside, tensors);
    }
}

/// A convolution without bias, then batch normalisation, then an activation if there is one.
pub(super) fn conv_norm(
    conv: Conv,
    norm: &str,
    epsilon: f64,
    activation: Option<Activation>,
) -> Vec<Layer> {
    let norm = Norm {
        name: norm.to_owned(),
        channels: conv.outputs,
        epsilon,
    };
    let mut layers = vec![Layer::Conv(conv), Layer::BatchNorm(norm)];
    layers.extend(activation.map(Layer::Activation));
    layers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_puts_the_odd_zero_after() {
        assert_eq!(Padding::Same.amounts(224, 3, 2), (0, 1));
        assert_eq!(Padding::Same.amounts(225, 3, 2), (1, 1));
        assert_eq!(Padding::Same.amounts(224, 5, 2), (1, 2));
        assert_eq!(Padding::Same.amounts(7, 3, 1), (1, 1));
        assert_eq!(Padding::Same.amounts(7, 1, 2), (0, 0));
    }
}
