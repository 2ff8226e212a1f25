//! Documents in YAML, read into values. Owns that a document which cannot be read is told in one sentence with its
//! place, as a graph file is; what the values mean is the caller's.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_saphyr::{Error, MessageFormatter, UserMessageFormatter};

/// Why a document in YAML cannot be read: `training.yaml:6:1: `seed` is given twice`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// Where the document came from.
    pub path: PathBuf,
    /// Line and column, both from 1; none where the reader knows no place.
    pub place: Option<(u64, u64)>,
    /// What is wrong there.
    pub problem: String,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.problem)
    }
}

impl std::error::Error for YamlError {}

/// Reads a document; `path` is where it came from, for messages.
///
/// # Errors
/// It is not YAML, is more than one document, or does not say what the value needs.
pub fn from_yaml<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, YamlError> {
    // The reader counts from behind the mark of the encoding.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_saphyr::from_str(text).map_err(|error| YamlError {
        path: path.to_owned(),
        place: error.location().map(|at| (at.line(), at.column())),
        problem: problem(error.without_snippet(), text),
    })
}

/// Returns what is wrong, in words of this program: the reader's own speak of its functions and of Rust's types.
fn problem(error: &Error, text: &str) -> String {
    let told = match error {
        Error::AliasError { error, .. } => return problem(error, text),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("`{key}` is given twice"),
        Error::DuplicateMappingKey { key: None, .. } => "a key is given twice".to_owned(),
        Error::MultipleDocuments { .. } => {
            "a second document begins here, but one is all that is read".to_owned()
        }
        Error::SerdeMissingField { field, .. } => format!("`{field}` is missing"),
        Error::SerdeUnknownField {
            field, expected, ..
        } => unknown(field, expected),
        Error::SerdeUnknownVariant {
            variant, expected, ..
        } => unknown(variant, expected),
        Error::SerdeInvalidType {
            unexpected,
            expected,
            ..
        }
        | Error::SerdeInvalidValue {
            unexpected,
            expected,
            ..
        } => format!("this is {unexpected}; expected {expected}"),
        Error::InvalidScalar { ty, .. } => {
            let expected = named(ty);
            match written(error, text) {
                Some(written) => format!("`{written}` is given; expected {expected}"),
                None => format!("expected {expected}"),
            }
        }
        Error::Unexpected { expected, .. } => format!("expected {}", named(expected)),
        Error::Budget { .. } => {
            "the document is too large or nested too deeply; make it smaller".to_owned()
        }
        Error::ExternalMessage { msg, .. } => format!("not YAML: {msg}"),
        other => UserMessageFormatter.format_message(other).into_owned(),
    };
    told.replace(char::is_control, " ")
}

fn unknown(name: &str, expected: &[&str]) -> String {
    match expected {
        [] => format!("`{name}` is unknown here"),
        [one] => format!("`{name}` is unknown here; expected {one}"),
        several => format!(
            "`{name}` is unknown here; expected one of {}",
            several.join(", ")
        ),
    }
}

/// Returns what the reader calls by a name of Rust or of its own, as people call it.
fn named(kind: &str) -> String {
    let bits = kind.get(1..).and_then(|bits| bits.parse::<u32>().ok());
    match (kind.chars().next(), bits) {
        (Some('u'), Some(bits @ 1..=128)) => {
            format!("a whole number from 0 to {}", u128::MAX >> (128 - bits))
        }
        (Some('i'), Some(bits @ 1..=128)) => format!(
            "a whole number from {} to {}",
            i128::MIN >> (128 - bits),
            i128::MAX >> (128 - bits)
        ),
        _ => match kind {
            "floating point" => "a number",
            "boolean" => "true or false",
            "mapping start" => "a map",
            "sequence start" => "a list",
            "string scalar" => "text",
            other => other,
        }
        .to_owned(),
    }
}

/// Returns the value as it stands in the document.
fn written<'a>(error: &Error, text: &'a str) -> Option<&'a str> {
    let span = error.location()?.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
    text.get(start..end)
        .map(str::trim)
        .filter(|value| !value.is_empty())
}
