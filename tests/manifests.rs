//! The commands for manifests as a new user meets them. What counts as one picture, and what a recipe leaves out, is
//! tested in the crate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fermata_learn::folds::fold_of;
use fermata_learn::manifest::{Manifest, Split};
use fermata_vision::Expression;

use crate::audits::{photo, read};
use crate::command::{refused, run, succeeded};

/// Draws faces: 7 pictures of each person, 10 people in four scenes.
fn drawn(folder: &Path, more: &[&str]) -> (i32, String, String) {
    let out = folder.display().to_string();
    let asked = [
        "manifest", "synth", "--seeds", "0..4", "--size", "32", "--out", &out,
    ];
    run(&[&asked[..], more].concat())
}

#[test]
fn drawn_faces_are_a_manifest_that_passes_and_is_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let set = folder.path().join("set");
    let text = succeeded(drawn(&set, &["--test", "0.4"]));
    assert!(text.contains("70 pictures written to"), "{text}");
    let manifest = Manifest::read(&set.join("manifest.csv")).unwrap();
    let mut of_label: BTreeMap<Expression, usize> = BTreeMap::new();
    let mut splits_of: BTreeMap<&str, BTreeSet<Split>> = BTreeMap::new();
    for row in &manifest.rows {
        assert_eq!((row.width, row.height), (32, 32));
        *of_label.entry(row.label).or_default() += 1;
        splits_of.entry(&row.group).or_default().insert(row.split);
    }
    assert!(of_label.values().all(|&count| count == 10), "{of_label:?}");
    assert_eq!(splits_of.len(), 4, "a scene is a group");
    assert!(splits_of.values().all(|splits| splits.len() == 1));

    let text = succeeded(run(&["manifest", "validate", &path("set/manifest.csv")]));
    assert!(
        text.contains("70 of the source `synthetic` are drawn"),
        "{text}"
    );
    let first = read(&path("set/manifest.csv"));
    refused(
        &["manifest", "synth", "--out", &path("set")],
        &["is there already; --overwrite replaces it"],
    );
    succeeded(drawn(&set, &["--test", "0.4", "--overwrite"]));
    // The manifest includes the pictures' hashes.
    assert_eq!(read(&path("set/manifest.csv")), first);

    // A recipe keeps the pictures as they are: scenes stay together, and splits are unchanged.
    std::fs::write(
        path("recipe.yaml"),
        "manifests: [{manifest: set/manifest.csv}]\n",
    )
    .unwrap();
    succeeded(run(&[
        "manifest",
        "make",
        &path("recipe.yaml"),
        "--out",
        &path("made"),
    ]));
    let made = Manifest::read(Path::new(&path("made/manifest.csv"))).unwrap();
    assert_eq!(made.rows.len(), 70);
    let mut group_of: BTreeMap<&str, &str> = BTreeMap::new();
    for (row, before) in made.rows.iter().zip(&manifest.rows) {
        assert_eq!((row.split, &row.sha256), (before.split, &before.sha256));
        assert_eq!(
            *group_of.entry(&before.group).or_insert(&row.group),
            row.group
        );
    }
    assert_eq!(group_of.values().collect::<BTreeSet<_>>().len(), 4);
}

#[test]
fn what_the_commands_leave_behind_is_inspected() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    succeeded(drawn(&folder.path().join("set"), &[]));
    let manifest = path("set/manifest.csv");
    succeeded(run(&["manifest", "validate", &manifest]));
    succeeded(run(&[
        "manifest",
        "fold",
        &manifest,
        "--folds",
        "2",
        "--out",
        &path("folds.csv"),
    ]));
    succeeded(run(&[
        "manifest",
        "audit",
        &manifest,
        "--out",
        &path("audit"),
    ]));
    std::fs::write(
        path("recipe.yaml"),
        "manifests: [{manifest: set/manifest.csv}]\n",
    )
    .unwrap();
    succeeded(run(&[
        "manifest",
        "make",
        &path("recipe.yaml"),
        "--out",
        &path("made"),
    ]));
    crate::learning::table(&folder.path().join("said.csv"), 2);
    let evaluate = [
        "evaluate",
        "--predictions",
        &path("said.csv"),
        "--out",
        &path("evaluated"),
    ];
    succeeded(run(&evaluate));
    let mapping = crate::support::repository("models/labels/fer2013.yaml");
    for (name, words) in [
        ("set", "manifest    70 rows"),
        ("set/manifest_validation.json", "problems    none"),
        ("folds.csv", "columns     sha256, image, group, fold"),
        ("audit", "audit       70 different pictures"),
        ("made/clean_report.json", "70 rows in, 70 out"),
        ("recipe.yaml", "recipe      0 tables, 1 manifests"),
        ("said.csv", "predictions 30 rows"),
        ("evaluated", "metrics     accuracy 0.6667"),
        (
            &mapping.display().to_string(),
            "mapping     of fer2013, policy challenge",
        ),
    ] {
        let text = succeeded(run(&["inspect", &path(name)]));
        assert!(text.contains(words), "`{words}` is not in:\n{text}");
    }
    std::fs::write(path("other.json"), "{}").unwrap();
    refused(
        &["inspect", &path("other.json")],
        &["is none of an evaluation"],
    );
    std::fs::write(path("other.json"), "{").unwrap();
    refused(&["inspect", &path("other.json")], &["is not a JSON file"]);
    std::fs::create_dir(path("empty")).unwrap();
    refused(
        &["inspect", &path("empty")],
        &["is not a folder of a training"],
    );
}

