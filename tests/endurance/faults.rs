//! Streams and actors that fail, in a graph of real actors: nothing else may be affected, and the books account for
//! every packet.

use std::collections::BTreeMap;
use std::sync::Arc;

use fermata_actors::faces::detect_faces::DetectFaces;
use fermata_actors::sinks::write_csv::WriteCsv;
use fermata_actors::sources::synthetic_faces::SyntheticFaces;
use fermata_actors::temporal::track_faces::TrackFaces;
use fermata_engine::statistics::NodeNow;
use fermata_engine::{
    Actor, ActorError, End, Graph, Input, Next, Outputs, Pacing, Ports, Registry, Report,
    RunOptions, RunningGraph, Setup, Source, Stream,
};

use crate::support::{assert_balanced, options, wait_until_or};

/// Frames of each stream.
const FRAMES: u64 = 36;

/// Synthetic faces from a camera that, depending on the name of its stream, dies, stalls or floods.
struct TroubledCamera {
    camera: SyntheticFaces,
    stream: String,
    given: u64,
}

impl Source for TroubledCamera {
    const NAME: &'static str = "troubled_camera";
    type Settings = <SyntheticFaces as Source>::Settings;

    fn ports(settings: &Self::Settings) -> Ports {
        SyntheticFaces::ports(settings)
    }

    fn create(settings: Self::Settings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            camera: SyntheticFaces::create(settings, setup)?,
            stream: setup
                .stream
                .as_ref()
                .map_or_else(String::new, |stream| stream.name.clone()),
            given: 0,
        })
    }

    fn pacing(&self) -> Pacing {
        match self.stream.as_str() {
            "floods" => Pacing::Live,
            _ => Pacing::ByPts,
        }
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        self.given += 1;
        match self.stream.as_str() {
            "dies" if self.given > 5 => Err("the camera died on purpose".into()),
            "stalls" if self.given > 5 => loop {
                std::thread::park();
            },
            _ => self.camera.next(),
        }
    }
}

/// An actor that panics on every seventh packet or batch.
struct Panicky<A> {
    actor: A,
    calls: u64,
}

impl<A> Panicky<A> {
    fn panic_in_turn(&mut self) {
        self.calls += 1;
        assert!(
            !self.calls.is_multiple_of(7),
            "panic on purpose at call {}",
            self.calls
        );
    }
}

impl<A: Actor> Actor for Panicky<A> {
    const NAME: &'static str = A::NAME;
    type Settings = A::Settings;

    fn ports(settings: &Self::Settings) -> Ports {
        A::ports(settings)
    }

    fn create(settings: Self::Settings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            actor: A::create(settings, setup)?,
            calls: 0,
        })
    }

    fn process(&mut self, input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        self.panic_in_turn();
        self.actor.process(input, out)
    }

    fn process_batch(&mut self, inputs: Vec<Input>, out: &mut Outputs) -> Result<(), ActorError> {
        self.panic_in_turn();
        self.actor.process_batch(inputs, out)
    }

    fn stream_started(&mut self, stream: &Arc<Stream>) -> Result<(), ActorError> {
        self.actor.stream_started(stream)
    }

    fn stream_ended(&mut self, stream: &Arc<Stream>, end: End) -> Result<(), ActorError> {
        self.actor.stream_ended(stream, end)
    }

    fn finish(&mut self, end: End) -> Result<(), ActorError> {
        self.actor.finish(end)
    }
}

fn start(text: &str, registry: Registry, out: &std::path::Path) -> RunningGraph {
    let mut options = options();
    options.run_dir = out.to_owned();
    let graph = Graph::parse("faults.yaml", text, &registry, &options);
    let graph = graph.unwrap_or_else(|problems| panic!("{problems}"));
    RunningGraph::start(graph, Arc::new(registry), RunOptions::default())
        .expect("a graph that starts")
}

