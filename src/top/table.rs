//! The numbers of a run as plain tables.

use std::fmt::Write;

use fermata_engine::graph::printable;
use fermata_serve::{EdgeNumbers, NodeNumbers, Numbers, StreamNumbers};

/// Everything that the page shows in numbers.
pub(super) fn table(numbers: &Numbers) -> String {
    let mut out = format!(
        "{}  {}  {:.1} delivered/s  {} faults\n{}\n",
        numbers.graph,
        numbers.run,
        numbers.delivered_per_s,
        numbers.faults,
        numbers
            .bottleneck
            .as_deref()
            .unwrap_or("nothing is held up")
    );
    let streams: Vec<_> = numbers.streams.iter().map(stream).collect();
    let heads = [
        "stream", "state", "frames", "/s", "latency", "p99", "dropped", "lost", "missed", "",
    ];
    columns(&mut out, &heads, &streams);
    let nodes: Vec<_> = numbers.nodes.iter().map(node).collect();
    let heads = [
        "node", "state", "/s", "call", "p99", "busy", "blocked", "batch", "failed",
    ];
    columns(&mut out, &heads, &nodes);
    let edges: Vec<_> = numbers.edges.iter().map(edge).collect();
    let heads = ["edge", "waiting", "fullest", "/s", "dropped", "dropped/s"];
    columns(&mut out, &heads, &edges);
    // Whatever a run says must not steer the terminal.
    printable(&out)
}

fn milliseconds(ms: f64) -> String {
    format!("{ms:.1} ms")
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn stream(stream: &StreamNumbers) -> Vec<String> {
    vec![
        stream.name.clone(),
        stream.state.clone(),
        stream.delivered.to_string(),
        format!("{:.1}", stream.delivered_per_s),
        stream.latency_p50_ms.map_or("–".to_owned(), milliseconds),
        stream.latency_p99_ms.map_or("–".to_owned(), milliseconds),
        stream.dropped.to_string(),
        stream.lost.to_string(),
        stream.missed.to_string(),
        stream.reason.clone().unwrap_or_default(),
    ]
}

fn node(node: &NodeNumbers) -> Vec<String> {
    let states = node.states.iter();
    let states: Vec<String> = states
        .map(|(state, instances)| match instances {
            1 => state.clone(),
            _ => format!("{instances} {state}"),
        })
        .collect();
    let batch = node.batches.as_ref();
    vec![
        node.name.clone(),
        states.join(", "),
        format!("{:.1}", node.processed_per_s),
        milliseconds(node.service_ms),
        milliseconds(node.service_p99_ms),
        percent(node.busy),
        percent(node.blocked),
        batch.map_or("–".to_owned(), |batch| {
            format!("{:.1}/{}", batch.mean, batch.max)
        }),
        node.failed.to_string(),
    ]
}

fn edge(edge: &EdgeNumbers) -> Vec<String> {
    let dropped: u64 = edge.dropped.values().sum();
    let fullest = match edge.fullest.is_empty() {
        true => "–".to_owned(),
        false => format!("{} {}", percent(edge.fullness), edge.fullest),
    };
    vec![
        format!("{} → {}", edge.from, edge.to),
        format!("{}/{}", edge.depth, edge.capacity),
        fullest,
        format!("{:.1}", edge.sent_per_s),
        dropped.to_string(),
        format!("{:.1}", edge.dropped_per_s),
    ]
}

/// Heads and rows, each column as wide as its widest cell.
fn columns(out: &mut String, heads: &[&str], rows: &[Vec<String>]) {
    let heads: Vec<String> = heads.iter().map(|head| head.to_uppercase()).collect();
    let lines = || [&heads].into_iter().chain(rows);
    let widths: Vec<usize> = (0..heads.len())
        .map(|column| {
            let cells = lines().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        })
        .collect();
    out.push('\n');
    for row in lines() {
        let mut line = String::new();
        for (cell, &width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let stream = StreamNumbers {
            name: "lobby".to_owned(),
            state: "offline".to_owned(),
            reason: Some("no answer\x1b[2J".to_owned()),
            delivered: 12345,
            latency_p50_ms: Some(38.25),
            ..StreamNumbers::default()
        };
        let numbers = Numbers {
            graph: "cameras".to_owned(),
            run: "running".to_owned(),
            streams: vec![stream],
            ..Numbers::default()
        };
        let text = table(&numbers);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "cameras  running  0.0 delivered/s  0 faults");
        assert_eq!(lines[1], "nothing is held up");
        assert_eq!(
            lines[3..5],
            [
                "STREAM  STATE    FRAMES  /S   LATENCY  P99  DROPPED  LOST  MISSED",
                "lobby   offline  12345   0.0  38.2 ms  –    0        0     0       no answer␛[2J",
            ]
        );
    }
}