#[test]
fn what_cannot_be_drawn_is_refused_and_nothing_else_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("set").display().to_string();
    let with = |more: &[&'static str]| [&["manifest", "synth", "--out", &out], more].concat();
    refused(&with(&["--seeds", "9..9"]), &["is not a range of seeds"]);
    refused(&with(&["--seeds", "many"]), &["FIRST..END"]);
    refused(&with(&["--size", "8"]), &["16..=512"]);
    refused(
        &with(&["--validation", "0.7", "--test", "0.4"]),
        &["shares of 0 to below 1 that leave scenes to train"],
    );
    std::fs::create_dir(&out).unwrap();
    std::fs::write(folder.path().join("set/mine.txt"), "mine").unwrap();
    refused(
        &with(&["--overwrite"]),
        &["was not made by this command; name another folder"],
    );
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1);
}

#[test]
fn rows_are_counted_and_folded_by_group() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    succeeded(drawn(
        &folder.path().join("set"),
        &["--validation", "0", "--test", "0"],
    ));
    let manifest = path("set/manifest.csv");
    let text = succeeded(run(&[
        "manifest",
        "stats",
        &manifest,
        "--out",
        &path("stats.svg"),
    ]));
    assert!(
        text.contains("happy                   10           0         0        10"),
        "{text}"
    );
    assert!(read(&path("stats.svg")).contains("synthetic: 70 rows"));
    // A file name whose extension says another format is refused.
    let at = |name: &str| folder.path().join(name);
    for (command, name, ending) in [
        (&["stats"][..], "stats.png", ".svg"),
        (&["fold", "--folds", "2"], "folds.json", ".csv"),
        (&["validate"], "found.csv", ".json"),
    ] {
        let out = path(name);
        let asked = [&["manifest"], command, &[manifest.as_str(), "--out", &out]].concat();
        refused(&asked, &[name, &format!("ends in {ending}")]);
        assert!(!at(name).exists(), "{name}");
    }
    // A check of no images would let everything pass.
    refused(
        &["manifest", "validate", &manifest, "--sample", "0"],
        &["'--sample <N>'", "1.."],
    );

    let folds = path("folds.csv");
    let text = succeeded(run(&[
        "manifest", "fold", &manifest, "--folds", "2", "--out", &folds,
    ]));
    let mut fold_of_group: BTreeMap<String, String> = BTreeMap::new();
    let mut rows_of: BTreeMap<String, usize> = BTreeMap::new();
    for record in csv::Reader::from_path(&folds).unwrap().records() {
        let record = record.unwrap();
        let (group, fold) = (record[2].to_owned(), record[3].to_owned());
        assert_eq!(fold, fold_of(&group, 2).to_string());
        *rows_of.entry(fold.clone()).or_default() += 1;
        assert_eq!(
            fold_of_group.entry(group).or_insert_with(|| fold.clone()),
            &fold
        );
    }
    assert_eq!(rows_of.values().sum::<usize>(), 70);
    for (fold, rows) in rows_of {
        let groups = fold_of_group
            .values()
            .filter(|&found| *found == fold)
            .count();
        let begins = format!("{:<10}{groups:>9}{rows:>9}", format!("{fold}/2"));
        assert!(text.lines().any(|line| line.starts_with(&begins)), "{text}");
    }
    refused(
        &["manifest", "fold", &manifest, "--folds", "1"],
        &["2..=1000"],
    );
    // Four scenes are too few for that many folds.
    refused(
        &["manifest", "fold", &manifest, "--folds", "40"],
        &["use fewer folds, or a manifest with more groups"],
    );
    refused(&["manifest", "stats", &path("none.csv")], &["cannot read"]);
}

