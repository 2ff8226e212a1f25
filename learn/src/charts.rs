//! Reliability diagrams and confusion matrices as SVG.
