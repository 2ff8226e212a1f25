//! Command-line arguments of `fermata evaluate`.

#![allow(
    missing_docs,
    reason = "what is written on these types is printed as help"
)]

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use crate::compute_cli::ComputeArguments;

pub const EVALUATE: &str = "\
Examples:
  fermata evaluate --model models/expression --manifest faces.csv --calibrate-on validation --out runs/evaluation
  fermata evaluate --predictions test.npz --calibrate-on validation.npz --compare other.npz --out runs/evaluation
  fermata evaluate --softlabels runs/softlabels --calibrate-on validation --out runs/ensemble
  fermata evaluate --compare ce=runs/ce kd=runs/kd dkd=runs/dkd --out runs/comparison
  fermata evaluate --compare ce=runs/ce-1,runs/ce-2,runs/ce-3 kd=runs/kd-1,runs/kd-2,runs/kd-3 --out runs/seeds";

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("evaluated")
    .args(["predictions", "model", "softlabels", "compare"])
    .required(true)
    .multiple(true))]
pub struct EvaluateArguments {
    /// Predictions: .npz (arrays logits and labels) or .csv (label, logit_CLASS…)
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    pub predictions: Option<PathBuf>,
    /// Names of an .npz file's classes [default: the seven expressions]
    #[arg(long, value_delimiter = ',', value_name = "A,B,…")]
    pub classes: Vec<String>,
    /// Model folder (card.yaml and weights) that predicts a manifest's rows
    #[arg(long, value_name = "FOLDER", requires = "manifest")]
    pub model: Option<PathBuf>,
    /// Labelled images
    #[arg(long, value_name = "FILE.csv", requires = "model", group = "rows")]
    pub manifest: Option<PathBuf>,
    /// Softlabels: evaluate their ensemble's predictions for the unvaried pictures
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["predictions", "model", "classes"], group = "rows")]
    pub softlabels: Option<PathBuf>,
    /// Split of the manifest or the softlabels to evaluate: train, validation or test
    #[arg(long, default_value = "test", requires = "rows")]
    pub split: String,
    /// Fit a temperature: on validation predictions of the same model, or on this split of the manifest or the
    /// softlabels; never on the rows that are evaluated
    #[arg(long, value_name = "FILE|SPLIT")]
    pub calibrate_on: Option<PathBuf>,
    /// With --predictions, --model or --softlabels: predictions of another model on the same rows. Alone: evaluations
    /// (folders) or predictions of models evaluated on the same rows, to print one table; NAME=PATH,PATH are trainings
    /// of one network with other seeds, and are compared by their mean too
    #[arg(long, value_name = "[NAME=]PATH[,PATH]", num_args = 1..)]
    pub compare: Vec<String>,
    /// Compare only on the rows that all models were evaluated on
    #[arg(long)]
    pub common_rows: bool,
    /// Folder for metrics.json, per_class.csv, reliability.svg and confusion.svg; of a table of all: comparison.json,
    /// models.csv, pairs.csv and comparison.html
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub compute: ComputeArguments,
}
