//! A YAML document as a tree in which every value has its place. Interpreting the values is elsewhere.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span as ParserSpan};

use super::place::{Source, Span};
use super::problem::Problem;
pub(crate) use super::scalar::{Scalar, resolve};

/// Maximum number of values in a document, with aliases expanded, so that a small file cannot become a large one.
const MOST_VALUES: usize = 100_000;
/// Maximum nesting depth of a document.
const MOST_DEPTH: usize = 64;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) value: Value,
    pub(crate) span: Span,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar { text: String, quoting: Quoting },
    List(Vec<Tree>),
    Map(Vec<Entry>),
}

/// How a scalar was written, which decides whether `5` may be a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quoting {
    /// A number where a number is expected, text where text is expected.
    Plain,
    Quoted,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Tree,
}

impl Tree {
    /// Parses a document.
    pub(crate) fn parse(source: &Arc<Source>) -> Result<Self, Problem> {
        Reader::new(source).document()
    }

    /// Creates a scalar from the command line or an interpolation.
    pub(crate) fn scalar(text: impl Into<String>, quoting: Quoting, span: Span) -> Self {
        Self {
            value: Value::Scalar {
                text: text.into(),
                quoting,
            },
            span,
        }
    }

    pub(crate) fn empty_map(span: Span) -> Self {
        Self {
            value: Value::Map(Vec::new()),
            span,
        }
    }

    /// Returns the entries of a map, empty if it is absent.
    pub(crate) fn section(&self, key: &str) -> &[Entry] {
        let section = self.get(key).and_then(|entry| entry.value.as_map());
        section.unwrap_or_default()
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, quoting } if *quoting != Quoting::Quoted && resolve(text) == Scalar::Null)
    }

    /// Returns the text of a scalar, however it is typed.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_map(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.as_map()?.iter().find(|entry| entry.key == key)
    }

    /// Returns the kind of value, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Map(_) => "a map",
            Value::List(_) => "a list",
            Value::Scalar { text, quoting } => match resolve(text) {
                _ if *quoting == Quoting::Quoted => "text",
                Scalar::Null => "nothing",
                Scalar::Bool(_) => "true or false",
                Scalar::Int(_) | Scalar::Float(_) => "a number",
                Scalar::Text(_) => "text",
            },
        }
    }

    /// Overlays another document on this one: maps are merged key by key, everything else is replaced.
    pub(crate) fn overlay(&mut self, over: Self) {
        match (&mut self.value, over) {
            (
                Value::Map(entries),
                Self {
                    value: Value::Map(over),
                    span,
                },
            ) => {
                self.span = span;
                let keys = entries.iter().enumerate();
                let places: HashMap<String, usize> = keys
                    .map(|(place, entry)| (entry.key.clone(), place))
                    .collect();
                for entry in over {
                    match places.get(&entry.key) {
                        Some(&place) => {
                            let known = &mut entries[place];
                            known.key_span = entry.key_span;
                            known.value.overlay(entry.value);
                        }
                        None => entries.push(entry),
                    }
                }
            }
            (_, over) => *self = over,
        }
    }
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// Byte offset of each character, for texts that are not ASCII.
    offsets: Option<Vec<usize>>,
    anchors: HashMap<usize, Tree>,
    values: usize,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Arc<Source>) -> Self {
        let text = source.text.as_str();
        let offsets = (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect());
        Self {
            source,
            events: Parser::new_from_str(text),
            offsets,
            anchors: HashMap::new(),
            values: 0,
        }
    }

    fn byte(&self, index: usize) -> usize {
        let length = self.source.text.len();
        match &self.offsets {
            Some(offsets) => offsets.get(index).copied().unwrap_or(length),
            None => index.min(length),
        }
    }

    fn span(&self, span: ParserSpan) -> Span {
        let start = self.byte(span.start.index());
        let end = self.byte(span.end.index()).max(start);
        let written = self.source.text.get(start..end).unwrap_or_default();
        Span {
            source: Arc::clone(self.source),
            start,
            end: start + written.trim_end().len(),
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        match self.events.next() {
            Some(Ok((event, span))) => Ok((event, self.span(span))),
            Some(Err(error)) => {
                let at = self.byte(error.marker().index());
                let span = Span {
                    source: Arc::clone(self.source),
                    start: at,
                    end: at,
                };
                Err(Problem::at(&span, format!("not YAML: {}", error.info())))
            }
            None => Err(Problem::at(
                &Span::whole(self.source),
                "the document ends too early",
            )),
        }
    }

    fn document(mut self) -> Result<Tree, Problem> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) => {}
                Event::StreamEnd => return Ok(Tree::empty_map(Span::whole(self.source))),
                event => {
                    let tree = self.value(event, span, 0)?;
                    return self.end(tree);
                }
            }
        }
    }

    fn end(mut self, tree: Tree) -> Result<Tree, Problem> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(tree),
                (Event::DocumentEnd, _) => {}
                (_, span) => {
                    return Err(Problem::at(
                        &span,
                        "a second document begins here, but only one is read",
                    ));
                }
            }
        }
    }

    fn value(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Tree, Problem> {
        self.count(1, &span)?;
        fits(depth, &span)?;
        let (anchor, tree) = match event {
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => {
                return Err(Problem::at(&span, "tags (`!…`) are not supported"));
            }
            Event::Scalar(text, style, anchor, None) => {
                let quoting = match style {
                    ScalarStyle::Plain => Quoting::Plain,
                    _ => Quoting::Quoted,
                };
                (anchor, Tree::scalar(text, quoting, span))
            }
            Event::SequenceStart(anchor, None) => (anchor, self.list(span, depth)?),
            Event::MappingStart(anchor, None) => (anchor, self.map(span, depth)?),
            Event::Alias(anchor) => {
                let tree = self.anchors.get(&anchor).cloned().ok_or_else(|| {
                    Problem::at(&span, "an alias of something that is not complete yet")
                })?;
                let (size, height) = extent(&tree);
                self.count(size, &span)?;
                fits(depth + height, &span)?;
                (0, tree)
            }
            _ => return Err(Problem::at(&span, "a value is missing here")),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, tree.clone());
        }
        Ok(tree)
    }

    fn count(&mut self, values: usize, span: &Span) -> Result<(), Problem> {
        self.values += values;
        if self.values > MOST_VALUES {
            return Err(Problem::at(
                span,
                format!("more than {MOST_VALUES} values, aliases expanded"),
            ));
        }
        Ok(())
    }

    fn list(&mut self, span: Span, depth: usize) -> Result<Tree, Problem> {
        let mut items = Vec::new();
        loop {
            let (event, item_span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Tree {
                    value: Value::List(items),
                    span: up_to(span, &item_span),
                });
            }
            items.push(self.value(event, item_span, depth + 1)?);
        }
    }

    fn map(&mut self, span: Span, depth: usize) -> Result<Tree, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut merged = None;
        loop {
            let (event, key_span) = self.next()?;
            let key = match event {
                Event::MappingEnd => {
                    if let Some(merged) = merged {
                        merge(&mut entries, places.into_keys().collect(), merged)?;
                    }
                    return Ok(Tree {
                        value: Value::Map(entries),
                        span: up_to(span, &key_span),
                    });
                }
                Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<" => {
                    if merged.is_some() {
                        let message =
                            "`<<` is given twice; merge several maps as a list, `[*a, *b]`";
                        return Err(Problem::at(&key_span, message));
                    }
                    let (event, value_span) = self.next()?;
                    merged = Some(self.value(event, value_span, depth + 1)?);
                    continue;
                }
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(Problem::at(&key_span, "a key must be plain text")),
            };
            if let Some(known) = places.insert(key.clone(), entries.len()) {
                let problem = Problem::at(&key_span, format!("`{key}` is given twice"))
                    .also(&entries[known].key_span, "first given here");
                return Err(problem);
            }
            let (event, value_span) = self.next()?;
            let value = self.value(event, value_span, depth + 1)?;
            entries.push(Entry {
                key,
                key_span,
                value,
            });
        }
    }
}

