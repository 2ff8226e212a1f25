//! The pages of the guide that are generated from the code.

use clap::ValueEnum;

/// A page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Page {
    /// Every actor with its ports and settings
    Actors,
    /// Every key of a graph file
    GraphFiles,
}
