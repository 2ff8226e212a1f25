//! SGD and AdamW whose state can be saved.
