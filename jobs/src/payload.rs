//! What travels between the actors of jobs.
//!
//! | payload | from | holds |
//! | --- | --- | --- |
//! | [`Wanted`] | sources of rows | a row that is to be read and why, or an epoch's end |
//! | [`Loaded`] | `load_images` | the row with its picture or its failure, or an epoch's end |

mod failure;
mod loaded;
mod manifest_row;
mod wanted;

pub use self::failure::Failure;
pub use self::loaded::{Loaded, LoadedRow};
pub use self::manifest_row::ManifestRow;
pub use self::wanted::{Purpose, Wanted, WantedRow};
