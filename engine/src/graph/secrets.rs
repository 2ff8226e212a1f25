//! The values that a run must not show, wherever they stand: those of the URIs, headers and secret settings of its graph, and the
//! parameters and environment values that went into them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use super::redact::{HIDDEN, is_of_scheme, redact, redact_path, values_of};
use super::shown::printable;

/// Shorter values are hidden only where they stand as a word of their own: `pw` must not be cut out of other words.
const SHORT: usize = 4;
/// Values of a query whose name does not call them secrets are hidden elsewhere too if they are at least as long: `channel=1`
/// says nothing about the ones in a log.
const LONG: usize = 6;

/// The values that a run must not show. It is shared by all that show something of the run, and grows with its streams.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Whole URIs, and how they are shown; longest first.
    uris: BTreeMap<Longest, String>,
    values: BTreeSet<Longest>,
}

/// Orders texts so that one comes before its parts.
#[derive(Debug, PartialEq, Eq)]
struct Longest(String);

impl Ord for Longest {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_length = other.0.len().cmp(&self.0.len());
        by_length.then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Longest {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Secrets {
    /// A text as it may be shown: without the values that are known, and without the secret parts of any other URI in it.
    pub fn hide(&self, text: &str) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut shown = text.to_owned();
        for (Longest(uri), redacted) in &known.uris {
            if shown.contains(uri.as_str()) {
                shown = shown.replace(uri.as_str(), redacted);
            }
        }
        for Longest(value) in &known.values {
            if shown.contains(value.as_str()) {
                shown = without_value(&shown, value);
            }
        }
        redact(&shown)
    }

    /// Where the known values stand in a text; parts may overlap.
    pub(crate) fn parts_in(&self, text: &str) -> Vec<Range<usize>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = known.values.iter().flat_map(|Longest(value)| {
            let found = text.match_indices(value.as_str());
            found
                .filter(|&(at, _)| fits(text, at, value))
                .map(|(at, _)| at..at + value.len())
        });
        found.collect()
    }

    /// From now on, what is secret in this place is not shown.
    pub fn add_uri(&self, uri: &str) {
        if !uri.contains("://") {
            return;
        }
        let redacted = redact(uri);
        if redacted == uri {
            return;
        }
        for form in forms(uri) {
            let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
            known.uris.insert(Longest(form), redacted.clone());
        }
        for value in values_of(uri) {
            if value.is_named || value.text.chars().count() >= LONG {
                self.add(&value.text);
            }
        }
    }

    /// From now on, what is secret of an argument of the command line is not shown.
    pub fn add_argument(&self, argument: &str) {
        if let Some(sign) = argument.find("://") {
            let scheme = argument[..sign].trim_end_matches(is_of_scheme).len();
            self.add_uri(&argument[scheme..]);
        }
    }

    /// From now on, this value is not shown.
    pub fn add(&self, value: &str) {
        // Whoever has a secret of one character has none.
        let is_known_later = value.contains("${");
        if value.chars().nth(1).is_none() || value == HIDDEN || is_known_later {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.values.extend(forms(value).into_iter().map(Longest));
    }

    /// The same of an address whose path is a secret.
    pub(crate) fn add_webhook(&self, uri: &str) {
        self.add_uri(uri);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for form in forms(uri) {
            known.uris.insert(Longest(form), redact_path(uri));
        }
        drop(known);
        let path = uri.split_once("://").map_or(uri, |(_, rest)| rest);
        if let Some((_, path)) = path.split_once('/') {
            self.add(path);
        }
    }
}

/// A text and how others write it: with escapes, as messages and JSON do.
fn forms(text: &str) -> BTreeSet<String> {
    let json = serde_json::Value::from(text).to_string();
    BTreeSet::from([
        text.to_owned(),
        text.escape_debug().to_string(),
        json[1..json.len() - 1].to_owned(),
        printable(text),
    ])
}

/// Whether a value that stands here is meant, and not a part of another word.
fn fits(text: &str, at: usize, value: &str) -> bool {
    if value.len() >= SHORT {
        return true;
    }
    let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    !is_part(text[..at].chars().next_back()) && !is_part(text[at + value.len()..].chars().next())
}

fn without_value(text: &str, value: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut from = 0;
    for (at, _) in text.match_indices(value) {
        if fits(text, at, value) {
            shown.push_str(&text[from..at]);
            shown.push_str(HIDDEN);
            from = at + value.len();
        }
    }
    shown.push_str(&text[from..]);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_are_hidden_wherever_they_stand() {
        let secrets = Secrets::default();
        secrets.add_uri("rtsp://me:it's \"SEC RET@h:8/x?channel=1&sid=longer");
        secrets.add("pw");
        secrets.add_webhook("https://h/T0/B0xyz");
        for (text, shown) in [
            ("it's \"SEC RET was refused", "*** was refused"),
            ("it\\'s \\\"SEC RET", "***"),
            (
                "`rtsp://me:it's \"SEC RET@h:8/x?channel=1&sid=longer`",
                "`rtsp://***@h:8/x?channel=***&sid=***`",
            ),
            ("1 of them is longer", "1 of them is ***"),
            ("pw, not upward", "***, not upward"),
            (
                "POST https://h/T0/B0xyz: refused",
                "POST https://h/***: refused",
            ),
            ("T0/B0xyz", "***"),
        ] {
            assert_eq!(secrets.hide(text), shown);
        }
    }

    #[test]
    fn what_is_percent_encoded_is_known_decoded_too() {
        let secrets = Secrets::default();
        secrets.add_uri("rtsp://u:S%40CRET%20x@h/");
        assert_eq!(secrets.hide("S@CRET x"), "***");
        assert_eq!(secrets.hide("S%40CRET%20x"), "***");
    }
}
