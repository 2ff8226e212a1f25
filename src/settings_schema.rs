//! Reads the JSON Schema of an actor's settings for display: its keys including nested ones, their types in words, and
//! the actor's ports. The layout belongs to `fermata actors` and `fermata reference`.

use fermata_engine::graph::Settings;
use fermata_engine::{ActorType, PortType, Ports};
use serde_json::{Value, json};

/// A setting.
pub(crate) struct Setting<'a> {
    /// Its name, prefixed with those of the enclosing blocks: `reconnect.first`.
    pub(crate) key: String,
    /// Whether a graph must set it.
    pub(crate) is_required: bool,
    /// Its own schema.
    pub(crate) schema: &'a Value,
}

impl Setting<'_> {
    /// Returns its doc comment.
    pub(crate) fn description(&self) -> &str {
        self.schema["description"].as_str().unwrap_or_default()
    }
}

/// Returns the settings of an object, each followed by those nested in it.
pub(crate) fn settings(schema: &Value) -> Vec<Setting<'_>> {
    let mut found = Vec::new();
    gather(schema, "", &mut found);
    found
}

/// Returns one setting and those nested in it, as [`settings`] does.
pub(crate) fn setting<'a>(key: &str, schema: &'a Value, is_required: bool) -> Vec<Setting<'a>> {
    let mut found = Vec::new();
    gather_one(key.to_owned(), schema, is_required, &mut found);
    found
}

/// Returns whether an object must have a key.
pub(crate) fn is_required(schema: &Value, key: &str) -> bool {
    let required = schema["required"].as_array().into_iter().flatten();
    required.into_iter().any(|name| name == key)
}

fn gather<'a>(schema: &'a Value, prefix: &str, found: &mut Vec<Setting<'a>>) {
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        let is_required = is_required(schema, key);
        gather_one(format!("{prefix}{key}"), value, is_required, found);
    }
}

fn gather_one<'a>(key: String, schema: &'a Value, is_required: bool, found: &mut Vec<Setting<'a>>) {
    let below = format!("{key}.");
    found.push(Setting {
        key,
        is_required,
        schema,
    });
    gather(schema, &below, found);
    for alternatives in ["anyOf", "oneOf"] {
        for one in schema[alternatives].as_array().into_iter().flatten() {
            gather(one, &below, found);
        }
    }
}

/// Describes the type of a value in words; `shown` formats a permitted literal value.
pub(crate) fn type_of(schema: &Value, shown: fn(&str) -> String) -> String {
    let written = |value: &Value| match value.as_str() {
        Some(text) => shown(text),
        None => value.to_string(),
    };
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(written).collect::<Vec<_>>().join(" | ");
    }
    if let Some(value) = schema.get("const") {
        return written(value);
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(several) = schema[key].as_array() {
            // A reference may stand wherever a number is expected; the page says so once, not at every key.
            let several = several.iter().filter(|one| !is_reference(one));
            let several = several.map(|one| type_of(one, shown));
            let mut several: Vec<String> = several.filter(|one| one != "null").collect();
            several.dedup();
            return several.join(" | ");
        }
    }
    match &schema["type"] {
        Value::String(one) if one == "array" => {
            format!("list of {}", type_of(&schema["items"], shown))
        }
        Value::String(one) => named(one),
        Value::Array(several) => {
            let several = several.iter().filter_map(Value::as_str);
            let several = several.filter(|one| *one != "null").map(named);
            several.collect::<Vec<_>>().join(" | ")
        }
        _ => "any".to_owned(),
    }
}

/// Returns the name that graph files use for a JSON type.
fn named(json_type: &str) -> String {
    match json_type {
        "object" => "block".to_owned(),
        "array" => "list".to_owned(),
        other => other.to_owned(),
    }
}

fn is_reference(schema: &Value) -> bool {
    let pattern = schema["pattern"].as_str();
    pattern.is_some_and(|pattern| pattern.starts_with(r"^\$\{"))
}

/// Returns the ports for the minimal settings, since ports depend on settings. None if the actor needs more.
pub(crate) fn least_ports(actor: &ActorType, schema: &Value) -> Option<Ports> {
    let settings = Settings::from_json(&least(schema)).ok()?;
    actor.ports(&settings).ok()
}

/// Describes in words what passes through a port.
pub(crate) fn carried(carries: &PortType) -> &'static str {
    match carries {
        PortType::Of { name, .. } => name,
        PortType::Any => "anything",
    }
}

/// Returns the smallest value that a schema accepts.
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
        _ if is_duration(schema) => json!("1s"),
        _ => json!("x"),
    }
}

fn is_duration(schema: &Value) -> bool {
    let pattern = schema["pattern"].as_str();
    pattern.is_some_and(|pattern| pattern.contains("ms|s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_told_with_those_of_their_blocks_and_types_in_words() {
        let schema = json!({
            "type": "object",
            "required": ["uri"],
            "properties": {
                "uri": {"type": "string", "description": "Where."},
                "pause": {"anyOf": [
                    {"type": "object", "properties": {"first": {"type": ["integer", "null"]}}},
                    {"type": "null"},
                    {"pattern": "^\\$\\{[a-z]+\\}$"},
                ]},
                "full": {"enum": ["block", "drop_oldest"]},
                "files": {"type": "array", "items": {"type": "string"}},
            },
        });
        let found = settings(&schema);
        let told: Vec<(&str, bool, String)> = found
            .iter()
            .map(|setting| {
                let of = type_of(setting.schema, |value| format!("`{value}`"));
                (setting.key.as_str(), setting.is_required, of)
            })
            .collect();
        let expected = [
            ("uri", true, "string"),
            ("pause", false, "block"),
            ("pause.first", false, "integer"),
            ("full", false, "`block` | `drop_oldest`"),
            ("files", false, "list of string"),
        ];
        assert_eq!(
            told,
            expected.map(|(key, required, of)| (key, required, of.to_owned()))
        );
        assert_eq!(found[0].description(), "Where.");
        assert_eq!(least(&schema), json!({"uri": "x"}));
    }
}
