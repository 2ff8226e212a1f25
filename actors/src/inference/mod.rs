//! Running models: the library behind it and one session for each actor that needs one.

mod runtime;
pub mod session;
