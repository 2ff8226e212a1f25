//! The whole pipeline in small: drawn people → two teachers, each of two folds → their softlabels → students → a model
//! with which the live graph classifies people that no model has seen. Each step is tested on its own elsewhere; this
//! tests that the steps fit together, and that they work: accuracies must exceed bounds that chance (one in seven) does
//! not reach.

use std::collections::HashMap;
use std::fs;

use fermata_learn::manifest::Split;
use fermata_learn::metrics::softmax;
use fermata_learn::predictions::Predictions;
use fermata_learn::row_hash::RowHash;
use fermata_learn::softlabels::Softlabels;
use serde_json::Value;

use crate::command::{refused, succeeds};
use crate::training::Data;

/// Epochs of teachers and students.
const EPOCHS: u32 = 12;
/// Temperature of the distillations.
const TEMPERATURE: f64 = 2.0;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Returns the settings of a training with this objective.
fn settings(objective: &str) -> String {
    format!(
        "architecture: small_resnet18_w8_s2_c1
batch: 16
seed: 5
epochs: {EPOCHS}
learning_rate: {{base: 6e-3, least: 0, warm_up_epochs: 1}}
augmentation: {{flip: 0.5, shift: 0.03, scale: 0.05, rotate_degrees: 3, brightness: 0.1, contrast: 0, gamma: 0, erase: 0}}
views: {{count: 3, seed: 5}}
objective: {objective}
"
    )
}

fn json(data: &Data, path: &str) -> Value {
    serde_json::from_slice(&fs::read(data.path(path)).unwrap()).unwrap()
}

/// Returns a model's accuracy on the test rows, measured by the command.
fn accuracy(data: &Data, run: &str) -> f64 {
    let (model, out) = (
        data.text(&format!("{run}/model")),
        data.text(&format!("{run}-test")),
    );
    let manifest = data.text("manifest.csv");
    let command = format!("evaluate --model {model} --manifest {manifest} --out {out}");
    succeeds(&words(&command));
    let metrics = json(data, &format!("{run}-test/metrics.json"));
    metrics["raw"]["metrics"]["accuracy"].as_f64().unwrap()
}

/// Returns the mean Kullback-Leibler divergence of a student from its ensemble on validation rows, at the temperature
/// of the distillation.
fn divergence(data: &Data, run: &str, ensemble: &Predictions) -> f64 {
    let path = data.path(&format!("{run}/predictions_validation.npz"));
    let student = Predictions::read(&path, ensemble.classes()).unwrap();
    let hashes = student.hashes().unwrap().iter().enumerate();
    let row_of: HashMap<&RowHash, usize> = hashes.map(|(row, hash)| (hash, row)).collect();
    let softened = |of: &Predictions, row: usize| {
        let logits: Vec<f64> = of
            .row(row)
            .iter()
            .map(|logit| logit / TEMPERATURE)
            .collect();
        softmax(&logits)
    };
    let hashes = ensemble.hashes().unwrap();
    let divergences = hashes.iter().enumerate().map(|(row, hash)| {
        let pairs = softened(ensemble, row)
            .into_iter()
            .zip(softened(&student, row_of[hash]));
        pairs.map(|(p, q)| p * (p / q).ln()).sum::<f64>()
    });
    divergences.sum::<f64>() / hashes.len() as f64
}

