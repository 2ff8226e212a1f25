//! The numbers of a run as plain tables. The least important columns come last, since they are dropped first.

use fermata_engine::graph::printable;
use fermata_serve::{EdgeNumbers, NodeNumbers, Numbers, StreamNumbers, WorkerNumbers};

use crate::columns::{Column, Columns, shortened};

/// The shortest lengths to which names of streams and nodes, and those of edges (two names), are cut.
const LEAST_NAME: usize = 12;
const LEAST_EDGE: usize = 20;

/// Formats all numbers of the page, in lines of at most `width` characters.
pub(super) fn table(numbers: &Numbers, width: usize) -> Vec<String> {
    let head = format!(
        "{}  {}  {:.1} delivered/s  {} faults",
        numbers.graph, numbers.run, numbers.delivered_per_s, numbers.faults
    );
    let held_up = numbers.bottleneck.as_deref();
    let mut lines = wrapped(&printable(&head), width);
    lines.extend(wrapped(
        &printable(held_up.unwrap_or("nothing is held up")),
        width,
    ));
    lines.push(String::new());
    lines.extend(streams(&numbers.streams, width));
    if let Some(clocks) = &numbers.clocks {
        lines.extend(wrapped(&printable(&clocks.told), width));
    }
    if !numbers.workers.is_empty() {
        lines.push(String::new());
        lines.extend(workers(&numbers.workers, width));
    }
    lines.push(String::new());
    lines.extend(nodes(&numbers.nodes, width));
    lines.push(String::new());
    lines.extend(edges(&numbers.edges, width));
    lines
}

/// Formats a line for each stream, followed by the reason if it does not run.
fn streams(streams: &[StreamNumbers], width: usize) -> Vec<String> {
    let ms = |ms: Option<f64>| ms.map_or("–".to_owned(), milliseconds);
    let columns = vec![
        text(streams, "STREAM", &|stream| stream.name.clone()),
        text(streams, "STATE", &|stream| stream.state.clone()),
        number(streams, "FRAMES", &|stream| stream.delivered.to_string()),
        number(streams, "/S", &|stream| {
            format!("{:.1}", stream.delivered_per_s)
        }),
        number(streams, "LATENCY", &|stream| ms(stream.latency_p50_ms)),
        number(streams, "DROPPED", &|stream| stream.dropped.to_string()),
        number(streams, "LOST", &|stream| stream.lost.to_string()),
        number(streams, "MISSED", &|stream| stream.missed.to_string()),
        number(streams, "P99", &|stream| ms(stream.latency_p99_ms)),
    ];
    let reasons = streams.iter().map(|stream| stream.reason.as_deref());
    with_reasons(columns, reasons, width)
}

/// Formats a line for each row, followed by its reason, if any.
fn with_reasons<'a>(
    columns: Vec<Column>,
    reasons: impl Iterator<Item = Option<&'a str>>,
    width: usize,
) -> Vec<String> {
    let columns = Columns::within(width, LEAST_NAME, columns).without_last();
    let mut lines = columns.lines().into_iter();
    let mut told: Vec<String> = lines.next().into_iter().collect();
    for (line, reason) in lines.zip(reasons) {
        told.push(line);
        if let Some(reason) = reason {
            let reason = printable(reason).replace('\n', " ");
            told.push(shortened(&format!("  {reason}"), width));
        }
    }
    told
}

/// Formats a line for each worker of a job, followed by the reason if it was refused or makes no progress.
fn workers(workers: &[WorkerNumbers], width: usize) -> Vec<String> {
    let in_hand = |worker: &WorkerNumbers| match &*worker.in_hand {
        [] => "–".to_owned(),
        units => {
            let units: Vec<String> = units.iter().map(u64::to_string).collect();
            units.join(",")
        }
    };
    let state = |worker: &WorkerNumbers| {
        if worker.lags {
            format!("{}, lags", worker.state)
        } else {
            worker.state.clone()
        }
    };
    let columns = vec![
        text(workers, "WORKER", &|worker| worker.name.clone()),
        text(workers, "STATE", &state),
        number(workers, "UNITS", &|worker| worker.units.to_string()),
        number(workers, "SEEN", &|worker| {
            format!("{:.0} s", worker.silent_s)
        }),
        text(workers, "IN HAND", &in_hand),
        number(workers, "FOR", &|worker| {
            format!("{:.0} s", worker.oldest_unit_s)
        }),
        number(workers, "ROWS", &|worker| worker.rows.to_string()),
        number(workers, "/S", &|worker| format!("{:.1}", worker.rows_per_s)),
        number(workers, "LATE", &|worker| worker.late.to_string()),
        text(workers, "MACHINE", &|worker| worker.host.clone()),
    ];
    let reasons = workers.iter().map(|worker| worker.reason.as_deref());
    with_reasons(columns, reasons, width)
}

