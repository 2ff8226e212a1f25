//! Sources that pass on numbers assigned elsewhere: gaps, segments, marks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fermata_engine::testing::Collector;
use fermata_engine::{
    ActorError, Captured, Graph, Next, Pacing, Payload, Ports, Registry, Report, RunOptions,
    RunningGraph, Services, Setup, Source,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::support::{PATIENCE, assert_balanced, options, wait_until};

struct Row;

impl Payload for Row {}

/// A step of a tape.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// A packet with this sequence number, in the current segment.
    Packet(u64),
    /// A new segment with this number.
    Segment(u32),
    /// A packet without a number.
    Unnumbered,
    /// A packet without a number, in a new segment.
    Reconnected,
    Mark(u64),
    /// A packet whose sequence number is this far below the largest possible one.
    PacketBelowLargest(u64),
    MarkBelowLargest(u64),
    /// Nothing until the test opens the gate.
    Wait,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TapeSettings {
    steps: Vec<Step>,
    #[serde(default)]
    live: bool,
}

/// A gate that a test opens.
#[derive(Default)]
struct Gate(AtomicBool);

struct Tape {
    steps: std::vec::IntoIter<Step>,
    segment: u32,
    live: bool,
    waits: bool,
    gate: Arc<Gate>,
}

impl Source for Tape {
    const NAME: &'static str = "tape";
    type Settings = TapeSettings;

    fn ports(_: &TapeSettings) -> Ports {
        Ports::new().output::<Row>("out").needs::<Gate>()
    }

    fn create(settings: TapeSettings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            steps: settings.steps.into_iter(),
            segment: 0,
            live: settings.live,
            waits: false,
            gate: setup.service().ok_or("no gate")?,
        })
    }

    fn pacing(&self) -> Pacing {
        if self.live {
            Pacing::Live
        } else {
            Pacing::ByPts
        }
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        if self.waits && !self.gate.0.load(Ordering::SeqCst) {
            return Ok(Next::Wait(Duration::from_millis(1)));
        }
        let row = || Captured::new(Arc::new(Row), 0);
        Ok(match self.steps.next() {
            None => Next::End,
            Some(Step::Packet(sequence)) => Next::Packet(row().numbered(sequence, self.segment)),
            Some(Step::Unnumbered) => Next::Packet(row()),
            Some(Step::Reconnected) => Next::Packet(row().in_new_segment()),
            Some(Step::Mark(next)) => Next::Mark(next),
            Some(Step::PacketBelowLargest(less)) => {
                Next::Packet(row().numbered(u64::MAX - less, self.segment))
            }
            Some(Step::MarkBelowLargest(less)) => Next::Mark(u64::MAX - less),
            Some(Step::Segment(segment)) => {
                self.segment = segment;
                Next::Wait(Duration::ZERO)
            }
            Some(Step::Wait) => {
                self.waits = true;
                Next::Wait(Duration::ZERO)
            }
        })
    }
}

fn start(body: &str) -> (RunningGraph, Collector, Arc<Gate>) {
    let mut registry = Registry::builtin();
    registry.register_source::<Tape>();
    let collector = Collector::register(&mut registry, "collect");
    let text = format!("fermata: 1\n{body}");
    let graph = Graph::parse("numbered.yaml", &text, &registry, &options()).expect("a graph");
    let gate = Arc::new(Gate::default());
    let run_options = RunOptions {
        services: Services::new().with(Arc::clone(&gate)),
        ..RunOptions::default()
    };
    let running = RunningGraph::start(graph, Arc::new(registry), run_options);
    (running.expect("a graph that starts"), collector, gate)
}

/// Runs a tape to its end; returns the segments and sequence numbers that arrived.
fn played(steps: &str) -> (Report, Vec<(u32, u64)>) {
    let (running, collector, _) = start(&format!(
        "\
nodes:
  tape: {{use: tape, steps: [{steps}]}}
  middle: {{use: identity, in: tape, batch: {{max: 2}}}}
  end: {{use: collect, in: middle}}
run: {{clock: asap}}
"
    ));
    let report = running.wait();
    assert_balanced(&report);
    let packets = collector.packets();
    let envelopes = packets.iter().map(|packet| &packet.envelope);
    let numbers = envelopes.map(|envelope| (envelope.segment, envelope.sequence));
    (report, numbers.collect())
}

