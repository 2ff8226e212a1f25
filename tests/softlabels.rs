//! `fermata softlabels`, `resume` and `ensemble search` as a new user meets them, including kills at any moment.

mod evaluated;
mod inspected;
#[cfg(feature = "remote")]
mod job_server;
mod killed;
#[cfg(feature = "remote")]
mod machines_killed;
#[cfg(feature = "remote")]
mod owned_folders;
mod refusals;
#[cfg(feature = "remote")]
mod several_machines;
mod taken_up;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fermata_learn::export::{Overwrite, write_folder};
use fermata_learn::network::{Head, Network};
use fermata_learn::softlabels::Softlabels;
use fermata_vision::{Expression, ModelCard};
use image::{GrayImage, Luma};
use serde_json::{Value, json};
use tch::Device;

use crate::command::{run, succeeds};

/// Labelled pictures, and teachers whose weights are drawn from a seed.
pub(crate) struct Data {
    folder: tempfile::TempDir,
    manifest: String,
}

impl Data {
    pub(crate) fn new(rows: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut csv = "image,label,source,split,group,sha256,width,height\n".to_owned();
        for row in 0..rows {
            let name = format!("{row}.png");
            picture(folder.path(), row);
            let sha256 = fermata_files::sha256_of_file(&folder.path().join(&name)).unwrap();
            let label = Expression::ALL[row % 7];
            let split = ["train", "validation", "test", "train"][row / 7 % 4];
            csv += &format!("{name},{label},waves,{split},g{row},{sha256},24,24\n");
        }
        let manifest = folder.path().join("manifest.csv");
        fs::write(&manifest, csv).unwrap();
        let data = Self {
            manifest: manifest.display().to_string(),
            folder,
        };
        data.teacher("a", 1, 1.5, json!({}));
        data.teacher("b", 2, 1.0, json!({}));
        data
    }

    /// Draws the picture of a row again, as it was.
    #[cfg(feature = "remote")]
    fn picture(&self, row: usize) {
        picture(self.folder.path(), row);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn teacher(&self, name: &str, seed: u64, temperature: f64, provenance: Value) {
        let architecture = "small_resnet18_w8_s2_c1";
        let head = Head::Linear { classes: 7 };
        let network = Network::new(architecture.parse().unwrap(), head, seed, Device::Cpu);
        let weights = self.path(&format!("{name}.safetensors"));
        network.save(&weights, Some(provenance)).unwrap();
        let text = format!(
            "architecture: {architecture}
input: {{name: input, size: 32, layout: nchw, colour: gray}}
interpolation: area
scaling: [{{divide: 255}}]
output: {{name: logits, kind: logits, classes: [angry, disgust, fear, happy, sad, surprise, neutral]}}
temperature: {temperature}
licence: none
source: a test
"
        );
        let card = ModelCard::parse(&text, Path::new("card.yaml")).unwrap();
        let bytes = fs::read(&weights).unwrap();
        write_folder(&self.path(name), card, &bytes, Overwrite::Refused).unwrap();
    }

    /// Returns the arguments of an export by both teachers into a folder, and some more.
    pub(crate) fn export(&self, out: &str, more: &[&str]) -> Vec<String> {
        let (a, b) = (self.text("a"), self.text("b"));
        let arguments = [
            "softlabels",
            "--manifest",
            &self.manifest,
            "--teacher",
            &format!("b={b}"),
            "--teacher",
            &format!("a={a}"),
            "--views",
            "3",
            "--seed",
            "7",
            "--unit",
            "8",
            "--out",
            &self.text(out),
            "--quiet",
        ]
        .map(str::to_owned);
        let more = more.iter().map(|&argument| argument.to_owned());
        arguments.into_iter().chain(more).collect()
    }

    /// Returns the arguments of a search for the weights of both teachers.
    pub(crate) fn search(&self, out: &str, more: &[&str]) -> Vec<String> {
        let (a, b) = (self.text("a"), self.text("b"));
        let arguments = [
            "ensemble",
            "search",
            "--manifest",
            &self.manifest,
            "--teacher",
            &format!("a={a}"),
            "--teacher",
            &format!("b={b}"),
            "--out",
            &self.text(out),
            "--quiet",
        ];
        let all = arguments.iter().chain(more);
        all.map(|&argument| argument.to_owned()).collect()
    }

    /// Returns what an export has written, by file.
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
            let bytes = read.unwrap_or_else(|error| panic!("{out}/{name}: {error}"));
            (name.to_owned(), bytes)
        };
        names.into_iter().map(read).collect()
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(path)).unwrap()).unwrap()
    }
}

