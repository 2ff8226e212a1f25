//! What a run must not accumulate: memory under overload, threads and file descriptors over many streams; and a queue
//! that is held for long. Each test runs in a process of its own, so that no other test adds threads or memory.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fermata_engine::report::StreamReport;
use fermata_engine::{
    Actor, ActorError, End, Graph, Input, Outputs, Ports, ProviderSetup, Registry, RunOptions,
    RunningGraph, Services, Setup, StreamProvider, graph::StreamSpec,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::soak;
use crate::support::{assert_balanced, options, wait_until};

/// The environment variable set in the test's own process.
const ALONE: &str = "FERMATA_ALONE";

/// Runs one test of this file again, alone in a process. Returns true in that process.
fn is_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "--nocapture",
            &format!("endurance::long_runs::{test}"),
        ])
        .env(ALONE, "1")
        .output()
        .expect("this program again");
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    let ran = said.contains("1 passed");
    assert!(
        ran && output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// Returns the resident memory of this process, KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("VmRSS");
    line.split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

fn entries(folder: &str) -> usize {
    std::fs::read_dir(folder).expect("Linux").count()
}

fn start(text: &str, registry: Registry, hold_open: bool) -> RunningGraph {
    let graph = Graph::parse("long.yaml", text, &registry, &options()).expect("a correct graph");
    RunningGraph::start(
        graph,
        Arc::new(registry),
        RunOptions {
            hold_open,
            ..RunOptions::default()
        },
    )
    .expect("a graph that starts")
}

#[test]
fn streams_that_come_and_go_leave_no_threads_and_no_files_open() {
    if !is_alone("streams_that_come_and_go_leave_no_threads_and_no_files_open") {
        return;
    }
    let (warm_up, streams) = (20, if soak() { 1000 } else { 200 });
    let running = start(
        "
fermata: 1
nodes:
  source: {use: test_source, each: stream, bytes: 64KiB}
  shared: {use: identity, in: source}
  split:  {use: identity, each: stream, in: shared}
  end:    {use: discard, each: stream, in: split}
",
        Registry::builtin(),
        true,
    );
    let handle = running.handle();
    // Before the first stream: later, threads of the previous stream may still be exiting.
    let (threads, files) = (entries("/proc/self/task"), entries("/proc/self/fd"));
    let mut resident = 0;
    for number in 0..warm_up + streams {
        if number == warm_up {
            resident = resident_kib();
        }
        let name = handle.add_stream("door", "x").expect("a stream");
        wait_until("packets", || {
            handle
                .stream_report(&name)
                .is_some_and(|stream| stream.delivered > 2)
        });
        assert!(handle.remove_stream(&name));
        wait_until("its end", || {
            handle
                .stream_report(&name)
                .is_some_and(|stream| stream.ended)
        });
    }
    wait_until("the last threads", || entries("/proc/self/task") == threads);
    assert_eq!(entries("/proc/self/fd"), files, "open files");
    let kib = resident_kib().saturating_sub(resident) as f64 / f64::from(streams);
    println!("memory kept for a stream of four nodes that has ended: {kib:.1} KiB");
    assert!(kib < 64.0, "a stream that has ended keeps {kib} KiB");
    handle.drain();
    let report = running.wait();
    assert_balanced(&report);
    assert_eq!(report.streams.len() as u32, (warm_up + streams) as u32);
}

/// Provides a number of units one after another; records the memory in use after a tenth of them.
struct Many {
    units: u32,
    given: u32,
    early: Arc<AtomicU64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ManySettings {
    units: u32,
}

impl StreamProvider for Many {
    const NAME: &'static str = "many";
    type Settings = ManySettings;

    fn create(settings: ManySettings, setup: &ProviderSetup) -> Result<Self, ActorError> {
        Ok(Self {
            units: settings.units,
            given: 0,
            early: setup.service().ok_or("no counter")?,
        })
    }

    fn next(&mut self) -> Result<Option<StreamSpec>, ActorError> {
        if self.given == self.units / 10 {
            self.early.store(resident_kib(), Ordering::Relaxed);
        }
        self.given += 1;
        Ok((self.given <= self.units).then(|| StreamSpec {
            name: format!("u{}", self.given),
            uri: String::new(),
        }))
    }

    fn ended(&mut self, _: &str, _: End) -> Result<(), ActorError> {
        Ok(())
    }
}

#[test]
fn a_job_of_many_units_takes_no_more_memory_than_one_of_few() {
    if !is_alone("a_job_of_many_units_takes_no_more_memory_than_one_of_few") {
        return;
    }
    let units = if soak() { 20_000 } else { 1000 };
    let mut registry = Registry::builtin();
    registry.register_provider::<Many>();
    let text = format!(
        "
fermata: 1
streams: {{use: many, units: {units}, open: 2}}
nodes:
  source: {{use: test_source, each: stream, count: 3}}
  shared: {{use: identity, in: source, replicas: 2}}
  own:    {{use: identity, each: stream, in: shared, lane: one}}
  end:    {{use: discard, in: own}}
run: {{clock: asap}}
"
    );
    let early = Arc::new(AtomicU64::new(0));
    let run_options = RunOptions {
        services: Services::new().with(Arc::clone(&early)),
        ..RunOptions::default()
    };
    let graph = Graph::parse("many.yaml", &text, &registry, &options()).expect("a graph");
    let running = RunningGraph::start(graph, Arc::new(registry), run_options).expect("a run");
    let report = running.wait();
    let kept = resident_kib().saturating_sub(early.load(Ordering::Relaxed));
    assert_balanced(&report);
    let ended = report.units.expect("units");
    assert_eq!((ended.complete, ended.delivered), (units, 3 * units));
    println!("memory kept of {units} units after the first tenth: {kept} KiB");
    assert!(kept < 2048, "{units} units keep {kept} KiB");
}

#[test]
fn an_overload_of_four_times_drops_and_keeps_its_memory() {
    if !is_alone("an_overload_of_four_times_drops_and_keeps_its_memory") {
        return;
    }
    let time = Duration::from_secs(if soak() { 600 } else { 4 });
    // Each stream emits 400 packets per second, of which the node can take 100; each frame has 920 KB of its own.
    let mut registry = Registry::builtin();
    registry.register::<Pause>();
    registry.register::<Copy>();
    let running = start(
        "
fermata: 1
streams: {a: x, b: x}
nodes:
  source: {use: test_source, each: stream, rate: 400, bytes: 900KiB}
  frame:  {use: copy, each: stream, in: source}
  slow:   {use: pause, each: stream, time: 10ms, in: frame, queue: {capacity: 4, full: drop_oldest}}
  end:    {use: discard, in: slow}
",
        registry,
        false,
    );
    std::thread::sleep(time / 4);
    let handle = running.handle();
    wait_until("full queues", || {
        let streams = handle.report().streams;
        let dropped = |stream: &StreamReport| stream.sinks["end"].losses.values().sum::<u64>();
        streams.values().all(|stream| dropped(stream) > 50)
    });
    let before = resident_kib();
    std::thread::sleep(time * 3 / 4);
    let after = resident_kib();
    running.handle().drain();
    let report = running.wait();
    assert_balanced(&report);
    for (name, stream) in &report.streams {
        let dropped = stream.sinks["end"].losses.values().sum::<u64>();
        assert!(dropped > stream.captured / 2, "{name}: {stream:?}");
    }
    println!("resident: {before} KiB after a quarter of the time, {after} KiB at its end");
    assert!(
        after < before + 8 * 1024,
        "memory grew from {before} to {after} KiB"
    );
}

#[test]
fn a_queue_that_is_held_for_long_loses_nothing() {
    if !is_alone("a_queue_that_is_held_for_long_loses_nothing") {
        return;
    }
    let time = if soak() { "3m" } else { "2s" };
    let mut registry = Registry::builtin();
    registry.register::<Pause>();
    let text = format!(
        "
fermata: 1
nodes:
  source: {{use: test_source, count: 1000}}
  held:   {{use: pause, time: {time}, once: true, in: source}}
  end:    {{use: discard, in: held}}
  aside:  {{use: discard, in: source, queue: {{capacity: 1, full: drop_oldest}}}}
run: {{call_deadline: 1s}}
"
    );
    let report = start(&text, registry, false).wait();
    assert_balanced(&report);
    assert_eq!(report.streams["source"].delivered, 1000);
    assert!(
        report.faults.is_empty() && report.hung.is_empty(),
        "{:?}",
        report.faults
    );
}

/// Sleeps on every packet, or on the first one.
struct Pause {
    time: Duration,
    once: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PauseSettings {
    time: fermata_engine::units::HumanDuration,
    #[serde(default)]
    once: bool,
}

impl Actor for Pause {
    const NAME: &'static str = "pause";
    type Settings = PauseSettings;

    fn ports(_: &PauseSettings) -> Ports {
        Ports::new().any_input("in").same_output("out")
    }

    fn create(settings: PauseSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            time: settings.time.0,
            once: settings.once,
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        std::thread::sleep(self.time);
        if self.once {
            self.time = Duration::ZERO;
        }
        if let Some(payload) = input.take_any(0) {
            out.emit_any(0, input.envelope, payload);
        }
        Ok(())
    }
}

/// Gives every packet a payload of its own, as a camera does.
struct Copy;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CopySettings {}

impl Actor for Copy {
    const NAME: &'static str = "copy";
    type Settings = CopySettings;

    fn ports(_: &CopySettings) -> Ports {
        use fermata_engine::builtin::Blob;
        Ports::new().input::<Blob>("in").output::<Blob>("out")
    }

    fn create(_: CopySettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self)
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        use fermata_engine::builtin::Blob;
        let bytes = input.take::<Blob>().bytes.clone();
        out.emit::<Blob>(input.envelope, Blob { bytes });
        Ok(())
    }
}
