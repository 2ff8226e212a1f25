//! What a run says at its end, in a few lines.

use std::fmt::Write as _;

use fermata_engine::Report;
use fermata_engine::report::{NodeReport, StreamReport};

/// Streams and nodes that are shown one by one; of more, only those of which something was lost.
const MOST_ROWS: usize = 24;

/// The summary of a run.
pub(crate) fn summary(report: &Report) -> String {
    let mut out = String::new();
    let delivered: u64 = report.streams.values().map(|stream| stream.delivered).sum();
    let rate = match report.wall_s {
        wall if wall > 0.0 => format!(", {:.1} frames/s", delivered as f64 / wall),
        _ => String::new(),
    };
    let _ = writeln!(
        out,
        "{}: {delivered} frames in {:.2} s{rate} (clock {}, started in {:.2} s)",
        report.graph, report.wall_s, report.clock, report.startup_s
    );
    streams(report, &mut out);
    nodes(report, &mut out);
    for fault in &report.faults {
        let node = fault.node.as_ref();
        let node = node.map_or_else(String::new, |node| format!("node `{node}`: "));
        let _ = writeln!(out, "failed: {node}{}", fault.message);
    }
    for node in &report.hung {
        let _ = writeln!(out, "failed: node `{node}` did not return from a call");
    }
    if !report.balanced {
        let _ = writeln!(out, "the books do not balance:");
        for imbalance in &report.imbalances {
            let _ = writeln!(out, "  {imbalance}");
        }
    }
    out
}

fn streams(report: &Report, out: &mut String) {
    let is_lossy = |stream: &StreamReport| {
        let mut losses = stream.sinks.values().flat_map(|sink| sink.losses.values());
        stream.missed > 0 || losses.any(|&lost| lost > 0)
    };
    let is_short = report.streams.len() <= MOST_ROWS;
    let shown = report.streams.iter();
    let shown: Vec<(&String, &StreamReport)> = shown
        .filter(|(_, stream)| is_short || is_lossy(stream))
        .collect();
    if !is_short {
        let whole = report.streams.len() - shown.len();
        let _ = writeln!(out, "\n{whole} streams of which nothing was lost");
        if shown.is_empty() {
            return;
        }
    }
    let width = width(shown.iter().map(|(name, _)| *name), "stream");
    let _ = writeln!(
        out,
        "\n{:width$}  captured  missed  delivered  latency p50/p99 ms  lost",
        "stream"
    );
    for (name, stream) in shown {
        let mut lost: Vec<String> = Vec::new();
        for sink in stream.sinks.values() {
            for (cause, count) in sink.losses.iter().filter(|(_, count)| **count > 0) {
                let line = format!("{count} {cause}");
                if !lost.contains(&line) {
                    lost.push(line);
                }
            }
        }
        let slowest = stream
            .sinks
            .values()
            .map(|sink| sink.latency_ms)
            .max_by(|a, b| a.p50.total_cmp(&b.p50))
            .unwrap_or_default();
        let _ = writeln!(
            out,
            "{name:width$}  {:>8}  {:>6}  {:>9}  {:>8.1} / {:<8.1} {}",
            stream.captured,
            stream.missed,
            stream.delivered,
            slowest.p50,
            slowest.p99,
            if lost.is_empty() {
                " none".to_owned()
            } else {
                format!(" {}", lost.join(", "))
            }
        );
    }
}

fn nodes(report: &Report, out: &mut String) {
    // One stream's instances are of interest where there are few streams.
    let is_short = report.streams.len() <= MOST_ROWS;
    let shown = report.nodes.iter();
    let shown: Vec<(&String, &NodeReport)> = shown
        .filter(|(name, node)| is_short || node.failed > 0 || !name.contains('@'))
        .collect();
    let width = width(shown.iter().map(|(name, _)| *name), "node");
    let _ = writeln!(
        out,
        "\n{:width$}  processed  failed  restarts  service p50/p99 ms  busy",
        "node"
    );
    for (name, node) in shown {
        let _ = writeln!(
            out,
            "{name:width$}  {:>9}  {:>6}  {:>8}  {:>8.2} / {:<8.2} {:>4.0}%",
            node.processed,
            node.failed,
            node.restarts,
            node.service_ms.p50,
            node.service_ms.p99,
            node.busy * 100.0
        );
    }
    out.push('\n');
}

fn width<'a>(names: impl Iterator<Item = &'a String>, title: &str) -> usize {
    names
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0)
        .max(title.len())
}
