//! Random numbers that depend on a key alone.
