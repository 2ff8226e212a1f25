use std::path::{Path, PathBuf};

use fermata_vision::{Expression, ModelCard};
use serde_json::Value;

use super::*;
use crate::augmentation::Augmentation;
use crate::manifest::{Row, Split};
use crate::npz::Npz;
use crate::row_hash::RowHash;

fn card(clahe: &str) -> ModelCard {
    let text = format!(
        "input: {{name: x, size: 4, layout: nchw, colour: gray}}
{clahe}
interpolation: area
scaling: []
output: {{name: y, kind: logits, classes: [angry, disgust, fear, happy, sad, surprise, neutral]}}
licence: none
source: a test
"
    );
    ModelCard::parse(&text, Path::new("card.yaml")).unwrap()
}

fn alignment() -> Alignment {
    let teacher = |name: &str, weight: f64| Teacher {
        name: name.to_owned(),
        weight,
        temperature: 1.5,
        backend: "onnxruntime".to_owned(),
        models: vec![card("")],
        learnt: vec![None],
    };
    Alignment {
        classes: Expression::ALL.to_vec(),
        manifest_sha256: "ab".repeat(32),
        split: None,
        views: 2,
        seed: 3,
        augmentation: Augmentation::default(),
        teachers: vec![teacher("a", 0.25), teacher("b", 0.75)],
    }
}

fn hash(row: usize) -> RowHash {
    RowHash::digest(&row.to_le_bytes())
}

fn split(row: usize) -> Split {
    if row < 3 { Split::Train } else { Split::Test }
}

/// Returns logits that encode their row, view, teacher and class.
fn exported(row: usize) -> ExportedRow {
    let scores = Scores {
        logits: (0..14).map(|place| (100 * row + place) as f32).collect(),
        teachers: (0..28).map(|place| -((100 * row + place) as f32)).collect(),
        seen: vec![Some(row.is_multiple_of(2)), None],
    };
    ExportedRow {
        sha256: hash(row),
        image: format!("{row}.png"),
        label: Expression::ALL[row % 7],
        split: split(row),
        scores: if row == 2 {
            Err("the file is empty".to_owned())
        } else {
            Ok(scores)
        },
    }
}

fn export(folder: &Path) -> Counts {
    write(folder, &alignment(), || (0..5).map(|row| Ok(exported(row)))).unwrap()
}

fn row(number: usize) -> Row {
    Row {
        image: PathBuf::from(format!("{number}.png")),
        label: Expression::Happy,
        source: "set".to_owned(),
        split: split(number),
        group: number.to_string(),
        sha256: hash(number),
        width: 4,
        height: 4,
    }
}

#[test]
fn what_is_written_is_read_by_the_images_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let counts = export(folder.path());
    assert_eq!((counts.rows_in, counts.rows_out, counts.failed), (5, 4, 1));
    let seen = SeenRows {
        unseen: 2,
        seen: 2,
        unknown: 0,
    };
    assert_eq!(counts.seen["a"], seen);
    assert_eq!(counts.seen["b"].unknown, 4);

    let softlabels = Softlabels::open(folder.path()).unwrap();
    assert_eq!(softlabels.alignment(), &alignment());
    let logits = |row: usize, view| softlabels.logits(&hash(row), split(row), view);
    // The same picture in another split may have been answered by other models.
    assert_eq!(softlabels.logits(&hash(3), Split::Train, 1), None);
    // Row 2 failed: later rows have moved up in the arrays, but are still found by their hashes.
    assert_eq!(logits(3, 1).unwrap()[0], 307.0);
    assert_eq!(logits(4, 0).unwrap()[6], 406.0);
    assert!(logits(2, 0).is_none() && logits(3, 2).is_none() && logits(9, 0).is_none());

    let mut arrays = Npz::open(&folder.path().join(SOFTLABELS)).unwrap();
    let teachers = arrays.floats("teacher_logits").unwrap();
    assert_eq!(teachers.shape, [4, 2, 2, 7]);
    assert_eq!(
        teachers.values[28 + 14 + 7],
        -121.0,
        "row 1, view 1, teacher b"
    );

    let failed = std::fs::read_to_string(folder.path().join(FAILED)).unwrap();
    assert_eq!(failed.lines().count(), 1);
    assert!(failed.contains("2.png") && failed.contains("the file is empty"));
    let metrics = std::fs::read_to_string(folder.path().join(METRICS)).unwrap();
    let metrics: Value = serde_json::from_str(&metrics).unwrap();
    // Logits that grow with the class predict `neutral`, which is wrong for rows 0 and 1; those of the teachers predict
    // `angry`, which is right for row 0.
    assert_eq!(metrics["by_split"]["train"]["ensemble"]["accuracy"], 0.0);
    assert_eq!(metrics["by_split"]["train"]["b"]["accuracy"], 0.5);
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    export(one.path());
    export(other.path());
    for name in [
        SOFTLABELS,
        INDEX,
        FAILED,
        REPORT,
        METRICS,
        HASHES,
        "classorder.json",
    ] {
        let read = |folder: &tempfile::TempDir| std::fs::read(folder.path().join(name)).unwrap();
        assert!(read(&one) == read(&other), "{name}");
    }
}

