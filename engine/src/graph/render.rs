//! A graph in readable forms: the resolved file, and drawings.

use std::fmt::Write as _;

use super::spec::{Graph, NodeSpec, Placement, WhenFull};
use super::tree::{Quoting, Scalar, Tree, Value, resolve};

/// Label of the box around nodes whose machine depends on the stream.
const OF_STREAMS: &str = "the stream's machine";

impl Graph {
    /// Returns the graph file with includes, overrides and `${…}` resolved, except for `${stream.…}` and `${env.…}`;
    /// secrets are hidden. The result is a graph file itself.
    pub fn resolved_yaml(&self) -> String {
        let mut out = String::new();
        block(&self.resolved, 0, &mut out);
        out
    }

    /// Returns what all parts of a site must have in common: the graph file with its includes and the command line's
    /// overrides, before any reference is replaced, and without the addresses of streams, which may differ between
    /// machines. It may hold secrets, so only a hash of it may be shown.
    pub fn common_yaml(&self) -> String {
        let mut common = self.given.clone();
        if let Value::Map(entries) = &mut common.value {
            let streams = entries.iter_mut().find(|entry| entry.key == "streams");
            if let Some(Value::Map(streams)) = streams.map(|streams| &mut streams.value.value) {
                for stream in streams {
                    match &mut stream.value.value {
                        Value::Map(own) => own.retain(|entry| entry.key != "uri"),
                        _ => stream.value = Tree::empty_map(stream.key_span.clone()),
                    }
                }
            }
        }
        let mut out = String::new();
        block(&common, 0, &mut out);
        out
    }

    /// Returns the graph in Graphviz' DOT language; each machine of a site is a box.
    pub fn to_dot(&self) -> String {
        let mut out = format!("digraph \"{}\" {{\n", self.name);
        out.push_str("  rankdir=LR; node [shape=box, style=rounded, fontname=\"sans-serif\"];\n");
        out.push_str("  edge [fontname=\"sans-serif\", fontsize=10];\n");
        for (machine, nodes) in self.by_machine() {
            let indent = if machine.is_some() { "    " } else { "  " };
            if let Some(machine) = machine {
                let _ = writeln!(
                    out,
                    "  subgraph \"cluster_{machine}\" {{\n    label=\"{machine}\"; style=rounded;"
                );
            }
            for node in nodes {
                let peripheries = if node.each_stream { 2 } else { 1 };
                // Not every renderer of DOT draws clusters.
                let on = machine.map_or_else(String::new, |machine| format!("\\non {machine}"));
                let label = format!("{}\\n{}{on}", node.name, node.actor);
                let _ = writeln!(
                    out,
                    "{indent}\"{}\" [label=\"{label}\", peripheries={peripheries}];",
                    node.name
                );
            }
            if machine.is_some() {
                out.push_str("  }\n");
            }
        }
        for (from, to, label) in self.labelled_edges() {
            let _ = writeln!(out, "  \"{from}\" -> \"{to}\" [label=\"{label}\"];");
        }
        out.push_str("}\n");
        out
    }

    /// Returns the graph as a Mermaid flow chart; each machine of a site is a box.
    pub fn to_mermaid(&self) -> String {
        let mut out = String::from("flowchart LR\n");
        for (number, (machine, nodes)) in self.by_machine().into_iter().enumerate() {
            let indent = if machine.is_some() { "    " } else { "  " };
            if let Some(machine) = machine {
                let _ = writeln!(out, "  subgraph m_{number}[\"{machine}\"]");
            }
            for node in nodes {
                let label = format!("{}<br/>{}", node.name, node.actor);
                let _ = if node.each_stream {
                    writeln!(out, "{indent}n_{}[[\"{label}\"]]", node.name)
                } else {
                    writeln!(out, "{indent}n_{}[\"{label}\"]", node.name)
                };
            }
            if machine.is_some() {
                out.push_str("  end\n");
            }
        }
        for (from, to, label) in self.labelled_edges() {
            let _ = if label.is_empty() {
                writeln!(out, "  n_{from} --> n_{to}")
            } else {
                writeln!(out, "  n_{from} -->|\"{label}\"| n_{to}")
            };
        }
        out
    }

