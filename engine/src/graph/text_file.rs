//! Reads a text file, which must be regular and no larger than a graph can be.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Size of the largest file that is read, in bytes.
const MOST_BYTES: u64 = 16 << 20;

/// Reads a file.
///
/// # Errors
/// The file cannot be read; is a device, a pipe or a folder, which need not end; is too large; or is not valid UTF-8.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    // Opening a pipe would block until it has a writer.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    let file = File::open(path)?;
    file.take(MOST_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(io::Error::other(format!(
            "it is larger than {} MiB",
            MOST_BYTES >> 20
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_a_reasonable_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (large, small) = (folder.path().join("large"), folder.path().join("small"));
        let file = File::create(&large).unwrap();
        file.set_len(MOST_BYTES + 1).unwrap();
        std::fs::write(&small, "text").unwrap();
        assert_eq!(read_text(&small).unwrap(), "text");
        for (path, said) in [
            (large.as_path(), "larger than 16 MiB"),
            (folder.path(), "not a regular file"),
            (Path::new("/dev/zero"), "not a regular file"),
        ] {
            let refused = read_text(path).unwrap_err().to_string();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
