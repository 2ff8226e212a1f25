//! Wrong input: one clear error each, and nothing is written.

use std::fs;

use fermata_files::FolderLock;
use fermata_learn::manifest::Manifest;
use serde_json::json;

use super::{Data, succeeds};
use crate::command::{refused, run};

#[track_caller]
fn refuses(arguments: &[String], words: &[&str]) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, output, errors) = run(&arguments);
    assert_eq!(code, 2, "{arguments:?}: {errors}");
    for word in words {
        assert!(errors.contains(word), "`{word}` is not in:\n{errors}");
    }
    let told = errors.lines().filter(|line| line.starts_with("error:"));
    assert_eq!(told.count(), 1, "{errors}");
    assert!(output.is_empty(), "{output}");
}

#[test]
fn an_export_that_cannot_be_made_is_refused() {
    let data = Data::new(14);
    let config = data.path("training.yaml");
    fs::write(&config, "augmentation: {flipp: 1}\n").unwrap();
    let config = config.display().to_string();
    let none = data.path("none").display().to_string();
    let teacher = format!("c={none}");
    let again = format!("a={}", data.text("a"));
    let taken = format!("rows={}", data.text("a"));
    let ensemble = format!("ensemble={}", data.text("a"));
    for (more, words) in [
        (
            &["--weight", "a=1"][..],
            &["b has none", "all teachers a weight, or none"][..],
        ),
        (
            &["--weight", "a=1", "--weight", "c=1"],
            &["there is no teacher c; there are a, b"],
        ),
        (
            &["--weight", "a=x", "--weight", "b=1"],
            &["`x` is not a number"],
        ),
        (
            &["--weight", "a=-1", "--weight", "b=1"],
            &["--weight a=-1: expected 0 or more"],
        ),
        (&["--weight", "a=0", "--weight", "b=0"], &["all are 0"]),
        (
            &["--temperature", "a=0"],
            &["--temperature a=0: expected above 0"],
        ),
        (
            &["--temperature", "a"],
            &["--temperature a: expected NAME=NUMBER"],
        ),
        (
            &["--split", "training"],
            &["--split: unknown split `training`"],
        ),
        (
            &["--teacher", "c"],
            &["--teacher c: expected NAME=FOLDER[,FOLDER]"],
        ),
        (
            &["--teacher", &teacher],
            &["cannot read the model card", "none"],
        ),
        (&["--teacher", &again], &["a is given twice"]),
        (&["--teacher", &taken], &["a teacher cannot be called rows"]),
        (
            &["--teacher", &ensemble],
            &["a teacher cannot be called ensemble"],
        ),
        (&["--config", &none], &["cannot read"]),
        (&["--config", &config], &["flipp"]),
        (&["--device", "gpu"], &["gpu"]),
    ] {
        refuses(&data.export("out", more), words);
        assert!(!data.path("out/ledger.jsonl").exists(), "{more:?}");
    }
    refuses(
        &data.export("out", &["--manifest", &none]),
        &["cannot be used multiple times"],
    );
}

#[test]
fn a_teacher_whose_models_have_all_seen_a_row_is_an_error_before_anything_is_computed() {
    let data = Data::new(56);
    let sha256 = Manifest::read(&data.path("manifest.csv")).unwrap().sha256;
    let trained =
        |fold: u32| json!({"manifest_sha256": sha256, "without_fold": {"fold": fold, "folds": 2}});
    data.teacher("f0", 3, 1.0, trained(0));
    data.teacher("f1", 4, 1.0, trained(1));
    data.teacher("other", 5, 1.0, json!({"manifest_sha256": "ab"}));
    let folds = |one: &str, other: &str| format!("f={},{}", data.text(one), data.text(other));
    refuses(
        &data.export("out", &["--teacher", &folds("f0", "f0")]),
        &["all of its models were trained on", "without another fold"],
    );
    refuses(
        &data.export("out", &["--teacher", &folds("f0", "other")]),
        &["it is unknown which rows it has seen"],
    );
    // Models trained apart also have their temperatures fitted apart.
    data.teacher("cooler", 4, 0.8, trained(1));
    let apart = folds("f0", "cooler");
    refuses(
        &data.export("out", &["--teacher", &apart]),
        &[
            "--teacher f: the cards of its models have the temperatures 1.0000, 0.8000",
            "--temperature f=T",
        ],
    );
    let given = ["--teacher", &apart, "--temperature", "f=0.9"];
    succeeds(&data.export("given", &given));
    succeeds(&data.export("out", &["--teacher", &folds("f0", "f1")]));
    let seen = data.json("out/alignmentreport.json")["counts"]["seen"]["f"].clone();
    assert_eq!(seen, json!({"unseen": 56, "seen": 0, "unknown": 0}));
    refuses(
        &data.export("out", &[]),
        &["holds softlabels, or a part of them", "new folder"],
    );
}

