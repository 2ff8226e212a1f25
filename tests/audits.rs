//! `fermata manifest audit`, and recipes that take a part of a manifest, as a new user meets them.

use std::path::Path;

use fermata_learn::manifest::{COLUMNS, Manifest};
use fermata_learn::predictions::Predictions;
use fermata_vision::Expression;
use image::{GrayImage, Luma};

use crate::command::{refused, run, succeeded};

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap()
}

pub(crate) fn json(path: &str) -> serde_json::Value {
    serde_json::from_str(&read(path)).unwrap()
}

/// Writes a picture that resembles no other seed's.
pub(crate) fn photo(path: &Path, seed: u32) {
    let value = |x: u32, y: u32| {
        let (x, y) = (x as f32 / 24.0, y as f32 / 24.0);
        let (a, b) = ((seed % 5 + 1) as f32, (seed % 7 + 2) as f32);
        let wave =
            (a * x + seed as f32).sin() * (b * y * 0.7).cos() + (a * b * 0.2 * (x + y)).sin();
        Luma([(128.0 + 60.0 * wave) as u8])
    };
    GrayImage::from_fn(64, 64, value).save(path).unwrap();
}

/// Writes a manifest of pictures in its folder: image, label, source, split.
fn manifest_of(path: &Path, rows: &[(&str, &str, &str, &str)]) -> String {
    let mut text = format!("{}\n", COLUMNS.join(","));
    for (number, (image, label, source, split)) in rows.iter().enumerate() {
        let digest = fermata_files::sha256_of_file(&path.with_file_name(image)).unwrap();
        text += &format!("{image},{label},{source},{split},g{number},{digest},64,64\n");
    }
    std::fs::write(path, text).unwrap();
    path.display().to_string()
}

#[test]
fn an_audit_finds_what_is_one_picture_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let path = |name: &str| at(name).display().to_string();
    for seed in 1..=4 {
        photo(&at(&format!("{seed}.png")), seed);
    }
    // The same bytes, and the same picture smaller.
    std::fs::copy(at("1.png"), at("1-copy.png")).unwrap();
    let small = image::open(at("2.png")).unwrap();
    let small = small.resize_exact(40, 40, image::imageops::FilterType::Triangle);
    small.save(at("2-small.png")).unwrap();
    let one = manifest_of(
        &at("one.csv"),
        &[
            ("1.png", "happy", "fer2013", "train"),
            ("1-copy.png", "happy", "fer2013", "test"),
            ("2.png", "sad", "fer2013", "train"),
            ("2-small.png", "fear", "fer2013", "train"),
            ("3.png", "fear", "fer2013", "train"),
        ],
    );
    let other = manifest_of(
        &at("other.csv"),
        &[
            ("1.png", "happy", "ferplus", "train"),
            ("3.png", "sad", "ferplus", "train"),
            ("4.png", "sad", "web", "train"),
        ],
    );
    let before = read(&one);
    let asked = ["manifest", "audit", &one, &other, "--out", &path("audit")];
    let text = succeeded(run(&asked));
    let found = json(&path("audit/audit.json"));
    assert_eq!(found["pictures"], 4);
    let counts = |place: &str| found["pairs_by_place"][place].clone();
    let expected = |same_bytes: usize, same_picture: usize, two_labels: usize| serde_json::json!({"same_bytes": same_bytes, "same_picture": same_picture, "two_labels": two_labels});
    assert_eq!(counts("within_split"), expected(0, 1, 1), "{text}");
    assert_eq!(counts("across_splits"), expected(1, 0, 0));
    assert_eq!(counts("across_manifests"), expected(2, 0, 1));
    assert_eq!(
        counts("across_manifests_and_splits"),
        serde_json::Value::Null
    );
    assert_eq!(
        found["shared_sources"],
        serde_json::json!([{
            "one": [&other, "ferplus"], "other": [&one, "fer2013"],
            "pictures": 2, "of": 2, "same_label": 1
        }])
    );
    let pairs = csv::Reader::from_path(path("audit/pairs.csv"))
        .unwrap()
        .records()
        .count();
    assert_eq!(pairs, 4);
    let sheet = image::open(path("audit/contact_sheet.png")).unwrap();
    assert!(sheet.width() == 1000 && sheet.height() > 300);
    assert!(read(&path("audit/audit.html")).contains("across splits, same bytes: 1 pairs"));
    assert_eq!(read(&one), before);

    // Files that cannot be read are counted and named.
    std::fs::write(at("4.png"), "no picture").unwrap();
    let text = succeeded(run(&asked));
    assert!(
        read(&path("audit/unreadable.txt")).contains("4.png"),
        "{text}"
    );
    assert_eq!(
        json(&path("audit/audit.json"))["manifests"][1]["unreadable_or_stale"],
        1
    );
    // Another audit in the same folder has nothing of this one, even if it ends early.
    photo(&at("4.png"), 4);
    succeeded(run(&asked));
    assert!(at("audit/audit.json").exists() && !at("audit/unreadable.txt").exists());
    std::fs::remove_file(at("audit/audit.html")).unwrap();
    std::fs::create_dir(at("audit/audit.html")).unwrap();
    assert_ne!(run(&asked).0, 0);
    assert!(at("audit/pairs.csv").exists() && !at("audit/audit.json").exists());
    refused(&["manifest", "audit", "--out", &path("x")], &["MANIFESTS"]);
    refused(
        &["manifest", "audit", &path("none.csv"), "--out", &path("x")],
        &["cannot read"],
    );
}

