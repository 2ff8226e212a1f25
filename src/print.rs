//! Printing results, and what went wrong. Somebody who closes the pipe (`fermata actors | head`) has seen enough: that
//! is no failure. What comes from files is shown without the characters that a terminal would obey.

use std::io::{self, ErrorKind, Write};

use fermata_engine::graph::{printable, redact};

/// Prints a text.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let text = printable(text);
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// Says something on the error output, without the secret parts of addresses in it.
pub fn complain(text: &str) {
    complain_as_it_is(&printable(&redact(text)));
}

/// The same of a text whose parts have been cleaned: it has colours of its own, or an address that is meant to be seen.
/// Where there is no error output any more (a closed terminal), nobody listens.
pub(crate) fn complain_as_it_is(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// So many of something, in words: `1 node`, `2 nodes`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// Prints a line.
pub fn print_line(text: &str) -> anyhow::Result<()> {
    print(&format!("{text}\n"))
}

/// Says on the error output what went wrong, without the secret parts of addresses in it.
pub fn print_error(error: &anyhow::Error) {
    complain(&format!("error: {error:#}"));
}
