//! A YAML document as a tree in which every value knows where it was written. What the values mean is read elsewhere.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span as ParserSpan};

use super::place::{Source, Span};
use super::problem::Problem;

/// Values a document may have, aliases expanded, so that a small file cannot become a large one.
const MOST_VALUES: usize = 100_000;
/// How deep a document may be nested.
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

/// How a scalar was written, which decides whether `5` is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quoting {
    /// A number where a number is wanted, text where text is wanted.
    Plain,
    Quoted,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Tree,
}

/// What a plain scalar is by YAML's core schema.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
}

pub(crate) fn resolve(text: &str) -> Scalar<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "true" | "True" | "TRUE" => return Scalar::Bool(true),
        "false" | "False" | "FALSE" => return Scalar::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | "+.inf" => return Scalar::Float(f64::INFINITY),
        "-.inf" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let radix = |prefix, radix| {
        let digits = text.strip_prefix(prefix)?;
        i64::from_str_radix(digits, radix).ok()
    };
    let integer = text
        .parse()
        .ok()
        .or_else(|| radix("0x", 16))
        .or_else(|| radix("0o", 8));
    if let Some(integer) = integer {
        return Scalar::Int(integer);
    }
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text.contains(|c: char| c.is_ascii_digit())
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    match text.parse() {
        Ok(float) if numeric => Scalar::Float(float),
        _ => Scalar::Text(text),
    }
}

impl Tree {
    /// Reads a document.
    pub(crate) fn parse(source: &Arc<Source>) -> Result<Self, Problem> {
        Reader::new(source).document()
    }

    /// A scalar from the command line or an interpolation.
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

    /// The entries of a map that may be absent.
    pub(crate) fn section(&self, key: &str) -> &[Entry] {
        let section = self.get(key).and_then(|entry| entry.value.as_map());
        section.unwrap_or_default()
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, quoting } if *quoting != Quoting::Quoted && resolve(text) == Scalar::Null)
    }

    /// The text of a scalar, however it is typed.
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

    /// What kind of thing it is, for messages.
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

    /// Lays another document over this one: maps are merged key by key, everything else is replaced.
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
                for entry in over {
                    match entries.iter_mut().find(|known| known.key == entry.key) {
                        Some(known) => {
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
                        "a second document begins here, but one is all that is read",
                    ));
                }
            }
        }
    }

    fn value(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Tree, Problem> {
        self.count(1, &span)?;
        fits(depth, &span)?;
        let (anchor, tree) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                if tag.is_some() {
                    return Err(Problem::at(&span, "tags (`!…`) have no meaning here"));
                }
                let quoting = match style {
                    ScalarStyle::Plain => Quoting::Plain,
                    _ => Quoting::Quoted,
                };
                (anchor, Tree::scalar(text, quoting, span))
            }
            Event::SequenceStart(anchor, _) => (anchor, self.list(span, depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.map(span, depth)?),
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
        let mut merged = None;
        loop {
            let (event, key_span) = self.next()?;
            let key = match event {
                Event::MappingEnd => {
                    if let Some(merged) = merged {
                        merge(&mut entries, merged)?;
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
            if let Some(known) = entries.iter().find(|entry| entry.key == key) {
                let problem = Problem::at(&key_span, format!("`{key}` is given twice"))
                    .also(&known.key_span, "first given here");
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

/// Adds what a merge key (`<<`, YAML 1.1) names: a map, or a list of maps of which the first one that has a key counts. What the
/// map itself says counts more.
fn merge(entries: &mut Vec<Entry>, merged: Tree) -> Result<(), Problem> {
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
            if entries.iter().all(|known| known.key != entry.key) {
                entries.push(entry);
            }
        }
    }
    Ok(())
}

/// From the start of a collection to its end; the end of a block collection is where the next token begins.
fn up_to(mut span: Span, end: &Span) -> Span {
    let end = end.end.max(span.start);
    let written = span.source.text.get(span.start..end).unwrap_or_default();
    span.end = span.start + written.trim_end().len();
    span
}

/// Refuses what is nested so deeply that walking it could take the whole stack.
pub(crate) fn fits(depth: usize, span: &Span) -> Result<(), Problem> {
    if depth <= MOST_DEPTH {
        return Ok(());
    }
    let message = format!("nested deeper than {MOST_DEPTH} levels");
    Err(Problem::at(span, message))
}

/// How many values there are in a tree, and how many levels below its own.
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
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Tree, Problem> {
        Tree::parse(&Source::new("test.yaml", text))
    }

    fn written(span: &Span) -> &str {
        &span.source.text[span.start..span.end]
    }

    #[test]
    fn every_value_knows_where_it_was_written() {
        let tree = parse("ä: {b: [1, 'two']}\nc: three # why\n").unwrap();
        let inner = tree.get("ä").unwrap().value.get("b").unwrap();
        assert_eq!(written(&inner.key_span), "b");
        let Value::List(items) = &inner.value.value else {
            panic!("a list");
        };
        assert_eq!(written(&items[1].span), "'two'");
        assert_eq!(written(&tree.get("c").unwrap().value.span), "three");
        assert_eq!(written(&inner.value.span), "[1, 'two']");
    }

    #[test]
    fn a_duplicate_key_is_refused_with_both_places() {
        let problem = parse("a: 1\nb: 2\na: 3\n").unwrap_err();
        assert_eq!(problem.to_string(), "test.yaml:3:1: `a` is given twice");
    }

    #[test]
    fn merge_keys_add_what_a_map_does_not_say_itself() {
        let text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 3}\nd:\n  <<: {x: 4}\n  z: 4\n";
        let tree = parse(text).unwrap();
        let said = |map: &str| {
            let said = |entry: &Entry| format!("{}{} ", entry.key, entry.value.as_text().unwrap());
            tree.section(map).iter().map(said).collect::<String>()
        };
        assert_eq!(said("c") + &said("d"), "x3 y1 z2 z4 x4 ");
        let refused = |text: &str| parse(text).unwrap_err().to_string();
        assert!(refused("a: {<<: 5}").contains("merges maps, but this is a number"));
        assert!(refused("a: {<<: {x: 1}, <<: {y: 1}}").contains("twice"));
        assert!(parse("a: {'<<': 5}").is_ok(), "quoted it is a key");
    }

    #[test]
    fn aliases_cannot_blow_a_document_up() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..8 {
            let before = format!("*a{}", level - 1);
            let list = vec![before; 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{list}]\n"));
        }
        assert!(parse(&text).unwrap_err().to_string().contains("more than"));
    }

    #[test]
    fn aliases_cannot_nest_a_document_deeper_than_it_is_written() {
        let nested = |inner: &str| format!("{}{inner}{}", "[".repeat(40), "]".repeat(40));
        assert!(parse(&format!("a: &a {}\nb: *a\n", nested("x"))).is_ok());
        let text = format!("a: &a {}\nb: {}\n", nested("x"), nested("*a"));
        assert!(parse(&text).unwrap_err().to_string().contains("deeper"));
    }

    #[test]
    fn scalars_are_typed_by_the_core_schema() {
        assert_eq!(resolve("12"), Scalar::Int(12));
        assert_eq!(resolve("0x1f"), Scalar::Int(31));
        assert_eq!(resolve("-1.5e3"), Scalar::Float(-1500.0));
        assert_eq!(resolve("no"), Scalar::Text("no"));
        assert_eq!(resolve("1.2.3"), Scalar::Text("1.2.3"));
        assert_eq!(resolve("inf"), Scalar::Text("inf"));
        assert_eq!(resolve("-"), Scalar::Text("-"));
        assert_eq!(resolve(""), Scalar::Null);
    }
}
