//! Small inputs that once produced wrong results, each made after a public report, run through the whole program.
//! Related inputs are tested where they are handled (`actors/tests/video/`, `learn/`). The numbers are those of
//! `tests/cases/` in `actors/`; the ninth, models that are not part of the repository, is tested beside the detector.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::command::run_in;
use crate::servers::{self, Http, Sending};
use crate::skipped::data;
use crate::support::{card_of_mini_xception, fermata, repository, wait_until_or};

const FULL: &str = "\
fermata: 1
params: {model: null, detector: null}
nodes:
  capture: {use: video_source, each: stream, uri: \"${stream.uri}\"}
  detect:  {use: detect_faces, in: capture, model: \"${detector}\"}
  track:   {use: track_faces, each: stream, in: detect}
  crop:    {use: crop_faces, each: stream, in: track, model: \"${model}\"}
  emotion: {use: classify_expression, in: crop, model: \"${model}\", batch: {max: 4, wait: 8ms}}
  smooth:  {use: smooth_labels, each: stream, in: emotion, ema: 250ms, vote: 7, hysteresis: {margin: 0.1, hold: 3}}
  log:     {use: write_csv, in: smooth, path: \"${run.dir}/faces.csv\"}
  draw:    {use: draw_overlay, each: stream, in: smooth}
  video:   {use: write_video, each: stream, in: draw, path: \"${run.dir}/${stream.name}.mp4\"}
run: {clock: asap}
";

/// A graph without a model: what a detector sees at the beginning, and the video again.
const VIDEO: &str = "\
fermata: 1
nodes:
  capture: {use: video_source, each: stream, uri: \"${stream.uri}\"}
  detect:  {use: detect_faces, in: capture, every: 1000000}
  log:     {use: write_csv, in: detect, path: \"${run.dir}/faces.csv\"}
  video:   {use: write_video, each: stream, in: capture, path: \"${run.dir}/${stream.name}.mp4\"}
run: {clock: asap}
";

fn case(name: &str) -> PathBuf {
    repository("actors/tests/cases").join(name)
}

/// A run of the program into a folder of its own.
struct Case {
    folder: tempfile::TempDir,
    code: Option<i32>,
    said: String,
}

impl Case {
    /// Runs a graph on one stream, `a`.
    fn run(graph: &str, uri: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Self::command(graph, uri, more, folder.path());
        let output = command.output().expect("the program");
        Self::of(folder, &output)
    }

    /// Runs the same on a live source and interrupts it once `happened` returns true for the run's folder.
    fn live(
        graph: &str,
        uri: &str,
        more: &[&str],
        what: &str,
        happened: impl Fn(&Path) -> bool,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let more = [&["--set", "run.clock=live"], more].concat();
        let mut command = Self::command(graph, uri, &more, folder.path());
        let out = folder.path().join("out");
        let happened = || happened(&out);
        let output = interrupted(command.spawn().expect("the program"), what, happened);
        Self::of(folder, &output)
    }

    fn command(graph: &str, uri: &str, more: &[&str], folder: &Path) -> Command {
        let path = folder.join("case.yaml");
        std::fs::write(&path, graph).expect("the graph");
        let mut command = Command::new(fermata());
        command
            .arg("run")
            .arg(path)
            .arg("--out")
            .arg(folder.join("out"));
        command.args(["--stream", &format!("a={uri}")]).args(more);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn of(folder: tempfile::TempDir, output: &std::process::Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Self {
            folder,
            code: output.status.code(),
            said: text(&output.stdout) + &text(&output.stderr),
        }
    }

    #[track_caller]
    fn ended_well(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.said);
        self
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join("out").join(name)
    }

    /// Returns what the report says about the stream.
    fn stream(&self) -> Value {
        let text = std::fs::read(self.out("report.json")).expect("a report");
        let report: Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(report["balanced"], true);
        report["streams"]["a"].clone()
    }

    fn counts(&self) -> (u64, u64) {
        let stream = self.stream();
        let count = |name: &str| stream[name].as_u64().expect("a count");
        (count("delivered"), count("missed"))
    }

    /// Returns the rows of the table, each cell by its column.
    fn rows(&self) -> Vec<HashMap<String, String>> {
        let table = csv::Reader::from_path(self.out("faces.csv"));
        let rows = table.expect("a table").into_deserialize();
        rows.map(|row| row.expect("a row")).collect()
    }

    /// Returns the times of the frames of the written video, in seconds.
    fn times(&self) -> Vec<f64> {
        let frames = "-v error -select_streams v -show_entries frame=pts_time -of csv=p=0";
        let said = Command::new("ffprobe")
            .args(frames.split(' '))
            .arg(self.out("a.mp4"))
            .output()
            .expect("ffprobe");
        let text = String::from_utf8_lossy(&said.stdout);
        let lines = text.lines().map(|line| line.trim_end_matches(','));
        let times = lines.filter(|line| !line.is_empty()).map(str::parse);
        times.map(|time| time.expect("a time")).collect()
    }
}

/// Waits for something to happen, then interrupts a program, as Ctrl-C does.
fn interrupted(child: Child, what: &str, happened: impl Fn() -> bool) -> std::process::Output {
    wait_until_or(|| what.to_owned(), happened);
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupt.expect("kill").success());
    child.wait_with_output().expect("its output")
}

/// Params of [`FULL`]; `None` where there is no test data.
struct Models {
    detector: String,
    model: String,
    _folder: tempfile::TempDir,
}

impl Models {
    fn find() -> Option<Self> {
        let data = data()?;
        let folder = card_of_mini_xception(&data);
        let detector = data.join("detect/yunet_n_dynamic.onnx");
        Some(Self {
            detector: format!("detector={}", detector.display()),
            model: format!("model={}", folder.path().display()),
            _folder: folder,
        })
    }

    fn params(&self) -> [&str; 4] {
        ["--param", &self.detector, "--param", &self.model]
    }
}

fn number(row: &HashMap<String, String>, column: &str) -> f64 {
    row[column]
        .parse()
        .unwrap_or_else(|_| panic!("`{column}` of {row:?}"))
}

fn uri(name: &str) -> String {
    case(name).display().to_string()
}

#[test]
fn case_01_a_camera_of_five_frames_a_second_runs_steadily() {
    let pictures = std::fs::read(case("r1.h264")).expect("the case");
    let server = servers::rtsp(&pictures, Sending::at(5.0));
    let camera = format!("rtsp://127.0.0.1:{}/x", server.port);
    let run = Case::live(VIDEO, &camera, &[], "pictures", |_| server.sent() > 20);
    assert!(
        server.connections() <= 2,
        "opened again and again: {}",
        run.said
    );
    let (delivered, missed) = run.counts();
    assert!(delivered + missed >= 10, "{delivered} of 20: {}", run.said);
    let times = run.times();
    let rate = (times.len() - 1) as f64 / (times[times.len() - 1] - times[0]);
    assert!((4.0..5.1).contains(&rate), "{rate} frames a second");
}

#[test]
fn case_02_a_gap_of_more_than_half_an_hour_loses_no_video() {
    let run = Case::run(VIDEO, &uri("gap2200.mkv"), &[]).ended_well();
    let times = run.times();
    assert_eq!((run.counts(), times.len()), ((25, 0), 25));
    assert!((times[24] - 2200.96).abs() < 0.1, "{times:?}");

    // The same for images: one per hour.
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..3 {
        let picture = image::RgbImage::from_pixel(64, 48, image::Rgb([number * 80, 90, 200]));
        let path = folder.path().join(format!("{number}.png"));
        picture.save(path).expect("an encoder");
    }
    let capture = "use: image_source, each: stream, path: \"${stream.uri}\", fps: 0.0002777777";
    let graph = VIDEO.replace(
        "use: video_source, each: stream, uri: \"${stream.uri}\"",
        capture,
    );
    let images = folder.path().display().to_string();
    let run = Case::run(&graph, &images, &[]).ended_well();
    assert!((run.times()[2] - 7200.0).abs() < 0.1, "{:?}", run.times());
    let live = Case::run(&graph, &images, &["--set", "run.clock=live"]).ended_well();
    assert_eq!(live.counts(), (3, 0), "nobody waits for hours");
}

#[test]
fn case_03_frames_that_are_stamped_far_off_leave_the_video_and_the_people_alone() {
    let Some(models) = Models::find() else { return };
    let pictures = std::fs::read(case("r1.h264")).expect("the case");
    let sending = Sending {
        off_s: |number| if matches!(number, 3 | 5) { 1000 } else { 0 },
        ..Sending::at(10.0)
    };
    let server = servers::rtsp(&pictures, sending);
    let camera = format!("rtsp://127.0.0.1:{}/x", server.port);
    let began = Instant::now();
    let run = Case::live(FULL, &camera, &models.params(), "forty rows", |out| {
        let table = std::fs::read_to_string(out.join("faces.csv.part"));
        table.is_ok_and(|table| table.lines().count() > 40)
    });
    let (times, watched) = (run.times(), began.elapsed().as_secs_f64());
    let lasts = times[times.len() - 1] - times[0];
    assert!((3.0..watched).contains(&lasts), "{lasts} s: {}", run.said);
    let tracks = run.rows().into_iter().map(|row| row["track"].clone());
    let tracks: BTreeSet<String> = tracks.filter(|track| !track.is_empty()).collect();
    assert!(tracks.len() <= 1, "{tracks:?}");
}

#[test]
fn case_04_stamps_that_step_back_or_far_on_stop_no_live_run() {
    for (name, words) in [
        ("back.ts", "the time stamps step back"),
        ("fwd.ts", "`max_gap`"),
    ] {
        let run = Case::run(VIDEO, &uri(name), &["--set", "run.clock=live"]).ended_well();
        assert_eq!(run.counts(), (50, 0), "{name}");
        assert!(run.said.contains(words), "{name}: {}", run.said);
        let segments = run.rows().into_iter().map(|row| row["segment"].clone());
        assert_eq!(segments.max().as_deref(), Some("1"), "{name}");
        // A gap is shown as a gap; a step back is not.
        let (times, gap) = (run.times(), if name == "fwd.ts" { 7198.92 } else { 0.0 });
        assert!((times[49] - 1.96 - gap).abs() < 0.1, "{name}: {times:?}");
    }
}

#[test]
fn case_05_a_mirrored_video_is_mirrored_and_not_turned() {
    let Some(models) = Models::find() else { return };
    let rows = |name: &str| {
        let run = Case::run(FULL, &uri(name), &models.params());
        run.ended_well().rows()
    };
    let (mirrored, plain) = (rows("dm_hflip.mp4"), rows("drawn.mp4"));
    assert_eq!((mirrored.len(), plain.len()), (25, 25));
    for (mirrored, plain) in mirrored.iter().zip(&plain).skip(2) {
        let x = 640.0 - number(plain, "x") - number(plain, "w");
        assert!((number(mirrored, "x") - x).abs() < 15.0, "{mirrored:?} {x}");
        // The face stands still, at 360 of 640.
        assert!((x - 140.0).abs() < 30.0, "{mirrored:?} {x}");
        let y = number(plain, "y");
        assert!((number(mirrored, "y") - y).abs() < 15.0, "{mirrored:?} {y}");
    }
}

#[test]
fn case_06_pixels_that_are_not_square_change_no_face() {
    let Some(models) = Models::find() else { return };
    let labels = |name: &str| {
        let run = Case::run(FULL, &uri(name), &models.params()).ended_well();
        let size = Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "v", "-show_entries"])
            .args(["stream=width,height,sample_aspect_ratio", "-of", "csv=p=0"])
            .arg(run.out("a.mp4"))
            .output()
            .expect("ffprobe");
        let size = String::from_utf8_lossy(&size.stdout).trim().to_owned();
        let rows = run.rows().into_iter();
        let labels: Vec<String> = rows.map(|row| row["raw_label"].clone()).collect();
        (size, labels)
    };
    let (wide, square) = (labels("sar.mp4"), labels("drawn.mp4"));
    assert_eq!(wide.1, square.1);
    assert!(wide.0.starts_with("640,480,"), "{}", wide.0);
    assert!(
        wide.0.ends_with("1:1") || wide.0.ends_with("N/A"),
        "{}",
        wide.0
    );
}

#[test]
fn case_07_pictures_over_http_have_the_times_of_their_arrival() {
    let server = servers::mjpeg(servers::shades(), Sending::at(5.0));
    let camera = format!("http://127.0.0.1:{}/stream", server.port);
    let began = Instant::now();
    let run = Case::live(VIDEO, &camera, &[], "pictures", |_| server.sent() > 24);
    let (times, watched) = (run.times(), began.elapsed().as_secs_f64());
    // The first pictures arrive together, once there are enough to tell what they are.
    let after = &times[3..];
    let lasts = after[after.len() - 1] - after[0];
    assert!((2.5..watched).contains(&lasts), "{lasts} s: {}", run.said);
    let rate = (after.len() - 1) as f64 / lasts;
    assert!((3.0..6.0).contains(&rate), "{rate} a second: {}", run.said);
}

#[test]
fn case_08_a_motion_photo_is_a_photo() {
    let Some(models) = Models::find() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (_, detector) = models.detector.split_once('=').expect("a param");
    let (_, model) = models.model.split_once('=').expect("a param");
    let output = Command::new(fermata())
        .args(["analyse", &uri("a_motion.jpg"), "--detector", detector])
        .args(["--model", model, "--out", "out"])
        .current_dir(folder.path())
        .output()
        .expect("the program");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("1 photo, 1 face\n"), "{said}");
    assert!(folder.path().join("out/a_motion.jpg").is_file());
}

#[test]
fn case_10_a_video_begins_at_zero_whatever_its_first_stamp_was() {
    let run = Case::run(VIDEO, &uri("late.ts"), &[]).ended_well();
    let times = run.times();
    assert_eq!((times.len(), times[0]), (25, 0.0));
    assert!((times[24] - 0.96).abs() < 0.02, "{times:?}");
}

#[test]
fn case_11_what_damage_has_taken_is_missed() {
    for (name, counts) in [("dmg_long.mkv", (81, 19)), ("dmg_long.ts", (98, 2))] {
        let run = Case::run(VIDEO, &uri(name), &[]).ended_well();
        assert_eq!(run.counts(), counts, "{name}");
    }
}

#[test]
fn case_12_what_stands_behind_the_pictures_is_no_fault() {
    for (name, frames) in [("gps0.mp4", 25), ("junk_long.mp4", 100)] {
        let run = Case::run(VIDEO, &uri(name), &[]).ended_well();
        assert_eq!(run.counts(), (frames, 0), "{name}");
        assert!(run.said.contains("WARN"), "{name}: {}", run.said);
    }
}

#[cfg(feature = "learn")]
#[test]
fn case_13_lines_of_tables_have_an_editors_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["crlf.csv", "lf.csv"] {
        let (code, said, _) = run_in(folder.path(), &["manifest", "validate", &uri(name)]);
        assert_ne!(code, 0, "{name}: {said}");
        assert!(said.contains("line 5"), "{name}: {said}");
        assert!(!said.contains("line 4"), "{name}: {said}");
    }
    let made = Command::new(fermata())
        .args(["manifest", "make", &uri("r.yaml"), "--out"])
        .arg(folder.path().join("out"))
        .output();
    let said = made.expect("the program").stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(
        said.contains("line 2") && !said.contains("line 1:"),
        "{said}"
    );
}

#[cfg(feature = "learn")]
#[test]
fn case_14_labels_are_whole_numbers_of_every_kind() {
    for name in ["u32.npz", "be_labels.npz", "fortran.npz"] {
        let folder = tempfile::tempdir().expect("a folder");
        let output = Command::new(fermata())
            .args(["evaluate", "--predictions", &uri(name), "--out"])
            .arg(folder.path().join("out"))
            .output()
            .expect("the program");
        assert!(output.status.success(), "{name}: {output:?}");
        let metrics = std::fs::read(folder.path().join("out/metrics.json")).expect("metrics");
        let metrics: Value = serde_json::from_slice(&metrics).expect("JSON");
        let counted = (&metrics["rows"], &metrics["raw"]["metrics"]["accuracy"]);
        assert_eq!(counted, (&200.into(), &0.545.into()), "{name}");
    }
}

#[test]
fn case_15_maps_are_merged() {
    for name in ["merge2.yaml", "merge3.yaml"] {
        let graph = std::fs::read_to_string(case(name)).expect("the case");
        let run = Case::run(&graph, &uri("drawn.mp4"), &[]).ended_well();
        assert_eq!(run.times().len(), 25, "{name}");
    }
}

#[test]
fn case_16_the_cover_of_a_sound_file_is_no_video() {
    for name in ["audio_cover.m4a", "song.mp3"] {
        let run = Case::run(VIDEO, &uri(name), &[]);
        assert_eq!(run.code, Some(1), "{}", run.said);
        assert!(
            run.said.contains("it holds no video stream"),
            "{}",
            run.said
        );
    }
}

#[test]
fn case_17_a_picture_with_more_light_than_a_screen_is_warned_of_once() {
    let run = Case::run(VIDEO, &uri("drawn_hlg.mov"), &[]).ended_well();
    assert_eq!(run.counts(), (25, 0));
    assert_eq!(
        run.said.matches("the video is HDR").count(),
        1,
        "{}",
        run.said
    );
}

#[test]
fn a_recording_of_472_frames_over_http_is_whole_and_twice_the_same() {
    let Some(data) = data() else { return };
    let clip = std::fs::read(data.join("videos/pyfeat_WolfgangLanger_Pexels.mp4")).expect("a clip");
    let graph = VIDEO.lines().filter(|line| !line.contains("write_video"));
    let graph: Vec<&str> = graph.collect();
    let graph = graph.join("\n");
    let tables = [Http::Ranges, Http::Ranges, Http::Whole].map(|http| {
        let server = servers::http(clip.clone(), http);
        let address = format!("http://127.0.0.1:{}/clip.mp4", server.port);
        let run = Case::run(&graph, &address, &[]).ended_well();
        assert_eq!(run.counts(), (472, 0), "{}", run.said);
        std::fs::read(run.out("faces.csv")).expect("a table")
    });
    assert!(tables[0] == tables[1] && tables[1] == tables[2]);
}

#[test]
fn cameras_are_analysed_until_they_are_interrupted() {
    let Some(models) = Models::find() else { return };
    let pictures = std::fs::read(case("r1.h264")).expect("the case");
    let rtsp = servers::rtsp(&pictures, Sending::at(10.0));
    let mjpeg = servers::mjpeg(servers::shades(), Sending::at(10.0));
    let folder = tempfile::tempdir().expect("a folder");
    let (_, detector) = models.detector.split_once('=').expect("a param");
    let (_, model) = models.model.split_once('=').expect("a param");
    let child = Command::new(fermata())
        .arg("analyse")
        .arg(format!("rtsp://127.0.0.1:{}/door", rtsp.port))
        .arg(format!("http://127.0.0.1:{}/hall", mjpeg.port))
        .args(["--detector", detector, "--model", model, "--out", "out"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let output = interrupted(child, "pictures of both", || {
        rtsp.sent() > 30 && mjpeg.sent() > 30
    });
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    for name in ["door", "hall"] {
        assert!(said.contains(name), "{name} is not in:\n{said}");
        assert!(folder.path().join(format!("out/{name}.mp4")).is_file());
    }
}
