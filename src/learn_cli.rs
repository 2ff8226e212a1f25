//! What can be typed about models and predictions. `fermata` knows these commands and hands them over to `fermata-learn`, which
//! carries them out: libtorch is loaded only there.

#![allow(
    missing_docs,
    reason = "what is written on these types is printed as help"
)]

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::evaluate_cli::{EVALUATE, EvaluateArguments};
use crate::manifest_cli::ManifestCommand;

#[derive(Debug, Subcommand)]
pub enum LearnCommand {
    /// Compute a model's logits for inputs in a NumPy file
    Infer(InferArguments),
    /// Measure predictions: metrics.json, a table for each class, pictures
    #[command(after_help = EVALUATE)]
    Evaluate(EvaluateArguments),
    /// Fit a temperature on validation predictions
    Calibrate(CalibrateArguments),
    /// Write a network's weights as a model folder for the live graph (ONNX and card)
    Export(ExportArguments),
    /// Say what an artifact is and where it comes from: a checkpoint, an export, arrays, a manifest, a report, or the folder of any of them
    Inspect {
        /// .safetensors, .onnx, .npz or .npy file, a manifest or table, a report (.json), a model card, recipe or mapping, or a folder
        file: PathBuf,
    },
    /// Lists of labelled images: make one of raw sources, look at one before it is used
    Manifest {
        #[command(subcommand)]
        command: ManifestCommand,
    },
    /// The networks that can be built
    Models {
        #[command(subcommand)]
        command: ModelsCommand,
    },
}

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Show parameters and operations of the networks
    Describe {
        /// Networks [default: all]
        names: Vec<String>,
        /// Width and height of the input in pixels
        #[arg(long, default_value_t = 224)]
        size: i64,
        /// Number of classes
        #[arg(long, default_value_t = 7)]
        classes: i64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// For a model.onnx
    Onnxruntime,
    /// For a model.safetensors
    Libtorch,
}

#[derive(Debug, Args)]
pub struct InferArguments {
    /// Model folder (card.yaml and weights)
    #[arg(long, value_name = "FOLDER", required_unless_present = "weights", conflicts_with_all = ["weights", "arch"])]
    pub model: Option<PathBuf>,
    /// Network of the weights, by timm's name
    #[arg(long, value_name = "NAME", requires = "weights")]
    pub arch: Option<String>,
    /// Weights (.safetensors)
    #[arg(long, value_name = "FILE", requires = "arch")]
    pub weights: Option<PathBuf>,
    /// f32 [N, C, H, W] in a .npy file
    #[arg(long, value_name = "X.npy")]
    pub input: PathBuf,
    /// Where the logits f32 [N, K] go
    #[arg(long, value_name = "Y.npy")]
    pub output: PathBuf,
    #[command(flatten)]
    pub compute: ComputeArguments,
}

/// What computes a model.
#[derive(Debug, Args)]
pub struct ComputeArguments {
    /// What computes [default: what the weights are for]
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,
    /// cpu or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Inputs computed at once
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// Threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub threads: u32,
    /// Scale of an ArcFace head (weights without bias) [default: the training's, or 30]
    #[arg(long)]
    pub scale: Option<f64>,
}

#[derive(Debug, Args)]
pub struct PredictionsArguments {
    /// Predictions: .npz (arrays logits and labels) or .csv (label, logit_CLASS…)
    #[arg(long, value_name = "FILE")]
    pub predictions: PathBuf,
    /// Names of an .npz file's classes [default: the seven expressions]
    #[arg(long, value_delimiter = ',', value_name = "A,B,…")]
    pub classes: Vec<String>,
}

#[derive(Debug, Args)]
pub struct CalibrateArguments {
    #[command(flatten)]
    pub predictions: PredictionsArguments,
    /// Model folder whose card gets the temperature
    #[arg(long, value_name = "FOLDER")]
    pub model: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ExportArguments {
    /// Network of the weights, by timm's name
    #[arg(long, value_name = "NAME")]
    pub arch: String,
    /// Weights (.safetensors)
    #[arg(long, value_name = "FILE")]
    pub weights: PathBuf,
    /// Card of the new folder; input and output names and sha256 are filled in
    #[arg(long, value_name = "CARD.yaml")]
    pub card: PathBuf,
    /// The new folder
    #[arg(long, value_name = "FOLDER")]
    pub output: PathBuf,
    /// Keep batch normalisation as it is instead of folding it into the convolutions
    #[arg(long)]
    pub keep_batch_norm: bool,
    /// Replace a model folder that is there
    #[arg(long)]
    pub overwrite: bool,
    /// Scale of an ArcFace head (weights without bias) [default: the training's, or 30]
    #[arg(long)]
    pub scale: Option<f64>,
}
