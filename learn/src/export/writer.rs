//! Writes the ONNX nodes of a description by walking it.

use std::f64::consts::SQRT_2;

use tch::{Device, Kind, Tensor, no_grad};

use super::onnx::{Attribute, Node, TensorData};
use super::options::{OUTPUT, OnnxOptions};
use crate::network::Network;
use crate::network::layer::{Activation, Conv, Layer, Norm};

pub(super) struct Writer<'a> {
    network: &'a Network,
    fold: bool,
    nodes: Vec<Node>,
    initializers: Vec<TensorData>,
    /// Current size, [height, width].
    size: [i64; 2],
    /// Whether [`Layer::Flatten`] has been passed.
    is_flat: bool,
    named: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(network: &'a Network, options: OnnxOptions) -> Self {
        Self {
            network,
            fold: options.fold_batch_norm,
            nodes: Vec::new(),
            initializers: Vec::new(),
            size: [options.height, options.width],
            is_flat: false,
            named: 0,
        }
    }

    pub(super) fn finish(self) -> (Vec<Node>, Vec<TensorData>) {
        (self.nodes, self.initializers)
    }

    /// Writes consecutive layers; takes and returns the name of a value.
    pub(super) fn layers(&mut self, layers: &[Layer], mut x: String) -> String {
        let mut index = 0;
        while let Some(layer) = layers.get(index) {
            x = match (layer, layers.get(index + 1)) {
                (Layer::Conv(conv), Some(Layer::BatchNorm(norm))) if self.fold => {
                    index += 1;
                    self.folded(conv, norm, x)
                }
                _ => self.layer(layer, x),
            };
            index += 1;
        }
        x
    }

    /// Writes the head; its value is the graph's output.
    pub(super) fn classifier(&mut self, layer: &Layer, embedding: String) {
        self.layer(layer, embedding);
        let last = self.nodes.last_mut().expect("a head is at least one node");
        last.output = vec![OUTPUT.to_owned()];
    }

    fn node(&mut self, op: &str, inputs: Vec<String>, attribute: Vec<Attribute>) -> String {
        self.named += 1;
        let name = format!("{}_{}", op.to_lowercase(), self.named);
        self.nodes.push(Node {
            input: inputs,
            output: vec![name.clone()],
            name: name.clone(),
            op_type: op.to_owned(),
            attribute,
        });
        name
    }

    /// Returns a tensor of the network, on the CPU.
    fn tensor(&self, name: &str) -> Tensor {
        let mut tensors = self.network.tensors().iter();
        let named = tensors.find(|named| named.spec.name == name);
        let named = named.expect("the description is the network's");
        named.tensor.detach().to_device(Device::Cpu)
    }

    /// Writes a tensor as an initializer and returns its name.
    fn constant(&mut self, name: &str, tensor: &Tensor) -> String {
        let flat = tensor.to_kind(Kind::Float).contiguous().flatten(0, -1);
        let mut values = vec![0f32; flat.numel()];
        let count = values.len();
        flat.copy_data(&mut values, count);
        self.initializers
            .push(TensorData::floats(name, &tensor.size(), &values));
        name.to_owned()
    }

    fn number(&mut self, value: f64) -> String {
        self.named += 1;
        let name = format!("number_{}", self.named);
        self.initializers
            .push(TensorData::floats(&name, &[], &[value as f32]));
        name
    }

    fn own(&mut self, name: &str) -> String {
        let tensor = self.tensor(name);
        self.constant(name, &tensor)
    }

    fn layer(&mut self, layer: &Layer, x: String) -> String {
        match layer {
            Layer::Conv(conv) => {
                let weight = self.own(&format!("{}.weight", conv.name));
                let bias = conv.bias.then(|| self.own(&format!("{}.bias", conv.name)));
                self.conv(conv, x, weight, bias)
            }
            Layer::BatchNorm(norm) => {
                let parts = ["weight", "bias", "running_mean", "running_var"];
                let mut inputs = vec![x];
                inputs.extend(parts.map(|part| self.own(&format!("{}.{part}", norm.name))));
                let epsilon = Attribute::float("epsilon", norm.epsilon);
                self.node("BatchNormalization", inputs, vec![epsilon])
            }
            Layer::LayerNorm(norm) => {
                let mut inputs = vec![x];
                inputs.extend(
                    ["weight", "bias"].map(|part| self.own(&format!("{}.{part}", norm.name))),
                );
                let attributes = vec![
                    Attribute::int("axis", -1),
                    Attribute::float("epsilon", norm.epsilon),
                ];
                self.node("LayerNormalization", inputs, attributes)
            }
            Layer::Linear { name, .. } => self.linear(name, x),
            Layer::Cosine { name, scale, .. } => self.cosine(name, *scale, x),
            Layer::Activation(activation) => self.activation(*activation, x),
            Layer::MaxPool {
                kernel,
                stride,
                padding,
            } => {
                self.size = self
                    .size
                    .map(|side| (side + 2 * padding - kernel) / stride + 1);
                let attributes = vec![
                    Attribute::ints("kernel_shape", &[*kernel; 2]),
                    Attribute::ints("strides", &[*stride; 2]),
                    Attribute::ints("pads", &[*padding; 4]),
                ];
                self.node("MaxPool", vec![x], attributes)
            }
            Layer::MeanPool => {
                self.size = [1, 1];
                self.node("GlobalAveragePool", vec![x], vec![])
            }
            Layer::Flatten => {
                self.is_flat = true;
                self.node("Flatten", vec![x], vec![Attribute::int("axis", 1)])
            }
            Layer::ChannelsLast => self.transpose(x, &[0, 2, 3, 1]),
            Layer::ChannelsFirst => self.transpose(x, &[0, 3, 1, 2]),
            Layer::Scale { name, .. } => {
                let gamma = self.tensor(name).reshape([-1, 1, 1]);
                let gamma = self.constant(name, &gamma);
                self.node("Mul", vec![x, gamma], vec![])
            }
            Layer::Residual { body, shortcut } => {
                let size = self.size;
                let other = self.layers(shortcut, x.clone());
                self.size = size;
                let through = self.layers(body, x);
                self.node("Add", vec![through, other], vec![])
            }
            Layer::Gate(gate) => {
                let size = self.size;
                let factor = self.layers(gate, x.clone());
                self.size = size;
                self.node("Mul", vec![x, factor], vec![])
            }
        }
    }

    fn transpose(&mut self, x: String, order: &[i64]) -> String {
        self.node("Transpose", vec![x], vec![Attribute::ints("perm", order)])
    }

    fn conv(&mut self, conv: &Conv, x: String, weight: String, bias: Option<String>) -> String {
        let [(top, bottom), (left, right)] = self
            .size
            .map(|side| conv.padding.amounts(side, conv.kernel, conv.stride));
        self.size = [
            (self.size[0] + top + bottom - conv.kernel) / conv.stride + 1,
            (self.size[1] + left + right - conv.kernel) / conv.stride + 1,
        ];
        let attributes = vec![
            Attribute::ints("kernel_shape", &[conv.kernel; 2]),
            Attribute::ints("strides", &[conv.stride; 2]),
            Attribute::ints("pads", &[top, left, bottom, right]),
            Attribute::int("group", conv.groups),
        ];
        let inputs = [x, weight].into_iter().chain(bias).collect();
        self.node("Conv", inputs, attributes)
    }

    /// Writes a convolution with the batch normalisation after it: γ/√(σ² + ε) goes into the weight, the rest into a
    /// bias.
    fn folded(&mut self, conv: &Conv, norm: &Norm, x: String) -> String {
        let of_norm = |part: &str| {
            self.tensor(&format!("{}.{part}", norm.name))
                .to_kind(Kind::Double)
        };
        let factor = of_norm("weight") / (of_norm("running_var") + norm.epsilon).sqrt();
        let weight = self
            .tensor(&format!("{}.weight", conv.name))
            .to_kind(Kind::Double);
        let weight = weight * factor.reshape([-1, 1, 1, 1]);
        let mut mean = of_norm("running_mean");
        if conv.bias {
            mean -= self
                .tensor(&format!("{}.bias", conv.name))
                .to_kind(Kind::Double);
        }
        let bias = of_norm("bias") - mean * factor;
        let weight = self.constant(&format!("{}.weight", conv.name), &weight);
        let bias = self.constant(&format!("{}.bias", conv.name), &bias);
        self.conv(conv, x, weight, Some(bias))
    }

    fn linear(&mut self, name: &str, x: String) -> String {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        if self.is_flat {
            let inputs = vec![x, self.own(&weight), self.own(&bias)];
            return self.node("Gemm", inputs, vec![Attribute::int("transB", 1)]);
        }
        let transposed = self.tensor(&weight).tr();
        let transposed = self.constant(&weight, &transposed);
        let product = self.node("MatMul", vec![x, transposed], vec![]);
        let bias = self.own(&bias);
        self.node("Add", vec![product, bias], vec![])
    }

    /// Writes the product of the embedding, scaled to length 1, and the class weights, scaled to length `scale`.
    fn cosine(&mut self, name: &str, scale: f64, x: String) -> String {
        let attributes = vec![Attribute::ints("axes", &[1]), Attribute::int("keepdims", 1)];
        let length = self.node("ReduceL2", vec![x.clone()], attributes);
        let least = self.number(1e-12);
        let length = self.node("Max", vec![length, least], vec![]);
        let unit = self.node("Div", vec![x, length], vec![]);
        let name = format!("{name}.weight");
        let weight = no_grad(|| (crate::network::unit_rows(&self.tensor(&name)) * scale).tr());
        let weight = self.constant(&name, &weight);
        self.node("MatMul", vec![unit, weight], vec![])
    }

    fn activation(&mut self, activation: Activation, x: String) -> String {
        match activation {
            Activation::Relu => self.node("Relu", vec![x], vec![]),
            Activation::Sigmoid => self.node("Sigmoid", vec![x], vec![]),
            Activation::HardSwish => self.node("HardSwish", vec![x], vec![]),
            // ONNX's default for alpha is 0.2.
            Activation::HardSigmoid => {
                let attributes = vec![
                    Attribute::float("alpha", 1.0 / 6.0),
                    Attribute::float("beta", 0.5),
                ];
                self.node("HardSigmoid", vec![x], attributes)
            }
            Activation::Silu => {
                let gate = self.node("Sigmoid", vec![x.clone()], vec![]);
                self.node("Mul", vec![x, gate], vec![])
            }
            // x · (1 + erf(x / √2)) / 2: `Gelu` itself came with opset 20.
            Activation::Gelu => {
                let [root, one, half] = [SQRT_2, 1.0, 0.5].map(|value| self.number(value));
                let scaled = self.node("Div", vec![x.clone(), root], vec![]);
                let erf = self.node("Erf", vec![scaled], vec![]);
                let sum = self.node("Add", vec![erf, one], vec![]);
                let product = self.node("Mul", vec![x, sum], vec![]);
                self.node("Mul", vec![product, half], vec![])
            }
        }
    }
}
