//! ONNX Runtime compared with libtorch, and folders that are complete or absent.

use std::sync::OnceLock;

use fermata_vision::ModelCard;
use ort::environment::Environment;
use ort::session::Session;
use ort::value::TensorRef;
use serde_json::json;
use tch::{Kind, Tensor, no_grad};

use super::*;
use crate::network::tests::{hashed, images, small};
use crate::network::{Architecture, Head, Mode};

const SEVEN: Head = Head::Linear { classes: 7 };

/// Returns the process's ONNX Runtime environment, of which there may be only one.
fn environment() -> Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    let build = || {
        let library = std::env::var("ORT_DYLIB_PATH").expect("cargo sets it");
        ort::init_from(library).unwrap().build().unwrap()
    };
    ENVIRONMENT.get_or_init(build).clone()
}

/// Runs a session on an input.
fn with_onnx_runtime(session: &mut Session, input: &Tensor) -> Tensor {
    let mut values = vec![0f32; input.numel()];
    let count = values.len();
    input.contiguous().copy_data(&mut values, count);
    let value = TensorRef::from_array_view((input.size(), values.as_slice())).unwrap();
    let outputs = session.run(ort::inputs![INPUT => value]).unwrap();
    let (shape, logits) = outputs[OUTPUT].try_extract_tensor::<f32>().unwrap();
    Tensor::from_slice(logits).reshape(&shape[..])
}

fn agrees_with_libtorch(architecture: Architecture) {
    tch::set_num_threads(1);
    for head in [
        SEVEN,
        Head::ArcFace {
            classes: 5,
            scale: 30.0,
        },
    ] {
        let network = hashed(architecture, head);
        for (size, fold_batch_norm) in [(64, false), (65, true)] {
            let options = OnnxOptions {
                width: size,
                height: size,
                fold_batch_norm,
            };
            let bytes = onnx(&network, options, None);
            let mut session = Session::builder(&environment())
                .unwrap()
                .with_intra_threads(1)
                .unwrap();
            let mut session = session.commit_from_memory(&bytes).unwrap();
            let input = images(architecture, 3, size);
            for input in [input.slice(0, 0, 1, 1), input] {
                let expected = no_grad(|| network.forward(&input, Mode::Evaluation).unwrap());
                let logits = with_onnx_runtime(&mut session, &input);
                assert_eq!(logits.size(), expected.size());
                let difference = (logits - expected).abs().max().double_value(&[]);
                println!("{architecture} {head:?} {options:?}: {difference:.2e}");
                assert!(
                    difference <= 1e-4,
                    "{architecture} {head:?} {options:?}: {difference}"
                );
            }
        }
    }
}

#[test]
fn resnet18_is_the_same_in_onnx_runtime() {
    agrees_with_libtorch(Architecture::ResNet18);
}

#[test]
fn tf_efficientnet_b3_is_the_same_in_onnx_runtime() {
    agrees_with_libtorch(Architecture::EfficientNetB3);
}

#[test]
fn convnext_tiny_is_the_same_in_onnx_runtime() {
    agrees_with_libtorch(Architecture::ConvNextTiny);
}

#[test]
fn mobilenetv3_large_100_is_the_same_in_onnx_runtime() {
    agrees_with_libtorch(Architecture::MobileNetV3Large);
}

#[test]
fn the_small_network_is_the_same_in_onnx_runtime() {
    agrees_with_libtorch(small(32, 2, 1));
    agrees_with_libtorch(small(16, 1, 3));
}

#[test]
fn folding_leaves_no_batch_normalisation_and_the_same_export_gives_the_same_bytes() {
    let network = hashed(Architecture::MobileNetV3Large, SEVEN);
    let mut options = OnnxOptions {
        width: 64,
        height: 64,
        fold_batch_norm: true,
    };
    let provenance = json!({"run": "x"});
    let folded = onnx(&network, options, Some(&provenance));
    assert!(folded == onnx(&network, options, Some(&provenance)));
    options.fold_batch_norm = false;
    let unfolded = onnx(&network, options, Some(&provenance));
    let norms = |bytes: &[u8]| {
        let graph = Model::decode(bytes).unwrap().graph.unwrap();
        graph
            .node
            .iter()
            .filter(|node| node.op_type == "BatchNormalization")
            .count()
    };
    assert_eq!(norms(&folded), 0);
    assert!(norms(&unfolded) > 40);
    let metadata = Model::decode(&folded[..]).unwrap().metadata_props;
    assert_eq!(
        (metadata[0].key.as_str(), metadata[0].value.as_str()),
        ("fermata", r#"{"run":"x"}"#)
    );
}

fn card() -> ModelCard {
    let text = "\
input: {name: input, size: 64, layout: nchw, colour: rgb}
interpolation: linear
scaling: [{divide: 255}]
output: {name: logits, kind: logits, classes: [angry, disgust, fear, happy, sad, surprise, neutral]}
licence: MIT
source: a test
";
    ModelCard::parse(text, std::path::Path::new("card.yaml")).unwrap()
}

#[test]
fn a_folder_is_written_whole_and_loads() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("model");
    let network = hashed(Architecture::ResNet18, SEVEN);
    let options = OnnxOptions {
        width: 64,
        height: 64,
        fold_batch_norm: true,
    };
    let weights = onnx(&network, options, None);
    let model = write_folder(&folder, card(), &weights, Overwrite::Refused).unwrap();
    assert_eq!(std::fs::read(model.weights.path()).unwrap(), weights);

    let error = write_folder(&folder, card(), b"other", Overwrite::Refused).unwrap_err();
    let told = error.to_string();
    assert!(
        told.contains("is there already; replace it with --overwrite"),
        "{told}"
    );
    assert_eq!(std::fs::read(model.weights.path()).unwrap(), weights);
    write_folder(&folder, card(), b"other", Overwrite::Allowed).unwrap();
    assert_eq!(std::fs::read(model.weights.path()).unwrap(), b"other");
    assert_eq!(
        std::fs::read_dir(parent.path()).unwrap().count(),
        1,
        "nothing is left beside"
    );
}

#[test]
fn a_folder_that_is_no_model_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
    let error = write_folder(folder.path(), card(), b"x", Overwrite::Allowed).unwrap_err();
    assert!(error.to_string().contains("model's folder"), "{error}");
    assert!(folder.path().join("thesis.txt").exists());
}

#[test]
fn an_export_changes_nothing() {
    let network = hashed(Architecture::ResNet18, SEVEN);
    let before: f64 = sum(&network);
    let options = OnnxOptions {
        width: 64,
        height: 64,
        fold_batch_norm: true,
    };
    onnx(&network, options, None);
    assert_eq!(sum(&network), before);
}

fn sum(network: &Network) -> f64 {
    let tensors = network.tensors().iter();
    tensors
        .map(|named| named.tensor.sum(Kind::Double).double_value(&[]))
        .sum()
}
