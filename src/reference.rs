//! `fermata reference`: pages of the guide that are generated from the code, as Markdown.

use std::fmt::Write as _;

use fermata_engine::graph::schema;
use fermata_engine::{ActorType, Port, Ports, Registry};
use serde_json::{Map, Value, json};

use crate::cli::SUCCESS;
use crate::hand_over;
use crate::print::print;
use crate::program::Program;
use crate::reference_page::Page;
use crate::settings_schema::{
    Setting, carried, is_required, least_ports, setting, settings, type_of,
};

/// Keys of a node that are the engine's, in the order in which they are explained.
const ENGINE_KEYS: [&str; 10] = [
    "use", "each", "in", "queue", "batch", "replicas", "lane", "on_error", "require", "on",
];
/// The notice on each page that it is generated.
const MADE: &str =
    "<!-- Made by `fermata reference`; change the code instead, then `make reference`. -->";

/// Prints a page.
///
/// # Errors
/// Fails if the page cannot be printed.
pub(crate) fn reference(page: Page, program: &Program) -> anyhow::Result<u8> {
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
        "{MADE}\n\n# Actors\n\nThe values of `use:`, with the ports and settings of each; the keys of every node are in [graph-files.md](graph-files.md). \
         `fermata actors NAME` prints the same.\n"
    );
    for actor in registry.iter() {
        let schema = actor.schema().to_value();
        let description = schema["description"].as_str().unwrap_or_default();
        let _ = write!(page, "\n## `{}`\n\n{description}\n\n", actor.name);
        page.push_str(&ports(actor, &schema));
        page.push_str(&table(&settings(&schema)));
    }
    let providers: Vec<_> = registry.providers().collect();
    if !providers.is_empty() {
        page.push_str("\n# Providers of streams\n\nThe values of `use:` in `streams:`.\n");
    }
    for provider in providers {
        let schema = provider.schema().to_value();
        let description = schema["description"].as_str().unwrap_or_default();
        let _ = write!(page, "\n## `{}`\n\n{description}\n", provider.name);
        page.push_str(&table(&settings(&schema)));
    }
    page
}

/// Describes an actor's inputs and outputs, given its minimal settings.
fn ports(actor: &ActorType, schema: &Value) -> String {
    let Some(ports) = least_ports(actor, schema) else {
        return String::new();
    };
    let named = |ports: &[Port]| {
        let ports = ports.iter();
        let ports = ports.map(|port| format!("`{}` ({})", port.name, carried(&port.carries)));
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

fn table(settings: &[Setting<'_>]) -> String {
    if settings.is_empty() {
        return "\nNo settings.\n".to_owned();
    }
    let mut table = String::from("\n| setting | type | |\n| --- | --- | --- |\n");
    for setting in settings {
        let about = setting.description().split_whitespace();
        let mut about = about.collect::<Vec<_>>().join(" ");
        if setting.is_required {
            about += " Required.";
        }
        let of = type_of(setting.schema, |value| format!("`{value}`"));
        let [of, about] = [of, about].map(|text| text.replace('|', "\\|"));
        let _ = writeln!(table, "| `{}` | {of} | {about} |", setting.key);
    }
    table
}

fn graph_files(schema: &Value) -> String {
    let none = Map::new();
    let top = schema["properties"].as_object().unwrap_or(&none);
    // These have tables of their own.
    let without_own =
        |value: &Value| json!({"type": "object", "description": value["description"]});
    let shown = top.iter().map(|(key, value)| match &**key {
        "nodes" | "streams" => (key, without_own(value)),
        _ => (key, value.clone()),
    });
    let shown: Vec<(&String, Value)> = shown.collect();
    let own = shown.iter();
    let own = own.flat_map(|(key, value)| setting(key, value, is_required(schema, key)));
    let nodes = schema["properties"]["nodes"]["additionalProperties"]["allOf"].as_array();
    // The engine's keys are the same for every actor that takes packets.
    let mut nodes = nodes.into_iter().flatten();
    let node = nodes.find(|node| node["then"]["properties"].get("in").is_some());
    let properties = node.and_then(|node| node["then"]["properties"].as_object());
    let properties = properties.unwrap_or(&none);
    let keys = ENGINE_KEYS
        .into_iter()
        .filter_map(|key| Some((key, properties.get(key)?)));
    let keys = keys.flat_map(|(key, value)| setting(key, value, key == "use"));
    format!(
        "{MADE}\n\n# Keys of a graph file\n\n[graph-files.md](../graph-files.md) explains what they mean together. Wherever a number or a boolean is expected, a reference \
         such as `${{every}}` may be given.\n\n## The file\n{}\n## A node\n\nAll other keys of a node are settings of its actor: [actors.md](actors.md). A source has \
         `use`, `each`, `lane`, `on_error` and `on` alone.\n{}",
        table(&own.collect::<Vec<_>>()),
        table(&keys.collect::<Vec<_>>())
    )
}
