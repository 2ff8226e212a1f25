//! The state of a run's streams as lines of a terminal or of a log. Owns the columns, and what is dropped if there is
//! too little room; the parent module draws the lines, `columns` lays out the columns.

use std::fmt::Write as _;

use fermata_engine::ClockMode;
use fermata_engine::graph::{printable, redact};
use fermata_engine::rates::Rates;
use fermata_engine::statistics::{NodeState, Snapshot, StreamNow};

use crate::columns::{Column, Columns, LEAST_NAME};
use crate::print::counted;

/// Minimum room for showing the reason why a stream is held up.
const LEAST_REASON: usize = 16;

/// The data from which lines are made.
pub(super) struct StreamTable<'a> {
    /// The run.
    pub(super) now: &'a Snapshot,
    /// Rates over the last seconds.
    pub(super) rates: &'a Rates,
    /// Names of streams that are closed.
    pub(super) ended: &'a [String],
    /// The clock; under `asap`, latency measures queue lengths and nothing else.
    pub(super) clock: ClockMode,
}

impl StreamTable<'_> {
    /// Formats the run in one line: time, streams by state, and rate; shorter if there is too little room.
    pub(super) fn summary(&self, width: usize) -> String {
        let streams = self.now.streams.len();
        let (time, rate) = (clock_time(self.now.at_s), self.rates.delivered);
        let mut line = format!("{time}  {rate:.1} frames/s  {}", counted(streams, "stream"));
        let lost = self.now.streams.iter();
        let lost = lost.filter(|stream| self.lost(stream).is_some()).count();
        if lost > 0 {
            let _ = write!(line, ", {lost} reconnecting");
        }
        let closed = self.now.closed;
        if closed.count == 0 {
            return line;
        }
        let (count, frames) = (closed.count, closed.delivered);
        let _ = write!(line, ", {count} ended");
        let with_frames = format!("{line} with {frames} frames");
        if with_frames.chars().count() <= width {
            with_frames
        } else {
            line
        }
    }

    /// Returns a heading and one line per stream, none wider than `width`.
    pub(super) fn lines(&self, width: usize) -> Vec<String> {
        let columns = Columns::within(width, LEAST_NAME, self.columns()).without_last();
        let mut lines = columns.lines();
        self.tell_reasons(&mut lines, columns.left(), columns.gap());
        lines
    }

    /// Describes each stream in a sentence.
    pub(super) fn sentences(&self) -> Vec<String> {
        let mut lines = vec![self.summary(usize::MAX)];
        for stream in &self.now.streams {
            let state = self.state(stream);
            let comma = if state.is_empty() { "" } else { ", " };
            let latency = match self.clock {
                ClockMode::Asap => String::new(),
                _ => format!(", latency {}", milliseconds(latency_ms(stream))),
            };
            lines.push(format!(
                "{}: {} frames, {:.1}/s{latency}, lost {}, missed {}{comma}{state}",
                stream.name,
                stream.delivered,
                self.rate(stream),
                lost(stream),
                stream.missed
            ));
        }
        lines
    }

    fn columns(&self) -> Vec<Column> {
        let streams = &self.now.streams;
        let ended = self.ended.len();
        let column =
            |head, is_number, cell: &dyn Fn(&StreamNow) -> String, of_ended: &str| Column {
                head,
                cells: streams
                    .iter()
                    .map(cell)
                    .chain(std::iter::repeat_n(of_ended.to_owned(), ended))
                    .collect(),
                is_number,
            };
        let mut name = column("stream", false, &|stream| stream.name.clone(), "");
        name.cells.truncate(streams.len());
        name.cells.extend(self.ended.iter().cloned());
        let state = column("", false, &|stream| self.state(stream).to_owned(), "ended");
        let mut columns = vec![name];
        if state.cells.iter().any(|cell| !cell.is_empty()) {
            columns.push(state);
        }
        let frames = column("frames", true, &|stream| stream.delivered.to_string(), "");
        let rate = |stream: &StreamNow| format!("{:.1}", self.rate(stream));
        columns.extend([frames, column("/s", true, &rate, "")]);
        let told_always = |head, cell: &dyn Fn(&StreamNow) -> u64| {
            column(head, true, &|stream| cell(stream).to_string(), "")
        };
        columns.push(told_always("lost", &lost));
        columns.push(told_always("missed", &|stream| stream.missed));
        if self.clock != ClockMode::Asap {
            let latency = |stream: &StreamNow| match stream.delivered {
                0 => String::new(),
                _ => milliseconds(latency_ms(stream)),
            };
            columns.push(column("latency", true, &latency, ""));
        }
        columns
    }

    fn tell_reasons(&self, lines: &mut [String], left: usize, gap: usize) {
        if left < LEAST_REASON + gap {
            return;
        }
        let width = lines.iter().map(|line| line.chars().count()).max();
        let width = width.unwrap_or(0);
        for (stream, line) in self.now.streams.iter().zip(&mut lines[1..]) {
            if let Some((reason, for_s)) = self.lost(stream) {
                let reason = printable(&redact(reason));
                let reason = format!("for {for_s:.0} s: {reason}");
                let cut: String = reason.chars().take(left - gap).collect();
                let _ = write!(line, "{:1$}{cut}", "", width + gap - line.chars().count());
            }
        }
    }

    fn state(&self, stream: &StreamNow) -> &'static str {
        if stream.ended {
            "ended"
        } else if self.lost(stream).is_some() {
            "reconnecting"
        } else {
            ""
        }
    }

    /// Returns why the stream's source has lost what it captures from, and for how many seconds.
    fn lost(&self, stream: &StreamNow) -> Option<(&str, f64)> {
        let nodes = self.now.nodes.iter();
        let mut of_stream = nodes.filter(|node| {
            let of = node.place.stream.as_ref().unwrap_or(&node.place.node);
            *of == stream.name
        });
        of_stream.find_map(|node| match &node.state {
            NodeState::Lost { reason, for_s } => Some((reason.as_str(), *for_s)),
            _ => None,
        })
    }

    fn rate(&self, stream: &StreamNow) -> f64 {
        let rates = self.rates.streams.get(&stream.name);
        rates.map_or(0.0, |rates| rates.delivered)
    }
}

