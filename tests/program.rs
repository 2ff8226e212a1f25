//! The program as a new user meets it: with right and wrong input.

use std::path::Path;
use std::process::Command;

use crate::command::{run, was_refused};
use crate::skipped::data;
use crate::support::{card_of_mini_xception, fermata, wait_until_or};

/// Runs a graph into a folder and asserts that it is refused with these words and leaves nothing behind.
fn refused(graph: &str, more: &[&str], words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("graph.yaml");
    std::fs::write(&file, graph).unwrap();
    let out = folder.path().join("out");
    let (file, out_text) = (file.display().to_string(), out.display().to_string());
    let mut arguments = vec!["run", &file, "--out", &out_text];
    arguments.extend(more);
    was_refused(run(&arguments), words);
    assert!(!out.exists(), "something was written: {:?}", listing(&out));
}

fn listing(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder).map_or_else(
        |_| Vec::new(),
        |entries| {
            let names = entries.flatten().map(|entry| entry.file_name());
            let mut names: Vec<String> = names
                .map(|name| name.to_string_lossy().into_owned())
                .collect();
            names.sort();
            names
        },
    )
}

const VIDEO: &str = "\
fermata: 1
streams: {a: 'VIDEO'}
nodes:
  capture: {use: video_source, each: stream, uri: \"${stream.uri}\"}
  log:     {use: write_csv, in: detect, path: \"${run.dir}/faces.csv\"}
  detect:  {use: detect_faces, in: capture, model: haar}
run: {clock: asap}
";

#[test]
fn the_demo_writes_what_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let out_text = out.display().to_string();
    let (code, summary, errors) = run(&[
        "run",
        "graphs/demo.yaml",
        "--out",
        &out_text,
        "--set",
        "run.clock=asap",
        "--set",
        "nodes.capture.count=50",
    ]);
    assert_eq!(code, 0, "{summary}{errors}");
    assert_eq!(
        listing(&out),
        [
            "faces.csv",
            "graph.yaml",
            "left.mp4",
            "left.truth.csv",
            "report.json",
            "right.mp4",
            "right.truth.csv",
            "run.log"
        ]
    );
    assert!(summary.contains("demo: 100 frames"), "{summary}");
    let rows = std::fs::read_to_string(out.join("faces.csv")).unwrap();
    assert!(
        rows.starts_with(
            "stream,segment,sequence,pts_ms,track,x,y,w,h,score,raw_label,label,p_angry,p_disgust,\
             p_fear,p_happy,p_sad,p_surprise,p_neutral,truth,true_face,latency_ms,file\n"
        ),
        "{rows}"
    );
    // The model that ships classifies people that it has not seen.
    let (code, table, errors) = run(&["kpi", &out_text]);
    assert!(code == 0 && table.contains("right"), "{table}{errors}");
    let kpi = std::fs::read_to_string(out.join("kpi.json")).unwrap();
    let kpi: serde_json::Value = serde_json::from_str(&kpi).unwrap();
    let right = kpi["runs"][0]["all"]["accuracy"].as_f64().unwrap();
    assert!(right >= 0.85, "{right}");
}

#[test]
fn every_graph_that_ships_is_right() {
    let registry = crate::support::registry();
    for graph in [
        "demo",
        "kpi_demo",
        "replay",
        "live",
        "webcam",
        "four_cameras",
        "bench/fer",
        "bench/hop1",
        "bench/hop5",
        "bench/lane5",
    ] {
        let path = crate::support::repository(&format!("graphs/{graph}.yaml"));
        let mut options = crate::support::options();
        let text = std::fs::read_to_string(&path).unwrap();
        // The benchmark accepts any model.
        if text.contains("model: null") {
            options.overrides.params = vec!["model=models/expression".to_owned()];
        }
        let loaded = fermata_engine::Graph::load(&path, &registry, &options);
        loaded.unwrap_or_else(|problems| panic!("{problems}"));
    }
}

#[test]
fn a_wrong_graph_is_refused_and_nothing_is_written() {
    refused(
        "fermata: 1\nnodes:\n  a: {use: test_source, cuont: 3}\n  b: {use: discard, in: a}\n",
        &[],
        &[
            "graph.yaml:3:25",
            "unknown key `cuont`",
            "did you mean `count`?",
        ],
    );
    refused(
        "fermata: 1\nnodes:\n  a: {use: test_source, count: many}\n  b: {use: discard, in: a}\n",
        &[],
        &["graph.yaml:3:32", "\"many\""],
    );
    refused(
        "fermata: 1\nnodes:\n  a: {use: identity, in: b}\n  b: {use: identity, in: a}\n",
        &[],
        &["feed each other in a circle"],
    );
    refused("a: [1", &[], &["not YAML"]);
    refused(
        "fermata: 1\nnodes:\n  a: {use: synthetic_faces, each: stream}\n  b: {use: track_faces, each: stream, in: a}\n",
        &["--stream", "x=1"],
        &["takes Faces", "gives VideoFrame"],
    );
}

#[test]
fn missing_files_devices_and_models_are_refused_by_name() {
    refused(
        &VIDEO.replace("VIDEO", "/nowhere/clip.mp4"),
        &[],
        &["/nowhere/clip.mp4"],
    );
    refused(
        &VIDEO.replace("VIDEO", "/dev/video97"),
        &[],
        &["/dev/video97"],
    );
    refused(
        VIDEO,
        &[
            "--stream",
            "a=README.md",
            "--set",
            "nodes.detect.model=/nowhere/yunet.onnx",
        ],
        &["/nowhere/yunet.onnx"],
    );
    refused(
        VIDEO,
        &[
            "--stream",
            "b=README.md",
            "--stream",
            "a=Cargo.toml",
            "--set",
            "nodes.log.path=Cargo.toml",
        ],
        &["which a stream reads"],
    );
}

#[test]
fn a_file_that_is_no_video_fails_its_stream() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("clip.mp4"), "this is no video").unwrap();
    std::fs::write(
        path("graph.yaml"),
        VIDEO.replace("VIDEO", &path("clip.mp4")),
    )
    .unwrap();
    let (code, text, errors) = run(&["run", &path("graph.yaml"), "--out", &path("out"), "-q"]);
    assert_eq!(code, 1, "{text}{errors}");
    for words in ["failed: node `capture@a`", "clip.mp4", "it is not a video"] {
        assert!(text.contains(words), "{words}: {text}{errors}");
    }
}