fn picture(folder: &Path, row: usize) {
    let wave = |x, y| ((x as usize * (row % 7 + 1) + y as usize * (row + 2)) * 5 % 256) as u8;
    let picture = GrayImage::from_fn(24, 24, |x, y| Luma([wave(x, y)]));
    picture.save(folder.join(format!("{row}.png"))).unwrap();
}

#[track_caller]
pub(crate) fn assert_same(one: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>) {
    for (name, bytes) in one {
        assert!(*bytes == other[name], "{name} differs");
    }
}

#[test]
fn two_exports_give_the_same_bytes_whatever_reads_ahead_and_numpy_opens_them() {
    let data = Data::new(60);
    fs::write(data.path("31.png"), "no picture").unwrap();
    let weights = [
        "--weight",
        "a=0.25",
        "--weight",
        "b=0.5",
        "--temperature",
        "b=2",
    ];
    succeeds(&data.export("one", &weights));
    succeeds(&data.export(
        "two",
        &[&weights[..], &["--readers", "5", "--batch", "64"]].concat(),
    ));
    assert_same(&data.files("one"), &data.files("two"));

    let report = data.json("one/alignmentreport.json");
    let counts = &report["counts"];
    let of = |name: &str| counts[name].as_u64().unwrap();
    assert_eq!([of("rows_in"), of("rows_out"), of("failed")], [60, 59, 1]);
    let teacher = |number: usize, key: &str| report["alignment"]["teachers"][number][key].clone();
    assert_eq!(
        (teacher(0, "name"), teacher(1, "name")),
        (json!("a"), json!("b"))
    );
    assert_eq!(
        (teacher(0, "weight"), teacher(1, "weight")),
        (json!(0.25), json!(0.5))
    );
    // The first temperature is the card's.
    assert_eq!(
        (teacher(0, "temperature"), teacher(1, "temperature")),
        (json!(1.5), json!(2.0))
    );
    let failed = fs::read_to_string(data.path("one/failed.jsonl")).unwrap();
    assert!(
        failed.contains("\"image\":\"31.png\"") && failed.contains("\"reason\""),
        "{failed}"
    );

    let inspected = succeeds(&["inspect".to_owned(), data.text("one")]);
    for words in [
        "59 rows of 60 (all), 1 could not be read",
        "views       3, seed 7",
        "all files are as",
    ] {
        assert!(inspected.contains(words), "`{words}` is not in {inspected}");
    }

    let script = format!(
        "import json, numpy
z = numpy.load('{0}/softlabels.npz')
l, t = z['logits'], z['teacher_logits']
assert l.dtype == t.dtype == numpy.float32
assert l.shape == (59, 3, 7) and t.shape == (59, 3, 2, 7), (l.shape, t.shape)
index = [json.loads(line) for line in open('{0}/softlabels_index.jsonl')]
assert [line['row'] for line in index] == list(range(59))
fused = 0.25 * t[:, :, 0] / 1.5 + 0.5 * t[:, :, 1] / 2
assert numpy.abs(fused - l).max() < 1e-5
assert numpy.abs(l[:, 0] - l[:, 1]).max() > 0
print('opened by numpy', numpy.__version__)
",
        data.text("one")
    );
    let output = Command::new("/usr/bin/python3")
        .args(["-c", &script])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{errors} (make setup-test installs python3-numpy)"
    );
    println!("{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_graph_file_gives_the_same_as_the_command() {
    let data = Data::new(30);
    succeeds(&data.export("command", &[]));
    fs::create_dir(data.path("teachers")).unwrap();
    for (from, to) in [("a", "rn18"), ("b", "b3")] {
        fs::rename(data.path(from), data.path("teachers").join(to)).unwrap();
    }
    let arguments = [
        "run",
        "graphs/softlabels.yaml",
        "--param",
        &format!("manifest={}", data.manifest),
        "--param",
        &format!("teachers={}", data.text("teachers")),
        "--param",
        "views=3",
        "--param",
        "seed=7",
        "--out",
        &data.text("graph"),
        "--quiet",
    ]
    .map(str::to_owned);
    let output = succeeds(&arguments);
    assert!(output.contains("softlabels: 30 frames"), "{output}");
    let read = |name: &str| Softlabels::open(&data.path(name)).unwrap();
    let (command, graph) = (read("command"), read("graph"));
    let sum = |softlabels: &Softlabels| {
        let manifest = fermata_learn::manifest::Manifest::read(Path::new(&data.manifest)).unwrap();
        let rows = manifest.rows.iter();
        let logits = rows.map(|row| *softlabels.logits(&row.sha256, row.split, 2).unwrap());
        logits.collect::<Vec<_>>()
    };
    assert_eq!(sum(&command).len(), 30);
    // The teachers' names have another order, so sums may differ in their last digit.
    for (one, other) in sum(&command)
        .iter()
        .flatten()
        .zip(sum(&graph).iter().flatten())
    {
        assert!((one - other).abs() < 1e-5);
    }
}

