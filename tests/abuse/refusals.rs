//! What is refused before anything is started.

use std::fs;

use super::{GRAPH, Place};

/// Asserts that a run is refused for this reason and leaves no folder.
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
    // The same holds for the part of a video that is being replayed.
    fs::write(place.path("victim.mp4.part"), "a part").unwrap();
    fs::write(place.path("g.yaml"), COPY).unwrap();
    refused(
        &place,
        &["--stream", "a=victim.mp4.part"],
        "would write over",
    );
    assert_eq!(fs::read(place.path("victim.mp4")).unwrap(), b"a video");
}

#[test]
fn another_mount_of_a_folder_is_no_way_around_it() {
    let place = Place::new(COPY);
    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    let script = format!(
        "cd $DISK; mkdir a b; mount --bind a b; echo a video > a/victim.mp4; cp '{}' .
for path in b/victim.mp4 a/victim.mp4; do
'{}' run g.yaml --stream a=a/victim.mp4 --set nodes.v.path=$path --out o -q 2>&1; echo code $?; done; cat a/victim.mp4",
        place.path("g.yaml").display(),
        crate::support::fermata()
    );
    let Some(output) = crate::disk::on_a_small_disk(&disk, &script) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.matches("would write over").count(), 2, "{said}");
    assert_eq!(said.matches("code 2").count(), 2, "{said}");
    assert!(said.ends_with("a video\n"), "{said}");
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

