//! The actors of offline jobs, one file each: what streams over a manifest's rows runs as a graph on the engine, with the same
//! queues, restarts, books and report as a camera.
//!
//! | actor | |
//! | --- | --- |
//! | [`manifest_rows`] | the rows of a unit |
//! | [`load_images`] | decodes each row's image once, checked against its hash |
//!
//! A unit of work ([`unit`]) is a stream: some rows of a manifest. What travels is in [`payload`]. A row that cannot be read travels
//! on as a row with its failure, so that no row is lost without a word.
//!
//! It does not compute losses, metrics or weights (`fermata-learn` does) and does not preprocess (`fermata-vision` does).

pub mod load_images;
pub mod manifest_rows;
pub mod manifests;
pub mod payload;
pub mod unit;

use std::sync::Arc;

use fermata_engine::{Registry, Services};

use crate::manifests::Manifests;

/// Adds every actor of this crate: the only list of names and what stands behind them.
pub fn register(registry: &mut Registry) {
    registry.register_source::<manifest_rows::ManifestRows>();
    registry.register::<load_images::LoadImages>();
}

/// What the actors of this crate need of their program.
pub fn services() -> Services {
    Services::new().with(Arc::new(Manifests::default()))
}