/// Returns the largest loss at any sink: packets lost before a fork are lost at every sink behind it.
fn lost(stream: &StreamNow) -> u64 {
    let losses = stream.sinks.iter();
    let losses = losses.map(|sink| sink.losses.values().sum::<u64>());
    losses.max().unwrap_or(0)
}

fn latency_ms(stream: &StreamNow) -> f64 {
    let latency = stream.sinks.iter();
    let latency = latency.map(|sink| sink.latency.quantiles_ms.p50);
    latency.fold(0.0, f64::max)
}

fn milliseconds(ms: f64) -> String {
    if ms < 10.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{ms:.0} ms")
    }
}

/// Formats the time since the start: `4:07`, `1:12:33`.
fn clock_time(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fermata_engine::statistics::{ClosedStreams, NodeNow, Place, SinkNow, Times};

    use super::*;

    fn stream(name: &str, delivered: u64, ended: bool) -> StreamNow {
        let mut latency = Times::default();
        latency.quantiles_ms.p50 = 38.4;
        let sink = SinkNow {
            name: "log".to_owned(),
            delivered,
            losses: BTreeMap::from([("drop_oldest at detect".to_owned(), 12)]),
            latency,
        };
        StreamNow {
            name: name.to_owned(),
            edge: None,
            captured: delivered,
            missed: 3,
            delivered,
            ended,
            sinks: vec![sink],
        }
    }

    fn lost(stream: &str) -> NodeNow {
        NodeNow {
            place: Place {
                node: "capture".to_owned(),
                stream: Some(stream.to_owned()),
            },
            state: NodeState::Lost {
                reason: "rtsp://me:secret@door/1: Connection refused".to_owned(),
                for_s: 12.0,
            },
            calls: Vec::new(),
            in_hand: 0,
            received: 0,
            processed: 0,
            failed: 0,
            unmatched: 0,
            abandoned: 0,
            finished: 0,
            restarts: 0,
            age_s: 0.0,
            busy_s: 0.0,
            blocked_s: 0.0,
            service: Times::default(),
            queue_wait: Times::default(),
            batches: None,
            replicas: 1,
        }
    }

    const LONG: &str = "building-a-second-floor-corridor-camera-17";

    fn run() -> (Snapshot, Rates) {
        let now = Snapshot {
            at_s: 247.3,
            nodes: vec![lost(LONG)],
            streams: vec![
                stream("door", 1234, false),
                stream(LONG, 7, false),
                stream("clip", 472, true),
            ],
            closed: ClosedStreams {
                count: 1,
                delivered: 77,
                ..ClosedStreams::default()
            },
            ..Snapshot::default()
        };
        let mut before = now.clone();
        before.at_s -= 5.0;
        before.streams[0].delivered -= 123;
        let rates = Rates::over(&[&before, &now]);
        (now, rates)
    }

    fn lines(clock: ClockMode, width: usize) -> Vec<String> {
        let (now, rates) = run();
        let ended = ["hall".to_owned()];
        let table = StreamTable {
            now: &now,
            rates: &rates,
            ended: &ended,
            clock,
        };
        table.lines(width)
    }

    #[test]
    fn a_narrow_terminal_shortens_names_and_keeps_the_numbers() {
        assert_eq!(
            lines(ClockMode::Live, 60),
            [
                "stream                       frames   /s lost missed latency",
                "door                           1234 24.6   12      3   38 ms",
                "buildin…mera-17 reconnecting      7  0.0   12      3   38 ms",
                "clip            ended           472  0.0   12      3   38 ms",
                "hall            ended",
            ]
        );
    }

    #[test]
    fn a_wide_terminal_shows_all_and_why_a_stream_is_held_up_without_secrets() {
        assert_eq!(
            lines(ClockMode::Live, 200),
            [
                "stream                                                    frames    /s  lost  missed  latency",
                "door                                                        1234  24.6    12       3    38 ms",
                "building-a-second-floor-corridor-camera-17  reconnecting       7   0.0    12       3    38 ms  for 12 s: rtsp://***@door/1: Connection refused",
                "clip                                        ended            472   0.0    12       3    38 ms",
                "hall                                        ended",
            ]
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_however_narrow() {
        for width in 30..220 {
            for line in lines(ClockMode::Live, width) {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn latency_says_nothing_as_fast_as_possible() {
        let all = lines(ClockMode::Asap, 120).join("\n");
        assert!(!all.contains("latency") && !all.contains("ms"), "{all}");
        let (now, rates) = run();
        let clock = ClockMode::Asap;
        let table = StreamTable {
            now: &now,
            rates: &rates,
            ended: &[],
            clock,
        };
        assert_eq!(
            table.summary(70),
            "4:07  24.6 frames/s  3 streams, 1 reconnecting, 1 ended with 77 frames"
        );
        assert_eq!(
            table.summary(60),
            "4:07  24.6 frames/s  3 streams, 1 reconnecting, 1 ended"
        );
        assert_eq!(
            table.sentences()[1],
            "door: 1234 frames, 24.6/s, lost 12, missed 3"
        );
        assert!(table.sentences()[2].ends_with("missed 3, reconnecting"));
    }
}
