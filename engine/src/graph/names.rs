//! Names of graphs, nodes, streams, parameters and lanes: they are parts of paths and of other names.

use super::place::Span;
use super::problem::Problem;

fn fits(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// Whether something may have this name; the problem has no place.
pub(crate) fn valid_name(what: &str, name: &str) -> Result<(), Problem> {
    if !name.is_empty() && name.chars().all(fits) && !name.starts_with('-') {
        return Ok(());
    }
    Err(
        Problem::nowhere(format!("`{name}` cannot be the name of {what}"))
            .help("names are made of letters a–z, digits, `_` and `-`"),
    )
}

/// Whether something may have the name that is written here.
pub(crate) fn valid_name_at(what: &str, name: &str, span: &Span) -> Result<(), Problem> {
    valid_name(what, name).map_err(|problem| problem.placed(span))
}

/// The name under which a stream came first: `door` of `door.2`, which came back.
pub(crate) fn first_name(stream: &str) -> &str {
    stream.split_once('.').map_or(stream, |(first, _)| first)
}

/// The name that a file gives to its graph.
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
