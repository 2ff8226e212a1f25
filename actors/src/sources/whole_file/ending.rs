//! How a recording ends, and helpers to read its bytes.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

/// How a recording ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nothing is missing, or the file does not tell (other formats, recordings of unknown size).
    Whole,
    /// All pictures are there; after them comes something that is cut, or is not part of the format.
    Trailer(String),
    /// This many bytes are missing of the parts that hold pictures or locate them.
    Cut(u64),
    /// The file ends within a packet of a transport stream, or a page of an Ogg file; such files may end after any
    /// packet or page. Holds how many bytes of that one are there.
    Torn(u64),
    /// The last part is not marked as the last.
    Open,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("the file is whole"),
            Self::Trailer(what) => write!(
                f,
                "{what} at the end of the file; all frames before it were read"
            ),
            Self::Cut(missing) => write!(f, "{missing} bytes are missing"),
            Self::Torn(bytes) => write!(
                f,
                "the file ends within a packet, of which {bytes} bytes are there: it was cut, and it is unknown how much is missing"
            ),
            Self::Open => f.write_str(
                "the end of the file is not marked as such: it was cut, or is still being written",
            ),
        }
    }
}

/// Reads from offset `at` until the buffer is full or the file ends; returns the number of bytes read.
pub(super) fn read_up_to(
    file: &mut (impl Read + Seek),
    at: u64,
    buffer: &mut [u8],
) -> io::Result<usize> {
    file.seek(SeekFrom::Start(at))?;
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Returns a big-endian number of up to eight bytes.
pub(super) fn big_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}
