//! Small teachers with seeded weights, for both backends.

use std::path::Path;

use fermata_learn::export::{INPUT, OUTPUT, OnnxOptions, Overwrite, onnx, write_folder};
use fermata_learn::network::{Head, Network};
use fermata_vision::ModelCard;
use serde_json::{Value, json};
use tch::Device;

fn card(architecture: Option<&str>, size: u32, colour: &str, temperature: f64) -> ModelCard {
    let architecture = architecture.map_or(String::new(), |name| format!("architecture: {name}\n"));
    let text = format!(
        "{architecture}input: {{name: {INPUT}, size: {size}, layout: nchw, colour: {colour}}}
interpolation: area
scaling: [{{divide: 127.5}}, {{subtract: 1}}]
output: {{name: {OUTPUT}, kind: logits, classes: [angry, disgust, fear, happy, sad, surprise, neutral]}}
temperature: {temperature}
licence: none
source: a test
"
    );
    ModelCard::parse(&text, Path::new("card.yaml")).unwrap()
}

/// A network of one gray channel for libtorch.
pub(crate) fn libtorch(folder: &Path, seed: u64, temperature: f64, provenance: Value) {
    let name = "small_resnet18_w8_s2_c1";
    let network = Network::new(
        name.parse().unwrap(),
        Head::Linear { classes: 7 },
        seed,
        Device::Cpu,
    );
    let weights = folder.with_extension("safetensors");
    network.save(&weights, Some(provenance)).unwrap();
    let bytes = std::fs::read(&weights).unwrap();
    let card = card(Some(name), 32, "gray", temperature);
    write_folder(folder, card, &bytes, Overwrite::Refused).unwrap();
}

/// A network of three channels for ONNX Runtime.
pub(crate) fn onnx_runtime(folder: &Path, seed: u64, provenance: &Value) {
    let network = Network::new(
        "small_resnet18_w8_s2_c3".parse().unwrap(),
        Head::Linear { classes: 7 },
        seed,
        Device::Cpu,
    );
    let options = OnnxOptions {
        width: 36,
        height: 36,
        fold_batch_norm: true,
    };
    let provenance = json!({"made_by": "export", "weights": provenance});
    let bytes = onnx(&network, options, Some(&provenance));
    write_folder(
        folder,
        card(None, 36, "rgb", 1.0),
        &bytes,
        Overwrite::Refused,
    )
    .unwrap();
}
