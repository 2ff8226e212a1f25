//! The learning library through its public door: images in, trained models out.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "main/manifests.rs"]
mod manifests;
#[path = "main/picture_hashes.rs"]
mod picture_hashes;
#[path = "main/pictures.rs"]
mod pictures;
#[path = "main/training.rs"]
mod training;
#[path = "main/whole_files.rs"]
mod whole_files;
