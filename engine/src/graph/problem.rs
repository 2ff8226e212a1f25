//! Problems with a graph and their places: each can be shown with its file, line, column and the offending text
//! underlined.

use std::fmt;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, SourceCode};

use super::place::{Source, Span};
use super::secrets::Secrets;
use super::shown::printable;

/// Maximum number of names listed in a message.
const MOST_LISTED: usize = 20;
/// Maximum number of names compared with a wrong one.
const MOST_COMPARED: usize = 1000;
/// Length of the longest name that is compared, in bytes.
const LONGEST_COMPARED: usize = 200;

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub struct Problem {
    message: String,
    help: Option<String>,
    /// The place itself first, then other relevant places with their labels.
    labels: Vec<(Span, Option<String>)>,
    is_of_unknown_name: bool,
}

impl Problem {
    pub(crate) fn at(span: &Span, message: impl Into<String>) -> Self {
        Self {
            message: printable(&message.into()),
            help: None,
            labels: vec![(span.clone(), None)],
            is_of_unknown_name: false,
        }
    }

    pub(crate) fn nowhere(message: impl Into<String>) -> Self {
        Self {
            message: printable(&message.into()),
            help: None,
            labels: Vec::new(),
            is_of_unknown_name: false,
        }
    }

    /// Sets the place of the problem.
    pub(crate) fn placed(mut self, span: &Span) -> Self {
        self.labels = vec![(span.clone(), None)];
        self
    }

    /// Marks the problem as one of an actor or provider that is not registered.
    pub(crate) fn of_unknown_name(mut self) -> Self {
        self.is_of_unknown_name = true;
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(printable(&help.into()));
        self
    }

    /// Suggests the known name most similar to the given one, if one is similar enough.
    pub(crate) fn did_you_mean<'a>(
        self,
        given: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        match most_alike(given, known.iter().copied()) {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None if known.is_empty() => self,
            None => self.help(format!("known: {}", listed(&known))),
        }
    }

    /// Adds a second place, if it is in the same source.
    pub(crate) fn also(mut self, span: &Span, label: &str) -> Self {
        if self
            .labels
            .first()
            .is_some_and(|(first, _)| Arc::ptr_eq(&first.source, &span.source))
        {
            self.labels.push((span.clone(), Some(label.to_owned())));
        }
        self
    }

    /// Redacts secrets from the problem, including excerpts of its source.
    pub(crate) fn hiding(mut self, secrets: &Secrets) -> Self {
        self.message = secrets.hide(&self.message);
        self.help = self.help.map(|help| secrets.hide(&help));
        for (span, _) in &self.labels {
            span.source.keep_secret(secrets);
        }
        self
    }

    /// Returns whether the graph names an actor or a provider that is not registered; another program may have it.
    pub fn is_of_unknown_name(&self) -> bool {
        self.is_of_unknown_name
    }

    /// Returns the message, without its place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the advice, if there is any.
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Returns what identifies the problem: its message and place.
    pub(crate) fn identity(&self) -> (String, Option<(*const Source, usize)>) {
        let span = self.labels.first().map(|(span, _)| span);
        let place = span.map(|span| (Arc::as_ptr(&span.source), span.start));
        (self.message.clone(), place)
    }

    /// Returns the line and column in the source, both from 1.
    pub fn place(&self) -> Option<(usize, usize)> {
        let (span, _) = self.labels.first()?;
        Some(span.source.place(span.start))
    }
}

/// Lists names for a message, at most the first [`MOST_LISTED`].
pub(crate) fn listed(names: &[&str]) -> String {
    match names.get(..MOST_LISTED) {
        Some(first) if names.len() > MOST_LISTED => {
            format!(
                "{} and {} more",
                first.join(", "),
                names.len() - MOST_LISTED
            )
        }
        _ => names.join(", "),
    }
}

/// Returns the known name most similar to a given one; none if the names are so many or so long that the search would
/// be slow.
pub fn most_alike<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<&str> = known.into_iter().take(MOST_COMPARED + 1).collect();
    if known.len() > MOST_COMPARED || given.len() > LONGEST_COMPARED {
        return None;
    }
    // `detect` is short for `detect_faces`, unless several names contain that word.
    let mut longer = known.iter().filter(|name| has_word(name, given));
    if let (Some(&only), None) = (longer.next(), longer.next()) {
        return Some(only);
    }
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, name)| {
            *distance <= name.chars().count().max(given.chars().count()) / 3 + 1
        })
        .filter(|(distance, name)| *distance < name.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Returns whether a name of several words contains this one.
fn has_word(name: &str, word: &str) -> bool {
    name != word && name.split('_').any(|part| part == word)
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((span, _)) = self.labels.first() {
            let (line, column) = span.source.place(span.start);
            let name = printable(&span.source.name);
            write!(f, "{name}:{line}:{column}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.labels
            .first()
            .map(|(span, _)| &*span.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.labels.is_empty() {
            return None;
        }
        let labels = self.labels.iter().map(|(span, label)| {
            let shown = span.source.shown();
            let (start, end) = (shown.at(span.start), shown.at(span.end));
            LabeledSpan::new(label.clone(), start, end.saturating_sub(start).max(1))
        });
        Some(Box::new(labels))
    }
}

/// Everything that is wrong with a graph.
#[derive(Debug, Clone, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    pub(crate) fn extend(&mut self, found: Self) {
        self.0.extend(found.0);
    }

    /// Returns the problems, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// Returns the number of problems.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Redacts secrets from the problems.
    pub(crate) fn hiding(self, secrets: &Secrets) -> Self {
        let problems = self.0.into_iter();
        Self(problems.map(|problem| problem.hiding(secrets)).collect())
    }

    /// Returns the value if there are no problems.
    pub(crate) fn or_ok<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }

    /// Returns the value, or records the problem.
    pub(crate) fn note<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.push(problem)).ok()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
            if let Some(help) = &problem.help {
                write!(f, " ({help})")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
