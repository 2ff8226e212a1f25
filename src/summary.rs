//! The summary printed at the end of a run.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use fermata_engine::Report;
use fermata_engine::report::{
    FaultReport, FileReport, FileState, NodeReport, Quantiles, StreamReport,
};

use crate::columns::{Column, Columns, LEAST_NAME};

/// Maximum number of distinct faults shown.
const MOST_FAULTS: usize = 20;

/// Returns the number of packets that reached the sinks: those of named streams and of units that have ended.
fn delivered(report: &Report) -> u64 {
    let Some(units) = &report.units else {
        return report.streams.values().map(|stream| stream.delivered).sum();
    };
    // A failed unit is both among the streams and in the sum.
    let open = report.streams.values().filter(|stream| !stream.ended);
    units.delivered + open.map(|stream| stream.delivered).sum::<u64>()
}

/// Returns the summary of a run, for a terminal of this width.
pub(crate) fn summary(report: &Report, width: usize) -> String {
    let mut out = String::new();
    let delivered = delivered(report);
    let rate = match report.wall_s {
        wall if wall > 0.0 => format!(", {:.1} frames/s", delivered as f64 / wall),
        _ => String::new(),
    };
    let _ = writeln!(
        out,
        "{}: {delivered} frames in {:.2} s{rate} (clock {}, started in {:.2} s)",
        report.graph, report.wall_s, report.clock, report.startup_s
    );
    units(report, &mut out);
    if !report.streams.is_empty() {
        streams(report, width, &mut out);
        clock(report, &mut out);
    }
    nodes(report, width, &mut out);
    counted(report, &mut out);
    out.push_str(&failures(report));
    out
}

/// Returns what failed, one line each; empty if nothing did.
pub(crate) fn failures(report: &Report) -> String {
    let mut out = String::new();
    faults(report, &mut out);
    for node in &report.hung {
        let _ = writeln!(out, "failed: node `{node}` did not return from a call");
    }
    files(report, &mut out);
    if !report.balanced {
        let _ = writeln!(out, "the books do not balance:");
        for imbalance in &report.imbalances {
            let _ = writeln!(out, "  {imbalance}");
        }
    }
    out
}

/// Writes the faults in order of occurrence; equal faults of a node are written once, with their count.
fn faults(report: &Report, out: &mut String) {
    let mut told: Vec<(&FaultReport, usize)> = Vec::new();
    let mut place_of: HashMap<(Option<&str>, &str), usize> = HashMap::new();
    for fault in &report.faults {
        let key = (fault.node.as_deref(), fault.message.as_str());
        match place_of.entry(key) {
            Entry::Occupied(place) => told[*place.get()].1 += 1,
            Entry::Vacant(place) => {
                place.insert(told.len());
                told.push((fault, 1));
            }
        }
    }
    for (fault, times) in told.iter().take(MOST_FAULTS) {
        let node = fault.node.as_ref();
        let node = node.map_or_else(String::new, |node| format!("node `{node}`: "));
        let times = match times {
            1 => String::new(),
            times => format!(" ({times} times)"),
        };
        let _ = writeln!(out, "failed: {node}{}{times}", fault.message);
    }
    if told.len() > MOST_FAULTS {
        let _ = writeln!(
            out,
            "failed: {} times for other reasons, listed in report.json",
            told[MOST_FAULTS..]
                .iter()
                .map(|(_, times)| times)
                .sum::<usize>()
        );
    }
}
/// Above this many removed files per node, only their count is printed: a `keep` setting removes as many as the run is
/// long.
const MOST_REMOVED: usize = 3;

/// Writes the files that are not as the graph says: incomplete ones, and removed ones.
fn files(report: &Report, out: &mut String) {
    let mut removed: BTreeMap<&str, Vec<&FileReport>> = BTreeMap::new();
    for file in &report.files {
        let (path, unit, holds) = (&file.path, &file.unit, file.holds);
        let _ = match file.state {
            FileState::Complete => Ok(()),
            FileState::Part if file.discarded > 0 => writeln!(
                out,
                "incomplete: {path} holds {holds} {unit}; {} are not in it",
                file.discarded
            ),
            FileState::Part => writeln!(out, "incomplete: {path} holds {holds} {unit}"),
            FileState::Removed => {
                removed.entry(&file.node).or_default().push(file);
                Ok(())
            }
        };
    }
    for (node, files) in removed {
        if files.len() > MOST_REMOVED {
            let count = files.len();
            let holds: u64 = files.iter().map(|file| file.holds).sum();
            let unit = files.first().map_or("", |file| &file.unit);
            let _ = writeln!(
                out,
                "removed: {count} files of node `{node}`, which held {holds} {unit}; the report names them"
            );
            continue;
        }
        for FileReport {
            path, holds, unit, ..
        } in files
        {
            let _ = writeln!(out, "removed: {path}, which held {holds} {unit}");
        }
    }
}

