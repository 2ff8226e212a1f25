//! A graph as others read it: the resolved file, and drawings.

use std::fmt::Write as _;

use super::spec::{Graph, NodeSpec, WhenFull};
use super::tree::{Quoting, Scalar, Tree, Value, resolve};

impl Graph {
    /// The graph file with includes, overrides and `${…}` resolved, except `${stream.…}` and `${env.…}` that were there; secrets
    /// are hidden. It is a graph file itself.
    pub fn resolved_yaml(&self) -> String {
        let mut out = String::new();
        block(&self.resolved, 0, &mut out);
        out
    }

    /// The graph in Graphviz' DOT language.
    pub fn to_dot(&self) -> String {
        let mut out = format!("digraph \"{}\" {{\n", self.name);
        out.push_str("  rankdir=LR; node [shape=box, style=rounded, fontname=\"sans-serif\"];\n");
        out.push_str("  edge [fontname=\"sans-serif\", fontsize=10];\n");
        for node in &self.nodes {
            let peripheries = if node.each_stream { 2 } else { 1 };
            let label = format!("{}\\n{}", node.name, node.actor);
            let _ = writeln!(
                out,
                "  \"{}\" [label=\"{label}\", peripheries={peripheries}];",
                node.name
            );
        }
        for (from, to, label) in self.labelled_edges() {
            let _ = writeln!(out, "  \"{from}\" -> \"{to}\" [label=\"{label}\"];");
        }
        out.push_str("}\n");
        out
    }

    /// The graph as a Mermaid flow chart.
    pub fn to_mermaid(&self) -> String {
        let mut out = String::from("flowchart LR\n");
        for node in &self.nodes {
            let label = format!("{}<br/>{}", node.name, node.actor);
            let _ = match node.each_stream {
                true => writeln!(out, "  n_{}[[\"{label}\"]]", node.name),
                false => writeln!(out, "  n_{}[\"{label}\"]", node.name),
            };
        }
        for (from, to, label) in self.labelled_edges() {
            let _ = match label.is_empty() {
                true => writeln!(out, "  n_{from} --> n_{to}"),
                false => writeln!(out, "  n_{from} -->|\"{label}\"| n_{to}"),
            };
        }
        out
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

/// What an edge does that is worth knowing: its queue, and whether it stays on one thread.
fn label(producer: &NodeSpec, node: &NodeSpec) -> String {
    let capacity = node.queue.capacity;
    let queue = match node.queue.full {
        WhenFull::Block => capacity.to_string(),
        WhenFull::DropOldest => format!("{capacity}, drops oldest"),
        WhenFull::DropNewest => format!("{capacity}, drops newest"),
    };
    match node.lane.is_some() && node.lane == producer.lane {
        true => format!("{queue}, in lane"),
        false => queue,
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

/// What stands behind a key or a dash.
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

/// A value that fits behind its key; nothing for a collection with contents.
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

/// Keys are text even where they look like something else; nothing at all must be quoted.
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