#[test]
fn numbers_and_segments_from_elsewhere_are_kept_with_their_gaps() {
    let (report, numbers) =
        played("{packet: 5}, {packet: 8}, {segment: 3}, {packet: 9}, {mark: 20}, {packet: 20}");
    assert_eq!(numbers, [(0, 5), (0, 8), (3, 9), (3, 20)]);
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}

#[test]
fn what_has_no_number_goes_on_behind_what_has_one_and_behind_marks() {
    let (_, numbers) =
        played("unnumbered, {packet: 7}, unnumbered, reconnected, {mark: 30}, unnumbered");
    assert_eq!(numbers, [(0, 0), (0, 7), (0, 8), (1, 9), (1, 30)]);
}

#[test]
fn numbers_that_do_not_grow_end_the_stream_as_failed() {
    for (steps, came, says) in [
        (
            "{packet: 5}, {packet: 5}, {packet: 6}",
            vec![(0, 5)],
            "at least 6",
        ),
        (
            "{packet: 5}, {packet: 3}",
            vec![(0, 5)],
            "numbered a packet 3",
        ),
        ("{mark: 9}, {packet: 8}", vec![], "at least 9"),
        ("{packet_below_largest: 0}", vec![], "largest number"),
        ("{packet_below_largest: 1}", vec![], "largest number"),
        (
            "{packet: 1}, {mark_below_largest: 0}",
            vec![(0, 1)],
            "largest number",
        ),
    ] {
        let (report, numbers) = played(steps);
        assert_eq!(numbers, came, "{steps}");
        let fault = report.faults.first().expect("a fault");
        assert_eq!(fault.node.as_deref(), Some("tape"));
        assert!(fault.message.contains(says), "{steps}: {}", fault.message);
    }
    let (report, numbers) = played("{packet_below_largest: 2}");
    assert_eq!(numbers, [(0, u64::MAX - 2)]);
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}

/// A mark that goes back is ignored.
#[test]
fn marks_may_repeat_themselves() {
    let (report, numbers) = played("{mark: 4}, {mark: 4}, {mark: 2}, {packet: 4}, {mark: 5}");
    assert_eq!(numbers, [(0, 4)]);
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}

#[test]
fn a_mark_lets_other_streams_have_their_turn() {
    for middle in ["", ", lane: one", ", replicas: 2", ", batch: {max: 1}"] {
        let (running, collector, gate) = start(&format!(
            "\
nodes:
  slow: {{use: tape, steps: [{{packet: 0}}, {{mark: 50}}, wait, {{packet: 60}}]}}
  fast: {{use: test_source, count: 50}}
  of_slow: {{use: identity, in: slow{middle}}}
  of_fast: {{use: identity, in: fast}}
  end: {{use: collect, in: [of_slow, of_fast]}}
run: {{clock: asap}}
"
        ));
        // Without the mark the sink would wait for the slow stream's next packet before taking the second of the fast
        // one.
        wait_until("the fast stream", || collector.packets().len() == 51);
        gate.0.store(true, Ordering::SeqCst);
        let report = running.wait();
        assert_balanced(&report);
        assert!(report.faults.is_empty(), "{middle}: {:?}", report.faults);
        let last = collector
            .packets()
            .last()
            .map(|last| last.envelope.sequence);
        assert_eq!(last, Some(60), "{middle}");
    }
}

/// Packets that a live source holds precede the marks that it sets while it is blocked.
#[test]
fn a_mark_of_a_live_source_waits_for_what_is_in_hand() {
    let steps: Vec<String> = (0..300)
        .map(|number| format!("{{packet: {number}}}, {{mark: {}}}", number + 1))
        .collect();
    let (running, collector, _) = start(&format!(
        "\
nodes:
  tape: {{use: tape, live: true, steps: [{}]}}
  slow: {{use: identity, in: tape, work: 1ms, queue: {{capacity: 1}}}}
  end: {{use: collect, in: slow}}
",
        steps.join(", ")
    ));
    let report = running
        .wait_for(PATIENCE)
        .map_err(drop)
        .expect("a run that ends");
    assert_balanced(&report);
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    let stream = &report.streams["tape"];
    assert_eq!(stream.captured + stream.missed, 300);
    assert!(stream.missed > 0, "it was never held up: {stream:?}");
    assert_eq!(collector.packets().len() as u64, stream.captured);
}
