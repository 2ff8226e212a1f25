//! Training: the loss ([`Objective`]), the training loop step by step in memory ([`Trainer`]), which rows it sees in
//! which order ([`Plan`]), and the folder from which a training is resumed ([`RunFolder`]). Feeding the trainer is the
//! job of a graph.
//!
//! The same settings, data, machine and number of threads give bit-identical weights, whether or not the run was
//! interrupted: everything random is a function of (seed, epoch, row or step), and libtorch's generator is never used.

mod batch;
mod config;
mod dropout;
mod environment;
mod error;
mod folder;
mod objective;
mod plan;
mod progress;
mod spec;
mod trainer;

pub use self::batch::Batch;
pub use self::config::{RunConfig, SoftlabelsUsed, VotesUsed};
pub use self::environment::Environment;
pub use self::error::TrainingError;
pub use self::folder::RunFolder;
pub use self::objective::{ClassWeights, Distillation, Negative, Objective};
pub use self::plan::{Plan, Planned, TrainingRows};
pub use self::progress::{Best, EpochRow, Progress, StepDone};
pub use self::spec::{HeadSpec, Initial, LearningRate, SelectBy, TrainingSpec, Views};
pub use self::trainer::Trainer;

#[cfg(test)]
mod tests;