/// Per-stream sinks behind a source that no stream is listed for.
const OF_SHARED: &str = "\
fermata: 1
nodes:
  s: {use: video_source, uri: victim.mp4}
  d: {use: detect_faces, in: s, every: 1000}
  e: {use: write_csv, each: stream, in: d, path: \"PATH\"}
  v: {use: write_video, each: stream, in: s, path: \"VIDEO\"}
run: {clock: asap}
";

#[test]
fn sinks_of_each_stream_behind_a_shared_source_spare_what_others_do() {
    let place = Place::new("");
    fs::write(place.path("victim.mp4"), "a video").unwrap();
    std::os::unix::fs::symlink("victim.mp4", place.path("link.mp4")).unwrap();
    for (path, video, reason) in [
        ("a.csv", "victim.mp4", "`s` reads"),
        ("a.csv", "link.mp4", "`s` reads"),
        ("a.csv", "./sub/../victim.mp4", "`s` reads"),
        ("g.yaml", "v.mp4", "the graph is in"),
        ("${run.dir}/report.json", "v.mp4", "the run itself writes"),
        ("${run.dir}/run.log", "v.mp4", "the run itself writes"),
        ("/dev/null", "v.mp4", "is a device or a pipe"),
    ] {
        fs::create_dir_all(place.path("sub")).unwrap();
        let graph = OF_SHARED.replace("PATH", path).replace("VIDEO", video);
        fs::write(place.path("g.yaml"), &graph).unwrap();
        refused(&place, &[], reason);
        assert_eq!(fs::read(place.path("victim.mp4")).unwrap(), b"a video");
        assert_eq!(fs::read_to_string(place.path("g.yaml")).unwrap(), graph);
    }
}

#[test]
fn files_that_a_graph_is_made_of_or_reads_beside_its_streams_are_never_written_over() {
    let place = Place::new("");
    for (name, text) in [
        (
            "part.yaml",
            "fermata: 1\nnodes: {i: {use: identity, in: d}}\n",
        ),
        ("model/card.yaml", "a card"),
        ("ca.pem", "a certificate"),
        ("live.m3u8", "#EXTM3U\n#EXTINF:2,\n0.ts\n"),
        ("0.ts", "a segment"),
    ] {
        fs::create_dir_all(place.path("model")).unwrap();
        fs::write(place.path(name), text).unwrap();
    }
    let rest = "  c: {use: crop_faces, in: d, model: model}\n";
    let secured = "uri: \"https://localhost/x\", tls: {ca_file: ca.pem}";
    for (path, source, reason) in [
        ("part.yaml", "uri: a.mp4", "the graph is in"),
        ("model/card.yaml", "uri: a.mp4", "`c` reads"),
        ("ca.pem", secured, "`s` reads"),
        ("live.m3u8", "uri: live.m3u8", "`s` reads"),
        ("0.ts", "uri: live.m3u8", "`s` reads"),
    ] {
        let graph = TABLE
            .replace("fermata: 1", "fermata: 1\ninclude: part.yaml")
            .replace(
                "synthetic_faces, count: 5",
                &format!("video_source, {source}"),
            )
            .replace("PATH", path);
        fs::write(place.path("g.yaml"), format!("{graph}{rest}")).unwrap();
        let before = fs::read(place.path(path)).unwrap();
        refused(&place, &[], reason);
        assert_eq!(fs::read(place.path(path)).unwrap(), before);
    }
}

#[test]
fn pictures_are_never_written_where_pictures_are_read() {
    let place = Place::new("");
    fs::create_dir(place.path("photos")).unwrap();
    std::os::unix::fs::symlink("photos", place.path("link")).unwrap();
    let photo = place.path("photos/door.jpg");
    image::RgbImage::new(160, 120).save(&photo).unwrap();
    let before = fs::read(&photo).unwrap();
    for (sink, dir) in [
        ("write_images", "photos"),
        ("write_images", "link"),
        ("write_snapshots", "./photos/../photos"),
    ] {
        let graph = format!(
            "fermata: 1
nodes:
  s: {{use: image_source, path: photos}}
  d: {{use: detect_faces, in: s, every: 1000}}
  e: {{use: {sink}, in: {}, dir: {dir}}}
",
            if sink == "write_images" { "s" } else { "d" }
        );
        fs::write(place.path("g.yaml"), graph).unwrap();
        refused(&place, &[], "choose another folder");
        assert_eq!(fs::read(&photo).unwrap(), before);
    }
    fs::create_dir(place.path("copies")).unwrap();
    let ended = place.run(&["--set", "nodes.e.dir=copies"]);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
}

#[test]
fn sinks_spare_the_runs_own_files_and_devices() {
    for own in [
        "report.json",
        "graph.yaml",
        "run.log",
        ".lock",
        "earlier",
        // The temporary file that becomes the report once it is complete.
        "report.json.part",
        "graph.yaml.part",
    ] {
        let place = Place::new(&TABLE.replace("PATH", &format!("${{run.dir}}/{own}")));
        refused(&place, &[], "the run itself writes");
    }
    let place = Place::new(&TABLE.replace("PATH", "/dev/null"));
    refused(&place, &[], "is a device or a pipe");
    place.script("mkfifo pipe");
    fs::write(place.path("g.yaml"), TABLE.replace("PATH", "pipe")).unwrap();
    refused(&place, &[], "is a device or a pipe");
    fs::write(place.path("g.yaml"), TABLE.replace("PATH", "-")).unwrap();
    refused(&place, &[], "would be a file of that name");
    fs::write(place.path("g.yaml"), TABLE.replace("PATH", "./-")).unwrap();
    let ended = place.run(&[]);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(place.path("-").is_file());
}

#[test]
fn two_sinks_never_write_one_file_nor_each_others_parts() {
    let two = |first: &str, second: &str| {
        let text = TABLE.replace("PATH", first);
        format!("{text}  f: {{use: write_csv, in: d, path: \"{second}\"}}\n")
    };
    let place = Place::new("");
    fs::create_dir(place.path("folder")).unwrap();
    std::os::unix::fs::symlink("folder", place.path("link")).unwrap();
    for (first, second, reason) in [
        ("a.csv", "./folder/../a.csv", "both write"),
        ("a.csv", "a.csv.part", "both write"),
        ("a.csv.part", "a.csv", "both write"),
        // This is not detected before the files are opened.
        ("folder/a.csv", "link/a.csv", "another writer has it"),
    ] {
        fs::write(place.path("g.yaml"), two(first, second)).unwrap();
        refused(&place, &[], reason);
        assert!(place.names("folder").is_empty());
    }
}

#[test]
fn a_trace_spares_what_a_run_reads_and_writes() {
    let place = Place::new(COPY);
    fs::write(
        place.path("g.yaml"),
        COPY.replace("path: victim", "path: copy"),
    )
    .unwrap();
    fs::write(place.path("victim.mp4"), "a video").unwrap();
    place.script("mkfifo pipe");
    for (trace, reason) in [
        ("victim.mp4", "reads"),
        ("./g.yaml", "the graph is in"),
        ("o/report.json", "the run itself writes"),
        ("copy.mp4", "the program writes itself"),
        ("pipe", "is a device or a pipe"),
    ] {
        refused(&place, &["--trace", trace], reason);
    }
    assert_eq!(fs::read(place.path("victim.mp4")).unwrap(), b"a video");
}

#[test]
fn segments_never_replace_a_file_that_is_there() {
    let place = Place::new(GRAPH);
    assert_eq!(place.run(&["--set", "nodes.s.count=20"]).code, Some(0));
    fs::rename(place.path("o/a.mp4"), place.path("v.0001.mp4")).unwrap();
    let before = fs::read(place.path("v.0001.mp4")).unwrap();
    let copy = COPY
        .replace("path: victim.mp4}", "path: v.mp4, segment: 300ms}")
        .replace("{a: victim.mp4}", "{a: v.0001.mp4}");
    fs::write(place.path("g.yaml"), copy).unwrap();
    let ended = super::ended(place.program(&["run", "g.yaml", "--out", "p", "--quiet"]));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(place.path("v.0002.mp4").exists() && place.path("v.0003.mp4").exists());
    assert_eq!(fs::read(place.path("v.0001.mp4")).unwrap(), before);
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
fn what_is_no_text_is_refused_as_what_it_is() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new(GRAPH);
    for arguments in [
        &[&b"\xff"[..]][..],
        &[b"run", b"\xff.yaml"],
        &[b"run", b"g.yaml", b"--stream", b"a=\xff"],
        &[b"kpi", b"\xff"],
        &[b"check", b"g.yaml", b"--set", b"nodes.s.seed=\xff"],
    ] {
        let mut command = place.program(&[]);
        command.args(arguments.iter().map(|one| std::ffi::OsStr::from_bytes(one)));
        // A variable that nothing reads.
        command.env("ODD", std::ffi::OsStr::from_bytes(b"\xff"));
        let ended = super::ended(command);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.said);
        assert!(!ended.said.contains("panicked"), "{}", ended.said);
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
    // Two spellings, the second of which would undo the first.
    for arguments in [
        ["--stream", "a=1", "--set", "streams.a=2"],
        [
            "--set",
            "nodes.s.count=1",
            "--set",
            "nodes.s={use: test_source}",
        ],
    ] {
        refused(&place, &arguments, "would undo");
    }
    let with_param = format!("params: {{p: 1}}\n{GRAPH}");
    fs::write(place.path("g.yaml"), with_param).unwrap();
    refused(
        &place,
        &["--param", "p=1", "--param", "p=2"],
        "is given twice",
    );
    refused(
        &place,
        &["--param", "p=1", "--set", "params.p=2"],
        "would undo",
    );
    let with_map = GRAPH.replace("{a: 1}", "{a: {uri: 1}}");
    fs::write(place.path("g.yaml"), with_map).unwrap();
    refused(
        &place,
        &["--stream", "a=1", "--set", "streams.a.uri=2"],
        "would undo",
    );
    // Changing a part of what was given before undoes nothing else of it.
    let set = "nodes.s={use: synthetic_faces, each: stream, count: 9, width: 160, height: 120}";
    let ended = place.run(&["--set", set, "--set", "nodes.s.count=3"]);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_eq!(super::rows(&place.path("o/a.csv")), 3);
}

/// Encodes a protobuf field that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 1 << 14, "two bytes of length");
    let length = [bytes.len() as u8 & 0x7F | 0x80, (bytes.len() >> 7) as u8];
    [&[number << 3 | 2][..], &length, bytes].concat()
}

/// Builds an ONNX file of one operator, which maps [1, 1, 64, 64] to [1, 7] (field names as in ONNX's onnx.proto).
fn onnx_of(operator: &str, domain: &str) -> Vec<u8> {
    let int = |number: u8, value: u8| vec![number << 3, value];
    let value = |name: &str, sides: &[u8]| {
        let sides: Vec<u8> = sides
            .iter()
            .flat_map(|side| field(1, &int(1, *side)))
            .collect();
        let tensor = [int(1, 1), field(2, &sides)].concat();
        [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
    };
    let node = [
        field(1, b"input"),
        field(2, b"probs"),
        field(4, operator.as_bytes()),
        field(7, domain.as_bytes()),
    ];
    let graph = [
        field(1, &node.concat()),
        field(2, b"graph"),
        field(11, &value("input", &[1, 1, 64, 64])),
        field(12, &value("probs", &[1, 7])),
    ];
    let imported =
        |domain: &str, version| field(8, &[field(1, domain.as_bytes()), int(2, version)].concat());
    [
        int(1, 8),
        field(7, &graph.concat()),
        imported("", 17),
        imported(domain, 1),
    ]
    .concat()
}

#[test]
fn a_check_loads_the_models_that_are_named() {
    let place = Place::new(
        "\
fermata: 1
params: {model: model}
nodes:
  s: {use: synthetic_faces, count: 5}
  d: {use: detect_faces, in: s}
  c: {use: crop_faces, in: d, model: \"${model}\"}
  m: {use: classify_expression, in: c, model: \"${model}\"}
  e: {use: discard, in: m}
",
    );
    let detector = TABLE.replace("every: 1000", "model: \"${model}\"");
    let detector = detector.replace("PATH", "a.csv");
    let detector = detector.replace("nodes:", "params: {model: haar}\nnodes:");
    fs::write(place.path("d.yaml"), &detector).unwrap();
    // A detector that each stream of a shared source has for itself.
    let each = detector.replace("{use: detect_faces", "{use: detect_faces, each: stream");
    fs::write(place.path("e.yaml"), each).unwrap();
    for name in ["faces.onnx", "faces.xml"] {
        fs::write(place.path(name), "no model at all").unwrap();
    }
    for (folder, model) in [
        ("model", onnx_of("Evil", "evil.com")),
        ("cut", onnx_of("Evil", "evil.com")[..40].to_vec()),
    ] {
        fs::create_dir(place.path(folder)).unwrap();
        let card = format!(
            "\
input: {{name: input, size: 64, layout: nchw, colour: gray}}
interpolation: area
scaling: [{{divide: 255}}]
output: {{name: probs, kind: probabilities, classes: [angry, disgust, fear, happy, sad, surprise, neutral]}}
licence: MIT
source: a test
sha256: {}
",
            fermata_files::sha256(&model)
        );
        fs::write(place.path(folder).join("model.onnx"), model).unwrap();
        fs::write(place.path(folder).join("card.yaml"), card).unwrap();
    }
    for (graph, param, named) in [
        ("g.yaml", "model=model", "model/model.onnx"),
        ("g.yaml", "model=cut", "cut/model.onnx"),
        ("g.yaml", "model=nowhere", "nowhere"),
        ("d.yaml", "model=faces.onnx", "faces.onnx"),
        ("d.yaml", "model=faces.xml", "faces.xml"),
        ("e.yaml", "model=faces.onnx", "faces.onnx"),
        ("e.yaml", "model=faces.xml", "faces.xml"),
    ] {
        for command in [&["check", graph][..], &["run", graph, "--out", "o"]] {
            let arguments = [command, &["--param", param]].concat();
            let ended = super::ended(place.program(&arguments));
            assert_eq!(ended.code, Some(2), "{param}: {}", ended.said);
            assert!(ended.said.contains(named), "{param}: {}", ended.said);
            assert!(place.names("o").is_empty(), "{:?}", place.names("o"));
        }
    }
    let ended = super::ended(place.program(&["check", "g.yaml", "--param", "model=model"]));
    assert!(ended.said.contains("Evil"), "{}", ended.said);
}
