//! The graph file of a case.

use std::fmt::Write as _;

use super::actors::{MEET_INPUTS, SPLIT_OUTPUTS};
use super::case::{Case, ClockCase, Connected, Kind, NodeCase, Output, SourceCase};
use super::counter::COUNTER_OUTPUTS;
use super::payloads::{Of, Trouble};

impl Case {
    /// Returns the graph file.
    pub(crate) fn yaml(&self) -> String {
        let connected = self.connect();
        let mut text = String::from("fermata: 1\nparams: {run: 0}\n");
        if self.per_stream() {
            let names: Vec<String> = (0..self.streams).map(|n| format!("s{n}: x")).collect();
            let _ = writeln!(text, "streams: {{{}}}", names.join(", "));
        }
        text.push_str("nodes:\n");
        for (index, source) in self.sources.iter().enumerate() {
            let answers = self.asks() && index + 1 == self.first_node();
            write_source(
                &mut text,
                index,
                source,
                index == 0 && self.per_stream(),
                answers,
            );
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let place = self.first_node() + index;
            self.write_node(&mut text, place, node, &connected[index]);
        }
        let clock = match self.clock {
            ClockCase::Live => "live",
            ClockCase::Replay => "{replay: 3}",
            ClockCase::Asap => "asap",
        };
        // Batches that wait for seconds, one after the other, also take their time in a drain.
        let patient = self.nodes.iter().any(NodeCase::waits_long);
        let drain = if patient { "1h" } else { "10s" };
        let _ = writeln!(
            text,
            "run: {{clock: {clock}, drain: {drain}, restart: {{most: {}}}}}",
            self.restarts
        );
        text
    }

    fn write_node(&self, text: &mut String, place: usize, node: &NodeCase, connected: &Connected) {
        let feeders: Vec<String> = connected
            .inputs
            .iter()
            .map(|fed| self.references(fed))
            .collect();
        let feeders = match &node.kind {
            Kind::Meet { .. } => {
                let named = MEET_INPUTS.iter().zip(feeders);
                let named: Vec<String> = named
                    .map(|(name, feeds)| format!("{name}: {feeds}"))
                    .collect();
                format!("{{{}}}", named.join(", "))
            }
            _ => feeders.concat(),
        };
        let each = if node.each { ", each: stream" } else { "" };
        let _ = write!(
            text,
            "  n{place}: {{{}, in: {feeders}{each}, on_error: {}",
            settings(&node.kind, connected),
            node.on_error
        );
        if let Kind::Meet { inputs, required } = node.kind
            && let required = names_of(required, inputs)
            && !required.is_empty()
        {
            let _ = write!(text, ", require: [{}]", required.join(", "));
        }
        // Replicas have threads of their own.
        let lane = node.lane.filter(|_| node.replicas == 1);
        option(text, "lane", lane.map(|lane| lane_name(lane, node.each)));
        let queue = &node.queue;
        let mut settings = format!("full: {}", queue.full);
        option(&mut settings, "capacity", queue.capacity);
        option(&mut settings, "bytes", queue.bytes);
        let max_age = queue.max_age_ms.map(|ms| format!("{ms}ms"));
        option(&mut settings, "max_age", max_age);
        let _ = write!(text, ", queue: {{{settings}}}");
        if node.replicas > 1 {
            let _ = write!(text, ", replicas: {}", node.replicas);
        }
        if let Some((max, wait)) = node.batch {
            let each = if node.batch_each {
                ", each: stream"
            } else {
                ""
            };
            let _ = write!(text, ", batch: {{max: {max}, wait: {wait}ms{each}}}");
        }
        text.push_str("}\n");
    }

    /// Returns an output as a node refers to it.
    #[cfg(feature = "remote")]
    pub(crate) fn reference(&self, output: &Output) -> String {
        self.references(std::slice::from_ref(output))
    }

    fn references(&self, fed: &[Output]) -> String {
        let first = self.first_node();
        let names: Vec<String> = fed
            .iter()
            .map(|&Output { node, port }| {
                let named = match node.checked_sub(first) {
                    Some(index) if matches!(self.nodes[index].kind, Kind::Split) => {
                        Some(SPLIT_OUTPUTS[port])
                    }
                    None if self.sources[node].has_second() => Some(COUNTER_OUTPUTS[port]),
                    _ => None,
                };
                named.map_or(format!("n{node}"), |name| format!("n{node}.{name}"))
            })
            .collect();
        format!("[{}]", names.join(", "))
    }
}