#[test]
fn two_nodes_that_write_one_file_are_refused() {
    refused(
        "\
fermata: 1
streams: {a: 1, b: 2}
nodes:
  capture: {use: synthetic_faces, each: stream, seed: \"${stream.uri}\", count: 5}
  video:   {use: write_video, each: stream, in: capture, path: \"${run.dir}/all.mp4\"}
",
        &[],
        &["`video@a` and `video@b` both write", "${stream.name}"],
    );
}

#[test]
fn an_output_folder_that_cannot_be_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let out = file.join("out").display().to_string();
    let (code, _, errors) = run(&["run", "graphs/demo.yaml", "--out", &out]);
    assert_eq!(code, 2);
    assert!(errors.contains("cannot make the output folder"), "{errors}");
}

#[test]
fn models_that_contradict_their_cards_are_refused() {
    let Some(data) = data() else { return };
    let model = card_of_mini_xception(&data);
    let card = model.path().join("card.yaml");
    let right = std::fs::read_to_string(&card).unwrap();
    let video = data
        .join("videos/pyfeat_single_face.mp4")
        .display()
        .to_string();
    let stream = format!("a={video}");
    let graph = std::fs::read_to_string(crate::support::repository("graphs/live.yaml")).unwrap();
    let model_param = format!("model={}", model.path().display());
    let more = ["--stream", stream.as_str(), "--param", model_param.as_str()];
    for (wrong, words) in [
        (right.replace("size: 64", "size: 48"), "48"),
        (
            right.replace("colour: gray", "colour: rgb"),
            "contradicts the model",
        ),
        (right.replace("angry, disgust", "angry, angry"), "angry"),
        (right.replace("name: probs", "name: logits"), "logits"),
        (right.replace("sha256: ", "sha256: 0"), "sha256"),
        (right.replace("scaling:", "scalling:"), "scalling"),
    ] {
        std::fs::write(&card, wrong).unwrap();
        refused(&graph, &more, &["card.yaml", words]);
    }
    std::fs::remove_file(&card).unwrap();
    refused(&graph, &more, &["card.yaml"]);
}

#[test]
fn a_device_that_is_not_there_is_an_error_and_no_silent_substitute() {
    let Some(data) = data() else { return };
    let model = card_of_mini_xception(&data);
    let video = data
        .join("videos/pyfeat_single_face.mp4")
        .display()
        .to_string();
    let graph = std::fs::read_to_string(crate::support::repository("graphs/live.yaml")).unwrap();
    refused(
        &graph,
        &[
            "--stream",
            &format!("a={video}"),
            "--param",
            &format!("model={}", model.path().display()),
            "--set",
            "nodes.emotion.device=cuda:7",
        ],
        &["cuda:7"],
    );
}

#[test]
fn one_of_eight_streams_that_dies_does_not_take_the_others_with_it() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().unwrap();
    let whole = data.join("videos/pyfeat_single_face.mp4");
    let cut = folder.path().join("cut.mkv");
    let bytes = std::fs::read(data.join("videos/intel_asl_again.mkv")).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let graph = folder.path().join("graph.yaml");
    std::fs::write(&graph, VIDEO.replace("VIDEO", &whole.display().to_string())).unwrap();
    let out = folder.path().join("out").display().to_string();
    let graph = graph.display().to_string();
    let dying = format!("b={}", cut.display());
    let others: Vec<String> = ["c", "d", "e", "f", "g", "h"]
        .map(|name| format!("{name}={}", whole.display()))
        .to_vec();
    let mut arguments = vec!["run", &graph, "--stream", &dying, "--out", &out];
    arguments.extend(["--set", "nodes.detect.every=24"]);
    for stream in &others {
        arguments.extend(["--stream", stream]);
    }
    let (code, summary, _) = run(&arguments);
    assert_eq!(code, 1, "{summary}");
    assert!(summary.contains("failed: node `capture@b`"), "{summary}");
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(Path::new(&out).join("report.json")).unwrap())
            .unwrap();
    assert_eq!(report["balanced"], true);
    for stream in ["a", "c", "d", "e", "f", "g", "h"] {
        assert_eq!(report["streams"][stream]["delivered"], 72, "{stream}");
    }
    assert!(report["streams"]["b"]["delivered"].as_u64().unwrap() > 10);
}

