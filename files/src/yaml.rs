//! Reads documents in YAML into values. An error is one sentence with its place, as for graph files; what the values
//! mean is up to the caller.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_saphyr::{Error, MessageFormatter, UserMessageFormatter};

/// Reason why a document in YAML cannot be read, such as `training.yaml:6:1: `seed` is given twice`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// Source of the document.
    pub path: PathBuf,
    /// Line and column, both from 1; none if the parser knows no place.
    pub place: Option<(u64, u64)>,
    /// Problem at that place.
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

/// Reads a document; `path` is its source, for messages.
///
/// # Errors
/// If the text is not YAML, is more than one document, or does not match the type.
pub fn from_yaml<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, YamlError> {
    // The parser counts columns and bytes from after the byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_saphyr::from_str(text).map_err(|error| YamlError {
        path: path.to_owned(),
        place: error.location().map(|at| (at.line(), at.column())),
        problem: problem(error.without_snippet(), text),
    })
}

/// Describes an error in this program's words: the parser's own messages mention its functions and Rust types.
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

/// Translates a Rust type or a term of the parser into a description for users.
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

/// Returns the value as written in the document.
fn written<'a>(error: &Error, text: &'a str) -> Option<&'a str> {
    let span = error.location()?.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
    text.get(start..end)
        .map(str::trim)
        .filter(|value| !value.is_empty())
}
