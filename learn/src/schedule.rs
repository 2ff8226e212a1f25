//! Learning rates over a run.
