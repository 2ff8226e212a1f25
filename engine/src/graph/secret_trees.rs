//! Secrets in the trees of graph files: which values are secret by the keys above them, and how a tree is written out
//! without them.

use std::iter;
use std::ops::Range;

use super::redact::{HIDDEN, is_secret_name, redact_path, secret_parts};
use super::secrets::Secrets;
use super::tree::{Entry, Quoting, Tree, Value};

impl Secrets {
    /// Registers all secrets in settings or streams whose values are known.
    pub(crate) fn learn(&self, tree: &Tree) {
        self.learn_under(tree, Place::Anywhere);
    }

    fn learn_under(&self, tree: &Tree, place: Place) {
        match &tree.value {
            Value::Scalar { text, quoting } => match place {
                Place::Anywhere => self.add_uri(text),
                Place::Secret if is_word(text, *quoting) => {
                    self.add_uri(text);
                    self.add(text);
                }
                Place::Secret => {}
                Place::Webhook => {
                    self.add_webhook(text);
                }
            },
            Value::List(items) => items.iter().for_each(|item| self.learn_under(item, place)),
            Value::Map(entries) => {
                for entry in entries {
                    self.add_uri(&entry.key);
                    self.learn_under(&entry.value, place.below(&entry.key));
                }
            }
        }
    }

    /// Returns a tree as it may be written out: secrets are hidden, references are kept as written.
    pub(crate) fn hidden_tree(&self, tree: &Tree) -> Tree {
        self.hidden_under(tree, Place::Anywhere)
    }

    /// Returns a value that is entirely secret as it may be written out.
    pub(crate) fn hidden_value(&self, tree: &Tree) -> Tree {
        self.hidden_under(tree, Place::Secret)
    }

    fn hidden_under(&self, tree: &Tree, place: Place) -> Tree {
        let value = match &tree.value {
            Value::Scalar { text, quoting } => Value::Scalar {
                text: self.hidden_scalar(text, *quoting, place),
                quoting: *quoting,
            },
            Value::List(items) => {
                let items = items.iter().map(|item| self.hidden_under(item, place));
                Value::List(items.collect())
            }
            Value::Map(entries) => {
                let entries = entries.iter().map(|entry| Entry {
                    key: self.hide(&entry.key),
                    key_span: entry.key_span.clone(),
                    value: self.hidden_under(&entry.value, place.below(&entry.key)),
                });
                Value::Map(entries.collect())
            }
        };
        Tree {
            value,
            span: tree.span.clone(),
        }
    }

    fn hidden_scalar(&self, text: &str, quoting: Quoting, place: Place) -> String {
        let Template { text, references } = Template::new(text);
        let mut parts = match place {
            Place::Secret if is_word(&text, quoting) => iter::once(0..text.len()).collect(),
            Place::Secret => Vec::new(),
            Place::Webhook if text.contains("://") => {
                return references.shown(&redact_path(&text), &[]);
            }
            Place::Webhook => iter::once(0..text.len()).collect(),
            Place::Anywhere => secret_parts(&text),
        };
        let by_place = parts.clone();
        let known = self.parts_in(&text).into_iter();
        parts.extend(known.filter(|known| {
            by_place
                .iter()
                .all(|part| known.end <= part.start || part.end <= known.start)
        }));
        parts.sort_by_key(|part| (part.start, part.end));
        let mut end = 0;
        parts.retain(|part| {
            let is_first = part.start >= end;
            end = end.max(part.end);
            is_first
        });
        references.shown(&text, &parts)
    }
}

/// What the keys above a value imply for its secrecy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Only URIs in it have secret parts.
    Anywhere,
    /// The whole value is a secret.
    Secret,
    /// The value is an address whose path is a secret.
    Webhook,
}

impl Place {
    /// Returns the place of the value of a key.
    pub(crate) fn below(self, key: &str) -> Self {
        let is_webhook = key.to_ascii_lowercase().contains("webhook");
        match self {
            Self::Anywhere if is_webhook => Self::Webhook,
            Self::Anywhere if is_secret_name(key) => Self::Secret,
            place => place,
        }
    }
}

/// Returns whether a value can be a secret at all.
fn is_word(text: &str, quoting: Quoting) -> bool {
    let is_flag = matches!(text, "" | "~" | "null" | "true" | "false");
    !is_flag || (quoting == Quoting::Quoted && !text.is_empty())
}

