//! Moving average of weights.