#[test]
fn a_number_is_taken_for_a_camera_only_where_it_cannot_be_opened() {
    for (graph, streams, is_camera) in [
        ("graphs/live.yaml", &["cam=97"][..], true),
        ("graphs/demo.yaml", &["left=1", "left=2"], false),
        ("graphs/demo.yaml", &["../x=1"], false),
    ] {
        let streams = streams.iter().flat_map(|stream| ["--stream", stream]);
        let arguments: Vec<&str> = ["check", graph].into_iter().chain(streams).collect();
        let (code, _, errors) = run(&arguments);
        assert_eq!(code, 2, "{errors}");
        assert_eq!(errors.contains("/dev/video"), is_camera, "{errors}");
    }
}

#[test]
fn drawings_schema_actors_and_completions_are_printed() {
    let (code, svg, _) = run(&["graph", "graphs/demo.yaml", "--format", "svg"]);
    assert_eq!(code, 0);
    assert!(
        svg.contains("<svg") && svg.contains("synthetic_faces"),
        "{svg}"
    );
    let (_, dot, _) = run(&["graph", "graphs/demo.yaml"]);
    assert!(dot.contains("digraph \"demo\""), "{dot}");
    let (_, schema, _) = run(&["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert!(schema["properties"]["nodes"].is_object());
    let (_, actors, _) = run(&["actors"]);
    assert!(
        actors.contains("detect_faces") && actors.contains("write_video"),
        "{actors}"
    );
    let (_, one, _) = run(&["actors", "video_source"]);
    assert!(one.contains("uri (string, required)"), "{one}");
    let (code, _, errors) = run(&["actors", "no_such"]);
    assert_eq!(code, 2);
    assert!(errors.contains("no_such"), "{errors}");
    let (_, completions, _) = run(&["completions", "bash"]);
    assert!(completions.contains("_fermata"), "{completions}");
    let (code, doctor, _) = run(&["doctor"]);
    assert_eq!(code, 0, "{doctor}");
    assert!(doctor.contains("haar cascade"), "{doctor}");
}

#[test]
fn ctrl_c_finishes_what_is_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut child = Command::new(fermata())
        .args([
            "run",
            "graphs/demo.yaml",
            "--set",
            "nodes.capture.count=100000",
        ])
        .args(["--set", "nodes.detect.every=25", "--out"])
        .arg(&out)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program");
    // Waits until both videos have begun: the file of a stream without frames is empty.
    let begun = |name: &str| {
        let part = std::fs::metadata(out.join(name));
        part.is_ok_and(|part| part.len() > 0)
    };
    wait_until_or(
        || format!("{:?}", listing(&out)),
        || begun("left.mp4.part") && begun("right.mp4.part"),
    );
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["balanced"], true);
    for stream in ["left", "right"] {
        let stream = &report["streams"][stream];
        assert_eq!(stream["captured"], stream["sinks"]["log"]["delivered"]);
    }
    assert!(listing(&out).contains(&"left.mp4".to_owned()));
}

#[test]
fn the_graph_in_the_readme_is_right() {
    let readme = std::fs::read_to_string(crate::support::repository("README.md")).unwrap();
    let graph = readme
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let graph = graph.expect("a graph in the README");
    let loaded = fermata_engine::Graph::parse(
        "README.md",
        graph,
        &crate::support::registry(),
        &crate::support::options(),
    );
    assert_eq!(
        loaded
            .unwrap_or_else(|problems| panic!("{problems}"))
            .nodes
            .len(),
        6
    );
}

#[test]
fn the_card_in_the_guide_is_right() {
    let guide = std::fs::read_to_string(crate::support::repository("docs/models.md")).unwrap();
    let card = guide
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let card = card
        .expect("a card in the guide")
        .replace("sha256: …", &format!("sha256: {:064}", 1));
    let parsed = fermata_vision::ModelCard::parse(&card, Path::new("card.yaml"));
    parsed.unwrap_or_else(|error| panic!("{error}"));
}
