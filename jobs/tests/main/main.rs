//! The actors of jobs through their public interface: alone, and in graphs.

#![allow(missing_docs, clippy::unwrap_used)]

mod elsewhere;
mod export;
mod pictures;
mod predictions;
mod rows;
mod teachers;
mod training;
mod training_targets;
mod trainings;
mod views;