#[test]
fn a_teacher_that_has_seen_rows_is_refused_before_anything_is_computed_unless_that_is_allowed() {
    let data = Data::new(56);
    let sha256 = Manifest::read(&data.path("manifest.csv")).unwrap().sha256;
    data.teacher("whole", 3, 1.0, json!({"manifest_sha256": sha256}));
    let teacher = format!("w={}", data.text("whole"));
    refuses(
        &data.export("out", &["--teacher", &teacher]),
        &[
            "--teacher w: it was trained on 28 of the 56 rows, the first of them 0.png",
            "--without-fold",
            "--allow-seen",
        ],
    );
    assert!(!data.path("out").exists());
    let said = |out: &str, more: &[&str]| {
        let arguments = data.export(out, &[&["--teacher", &teacher], more].concat());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (code, output, errors) = run(&arguments);
        assert_eq!(code, 0, "{output}{errors}");
        errors
    };
    let errors = said("allowed", &["--allow-seen"]);
    assert!(
        errors.contains("warning: --teacher w: it was trained on 28"),
        "{errors}"
    );
    let counts = data.json("allowed/alignmentreport.json")["counts"]["seen"]["w"].clone();
    assert_eq!(counts, json!({"unseen": 28, "seen": 28, "unknown": 0}));
    // A search reports that too: memorised rows make a teacher look good.
    let asked = data.search(
        "search",
        &["--split", "train", "--step", "0.5", "--teacher", &teacher],
    );
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    let (code, _, errors) = run(&asked);
    assert_eq!(code, 0, "{errors}");
    let told = "warning: --teacher w: it was trained on 28 of the 28 rows";
    assert!(errors.contains(told), "{errors}");
    // The provenance of the other teachers is unknown; teacher `w` is known not to have been trained on these rows.
    let errors = said("tested", &["--split", "test"]);
    assert!(!errors.contains("--teacher w"), "{errors}");
    assert!(
        errors.contains("--teacher a: the provenance of"),
        "{errors}"
    );
    assert!(errors.contains("on 14 of the 14 rows"), "{errors}");

    // Weights initialised from others of unknown provenance may have seen any row.
    let began = |initial: serde_json::Value| {
        json!({
            "manifest_sha256": sha256,
            "without_fold": {"fold": 0, "folds": 2},
            "training": {"initial": initial},
        })
    };
    let unsaid = json!({"sha256": "ab", "provenance": null});
    data.teacher("unsaid", 4, 1.0, began(unsaid.clone()));
    let mut foreign = unsaid;
    foreign["foreign"] = json!(true);
    data.teacher("foreign", 5, 1.0, began(foreign));
    data.teacher(
        "other",
        6,
        1.0,
        json!({"manifest_sha256": sha256, "without_fold": {"fold": 1, "folds": 2}}),
    );
    let folds = |one: &str| format!("w={},{}", data.text(one), data.text("other"));
    refuses(
        &data.export("folds", &["--teacher", &folds("unsaid")]),
        &[
            "the weights with which it began",
            "it is unknown which rows it has seen",
        ],
    );
    succeeds(&data.export("folds", &["--teacher", &folds("foreign")]));
}

#[test]
fn a_folder_that_is_no_run_or_in_use_is_not_resumed() {
    let data = Data::new(7);
    let empty = data.path("empty");
    fs::create_dir(&empty).unwrap();
    refused(
        &["resume", &data.text("empty")],
        &["not a run that can be resumed"],
    );
    refused(
        &["resume", &data.text("none")],
        &["none is not there: name the folder of a run"],
    );
    let _lock = FolderLock::take(&empty).unwrap();
    // Files of an export that has just begun and has no ledger yet.
    fs::write(empty.join("job.json"), "{}").unwrap();
    fs::create_dir(empty.join("units")).unwrap();
    refuses(&data.export("empty", &[]), &["is in use by"]);
    assert!(empty.join("job.json").is_file() && empty.join("units").is_dir());
}

#[test]
fn a_search_that_cannot_be_made_is_refused() {
    let data = Data::new(28);
    let search = |more: &[&str]| {
        let arguments = [
            "ensemble",
            "search",
            "--manifest",
            &data.text("manifest.csv"),
            "--teacher",
            &format!("a={}", data.text("a")),
            "--out",
            &data.text("search"),
            "--quiet",
        ]
        .map(str::to_owned);
        let more = more.iter().map(|&argument| argument.to_owned());
        arguments.into_iter().chain(more).collect::<Vec<_>>()
    };
    refuses(
        &search(&["--step", "0.3"]),
        &["--step: the step is 0.3; expected 1 divided by a whole number"],
    );
    // Too many points are refused before the teachers run.
    let second = format!("b={}", data.text("b"));
    refuses(
        &search(&["--teacher", &second, "--step", "0.000001"]),
        &["--step: a step of 0.000001 gives more than 100000 points for 2 teachers"],
    );
    assert!(!data.path("search").exists());
    refuses(
        &search(&["--split", "dev"]),
        &["--split: unknown split `dev`"],
    );
    let few = Data::new(6);
    let manifest = few.text("manifest.csv");
    let mut arguments = search(&[]);
    arguments[3] = manifest;
    refuses(&arguments, &["no rows of the split validation"]);
}
