//! A command never overwrites its inputs, whatever its arguments.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use crate::command::{run_in, succeeded, was_refused};

/// Makes a folder of files, each with its name in it.
fn files(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    folder
}

/// Asserts that the command refuses to overwrite this file, and leaves it unchanged.
#[track_caller]
fn spared(folder: &TempDir, file: &str, command: &str) {
    let path = folder.path().join(file);
    let before = fs::read(&path).unwrap();
    let arguments: Vec<&str> = command.split(' ').collect();
    was_refused(run_in(folder.path(), &arguments), &["is read"]);
    assert_eq!(fs::read(&path).unwrap(), before, "{command}");
}

#[test]
fn logits_never_replace_the_inputs_or_the_model() {
    let model = ["m/card.yaml", "m/model.onnx"];
    let folder = files(&[
        "x.npy",
        "part.npy.part",
        "w.safetensors",
        model[0],
        model[1],
    ]);
    let path = |name: &str| folder.path().join(name);
    symlink("x.npy", path("link.npy")).unwrap();
    fs::hard_link(path("x.npy"), path("hard.npy")).unwrap();
    fs::create_dir(path("sub")).unwrap();
    let infer = "infer --arch resnet18 --weights w.safetensors --input";
    for output in ["x.npy", "./x.npy", "sub/../x.npy", "link.npy", "hard.npy"] {
        spared(
            &folder,
            "x.npy",
            &format!("{infer} x.npy --output {output}"),
        );
        spared(
            &folder,
            "x.npy",
            &format!("{infer} {output} --output x.npy"),
        );
    }
    let absolute = path("x.npy").display().to_string();
    spared(
        &folder,
        "x.npy",
        &format!("{infer} x.npy --output {absolute}"),
    );
    let of_part = format!("{infer} part.npy.part --output part.npy");
    spared(&folder, "part.npy.part", &of_part);
    let weights = format!("{infer} x.npy --output w.safetensors");
    spared(&folder, "w.safetensors", &weights);
    for file in model {
        let command = format!("infer --model m --input x.npy --output {file}");
        spared(&folder, file, &command);
    }
}

#[test]
fn a_folder_that_is_replaced_holds_nothing_that_is_read() {
    let folder = files(&[
        "m/card.yaml",
        "m/model.safetensors",
        "m/below/w.safetensors",
        "card.yaml",
        "t/table.csv",
        "t/faces.npz",
    ]);
    symlink("m", folder.path().join("link")).unwrap();
    for output in ["m", "./m", "link"] {
        let of_model = format!("export --model m --output {output} --overwrite");
        spared(&folder, "m/model.safetensors", &of_model);
        let of_weights = format!(
            "export --arch resnet18 --weights m/below/w.safetensors --card card.yaml --output {output} --overwrite"
        );
        spared(&folder, "m/below/w.safetensors", &of_weights);
    }
    let unpack = "manifest unpack t/faces.npz --out t --overwrite";
    spared(&folder, "t/faces.npz", unpack);
}

#[test]
fn manifests_tables_and_pictures_stay() {
    let folder = files(&[
        "manifest.csv",
        "label_noise.json",
        "photos/happy/a.jpg",
        "mapping.yaml",
    ]);
    symlink("manifest.csv", folder.path().join("link.csv")).unwrap();
    for output in ["manifest.csv", "link.csv"] {
        for command in ["stats", "fold --folds 2", "validate"] {
            let command = format!("manifest {command} manifest.csv --out {output}");
            spared(&folder, "manifest.csv", &command);
        }
    }
    let noise = "manifest noise link.csv --share 0.5 --out . --overwrite";
    spared(&folder, "manifest.csv", noise);
    let list = "manifest list photos --out photos/happy/a.jpg";
    spared(&folder, "photos/happy/a.jpg", list);
    for recipe in [
        "parts: [{mapping: mapping.yaml, table: manifest.csv, images: photos}]",
        "manifests: [{manifest: link.csv}]",
    ] {
        fs::write(folder.path().join("recipe.yaml"), recipe).unwrap();
        let make = "manifest make recipe.yaml --out . --overwrite";
        spared(&folder, "manifest.csv", make);
    }
    fs::write(folder.path().join("pairs.csv"), "a manifest").unwrap();
    spared(&folder, "pairs.csv", "manifest audit pairs.csv --out .");
    let predictions = "manifest audit manifest.csv --predictions pairs.csv --out .";
    spared(&folder, "pairs.csv", predictions);
}

#[test]
fn predictions_and_tables_of_runs_stay() {
    let folder = files(&[
        "e/predictions.npz",
        "e/per_class.csv",
        "models.csv",
        "m/card.yaml",
        "kpi.html",
    ]);
    for (file, command) in [
        (
            "e/predictions.npz",
            "evaluate --predictions p.csv --compare e/predictions.npz --out e",
        ),
        (
            "e/predictions.npz",
            "evaluate --predictions p.csv --calibrate-on e/predictions.npz --out e",
        ),
        (
            "e/per_class.csv",
            "evaluate --predictions e/per_class.csv --out ./e",
        ),
        (
            "models.csv",
            "evaluate --compare a=models.csv b=models.csv --out .",
        ),
        (
            "m/card.yaml",
            "calibrate --predictions m/card.yaml --model m",
        ),
        ("kpi.html", "kpi kpi.html --out ."),
    ] {
        spared(&folder, file, command);
    }
    // An evaluation's own predictions may be evaluated again in place.
    crate::learning::table(&folder.path().join("p.csv"), 2);
    let evaluate = |command: &str| {
        let arguments: Vec<&str> = command.split(' ').collect();
        succeeded(run_in(folder.path(), &arguments))
    };
    let classes = "--classes happy,sad";
    let once = evaluate(&format!("evaluate --predictions p.csv {classes} --out f"));
    let kept = fs::read(folder.path().join("f/predictions.npz")).unwrap();
    let again = evaluate(&format!(
        "evaluate --predictions f/predictions.npz {classes} --out f"
    ));
    assert_eq!(once, again);
    assert_eq!(
        fs::read(folder.path().join("f/predictions.npz")).unwrap(),
        kept
    );
}
