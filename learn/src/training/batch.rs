//! What a trainer is handed for one step.

/// The rows of one step: labelled inputs, and what they are taught besides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The epoch that it belongs to, from 0.
    pub epoch: u32,
    /// The step within the epoch, from 0.
    pub step: u64,
    /// [N, C, H, W].
    pub inputs: Vec<f32>,
    /// Classes in the canonical order, `[N]`.
    pub labels: Vec<i64>,
    /// A teacher's logits [N, K], where there is one.
    pub teacher: Option<Vec<f32>>,
    /// A distribution over the classes for each row [N, K], where there is one.
    pub targets: Option<Vec<f32>>,
}