#[test]
fn one_of_sixteen_streams_dies_one_stalls_and_one_floods_and_the_others_lose_nothing() {
    let mut registry = Registry::builtin();
    registry.register_source::<TroubledCamera>();
    registry.register::<DetectFaces>();
    registry.register::<TrackFaces>();
    registry.register::<WriteCsv>();
    let healthy: Vec<String> = (0..13).map(|number| format!("s{number}")).collect();
    let names = healthy
        .iter()
        .map(String::as_str)
        .chain(["dies", "stalls", "floods"]);
    let streams: Vec<String> = names
        .enumerate()
        .map(|(seed, name)| format!("{name}: {seed}"))
        .collect();
    let text = format!(
        "
fermata: 1
streams: {{{}}}
nodes:
  capture: {{use: troubled_camera, each: stream, seed: \"${{stream.uri}}\", width: 160, height: 120, fps: 20, count: {FRAMES}}}
  detect:  {{use: detect_faces, in: capture, every: 12, queue: {{capacity: {FRAMES}, full: drop_oldest}}}}
  track:   {{use: track_faces, each: stream, in: detect}}
  log:     {{use: write_csv, in: track, path: \"${{run.dir}}/faces.csv\"}}
run: {{clock: live, drain: 2s}}
",
        streams.join(", ")
    );
    let out = tempfile::tempdir().unwrap();
    let running = start(&text, registry, out.path());
    let handle = running.handle();
    let is_through = |report: &Report| {
        let through = |name: &String| report.streams[name].delivered == FRAMES;
        healthy.iter().all(through) && report.nodes["capture@dies"].processed == 5
    };
    let is_stalled = |node: &NodeNow| {
        let is_meant =
            node.place.node == "capture" && node.place.stream.as_deref() == Some("stalls");
        is_meant && node.processed == 5 && !node.calls.is_empty()
    };
    wait_until_or(
        || format!("{:#?}", handle.report().streams),
        || is_through(&handle.report()) && handle.snapshot().nodes.iter().any(is_stalled),
    );
    handle.drain();
    let report = running.wait();
    assert_balanced(&report);
    assert_eq!(report.hung, ["capture@stalls"]);
    let blamed: Vec<_> = report
        .faults
        .iter()
        .filter_map(|fault| fault.node.as_deref())
        .collect();
    assert_eq!(blamed, ["capture@dies"], "{:?}", report.faults);
    for name in &healthy {
        let stream = &report.streams[name];
        assert_eq!(
            (stream.captured, stream.delivered),
            (FRAMES, FRAMES),
            "{name}"
        );
    }
    assert_eq!(report.streams["dies"].delivered, 5);
    assert_eq!(report.streams["stalls"].delivered, 5);
    let flood = &report.streams["floods"];
    let lost: u64 = flood.sinks["log"].losses.values().sum();
    assert_eq!(flood.captured + flood.missed, FRAMES);
    assert_eq!(flood.delivered + lost, flood.captured);
}

/// Frames of each stream in tests that wait for restarts, whose delays double.
const FEW_FRAMES: u64 = 20;

/// Runs two synthetic streams through detector, tracker and CSV, one of which panics now and then.
fn run_with_a_panicking(who: &str, out: &std::path::Path) -> Report {
    let mut registry = Registry::builtin();
    registry.register_source::<SyntheticFaces>();
    match who {
        "detect" => registry.register::<Panicky<DetectFaces>>(),
        _ => registry.register::<DetectFaces>(),
    }
    match who {
        "track" => registry.register::<Panicky<TrackFaces>>(),
        _ => registry.register::<TrackFaces>(),
    }
    match who {
        "log" => registry.register::<Panicky<WriteCsv>>(),
        _ => registry.register::<WriteCsv>(),
    }
    let text = format!(
        "
fermata: 1
streams: {{a: 1, b: 2}}
nodes:
  capture: {{use: synthetic_faces, each: stream, seed: \"${{stream.uri}}\", width: 160, height: 120, count: {FEW_FRAMES}}}
  detect:  {{use: detect_faces, in: capture, every: 2}}
  track:   {{use: track_faces, each: stream, in: detect}}
  log:     {{use: write_csv, in: track, path: \"${{run.dir}}/faces.csv\"}}
run: {{clock: asap, restart: {{most: 100, within: 1h}}}}
"
    );
    start(&text, registry, out).wait()
}

/// Asserts that a track that has ended (as all do when their tracker panics) is never seen again.
fn assert_tracks_never_return(csv: &std::path::Path) {
    let mut last_seen: BTreeMap<(String, u64), u64> = BTreeMap::new();
    let mut faces = 0;
    for row in csv::Reader::from_path(csv).unwrap().records() {
        let row = row.unwrap();
        let (Ok(sequence), Ok(track)) = (row[2].parse::<u64>(), row[4].parse::<u64>()) else {
            continue;
        };
        faces += 1;
        let before = last_seen.insert((row[0].to_owned(), track), sequence);
        assert!(
            before.is_none_or(|before| sequence <= before + 2),
            "{row:?} after {before:?}"
        );
    }
    assert!(
        faces > 0,
        "the detector found nobody: this looked at nothing"
    );
}

#[test]
fn a_detector_and_a_tracker_that_panic_lose_the_packet_and_nothing_else() {
    let out = tempfile::tempdir().unwrap();
    for (who, instances, panics) in [
        ("detect", vec!["detect"], 2 * FEW_FRAMES / 7),
        ("track", vec!["track@a", "track@b"], FEW_FRAMES / 7),
    ] {
        let report = run_with_a_panicking(who, out.path());
        assert_balanced(&report);
        assert!(report.faults.is_empty(), "{who}: {:?}", report.faults);
        let mut failed = 0;
        for name in instances {
            let node = &report.nodes[name];
            // A new actor starts counting its calls from zero: each panic loses one packet, and the next six pass.
            assert_eq!((node.failed, node.restarts), (panics, panics), "{name}");
            failed += node.failed;
        }
        let rows: u64 = report.streams.values().map(|stream| stream.delivered).sum();
        assert_eq!(rows, 2 * FEW_FRAMES - failed, "{who}");
        assert_tracks_never_return(&out.path().join("faces.csv"));
    }
}

#[test]
fn a_sink_that_panics_ends_the_run_and_leaves_no_file_that_looks_whole() {
    let out = tempfile::tempdir().unwrap();
    let report = run_with_a_panicking("log", out.path());
    assert_balanced(&report);
    let fault = &report.faults[0];
    assert_eq!(fault.node.as_deref(), Some("log"));
    assert!(
        fault.message.contains("panic on purpose"),
        "{}",
        fault.message
    );
    assert_eq!(
        report.nodes["log"].restarts, 0,
        "half a file cannot be taken over"
    );
    let entries = std::fs::read_dir(out.path()).unwrap();
    let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["faces.csv.part"]);
}

#[test]
fn a_classifier_that_panics_loses_its_batch_and_nothing_else() {
    use fermata_actors::faces::crop_faces::CropFaces;
    use fermata_actors::inference::classify_expression::ClassifyExpression;
    let Some(data) = crate::skipped::data() else {
        return;
    };
    let model = crate::support::card_of_mini_xception(&data);
    let mut registry = Registry::builtin();
    registry.register_source::<SyntheticFaces>();
    registry.register::<DetectFaces>();
    registry.register::<CropFaces>();
    registry.register::<Panicky<ClassifyExpression>>();
    registry.register::<WriteCsv>();
    let text = format!(
        "
fermata: 1
params: {{model: '{}'}}
streams: {{a: 1, b: 2}}
nodes:
  capture: {{use: synthetic_faces, each: stream, seed: \"${{stream.uri}}\", count: {FEW_FRAMES}}}
  detect:  {{use: detect_faces, in: capture, every: 2}}
  crop:    {{use: crop_faces, each: stream, in: detect, model: \"${{model}}\"}}
  emotion: {{use: classify_expression, in: crop, model: \"${{model}}\", batch: {{max: 2}}}}
  log:     {{use: write_csv, in: emotion, path: \"${{run.dir}}/faces.csv\"}}
run: {{clock: asap, restart: {{most: 100, within: 1h}}}}
",
        model.path().display()
    );
    let out = tempfile::tempdir().unwrap();
    let report = start(&text, registry, out.path()).wait();
    assert_balanced(&report);
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    let emotion = &report.nodes["emotion"];
    assert!(emotion.restarts >= 2, "{emotion:?}");
    assert!(
        emotion.failed > emotion.restarts,
        "some batch had two packets: {emotion:?}"
    );
    let rows: u64 = report.streams.values().map(|stream| stream.delivered).sum();
    assert_eq!(rows + emotion.failed, 2 * FEW_FRAMES);
}
