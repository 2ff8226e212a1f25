//! Models by name: what there is, where it comes from, and how it gets here.
//!
//! - [`Catalogue`]: names, licences, addresses, sizes and checksums, and the card of each model.
//! - [`pull()`]: brings one into its folder, from its addresses in turn or from a folder; goes on where an earlier one
//!   broke off.
//! - [`state`]: whether a model is here, and is what the catalogue says.
//!
//! A file that does not have the checksum of the catalogue never gets its name, whoever sent it. What a model means is
//! said by its card, not here.

mod catalogue;
mod download;
mod error;
mod pull;
mod state;

pub use catalogue::{Catalogue, Entry};
pub use error::{CatalogueError, PullError};
pub use pull::{Origin, Pulled, pull};
pub use state::{State, state};
