//! The commands for models and predictions as a new user meets them. The numbers themselves are tested in the crate.

mod inferred;

use std::path::Path;
use std::process::Command;

use fermata_learn::export::{Overwrite, write_folder};
use fermata_learn::manifest::COLUMNS;
use fermata_learn::network::{Architecture, Head, Network};
use fermata_learn::npz::Npz;
use fermata_vision::{Expression, ModelCard};
use image::{GrayImage, Luma};
use tch::Device;

use crate::command::{refused, run};
use crate::support::fermata;

/// Writes predictions of two classes: `right` rows of three are right.
pub(crate) fn table(path: &Path, right: usize) {
    let mut text = "image,label,logit_happy,logit_sad\n".to_owned();
    for row in 0..30 {
        let logit = if row % 3 < right { 2.0 } else { -1.0 };
        text += &format!("{row}.png,happy,{logit},0\n");
    }
    std::fs::write(path, text).unwrap();
}

/// Writes an `.npy` file of zeros.
pub(crate) fn zeros(path: &Path, shape: &[usize]) {
    let dimensions = shape
        .iter()
        .map(|side| format!("{side},"))
        .collect::<String>();
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({dimensions}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.into_bytes());
    bytes.resize(bytes.len() + 4 * shape.iter().product::<usize>(), 0);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn the_live_program_does_not_link_to_libtorch() {
    let libraries = |program: &Path| {
        let output = Command::new("ldd").arg(program).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let live = Path::new(fermata());
    assert!(!libraries(live).contains("libtorch"));
    assert!(libraries(&live.with_file_name("fermata-learn")).contains("libtorch"));
}

#[test]
fn networks_are_described() {
    let (code, text, _) = run(&["models", "describe", "resnet18", "--classes", "1000"]);
    assert_eq!(code, 0);
    assert!(
        text.contains("11689512") && text.contains("3.628"),
        "{text}"
    );
    refused(
        &["models", "describe", "vgg"],
        &["no network `vgg`", "convnext_tiny"],
    );
    for [option, value] in [
        ["--size", "8"],
        ["--size", "65537"],
        ["--size", "3000000000"],
        ["--classes", "1"],
        ["--classes", "9223372036854775807"],
    ] {
        refused(
            &["models", "describe", option, value],
            &[
                "at least 32 pixels and 2 classes",
                "at most 65536 and 1000000",
            ],
        );
    }
}

#[test]
fn predictions_are_evaluated_calibrated_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    table(&folder.path().join("test.csv"), 2);
    table(&folder.path().join("other.csv"), 1);
    // The same rows in another order still match the evaluated rows.
    let test = std::fs::read_to_string(path("test.csv")).unwrap();
    let (header, rows) = test.split_once('\n').unwrap();
    let turned: Vec<&str> = rows.lines().rev().collect();
    std::fs::write(
        path("turned.csv"),
        format!("{header}\n{}\n", turned.join("\n")),
    )
    .unwrap();
    refused(
        &[
            "evaluate",
            "--predictions",
            &path("test.csv"),
            "--calibrate-on",
            &path("turned.csv"),
            "--out",
            &path("out"),
        ],
        &["30 of the 30 rows", "never fitted on those"],
    );
    let mut validation = test
        .replace(",happy,2,", ",happy,2.1,")
        .replace(",happy,-1,", ",happy,-1.05,");
    validation.push_str("30.png,sad,0,1\n");
    std::fs::write(path("validation.csv"), validation).unwrap();
    let (code, text, errors) = run(&[
        "evaluate",
        "--predictions",
        &path("test.csv"),
        "--calibrate-on",
        &path("validation.csv"),
        "--compare",
        &path("other.csv"),
        "--out",
        &path("out"),
    ]);
    assert_eq!(code, 0, "{errors}");
    assert!(text.contains("accuracy          0.6667"), "{text}");
    assert!(text.contains("right only here 10, only there 0"), "{text}");
    let json = std::fs::read_to_string(path("out/metrics.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json["raw"]["metrics"]["confusion"],
        serde_json::json!([[20, 10], [0, 0]])
    );
    assert!(json["scaled"]["metrics"]["nll"].as_f64() < json["raw"]["metrics"]["nll"].as_f64());
    for name in [
        "per_class.csv",
        "confusion.svg",
        "reliability.svg",
        "reliability_scaled.svg",
    ] {
        assert!(Path::new(&path(&format!("out/{name}"))).is_file(), "{name}");
    }
    // Another evaluation in the same folder has nothing of this one, even if it ends early.
    let asked = [
        "evaluate",
        "--predictions",
        &path("other.csv"),
        "--out",
        &path("out"),
    ];
    let is_there = |name: &str| Path::new(&path(&format!("out/{name}"))).is_file();
    std::fs::remove_file(path("out/per_class.csv")).unwrap();
    std::fs::create_dir(path("out/per_class.csv")).unwrap();
    assert_ne!(run(&asked).0, 0);
    assert!(is_there("predictions.npz") && !is_there("metrics.json"));
    std::fs::remove_dir(path("out/per_class.csv")).unwrap();
    let (code, _, errors) = run(&asked);
    assert_eq!(code, 0, "{errors}");
    assert!(is_there("metrics.json") && is_there("reliability.svg"));
    assert!(!is_there("reliability_scaled.svg"));
    let (code, text, _) = run(&["calibrate", "--predictions", &path("validation.csv")]);
    assert!(code == 0 && text.contains("on 31 rows"), "{text}");
}

/// Writes seven pictures for each split, one of each expression, and their manifest.
fn pictures(folder: &Path) -> String {
    let mut text = format!("{}\n", COLUMNS.join(","));
    for (number, split) in ["validation", "test"].into_iter().enumerate() {
        for (class, label) in Expression::ALL.into_iter().enumerate() {
            let name = format!("{split}{class}.png");
            let path = folder.join(&name);
            let value =
                |x: u32, y: u32| Luma([(x * 3 + y * class as u32 + 40 * number as u32) as u8]);
            GrayImage::from_fn(40, 36, value).save(&path).unwrap();
            let digest = fermata_files::sha256_of_file(&path).unwrap();
            text += &format!("{name},{label},a test,{split},{name},{digest},40,36\n");
        }
    }
    let path = folder.join("manifest.csv");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_manifest_is_made_and_passes_until_something_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    pictures(folder.path());
    let mapping = "source: web\npolicy: words\nimage: '{image}'\nlabel:\n  column: {name: label, values: {glad: happy, sad: sad}}\n";
    std::fs::write(path("mapping.yaml"), mapping).unwrap();
    let table = "image,label\ntest0.png,glad\ntest3.png,sad\ntest5.png,\n";
    std::fs::write(path("table.csv"), table).unwrap();
    let recipe = "parts: [{mapping: mapping.yaml, table: table.csv, images: ., split: test}]\n";
    std::fs::write(path("recipe.yaml"), recipe).unwrap();
    let (recipe, out) = (path("recipe.yaml"), path("made"));

    std::fs::write(path("table.csv"), table.replace("sad", "bored")).unwrap();
    refused(
        &["manifest", "make", &recipe, "--out", &out],
        &["line 3", "`label` is `bored`"],
    );
    assert!(!Path::new(&out).exists());
    std::fs::write(path("table.csv"), table).unwrap();
    let (code, text, errors) = run(&["manifest", "make", &recipe, "--out", &out]);
    assert!(
        code == 0 && text.starts_with("3 rows in, 2 out\n  left out, policy: 1"),
        "{text}{errors}"
    );
    assert!(Path::new(&path("made/clean_report.json")).is_file());
    let made = path("made/manifest.csv");
    refused(
        &["manifest", "make", &recipe, "--out", &out],
        &["is there already; --overwrite"],
    );

    let (code, text, _) = run(&["manifest", "validate", &made]);
    assert!(
        code == 0 && text.starts_with("2 rows, 2 images checked"),
        "{text}"
    );
    std::fs::remove_file(folder.path().join("test3.png")).unwrap();
    refused(
        &["manifest", "validate", &made],
        &["has 1 problems and must not be used"],
    );
    let found = std::fs::read_to_string(path("made/manifest_validation.json")).unwrap();
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["problems"], serde_json::json!({"missing": 1}));
    refused(
        &["manifest", "validate", &path("none.csv")],
        &["cannot read", "none.csv"],
    );
}

/// Writes a model folder with a new network whose weights record the scale of its head.
fn model(folder: &Path) -> String {
    let head = Head::ArcFace {
        classes: 7,
        scale: 12.0,
    };
    let network = Network::new(Architecture::ResNet18, head, 3, Device::Cpu);
    let weights = folder.join("w.safetensors");
    let training = serde_json::json!({"training": {"head": {"arcface": {"scale": 12.0}}}});
    network.save(&weights, Some(training)).unwrap();
    let text = format!(
        "architecture: resnet18
input: {{name: input, size: 32, layout: nchw, colour: rgb}}
interpolation: area
scaling: [{{divide: 255}}]
output: {{name: logits, kind: logits, classes: [angry, disgust, fear, happy, sad, surprise, neutral]}}
licence: none
source: a test
sha256: '{}'
",
        "0".repeat(64)
    );
    let card = ModelCard::parse(&text, Path::new("card.yaml")).unwrap();
    let bytes = std::fs::read(&weights).unwrap();
    let model = write_folder(&folder.join("model"), card, &bytes, Overwrite::Refused).unwrap();
    model.folder.display().to_string()
}

#[test]
fn a_model_is_evaluated_on_a_manifests_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (manifest, model, out) = (pictures(folder.path()), model(folder.path()), path("out"));
    let asked = [
        "evaluate",
        "--model",
        &model,
        "--manifest",
        &manifest,
        "--out",
        &out,
    ];
    let with = |more: &[&'static str]| [&asked[..], more].concat();
    refused(
        &with(&["--split", "train"]),
        &["no rows of the split train"],
    );
    refused(&with(&["--split", "half"]), &["unknown split `half`"]);
    refused(
        &with(&["--calibrate-on", "test"]),
        &["never fitted on those"],
    );
    refused(&with(&["--device", "cuda:99"]), &["no device cuda:99: "]);
    refused(&with(&["--predictions", "p.csv"]), &["cannot be used with"]);
    refused(&asked[..3], &["--manifest"]);
    assert!(!Path::new(&out).exists());

    let (code, text, errors) = run(&with(&["--calibrate-on", "validation"]));
    assert!(code == 0 && text.contains("\n7 rows\n"), "{text}{errors}");
    let json = std::fs::read_to_string(path("out/metrics.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["source"]["split"], "test");
    assert!(json["temperature"]["value"].as_f64().unwrap() > 0.0);
    // The predictions it leaves are the ones it measured.
    let predictions = path("out/predictions.npz");
    let (code, _, errors) = run(&[
        "evaluate",
        "--predictions",
        &predictions,
        "--out",
        &path("again"),
    ]);
    assert_eq!(code, 0, "{errors}");
    let again = std::fs::read_to_string(path("again/metrics.json")).unwrap();
    let again: serde_json::Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["raw"]["metrics"], json["raw"]["metrics"]);
    // Cosines times the scale recorded in the file.
    let logits = Npz::open(Path::new(&predictions))
        .unwrap()
        .floats("logits")
        .unwrap();
    let largest = logits
        .values
        .iter()
        .fold(0f32, |most, logit| most.max(logit.abs()));
    assert!(largest > 0.1 && largest <= 12.0, "{largest}");

    std::fs::remove_file(folder.path().join("test3.png")).unwrap();
    // All unreadable images are named, and no predictions are written for the others.
    std::fs::write(folder.path().join("test5.png"), "no picture").unwrap();
    let out = path("broken");
    let asked = [&asked[..6], &[out.as_str()]].concat();
    let (code, text, errors) = run(&asked);
    assert_eq!(code, 1, "{text}{errors}");
    for words in ["2 images cannot be read", "test3.png: ", "test5.png: "] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let list = std::fs::read_to_string(Path::new(&out).join("predictions_failed.jsonl")).unwrap();
    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(!Path::new(&out).join("predictions.npz").exists());
    assert!(!Path::new(&out).join("metrics.json").exists());
}

/// Writes a model folder with a new network for one gray channel, and its weights, which record their training.
fn gray_model(folder: &Path) -> (String, String, String) {
    let name = "small_resnet18_w8_s2_c1";
    let head = Head::ArcFace {
        classes: 7,
        scale: 12.0,
    };
    let network = Network::new(name.parse().unwrap(), head, 3, Device::Cpu);
    let weights = folder.join("gray.safetensors");
    let training = serde_json::json!({
        "architecture": name, "seed": 5, "manifest_sha256": "abc",
        "training": {"head": {"arcface": {"scale": 12.0}}}
    });
    network.save(&weights, Some(training)).unwrap();
    let card = folder.join("gray.yaml");
    let text = "input: {name: input, size: 48, layout: nchw, colour: gray}
interpolation: area
scaling: [{divide: 255}]
output: {name: logits, kind: logits, classes: [angry, disgust, fear, happy, sad, surprise, neutral]}
licence: none
source: a test
";
    std::fs::write(&card, text).unwrap();
    let model = folder.join("gray").display().to_string();
    (
        weights.display().to_string(),
        card.display().to_string(),
        model,
    )
}

#[test]
fn a_model_with_one_channel_is_exported_inspected_and_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = pictures(folder.path());
    let (weights, card, model) = gray_model(folder.path());
    let export = |arch: &str| {
        run(&[
            "export",
            "--arch",
            arch,
            "--weights",
            &weights,
            "--card",
            &card,
            "--output",
            &model,
        ])
    };
    // The stem's stride is not visible in the tensors.
    let (code, _, errors) = export("small_resnet18_w8_s1_c1");
    assert!(
        code == 2 && errors.contains("is a checkpoint of small_resnet18_w8_s2_c1"),
        "{errors}"
    );
    let (code, _, errors) = export("small_resnet18_w8_s2_c3");
    assert!(
        code == 2 && errors.contains("it is a checkpoint of"),
        "{errors}"
    );
    let (code, _, errors) = export("small_resnet18_w8_s2_c1");
    assert_eq!(code, 0, "{errors}");
    let (code, text, errors) = run(&["inspect", &model]);
    assert_eq!(code, 0, "{errors}");
    for words in [
        "nchw [1, 48, 48], gray",
        "\"arcface_scale\": 12.0",
        "\"seed\": 5",
        "\"manifest_sha256\": \"abc\"",
        "the weights are those that the card describes",
    ] {
        assert!(
            text.to_lowercase().contains(words),
            "`{words}` is not in:\n{text}"
        );
    }
    let (code, text, _) = run(&["inspect", &manifest]);
    assert!(code == 0 && text.contains("14 rows"), "{text}");
    let (code, text, _) = run(&["inspect", &card]);
    assert!(code == 0 && text.contains("none yet"), "{text}");
    let out = folder.path().join("out").display().to_string();
    let (code, text, errors) = run(&[
        "evaluate",
        "--model",
        &model,
        "--manifest",
        &manifest,
        "--out",
        &out,
    ]);
    assert!(code == 0 && text.contains("\n7 rows\n"), "{text}{errors}");
}
