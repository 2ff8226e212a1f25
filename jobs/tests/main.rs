//! The actors of jobs through their public door: alone, and in graphs.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "main/export.rs"]
mod export;
#[path = "main/pictures.rs"]
mod pictures;
#[path = "main/rows.rs"]
mod rows;
#[path = "main/teachers.rs"]
mod teachers;
#[path = "main/training.rs"]
mod training;
#[path = "main/training_targets.rs"]
mod training_targets;
#[path = "main/trainings.rs"]
mod trainings;
