//! What travels between the actors of jobs.
//!
//! | payload | from | holds |
//! | --- | --- | --- |
//! | [`Wanted`] | sources of rows | a row that is to be read and why, or an epoch's end |
//! | [`Loaded`] | `load_images` | the row with its picture or its failure, or an epoch's end |
//! | [`Prepared`] | `prepare_inputs` | the row as a network's input or its failure, or an epoch's end |

mod failure;
mod loaded;
mod manifest_row;
mod prepared;
mod wanted;

pub use self::failure::Failure;
pub use self::loaded::{Loaded, LoadedRow};
pub use self::manifest_row::ManifestRow;
pub use self::prepared::{Prepared, PreparedRow};
pub use self::wanted::{Purpose, Wanted, WantedRow};
