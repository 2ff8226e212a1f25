//! Frames, model cards, preprocessing and drawing.
