//! The laws that every run keeps, whatever the graph: tried on random graphs, and on the cases that once broke them.

mod actors;
mod case;
mod draw;
mod found;
mod random;
mod simulated;
