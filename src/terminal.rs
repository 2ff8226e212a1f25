//! The size of the terminal.

use std::io::IsTerminal;
use std::os::fd::AsFd;

/// The assumed size of a terminal that does not report one: columns and lines.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// Returns the number of characters in a line; unlimited if the stream is not a terminal.
pub(crate) fn line_width(of: impl AsFd + IsTerminal) -> usize {
    if of.is_terminal() {
        size(of).0
    } else {
        usize::MAX
    }
}

/// Returns the columns and lines of the terminal behind a stream.
pub(crate) fn size(of: impl AsFd) -> (usize, usize) {
    match rustix::termios::tcgetwinsize(of) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => USUAL_SIZE,
    }
}
