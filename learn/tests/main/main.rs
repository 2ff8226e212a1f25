//! Tests of the learning library through its public API: images in, trained models out.

#![allow(missing_docs, clippy::unwrap_used)]

mod foreign_files;
mod foreign_settings;
mod manifests;
mod picture_hashes;
mod pictures;
mod recipes;
#[path = "../../../tests/skipped.rs"]
mod skipped;
mod training;
mod whole_files;
