//! Options of the ONNX export, and the names of input and output.

/// Name of the graph's input, f32 [batch, channels, height, width].
pub const INPUT: &str = "input";
/// Name of the graph's output, f32 [batch, classes].
pub const OUTPUT: &str = "logits";

/// Options of the ONNX export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnnxOptions {
    /// Width of the input in pixels. It is fixed, since some paddings depend on it.
    pub width: i64,
    /// Height of the input in pixels.
    pub height: i64,
    /// Whether each batch normalisation after a convolution is folded into the convolution's weights.
    pub fold_batch_norm: bool,
}
