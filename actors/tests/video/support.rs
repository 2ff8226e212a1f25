//! Helpers of the tests: running ffmpeg's programs, reading sources to their end, waiting with a deadline.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fermata_actors::payload::VideoFrame;
use fermata_actors::sources::video_source::{VideoSource, VideoSourceSettings};
use fermata_engine::testing::{SourceDriver, setup};
use fermata_engine::{
    ActorError, Captured, Graph, LoadOptions, Next, Registry, RunOptions, RunningGraph, Source,
};

/// A frame as a source emitted it.
pub(crate) struct Read {
    pub(crate) video: Arc<VideoFrame>,
    pub(crate) pts_ns: i64,
    pub(crate) segment: u32,
}

/// A limit beyond anything that a test waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Returns twenty pictures of a camera, H.264.
pub(crate) fn camera_pictures() -> Vec<u8> {
    std::fs::read(case("r1.h264")).expect("the case")
}

/// Creates a source with default settings.
pub(crate) fn source(uri: &str) -> VideoSource {
    let settings = settings_of(serde_json::json!({ "uri": uri }));
    VideoSource::create(settings, &setup()).unwrap_or_else(|error| panic!("{error}"))
}

/// Returns the next frames of a source that must not end.
pub(crate) fn take(source: &mut VideoSource, frames: usize) -> Vec<(Captured, Instant)> {
    let started = Instant::now();
    let mut taken = Vec::new();
    while taken.len() < frames {
        assert!(started.elapsed() < DEADLINE, "{} frames only", taken.len());
        match source.next().unwrap_or_else(|error| panic!("{error}")) {
            Next::Packet(captured) => taken.push((captured, Instant::now())),
            Next::Wait(time) => std::thread::park_timeout(time),
            Next::Mark(_) | Next::End | Next::EndedAs(_) => panic!("a live stream ended"),
        }
    }
    taken
}

/// Returns the times of frames, in seconds.
pub(crate) fn seconds(taken: &[(Captured, Instant)]) -> Vec<f64> {
    let pts = taken.iter().map(|(captured, _)| captured.pts_ns());
    pts.map(|pts_ns| pts_ns as f64 / 1e9).collect()
}

/// Returns how many of the frames begin a segment.
pub(crate) fn segments(taken: &[(Captured, Instant)]) -> usize {
    let begun = taken
        .iter()
        .filter(|(captured, _)| captured.is_new_segment());
    begun.count()
}

/// The captured log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("the lines").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Returns the warnings that are logged during `meanwhile`.
pub(crate) fn warnings(meanwhile: impl FnOnce()) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    tracing::subscriber::with_default(subscriber, meanwhile);
    let bytes = lines.0.lock().expect("the lines").clone();
    String::from_utf8(bytes).expect("text")
}

/// Returns the path of a small file that a real device or program wrote, or that was modelled on one.
pub(crate) fn case(name: &str) -> PathBuf {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    cases.join(name)
}

pub(crate) fn settings(uri: impl AsRef<Path>) -> VideoSourceSettings {
    let uri = uri.as_ref().to_str().expect("a path in UTF-8");
    settings_of(serde_json::json!({ "uri": uri }))
}

pub(crate) fn settings_of<T: serde::de::DeserializeOwned>(json: serde_json::Value) -> T {
    serde_json::from_value(json).expect("settings")
}

pub(crate) fn open(settings: VideoSourceSettings) -> SourceDriver<VideoSource> {
    SourceDriver::create(settings, setup()).unwrap_or_else(|error| panic!("{error}"))
}

/// Reads a recording to its end, or to its error.
pub(crate) fn read_all(source: SourceDriver<VideoSource>) -> (Vec<Read>, Option<ActorError>) {
    let (mut frames, mut broken) = (Vec::new(), None);
    for packet in source {
        match packet {
            Ok(mut packet) => frames.push(Read {
                video: packet.take(),
                pts_ns: packet.envelope.pts_ns,
                segment: packet.envelope.segment,
            }),
            Err(error) => broken = Some(error),
        }
    }
    (frames, broken)
}

/// Returns why a recording cannot be read: it is refused, or fails when its first picture is requested.
pub(crate) fn refusal(uri: impl AsRef<Path>) -> String {
    let source = SourceDriver::create(settings(uri), setup());
    let error = source.map_or_else(Some, |source: SourceDriver<VideoSource>| {
        let (frames, error) = read_all(source);
        assert!(frames.is_empty(), "{} frames", frames.len());
        error
    });
    error.expect("a refusal").to_string()
}