/// Writes the totals of ended units of work; failed units are also among the streams.
fn units(report: &Report, out: &mut String) {
    let Some(units) = &report.units else {
        return;
    };
    let mut line = format!("{} units complete", units.complete);
    if units.unfinished > 0 {
        let _ = write!(line, ", {} ended early", units.unfinished);
    }
    if !units.failed.is_empty() {
        let _ = write!(
            line,
            ", {} lost: {}",
            units.failed.len(),
            units.failed.join(", ")
        );
    }
    let _ = writeln!(out, "\n{line}");
}

/// Writes how accurate the latencies of streams from other machines are.
fn clock(report: &Report, out: &mut String) {
    let Some(site) = &report.site else {
        return;
    };
    if !report.site_edges.iter().any(|edge| edge.receives) || report.clock == "asap" {
        return;
    }
    let _ = writeln!(out, "{}", by_two_clocks(site.latency_error_ms));
    if let Some(clock) = site.clock {
        let _ = writeln!(
            out,
            "this machine's clock was {:.1} ms ahead of the server's, give or take {:.1} ms",
            clock.ahead_ms, clock.error_ms
        );
    }
}

/// Describes how accurate the latencies of packets from other machines are, given their error in milliseconds if it is
/// known.
pub(crate) fn by_two_clocks(error_ms: Option<f64>) -> String {
    let worth = match error_ms {
        Some(error_ms) => format!("may be wrong by {error_ms:.1} ms"),
        None => "their error is unknown".to_owned(),
    };
    format!("latencies of streams from other machines are measured with two clocks, and {worth}")
}

fn streams(report: &Report, width: usize, out: &mut String) {
    let streams = || report.streams.values();
    let number = |head, cells: Vec<String>| Column {
        head,
        cells,
        is_number: true,
    };
    let count = |head, of: &dyn Fn(&StreamReport) -> u64| {
        number(
            head,
            streams().map(|stream| of(stream).to_string()).collect(),
        )
    };
    // Under `asap`, latency measures queue lengths and nothing else.
    let latency = |stream: &StreamReport| match report.clock.as_str() {
        "asap" => "-".to_owned(),
        _ => between(slowest(stream), 1),
    };
    let columns = vec![
        names("stream", report.streams.keys()),
        count("captured", &|stream| stream.captured),
        count("missed", &|stream| stream.missed),
        count("delivered", &|stream| stream.delivered),
        number("latency p50/p99 ms", streams().map(latency).collect()),
    ];
    let columns = Columns::within(width, LEAST_NAME, columns);
    let room = columns.left();
    let mut lines = columns.lines().into_iter();
    out.extend(
        lines
            .next()
            .map(|head| format!("\n{head}{}\n", beside("lost", room))),
    );
    for (line, stream) in lines.zip(streams()) {
        let lost = losses(stream);
        let lost = if lost.is_empty() { "none" } else { &lost };
        let _ = writeln!(out, "{line}{}", beside(lost, room));
    }
}

/// Places a text at the end of a line, or on a line of its own if there is no room.
fn beside(text: &str, room: usize) -> String {
    if text.chars().count() + 2 <= room {
        format!("  {text}")
    } else if matches!(text, "lost" | "none") {
        String::new()
    } else {
        format!("\n  lost: {text}")
    }
}

/// Returns what a stream has lost, by cause.
fn losses(stream: &StreamReport) -> String {
    let mut lost: Vec<String> = Vec::new();
    for sink in stream.sinks.values() {
        for (cause, count) in sink.losses.iter().filter(|(_, count)| **count > 0) {
            let line = format!("{count} {cause}");
            if !lost.contains(&line) {
                lost.push(line);
            }
        }
    }
    lost.join(", ")
}

/// Returns the latency at the slowest sink.
fn slowest(stream: &StreamReport) -> Quantiles {
    let sinks = stream.sinks.values().map(|sink| sink.latency_ms);
    let slowest = sinks.max_by(|a, b| a.p50.total_cmp(&b.p50));
    slowest.unwrap_or_default()
}

fn between(times: Quantiles, digits: usize) -> String {
    format!("{:.digits$}/{:.digits$}", times.p50, times.p99)
}

fn nodes(report: &Report, width: usize, out: &mut String) {
    let column = |head, of: &dyn Fn(&NodeReport) -> String| Column {
        head,
        cells: report.nodes.values().map(of).collect(),
        is_number: true,
    };
    let columns = vec![
        names("node", report.nodes.keys()),
        column("processed", &|node| node.processed.to_string()),
        column("failed", &|node| node.failed.to_string()),
        column("restarts", &|node| node.restarts.to_string()),
        column("service p50/p99 ms", &|node| between(node.service_ms, 2)),
        column("busy", &|node| format!("{:.0}%", node.busy * 100.0)),
    ];
    out.push('\n');
    for line in Columns::within(width, LEAST_NAME, columns).lines() {
        let _ = writeln!(out, "{line}");
    }
    out.push('\n');
}

/// Writes the actors' own counts, one line per node.
fn counted(report: &Report, out: &mut String) {
    let nodes = report.nodes.iter();
    let mut has_counted = false;
    for (name, node) in nodes.filter(|(_, node)| !node.counted.is_empty()) {
        let counts = node.counted.iter();
        let counts: Vec<String> = counts
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        let _ = writeln!(out, "{name}: {}", counts.join(", "));
        has_counted = true;
    }
    if has_counted {
        out.push('\n');
    }
}

