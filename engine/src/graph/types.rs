//! Whether every input gets what it takes: the types of ports, along every way that leads to them.

use std::any::TypeId;

use crate::ports::PortType;

use super::problem::{Problem, Problems};
use super::spec::{OutputRef, Require};
use super::wired::Wired;

/// A type that an output carries, and the node that gives packets of it.
struct Carried {
    id: TypeId,
    name: &'static str,
    from: usize,
}

/// Refuses inputs that would get what they do not take, and `require` of inputs that are not there.
pub(crate) fn types(wired: &[Wired], problems: &mut Problems) {
    for node in wired {
        for (input, span) in node.inputs.iter().zip(&node.input_spans) {
            let PortType::Of { id, name } = node.ports.inputs[input.port].carries else {
                continue;
            };
            for &from in &input.from {
                for other in carried(wired, from).iter().filter(|other| other.id != id) {
                    let by_way = match other.from == from.node {
                        true => String::new(),
                        false => format!(" through `{}`", wired[from.node].draft.name),
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

/// All types that an output may carry: what an output like the first input carries is what any way into that brings.
fn carried(wired: &[Wired], output: OutputRef) -> Vec<Carried> {
    let node = &wired[output.node];
    if let PortType::Of { id, name } = node.ports.outputs[output.output].carries {
        return vec![Carried {
            id,
            name,
            from: output.node,
        }];
    }
    let mut all: Vec<Carried> = Vec::new();
    let first = node.inputs.iter().filter(|input| input.port == 0);
    for &from in first.flat_map(|input| &input.from) {
        for carried in carried(wired, from) {
            if !all.iter().any(|known| known.id == carried.id) {
                all.push(carried);
            }
        }
    }
    all
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
