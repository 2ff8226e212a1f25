//! SHA-256, in lower-case hexadecimal digits.

use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::FileError;
use crate::whole;

/// Number of bytes read at a time.
const CHUNK: usize = 1 << 16;

/// Returns the hash of bytes in memory.
pub fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Returns the hash of all that a reader returns, without holding it in memory.
///
/// # Errors
/// The error from the reader.
pub fn sha256_of(mut reader: impl Read) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => return Ok(format!("{:x}", digest.finalize())),
            Ok(read) => digest.update(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns the hash of a file's contents.
///
/// # Errors
/// The file cannot be read or is not regular: others need not end.
pub fn sha256_of_file(path: &Path) -> Result<String, FileError> {
    let read = whole::open(path, u64::MAX).and_then(sha256_of);
    read.map_err(|reason| FileError::plain("read", path, reason))
}
