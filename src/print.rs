//! Printing results, and what went wrong. Somebody who closes the pipe (`fermata actors | head`) has seen enough: that is no failure.
//! What comes from files is shown without the characters that a terminal would obey.

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

/// Prints a line.
pub fn print_line(text: &str) -> anyhow::Result<()> {
    print(&format!("{text}\n"))
}

/// Says on the error output what went wrong, without the secret parts of addresses in it.
pub fn print_error(error: &anyhow::Error) {
    eprintln!("error: {}", printable(&redact(&format!("{error:#}"))));
}
