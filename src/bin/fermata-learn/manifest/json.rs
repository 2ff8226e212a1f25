//! Reports as JSON.

use serde::Serialize;

pub(super) fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).expect("names and numbers are JSON");
    text + "\n"
}