#[test]
fn an_evaluation_as_a_graph_says_what_the_command_says() {
    let data = Data::new(60);
    let arguments = [
        "run",
        "graphs/evaluate.yaml",
        "--param",
        &format!("manifest={}", data.manifest),
        "--param",
        &format!("model={}", data.text("a")),
        "--out",
        &data.text("graph"),
        "--quiet",
    ];
    succeeds(&arguments.map(str::to_owned));
    let command = [
        "evaluate",
        "--model",
        &data.text("a"),
        "--manifest",
        &data.manifest,
        "--out",
        &data.text("command"),
    ];
    succeeds(&command.map(str::to_owned));
    let classes = Expression::ALL.map(|class| class.to_string()).to_vec();
    let read = |folder: &str| {
        let path = data.path(folder).join("predictions.npz");
        fermata_learn::predictions::Predictions::read(&path, &classes).unwrap()
    };
    let (graph, command) = (read("graph"), read("command"));
    assert_eq!(graph.labels(), command.labels());
    for row in 0..graph.len() {
        for (one, other) in graph.row(row).iter().zip(command.row(row)) {
            assert!((one - other).abs() < 1e-5);
        }
    }
}

#[test]
fn an_ensemble_is_chosen_and_its_words_can_be_typed() {
    let data = Data::new(120);
    let output = succeeds(&data.search("search", &["--step", "0.25"]));
    let table = fs::read_to_string(data.path("search/search.csv")).unwrap();
    assert_eq!(table.lines().count(), 6, "{table}");
    let chosen = data.json("search/ensemble.json");
    assert_eq!(chosen["rows"], 29, "the validation rows");
    let picture = fs::read_to_string(data.path("search/search.svg")).unwrap();
    assert!(picture.contains("macro-F1") && picture.ends_with("</svg>\n"));
    let typed = output
        .lines()
        .find_map(|line| line.split_once("weightings:"));
    let words: Vec<&str> = typed
        .expect("weights and temperatures")
        .1
        .split_whitespace()
        .collect();
    assert_eq!(words.len(), 8, "{words:?}");
    succeeds(&data.export("out", &words));
}

#[test]
fn actors_of_jobs_are_listed_and_graphs_with_them_checked_by_the_one_program() {
    let (code, listed, _) = run(&["actors"]);
    assert_eq!(code, 0);
    for name in ["infer_logits", "write_softlabels", "classify_expression"] {
        assert!(listed.contains(name), "{name}");
    }
    let data = Data::new(7);
    let manifest = format!("manifest={}", data.manifest);
    let model = format!("model={}", data.text("a"));
    let check = [
        "check",
        "graphs/evaluate.yaml",
        "--param",
        &manifest,
        "--param",
        &model,
    ];
    let (code, output, errors) = run(&check);
    assert_eq!(code, 0, "{output}{errors}");
    let (code, dot, _) = run(&[
        "graph",
        "graphs/evaluate.yaml",
        "--param",
        &manifest,
        "--param",
        &model,
    ]);
    assert!(code == 0 && dot.contains("infer_logits"));
    // An unknown name is refused once, by the program that knows all names.
    let graph = data.path("wrong.yaml");
    let text = "fermata: 1\nnodes:\n  a: {use: test_source}\n  b: {use: infer_logit, in: a}\n";
    fs::write(&graph, text).unwrap();
    let (code, _, errors) = run(&["run", &graph.display().to_string()]);
    assert_eq!(code, 2);
    assert!(errors.contains("did you mean `infer_logits`?"), "{errors}");
    assert_eq!(errors.matches("there is no actor").count(), 1, "{errors}");
}

#[test]
fn the_graphs_of_jobs_that_ship_are_right() {
    let mut registry = crate::support::registry();
    fermata_jobs::register(&mut registry);
    for (graph, params) in [
        ("softlabels", ["manifest=m.csv", "teachers=models"]),
        ("evaluate", ["manifest=m.csv", "model=models/a"]),
    ] {
        let path = crate::support::repository(&format!("graphs/{graph}.yaml"));
        let mut options = crate::support::options();
        options.overrides.params = params.map(str::to_owned).to_vec();
        let loaded = fermata_engine::Graph::load(&path, &registry, &options);
        loaded.unwrap_or_else(|problems| panic!("{problems}"));
    }
}