/// Writes a model's confident predictions of these classes for a manifest's rows.
fn predictions(path: &Path, manifest: &str, said: &[Expression]) {
    let manifest = Manifest::read(Path::new(manifest)).unwrap();
    let classes = Expression::ALL.map(|label| label.name().to_owned());
    let logits = said
        .iter()
        .flat_map(|&said| Expression::ALL.map(|label| if label == said { 4.0 } else { 0.0 }));
    let index = |label: Expression| Expression::ALL.iter().position(|&other| other == label);
    let labels: Vec<i64> = manifest
        .rows
        .iter()
        .map(|row| index(row.label).unwrap() as i64)
        .collect();
    let hash = |row: &fermata_learn::manifest::Row| row.sha256;
    let made = Predictions::new(classes.to_vec(), logits.collect(), &labels).unwrap();
    made.with_hashes(manifest.rows.iter().map(hash).collect())
        .write_npz(path)
        .unwrap();
}

#[test]
fn labels_that_models_contradict_are_listed_and_left_out_by_a_recipe() {
    use Expression::{Happy, Sad};
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let path = |name: &str| at(name).display().to_string();
    let mut rows = Vec::new();
    let names: Vec<String> = (1..=6).map(|seed| format!("{seed}.png")).collect();
    for (place, name) in names.iter().enumerate() {
        photo(&at(name), place as u32 + 1);
        let (label, source) = if place < 3 {
            ("happy", "web")
        } else {
            ("sad", "lab")
        };
        rows.push((name.as_str(), label, source, "train"));
    }
    let manifest = manifest_of(&at("all.csv"), &rows);
    predictions(
        &at("said.npz"),
        &manifest,
        &[Happy, Happy, Sad, Sad, Sad, Sad],
    );
    let text = succeeded(run(&[
        "manifest",
        "audit",
        &manifest,
        "--predictions",
        &path("said.npz"),
        "--out",
        &path("audit"),
    ]));
    assert!(text.contains("1 of 6 labels are likely wrong"), "{text}");
    let listed = read(&path("audit/label_errors.csv"));
    assert!(
        listed
            .lines()
            .nth(1)
            .unwrap()
            .contains("3.png,web,train,happy,sad"),
        "{listed}"
    );
    succeeded(run(&[
        "manifest",
        "audit",
        &manifest,
        "--out",
        &path("audit"),
    ]));
    assert!(!at("audit/label_errors.csv").exists(), "no model was asked");

    let recipe = |keep: &str| {
        let text = format!("manifests: [{{manifest: all.csv, keep: {keep}}}]\n");
        std::fs::write(at("recipe.yaml"), text).unwrap();
        let (recipe, out) = (path("recipe.yaml"), path("made"));
        run(&["manifest", "make", &recipe, "--out", &out, "--overwrite"])
    };
    let text = succeeded(recipe(
        "{confidence: {predictions: {files: [said.npz], at_least: 0.5}}}",
    ));
    assert!(
        text.starts_with("6 rows in, 5 out\n  left out, confidence: 1"),
        "{text}"
    );
    let report = json(&path("made/clean_report.json"));
    assert_eq!(report["removed"][0]["reason"], "confidence");
    assert_eq!(
        report["removed"][0]["image"]
            .as_str()
            .map(|name| name.ends_with("3.png")),
        Some(true)
    );
    let text = succeeded(recipe("{sources: [lab]}"));
    assert!(text.contains("left out, source: 3"), "{text}");
    let text = succeeded(recipe("{}"));
    assert!(text.starts_with("6 rows in, 6 out"), "{text}");
    let (code, _, errors) = recipe("{shorter_side: 65}");
    assert!(code == 2 && errors.contains("nothing is left"), "{errors}");
    let (code, _, errors) = recipe("{shorter: 65}");
    assert!(code == 2 && errors.contains("shorter"), "{errors}");
    // Predictions for other rows, and no predictions.
    photo(&at("9.png"), 9);
    let others = manifest_of(&at("others.csv"), &[("9.png", "sad", "web", "train")]);
    predictions(&at("others.npz"), &others, &[Sad]);
    let (code, _, errors) =
        recipe("{confidence: {predictions: {files: [others.npz], at_least: 0.5}}}");
    assert!(
        code == 2 && errors.contains("there is no prediction for"),
        "{errors}"
    );
    refused(
        &[
            "manifest",
            "audit",
            &manifest,
            "--predictions",
            &path("others.npz"),
            "--out",
            &path("x"),
        ],
        &["none of the manifests' rows is among the predictions"],
    );
}