/// A text in which each `${…}` is replaced by one placeholder character, so that its content is not taken for parts of
/// a URI.
struct Template {
    text: String,
    references: References,
}

struct References(Vec<String>);

/// First placeholder character, from a private-use area of Unicode.
const FIRST: u32 = 0xF_0000;

impl Template {
    fn new(text: &str) -> Self {
        let mut out = String::new();
        let mut references = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let end = rest[at..].find('}').map(|end| at + end + 1);
            let escaped = rest[..at].ends_with('$');
            let stands = char::from_u32(FIRST + references.len() as u32);
            match (end, stands) {
                // `${stream.uri}` is kept, since redaction recognises it as the beginning of a URI.
                (Some(end), Some(stands)) if !escaped && &rest[at..end] != "${stream.uri}" => {
                    out.push_str(&rest[..at]);
                    out.push(stands);
                    references.push(rest[at..end].to_owned());
                    rest = &rest[end..];
                }
                _ => {
                    out.push_str(&rest[..at + 2]);
                    rest = &rest[at + 2..];
                }
            }
        }
        out.push_str(rest);
        Self {
            text: out,
            references: References(references),
        }
    }
}

impl References {
    /// Returns the text with its references, with these parts hidden except for their references.
    fn shown(&self, text: &str, parts: &[Range<usize>]) -> String {
        let mut out = String::new();
        let mut at = 0;
        for part in parts {
            self.put_back(&text[at..part.start], &mut out);
            self.hide(&text[part.clone()], &mut out);
            at = part.end;
        }
        self.put_back(&text[at..], &mut out);
        out
    }

    fn of(&self, c: char) -> Option<&str> {
        let index = u32::from(c).checked_sub(FIRST)?;
        self.0.get(index as usize).map(String::as_str)
    }

    fn put_back(&self, text: &str, out: &mut String) {
        for c in text.chars() {
            match self.of(c) {
                Some(reference) => out.push_str(reference),
                None => out.push(c),
            }
        }
    }

    fn hide(&self, text: &str, out: &mut String) {
        for piece in text.split_inclusive(|c| self.of(c).is_some()) {
            let mut chars = piece.chars();
            let reference = chars.next_back().and_then(|c| self.of(c));
            let literal = match reference {
                Some(_) => chars.as_str(),
                None => piece,
            };
            match literal {
                // Between user name and password.
                "" | ":" => out.push_str(literal),
                name if name.ends_with(':') => out.extend([HIDDEN, ":"]),
                _ => out.push_str(HIDDEN),
            }
            if let Some(reference) = reference {
                // A default is written in the graph like the rest of the secret.
                let name = reference.split_once(":-").map(|(name, _)| name);
                match name {
                    Some(name) => out.extend([name, "}"]),
                    None => out.push_str(reference),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::place::Source;
    use super::*;

    fn tree(text: &str) -> Tree {
        Tree::parse(&Source::new("test.yaml", text)).unwrap()
    }

    fn hidden(text: &str) -> Vec<(String, String)> {
        let hidden = Secrets::default().hidden_tree(&tree(text));
        let entries = hidden.as_map().unwrap().iter();
        entries
            .map(|entry| {
                let text = entry.value.as_text().unwrap_or_default();
                (entry.key.clone(), text.to_owned())
            })
            .collect()
    }

    #[test]
    fn a_tree_keeps_references_and_loses_what_is_written_beside_them() {
        let shown = hidden(
            "a: 'rtsp://me:${env.PASS}@h/x?y=${env.Y:-def}'\npassword: 'x${env.P}'\npin_token: '${env.T}'\n\
             b: 'http://${env.HOST:-h@?=}/y'\nc: '${stream.uri}?t=abc'\nwebhook: 'https://h/${env.ID}/x'\nkey: 5\nauth: true\n",
        );
        let shown: Vec<&str> = shown.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(
            shown,
            [
                "rtsp://***:${env.PASS}@h/x?y=${env.Y}",
                "***${env.P}",
                "${env.T}",
                "http://${env.HOST:-h@?=}/y",
                "${stream.uri}?t=***",
                "https://h/***",
                "***",
                "true"
            ]
        );
    }
}
