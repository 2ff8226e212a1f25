//! A network as a libtorch module: tensors under timm's names, and the computation over them. Owns inference and the
//! forward pass of training; gradients are libtorch's, weight files are in [`crate::weights`].

use tch::{Device, Kind, Tensor, no_grad};

use super::architecture::Architecture;
use super::description::{Description, Head};
use super::initial;
use super::layer::{Activation, Conv, Layer, Norm, Padding, TensorSpec};

/// Mode of batch normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Use the running statistics, which stay unchanged.
    Evaluation,
    /// Use the batch's statistics and update the running ones (momentum 0.1, variance with N − 1).
    Training,
}

const MOMENTUM: f64 = 0.1;

/// Why a network cannot take an input.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// Wrong shape.
    #[error(
        "the input has the shape {found:?}; expected [N, {channels}, H, W] with N at least 1 and H and W at least 32"
    )]
    Shape {
        /// Shape of the input.
        found: Vec<i64>,
        /// Channels that the network takes.
        channels: i64,
    },
    /// Wrong data type.
    #[error("the input's values are {0}; expected 32-bit floats")]
    Kind(String),
}

/// Tensor of a network with its specification.
pub struct NamedTensor {
    /// Name, shape and role.
    pub spec: TensorSpec,
    /// Values; f32, or i64 for a batch count.
    pub tensor: Tensor,
}

/// Network with weights.
pub struct Network {
    description: Description,
    tensors: Vec<NamedTensor>,
    body: Vec<Step>,
    classifier: Step,
}

/// Layer bound to its tensors.
enum Step {
    Conv {
        weight: Tensor,
        bias: Option<Tensor>,
        conv: Conv,
    },
    BatchNorm {
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        epsilon: f64,
    },
    LayerNorm {
        weight: Tensor,
        bias: Tensor,
        norm: Norm,
    },
    Linear {
        weight: Tensor,
        bias: Tensor,
    },
    Cosine {
        weight: Tensor,
        scale: f64,
    },
    /// Multiplication by `[C]` as [C, 1, 1].
    Scale(Tensor),
    Plain(Layer),
    Residual(Vec<Step>, Vec<Step>),
    Gate(Vec<Step>),
}

impl Network {
    /// Returns a network with random weights, initialised as timm does. Each tensor's values depend on the seed and its
    /// name alone.
    pub fn new(architecture: Architecture, head: Head, seed: u64, device: Device) -> Self {
        let description = Description::new(architecture, head);
        let tensors = description
            .tensors()
            .into_iter()
            .map(|spec| {
                let tensor = initial::values(architecture, &spec, seed).to_device(device);
                NamedTensor { spec, tensor }
            })
            .collect();
        Self::from_tensors(description, tensors)
    }

    fn from_tensors(description: Description, tensors: Vec<NamedTensor>) -> Self {
        for named in &tensors {
            if named.spec.role.is_trained() {
                let _ = named.tensor.set_requires_grad(true);
            }
        }
        let mut left = tensors.iter();
        let body = steps(&description.body, &mut left);
        let classifier = step(&description.classifier, &mut left);
        Self {
            description,
            tensors,
            body,
            classifier,
        }
    }

    /// Returns the layers it was made from.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Returns all tensors, in the order of the layers. They share memory with the network: changing one in place
    /// changes the network.
    pub fn tensors(&self) -> &[NamedTensor] {
        &self.tensors
    }

    /// Returns the trained tensors.
    pub fn parameters(&self) -> impl Iterator<Item = &NamedTensor> {
        let tensors = self.tensors.iter();
        tensors.filter(|named| named.spec.role.is_trained())
    }

    /// Returns the device of the network.
    pub fn device(&self) -> Device {
        self.tensors[0].tensor.device()
    }

    /// Returns the head's weight, [classes, features].
    pub fn head_weight(&self) -> &Tensor {
        match &self.classifier {
            Step::Linear { weight, .. } | Step::Cosine { weight, .. } => weight,
            _ => unreachable!("a head is linear or a cosine"),
        }
    }

    /// Returns the logits, [N, channels, H, W] → [N, classes].
    ///
    /// # Errors
    /// The network does not take such an input.
    pub fn forward(&self, input: &Tensor, mode: Mode) -> Result<Tensor, InputError> {
        let embedding = self.embed(input, mode)?;
        Ok(self.classify(&embedding))
    }

