//! Learning for facial-expression models: from labelled images to a model folder that a live graph loads. Training runs
//! as a graph of actors in `fermata-jobs`; this crate is the library beneath it, and knows nothing of graphs.
//!
//! Its numbers match the Python references: checkpoints load in timm and timm's load here, metrics equal scikit-learn's
//! or torchmetrics', and losses follow their papers. Results are reproducible: everything random is a function of a key
//! ([`keyed_random`]), so that a resumed training gives the same weights as an uninterrupted one.
//!
//! Owns everything between labelled images and a model folder. Does not own actors or graphs, and how an image becomes
//! a tensor is up to `fermata-vision`.
//!
//! The modules, in reading order:
//!
//! - **Data**: [`manifest`] lists labelled images, each identified by its [`row_hash`], makes such lists from raw
//!   sources and validates them; [`picture_hash`] finds duplicate pictures, [`manifest_audit`] counts them,
//!   [`label_errors`] finds labels that are likely wrong and [`label_noise`] adds wrong ones. [`folds`] splits training
//!   rows into folds, [`votes`] holds annotators' votes, [`image_set`] writes generated pictures.
//! - **Networks**: [`network`] describes and computes them, [`weights`] loads and saves them, [`device`] and [`memory`]
//!   set up libtorch.
//! - **Training**: [`training`] brings together [`augmentation`], [`sampler`], [`losses`], [`optimiser`], [`schedule`]
//!   and [`weight_average`].
//! - **Evaluation**: [`predictions`] hold logits and labels, [`metrics`] measures them, [`calibration`] fits
//!   temperatures, [`evaluation`] and [`model_comparison`] report the results.
//! - **Distillation**: [`ensemble`] searches for teachers' weights, [`softlabels`] stores their logits for a student.
//! - **Export**: [`export`] writes ONNX graphs and model folders.
//! - **Pictures for people**: [`charts`] and [`contact_sheet`], with [`markup`].
//! - **Tools**: [`keyed_random`], [`on_all_cores`], [`npz`], [`in_memory`], [`relative_path`].

pub mod augmentation;
pub mod calibration;
pub mod charts;
pub mod contact_sheet;
pub mod device;
pub mod ensemble;
pub mod evaluation;
pub mod export;
pub mod folds;
pub mod image_set;
pub mod in_memory;
pub mod keyed_random;
pub mod label_errors;
pub mod label_noise;
pub mod losses;
pub mod manifest;
pub mod manifest_audit;
pub mod markup;
pub mod memory;
pub mod metrics;
pub mod model_comparison;
pub mod network;
pub mod npz;
pub mod on_all_cores;
pub mod optimiser;
pub mod picture_hash;
pub mod predictions;
pub mod relative_path;
pub mod row_hash;
pub mod sampler;
pub mod schedule;
mod settings_problems;
pub mod softlabels;
mod table_lines;
pub mod training;
pub mod votes;
pub mod weight_average;
pub mod weights;
