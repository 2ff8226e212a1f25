//! Checks that every input gets the type that it takes, along every path that leads to it.

use std::any::TypeId;

use crate::ports::PortType;

use super::problem::{Problem, Problems};
use super::spec::Require;
use super::wired::Wired;

/// A type that an output carries, and the node that produces it.
#[derive(Clone, Copy)]
pub(crate) struct Carried {
    pub(crate) id: TypeId,
    pub(crate) name: &'static str,
    from: usize,
}

/// Refuses inputs that would get a type they do not take, and `require` of inputs that do not exist.
pub(crate) fn types(wired: &[Wired], problems: &mut Problems) {
    let carried = carried(wired);
    for node in wired {
        for (input, span) in node.inputs.iter().zip(&node.input_spans) {
            let PortType::Of { id, name } = node.ports.inputs[input.port].carries else {
                continue;
            };
            for &from in &input.from {
                for other in carried[from.node][from.output]
                    .iter()
                    .filter(|other| other.id != id)
                {
                    let by_way = if other.from == from.node {
                        String::new()
                    } else {
                        format!(" through `{}`", wired[from.node].draft.name)
                    };
                    problems.push(Problem::at(
                        span,
                        format!(
                            "`{}` takes {name}, but `{}` gives {}{by_way}",
                            node.draft.name, wired[other.from].draft.name, other.name
                        ),
                    ));
                }
            }
        }
        requirements(node, problems);
    }
}

/// Returns, by node and output, all types that it may carry. An output that carries what the first input carries has
/// all types that reach that input. Each node must come after the nodes that feed it.
pub(crate) fn carried(wired: &[Wired]) -> Vec<Vec<Vec<Carried>>> {
    let mut carried: Vec<Vec<Vec<Carried>>> = Vec::with_capacity(wired.len());
    for (index, node) in wired.iter().enumerate() {
        let first = node.inputs.iter().filter(|input| input.port == 0);
        let mut brought: Vec<Carried> = Vec::new();
        for from in first.flat_map(|input| &input.from) {
            for &other in &carried[from.node][from.output] {
                if !brought.iter().any(|known| known.id == other.id) {
                    brought.push(other);
                }
            }
        }
        let outputs = node
            .ports
            .outputs
            .iter()
            .map(|output| match output.carries {
                PortType::Of { id, name } => vec![Carried {
                    id,
                    name,
                    from: index,
                }],
                _ => brought.clone(),
            });
        carried.push(outputs.collect());
    }
    carried
}

fn requirements(node: &Wired, problems: &mut Problems) {
    let (Require::Ports(names), Some(span)) = (&node.draft.require, &node.draft.require_span)
    else {
        return;
    };
    let inputs = || node.ports.inputs.iter().map(|port| port.name.as_str());
    for name in names {
        if !inputs().any(|known| known == name) {
            let message = format!("`{}` has no input `{name}`", node.draft.name);
            problems.push(Problem::at(span, message).did_you_mean(name, inputs()));
        }
    }
}
