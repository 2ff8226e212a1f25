//! Printing results and errors. A closed pipe (`fermata actors | head`) is not a failure. Text from files is shown
//! without characters that would control the terminal.

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

/// Prints a message to standard error, without the secret parts of addresses.
pub fn complain(text: &str) {
    complain_as_it_is(&printable(&redact(text)));
}

/// Prints a message whose parts have been cleaned already, because it contains colours or an address that is meant to
/// be shown. Ignores a closed standard error (a closed terminal).
pub(crate) fn complain_as_it_is(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Returns a count with its noun: `1 node`, `2 nodes`.
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

/// Prints an error to standard error, without the secret parts of addresses.
pub fn print_error(error: &anyhow::Error) {
    complain(&format!("error: {error:#}"));
}
