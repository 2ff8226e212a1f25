//! `fermata analyse`, and the help shown for wrong input, as a new user meets them.

use std::path::Path;

use fermata_actors::sources::synthetic_faces::DrawnVideo;
use fermata_vision::jpeg;
use serde_json::Value;

use crate::command::{run_in, was_refused};
use crate::servers::{self, Http};
use crate::skipped::data;
use crate::support::{card_of_mini_xception, repository};

#[track_caller]
fn refused(folder: &Path, arguments: &[&str], words: &[&str]) {
    was_refused(run_in(folder, arguments), words);
}

/// Draws a picture of two people.
fn drawn(pts_ns: u64) -> Vec<u8> {
    let settings = serde_json::json!({"faces": 2, "seed": 3});
    let settings = serde_json::from_value(settings).unwrap();
    let video = DrawnVideo::new(settings).unwrap().at(pts_ns);
    jpeg::encode(&video.frame, 95).unwrap()
}

const FILM: &str = "\
fermata: 1
streams: {film: 5}
nodes:
  draw:  {use: synthetic_faces, each: stream, faces: 2, count: 30, seed: \"${stream.uri}\"}
  video: {use: write_video, each: stream, in: draw, path: \"${run.dir}/film.mp4\"}
run: {clock: asap}
";

/// Runs an analysis that succeeds; returns its report and what it printed to standard error.
#[track_caller]
fn analysed(folder: &Path, arguments: &[&str]) -> (Value, String) {
    let (code, text, errors) = run_in(folder, arguments);
    assert_eq!(code, 0, "{errors}");
    let said = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (said, errors)
}

#[test]
fn photos_and_a_video_become_a_table_a_summary_and_annotated_copies() {
    let Some(data) = data() else { return };
    let model = card_of_mini_xception(&data);
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    std::fs::create_dir(at("in")).unwrap();
    std::fs::write(at("in/IMG 2.jpg"), drawn(0)).unwrap();
    std::fs::write(at("in/IMG 10.JPG"), drawn(3_000_000_000)).unwrap();
    std::fs::write(at("in/broken.jpg"), &drawn(0)[..900]).unwrap();
    std::fs::write(at("in/notes.txt"), "no picture").unwrap();
    std::fs::write(at("film.yaml"), FILM).unwrap();
    let (code, _, errors) = run_in(
        folder.path(),
        &["run", "-q", "film.yaml", "--out", "in/film"],
    );
    assert_eq!(code, 0, "{errors}");
    std::fs::rename(at("in/film/film.mp4"), at("in/film.mp4")).unwrap();

    let model = model.path().to_str().unwrap();
    let arguments = ["analyse", "in", "--model", model, "--out", "out", "--json"];
    let (said, errors) = analysed(folder.path(), &arguments);
    assert!(errors.contains("left out: in/notes.txt"), "{errors}");
    assert!(errors.contains("broken.jpg"), "{errors}");
    let photos = said["photos"].as_array().unwrap();
    let files: Vec<&str> = photos
        .iter()
        .map(|photo| photo["file"].as_str().unwrap())
        .collect();
    assert_eq!(files, ["IMG 2.jpg", "IMG 10.JPG"]);
    for photo in photos {
        let faces = photo["faces"].as_array().unwrap();
        assert_eq!(faces.len(), 2, "{photo}");
        assert!(
            faces
                .iter()
                .all(|face| face["probability"].as_f64().unwrap() > 0.0)
        );
    }
    let people = said["videos"][0]["people"].as_array().unwrap();
    assert_eq!(people.len(), 2, "{said}");
    for person in people {
        assert!(person["seen_s"].as_f64().unwrap() > 0.8, "{person}");
        let shares = person["shares"].as_object().unwrap().values();
        let sum: f64 = shares.map(|share| share.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{person}");
    }
    for file in [
        "IMG 2.jpg",
        "IMG 10.jpg",
        "film.mp4",
        "faces.csv",
        "summary.json",
        "report.json",
    ] {
        assert!(at("out").join(file).is_file(), "{file} is not there");
    }
    #[cfg(feature = "learn")]
    for named in ["out", "out/summary.json"] {
        let (code, told, errors) = run_in(folder.path(), &["inspect", named]);
        assert_eq!(code, 0, "{errors}");
        let words = "analysis    1 videos, 2 photos with 4 faces";
        assert!(told.contains(words), "{told}");
    }

    // The same for people, into an existing folder, without copies; and never over the input.
    let arguments = [
        "analyse",
        "in/IMG 2.jpg",
        "--model",
        model,
        "--out",
        "more",
        "--no-copies",
    ];
    let (code, text, errors) = run_in(folder.path(), &arguments);
    assert_eq!(code, 0, "{errors}");
    assert!(
        text.contains("1 photo, 2 faces") && text.contains("IMG 2.jpg: "),
        "{text}"
    );
    assert!(!at("more/IMG 2.jpg").exists());
    let arguments = ["analyse", "in", "--model", model, "--out", "in"];
    refused(folder.path(), &arguments, &["choose another folder"]);
}

#[test]
fn stills_show_their_people_whatever_they_are_called() {
    let Some(data) = data() else { return };
    let model = card_of_mini_xception(&data);
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    let picture = drawn(0);
    std::fs::write(at("a.jpg"), &picture).unwrap();
    // A file whose last bytes were never written.
    std::fs::write(at("short.jpg"), &picture[..picture.len() - 2]).unwrap();
    for (name, frames) in [("still.gif", "1"), ("blink.gif", "2")] {
        let made = std::process::Command::new("ffmpeg")
            .args("-nostdin -v error -loop 1 -r 10 -i a.jpg -frames:v".split(' '))
            .args([frames, name])
            .current_dir(folder.path())
            .status();
        assert!(made.expect("ffmpeg").success());
    }
    let model = model.path().to_str().unwrap();
    let arguments = ["analyse", ".", "--model", model, "--out", "out", "--json"];
    let (said, errors) = analysed(folder.path(), &arguments);
    assert!(
        errors.contains("the end of the image is missing"),
        "{errors}"
    );
    assert_eq!(said["photos"].as_array().map(Vec::len), Some(2), "{said}");
    for video in said["videos"].as_array().unwrap() {
        assert_eq!(video["people"].as_array().map(Vec::len), Some(2), "{said}");
    }
    assert_eq!(said["videos"].as_array().map(Vec::len), Some(2), "{said}");
}

/// Makes a folder of models as `fermata models pull yunet` leaves it, with the detector of the test data.
fn pulled(folder: &Path, data: &Path) {
    let here = folder.join("models/yunet");
    std::fs::create_dir_all(&here).unwrap();
    let detector = data.join("detect/yunet_n_dynamic.onnx");
    std::os::unix::fs::symlink(detector, here.join("model.onnx")).unwrap();
}

#[test]
fn the_detector_that_was_pulled_is_taken_and_the_cascade_hides_nothing_unasked() {
    let Some(data) = data() else { return };
    let model = card_of_mini_xception(&data);
    let model = model.path().to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.jpg"), drawn(0)).unwrap();
    let analyse = |out: &str, more: &[&str]| {
        let arguments = ["analyse", "a.jpg", "--model", model, "--out", out];
        run_in(folder.path(), &[&arguments[..], more].concat())
    };
    let is_installed = repository("models/yunet").exists();
    if !is_installed {
        let (code, _, errors) = analyse("haar", &["--no-copies"]);
        assert_eq!(code, 0, "{errors}");
        assert!(
            errors.contains("note: faces are detected with the Haar"),
            "{errors}"
        );
        let (code, _, errors) = analyse("hidden", &["--blur", "solid"]);
        assert_eq!(code, 2, "{errors}");
        assert!(errors.contains("`fermata models pull yunet`"), "{errors}");
        assert!(!folder.path().join("hidden").exists());
    }
    let (code, _, errors) = analyse("chosen", &["--blur", "solid", "--detector", "haar"]);
    assert_eq!(code, 0, "{errors}");
    assert!(errors.contains("warning: --blur hides"), "{errors}");

    pulled(folder.path(), &data);
    let (code, text, errors) = analyse("yunet", &["--blur", "solid"]);
    assert_eq!(code, 0, "{errors}");
    assert!(text.contains("1 photo, 2 faces"), "{text}");
    assert!(!errors.contains("Haar"), "{errors}");
    let graph = std::fs::read_to_string(folder.path().join("yunet/graph.yaml")).unwrap();
    assert!(graph.contains("models/yunet/model.onnx"), "{graph}");
}

#[test]
fn what_is_hidden_in_a_photo_says_nothing_of_the_next() {
    let Some(data) = data() else { return };
    let model = card_of_mini_xception(&data);
    let model = model.path().to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    pulled(folder.path(), &data);
    // The first photo shows people, the second nobody.
    let people = image::load_from_memory(&drawn(0)).unwrap();
    people.save(at("1.png")).unwrap();
    let noisy = image::RgbImage::from_fn(people.width(), people.height(), |x, y| {
        image::Rgb([
            (x * 7 % 60) as u8,
            (y * 5 % 60) as u8,
            ((x + y) * 3 % 60) as u8,
        ])
    });
    noisy.save(at("2.png")).unwrap();
    let arguments = [
        "analyse", "1.png", "2.png", "--model", model, "--out", "out",
    ];
    let (code, text, errors) = run_in(
        folder.path(),
        &[&arguments[..], &["--blur", "solid"]].concat(),
    );
    assert_eq!(code, 0, "{errors}");
    assert!(text.contains("2.png: no face"), "{text}");
    let copy = image::open(at("out/2.jpg")).unwrap().into_rgb8();
    let far = copy.pixels().zip(noisy.pixels());
    let far = far.filter(|(a, b)| (0..3).any(|at| a[at].abs_diff(b[at]) > 60));
    assert_eq!(far.count(), 0, "something is hidden where nobody is");
}

/// Runs ffmpeg in a folder.
fn ffmpeg(folder: &Path, arguments: &str) {
    let made = std::process::Command::new("ffmpeg")
        .args("-nostdin -v error".split(' '))
        .args(arguments.split(' '))
        .current_dir(folder)
        .status();
    assert!(made.expect("ffmpeg").success());
}

#[test]
fn a_recording_over_the_network_loses_no_frame_whatever_its_address_ends_in() {
    let Some(data) = data() else { return };
    let model = card_of_mini_xception(&data);
    let model = model.path().to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    std::fs::write(at("a.jpg"), drawn(0)).unwrap();
    // Too fast for face detection to keep up.
    ffmpeg(
        folder.path(),
        "-loop 1 -r 1000 -i a.jpg -frames:v 120 film.mp4",
    );
    let server = servers::http(std::fs::read(at("film.mp4")).unwrap(), Http::Ranges);
    let address = format!("http://127.0.0.1:{}/film", server.port);
    let arguments = ["analyse", &address, "--model", model, "--detector", "haar"];
    let more = ["--out", "out", "--json"];
    let (said, _) = analysed(folder.path(), &[&arguments[..], &more].concat());
    assert_eq!(said["videos"][0]["frames"], 120, "{said}");
    assert_eq!(said["videos"][0]["missed"], 0, "{said}");
}

#[test]
fn times_are_those_of_the_video_and_what_is_missing_is_told() {
    let Some(data) = data() else { return };
    let model = card_of_mini_xception(&data);
    let model = model.path().to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    std::fs::write(at("a.jpg"), drawn(0)).unwrap();
    std::fs::write(at("broken.jpg"), &drawn(0)[..900]).unwrap();
    // A recording of a camera that had been running for an hour, with a gap of half an hour in it.
    ffmpeg(
        folder.path(),
        "-loop 1 -r 10 -i a.jpg -frames:v 20 -vf setpts=PTS+gte(N\\,10)*1800/TB -output_ts_offset 3600 -copyts -muxpreload 0 -muxdelay 0 -fps_mode passthrough film.ts",
    );
    let arguments = [
        "analyse",
        "film.ts",
        "a.jpg",
        "broken.jpg",
        "--model",
        model,
    ];
    let more = ["--detector", "haar", "--out", "out", "--json"];
    let (said, _) = analysed(folder.path(), &[&arguments[..], &more].concat());
    assert_eq!(said["photos_missed"], 1, "{said}");
    for person in said["videos"][0]["people"].as_array().unwrap() {
        let first = person["first_s"].as_f64().unwrap();
        assert!(
            (0.0..1.0).contains(&first) || (1800.0..1803.0).contains(&first),
            "{person}"
        );
        assert!(person["seen_s"].as_f64().unwrap() < 3.0, "{person}");
    }
}

#[test]
fn a_refusal_names_what_was_typed_and_no_graph() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("a.jpg"), drawn(0)).unwrap();
    std::fs::write(at.join("no.txt"), "no detector").unwrap();
    std::fs::write(at.join("no.onnx"), "no detector").unwrap();
    std::fs::create_dir(at.join("card")).unwrap();
    std::fs::write(at.join("card/card.yaml"), "x: 1").unwrap();
    let model = repository("models/expression").display().to_string();
    for (inputs, words) in [
        (&["a.jpg", "--model", "card"][..], "error: --model card: "),
        (
            &["a.jpg", "--model", &model, "--detector", "no.txt"],
            "error: --detector no.txt: no.txt is not a face detector",
        ),
        (
            &["a.jpg", "--model", &model, "--detector", "no.onnx"],
            "error: --detector no.onnx: cannot load",
        ),
        (&["rtsp://", "foo://x/y"], "error: foo://x/y: "),
        (&["rtsp://", "foo://x/y"], "error: rtsp://: "),
        (&["/dev/video77"], "error: /dev/video77: no camera"),
        (&["77"], "error: 77: no camera at `/dev/video77`"),
    ] {
        let (code, _, errors) = run_in(at, &[&["analyse"], inputs, &["--out", "out"]].concat());
        assert_eq!(code, 2, "{inputs:?}: {errors}");
        assert_eq!(errors.matches(words).count(), 1, "{words}: {errors}");
        assert!(!errors.contains("node `"), "{errors}");
        assert!(!errors.contains("analyse:"), "{errors}");
    }
}

#[test]
fn what_cannot_be_analysed_is_told_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.jpg"), drawn(0)).unwrap();
    let at = folder.path();
    refused(
        at,
        &["analyse", "nowhere.mp4", "no/where"],
        &["nowhere.mp4: there is no such", "no/where: "],
    );
    refused(
        at,
        &["analyse", "a.jpg", "--model", "none"],
        &["no such folder", "card.yaml"],
    );
    refused(
        at,
        &["analyse", "a.jpg", "--model", ".", "--detector", "yunet"],
        &["--detector yunet: there is no such file"],
    );
    refused(at, &["analyse"], &["<INPUT>"]);
    assert_eq!(
        std::fs::read_dir(at).unwrap().count(),
        1,
        "nothing was written"
    );
}

