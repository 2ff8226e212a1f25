//! Training: what it minimises ([`Objective`]), step by step in memory ([`Trainer`]), what it sees and in which order
//! ([`Plan`]), and the folder from which it can be taken up again ([`RunFolder`]). What feeds the trainer is not here:
//! a graph does.
//!
//! The same settings, data, machine and number of threads give the same weights to the last bit, whether a run was
//! interrupted or not: all that is drawn is a function of (seed, epoch, row or step), and nothing is taken from
//! libtorch's generator.

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
