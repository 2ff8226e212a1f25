//! The input of one training step.

/// Rows of one step: inputs with labels and further targets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Epoch of the batch, from 0.
    pub epoch: u32,
    /// Step within the epoch, from 0.
    pub step: u64,
    /// Inputs [N, C, H, W].
    pub inputs: Vec<f32>,
    /// Labels in the canonical class order, `[N]`.
    pub labels: Vec<i64>,
    /// Teacher logits [N, K], if there is a teacher.
    pub teacher: Option<Vec<f32>>,
    /// Distribution over the classes for each row [N, K], if there are soft targets.
    pub targets: Option<Vec<f32>>,
}
