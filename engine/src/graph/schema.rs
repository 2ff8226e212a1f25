//! The JSON Schema of graph files, for editors, generated from the same types that read them.

use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::registry::{ActorType, ProviderType, Registry, inline_schema};

use super::spec::{BatchFile, OnError, QueueFile, RunFile};

/// Returns the JSON Schema (draft 2020-12) of graph files that use the actors of this registry.
pub fn schema(registry: &Registry) -> Value {
    let names: Vec<&str> = registry.iter().map(|actor| actor.name).collect();
    let nodes: Vec<Value> = registry.iter().map(node).collect();
    let scalar = json!({"type": ["string", "number", "boolean", "null"]});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Fermata graph",
        "type": "object",
        "required": ["fermata"],
        "additionalProperties": false,
        "properties": {
            "fermata": {"const": 1, "description": "Version of the file format."},
            "name": {"type": "string", "description": "Name of the graph. Default: the file's."},
            "include": {
                "description": "Graph files, relative to this one, that this one is merged over.",
                "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            },
            "params": {
                "description": "Values that `--param` can change; one without a value must be given.",
                "type": "object",
                "additionalProperties": scalar,
            },
            "machines": {
                "description": "The machines of a site, by name: each runs its part of the graph.",
                "type": "object",
                "additionalProperties": {"type": ["object", "null"], "additionalProperties": false},
            },
            "streams": streams(registry),
            "nodes": {
                "description": "Actors by name, and what feeds them.",
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "required": ["use"],
                    "properties": {"use": {"enum": names}},
                    "allOf": nodes,
                },
            },
            "run": part::<RunFile>(),
        },
    })
}

/// Returns the schema of `streams:`: a list of streams, or a provider's settings.
fn streams(registry: &Registry) -> Value {
    let listed = json!({
        "description": "Cameras, files or shard sequences by name.",
        "type": "object",
        "additionalProperties": {
            "type": ["string", "number", "object"],
            "description": "Where it comes from; or a map with its `uri` and values of its own, which nodes refer to as `${stream.KEY}`.",
            "required": ["uri"],
            "additionalProperties": {"type": ["string", "number", "boolean"]},
        },
    });
    let providers: Vec<&ProviderType> = registry.providers().collect();
    if providers.is_empty() {
        return listed;
    }
    let names: Vec<&str> = providers.iter().map(|provider| provider.name).collect();
    let used: Vec<Value> = providers.into_iter().map(provider).collect();
    json!({
        "description": "Cameras, files or shard sequences by name; or their provider, and how many are open at once.",
        "type": "object",
        "if": {"required": ["use"]},
        "then": {"properties": {"use": {"enum": names}}, "allOf": used},
        "else": listed,
    })
}

/// Returns the schema of `streams:` for this provider.
fn provider(provider: &ProviderType) -> Value {
    let mut open = part::<usize>();
    open["description"] =
        json!("Maximum number of streams open at once, at most 1000. Default: 1.");
    let own = Map::from_iter([
        ("use".to_owned(), json!({"description": "The provider."})),
        ("open".to_owned(), open),
    ]);
    chosen(provider.name, provider.schema(), own)
}

fn part<T: JsonSchema>() -> Value {
    let mut schema = inline_schema::<T>();
    AllowReferences.transform(&mut schema);
    let mut value = schema.to_value();
    if let Value::Object(object) = &mut value {
        object.remove("title");
    }
    value
}

/// Returns the schema of a node with this actor.
fn node(actor: &ActorType) -> Value {
    chosen(actor.name, actor.schema(), engine_properties(actor.source))
}

/// Returns the schema of what may appear beside `use: NAME`: the engine's keys and the settings.
fn chosen(name: &str, mut settings: Schema, mut properties: Map<String, Value>) -> Value {
    AllowReferences.transform(&mut settings);
    let settings = settings.to_value();
    if let Some(Value::Object(own)) = settings.get("properties") {
        properties.extend(own.clone());
    }
    let mut then = json!({"properties": properties, "additionalProperties": false});
    for key in ["required", "description"] {
        if let Some(value) = settings.get(key) {
            then[key] = value.clone();
        }
    }
    json!({"if": {"properties": {"use": {"const": name}}}, "then": then})
}

fn engine_properties(source: bool) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut add = |key: &str, description: &str, mut schema: Value| {
        schema["description"] = json!(description);
        properties.insert(key.to_owned(), schema);
    };
    add("use", "The actor.", json!({"type": "string"}));
    add(
        "each",
        "`stream`: every stream has its own instance.",
        json!({"const": "stream"}),
    );
    add(
        "lane",
        "Nodes of one lane share a thread.",
        json!({"type": "string"}),
    );
    add(
        "on",
        "If the graph has `machines`: the machine that the node runs on, or `${stream.KEY}` for a machine per stream.",
        json!({"type": "string"}),
    );
    add(
        "on_error",
        "Effect of an error on a packet. Default: skip.",
        part::<OnError>(),
    );
    if source {
        return properties;
    }
    let outputs =
        json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]});
    add(
        "in",
        "What feeds the input: NODE or NODE.OUTPUT, a list of them, or a map by input.",
        json!({"anyOf": [outputs, {"type": "object", "additionalProperties": outputs}]}),
    );
    add(
        "queue",
        "The queue at each input, for each stream.",
        part::<QueueFile>(),
    );
    add(
        "replicas",
        "Number of workers of a stateless actor, at most 256; order is kept. Default: 1.",
        part::<usize>(),
    );
    add(
        "batch",
        "Hands packets to the actor in batches.",
        part::<BatchFile>(),
    );
    add(
        "require",
        "Inputs that a join needs: `all` (default) or a list.",
        json!({"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "string"}}]}),
    );
    properties
}

/// Allows `${…}` wherever a number or a boolean is expected.
struct AllowReferences;

impl Transform for AllowReferences {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else {
            return;
        };
        let reads_number = match object.get("type") {
            Some(Value::String(one)) => ["integer", "number", "boolean"].contains(&one.as_str()),
            Some(Value::Array(several)) => !several.iter().any(|one| one == "string"),
            _ => false,
        };
        if reads_number && !object.contains_key("properties") {
            let description = object.remove("description");
            let default = object.remove("default");
            let plain = Value::Object(std::mem::take(object));
            object.insert(
                "anyOf".to_owned(),
                json!([plain, {"type": "string", "pattern": r"^\$\{.*\}$"}]),
            );
            for (key, value) in [("description", description), ("default", default)] {
                if let Some(value) = value {
                    object.insert(key.to_owned(), value);
                }
            }
        }
    }
}