    /// Returns the embedding that the head takes, [N, channels, H, W] → [N, features].
    ///
    /// # Errors
    /// The network does not take such an input.
    pub fn embed(&self, input: &Tensor, mode: Mode) -> Result<Tensor, InputError> {
        let channels = self.description.architecture.channels();
        let found = input.size();
        match found[..] {
            [n, has, height, width] if n >= 1 && has == channels && height >= 32 && width >= 32 => {
            }
            _ => return Err(InputError::Shape { found, channels }),
        }
        if input.kind() != Kind::Float {
            return Err(InputError::Kind(format!("{:?}", input.kind())));
        }
        let input = if self.description.architecture.is_channels_last() {
            channels_last(input)
        } else {
            input.shallow_clone()
        };
        Ok(run(&self.body, input, mode))
    }

    /// Returns the logits of inputs [N, channels, height, width] in evaluation mode and without gradients, row by row.
    ///
    /// # Errors
    /// The network does not take such inputs, or they are not whole rows.
    pub fn logits(&self, inputs: &[f32], shape: [i64; 3]) -> Result<Vec<f32>, InputError> {
        let [channels, height, width] = shape;
        let rows = inputs.len() as i64 / shape.iter().product::<i64>().max(1);
        let size = [rows, channels, height, width];
        if size.iter().product::<i64>() != inputs.len() as i64 {
            return Err(InputError::Shape {
                found: size.to_vec(),
                channels: self.description.architecture.channels(),
            });
        }
        let inputs = Tensor::from_slice(inputs)
            .reshape(size)
            .to_device(self.device());
        let logits = no_grad(|| self.forward(&inputs, Mode::Evaluation))?.to_device(Device::Cpu);
        let mut values = vec![0f32; logits.numel()];
        let count = values.len();
        logits.copy_data(&mut values, count);
        Ok(values)
    }

    /// Returns the logits of embeddings, [N, features] → [N, classes].
    pub fn classify(&self, embedding: &Tensor) -> Tensor {
        self.classifier
            .apply(embedding.shallow_clone(), Mode::Evaluation)
    }
}

/// Returns the same images [N, C, H, W], laid out in memory as [N, H, W, C]. The strides are set by hand: with one
/// channel both orders are the same bytes, and libtorch would keep the strides of [N, C, H, W], by which it chooses its
/// kernels.
fn channels_last(images: &Tensor) -> Tensor {
    let (n, c, h, w) = images.size4().expect("images have four dimensions");
    images.permute([0, 2, 3, 1]).contiguous().as_strided(
        [n, c, h, w],
        [h * w * c, 1, w * c, c],
        None::<i64>,
    )
}

fn steps<'a>(layers: &[Layer], left: &mut impl Iterator<Item = &'a NamedTensor>) -> Vec<Step> {
    layers.iter().map(|layer| step(layer, left)).collect()
}

/// Binds a layer to the next tensors, which come in the order in which the layers are walked.
fn step<'a>(layer: &Layer, left: &mut impl Iterator<Item = &'a NamedTensor>) -> Step {
    let mut own: Vec<Tensor> = Vec::new();
    for spec in layer.tensors() {
        let named = left
            .next()
            .expect("there is a tensor for each of the layers'");
        debug_assert_eq!(named.spec.name, spec.name);
        own.push(named.tensor.shallow_clone());
    }
    let mut own = own.into_iter();
    let mut next = || own.next().expect("as many as the layer has");
    match layer {
        Layer::Conv(conv) => Step::Conv {
            weight: next(),
            bias: conv.bias.then(next),
            conv: conv.clone(),
        },
        Layer::BatchNorm(norm) => Step::BatchNorm {
            weight: next(),
            bias: next(),
            mean: next(),
            variance: next(),
            count: next(),
            epsilon: norm.epsilon,
        },
        Layer::LayerNorm(norm) => Step::LayerNorm {
            weight: next(),
            bias: next(),
            norm: norm.clone(),
        },
        Layer::Linear { .. } => Step::Linear {
            weight: next(),
            bias: next(),
        },
        Layer::Cosine { scale, .. } => Step::Cosine {
            weight: next(),
            scale: *scale,
        },
        Layer::Scale { .. } => Step::Scale(next()),
        Layer::Residual { body, shortcut } => {
            debug_assert!(!begins_with_activation(body) && !begins_with_activation(shortcut));
            Step::Residual(steps(body, left), steps(shortcut, left))
        }
        Layer::Gate(gate) => {
            debug_assert!(!begins_with_activation(gate));
            Step::Gate(steps(gate, left))
        }
        plain => Step::Plain(plain.clone()),
    }
}

