//! Running models: the library behind it and one session for each actor that needs one.

pub mod classify_expression;
mod runtime;
pub mod session;