fn write_source(text: &mut String, index: usize, source: &SourceCase, each: bool, answers: bool) {
    let stream = if each { "each: stream, " } else { "" };
    let _ = write!(
        text,
        "  n{index}: {{use: counter, {stream}of: {}, count: {}, rate: {}, live: {}, weights: {}, on_error: {}",
        name_of(source.of),
        source.count,
        source.rate,
        source.live,
        source.weights,
        source.on_error
    );
    option(text, "reconnect_every", source.reconnect_every);
    option(text, "fail_after", source.fail_after);
    option(text, "panic_every", source.panic_every);
    if source.pacing_panics > 0 {
        option(text, "pacing_panics", Some(source.pacing_panics));
    }
    if let Some((trouble, every)) = source.trouble {
        let place = match trouble {
            Trouble::Weight => "weight",
            Trouble::Bytes => "bytes",
            Trouble::Drop => "drop",
        };
        let _ = write!(text, ", trouble: {place}, trouble_every: {every}");
    }
    if source.has_second() {
        text.push_str(", second: true");
    }
    option(text, "gap", source.gap());
    if answers {
        text.push_str(", answers: \"${run}\"");
    }
    option(text, "lane", source.lane.map(|lane| lane_name(lane, each)));
    text.push_str("}\n");
}

/// Returns `use:` and the actor's settings.
fn settings(kind: &Kind, connected: &Connected) -> String {
    let of = connected.of.first().copied().unwrap_or(Of::Numbers);
    let of = name_of(of);
    match kind {
        Kind::Identity { work_us } => format!("use: identity, work: {work_us}us"),
        Kind::Faulty {
            panic_every,
            fail_every,
            stall_after,
        } => {
            let mut settings = "use: inject_faults".to_owned();
            option(&mut settings, "panic_every", *panic_every);
            option(&mut settings, "fail_every", *fail_every);
            option(&mut settings, "stall_after", *stall_after);
            settings
        }
        Kind::Keep(keep) => {
            let mut settings = "use: keep, run: \"${run}\"".to_owned();
            option(&mut settings, "panic_every", keep.panic_every);
            option(&mut settings, "fail_every", keep.fail_every);
            option(&mut settings, "start_panic", keep.start_panic);
            option(&mut settings, "end_panic", keep.end_panic);
            option(
                &mut settings,
                "finish_panic",
                keep.finish_panic.then_some(true),
            );
            settings
        }
        Kind::Later {
            open,
            drop_every,
            at_once_every,
            panic_every,
        } => {
            let mut settings = format!("use: later, run: \"${{run}}\", open: {open}");
            option(&mut settings, "drop_every", *drop_every);
            option(&mut settings, "at_once_every", *at_once_every);
            option(&mut settings, "panic_every", *panic_every);
            settings
        }
        Kind::Enough { from } => format!("use: enough, of: {of}, from: {from}"),
        Kind::Choose { every } => format!("use: choose, of: {of}, every: {every}"),
        Kind::Split => format!("use: split, of: {of}"),
        Kind::Meet { inputs, .. } => format!("use: meet, of: {of}, inputs: {inputs}"),
    }
}

fn name_of(of: Of) -> &'static str {
    match of {
        Of::Numbers => "numbers",
        Of::Letters => "letters",
    }
}

/// Returns a lane's name, which differs between shared and per-stream nodes.
fn lane_name(lane: u8, each: bool) -> String {
    format!("{}{lane}", if each { "each" } else { "all" })
}

/// Returns the inputs that a bit set requires.
fn names_of(required: u8, inputs: usize) -> Vec<&'static str> {
    let named = MEET_INPUTS.iter().take(inputs).enumerate();
    named
        .filter(|(port, _)| required & (1 << port) != 0)
        .map(|(_, name)| *name)
        .collect()
}

fn option<T: std::fmt::Display>(text: &mut String, key: &str, value: Option<T>) {
    if let Some(value) = value {
        let _ = write!(text, ", {key}: {value}");
    }
}