#[test]
fn a_folder_of_classes_becomes_a_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (number, name) in ["glad/1.png", "glad/deep/2.png", "sad/3.PNG"]
        .into_iter()
        .enumerate()
    {
        let file = folder.path().join("photos").join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        photo(&file.with_extension("png"), number as u32 + 1);
        if name.ends_with("PNG") {
            std::fs::rename(file.with_extension("png"), file).unwrap();
        }
    }
    std::fs::write(folder.path().join("photos/glad/notes.txt"), "x").unwrap();
    let text = succeeded(run(&[
        "manifest",
        "list",
        &path("photos"),
        "--out",
        &path("photos.csv"),
    ]));
    assert!(
        text.contains("3 pictures in 2 folders, 1 other files left out"),
        "{text}"
    );
    assert_eq!(
        read(&path("photos.csv")),
        "image,label\nglad/1.png,glad\nglad/deep/2.png,glad\nsad/3.PNG,sad\n"
    );
    let mapping = "source: photos\npolicy: folder\nimage: '{image}'\nlabel:\n  column: {name: label, values: {glad: happy, sad: sad}}\n";
    std::fs::write(path("photos.yaml"), mapping).unwrap();
    let recipe =
        "parts: [{mapping: photos.yaml, table: photos.csv, images: photos, split: train}]\n";
    std::fs::write(path("recipe.yaml"), recipe).unwrap();
    succeeded(run(&[
        "manifest",
        "make",
        &path("recipe.yaml"),
        "--out",
        &path("data"),
    ]));
    succeeded(run(&["manifest", "validate", &path("data/manifest.csv")]));
    refused(
        &[
            "manifest",
            "list",
            &path("photos/sad"),
            "--out",
            &path("x.csv"),
        ],
        &["has no pictures", "one for each class"],
    );
    refused(
        &["manifest", "list", &path("none"), "--out", &path("x.csv")],
        &["cannot read"],
    );
}

#[test]
fn wrong_labels_are_put_into_training_rows_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    succeeded(drawn(&folder.path().join("set"), &["--test", "0.4"]));
    let manifest = path("set/manifest.csv");
    let noisy = |more: &[&str], out: &str| {
        let out = path(out);
        let asked = ["manifest", "noise", &manifest, "--out", &out];
        run(&[&asked[..], more].concat())
    };
    let pairs = ["--share", "1", "--between", "fear:surprise"];
    succeeded(noisy(&pairs, "noisy"));
    let rows = |name: &str| Manifest::read(&folder.path().join(name)).unwrap();
    let (before, after) = (rows("set/manifest.csv"), rows("noisy/manifest.csv"));
    assert_eq!(before.rows.len(), after.rows.len());
    let mut changed = 0;
    for (before, after) in before.rows.iter().zip(&after.rows) {
        let confused = [Expression::Fear, Expression::Surprise].contains(&before.label);
        let wrong = before.label != after.label;
        assert_eq!(wrong, confused && before.split == Split::Train);
        changed += usize::from(wrong);
    }
    assert!(changed > 0);
    // Its images are still at their original place.
    succeeded(run(&["manifest", "validate", &path("noisy/manifest.csv")]));
    let report: serde_json::Value =
        serde_json::from_str(&read(&path("noisy/label_noise.json"))).unwrap();
    assert_eq!(report["changed"], changed);
    let told = succeeded(run(&["inspect", &path("noisy/label_noise.json")]));
    assert!(
        told.contains(&format!("label noise {changed} of ")),
        "{told}"
    );
    succeeded(noisy(&["--share", "0", "--training-rows", "7"], "few"));
    let few = rows("few/manifest.csv");
    assert_eq!(few.split(Split::Train).count(), 7);
    assert_eq!(
        few.split(Split::Test).count(),
        before.split(Split::Test).count()
    );
    for (wrong, words) in [
        (&["--share", "1.5"][..], "expected 0 to 1"),
        (&["--share", "0.1", "--between", "fear"], "LABEL:LABEL"),
        (
            &["--share", "0.1", "--between", "fear:fear"],
            "cannot become itself",
        ),
        (&["--share", "0.1", "--between", "fear:joy"], "joy"),
        (
            &[
                "--share",
                "0.1",
                "--between",
                "fear:sad",
                "--between",
                "surprise:fear",
            ],
            "fear is in two pairs",
        ),
    ] {
        let out = path("wrong");
        let asked = ["manifest", "noise", &manifest, "--out", &out];
        refused(&[&asked[..], wrong].concat(), &[words]);
        assert!(!Path::new(&out).exists());
    }
}
