//! What models say of faces.

pub mod classify_expression;
