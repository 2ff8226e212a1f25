//! The actors of offline jobs, one file each: a job over a manifest's rows runs as a graph on the engine, with the same
//! queues, restarts, books and report as a camera.
//!
//! | actor | |
//! | --- | --- |
//! | [`manifest_units`] | the units of a job, as streams; resumes with those that are not done |
//! | [`given_units`], [`returned_rows`] | the units of a job over several machines: on a worker, and on the coordinator |
//! | [`manifest_rows`] | the rows of a unit |
//! | [`load_images`] | decodes each row's image once, checked against its hash |
//! | [`training_rows`] | the rows of a training: its steps, the ends of its epochs and their validation rows |
//! | [`prepare_inputs`] | a training's rows as inputs: the view of the epoch, preprocessed |
//! | [`join_targets`] | a training's targets besides labels: softlabels, votes |
//! | [`train_model`] | trains, validates, and writes the model at the end |
//! | [`load_views`] | the inputs of all views of each row, made once for all models with equivalent cards |
//! | [`infer_logits`] | a teacher's logits of each row, in several views |
//! | [`fuse_logits`] | the ensemble's logits |
//! | [`write_softlabels`] | commits units, and assembles the softlabels at the end |
//! | [`write_predictions`] | logits and labels for an evaluation |
//!
//! A unit of work ([`mod@unit`]) is a stream: some rows of a manifest. The packets' payloads are in [`payload`]. A row
//! that cannot be read is passed on with its failure, so that no row is lost silently.
//!
//! This crate does not compute losses, metrics or weights (`fermata-learn` does) and does not preprocess
//! (`fermata-vision` does).

pub mod aligned;
pub mod begun;
pub mod elsewhere;
pub mod fuse_logits;
pub mod given_units;
pub mod infer_logits;
pub mod join_targets;
pub mod ledger;
pub mod load_images;
pub mod load_views;
pub mod loaded_model;
pub mod manifest_rows;
pub mod manifest_units;
pub mod manifests;
pub mod model_error;
pub mod network_backend;
pub mod payload;
pub mod preparation;
pub mod prepare_inputs;
pub mod returned_rows;
pub mod train_model;
pub mod training_rows;
pub mod training_status;
pub mod unit;
pub mod unit_file;
mod view_input;
mod views;
pub mod write_predictions;
pub mod write_softlabels;

use std::sync::Arc;

use fermata_engine::{Registry, Services};

use crate::manifests::Manifests;

/// Registers every actor of this crate: the only list of names and their types.
pub fn register(registry: &mut Registry) {
    registry.register::<fuse_logits::FuseLogits>();
    registry.register::<infer_logits::InferLogits>();
    registry.register::<join_targets::JoinTargets>();
    registry.register::<load_images::LoadImages>();
    registry.register::<load_views::LoadViews>();
    registry.register_source::<manifest_rows::ManifestRows>();
    registry.register_provider::<given_units::GivenUnits>();
    registry.register_provider::<manifest_units::ManifestUnits>();
    registry.register::<prepare_inputs::PrepareInputs>();
    registry.register::<train_model::TrainModel>();
    registry.register_source::<returned_rows::ReturnedRows>();
    registry.register_source::<training_rows::TrainingRows>();
    registry.register::<write_predictions::WritePredictions>();
    registry.register::<write_softlabels::WriteSoftlabels>();
}

/// Returns the services that the actors of this crate need.
pub fn services() -> Services {
    Services::new().with(Arc::new(Manifests::default()))
}
