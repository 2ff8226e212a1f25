//! What a run says at its end, in a few lines.

use std::fmt::Write as _;

use fermata_engine::Report;
use fermata_engine::report::FileState;

/// Packets that have reached the sinks: those of streams that are named, and of units that have ended.
fn delivered(report: &Report) -> u64 {
    let Some(units) = &report.units else {
        return report.streams.values().map(|stream| stream.delivered).sum();
    };
    // One that failed is named and in the sum.
    let open = report.streams.values().filter(|stream| !stream.ended);
    units.delivered + open.map(|stream| stream.delivered).sum::<u64>()
}

/// The summary of a run.
pub(crate) fn summary(report: &Report) -> String {
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
        streams(report, &mut out);
    }
    nodes(report, &mut out);
    for fault in &report.faults {
        let node = fault.node.as_ref();
        let node = node.map_or_else(String::new, |node| format!("node `{node}`: "));
        let _ = writeln!(out, "failed: {node}{}", fault.message);
    }
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

/// Files that are not what the graph says: incomplete ones, and those that are gone.
fn files(report: &Report, out: &mut String) {
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
            FileState::Removed => writeln!(out, "removed: {path}, which held {holds} {unit}"),
        };
    }
}

/// Units of work that have ended, together; those that failed are among the streams too.
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

fn streams(report: &Report, out: &mut String) {
    let width = width(report.streams.keys(), "stream");
    let _ = writeln!(
        out,
        "\n{:width$}  captured  missed  delivered  latency p50/p99 ms  lost",
        "stream"
    );
    for (name, stream) in &report.streams {
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
    let width = width(report.nodes.keys(), "node");
    let _ = writeln!(
        out,
        "\n{:width$}  processed  failed  restarts  service p50/p99 ms  busy",
        "node"
    );
    for (name, node) in &report.nodes {
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
