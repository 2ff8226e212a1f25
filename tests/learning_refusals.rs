//! What the commands for networks, weights and predictions refuse: with one clear line, and without leaving anything
//! half-written.

use std::path::Path;

use crate::command::{refused, run};
use crate::learning::{table, zeros};

#[test]
fn wrong_predictions_are_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    table(&folder.path().join("p.csv"), 2);
    table(&folder.path().join("all_right.csv"), 3);
    let out = path("out");
    let evaluate = |more: &[&str], words: &[&str]| {
        let mut arguments = vec!["evaluate", "--out", &out];
        arguments.extend(more);
        refused(&arguments, words);
        assert!(!Path::new(&out).exists(), "{words:?}");
    };
    let good = path("p.csv");
    evaluate(&["--predictions", &path("none.csv")], &["No such file"]);
    evaluate(
        &["--predictions", &good, "--calibrate-on", &good],
        &["never fitted on those"],
    );
    std::fs::write(
        path("short.csv"),
        "label,logit_happy,logit_sad\nhappy,1,0\n",
    )
    .unwrap();
    evaluate(
        &["--predictions", &good, "--compare", &path("short.csv")],
        &["not of the same rows: 1 and 30 rows"],
    );
    std::fs::write(
        path("nan.csv"),
        "label,logit_happy,logit_sad\nhappy,NaN,0\n",
    )
    .unwrap();
    evaluate(
        &["--predictions", &path("nan.csv")],
        &["row 0, class happy", "finite"],
    );
    refused(
        &["calibrate", "--predictions", &path("all_right.csv")],
        &["no best temperature"],
    );
}

#[test]
fn wrong_weights_inputs_and_devices_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (input, weights, output) = (path("x.npy"), path("w.safetensors"), path("y.npy"));
    zeros(Path::new(&input), &[1, 3, 64, 64]);
    std::fs::write(&weights, [16, 0, 0, 0, 0, 0, 0, 0, b'{']).unwrap();
    let infer = |arch: &str, input: &str, more: &[&str], words: &[&str]| {
        let mut arguments = vec![
            "infer",
            "--arch",
            arch,
            "--weights",
            &weights,
            "--input",
            input,
            "--output",
            &output,
        ];
        arguments.extend(more);
        refused(&arguments, words);
        assert!(!Path::new(&output).exists(), "{words:?}");
    };
    infer(
        "resnet18",
        &input,
        &[],
        &["w.safetensors is not a complete safetensors file"],
    );
    infer("resnet50", &input, &[], &["no network `resnet50`"]);
    infer(
        "resnet18",
        &input,
        &["--device", "cuda:99"],
        &["no device cuda:99: "],
    );
    infer(
        "resnet18",
        &input,
        &["--device", "gpu"],
        &["`gpu` is not a device"],
    );
    infer(
        "resnet18",
        &input,
        &["--backend", "onnxruntime"],
        &["is for libtorch"],
    );
    zeros(&folder.path().join("flat.npy"), &[3, 64]);
    infer(
        "resnet18",
        &path("flat.npy"),
        &[],
        &["has the shape [3, 64]; expected [N, C, H, W]"],
    );
    infer(
        "resnet18",
        &weights,
        &[],
        &["w.safetensors is not a complete npy file"],
    );
    refused(
        &[
            "infer",
            "--model",
            &path("none"),
            "--input",
            &input,
            "--output",
            &output,
        ],
        &["model card", "none/card.yaml"],
    );
    refused(
        &["infer", "--input", &input, "--output", &output],
        &["--model"],
    );
    refused(
        &["inspect", &weights],
        &["is not a complete safetensors file"],
    );
    std::fs::write(path("x.txt"), "").unwrap();
    refused(
        &["inspect", &path("x.txt")],
        &["none of .safetensors, .onnx, .npz, .npy"],
    );
    refused(
        &["inspect", &folder.path().display().to_string()],
        &["is not a folder of a training, a model"],
    );
    let (code, text, errors) = run(&["inspect", &input]);
    assert!(
        code == 0 && text.contains("<f4 [1, 3, 64, 64]"),
        "{text}{errors}"
    );
}
