//! Command-line arguments of `fermata models`.

#![allow(
    missing_docs,
    reason = "what is written on these types is printed as help"
)]

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the models of the catalogue, and which of them are downloaded
    List {
        /// Folder of models
        #[arg(long, value_name = "DIR", default_value = "models")]
        dir: PathBuf,
    },
    /// Download models to DIR/NAME: model.onnx and its card
    Pull(PullArguments),
    /// Verify the downloaded models against the catalogue's checksums
    Verify {
        /// Models [default: all that are downloaded]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Folder of models
        #[arg(long, value_name = "DIR", default_value = "models")]
        dir: PathBuf,
    },
    /// Print a model's card
    Card {
        /// The model
        name: String,
    },
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

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("pulled").args(["names", "all"]).required(true))]
pub struct PullArguments {
    /// Models
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// All of the catalogue
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
    /// Folder of models
    #[arg(long, value_name = "DIR", default_value = "models")]
    pub dir: PathBuf,
    /// Copy them from a folder instead of downloading them
    #[arg(long, value_name = "DIR", conflicts_with = "mirror")]
    pub from: Option<PathBuf>,
    /// Try this address first, followed by the file's name; may be given several times
    #[arg(long, value_name = "URL")]
    pub mirror: Vec<String>,
}