fn names<'a>(head: &'static str, names: impl Iterator<Item = &'a String>) -> Column {
    Column {
        head,
        cells: names.cloned().collect(),
        is_number: false,
    }
}

#[cfg(test)]
mod tests {
    use fermata_engine::report::{SinkReport, SiteEdgeReport, SiteReport};

    use super::*;

    #[test]
    fn faults_that_are_alike_are_told_once_with_their_number_and_no_end_of_others_is() {
        let fault = |message: &str| FaultReport {
            node: Some("train".to_owned()),
            message: message.to_owned(),
        };
        let alike = std::iter::repeat_n(fault("not trained"), 37);
        let faults = [fault("3.png: it is gone")].into_iter().chain(alike);
        let report = Report {
            faults: faults.collect(),
            balanced: true,
            ..Report::default()
        };
        assert_eq!(
            failures(&report),
            "failed: node `train`: 3.png: it is gone\nfailed: node `train`: not trained (37 times)\n"
        );
        let many = (0..50).map(|number| fault(&format!("{number}.png")));
        let report = Report {
            faults: many.collect(),
            balanced: true,
            ..Report::default()
        };
        let told = failures(&report);
        assert_eq!(told.lines().count(), MOST_FAULTS + 1, "{told}");
        assert!(
            told.ends_with("failed: 30 times for other reasons, listed in report.json\n"),
            "{told}"
        );
    }

    #[test]
    fn the_tables_fit_the_terminal_and_nothing_of_them_is_left_out() {
        let name = "the_back_door_of_the_building_by_the_river";
        let sink = SinkReport {
            losses: [("drop_oldest at detect".to_owned(), 1234)].into(),
            ..SinkReport::default()
        };
        let stream = StreamReport {
            captured: 1_234_567,
            sinks: [("log".to_owned(), sink)].into(),
            ..StreamReport::default()
        };
        let report = Report {
            clock: "live".to_owned(),
            streams: [(name.to_owned(), stream)].into(),
            nodes: [(format!("video@{name}"), NodeReport::default())].into(),
            balanced: true,
            ..Report::default()
        };
        let wide = summary(&report, usize::MAX);
        assert!(wide.contains(name) && wide.contains("  lost\n"), "{wide}");
        let narrow = summary(&report, 60);
        for line in narrow.lines().skip(1) {
            assert!(line.chars().count() <= 60, "{line}");
        }
        for words in ["the_bac", "1234567", "latency p50/p99 ms", "busy"] {
            assert!(narrow.contains(words), "{words}:\n{narrow}");
        }
        assert!(
            narrow.contains("\n  lost: 1234 drop_oldest at detect\n"),
            "{narrow}"
        );
    }

    #[test]
    fn latencies_from_other_machines_are_told_with_the_error_of_the_clocks() {
        let edge = SiteEdgeReport {
            edge: "capture-server".to_owned(),
            node: "capture".to_owned(),
            receives: true,
            earlier: BTreeMap::new(),
            unsent: BTreeMap::new(),
            malformed: BTreeMap::new(),
        };
        let site = |latency_error_ms| SiteReport {
            site: "shop".to_owned(),
            run: "r".to_owned(),
            incarnation: 1,
            clock: None,
            latency_error_ms,
            killed: Vec::new(),
        };
        let told = |clock: &str, latency_error_ms| {
            let report = Report {
                clock: clock.to_owned(),
                streams: [("door".to_owned(), StreamReport::default())].into(),
                site: Some(site(latency_error_ms)),
                site_edges: vec![edge.clone()],
                balanced: true,
                ..Report::default()
            };
            summary(&report, usize::MAX)
        };
        let known = told("live", Some(3.52));
        assert!(
            known.contains("with two clocks, and may be wrong by 3.5 ms\n"),
            "{known}"
        );
        let unknown = told("live", None);
        assert!(
            unknown.contains("with two clocks, and their error is unknown\n"),
            "{unknown}"
        );
        let none = told("asap", Some(3.52));
        assert!(!none.contains("clocks"), "{none}");
    }

    #[test]
    fn files_that_were_removed_are_named_while_they_are_few_and_counted_when_they_are_many() {
        let removed = |node: &str, number: usize| FileReport {
            node: node.to_owned(),
            path: format!("{node}.{number:04}.csv"),
            state: FileState::Removed,
            unit: "rows".to_owned(),
            holds: 10,
            discarded: 0,
            segments: Vec::new(),
        };
        let mut files: Vec<FileReport> = (1..=1000).map(|number| removed("log", number)).collect();
        files.push(removed("few", 1));
        let report = Report {
            files,
            balanced: true,
            ..Report::default()
        };
        assert_eq!(
            failures(&report),
            "removed: few.0001.csv, which held 10 rows
removed: 1000 files of node `log`, which held 10000 rows; the report names them\n"
        );
    }
}
