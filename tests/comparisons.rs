//! Comparing models: `fermata evaluate --compare`.

use std::path::Path;

use crate::command::{refused, run};

/// Writes predictions of two classes for rows with hashes, in the given order: `right` rows of three are right.
fn table(path: &Path, rows: &[usize], right: usize, scale: f64) {
    let mut text = "image,sha256,label,logit_happy,logit_sad\n".to_owned();
    for row in rows {
        let logit = if row % 3 < right { scale } else { -0.5 * scale };
        text += &format!("{row}.png,{row:064x},happy,{logit},0\n");
    }
    std::fs::write(path, text).unwrap();
}

#[test]
fn models_are_compared_on_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let rows: Vec<usize> = (0..60).collect();
    let turned: Vec<usize> = (0..60).rev().collect();
    table(&folder.path().join("ce.csv"), &rows, 1, 2.0);
    table(&folder.path().join("kd.csv"), &turned, 2, 2.0);
    let validation: Vec<usize> = (100..160).collect();
    table(&folder.path().join("validation.csv"), &validation, 2, 1.9);
    // The folder of an evaluation keeps its temperature.
    let (code, _, errors) = run(&[
        "evaluate",
        "--predictions",
        &path("kd.csv"),
        "--calibrate-on",
        &path("validation.csv"),
        "--out",
        &path("kd"),
        "--classes",
        "happy,sad",
    ]);
    assert_eq!(code, 0, "{errors}");
    let ce = format!("plain={}", path("ce.csv"));
    let asked = [
        "evaluate",
        "--compare",
        &ce,
        &path("kd"),
        "--out",
        &path("all"),
    ];
    let (code, text, errors) = run(&asked);
    assert_eq!(code, 0, "{errors}");
    assert!(text.starts_with("60 rows"), "{text}");
    assert!(text.contains("right only here 20, only there 0"), "{text}");
    let json = std::fs::read_to_string(path("all/comparison.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["models"][0]["name"], "plain");
    assert_eq!(json["models"][0]["scaled"], serde_json::Value::Null);
    let scaled = &json["models"][1]["scaled"]["metrics"]["nll"];
    assert!(scaled.as_f64() < json["models"][1]["raw"]["metrics"]["nll"].as_f64());
    let difference = &json["pairs"][0]["raw"]["differences"][0];
    assert_eq!(difference["metric"], "accuracy");
    assert!((difference["value"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-12);
    let mut models = csv::Reader::from_path(path("all/models.csv")).unwrap();
    let header = models.headers().unwrap().clone();
    for column in [
        "macro_f1_low",
        "f1_happy",
        "nll",
        "ece",
        "brier",
        "temperature",
        "scaled_nll",
    ] {
        assert!(header.iter().any(|name| name == column), "{header:?}");
    }
    assert_eq!(models.records().count(), 2);
    assert!(
        std::fs::read_to_string(path("all/comparison.html"))
            .unwrap()
            .contains("<td>plain</td>")
    );
}

#[test]
fn networks_that_were_trained_several_times_are_compared_by_their_means() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let rows: Vec<usize> = (0..60).collect();
    for (name, right) in [("a", 1), ("b", 2), ("c", 2), ("d", 3)] {
        table(
            &folder.path().join(format!("{name}.csv")),
            &rows,
            right,
            2.0,
        );
    }
    let [ce, kd] = [("ce", "a.csv", "b.csv"), ("kd", "c.csv", "d.csv")]
        .map(|(name, one, other)| format!("{name}={},{}", path(one), path(other)));
    let out = path("seeds");
    let (code, text, errors) = run(&["evaluate", "--compare", &ce, &kd, "--out", &out]);
    assert_eq!(code, 0, "{errors}");
    // Accuracies 1/3 and 2/3 for one model, 2/3 and 1 for the other.
    assert!(text.contains("0.5000 ± 0.2357"), "{text}");
    assert!(text.contains("0.8333 ± 0.2357"), "{text}");
    assert!(text.contains("ce.1") && text.contains("kd.2"), "{text}");
    let difference = text.split("minus ce, means").nth(1).unwrap();
    assert!(difference.contains("+0.3333"), "{text}");
    let seeds = std::fs::read_to_string(path("seeds/seeds.csv")).unwrap();
    assert!(seeds.contains("kd,ce,,raw,accuracy,+0.3333,"), "{seeds}");
    assert!(seeds.contains("ce,,2,raw,accuracy,0.5000,"), "{seeds}");
    let (code, text, errors) = run(&["inspect", &out]);
    assert_eq!(code, 0, "{errors}");
    assert!(text.contains("kd: 2 trainings, accuracy 0.8333"), "{text}");
    let page = std::fs::read_to_string(path("seeds/comparison.html")).unwrap();
    assert!(page.contains("Means over trainings"), "{page}");
    // A comparison of single models in the same folder has no means.
    let [ce, kd] =
        [("ce", "a.csv"), ("kd", "c.csv")].map(|(name, one)| format!("{name}={}", path(one)));
    let (code, _, errors) = run(&["evaluate", "--compare", &ce, &kd, "--out", &out]);
    assert_eq!(code, 0, "{errors}");
    let is_there = |name: &str| folder.path().join("seeds").join(name).exists();
    assert!(is_there("comparison.json") && !is_there("seeds.csv"));
    // One that ends early is not taken for a complete one.
    std::fs::remove_file(path("seeds/comparison.html")).unwrap();
    std::fs::create_dir(path("seeds/comparison.html")).unwrap();
    let (code, _, _) = run(&["evaluate", "--compare", &ce, &kd, "--out", &out]);
    assert_ne!(code, 0);
    assert!(is_there("models.csv") && !is_there("comparison.json"));
    // If one of two paths does not exist, it is named.
    let none = format!("ce={},{}", path("a.csv"), path("none.csv"));
    refused(
        &["evaluate", "--out", &out, "--compare", &none, &kd],
        &["none.csv"],
    );
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let rows: Vec<usize> = (0..30).collect();
    table(&folder.path().join("one.csv"), &rows, 1, 2.0);
    table(&folder.path().join("part.csv"), &rows[6..], 2, 2.0);
    let (one, part, out) = (path("one.csv"), path("part.csv"), path("out"));
    let compare = |models: &[&str]| {
        [&["evaluate", "--out", &out, "--compare"], models]
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let refuse = |models: &[&str], words: &[&str]| {
        let asked = compare(models);
        refused(&asked, words);
    };
    refuse(&[&one], &["a comparison needs at least two models, not 1"]);
    refuse(&[&one, &one], &["two models are called `one`"]);
    refuse(
        &[&one, &part],
        &[
            "6 of one's are missing, 0 are not among them",
            "--common-rows",
        ],
    );
    let (code, text, errors) = run(&[
        "evaluate",
        "--compare",
        &one,
        &part,
        "--common-rows",
        "--out",
        &out,
    ]);
    assert!(
        code == 0 && text.starts_with("24 rows\n6 rows of one are left out"),
        "{text}{errors}"
    );
    let text = std::fs::read_to_string(&one).unwrap();
    std::fs::write(path("other.csv"), text.replace(",happy,", ",sad,")).unwrap();
    refuse(
        &[&one, &path("other.csv")],
        &[
            "have other labels for 30 of the same images",
            "label policies",
        ],
    );
    crate::learning::table(&folder.path().join("nameless.csv"), 1);
    refuse(&[&one, &path("nameless.csv")], &["nameless", "`sha256`"]);
    std::fs::create_dir(path("empty")).unwrap();
    refuse(
        &[&one, &path("empty")],
        &["has no predictions.npz", "fermata evaluate --model"],
    );
    refuse(&[&one, &path("none.csv")], &["there is no ", "none.csv"]);
    refuse(&[&one, &path("nowhere")], &["there is no ", "nowhere"]);
    refused(
        &[
            "evaluate",
            "--predictions",
            &one,
            "--compare",
            &one,
            &part,
            "--out",
            &out,
        ],
        &["--compare names 2 models", "expected one"],
    );
}