#[test]
fn rows_that_do_not_fit_the_alignment_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let short = || {
        let mut row = exported(0);
        row.scores.as_mut().unwrap().logits.pop();
        [Ok(exported(1)), Ok(row)].into_iter()
    };
    let error = write(folder.path(), &alignment(), short)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("row 1 cannot be written: it has [13, 28, 2]"),
        "{error}"
    );
    assert!(matches!(
        Softlabels::open(folder.path()),
        Err(SoftlabelsError::NotWhole(_))
    ));
}

#[test]
fn a_file_that_was_changed_is_named() {
    for name in [SOFTLABELS, INDEX, REPORT, "classorder.json"] {
        let folder = tempfile::tempdir().unwrap();
        export(folder.path());
        let path = folder.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = Softlabels::open(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(name) && error.contains("has changed since the export wrote it"),
            "{error}"
        );
    }
}

#[test]
fn what_differs_between_export_and_training_is_named() {
    let folder = tempfile::tempdir().unwrap();
    export(folder.path());
    let softlabels = Softlabels::open(folder.path()).unwrap();
    let rows = [row(0), row(1), row(3)];
    let check = |rows: &[Row], clahe: &str, flip: f64, seed: u64| {
        let augmentation = Augmentation {
            flip,
            ..Augmentation::default()
        };
        let rows: Vec<&Row> = rows.iter().collect();
        let card = card(clahe);
        let checked = softlabels.check(&Expected {
            rows: &rows,
            card: &card,
            augmentation: &augmentation,
            seed: Some(seed),
        });
        checked.map_err(|error| error.to_string())
    };
    assert_eq!(check(&rows, "", 0.5, 3), Ok(()));
    let stale = Row {
        sha256: hash(77),
        ..row(3)
    };
    let moved = Row {
        split: Split::Test,
        ..row(1)
    };
    let clahe = "clahe: {clip: 2.0, tiles: 8, on: gray, at: input}";
    for (rows, clahe, flip, seed, expected) in [
        (
            &[row(0), stale][..],
            "",
            0.5,
            3,
            "1 images have changed since the export (another sha256): 3.png",
        ),
        (
            &[row(0), moved],
            "",
            0.5,
            3,
            "1 images were exported in another split: 1.png",
        ),
        (
            &[row(2), row(9)],
            "",
            0.5,
            3,
            "2 images have no softlabels: 2.png, 9.png",
        ),
        (
            &rows,
            "",
            0.25,
            3,
            "augmentation.flip: 0.5 in the softlabels, 0.25 in the training",
        ),
        (
            &rows,
            "",
            0.5,
            4,
            "seed: 3 in the softlabels, 4 in the training",
        ),
        (
            &rows,
            clahe,
            0.5,
            3,
            "preprocessing (teacher a): clahe: null in the softlabels",
        ),
    ] {
        let error = check(rows, clahe, flip, seed).unwrap_err();
        assert!(error.contains(expected), "`{expected}` is not in {error}");
    }
}
