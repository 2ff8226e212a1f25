//! Networks as ONNX graphs and model folders.
