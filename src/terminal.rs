//! How large a terminal is.

use std::io::IsTerminal;
use std::os::fd::AsFd;

/// What a terminal is taken for that does not say how large it is: columns and lines.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// Characters that a line has; any number where it goes to no terminal.
pub(crate) fn line_width(of: impl AsFd + IsTerminal) -> usize {
    if of.is_terminal() {
        size(of).0
    } else {
        usize::MAX
    }
}

/// Columns and lines of the terminal behind a stream.
pub(crate) fn size(of: impl AsFd) -> (usize, usize) {
    match rustix::termios::tcgetwinsize(of) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => USUAL_SIZE,
    }
}
