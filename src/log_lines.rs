//! Log lines made safe to show: without secrets, and without terminal control sequences.

use std::io::{self, Write};

use fermata_engine::graph::{Secrets, printable};
use tracing_subscriber::fmt::MakeWriter;

/// A writer that cleans each log line.
pub(crate) struct Shown<To> {
    to: To,
    secrets: Secrets,
    coloured: bool,
}

impl<To> Shown<To> {
    /// `coloured`: lines contain escape sequences of our own, and foreign ones have been made visible already.
    pub(crate) fn new(to: To, secrets: &Secrets, coloured: bool) -> Self {
        Self {
            to,
            secrets: secrets.clone(),
            coloured,
        }
    }
}

impl<'a, To: MakeWriter<'a>> MakeWriter<'a> for Shown<To> {
    type Writer = Line<'a, To::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line {
            to: self.to.make_writer(),
            secrets: &self.secrets,
            coloured: self.coloured,
        }
    }
}

/// A writer for one line, which is written as a whole.
pub(crate) struct Line<'a, W> {
    to: W,
    secrets: &'a Secrets,
    coloured: bool,
}

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut line = self.secrets.hide(&String::from_utf8_lossy(bytes));
        if !self.coloured {
            line = printable(&line);
        }
        self.to.write_all(line.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
