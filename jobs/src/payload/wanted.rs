//! A row to be read, and its purpose.

use fermata_engine::Payload;

use super::manifest_row::ManifestRow;

/// The purpose of reading a row.
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
        /// The view of the row.
        view: u32,
    },
    /// The validation after an epoch.
    Validation {
        /// The epoch, from 0.
        epoch: u32,
    },
}

/// A row and its purpose.
#[derive(Clone, Debug)]
pub struct WantedRow {
    /// The row.
    pub row: ManifestRow,
    /// Its purpose.
    pub purpose: Purpose,
}

/// The output of a source of rows, one in each packet.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// A row.
    Row(WantedRow),
    /// All rows of an epoch have been emitted; those of its validation follow.
    EpochEnd {
        /// From 0.
        epoch: u32,
    },
}

impl Payload for Wanted {}