/// Reads a recording that must be whole.
pub(crate) fn read_whole(uri: impl AsRef<Path>) -> Vec<Read> {
    let (frames, error) = read_all(open(settings(uri)));
    assert!(error.is_none(), "{error:?}");
    frames
}

/// Returns how many frames of a file are delivered and missed, and whether it failed.
pub(crate) fn run(file: &str) -> (u64, u64, bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "
fermata: 1
nodes:
  clip: {{use: video_source, uri: '{file}'}}
  end:  {{use: discard, in: clip}}
run: {{clock: asap}}
"
    );
    let mut registry = Registry::builtin();
    registry.register_source::<VideoSource>();
    let options = LoadOptions::new(folder.path());
    let graph = Graph::parse("clip.yaml", &text, &registry, &options).expect("a correct graph");
    let running = RunningGraph::start(graph, Arc::new(registry), RunOptions::default());
    let report = running.expect("a graph that starts").wait();
    let stream = &report.streams["clip"];
    (stream.delivered, stream.missed, !report.faults.is_empty())
}

/// Runs ffmpeg with the arguments in `line`; `{}` stands for `path`. Panics if it fails.
pub(crate) fn ffmpeg(line: &str, path: &Path) -> Vec<u8> {
    program("ffmpeg", &format!("-nostdin -v error -y {line}"), path)
}

fn program(name: &str, line: &str, path: &Path) -> Vec<u8> {
    let words = line.split_whitespace().map(|word| match word {
        "{}" => path.as_os_str().to_owned(),
        word => word.into(),
    });
    let output = Command::new(name).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{name} (apt package ffmpeg): {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {line}: {said}");
    output.stdout
}

/// Returns the time stamps of all frames as ffprobe reports them, in microseconds.
pub(crate) fn ffprobe_pts_us(path: &Path) -> Vec<i64> {
    let line = "-v error -select_streams v:0 -show_entries frame=best_effort_timestamp_time -of csv=p=0 {}";
    let told = String::from_utf8(program("ffprobe", line, path)).expect("text");
    let seconds = told.lines().map(|line| line.trim_end_matches(','));
    let stamps = seconds.filter(|line| !line.is_empty());
    stamps
        .map(|text| {
            text.parse::<f64>()
                .unwrap_or_else(|_| panic!("`{text}` from ffprobe"))
        })
        .map(|seconds| (seconds * 1e6).round() as i64)
        .collect()
}

/// Returns offset and size of all packets of the first video stream in the file.
pub(crate) fn ffprobe_packets(path: &Path) -> Vec<(usize, usize)> {
    let line =
        "-v error -select_streams v:0 -show_entries packet=pos,size -of default=nk=1:nw=1 {}";
    let told = String::from_utf8(program("ffprobe", line, path)).expect("text");
    let numbers: Vec<usize> = told.lines().filter_map(|line| line.parse().ok()).collect();
    numbers
        .chunks_exact(2)
        .map(|size_and_place| (size_and_place[1], size_and_place[0]))
        .collect()
}

/// Returns one entry of the first video stream as ffprobe reports it.
pub(crate) fn ffprobe_stream(path: &Path, entry: &str) -> String {
    let line =
        format!("-v error -select_streams v:0 -show_entries stream={entry} -of csv=p=0 {{}}");
    let told = String::from_utf8(program("ffprobe", &line, path)).expect("text");
    told.trim().trim_end_matches(',').to_owned()
}

/// Returns time stamps rounded as ffprobe rounds them.
pub(crate) fn pts_us(frames: &[Read]) -> Vec<i64> {
    let rounded = frames
        .iter()
        .map(|frame| (frame.pts_ns as f64 / 1e3).round());
    rounded.map(|us| us as i64).collect()
}

/// Fails if two lists of time stamps differ by more than `within_us` anywhere.
pub(crate) fn assert_same_times(ours: &[i64], theirs: &[i64], within_us: i64) {
    assert_eq!(ours.len(), theirs.len(), "number of frames");
    for (index, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!(
            (a - b).abs() <= within_us,
            "frame {index}: {a} µs and {b} µs"
        );
    }
}

/// Returns the largest difference between two pictures of the same size.
pub(crate) fn largest_difference(ours: &[u8], theirs: &[u8]) -> u8 {
    assert_eq!(ours.len(), theirs.len(), "bytes of a picture");
    let differences = ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b));
    differences.max().unwrap_or(0)
}