fn nodes(nodes: &[NodeNumbers], width: usize) -> Vec<String> {
    let columns = vec![
        text(nodes, "NODE", &|node| node.name.clone()),
        text(nodes, "STATE", &states),
        number(nodes, "/S", &|node| format!("{:.1}", node.processed_per_s)),
        number(nodes, "CALL", &|node| milliseconds(node.service_ms)),
        number(nodes, "BUSY", &|node| percent(node.busy)),
        number(nodes, "FAILED", &|node| node.failed.to_string()),
        number(nodes, "BLOCKED", &|node| percent(node.blocked)),
        number(nodes, "BATCH", &|node| {
            let batch = node.batches.as_ref();
            batch.map_or("–".to_owned(), |batch| {
                format!("{:.1}/{}", batch.mean, batch.max)
            })
        }),
        number(nodes, "P99", &|node| milliseconds(node.service_p99_ms)),
    ];
    Columns::within(width, LEAST_NAME, columns)
        .without_last()
        .lines()
}

fn edges(edges: &[EdgeNumbers], width: usize) -> Vec<String> {
    let most = LEAST_NAME.max(width / 4);
    let fullest = |edge: &EdgeNumbers| {
        if edge.fullest.is_empty() {
            "–".to_owned()
        } else {
            let stream = shortened(&edge.fullest, most);
            format!("{} {stream}", percent(edge.fullness))
        }
    };
    let dropped = |edge: &EdgeNumbers| edge.dropped.values().sum::<u64>().to_string();
    let columns = vec![
        text(edges, "EDGE", &|edge| {
            format!("{} → {}", edge.from, edge.to)
        }),
        number(edges, "WAITING", &|edge| {
            format!("{}/{}", edge.depth, edge.capacity)
        }),
        number(edges, "/S", &|edge| format!("{:.1}", edge.sent_per_s)),
        number(edges, "DROPPED", &dropped),
        text(edges, "FULLEST", &fullest),
        number(edges, "DROPPED/S", &|edge| {
            format!("{:.1}", edge.dropped_per_s)
        }),
    ];
    Columns::within(width, LEAST_EDGE, columns)
        .without_last()
        .lines()
}

/// Makes a column whose text cannot control the terminal.
fn column<T>(
    things: &[T],
    head: &'static str,
    is_number: bool,
    cell: &dyn Fn(&T) -> String,
) -> Column {
    let cells = things.iter().map(|thing| printable(&cell(thing)));
    Column {
        head,
        cells: cells.collect(),
        is_number,
    }
}

fn text<T>(things: &[T], head: &'static str, cell: &dyn Fn(&T) -> String) -> Column {
    column(things, head, false, cell)
}

fn number<T>(things: &[T], head: &'static str, cell: &dyn Fn(&T) -> String) -> Column {
    column(things, head, true, cell)
}

fn states(node: &NodeNumbers) -> String {
    let states = node.states.iter();
    let states: Vec<String> = states
        .map(|(state, instances)| match instances {
            1 => state.clone(),
            _ => format!("{instances} {state}"),
        })
        .collect();
    states.join(", ")
}

/// Wraps a sentence into lines of at most `width` characters; a longer word is cut.
fn wrapped(sentence: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in sentence.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        let is_first = line.is_empty();
        let length = line.chars().count() + usize::from(!is_first) + word.chars().count();
        if is_first || length <= width {
            if !is_first {
                line.push(' ');
            }
            line.push_str(&shortened(word, width));
        } else {
            lines.push(shortened(word, width))
        }
    }
    lines
}

