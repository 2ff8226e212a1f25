//! The blocks that EfficientNet and MobileNetV3 share: depthwise-separable convolutions and inverted residuals with
//! squeeze and excitation (Sandler et al. 2018, <https://arxiv.org/abs/1801.04381>), under timm's names.

use super::layer::{Activation, Conv, Layer, Padding, conv_norm};

/// Differences between the families.
#[derive(Clone, Copy)]
pub(super) struct Family {
    pub(super) epsilon: f64,
    /// Whether padding is TensorFlow's SAME where the stride is not 1.
    pub(super) same: bool,
    /// Activation inside squeeze and excitation.
    pub(super) squeeze_activation: Activation,
    pub(super) gate: Activation,
}

/// Parameters of one block.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) kernel: i64,
    pub(super) stride: i64,
    pub(super) inputs: i64,
    /// Channels between the convolutions; `None` makes a depthwise-separable block without expansion.
    pub(super) middle: Option<i64>,
    pub(super) outputs: i64,
    /// Channels inside squeeze and excitation.
    pub(super) squeeze: Option<i64>,
    pub(super) activation: Activation,
}

impl Family {
    pub(super) fn conv(
        &self,
        name: &str,
        inputs: i64,
        outputs: i64,
        kernel: i64,
        stride: i64,
    ) -> Conv {
        // With stride 1 and an odd kernel both paddings are the same.
        let padding = if self.same && stride > 1 {
            Padding::Same
        } else {
            Padding::Each((kernel - 1) / 2)
        };
        Conv {
            name: name.to_owned(),
            inputs,
            outputs,
            kernel,
            stride,
            padding,
            groups: 1,
            bias: false,
        }
    }

    pub(super) fn block(&self, name: &str, block: Block) -> Vec<Layer> {
        let Block {
            kernel,
            stride,
            inputs,
            outputs,
            activation,
            ..
        } = block;
        let named = |part: &str| format!("{name}.{part}");
        let middle = block.middle.unwrap_or(inputs);
        let mut body = Vec::new();
        // timm numbers the normalisations consecutively, and names the last convolution by whether there is an
        // expansion.
        let (norms, last) = match block.middle {
            Some(_) => {
                let expand = self.conv(&named("conv_pw"), inputs, middle, 1, 1);
                body.extend(conv_norm(
                    expand,
                    &named("bn1"),
                    self.epsilon,
                    Some(activation),
                ));
                (["bn2", "bn3"], "conv_pwl")
            }
            None => (["bn1", "bn2"], "conv_pw"),
        };
        let depthwise = Conv {
            groups: middle,
            ..self.conv(&named("conv_dw"), middle, middle, kernel, stride)
        };
        body.extend(conv_norm(
            depthwise,
            &named(norms[0]),
            self.epsilon,
            Some(activation),
        ));
        if let Some(squeeze) = block.squeeze {
            body.push(self.squeeze_excite(&named("se"), middle, squeeze));
        }
        let project = self.conv(&named(last), middle, outputs, 1, 1);
        body.extend(conv_norm(project, &named(norms[1]), self.epsilon, None));
        if stride == 1 && inputs == outputs {
            vec![Layer::Residual {
                body,
                shortcut: Vec::new(),
            }]
        } else {
            body
        }
    }

    fn squeeze_excite(&self, name: &str, channels: i64, squeeze: i64) -> Layer {
        let conv = |part: &str, inputs, outputs| {
            Layer::Conv(Conv {
                bias: true,
                ..self.conv(&format!("{name}.{part}"), inputs, outputs, 1, 1)
            })
        };
        Layer::Gate(vec![
            Layer::MeanPool,
            conv("conv_reduce", channels, squeeze),
            Layer::Activation(self.squeeze_activation),
            conv("conv_expand", squeeze, channels),
            Layer::Activation(self.gate),
        ])
    }
}