    /// Returns the nodes by machine; without machines, all of them under none.
    fn by_machine(&self) -> Vec<(Option<&str>, Vec<&NodeSpec>)> {
        if self.machines.is_empty() || self.machine().is_some() {
            return vec![(None, self.nodes.iter().collect())];
        }
        let is_on = |node: &&NodeSpec, name: &str| matches!(&node.on, Some(Placement::Machine(machine)) if machine == name);
        let named = self.machines.iter().map(|machine| {
            let nodes = self.nodes.iter().filter(|node| is_on(node, machine));
            (Some(machine.as_str()), nodes.collect())
        });
        let of_streams = self.nodes.iter();
        let of_streams = of_streams.filter(|node| !matches!(node.on, Some(Placement::Machine(_))));
        let all = named.chain([(Some(OF_STREAMS), of_streams.collect())]);
        all.filter(|(_, nodes): &(_, Vec<&NodeSpec>)| !nodes.is_empty())
            .collect()
    }

    fn labelled_edges(&self) -> Vec<(&str, &str, String)> {
        let mut edges = Vec::new();
        for node in &self.nodes {
            for from in node.inputs.iter().flat_map(|input| &input.from) {
                let producer = &self.nodes[from.node];
                edges.push((
                    producer.name.as_str(),
                    node.name.as_str(),
                    label(producer, node),
                ));
            }
        }
        edges
    }
}

/// Returns the label of an edge: its queue, and whether it stays on one thread.
fn label(producer: &NodeSpec, node: &NodeSpec) -> String {
    let capacity = node.queue.capacity;
    let queue = match node.queue.full {
        WhenFull::Block => capacity.to_string(),
        WhenFull::DropOldest => format!("{capacity}, drops oldest"),
        WhenFull::DropNewest => format!("{capacity}, drops newest"),
    };
    if node.lane.is_some() && node.lane == producer.lane {
        format!("{queue}, in lane")
    } else {
        queue
    }
}

fn block(tree: &Tree, indent: usize, out: &mut String) {
    match &tree.value {
        Value::Map(entries) if !entries.is_empty() => {
            for entry in entries {
                let _ = write!(out, "{:indent$}{}:", "", key(&entry.key));
                nested(&entry.value, indent + 2, out);
            }
        }
        Value::List(items) if !items.is_empty() => {
            for item in items {
                let _ = write!(out, "{:indent$}-", "");
                nested(item, indent + 2, out);
            }
        }
        value => {
            let _ = writeln!(out, "{}", short(value));
        }
    }
}

/// Writes the value after a key or a dash.
fn nested(tree: &Tree, indent: usize, out: &mut String) {
    match short(&tree.value) {
        empty if empty.is_empty() => {
            out.push('\n');
            block(tree, indent, out);
        }
        short => {
            let _ = writeln!(out, " {short}");
        }
    }
}

/// Returns a value that fits on its key's line; empty for a nonempty collection.
fn short(value: &Value) -> String {
    match value {
        Value::Scalar {
            text: scalar,
            quoting,
        } => text(scalar, *quoting),
        Value::Map(entries) if entries.is_empty() => "{}".to_owned(),
        Value::List(items) if items.is_empty() => "[]".to_owned(),
        _ => String::new(),
    }
}

/// Formats a key. Keys are text even if they look like another type; an empty key is quoted.
fn key(key: &str) -> String {
    match key {
        "" => text(key, Quoting::Quoted),
        key => text(key, Quoting::Plain),
    }
}

fn text(text: &str, quoting: Quoting) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./+".contains(c);
    let typed = !matches!(resolve(text), Scalar::Text(_));
    let safe = !text.is_empty() && text.chars().all(plain) && !text.starts_with('-');
    match quoting {
        Quoting::Plain if typed && !text.is_empty() => text.to_owned(),
        Quoting::Plain if text.is_empty() => "null".to_owned(),
        _ if safe && !typed => text.to_owned(),
        // A JSON string is a YAML string.
        _ => serde_json::Value::from(text).to_string(),
    }
}
