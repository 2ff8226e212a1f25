//! Softlabels through a graph: their contents, and that interruptions and failures do not change them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fermata_engine::{
    Graph, LoadOptions, Registry, Report, RunEvent, RunOptions, RunningGraph, StartError,
};
use fermata_jobs::loaded_model::LoadedModel;
use fermata_learn::augmentation::Augmentation;
use fermata_learn::folds::fold_of;
use fermata_learn::manifest::{Manifest, Row};
use fermata_learn::npz::Npz;
use fermata_learn::softlabels::Softlabels;
use fermata_vision::{FramePool, Preprocessor, image_file};
use serde_json::{Value, json};

use crate::pictures::set;
use crate::teachers::{libtorch, onnx_runtime};

/// A manifest of 40 rows and two teachers in a folder.
pub(crate) struct Job {
    folder: tempfile::TempDir,
    pub(crate) manifest: PathBuf,
}

impl Job {
    pub(crate) fn new() -> Self {
        // Shows the actors' log if a test fails.
        let _ = tracing_subscriber::fmt().with_test_writer().try_init();
        let folder = tempfile::tempdir().unwrap();
        let manifest = set(folder.path(), 40);
        libtorch(&folder.path().join("a"), 1, 2.0, json!({}));
        onnx_runtime(&folder.path().join("b"), 2, &json!({}));
        Self { folder, manifest }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the graph, with parts of its text replaced.
    fn graph(&self, out: &str, replaced: &[(&str, &str)]) -> Result<(Graph, Registry), String> {
        let (folder, manifest) = (self.folder.path().display(), self.manifest.display());
        let mut text = format!(
            "
fermata: 1
streams: {{use: manifest_units, manifest: \"{manifest}\", unit: 7, ledger: \"${{run.dir}}/ledger.jsonl\", open: 2}}
nodes:
  rows:   {{use: manifest_rows, each: stream, unit: \"${{stream.uri}}\"}}
  images: {{use: load_views, in: rows, models: [\"{folder}/a\", \"{folder}/b\"], views: 3, seed: 5}}
  passed: {{use: inject_faults, in: images}}
  a:      {{use: infer_logits, in: passed, model: \"{folder}/a\", batch: {{max: 4, each: stream}}}}
  b:      {{use: infer_logits, in: passed, model: \"{folder}/b\", batch: {{max: 3, each: stream}}}}
  fuse:   {{use: fuse_logits, in: {{a: a, b: b}}, weights: {{a: 0.25, b: 0.75}}, temperatures: {{b: 4}}}}
  write:  {{use: write_softlabels, in: fuse, dir: \"${{run.dir}}\", max_failures: 2, on_error: stop}}
run: {{clock: asap}}
"
        );
        for (from, to) in replaced {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let mut registry = Registry::builtin();
        fermata_jobs::register(&mut registry);
        let options = LoadOptions::new(self.path(out));
        fs::create_dir_all(self.path(out)).unwrap();
        let graph = Graph::parse("softlabels.yaml", &text, &registry, &options);
        let graph = graph.map_err(|problems| format!("{problems:?}"))?;
        graph
            .check(&registry)
            .map_err(|problems| format!("{problems:?}"))?;
        Ok((graph, registry))
    }

    fn start(&self, out: &str, replaced: &[(&str, &str)]) -> Result<RunningGraph, StartError> {
        let (graph, registry) = self.graph(out, replaced).unwrap();
        let options = RunOptions {
            services: fermata_jobs::services(),
            ..RunOptions::default()
        };
        RunningGraph::start(graph, Arc::new(registry), options)
    }

    pub(crate) fn run(&self, out: &str, replaced: &[(&str, &str)]) -> Report {
        let report = self.start(out, replaced).unwrap().wait();
        assert!(report.balanced, "{:?}", report.imbalances);
        report
    }

    /// Returns the files of a job, by name.
    pub(crate) fn files(&self, out: &str) -> BTreeMap<String, Vec<u8>> {
        let names = [
            "softlabels.npz",
            "softlabels_index.jsonl",
            "failed.jsonl",
            "classorder.json",
            "alignmentreport.json",
            "ensemble_metrics.json",
            "hash_manifest.json",
        ];
        let read = |name: &str| {
            let read = fs::read(self.path(out).join(name));
            (
                name.to_owned(),
                read.unwrap_or_else(|error| panic!("{name}: {error}")),
            )
        };
        names.into_iter().map(read).collect()
    }

    fn json(&self, out: &str, name: &str) -> Value {
        serde_json::from_slice(&self.files(out)[name]).unwrap()
    }
}

fn assert_same(one: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>) {
    for (name, bytes) in one {
        assert!(*bytes == other[name], "{name} differs");
    }
}

/// Computes a teacher's logits of a view of a row directly.
pub(crate) fn said(folder: &Path, manifest: &Manifest, row: usize, view: u32) -> Vec<f32> {
    let mut model = LoadedModel::load(folder, None, "cpu", 1).unwrap();
    let row = &manifest.rows[row];
    let pool = FramePool::new();
    let mut picture = image_file::read(&manifest.folder.join(&row.image), &pool).unwrap();
    let mut input = vec![0.0; model.card().input.len()];
    let hash = row.sha256;
    let variation = Augmentation::default().view(5, view, &hash);
    if let Some(variation) = &variation {
        picture = variation.apply(&picture, &pool).unwrap();
    }
    let mut preprocessor = Preprocessor::new(model.card()).unwrap();
    preprocessor.run_whole(&picture, &mut input).unwrap();
    if let Some(variation) = &variation {
        variation.erase(&mut input, &model.card().input);
    }
    let mut logits = Vec::new();
    model.logits(&input, 1, &mut logits).unwrap();
    logits
}

#[test]
fn softlabels_are_the_weighted_sum_of_what_the_teachers_say() {
    let job = Job::new();
    fs::write(job.path("010.png"), "no image").unwrap();
    let report = job.run("out", &[]);
    assert!(report.faults.is_empty(), "{:?}", report.faults);

    let manifest = Manifest::read(&job.manifest).unwrap();
    let mut arrays = Npz::open(&job.path("out/softlabels.npz")).unwrap();
    let teachers = arrays.floats("teacher_logits").unwrap();
    assert_eq!(teachers.shape, [39, 3, 2, 7]);
    let softlabels = Softlabels::open(&job.path("out")).unwrap();
    for (row, view) in [(0, 0), (9, 2), (11, 1), (39, 2)] {
        let (a, b) = (
            said(&job.path("a"), &manifest, row, view),
            said(&job.path("b"), &manifest, row, view),
        );
        // Row 10 is not in the arrays.
        let place = row - usize::from(row > 10);
        let of_view = &teachers.values[(place * 3 + view as usize) * 14..][..14];
        for class in 0..7 {
            let near = |found: f32, expected: f32| {
                assert!(
                    (found - expected).abs() < 1e-4,
                    "row {row}: {found} {expected}"
                );
            };
            near(of_view[class], a[class]);
            near(of_view[7 + class], b[class]);
            // The temperature of `a` is that of its card.
            let fused = 0.25 * a[class] / 2.0 + 0.75 * b[class] / 4.0;
            let Row { sha256, split, .. } = &manifest.rows[row];
            near(
                softlabels.logits(sha256, *split, view).unwrap()[class],
                fused,
            );
        }
    }
    let plain = &teachers.values[..14];
    assert_ne!(plain, &teachers.values[14..28], "views differ");

    let counts = &job.json("out", "alignmentreport.json")["counts"];
    assert_eq!(
        (&counts["rows_in"], &counts["rows_out"], &counts["failed"]),
        (&json!(40), &json!(39), &json!(1))
    );
    let failed = String::from_utf8(job.files("out")["failed.jsonl"].clone()).unwrap();
    assert!(
        failed.contains("010.png") && failed.contains("not the manifest's"),
        "{failed}"
    );
    // A row is missing, for which the job can be resumed.
    assert!(job.path("out/units").exists());
    for (name, bytes) in job.files("out") {
        let text = String::from_utf8_lossy(&bytes);
        let folder = job.folder.path().display().to_string();
        assert!(!text.contains(&folder), "{name} holds a path");
    }
}

#[test]
fn faults_on_the_way_and_replicas_change_no_byte() {
    let job = Job::new();
    job.run("plain", &[]);
    let expected = job.files("plain");
    let replicas = [
        (
            "images: {use: load_views, in: rows",
            "images: {use: load_views, in: rows, replicas: 3",
        ),
        ("batch: {max: 4", "replicas: 2, batch: {max: 4"),
        ("open: 2", "open: 3"),
    ];
    job.run("replicas", &replicas);
    assert_same(&expected, &job.files("replicas"));
    for (out, fault) in [
        ("failing", "fail_every: 23"),
        ("panicking", "panic_every: 31"),
    ] {
        let with = format!("in: images, {fault}");
        let report = job.run(out, &[("in: images", &with)]);
        assert!(report.faults.is_empty(), "{:?}", report.faults);
        assert_same(&expected, &job.files(out));
        let ledger = fs::read_to_string(job.path(out).join("ledger.jsonl")).unwrap();
        let claims = ledger.lines().filter(|line| line.contains("claim")).count();
        assert!(claims > 6, "{out}: no unit was replayed");
    }
}

#[test]
fn a_job_that_was_stopped_goes_on_and_one_that_is_done_does_not() {
    let job = Job::new();
    job.run("plain", &[]);
    for stopped_after in 0..5 {
        let out = format!("stopped-{stopped_after}");
        let running = job.start(&out, &[]).unwrap();
        let events = running.handle().subscribe();
        // Some units may have ended before anybody listened: then the run is over first.
        let is_end = |event: &RunEvent| matches!(event, RunEvent::StreamEnded { .. });
        let ends = events.iter().filter(is_end);
        ends.take(stopped_after).for_each(drop);
        running.handle().stop();
        running.wait();
        let resumed = [(
            "images: {use: load_views",
            "images: {replicas: 2, use: load_views",
        )];
        let ledger = fs::read_to_string(job.path(&out).join("ledger.jsonl")).unwrap();
        if !ledger.contains("\"done\"") {
            job.run(&out, &resumed);
        }
        assert_same(&job.files("plain"), &job.files(&out));
    }
    let error = job.start("plain", &[]).map(drop).unwrap_err().to_string();
    assert!(error.contains("nothing left to do"), "{error}");
}

#[test]
fn a_run_that_finds_all_units_there_only_assembles() {
    let job = Job::new();
    job.run("plain", &[]);
    // Simulates a crash of the sink before it assembles: a folder is in the place of its file.
    fs::create_dir_all(job.path("out/softlabels.npz")).unwrap();
    let report = job.run("out", &[]);
    assert!(!report.faults.is_empty());
    fs::remove_dir(job.path("out/softlabels.npz")).unwrap();
    let report = job.run("out", &[]);
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    assert!(report.streams.is_empty(), "{:?}", report.streams.keys());
    assert_same(&job.files("plain"), &job.files("out"));
}

#[test]
fn a_job_is_not_mixed_of_two() {
    let job = Job::new();
    fs::create_dir_all(job.path("out/softlabels.npz")).unwrap();
    job.run("out", &[]);
    let with = [
        ("weights: {a: 0.25", "weights: {a: 0.5"),
        ("fail_every", "fail_every"),
    ];
    // One unit has to be repeated.
    let ledger = job.path("out/ledger.jsonl");
    let text = fs::read_to_string(&ledger).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.contains("\"commit\",\"unit\":3"));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    fs::write(&ledger, text).unwrap();
    let report = job.run("out", &with[..1]);
    let faults = format!("{:?}", report.faults);
    assert!(
        faults.contains("teachers[0].weight: 0.25 in the units that are there, 0.5 in this run"),
        "{faults}"
    );
    let error = job
        .start("out", &[("unit: 7", "unit: 8")])
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("unit: 7 in the ledger, 8 in this run"),
        "{error}"
    );
}

#[test]
fn a_unit_that_was_not_committed_is_done_again_and_one_that_has_changed_is_not_read() {
    let job = Job::new();
    job.run("plain", &[]);
    // All units are there, but not assembled.
    fs::create_dir_all(job.path("out/softlabels.npz")).unwrap();
    job.run("out", &[]);
    fs::remove_dir(job.path("out/softlabels.npz")).unwrap();
    let unit = job.path("out/units/000003.unit");
    let whole = fs::read(&unit).unwrap();
    fs::write(&unit, &whole[..whole.len() / 2]).unwrap();
    let report = job.run("out", &[]);
    let faults = format!("{:?}", report.faults);
    assert!(faults.contains("is not as it was committed"), "{faults}");
    assert!(!job.path("out/softlabels.npz").exists());
    // As left by a kill while the file is written, before its ledger line.
    fs::write(unit.with_extension("unit.part"), &whole[..9]).unwrap();
    let ledger = job.path("out/ledger.jsonl");
    let text = fs::read_to_string(&ledger).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.contains("\"commit\",\"unit\":3"));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    fs::write(&ledger, text).unwrap();
    let report = job.run("out", &[]);
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    assert_eq!(report.nodes["rows"].processed, 7);
    assert_same(&job.files("plain"), &job.files("out"));
}

#[test]
fn more_failures_than_are_allowed_stop_the_job() {
    let job = Job::new();
    for row in [1, 2, 30] {
        fs::remove_file(job.path(&format!("{row:03}.png"))).unwrap();
    }
    let report = job.run("out", &[]);
    let faults = format!("{:?}", report.faults);
    assert!(
        faults.contains("3 rows could not be read, and max_failures is 2"),
        "{faults}"
    );
    assert!(!job.path("out/softlabels.npz").exists());
    job.run("out", &[("max_failures: 2", "max_failures: 3")]);
    assert_eq!(
        job.json("out", "alignmentreport.json")["counts"]["failed"],
        3
    );
}

#[test]
fn a_row_is_asked_of_the_models_that_have_not_learnt_from_it() {
    let job = Job::new();
    let manifest = Manifest::read(&job.manifest).unwrap();
    let trained = |fold: u32| {
        let without = json!({"fold": fold, "folds": 2});
        json!({"manifest_sha256": manifest.sha256, "without_fold": without})
    };
    libtorch(&job.path("f0"), 10, 1.0, trained(0));
    libtorch(&job.path("f1"), 11, 1.0, trained(1));
    let folder = job.folder.path().display();
    let model = format!("model: \"{folder}/a\"");
    let folds = format!("model: \"{folder}/f0\", folds: [\"{folder}/f1\"]");
    job.run("out", &[(&model, &folds)]);
    let teachers = Npz::open(&job.path("out/softlabels.npz"))
        .unwrap()
        .floats("teacher_logits");
    let teachers = teachers.unwrap().values;
    for row in [0, 1, 2, 3, 15, 22] {
        let said = |name: &str| said(&job.path(name), &manifest, row, 0);
        let (f0, f1) = (said("f0"), said("f1"));
        let is_train = row / 7 % 4 < 2;
        for class in 0..7 {
            let expected = match fold_of(&manifest.rows[row].group, 2) {
                0 if is_train => f0[class],
                1 if is_train => f1[class],
                _ => (f0[class] + f1[class]) / 2.0,
            };
            let found = teachers[row * 3 * 14 + class];
            assert!(
                (found - expected).abs() < 1e-4,
                "row {row}: {found} {expected}"
            );
        }
    }
    let seen = &job.json("out", "alignmentreport.json")["counts"]["seen"];
    assert_eq!(seen["a"], json!({"unseen": 40, "seen": 0, "unknown": 0}));
    assert_eq!(seen["b"], json!({"unseen": 0, "seen": 0, "unknown": 40}));

    // A single model that was trained on the rows is refused, unless that is allowed.
    let seen = format!("model: \"{folder}/f0\"");
    assert!(!job.run("seen", &[(&model, &seen)]).faults.is_empty());
    assert!(!job.path("seen/softlabels.npz").exists());
    job.run("allowed", &[(&model, &format!("{seen}, allow_seen: true"))]);
    assert!(job.path("allowed/softlabels.npz").exists());

    // The same fold twice: some rows have been seen by both.
    libtorch(&job.path("f2"), 12, 1.0, trained(0));
    let folds = format!("model: \"{folder}/f0\", folds: [\"{folder}/f2\"]");
    let report = job.run("twice", &[(&model, &folds)]);
    assert!(!report.faults.is_empty());
    assert!(!job.path("twice/softlabels.npz").exists());
}

#[test]
fn settings_that_no_export_can_have_are_refused_before_it_begins() {
    let job = Job::new();
    let folder = job.folder.path().display().to_string();
    for (from, to, expected) in [
        ("weights: {a: 0.25", "weights: {a: -1", "weights.a is -1"),
        ("{b: 4}", "{b: 0}", "temperatures.b is 0"),
        (
            "{a: a, b: b}, weights: {a: 0.25",
            "{ensemble: a, b: b}, weights: {ensemble: 0.25",
            "a teacher cannot be called ensemble",
        ),
        ("{b: 4}", "{c: 4}", "there is no teacher of this name"),
        ("views: 3", "views: 0", "views is 0"),
        ("unit: 7", "unit: 0", "must be at least 1"),
        ("/b\"", "/none\"", "cannot read the model card"),
        ("manifest.csv", "none.csv", "cannot read the manifest"),
        (
            "unit: 7",
            "unit: 7, split: training",
            "unknown split `training`",
        ),
    ] {
        let found = job.graph("out", &[(from, to)]).map(drop).unwrap_err();
        assert!(found.contains(expected), "{to}: {found}");
        assert!(!found.contains("panicked"), "{folder}");
    }
    let error = job.start("out", &[("unit: 7", "unit: 7, split: test")]);
    assert!(error.is_ok(), "there are test rows");
}
