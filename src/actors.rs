//! `fermata actors` and `fermata schema`: what a graph file may say.

use anyhow::{Context, bail};
use fermata_engine::graph::Settings;
use fermata_engine::{ActorType, Port, PortType};
use serde_json::Value;

use crate::cli::SUCCESS;
use crate::hand_over;
use crate::print::{print, print_line};
use crate::program::Program;

/// Lists the actors, or explains one.
pub fn actors(name: Option<&str>, program: &Program) -> anyhow::Result<u8> {
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
        bail!("there is no actor `{name}`; `fermata actors` lists them");
    };
    print(&explained(actor))?;
    Ok(SUCCESS)
}

/// What an actor does, what goes in and out, and its settings with everything below them.
fn explained(actor: &ActorType) -> String {
    let schema = actor.schema().to_value();
    let mut text = schema["description"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    text.push('\n');
    if let Some(ports) = ports(actor, &schema) {
        text.push_str(&ports);
    }
    settings(&schema, "", &mut text);
    text
}

/// Ports depend on settings: those of the least that a graph must say.
fn ports(actor: &ActorType, schema: &Value) -> Option<String> {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let made_up = required.iter().filter_map(|key| {
        let key = key.as_str()?;
        Some((key.to_owned(), made_up(&schema["properties"][key])))
    });
    let least = Settings::from_json(&Value::Object(made_up.collect())).ok()?;
    let ports = actor.ports(&least).ok()?;
    let listed = |ports: &[Port]| {
        let ports = ports.iter().map(|port| {
            let carries = match port.carries {
                PortType::Of { name, .. } => name,
                PortType::Any => "anything",
            };
            format!("{} ({carries})", port.name)
        });
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
        declared.push("must stand in a node with `each: stream`");
    }
    if ports.stateless {
        declared.push("may have `replicas`");
    }
    if !declared.is_empty() {
        text.push_str(&format!("     {}\n", declared.join("; ")));
    }
    Some(text)
}

/// Any value of a type.
fn made_up(schema: &Value) -> Value {
    for key in ["anyOf", "oneOf"] {
        if let Some(first) = schema[key].get(0) {
            return made_up(first);
        }
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    let of_type = |name: &Value| match name.as_str() {
        Some("integer" | "number") => Value::from(1),
        Some("boolean") => Value::from(true),
        Some("array") => Value::Array(Vec::new()),
        Some("object") => Value::Object(serde_json::Map::new()),
        _ => Value::from("x"),
    };
    match &schema["type"] {
        Value::Array(several) => several.first().map_or(Value::Null, of_type),
        one => of_type(one),
    }
}

/// The settings of an object, one after the other; those below another one under its name.
fn settings(schema: &Value, within: &str, text: &mut String) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (key, setting) in schema["properties"].as_object().into_iter().flatten() {
        let must = match required.iter().any(|name| name == key) {
            true => ", required",
            false => "",
        };
        text.push_str(&format!("\n{within}{key} ({}{must})\n", type_of(setting)));
        let description = setting["description"].as_str().unwrap_or_default();
        for line in description.lines() {
            text.push_str(&format!("    {line}\n"));
        }
        let below = format!("{within}{key}.");
        settings(setting, &below, text);
        for key in ["anyOf", "oneOf"] {
            for one in setting[key].as_array().into_iter().flatten() {
                settings(one, &below, text);
            }
        }
    }
}

/// The type of a setting, for people.
fn type_of(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let names: Vec<String> = values.iter().map(plain).collect();
        return names.join(" | ");
    }
    if let Some(value) = schema.get("const") {
        return plain(value);
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(several) = schema[key].as_array() {
            let several = several.iter().map(type_of);
            let several: Vec<String> = several.filter(|one| one != "null").collect();
            return several.join(" | ");
        }
    }
    match &schema["type"] {
        Value::String(one) => one.clone(),
        Value::Array(several) => {
            let several: Vec<String> = several.iter().map(plain).collect();
            several
                .into_iter()
                .filter(|one| one != "null")
                .collect::<Vec<_>>()
                .join(" | ")
        }
        _ => "any".to_owned(),
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Prints the JSON Schema of graph files.
pub fn schema(program: &Program) -> anyhow::Result<u8> {
    if program.may_hand_over && hand_over::is_possible() {
        return hand_over::hand_over();
    }
    let schema = fermata_engine::graph::schema(&(program.registry)());
    let text = serde_json::to_string_pretty(&schema).context("the schema is not JSON")?;
    print_line(&text)?;
    Ok(SUCCESS)
}
