//! What `fermata infer` writes for a model folder: logits in the canonical class order, whatever the card's.

use std::path::Path;

use fermata_learn::export::{Overwrite, write_folder};
use fermata_learn::network::{Architecture, Head, Network};
use fermata_learn::npz::read_npy;
use fermata_learn::weights::TensorFile;
use fermata_vision::ModelCard;
use tch::{Device, Tensor};

use super::zeros;
use crate::command::{Answer, run_in, succeeded, was_refused};

/// Writes a model folder `name` that returns the same outputs for every input. The classes of its card are neutral,
/// happy, sad, surprise, fear, angry and disgust.
fn model(folder: &Path, name: &str, kind: &str, outputs: &[f32; 7]) {
    let network = "small_resnet18_w8_s2_c1";
    let architecture: Architecture = network.parse().unwrap();
    let weights = folder.join(format!("{name}.safetensors"));
    let head = Head::Linear { classes: 7 };
    let drawn = Network::new(architecture, head, 3, Device::Cpu);
    drawn.save(&weights, None).unwrap();
    let mut file = TensorFile::read(&weights).unwrap();
    let [weight, bias] =
        ["weight", "bias"].map(|part| format!("{}.{part}", architecture.head_name()));
    let none = file.tensors[&weight].zeros_like();
    file.tensors.insert(weight, none);
    file.tensors.insert(bias, Tensor::from_slice(outputs));
    file.write(&weights).unwrap();
    let text = format!(
        "architecture: {network}
input: {{name: input, size: 32, layout: nchw, colour: gray}}
interpolation: area
scaling: [{{divide: 255}}]
output: {{name: output, kind: {kind}, classes: [neutral, happy, sad, surprise, fear, angry, disgust]}}
licence: none
source: a test
"
    );
    let card = ModelCard::parse(&text, Path::new("card.yaml")).unwrap();
    let bytes = std::fs::read(&weights).unwrap();
    write_folder(&folder.join(name), card, &bytes, Overwrite::Refused).unwrap();
}

/// Asks the model folder `name` about three inputs, two at once.
fn infer(folder: &Path, name: &str) -> Answer {
    zeros(&folder.join("x.npy"), &[3, 1, 32, 32]);
    let files = ["--input", "x.npy", "--output", "y.npy"];
    let asked = ["infer", "--model", name, "--batch", "2"];
    run_in(folder, &[&asked[..], &files[..]].concat())
}

#[test]
fn outputs_of_a_model_become_logits_in_the_canonical_class_order() {
    let folder = tempfile::tempdir().unwrap();
    let outputs = [0.4, 0.2, 0.15, 0.1, 0.08, 0.05, 0.02];
    // The same for angry, disgust, fear, happy, sad, surprise, neutral.
    let ordered = [0.05_f32, 0.02, 0.08, 0.2, 0.15, 0.1, 0.4];
    let logarithms = ordered.map(f32::ln);
    for (kind, expected) in [("logits", ordered), ("probabilities", logarithms)] {
        model(folder.path(), kind, kind, &outputs);
        succeeded(infer(folder.path(), kind));
        let found = read_npy(&folder.path().join("y.npy")).unwrap();
        assert_eq!(found.shape, [3, 7]);
        for row in found.values.chunks(7) {
            let mut both = row.iter().zip(expected);
            assert!(both.all(|(a, b)| (a - b).abs() < 1e-5), "{kind}: {row:?}");
        }
    }
}

#[test]
fn outputs_that_are_not_what_the_card_says_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let outputs = [4.0, 0.2, -1.5, 0.1, 0.8, 0.5, 0.2];
    model(folder.path(), "model", "probabilities", &outputs);
    was_refused(
        infer(folder.path(), "model"),
        &[
            "the outputs of row 0",
            "should its card say `kind: logits`?",
        ],
    );
    assert!(!folder.path().join("y.npy").exists());
}
