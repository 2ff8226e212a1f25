//! Predictions through a graph: of all rows, or not written, and then every row that could not be read is named.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use fermata_engine::{Actor, Graph, LoadOptions, Registry, RunOptions, RunningGraph};
use fermata_jobs::write_predictions::{WritePredictions, WritePredictionsSettings};
use fermata_learn::manifest::Manifest;
use fermata_learn::predictions::Predictions;
use fermata_learn::softlabels::FailedLine;
use fermata_vision::Expression;

use crate::export::{Job, said};
use crate::pictures::picture;

/// Predicts the 40 rows of a job with its teacher `b`, up to `failures` of which may be left out. Returns the faults
/// and the predictions.
fn predict(job: &Job, out: &str, failures: usize) -> (String, Option<Predictions>) {
    let (model, manifest) = (job.path("b"), job.manifest.display());
    let model = model.display();
    let text = format!(
        "
fermata: 1
streams: {{use: manifest_units, manifest: \"{manifest}\", unit: 7, open: 3}}
nodes:
  rows:   {{use: manifest_rows, each: stream, unit: \"${{stream.uri}}\"}}
  images: {{use: load_views, in: rows, models: [\"{model}\"], replicas: 2}}
  passed: {{use: inject_faults, in: images, fail_every: 19}}
  infer:  {{use: infer_logits, in: passed, model: \"{model}\", batch: {{max: 8, each: stream}}}}
  write:  {{use: write_predictions, in: infer, path: \"${{run.dir}}/p.npz\", max_failures: {failures}, on_error: stop}}
run: {{clock: asap}}
"
    );
    let mut registry = Registry::builtin();
    fermata_jobs::register(&mut registry);
    fs::create_dir_all(job.path(out)).unwrap();
    let options = LoadOptions::new(job.path(out));
    let graph = Graph::parse("evaluate.yaml", &text, &registry, &options).unwrap();
    let options = RunOptions {
        services: fermata_jobs::services(),
        ..RunOptions::default()
    };
    let report = RunningGraph::start(graph, Arc::new(registry), options)
        .unwrap()
        .wait();
    let classes = Expression::ALL.map(|class| class.to_string());
    let read = Predictions::read(&job.path(out).join("p.npz"), &classes);
    (format!("{:?}", report.faults), read.ok())
}

#[test]
fn predictions_are_of_all_rows_or_not_written() {
    let job = Job::new();
    let (faults, whole) = predict(&job, "whole", 0);
    assert_eq!(faults, "[]");
    let whole = whole.unwrap();
    let manifest = Manifest::read(&job.manifest).unwrap();
    let labels: Vec<usize> = manifest.rows.iter().map(|row| row.label.index()).collect();
    assert_eq!(whole.labels(), labels, "in the manifest's order");
    let alone = said(&job.path("b"), &manifest, 17, 0);
    for (one, other) in whole.row(17).iter().zip(alone) {
        assert!((one - f64::from(other)).abs() < 1e-4);
    }

    fs::remove_file(job.path("017.png")).unwrap();
    let (faults, none) = predict(&job, "none", 0);
    assert!(
        faults.contains("017.png") && faults.contains("1 image cannot be read"),
        "{faults}"
    );
    assert!(none.is_none());
    let (faults, rest) = predict(&job, "rest", 1);
    assert_eq!((faults.as_str(), rest.unwrap().len()), ("[]", 39));
}

#[test]
fn all_images_that_cannot_be_read_are_listed_beside_the_predictions_however_many() {
    let job = Job::new();
    let gone: Vec<usize> = (3..28).collect();
    let image = |row: usize| format!("{row:03}.png");
    for &row in &gone {
        fs::remove_file(job.path(&image(row))).unwrap();
    }
    let listed = || {
        let text = fs::read_to_string(job.path("out/p_failed.jsonl")).unwrap();
        let line = |line: &str| serde_json::from_str::<FailedLine>(line).unwrap();
        text.lines().map(line).collect::<Vec<FailedLine>>()
    };
    let (faults, none) = predict(&job, "out", 24);
    for words in [
        "25 images cannot be read",
        "p_failed.jsonl",
        "003.png: ",
        "and 5 more",
    ] {
        assert!(faults.contains(words), "`{words}` is not in {faults}");
    }
    assert!(none.is_none());
    let manifest = Manifest::read(&job.manifest).unwrap();
    let found = listed();
    assert_eq!(found.len(), gone.len());
    for (line, &row) in found.iter().zip(&gone) {
        assert_eq!(line.image, image(row), "in the manifest's order");
        assert_eq!(line.sha256, manifest.rows[row].sha256);
        assert!(line.reason.contains("No such file"), "{line:?}");
    }
    let (faults, rest) = predict(&job, "out", 25);
    assert_eq!((faults.as_str(), rest.unwrap().len()), ("[]", 15));
    assert_eq!(listed(), found);

    for row in gone {
        picture(row % 7, row).save(job.path(&image(row))).unwrap();
    }
    let (faults, whole) = predict(&job, "out", 0);
    assert_eq!((faults.as_str(), whole.unwrap().len()), ("[]", 40));
    assert!(!job.path("out/p_failed.jsonl").exists(), "nothing failed");
}

#[test]
fn two_writers_of_predictions_in_a_folder_have_a_list_each() {
    let writes = |path: &str| {
        let settings = WritePredictionsSettings {
            path: Path::new(path).to_owned(),
            split: None,
            max_failures: 0,
        };
        WritePredictions::ports(&settings).writes
    };
    let expected = ["run/predictions.npz", "run/predictions_failed.jsonl"];
    assert_eq!(writes("run/predictions.npz"), expected.map(Path::new));
    let expected = ["run/calibrated_on.npz", "run/calibrated_on_failed.jsonl"];
    assert_eq!(writes("run/calibrated_on.npz"), expected.map(Path::new));
}
