//! `fermata actors` and `fermata schema`: what a graph file may say.

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cli::SUCCESS;
use crate::hand_over;
use crate::print::print_line;
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
    let schema = actor.schema().to_value();
    print_line(schema["description"].as_str().unwrap_or_default())?;
    let settings = schema["properties"].as_object();
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (key, setting) in settings.into_iter().flatten() {
        let must = match required.iter().any(|name| name == key) {
            true => ", required",
            false => "",
        };
        print_line(&format!("\n{key} ({}{must})", type_of(setting)))?;
        let description = setting["description"].as_str().unwrap_or_default();
        for line in description.lines() {
            print_line(&format!("    {line}"))?;
        }
    }
    Ok(SUCCESS)
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
