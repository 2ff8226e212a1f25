//! How a network is written as ONNX, and what its ends are called.

/// Name of the graph's input, f32 [batch, channels, height, width].
pub const INPUT: &str = "input";
/// Name of its output, f32 [batch, classes].
pub const OUTPUT: &str = "logits";

/// How a network is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnnxOptions {
    /// Width of the input in pixels. It is fixed: some paddings depend on it.
    pub width: i64,
    /// Height of the input in pixels.
    pub height: i64,
    /// Whether each batch normalisation behind a convolution goes into the convolution's weights.
    pub fold_batch_norm: bool,
}