/// Returns whether a branch begins with an activation, which would change the other branch's input in place.
fn begins_with_activation(branch: &[Layer]) -> bool {
    matches!(branch.first(), Some(Layer::Activation(_)))
}

fn run(steps: &[Step], input: Tensor, mode: Mode) -> Tensor {
    steps.iter().fold(input, |x, step| step.apply(x, mode))
}

impl Step {
    fn apply(&self, x: Tensor, mode: Mode) -> Tensor {
        match self {
            Self::Conv { weight, bias, conv } => convolve(x, weight, bias.as_ref(), conv),
            Self::BatchNorm {
                weight,
                bias,
                mean,
                variance,
                count,
                epsilon,
            } => {
                let training = mode == Mode::Training;
                if training {
                    let _ = no_grad(|| count.shallow_clone().g_add_scalar_(1));
                }
                x.batch_norm(
                    Some(weight),
                    Some(bias),
                    Some(mean),
                    Some(variance),
                    training,
                    MOMENTUM,
                    *epsilon,
                    true,
                )
            }
            Self::LayerNorm { weight, bias, norm } => x.layer_norm(
                [norm.channels],
                Some(weight),
                Some(bias),
                norm.epsilon,
                true,
            ),
            Self::Linear { weight, bias } => x.linear(weight, Some(bias)),
            Self::Cosine { weight, scale } => {
                unit_rows(&x).linear(&unit_rows(weight), None::<&Tensor>) * *scale
            }
            Self::Scale(gamma) => x * gamma.reshape([-1, 1, 1]),
            Self::Residual(body, shortcut) => {
                let mut through = run(body, x.shallow_clone(), mode);
                through.g_add_(&run(shortcut, x, mode))
            }
            Self::Gate(gate) => {
                let factor = run(gate, x.shallow_clone(), mode);
                x * factor
            }
            Self::Plain(Layer::Activation(activation)) => activate(*activation, x),
            Self::Plain(layer) => plain(layer, &x),
        }
    }
}

/// Returns the rows scaled to length 1, as torch's `normalize`: a row of zeros stays zero.
pub(crate) fn unit_rows(x: &Tensor) -> Tensor {
    let lengths = x.norm_scalaropt_dim(2.0, [1], true);
    x / lengths.clamp_min(1e-12)
}

fn convolve(x: Tensor, weight: &Tensor, bias: Option<&Tensor>, conv: &Conv) -> Tensor {
    let stride = [conv.stride, conv.stride];
    let (x, padding) = match conv.padding {
        Padding::Each(padding) => (x, [padding, padding]),
        Padding::Same => {
            let size = x.size();
            let amounts = |side| conv.padding.amounts(side, conv.kernel, conv.stride);
            let ((top, bottom), (left, right)) = (amounts(size[2]), amounts(size[3]));
            if (top, left) == (bottom, right) {
                (x, [top, left])
            } else {
                (x.constant_pad_nd([left, right, top, bottom]), [0, 0])
            }
        }
    };
    x.conv2d(weight, bias, stride, padding, [1, 1], conv.groups)
}

/// Applies an activation, in place where libtorch can, since allocating large activations costs as much as computing
/// them. Nothing else uses `x`, since no branch begins with an activation.
fn activate(activation: Activation, mut x: Tensor) -> Tensor {
    match activation {
        Activation::Relu => x.relu_(),
        Activation::Silu => x.silu_(),
        Activation::HardSwish => x.hardswish_(),
        Activation::HardSigmoid => x.hardsigmoid_(),
        Activation::Sigmoid => x.sigmoid_(),
        Activation::Gelu => x.gelu("none"),
    }
}

fn plain(layer: &Layer, x: &Tensor) -> Tensor {
    match layer {
        Layer::MaxPool {
            kernel,
            stride,
            padding,
        } => x.max_pool2d(
            [*kernel, *kernel],
            [*stride, *stride],
            [*padding, *padding],
            [1, 1],
            false,
        ),
        Layer::MeanPool => x.mean_dim([2i64, 3].as_slice(), true, None::<Kind>),
        Layer::Flatten => x.flatten(1, -1),
        Layer::ChannelsLast => x.permute([0, 2, 3, 1]),
        Layer::ChannelsFirst => x.permute([0, 3, 1, 2]),
        _ => unreachable!("a layer with tensors or branches is a step of its own"),
    }
}
