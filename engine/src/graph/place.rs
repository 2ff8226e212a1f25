//! Places in source texts, which problems refer to.

use std::fmt;
use std::sync::{Arc, OnceLock};

use miette::{MietteError, SourceCode, SourceSpan, SpanContents};

use super::redact::parts_of_argument;
use super::secrets::Secrets;
use super::shown::{Shown, hidden_in_source, printable};

/// Source name of command-line arguments in messages.
const COMMAND_LINE: &str = "command line";

/// A text that problems point into: a graph file, or an argument of the command line.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
    /// Values that must not be shown, besides those recognised by their form.
    secrets: OnceLock<Secrets>,
    shown: OnceLock<Shown>,
}

impl Source {
    pub(crate) fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            text: text.into(),
            secrets: OnceLock::new(),
            shown: OnceLock::new(),
        })
    }

    /// Creates a source from an argument of the command line.
    pub(crate) fn argument(text: impl Into<String>) -> Arc<Self> {
        Self::new(COMMAND_LINE, text)
    }

    /// Sets the values to hide from now on; an excerpt that has already been rendered keeps its form.
    pub(crate) fn keep_secret(&self, secrets: &Secrets) {
        let _ = self.secrets.set(secrets.clone());
    }

    /// Returns the text as excerpts show it.
    pub(crate) fn shown(&self) -> &Shown {
        self.shown.get_or_init(|| {
            let mut hidden = hidden_in_source(&self.text);
            if self.name == COMMAND_LINE {
                hidden.extend(parts_of_argument(&self.text));
            }
            if let Some(secrets) = self.secrets.get() {
                hidden.extend(secrets.parts_in(&self.text));
            }
            Shown::new(&self.text, hidden)
        })
    }

    /// Returns the line and column of a byte offset, both from 1.
    pub(crate) fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }
}

impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        context_lines_before: usize,
        context_lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let inner = self
            .shown()
            .text
            .read_span(span, context_lines_before, context_lines_after)?;
        Ok(Box::new(miette::MietteSpanContents::new_named(
            printable(&self.name),
            inner.data(),
            *inner.span(),
            inner.line(),
            inner.column(),
            inner.line_count(),
        )))
    }
}

/// A place in a source text.
#[derive(Clone)]
pub(crate) struct Span {
    pub(crate) source: Arc<Source>,
    /// Byte offsets.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}..{}", self.source.name, self.start, self.end)
    }
}

impl Span {
    /// Returns the span of a whole source.
    pub(crate) fn whole(source: &Arc<Source>) -> Self {
        Self {
            source: Arc::clone(source),
            start: 0,
            end: source.text.trim_end().len(),
        }
    }
}
