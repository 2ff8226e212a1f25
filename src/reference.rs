//! `fermata reference`: pages of the guide that are made from the code, as Markdown.

use std::fmt::Write as _;

use fermata_engine::graph::{Settings, schema};
use fermata_engine::{ActorType, Port, PortType, Ports, Registry};
use serde_json::{Map, Value, json};

use crate::cli::SUCCESS;
use crate::hand_over;
use crate::print::print;
use crate::program::Program;
use crate::reference_page::Page;

/// Keys of a node that are the engine's, in the order in which they are explained.
const ENGINE_KEYS: [&str; 10] = [
    "use", "each", "in", "queue", "batch", "replicas", "lane", "on_error", "require", "on",
];
/// Said on each page, so that nobody changes it by hand.
const MADE: &str =
    "<!-- Made by `fermata reference`; change the code instead, then `make reference`. -->";

/// Prints a page.
pub fn reference(page: Page, program: &Program) -> anyhow::Result<u8> {
    if program.may_hand_over && hand_over::is_possible() {
        return hand_over::hand_over();
    }
    let registry = (program.registry)();
    print(&match page {
        Page::Actors => actors(&registry),
        Page::GraphFiles => graph_files(&schema(&registry)),
    })?;
    Ok(SUCCESS)
}

fn actors(registry: &Registry) -> String {
    let mut page = format!(
        "{MADE}\n\n# Actors\n\nWhat can stand after `use:`, with the ports and settings of each; the keys of every node are in [graph-files.md](graph-files.md). \
         `fermata actors NAME` prints the same.\n"
    );
    for actor in registry.iter() {
        let schema = actor.schema().to_value();
        let description = schema["description"].as_str().unwrap_or_default();
        let _ = write!(page, "\n## `{}`\n\n{description}\n\n", actor.name);
        page.push_str(&ports(actor, &schema));
        page.push_str(&table(&rows(&schema, "")));
    }
    let providers: Vec<_> = registry.providers().collect();
    if !providers.is_empty() {
        page.push_str("\n# Providers of streams\n\nWhat can stand after `use:` in `streams:`.\n");
    }
    for provider in providers {
        let schema = provider.schema().to_value();
        let description = schema["description"].as_str().unwrap_or_default();
        let _ = write!(page, "\n## `{}`\n\n{description}\n", provider.name);
        page.push_str(&table(&rows(&schema, "")));
    }
    page
}

/// What an actor takes and gives, with the least settings that it can have.
fn ports(actor: &ActorType, schema: &Value) -> String {
    let settings = Settings::from_json(&least(schema));
    let Some(Ok(ports)) = settings.ok().map(|settings| actor.ports(&settings)) else {
        return String::new();
    };
    let named = |ports: &[Port]| {
        let ports = ports.iter().map(|port| match port.carries {
            PortType::Of { name, .. } => format!("`{}` ({name})", port.name),
            PortType::Any => format!("`{}` (anything)", port.name),
        });
        ports.collect::<Vec<_>>().join(", ")
    };
    let mut parts = Vec::new();
    if !ports.inputs.is_empty() {
        parts.push(format!("Takes {}.", named(&ports.inputs)));
    }
    if !ports.outputs.is_empty() {
        parts.push(format!("Gives {}.", named(&ports.outputs)));
    }
    parts.extend(traits(&ports).into_iter().map(str::to_owned));
    format!("{}\n", parts.join(" "))
}

fn traits(ports: &Ports) -> Vec<&'static str> {
    let mut traits = Vec::new();
    if ports.stateless && !ports.inputs.is_empty() {
        traits.push("May have `replicas`.");
    }
    if ports.per_stream {
        traits.push("Needs `each: stream`.");
    }
    if ports.irreplaceable {
        traits.push("Is not restarted after a panic.");
    }
    if ports.open_calls > 0 {
        traits.push("Finishes its calls later.");
    }
    traits
}

/// The least value that a schema takes.
fn least(schema: &Value) -> Value {
    for key in ["oneOf", "anyOf"] {
        if let Some(first) = schema[key].as_array().and_then(|several| several.first()) {
            return least(first);
        }
    }
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    let of = match &schema["type"] {
        Value::Array(several) => several.first().and_then(Value::as_str),
        one => one.as_str(),
    };
    match of {
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(false),
        Some("array") => json!([]),
        Some("object") => {
            let required = schema["required"].as_array().into_iter().flatten();
            let keys = required.filter_map(Value::as_str);
            let values = keys.map(|key| (key.to_owned(), least(&schema["properties"][key])));
            Value::Object(values.collect())
        }
        _ if schema["pattern"]
            .as_str()
            .is_some_and(|pattern| pattern.contains("ms|s")) =>
        {
            json!("1s")
        }
        _ => json!("x"),
    }
}

/// A key, its type, and what is said of it.
struct Row {
    key: String,
    of: String,
    about: String,
}