#[test]
fn from_drawn_people_to_a_student_in_the_live_graph() {
    let data = Data::drawn(
        "--seeds 1000..1060 --size 32 --validation 0.15 --test 0.15",
        "epochs: 1\n",
    );
    let manifest = data.text("manifest.csv");
    data.write("training.yaml", &settings("{label_smoothing: 0.1}"));
    succeeds(&data.train("whole", &[]));
    succeeds(&data.train("f0", &["--without-fold", "0/2"]));
    succeeds(&data.train("f1", &["--without-fold", "1/2"]));
    let wide = settings("{label_smoothing: 0.1}").replace("_w8_", "_w12_");
    data.write("training.yaml", &wide);
    succeeds(&data.train("w0", &["--without-fold", "0/2"]));
    succeeds(&data.train("w1", &["--without-fold", "1/2"]));
    let teacher = accuracy(&data, "whole");
    assert!(teacher > 0.45, "the teacher has {teacher}");

    // Weights are chosen on rows that neither teacher has seen: validation rows.
    let teachers = format!(
        "--teacher narrow={},{} --teacher wide={},{}",
        data.text("f0/model"),
        data.text("f1/model"),
        data.text("w0/model"),
        data.text("w1/model")
    );
    let search = data.text("search");
    let command = format!(
        "ensemble search --manifest {manifest} {teachers} --step 0.5 --out {search} --quiet"
    );
    let said = succeeds(&words(&command));
    let chosen = json(&data, "search/ensemble.json");
    let best = chosen["best"]["quality"]["macro_f1"].as_f64().unwrap();
    for alone in chosen["teachers"].as_array().unwrap() {
        assert!(best >= alone["alone"]["macro_f1"].as_f64().unwrap());
    }

    // For each teacher, the one of its two models that has not seen the row is used, with the weights and temperatures
    // that the search printed.
    let (out, config) = (data.text("soft"), data.text("training.yaml"));
    let (_, typed) = said.split_once("weightings:").expect("what can be typed");
    let typed = typed.lines().next().unwrap_or_default().trim();
    let softlabels = format!(
        "softlabels --manifest {manifest} {teachers} --views 3 --seed 5 --config {config} --out {out} --quiet"
    );
    succeeds(&words(&format!("{softlabels} {typed}")));
    let report = json(&data, "soft/alignmentreport.json");
    let table = fs::read_to_string(data.path("manifest.csv")).unwrap();
    let rows = table.lines().count() - 1;
    assert!(rows > 700, "{rows}");
    assert_eq!(report["counts"]["rows_out"], rows);
    for teacher in ["narrow", "wide"] {
        assert_eq!(report["counts"]["seen"][teacher]["unseen"], rows);
    }
    let metrics = json(&data, "soft/ensemble_metrics.json");
    let unseen = metrics["by_split"]["train"]["ensemble"]["accuracy"]
        .as_f64()
        .unwrap();
    assert!(unseen > 0.25, "out of fold {unseen}");

    let decoupled =
        "{distillation: {decoupled: {temperature: 2, alpha: 0.5, beta: 4, form: report}}}";
    let correlation =
        "{distillation: {correlation: {temperature: 2, cross_entropy: 1, beta: 1, gamma: 1}}}";
    let ensemble = Softlabels::open(&data.path("soft")).unwrap();
    let ensemble = ensemble.predictions(Split::Validation).unwrap();
    let mut divergences = Vec::new();
    let mut losses = Vec::new();
    for (name, objective, softlabels) in [
        ("ce", "{}", false),
        (
            "kd",
            "{distillation: {plain: {temperature: 2, alpha: 0.5}}}",
            true,
        ),
        ("dkd", decoupled, true),
        ("dist", correlation, true),
    ] {
        data.write("training.yaml", &settings(objective));
        let out = data.text("soft");
        let more = ["--softlabels", &out];
        succeeds(&data.train(name, if softlabels { &more } else { &[] }));
        let student = accuracy(&data, name);
        println!("{name}: {student:.3} (teacher {teacher:.3})");
        assert!(student > 0.25, "{name} has {student}");
        let history = fs::read_to_string(data.path(&format!("{name}/history.csv"))).unwrap();
        assert_eq!(history.lines().count() as u32, EPOCHS + 1);
        losses.push(history);
        divergences.push(divergence(&data, name, &ensemble));
    }
    losses.sort();
    losses.dedup();
    assert_eq!(losses.len(), 4, "each objective trains otherwise");
    println!("divergence from the ensemble: {divergences:.3?}");
    // The students have the same network and see the same pictures in the same order: only the ensemble brings them
    // closer.
    for distilled in &divergences[1..] {
        assert!(*distilled < 0.9 * divergences[0], "{divergences:?}");
    }

    // No student may learn from softlabels of other views.
    let other = settings("{distillation: {plain: {temperature: 2, alpha: 0.5}}}");
    data.write("training.yaml", &other.replace("shift: 0.03", "shift: 0.1"));
    refused(
        &data.train("other", &["--softlabels", &out]),
        &["augmentation.shift: 0.03 in the softlabels, 0.1 in the training"],
    );

    // A resumed training may not continue with softlabels of another temperature in place of its own.
    let before = report["alignment"]["teachers"][0]["temperature"].clone();
    fs::remove_dir_all(data.path("soft")).unwrap();
    let others =
        "--weight narrow=0.5 --weight wide=0.5 --temperature narrow=7 --temperature wide=7";
    succeeds(&words(&format!("{softlabels} {others}")));
    refused(
        &data.resume("kd", &["--more", "1"]),
        &[
            "were made anew since the run began",
            &format!(
                "teachers[0].temperature: {before} in those that it began with, 7.0 in those that are there now"
            ),
        ],
    );

    let (weights, card, model) = (
        data.text("kd/checkpoints/best.safetensors"),
        data.text("card.yaml"),
        data.text("expression"),
    );
    let command = format!(
        "export --arch small_resnet18_w8_s2_c1 --weights {weights} --card {card} --output {model}"
    );
    succeeds(&words(&command));
    let graph = format!(
        "
fermata: 1
streams: {{left: 9001, right: 9002}}
nodes:
  capture: {{use: synthetic_faces, each: stream, seed: \"${{stream.uri}}\", faces: 2, count: 150, fps: 5}}
  detect:  {{use: detect_faces, in: capture, model: haar, min_size: 60}}
  track:   {{use: track_faces, each: stream, in: detect}}
  crop:    {{use: crop_faces, each: stream, in: track, model: \"{model}\"}}
  emotion: {{use: classify_expression, in: crop, model: \"{model}\", batch: {{max: 16, wait: 8ms}}}}
  smooth:  {{use: smooth_labels, each: stream, in: emotion, ema: 150ms, vote: 3}}
  log:     {{use: write_csv, in: smooth, path: \"${{run.dir}}/faces.csv\"}}
run: {{clock: asap}}
"
    );
    data.write("live.yaml", &graph);
    let (graph, live, out) = (data.text("live.yaml"), data.text("live"), data.text("kpi"));
    succeeds(&words(&format!("run {graph} --out {live} --quiet")));
    succeeds(&words(&format!("kpi {live} --out {out}")));
    let kpi = json(&data, "kpi/kpi.json");
    let all = &kpi["runs"][0]["all"];
    assert_eq!(all["frames"], 300);
    // While an expression changes, it is half of each.
    let accuracy = all["accuracy"].as_f64().unwrap();
    println!("live: {accuracy:.3}");
    assert!(accuracy > 0.25, "live: {accuracy}");
    assert!(all["detection_rate"].as_f64().unwrap() > 0.9);
    assert!(all["tracks"].as_u64().unwrap() >= 4);
}