#[test]
fn people_who_type_something_else_are_helped() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("door.mp4"), "no video").unwrap();
    let graph = repository("graphs/live.yaml");
    let graph = graph.to_str().unwrap();
    let to_analyse = "fermata analyse door.mp4";
    refused(at, &["door.mp4"], &[to_analyse]);
    refused(at, &["run", "door.mp4"], &["not a graph file", to_analyse]);
    refused(
        at,
        &["run", graph, "--stream", "cam=0", "--param", "model=m"],
        &["command line:1:14", "--stream cam=/dev/video0"],
    );
    refused(at, &["actors", "detect"], &["did you mean `detect_faces`?"]);
    refused(
        at,
        &["run", graph, "--stream", "door.mp4"],
        &["--stream cam=door.mp4"],
    );
    refused(
        at,
        &["run", graph, "--set", "emotion.batch.max=2"],
        &["--set nodes.emotion.batch.max="],
    );
    refused(
        at,
        &[
            "run",
            graph,
            "--stream",
            "a=door.mp4",
            "--param",
            "detector=yunet",
        ],
        &["such as detector="],
    );
}

#[test]
fn an_error_about_a_stream_points_at_the_command_line_and_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let graph = repository("graphs/live.yaml");
    let arguments = [
        "check",
        graph.to_str().unwrap(),
        "--stream",
        "door=nowhere.mp4",
        "--param",
        "model=none",
    ];
    let (code, _, errors) = run_in(folder.path(), &arguments);
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("command line:1:"), "{errors}");
    assert!(errors.contains("--stream door=nowhere.mp4"), "{errors}");
    assert_eq!(
        errors.matches("cannot read the model card").count(),
        1,
        "{errors}"
    );
    assert!(
        errors.contains("the same holds for node `emotion`"),
        "{errors}"
    );
}

