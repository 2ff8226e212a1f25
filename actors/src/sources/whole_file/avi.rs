//! AVI files.

use std::io::{self, Read, Seek};

use super::ending::{Ending, read_up_to};

/// Walks the chunks (Microsoft's RIFF, with OpenDML's extensions) and checks whether those with pictures are whole.
pub(super) fn ending_of_avi(file: &mut (impl Read + Seek), length: u64) -> io::Result<Ending> {
    /// Size of a chunk's name, size and, for lists, type.
    const HEADER: u64 = 12;
    let mut at = 0_u64;
    while at < length {
        let mut header = [0; HEADER as usize];
        if read_up_to(file, at, &mut header)? < header.len() {
            break;
        }
        let size = header[4..8]
            .iter()
            .rev()
            .fold(0, |size, &byte| size << 8 | u64::from(byte));
        let (name, kind) = (&header[..4], &header[8..]);
        // A header left by a writer that broke off says nothing.
        if size == 0 || size == u64::from(u32::MAX) {
            break;
        }
        let end = at + 8 + size + size % 2;
        at = match (name, kind) {
            (b"RIFF", b"AVI " | b"AVIX") => at + HEADER,
            (b"RIFF", _) => break,
            (b"LIST", b"movi") if end > length => return Ok(Ending::Cut(end - length)),
            (b"LIST" | b"JUNK" | b"idx1", _) if end > length => {
                let (name, missing) = (String::from_utf8_lossy(name), end - length);
                return Ok(Ending::Trailer(format!(
                    "{missing} bytes of `{name}` are missing"
                )));
            }
            _ => end,
        };
    }
    Ok(Ending::Whole)
}
