//! Streaming dataflow engine.
