//! The integration tests: one program, a module for each behaviour.

mod graph_files;
mod laws;
mod running;
mod support;