#[test]
fn pictures_outside_a_manifests_folder_are_named_from_it_wherever_the_tree_lies() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = [
        "data/manifest.csv",
        "deep/er/noisy/manifest.csv",
        "again/manifest.csv",
    ];
    let made_at = |root: &str| {
        let at = |name: &str| folder.path().join(root).join(name).display().to_string();
        for (number, name) in ["glad", "sad"].into_iter().enumerate() {
            std::fs::create_dir_all(at(&format!("photos/{name}"))).unwrap();
            photo(
                at(&format!("photos/{name}/1.png")).as_ref(),
                number as u32 + 1,
            );
        }
        succeeded(run(&[
            "manifest",
            "list",
            &at("photos"),
            "--out",
            &at("photos.csv"),
        ]));
        let mapping = "source: photos\npolicy: folder\nimage: '{image}'\nlabel:\n  column: {name: label, values: {glad: happy, sad: sad}}\n";
        std::fs::write(at("photos.yaml"), mapping).unwrap();
        let recipe =
            "parts: [{mapping: photos.yaml, table: photos.csv, images: photos, split: train}]\n";
        std::fs::write(at("recipe.yaml"), recipe).unwrap();
        succeeded(run(&[
            "manifest",
            "make",
            &at("recipe.yaml"),
            "--out",
            &at("data"),
        ]));
        let noisy = [
            "manifest",
            "noise",
            &at(manifests[0]),
            "--share",
            "0",
            "--out",
            &at("deep/er/noisy"),
        ];
        succeeded(run(&noisy));
        // A manifest of a manifest whose pictures lie outside it.
        std::fs::write(
            at("taken.yaml"),
            "manifests: [{manifest: deep/er/noisy/manifest.csv}]\n",
        )
        .unwrap();
        succeeded(run(&[
            "manifest",
            "make",
            &at("taken.yaml"),
            "--out",
            &at("again"),
        ]));
        let written = manifests.iter().chain(&["data/clean_report.json"]);
        written.map(|name| read(&at(name))).collect::<Vec<_>>()
    };
    let first = made_at("here");
    assert!(
        first[0].contains("\n../photos/glad/1.png,happy,"),
        "{}",
        first[0]
    );
    assert!(
        first[1].contains("\n../../../photos/glad/1.png,"),
        "{}",
        first[1]
    );
    assert!(first[2].contains("\n../photos/glad/1.png,"), "{}", first[2]);
    assert_eq!(
        first,
        made_at("else/where"),
        "bytes depend on where the tree lies"
    );
    std::fs::rename(folder.path().join("here"), folder.path().join("moved")).unwrap();
    for name in manifests {
        let moved = folder.path().join("moved").join(name);
        succeeded(run(&["manifest", "validate", &moved.display().to_string()]));
    }
}
