//! Layers that describe a network: the libtorch module, the ONNX graph, and the counts of parameters and operations are
//! all made by walking the description, so that they cannot drift apart. Owns the kinds of layers, their parameters and
//! shapes. Does not compute anything.

/// One step of a network. Images are [N, C, H, W].
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// Convolution.
    Conv(Conv),
    /// Batch normalisation over the channels.
    BatchNorm(Norm),
    /// Layer normalisation over the last dimension.
    LayerNorm(Norm),
    /// Fully connected layer over the last dimension, with bias.
    Linear {
        /// Name of the parameters, without `.weight` and `.bias`.
        name: String,
        /// Number of inputs.
        inputs: i64,
        /// Number of outputs.
        outputs: i64,
    },
    /// Cosine of the angle between the input and each class's weight, times a scale: ArcFace without its margin (Deng
    /// et al. 2019).
    Cosine {
        /// Name of the weight, without `.weight`.
        name: String,
        /// Number of inputs.
        inputs: i64,
        /// Number of classes.
        outputs: i64,
        /// Scale s.
        scale: f64,
    },
    /// Function applied to each value.
    Activation(Activation),
    /// Maximum over a window.
    MaxPool {
        /// Side of the window.
        kernel: i64,
        /// Stride of the window.
        stride: i64,
        /// Padding of −∞ on each side.
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
    /// Multiplication of each channel by a parameter (ConvNeXt's layer scale).
    Scale {
        /// Full name of the parameter.
        name: String,
        /// Number of channels.
        channels: i64,
    },
    /// Sum of two branches; an empty shortcut is the identity.
    Residual {
        /// Main branch.
        body: Vec<Layer>,
        /// Other branch.
        shortcut: Vec<Layer>,
    },
    /// Product of the input and the output of the branch: squeeze and excitation (Hu et al. 2018).
    Gate(Vec<Layer>),
}

/// Convolution with a square kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Name of the parameters, without `.weight` and `.bias`.
    pub name: String,
    /// Input channels.
    pub inputs: i64,
    /// Output channels.
    pub outputs: i64,
    /// Side of the kernel.
    pub kernel: i64,
    /// Stride of the kernel.
    pub stride: i64,
    /// Zero padding.
    pub padding: Padding,
    /// Groups of channels; as many groups as channels make a depthwise convolution.
    pub groups: i64,
    /// Whether there is a bias.
    pub bias: bool,
}

/// Zero padding around an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// The given number on each side.
    Each(i64),
    /// TensorFlow's SAME: as much as makes the output ⌈size / stride⌉, the odd one at the bottom and on the right.
    Same,
}

impl Padding {
    /// Returns the zeros before and after a dimension of this size.
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
    /// Number of channels.
    pub channels: i64,
    /// Term added to the variance.
    pub epsilon: f64,
}

/// Function applied to each value.
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
    /// x·Φ(x), with the error function.
    Gelu,
}

/// Role of a tensor in a network.
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
    /// Returns whether the tensor has gradients.
    pub fn is_trained(self) -> bool {
        matches!(self, Self::Weight | Self::Undecayed)
    }
}

/// Name, shape and role of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// timm's name.
    pub name: String,
    /// Dimensions; empty for a scalar.
    pub shape: Vec<i64>,
    /// Role in the network.
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

    /// Returns the number of values.
    pub fn len(&self) -> i64 {
        self.shape.iter().product()
    }

    /// Returns `false`: a tensor has at least one value.
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
    /// Returns the layer's own tensors, without those of its branches.
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

    /// Returns the layers inside, in order.
    pub fn branches(&self) -> impl Iterator<Item = &Layer> {
        let (first, second): (&[Layer], &[Layer]) = match self {
            Self::Residual { body, shortcut } => (body, shortcut),
            Self::Gate(gate) => (gate, &[]),
            _ => (&[], &[]),
        };
        first.iter().chain(second)
    }
}

/// Returns all tensors of layers and their branches, in order.
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

/// Returns a convolution without bias, then batch normalisation, then an activation if there is one.
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
