//! `fermata actors` and `fermata schema`: the actors and keys that a graph file may use.

use anyhow::bail;
use fermata_engine::graph::most_alike;
use fermata_engine::{ActorType, Port, Ports};

use crate::cli::SUCCESS;
use crate::documents::json;
use crate::hand_over;
use crate::print::{print, print_line};
use crate::program::Program;
use crate::settings_schema::{carried, least_ports, settings, type_of};

/// Lists the actors, or describes one.
///
/// # Errors
/// Fails if there is no such actor or nothing can be printed.
pub(crate) fn actors(name: Option<&str>, program: &Program) -> anyhow::Result<u8> {
    if program.may_hand_over && hand_over::is_possible() {
        return hand_over::hand_over();
    }
    let registry = (program.registry)();
    let Some(name) = name else {
        let width = registry.iter().map(|actor| actor.name.len()).max();
        for actor in registry.iter() {
            let schema = actor.schema().to_value();
            let what = schema["description"].as_str().unwrap_or_default();
            let first = what.split("\n\n").next().unwrap_or_default();
            print_line(&format!(
                "{:width$}  {}",
                actor.name,
                first.replace('\n', " "),
                width = width.unwrap_or(0)
            ))?;
        }
        print_line("\n`fermata actors NAME` explains the settings of one.")?;
        return Ok(SUCCESS);
    };
    let Some(actor) = registry.get(name) else {
        let alike = most_alike(name, registry.iter().map(|known| known.name));
        let meant = alike.map_or_else(String::new, |alike| format!(" (did you mean `{alike}`?)"));
        bail!("there is no actor `{name}`{meant}; `fermata actors` lists them");
    };
    print(&explained(actor))?;
    Ok(SUCCESS)
}

/// Returns what an actor does, its inputs and outputs, and its settings including nested ones.
fn explained(actor: &ActorType) -> String {
    let schema = actor.schema().to_value();
    let description = schema["description"].as_str().unwrap_or_default();
    let mut text = format!("{description}\n");
    if let Some(ports) = least_ports(actor, &schema) {
        text.push_str(&told(&ports));
    }
    for setting in settings(&schema) {
        let must = if setting.is_required {
            ", required"
        } else {
            ""
        };
        let of = type_of(setting.schema, str::to_owned);
        text.push_str(&format!("\n{} ({of}{must})\n", setting.key));
        for line in setting.description().lines() {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text
}

fn told(ports: &Ports) -> String {
    let listed = |ports: &[Port]| {
        let ports = ports.iter();
        let ports = ports.map(|port| format!("{} ({})", port.name, carried(&port.carries)));
        ports.collect::<Vec<_>>().join(", ")
    };
    let mut text = String::from("\n");
    for (what, ports) in [("in", &ports.inputs), ("out", &ports.outputs)] {
        if !ports.is_empty() {
            text.push_str(&format!("{what:<4} {}\n", listed(ports)));
        }
    }
    let mut declared = Vec::new();
    if ports.per_stream {
        declared.push("needs a node with `each: stream`");
    }
    if ports.stateless {
        declared.push("may have `replicas`");
    }
    if !declared.is_empty() {
        text.push_str(&format!("     {}\n", declared.join("; ")));
    }
    text
}

/// Prints the JSON Schema of graph files.
///
/// # Errors
/// Fails if the schema cannot be printed.
pub(crate) fn schema(program: &Program) -> anyhow::Result<u8> {
    if program.may_hand_over && hand_over::is_possible() {
        return hand_over::hand_over();
    }
    let schema = fermata_engine::graph::schema(&(program.registry)());
    print(&json(&schema)?)?;
    Ok(SUCCESS)
}
