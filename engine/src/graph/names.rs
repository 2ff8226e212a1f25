//! Names of graphs, nodes, streams, parameters and lanes, which become parts of paths and of other names.

use super::place::Span;
use super::problem::Problem;

fn fits(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// Checks that something may have this name; the problem has no place.
pub(crate) fn valid_name(what: &str, name: &str) -> Result<(), Problem> {
    if !name.is_empty() && name.chars().all(fits) && !name.starts_with('-') {
        return Ok(());
    }
    Err(
        Problem::nowhere(format!("`{name}` cannot be the name of {what}"))
            .help("names are made of letters a–z, digits, `_` and `-`"),
    )
}

/// Checks that something may have the name written at `span`.
pub(crate) fn valid_name_at(what: &str, name: &str, span: &Span) -> Result<(), Problem> {
    valid_name(what, name).map_err(|problem| problem.placed(span))
}

/// Returns the original name of a stream: `door` for `door.2`, a stream that returned under its old name.
pub(crate) fn first_name(stream: &str) -> &str {
    stream.split_once('.').map_or(stream, |(first, _)| first)
}

/// Derives the name of a graph from the stem of its file name.
pub(crate) fn fitting_name(stem: &str) -> String {
    let name: String = stem
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect();
    match name.trim_start_matches('-') {
        "" => "graph".to_owned(),
        name => name.to_owned(),
    }
}
