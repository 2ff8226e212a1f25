//! A row that is to be read, and what for.

use fermata_engine::Payload;

use super::manifest_row::ManifestRow;

/// What a row is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A unit of work.
    Unit,
    /// A step of a training.
    Train {
        /// From 0.
        epoch: u32,
        /// The step within the epoch, from 0.
        step: u64,
        /// The view in which the row is seen.
        view: u32,
    },
    /// The validation behind an epoch.
    Validation {
        /// The epoch, from 0.
        epoch: u32,
    },
}

/// A row and its purpose.
#[derive(Clone, Debug)]
pub struct WantedRow {
    /// Which.
    pub row: ManifestRow,
    /// What for.
    pub purpose: Purpose,
}

/// What a source of rows gives, one in each packet.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// A row.
    Row(WantedRow),
    /// All rows of a training's epoch have come; those of its validation follow.
    EpochEnd {
        /// From 0.
        epoch: u32,
    },
}

impl Payload for Wanted {}
