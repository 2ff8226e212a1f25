//! The values that a run must not show anywhere: those in the URIs, headers and secret settings of its graph, and the
//! parameters and environment values used in them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, Input, MatchKind};

use super::redact::{HIDDEN, is_of_scheme, redact, redact_path, values_of};
use super::shown::printable;

/// Length below which values are hidden only as separate words: `pw` must not be cut out of other words.
const SHORT: usize = 4;
/// Minimum length for also hiding a query value whose name does not mark it as secret: `channel=1` must not hide every
/// `1` in a log.
const LONG: usize = 6;

/// The values that a run must not show. Shared by everything that displays data of the run, and extended with its
/// streams.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Whole URIs, and their redacted forms.
    uris: BTreeMap<String, String>,
    values: BTreeSet<String>,
    /// Search automaton; none if values have been added since it was built.
    search: Option<Arc<Search>>,
}

#[derive(Debug)]
struct Search(Option<Patterns>);

#[derive(Debug)]
struct Patterns {
    automaton: AhoCorasick,
    /// Patterns, each with its replacement if it is a whole URI.
    patterns: Vec<(String, Option<String>)>,
}

/// An occurrence of a known value in a text.
struct Found {
    part: Range<usize>,
    by: String,
}

impl Secrets {
    /// Returns a text without known secret values and without the secret parts of any other URI in it.
    pub fn hide(&self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        let mut from = 0;
        for Found { part, by } in self.found_in(text, true) {
            shown.push_str(&text[from..part.start]);
            shown.push_str(&by);
            from = part.end;
        }
        shown.push_str(&text[from..]);
        redact(&shown)
    }

    /// Returns where known values occur in a text, in order.
    pub(crate) fn parts_in(&self, text: &str) -> Vec<Range<usize>> {
        let found = self.found_in(text, false).into_iter();
        found.map(|found| found.part).collect()
    }

    fn found_in(&self, text: &str, uris: bool) -> Vec<Found> {
        let mut found = Vec::new();
        let search = self.search();
        let Some(search) = &search.0 else {
            return found;
        };
        let mut from = 0;
        while let Some(known) = search
            .automaton
            .find(Input::new(text).span(from..text.len()))
        {
            let part = known.start()..known.end();
            let (value, by) = &search.patterns[known.pattern().as_usize()];
            let is_meant = match by {
                Some(_) => uris,
                None => fits(text, part.start, value),
            };
            // A match that does not count may contain another one.
            from = if is_meant {
                part.end
            } else {
                part.start + text[part.start..].chars().next().map_or(1, char::len_utf8)
            };
            if is_meant {
                found.push(Found {
                    part,
                    by: by.clone().unwrap_or_else(|| HIDDEN.to_owned()),
                });
            }
        }
        found
    }

    /// Returns the search automaton for all known values, rebuilding it if values have been added.
    fn search(&self) -> Arc<Search> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(search) = &known.search {
            return Arc::clone(search);
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let uris = known.uris.iter();
        let uris = uris.map(|(uri, by)| (uri.clone(), Some(by.clone())));
        let values = known.values.iter().map(|value| (value.clone(), None));
        let patterns: Vec<(String, Option<String>)> = uris.chain(values).collect();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns.iter().map(|(text, _)| text));
        let search = match (patterns.is_empty(), automaton) {
            (false, Ok(automaton)) => Search(Some(Patterns {
                automaton,
                patterns,
            })),
            // Building fails only for gigabytes of secrets.
            _ => Search(None),
        };
        Arc::clone(known.search.insert(Arc::new(search)))
    }

    /// Registers the secret parts of a URI.
    pub fn add_uri(&self, uri: &str) {
        if !uri.contains("://") {
            return;
        }
        let redacted = redact(uri);
        if redacted == uri {
            return;
        }
        self.insert_uri(uri, &redacted);
        for value in values_of(uri) {
            if value.is_named || value.text.chars().count() >= LONG {
                self.add(&value.text);
            }
        }
    }

    /// Registers the secret parts of a command-line argument.
    pub fn add_argument(&self, argument: &str) {
        if let Some(sign) = argument.find("://") {
            let scheme = argument[..sign].trim_end_matches(is_of_scheme).len();
            self.add_uri(&argument[scheme..]);
        }
    }

    /// Registers a secret value.
    pub fn add(&self, value: &str) {
        // A value of one character is not worth hiding.
        let is_known_later = value.contains("${");
        if value.chars().nth(1).is_none() || value == HIDDEN || is_known_later {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for form in forms(value) {
            if known.values.insert(form) {
                known.search = None;
            }
        }
    }

    fn insert_uri(&self, uri: &str, shown: &str) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for form in forms(uri) {
            if known.uris.insert(form, shown.to_owned()).as_deref() != Some(shown) {
                known.search = None;
            }
        }
    }

    /// Registers an address whose path is a secret.
    pub(crate) fn add_webhook(&self, uri: &str) {
        self.add_uri(uri);
        self.insert_uri(uri, &redact_path(uri));
        let path = uri.split_once("://").map_or(uri, |(_, rest)| rest);
        if let Some((_, path)) = path.split_once('/') {
            self.add(path);
        }
    }
}

/// Returns a text and its escaped forms, as messages and JSON write it.
fn forms(text: &str) -> BTreeSet<String> {
    let json = serde_json::Value::from(text).to_string();
    BTreeSet::from([
        text.to_owned(),
        text.escape_debug().to_string(),
        json[1..json.len() - 1].to_owned(),
        printable(text),
    ])
}

/// Returns whether a value at this position counts, rather than being part of another word.
fn fits(text: &str, at: usize, value: &str) -> bool {
    if value.len() >= SHORT {
        return true;
    }
    let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    !is_part(text[..at].chars().next_back()) && !is_part(text[at + value.len()..].chars().next())
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