fn milliseconds(ms: f64) -> String {
    format!("{ms:.1} ms")
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fermata_serve::{BatchNumbers, ClockNumbers};

    use super::*;

    fn numbers() -> Numbers {
        let lobby = StreamNumbers {
            name: "lobby".to_owned(),
            state: "offline".to_owned(),
            reason: Some("no answer\x1b[2J".to_owned()),
            delivered: 12345,
            latency_p50_ms: Some(38.25),
            ..StreamNumbers::default()
        };
        let corridor = StreamNumbers {
            name: "building-a-second-floor-corridor".to_owned(),
            state: "running".to_owned(),
            delivered: 7,
            dropped: 123_456,
            latency_p50_ms: Some(1038.25),
            latency_p99_ms: Some(20038.25),
            ..StreamNumbers::default()
        };
        let emotion = NodeNumbers {
            name: "emotion".to_owned(),
            states: BTreeMap::from([("waiting".to_owned(), 12), ("working".to_owned(), 4)]),
            processed_per_s: 123.4,
            batches: Some(BatchNumbers::default()),
            ..NodeNumbers::default()
        };
        let edge = EdgeNumbers {
            from: "capture".to_owned(),
            to: "detect".to_owned(),
            fullness: 0.87,
            fullest: corridor.name.clone(),
            depth: 3,
            capacity: 96,
            ..EdgeNumbers::default()
        };
        Numbers {
            graph: "cameras".to_owned(),
            run: "running".to_owned(),
            bottleneck: Some(
                "detect is the bottleneck: it works 97 % of the time and its queue is 87 % full; replicas, if it is stateless, or doing less would help."
                    .to_owned(),
            ),
            streams: vec![lobby, corridor],
            nodes: vec![emotion],
            edges: vec![edge],
            ..Numbers::default()
        }
    }

    #[test]
    fn what_matters_has_room_in_a_terminal_of_sixty_characters() {
        assert_eq!(
            table(&numbers(), 60),
            [
                "cameras  running  0.0 delivered/s  0 faults",
                "detect is the bottleneck: it works 97 % of the time and its",
                "queue is 87 % full; replicas, if it is stateless, or doing",
                "less would help.",
                "",
                "STREAM       STATE   FRAMES  /S   LATENCY DROPPED LOST",
                "lobby        offline  12345 0.0   38.2 ms       0    0",
                "  no answer␛[2J",
                "buildi…ridor running      7 0.0 1038.2 ms  123456    0",
                "",
                "NODE    STATE                    /S   CALL BUSY FAILED",
                "emotion 12 waiting, 4 working 123.4 0.0 ms  0 %      0",
                "",
                "EDGE             WAITING  /S DROPPED FULLEST",
                "capture → detect    3/96 0.0       0 87 % buildin…orridor",
            ]
        );
    }

    #[test]
    fn the_workers_of_a_job_have_lines_of_their_own() {
        let working = WorkerNumbers {
            name: "lab-1-4242-0a1b2c3d".to_owned(),
            state: "working".to_owned(),
            in_hand: vec![7, 9],
            oldest_unit_s: 12.4,
            units: 31,
            rows: 248,
            rows_per_s: 4.06,
            silent_s: 0.7,
            ..WorkerNumbers::default()
        };
        let refused = WorkerNumbers {
            name: "lab-2".to_owned(),
            state: "refused".to_owned(),
            reason: Some("teacher `b3` has other weights".to_owned()),
            silent_s: 95.0,
            ..WorkerNumbers::default()
        };
        let job = Numbers {
            workers: vec![working, refused],
            ..Numbers::default()
        };
        let all = table(&job, 60);
        let begin = all.iter().position(|line| line.starts_with("WORKER"));
        assert_eq!(
            all[begin.unwrap()..][..4],
            [
                "WORKER       STATE   UNITS SEEN IN HAND  FOR ROWS  /S LATE",
                "lab-1-…b2c3d working    31  1 s 7,9     12 s  248 4.1    0",
                "lab-2        refused     0 95 s –        0 s    0 0.0    0",
                "  teacher `b3` has other weights",
            ]
        );
        let none = table(&Numbers::default(), 60).join("\n");
        assert!(!none.contains("WORKER"), "{none}");
    }

    #[test]
    fn what_latencies_from_other_machines_are_worth_is_told_below_them() {
        let clocks = ClockNumbers {
            told: "latencies of streams from other machines are measured with two clocks, and may be wrong by 3.5 ms".to_owned(),
            ..ClockNumbers::default()
        };
        let site = Numbers {
            clocks: Some(clocks),
            ..numbers()
        };
        let all = table(&site, 60);
        let streams = all.iter().position(|line| line.starts_with("STREAM"));
        let told = &all[streams.unwrap() + 4..][..2];
        assert_eq!(told.join(" "), site.clocks.unwrap().told);
    }

    #[test]
    fn where_there_is_no_terminal_everything_is_told() {
        let all = table(&numbers(), usize::MAX).join("\n");
        for told in [
            "building-a-second-floor-corridor",
            "P99",
            "MISSED",
            "BLOCKED",
            "87 % building-a-second-floor-corridor",
            "DROPPED/S",
            "doing less would help.\n",
        ] {
            assert!(all.contains(told), "{told}: {all}");
        }
        assert!(!all.contains('\x1b'), "{all}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 40..200 {
            for line in table(&numbers(), width) {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }
}
