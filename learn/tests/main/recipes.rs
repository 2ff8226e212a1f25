//! Recipes that take rows of existing manifests: their groups, and rows that are not taken.

use std::fs;
use std::path::Path;

use fermata_learn::manifest::{COLUMNS, CleanReport, Manifest, Reason, Recipe};
use fermata_learn::predictions::Predictions;
use fermata_learn::row_hash::RowHash;
use fermata_vision::Expression;
use sha2::{Digest, Sha256};

use crate::pictures::blobs;

/// Writes a manifest and its pictures of 48 × 48 pixels: file name, seed, source and group of each row. All are happy,
/// and in train.
fn manifest(path: &Path, rows: &[(&str, u64, &str, &str)]) {
    let folder = path.parent().unwrap();
    fs::create_dir_all(folder).unwrap();
    let mut text = format!("{}\n", COLUMNS.join(","));
    for &(name, seed, source, group) in rows {
        blobs(seed, 48).save(folder.join(name)).unwrap();
        let digest = Sha256::digest(fs::read(folder.join(name)).unwrap());
        text += &format!("{name},happy,{source},train,{group},{digest:x},48,48\n");
    }
    fs::write(path, text).unwrap();
}

/// Makes the manifest of a recipe that imports these manifests.
fn make(folder: &Path, manifests: &str) -> Result<(Manifest, CleanReport), String> {
    let folder = folder.canonicalize().unwrap();
    let path = folder.join("recipe.yaml");
    fs::write(&path, format!("manifests: [{manifests}]\n")).unwrap();
    let recipe = Recipe::read(&path).map_err(|error| error.to_string())?;
    recipe
        .make(&folder, &folder)
        .map_err(|error| error.to_string())
}

/// Returns the images of the rows in the manifest.
fn kept(manifest: &Manifest) -> Vec<&str> {
    let rows = manifest.rows.iter();
    rows.map(|row| row.image.to_str().unwrap()).collect()
}

/// Returns image and reason of the removed rows.
fn removed(report: &CleanReport) -> Vec<(&str, Reason)> {
    let removed = report.removed.iter();
    removed
        .map(|removed| (removed.image.as_str(), removed.reason))
        .collect()
}

#[test]
fn a_group_stays_together_when_one_of_its_rows_is_removed_as_a_duplicate() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    manifest(
        &at("one/all.csv"),
        &[("a.png", 1, "web", "p"), ("b.png", 2, "web", "p")],
    );
    // The first picture is also in the other manifest, in another group.
    manifest(
        &at("two/all.csv"),
        &[
            ("x.png", 1, "lab", "q"),
            ("y.png", 3, "lab", "q"),
            ("z.png", 4, "lab", "r"),
        ],
    );
    let both = "{manifest: one/all.csv}, {manifest: two/all.csv}";
    let (made, report) = make(folder.path(), both).unwrap();
    assert_eq!(
        kept(&made),
        ["one/a.png", "one/b.png", "two/y.png", "two/z.png"]
    );
    assert_eq!(removed(&report), [("two/x.png", Reason::SameBytes)]);
    let groups: Vec<&str> = made.rows.iter().map(|row| row.group.as_str()).collect();
    assert_eq!((groups[1], groups[2]), (groups[0], groups[0]));
    assert_ne!(groups[3], groups[0]);
}

#[test]
fn rows_that_are_not_taken_have_no_label_policy() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let web = ("a.png", 1, "web", "p");
    manifest(&at("all/words.csv"), &[web, ("b.png", 2, "lab", "q")]);
    // The same file under another policy, and a copy of it.
    manifest(&at("all/votes.csv"), &[web]);
    manifest(&at("copied/votes.csv"), &[web]);
    for other in ["all/votes.csv", "copied/votes.csv"] {
        let image = Path::new(other).with_file_name("a.png");
        let make = |keep: &str| {
            let manifests =
                format!("{{manifest: all/words.csv, keep: {keep}}}, {{manifest: {other}}}");
            make(folder.path(), &manifests)
        };
        let error = make("{}").unwrap_err();
        assert!(error.contains("under two policies"), "{other}: {error}");

        let (made, report) = make("{sources: [lab]}").unwrap();
        assert_eq!(kept(&made), ["all/b.png", image.to_str().unwrap()]);
        assert_eq!(removed(&report), [("all/a.png", Reason::Source)]);

        let (made, report) = make("{shorter_side: 64}").unwrap();
        assert_eq!(kept(&made), [image.to_str().unwrap()]);
        let small = ["all/a.png", "all/b.png"].map(|image| (image, Reason::Size));
        assert_eq!(removed(&report), small);
    }
}

#[test]
fn rows_that_are_not_taken_need_neither_image_nor_prediction() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    manifest(
        &at("all/words.csv"),
        &[
            ("gone.png", 1, "web", "p"),
            ("b.png", 2, "lab", "q"),
            ("c.png", 3, "lab", "r"),
            ("c_again.png", 3, "lab", "r"),
        ],
    );
    fs::remove_file(at("all/gone.png")).unwrap();
    let error = make(folder.path(), "{manifest: all/words.csv}").unwrap_err();
    assert!(error.contains("1 images cannot be read"), "{error}");

    let of_lab = "{manifest: all/words.csv, keep: {sources: [lab]}}";
    let (made, report) = make(folder.path(), of_lab).unwrap();
    assert_eq!(kept(&made), ["all/b.png", "all/c.png"]);
    let out = [
        ("all/gone.png", Reason::Source),
        ("all/c_again.png", Reason::SameBytes),
    ];
    assert_eq!(removed(&report), out);
    assert_eq!(report.removed[1].because_of.as_deref(), Some("all/c.png"));

    // Models that are unsure of `b.png`, and were not asked about the other source.
    let classes = Expression::ALL.map(|label| label.name().to_owned());
    let happy = Expression::ALL.map(|label| if label == Expression::Happy { 4.0 } else { 0.0 });
    let logits = [[0.0; 7], happy].concat();
    let place = Expression::ALL
        .iter()
        .position(|&label| label == Expression::Happy);
    let said = Predictions::new(classes.to_vec(), logits, &[place.unwrap() as i64; 2]).unwrap();
    let hashes =
        ["all/b.png", "all/c.png"].map(|name| RowHash::digest(&fs::read(at(name)).unwrap()));
    let said = said.with_hashes(hashes.to_vec());
    said.write_npz(&at("said.npz")).unwrap();
    let sure = "{manifest: all/words.csv, keep: {sources: [lab], confidence: {predictions: {files: [said.npz], at_least: 0.5}}}}";
    let (made, report) = make(folder.path(), sure).unwrap();
    assert_eq!(kept(&made), ["all/c.png"]);
    let out = [
        ("all/gone.png", Reason::Source),
        ("all/b.png", Reason::Confidence),
        ("all/c_again.png", Reason::SameBytes),
    ];
    assert_eq!(removed(&report), out);
}
