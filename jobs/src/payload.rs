//! The payloads of job actors.
//!
//! | payload | from | holds |
//! | --- | --- | --- |
//! | [`Wanted`] | sources of rows | a row to be read and its purpose, or an epoch's end |
//! | [`Loaded`] | `load_images` | the row with its picture or its failure, or an epoch's end |
//! | [`Prepared`] | `prepare_inputs` | the row as a network's input or its failure, or an epoch's end |
//! | [`Viewed`] | `load_views` | the row with the inputs of its views or its failure |
//! | [`Scored`] | `infer_logits` | the row with a teacher's logits or its failure |
//! | [`Fused`] | `fuse_logits` | the row with the ensemble's and the teachers' logits or its failure |

mod failure;
mod fused;
mod loaded;
mod manifest_row;
mod prepared;
mod scored;
mod viewed;
mod wanted;

pub use self::failure::Failure;
pub use self::fused::Fused;
pub use self::loaded::{Loaded, LoadedRow};
pub use self::manifest_row::ManifestRow;
pub use self::prepared::{Prepared, PreparedRow};
pub use self::scored::{Asked, Scored};
pub use self::viewed::{AskedViews, ViewInputs, Viewed};
pub use self::wanted::{Purpose, Wanted, WantedRow};
