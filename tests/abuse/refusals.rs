//! What is refused before anything is started.

use std::fs;

use super::{GRAPH, Place};

/// A run that is refused, for this reason, and leaves no folder.
fn refused(place: &Place, arguments: &[&str], reason: &str) {
    let ended = place.run(arguments);
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    assert!(ended.said.contains(reason), "{}", ended.said);
    assert!(place.names("o").is_empty(), "{:?}", place.names("o"));
}

const COPY: &str = "\
fermata: 1
streams: {a: victim.mp4}
nodes:
  s: {use: video_source, each: stream, uri: \"${stream.uri}\"}
  v: {use: write_video, each: stream, in: s, path: victim.mp4}
run: {clock: asap}
";

#[test]
fn a_video_is_never_written_over_while_it_is_read_however_it_is_called() {
    let place = Place::new(COPY);
    fs::write(place.path("victim.mp4"), "a video").unwrap();
    std::os::unix::fs::symlink(place.path("victim.mp4"), place.path("link.mp4")).unwrap();
    fs::create_dir(place.path("sub")).unwrap();
    let file_uri = format!("a=file://{}", place.path("victim.mp4").display());
    for stream in [
        file_uri.as_str(),
        "a=link.mp4",
        "a=sub/../victim.mp4",
        "a=./victim.mp4",
    ] {
        refused(&place, &["--stream", stream], "would write over");
    }
    let written = COPY.replace("${stream.uri}", "victim.mp4");
    fs::write(place.path("g.yaml"), written).unwrap();
    refused(&place, &["--stream", "a=other"], "would write over");
    // Also the part of a video that is being replayed.
    fs::write(place.path("victim.mp4.part"), "a part").unwrap();
    fs::write(place.path("g.yaml"), COPY).unwrap();
    refused(
        &place,
        &["--stream", "a=victim.mp4.part"],
        "would write over",
    );
    assert_eq!(fs::read(place.path("victim.mp4")).unwrap(), b"a video");
}

const TABLE: &str = "\
fermata: 1
nodes:
  s: {use: synthetic_faces, count: 5}
  d: {use: detect_faces, in: s, every: 1000}
  e: {use: write_csv, in: d, path: \"PATH\"}
";

#[test]
fn images_models_and_the_graph_itself_are_never_written_over() {
    let place = Place::new(&TABLE.replace("PATH", "g.yaml"));
    refused(&place, &[], "the graph is in");
    let of_images = TABLE
        .replace("synthetic_faces, count: 5", "image_source, path: pictures")
        .replace("PATH", "pictures/a.png");
    fs::write(place.path("g.yaml"), of_images).unwrap();
    fs::create_dir(place.path("pictures")).unwrap();
    fs::write(place.path("pictures/a.png"), "a picture").unwrap();
    refused(&place, &[], "`s` reads");
    let model = TABLE
        .replace("every: 1000", "model: faces.onnx")
        .replace("PATH", "./faces.onnx");
    fs::write(place.path("g.yaml"), model).unwrap();
    fs::write(place.path("faces.onnx"), "a model").unwrap();
    refused(&place, &[], "`d` reads");
}

#[test]
fn sinks_spare_the_runs_own_files_and_devices() {
    for own in ["report.json", "graph.yaml", "run.log", ".lock"] {
        let place = Place::new(&TABLE.replace("PATH", &format!("${{run.dir}}/{own}")));
        refused(&place, &[], "the run itself writes");
    }
    let place = Place::new(&TABLE.replace("PATH", "/dev/null"));
    refused(&place, &[], "is a device or a pipe");
    place.script("mkfifo pipe");
    fs::write(place.path("g.yaml"), TABLE.replace("PATH", "pipe")).unwrap();
    refused(&place, &[], "is a device or a pipe");
}

#[test]
fn a_restart_budget_that_can_never_be_spent_is_refused() {
    let place = Place::new(GRAPH);
    for (most, within, is_right) in [
        (5, "1s", false),
        (5, "3s", false),
        (5, "3.1s", true),
        (4_000_000_000_u32, "1000h", false),
        (0, "0s", true),
    ] {
        let set = format!("run.restart={{most: {most}, within: {within}}}");
        if is_right {
            let ended = place.run(&["--set", &set]);
            assert_eq!(ended.code, Some(0), "{}", ended.said);
            fs::remove_dir_all(place.path("o")).unwrap();
        } else {
            refused(&place, &["--set", &set], "no node would ever be given up");
        }
    }
}

#[test]
fn what_is_given_twice_is_refused() {
    let place = Place::new(GRAPH);
    for (option, first, second) in [
        ("--stream", "a=1", "a=2"),
        ("--stream", "a=1", "a=1"),
        ("--set", "nodes.s.count=1", "nodes.s.count=2"),
    ] {
        let arguments = [option, first, option, second];
        refused(&place, &arguments, "is given twice");
    }
    let with_param = format!("params: {{p: 1}}\n{GRAPH}");
    fs::write(place.path("g.yaml"), with_param).unwrap();
    refused(
        &place,
        &["--param", "p=1", "--param", "p=2"],
        "is given twice",
    );
}

#[test]
fn a_check_loads_the_models_that_are_named() {
    let place = Place::new(
        &TABLE
            .replace("every: 1000", "model: faces.onnx")
            .replace("PATH", "a.csv"),
    );
    fs::write(place.path("faces.onnx"), "no model at all").unwrap();
    let ended = super::ended(place.program(&["check", "g.yaml"]));
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    assert!(ended.said.contains("faces.onnx"), "{}", ended.said);
}
