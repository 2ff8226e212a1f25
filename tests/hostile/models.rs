//! Detectors that declare gigabytes of output.

use super::{assert_ended, graph_in, run_small};

/// Encodes a number as a protobuf varint: seven bits per byte, lowest first.
fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn int(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [
        varint(field << 3 | 2),
        varint(value.len() as u64),
        value.to_vec(),
    ]
    .concat()
}

/// Encodes an f32 tensor of this name and shape (field names as in ONNX's onnx.proto).
fn tensor(name: &str, shape: &[u64]) -> Vec<u8> {
    let sides: Vec<u8> = shape
        .iter()
        .flat_map(|side| bytes(1, &int(1, *side)))
        .collect();
    let kind = bytes(1, &[int(1, 1), bytes(2, &sides)].concat());
    [bytes(1, name.as_bytes()), bytes(2, &kind)].concat()
}

/// Encodes a node that generates a tensor without inputs.
fn noise(output: &str, shape: &[u64]) -> Vec<u8> {
    let sides: Vec<u8> = shape.iter().flat_map(|side| int(8, *side)).collect();
    let attribute = [bytes(1, b"shape"), sides, int(20, 7)].concat();
    [
        bytes(2, output.as_bytes()),
        bytes(4, b"RandomUniform"),
        bytes(5, &attribute),
    ]
    .concat()
}

/// Builds a model with UltraFace's inputs and outputs.
fn ultraface(width: u64, height: u64) -> Vec<u8> {
    let (scores, boxes) = (("scores", [1, 4, 2]), ("boxes", [1, 4, 4]));
    let mut graph = Vec::new();
    for (name, shape) in [&scores, &boxes] {
        graph.extend(bytes(1, &noise(name, shape)));
        graph.extend(bytes(12, &tensor(name, shape)));
    }
    graph.extend(bytes(2, b"graph"));
    graph.extend(bytes(11, &tensor("input", &[1, 3, height, width])));
    [
        int(1, 8),
        bytes(7, &graph),
        bytes(8, &[bytes(1, b""), int(2, 13)].concat()),
    ]
    .concat()
}

#[test]
fn a_detector_that_takes_pictures_of_gigabytes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("faces.onnx");
    let file = graph_in(
        folder.path(),
        &format!(
            "fermata: 1\nnodes:\n  s: {{use: synthetic_faces, count: 2}}\n  d: {{use: detect_faces, in: s, model: {}}}\n  e: {{use: discard, in: d}}\n",
            model.display()
        ),
    );
    let file = file.display().to_string();
    let out = folder.path().join("out").display().to_string();
    for (width, height) in [(100_000, 100_000), (64, 5_000), (1 << 33, 1 << 33)] {
        std::fs::write(&model, ultraface(width, height)).unwrap();
        let words = format!("unsupported detector input size {width} × {height}");
        assert_ended(&run_small(&["check", &file]), 2, &words);
        assert_ended(&run_small(&["run", &file, "--out", &out, "-q"]), 2, &words);
    }
}
