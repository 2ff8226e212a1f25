//! Networks, losses, metrics, calibration and training whose numbers mean the same as those of the Python references:
//! a checkpoint goes from timm and back, a metric is scikit-learn's or torchmetrics', a loss is its paper's.
//!
//! Owns everything between images with labels and a model folder. Does not own actors or graphs, and what happens to an
//! image before it is a tensor is `fermata-vision`'s.

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
