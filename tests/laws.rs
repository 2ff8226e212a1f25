//! The laws that every run keeps, whatever the graph: tried on random graphs, and on the cases that once broke them.

mod found;
mod simulated;
