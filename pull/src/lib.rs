//! Models by name: which exist, where they come from, and how to get them.
//!
//! - [`Catalogue`]: names, licences, addresses, sizes and checksums, and the card of each model.
//! - [`pull()`]: brings a model into its folder, from its addresses in turn or from a folder, and resumes an
//!   interrupted download.
//! - [`state`]: whether a model is present and matches the catalogue.
//!
//! A file whose checksum differs from the catalogue's never gets its name, whatever its source. How a model is used is
//! described by its card, not here.

mod catalogue;
mod download;
mod error;
mod pull;
mod state;

pub use catalogue::{Catalogue, Entry};
pub use error::{CatalogueError, PullError};
pub use pull::{Origin, Pulled, pull};
pub use state::{State, state};
