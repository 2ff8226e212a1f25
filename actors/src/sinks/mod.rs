//! Actors at the end of a graph: files, pages, statistics.

pub mod show_window;
pub mod write_csv;