/// This holds whatever the length of the input, and whatever parses it.
#[test]
fn an_error_about_a_short_or_escaped_address_points_at_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::create_dir(at.join("ph")).unwrap();
    let graph = |source: &str| {
        let text = format!(
            "fermata: 1\nnodes:\n  capture: {{use: {source}, each: stream}}\n  end: {{use: discard, in: capture}}\n"
        );
        std::fs::write(at.join("g.yaml"), text).unwrap();
    };
    graph("video_source, uri: \"${stream.uri}\"");
    for uri in ["0", "ph", "/dev/v", "file:///no%20where.mp4"] {
        let stream = format!("cam={uri}");
        let (code, _, errors) = run_in(at, &["check", "g.yaml", "--stream", &stream]);
        assert_eq!(code, 2, "{errors}");
        assert!(errors.contains("command line:1:14"), "{uri}: {errors}");
    }
    graph("image_source, path: \"${stream.uri}\"");
    for uri in ["0", "ph"] {
        let stream = format!("cam={uri}");
        let (code, _, errors) = run_in(at, &["check", "g.yaml", "--stream", &stream]);
        assert_eq!(code, 2, "{errors}");
        assert!(errors.contains("command line:1:14"), "{uri}: {errors}");
    }
}

#[test]
fn an_actor_is_explained_with_its_ports_and_what_is_below_its_settings() {
    let here = Path::new(".");
    let (code, text, _) = run_in(here, &["actors", "video_source"]);
    assert_eq!(code, 0);
    for words in [
        "out  out (VideoFrame)",
        "reconnect.first (",
        "uri (string, required)",
    ] {
        assert!(text.contains(words), "{words} is not in:\n{text}");
    }
    let (_, text, _) = run_in(here, &["actors", "smooth_labels"]);
    assert!(
        text.contains("in   in (Faces)") && text.contains("hysteresis.margin ("),
        "{text}"
    );
    let (_, text, _) = run_in(here, &["run", "--help"]);
    assert!(text.contains("Exit codes:"), "{text}");
    let (_, text, _) = run_in(here, &["doctor"]);
    assert!(text.contains("libtorch"), "{text}");
}
