//! Command-line options for how a model is computed.

#![allow(
    missing_docs,
    reason = "what is written on these types is printed as help"
)]

use clap::{Args, ValueEnum};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// For a model.onnx
    Onnxruntime,
    /// For a model.safetensors
    Libtorch,
}

/// Options for how a model is computed.
#[derive(Debug, Args)]
pub struct ComputeArguments {
    /// Backend [default: the one that the weights are for]
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,
    /// cpu or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Inputs computed at once
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// Threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
    /// Scale of an ArcFace head (weights without bias) [default: the training's, or 30]
    #[arg(long)]
    pub scale: Option<f64>,
}