/// Merges a merge key (`<<`, YAML 1.1), which is a map or a list of maps; earlier maps take precedence over later ones,
/// and the map's own keys over all of them.
fn merge(
    entries: &mut Vec<Entry>,
    mut known: HashSet<String>,
    merged: Tree,
) -> Result<(), Problem> {
    let maps = match merged.value {
        Value::List(maps) => maps,
        _ => vec![merged],
    };
    for map in maps {
        let Value::Map(more) = map.value else {
            let message = format!("`<<` merges maps, but this is {}", map.kind());
            return Err(Problem::at(&map.span, message));
        };
        for entry in more {
            if known.insert(entry.key.clone()) {
                entries.push(entry);
            }
        }
    }
    Ok(())
}

/// Extends a span from a collection's start to its end; the end of a block collection is where the next token begins.
fn up_to(mut span: Span, end: &Span) -> Span {
    let end = end.end.max(span.start);
    let written = span.source.text.get(span.start..end).unwrap_or_default();
    span.end = span.start + written.trim_end().len();
    span
}

/// Refuses nesting so deep that walking the tree could overflow the stack.
pub(crate) fn fits(depth: usize, span: &Span) -> Result<(), Problem> {
    if depth <= MOST_DEPTH {
        return Ok(());
    }
    let message = format!("nested deeper than {MOST_DEPTH} levels");
    Err(Problem::at(span, message))
}

/// Returns the number of values in a tree and the number of levels below its root.
pub(crate) fn extent(tree: &Tree) -> (usize, usize) {
    let parts: Vec<&Tree> = match &tree.value {
        Value::Scalar { .. } => return (1, 0),
        Value::List(items) => items.iter().collect(),
        Value::Map(entries) => entries.iter().map(|entry| &entry.value).collect(),
    };
    let (sizes, heights): (Vec<usize>, Vec<usize>) = parts.into_iter().map(extent).unzip();
    let height = heights.into_iter().max().map_or(0, |most| most + 1);
    (1 + sizes.into_iter().sum::<usize>(), height)
}

#[cfg(test)]
mod tests;