/// The keys of a schema, those of blocks within it behind their own.
fn rows(schema: &Value, prefix: &str) -> Vec<Row> {
    let Some(properties) = schema["properties"].as_object() else {
        return Vec::new();
    };
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let keys = properties.iter();
    keys.flat_map(|(key, value)| {
        let is_required = required.iter().any(|name| name == key);
        key_rows(key, value, is_required, prefix)
    })
    .collect()
}

fn key_rows(key: &str, value: &Value, is_required: bool, prefix: &str) -> Vec<Row> {
    let about = value["description"].as_str().unwrap_or_default();
    let about = about.split_whitespace().collect::<Vec<_>>().join(" ");
    let key = format!("{prefix}{key}");
    let below = format!("{key}.");
    let mut nested = rows(value, &below);
    for alternative in ["anyOf", "oneOf"] {
        let several = value[alternative].as_array().into_iter().flatten();
        nested.extend(several.flat_map(|one| rows(one, &below)));
    }
    let mut all = vec![Row {
        key,
        of: type_of(value),
        about: match is_required {
            true => format!("{about} Required."),
            false => about,
        },
    }];
    all.append(&mut nested);
    all
}

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "\nNo settings.\n".to_owned();
    }
    let mut table = String::from("\n| setting | type | |\n| --- | --- | --- |\n");
    for Row { key, of, about } in rows {
        let [of, about] = [of, about].map(|text| text.replace('|', "\\|"));
        let _ = writeln!(table, "| `{key}` | {of} | {about} |");
    }
    table
}

/// The type of a value, for people.
fn type_of(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(plain).collect::<Vec<_>>().join(" | ");
    }
    if let Some(value) = schema.get("const") {
        return plain(value);
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(several) = schema[key].as_array() {
            // Where a number is wanted a reference may stand; that is said once, not at every key.
            let several = several.iter().filter(|one| !is_reference(one)).map(type_of);
            let mut several: Vec<String> = several.filter(|one| one != "null").collect();
            several.dedup();
            return several.join(" | ");
        }
    }
    match &schema["type"] {
        Value::String(one) if one == "object" => "block".to_owned(),
        Value::String(one) if one == "array" => format!("list of {}", type_of(&schema["items"])),
        Value::String(one) => one.clone(),
        Value::Array(several) => {
            let several = several.iter().map(plain).filter(|one| one != "null");
            let several = several.map(|one| match &*one {
                "object" => "block".to_owned(),
                "array" => "list".to_owned(),
                _ => one,
            });
            several.collect::<Vec<_>>().join(" | ")
        }
        _ => "any".to_owned(),
    }
}

fn is_reference(schema: &Value) -> bool {
    let pattern = schema["pattern"].as_str();
    pattern.is_some_and(|pattern| pattern.starts_with(r"^\$\{"))
}

fn plain(value: &Value) -> String {
    let text = value.as_str();
    text.map_or_else(|| value.to_string(), |text| format!("`{text}`"))
        .replace("`object`", "object")
        .replace("`array`", "array")
        .replace("`string`", "string")
        .replace("`integer`", "integer")
        .replace("`number`", "number")
        .replace("`boolean`", "boolean")
        .replace("`null`", "null")
}

fn graph_files(schema: &Value) -> String {
    let none = Map::new();
    let top = schema["properties"].as_object().unwrap_or(&none);
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut own = Vec::new();
    for (key, value) in top {
        let is_required = required.iter().any(|name| name == key);
        // What stands in it has tables of its own.
        let shown = match &**key {
            "nodes" | "streams" => json!({"type": "object", "description": value["description"]}),
            _ => value.clone(),
        };
        own.extend(key_rows(key, &shown, is_required, ""));
    }
    let nodes = schema["properties"]["nodes"]["additionalProperties"]["allOf"].as_array();
    // The keys of the engine are the same at every actor that takes packets.
    let mut nodes = nodes.into_iter().flatten();
    let node = nodes.find(|node| node["then"]["properties"].get("in").is_some());
    let properties = node.and_then(|node| node["then"]["properties"].as_object());
    let properties = properties.unwrap_or(&none);
    let keys = ENGINE_KEYS
        .into_iter()
        .filter_map(|key| Some((key, properties.get(key)?)));
    let keys: Vec<Row> = keys
        .flat_map(|(key, value)| key_rows(key, value, key == "use", ""))
        .collect();
    format!(
        "{MADE}\n\n# Keys of a graph file\n\n[graph-files.md](../graph-files.md) explains what they mean together. Wherever a number or a truth value is wanted, a reference \
         such as `${{every}}` may stand.\n\n## The file\n{}\n## A node\n\nAll other keys of a node are settings of its actor: [actors.md](actors.md). A source has \
         `use`, `each`, `lane`, `on_error` and `on` alone.\n{}",
        table(&own),
        table(&keys)
    )
}
