//! Actors that run models on faces.

pub mod classify_expression;
