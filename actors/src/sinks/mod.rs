//! Actors at the end of a graph: files, pages, statistics.

pub mod write_csv;
