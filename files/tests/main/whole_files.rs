//! Only files that end and fit into memory are read whole.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use fermata_files::{MOST_NUMBERS, open, read, read_text, sha256_of_file};
use tempfile::tempdir;

#[test]
fn a_file_is_read_up_to_the_limit_and_no_further() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("table.csv");
    fs::write(&path, "a,b\n").unwrap();
    assert_eq!(read(&path, 4).unwrap(), b"a,b\n");
    assert_eq!(read_text(&path, u64::MAX).unwrap(), "a,b\n");
    let refused = read(&path, 3).unwrap_err().to_string();
    assert_eq!(refused, "it is larger than 3 bytes, the most that is read");
    // The file is sparse, and must be refused before it is read.
    File::create(&path).unwrap().set_len(65 << 20).unwrap();
    let refused = read_text(&path, 64 << 20).unwrap_err().to_string();
    assert!(refused.contains("larger than 64 MiB"), "{refused}");
    fs::write(&path, [0xFF]).unwrap();
    let refused = read_text(&path, 9).unwrap_err().to_string();
    assert_eq!(refused, "it is not valid UTF-8");
}

#[test]
fn what_has_no_end_or_waits_for_others_is_refused_at_once() {
    let folder = tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let link = folder.path().join("link");
    symlink("/dev/zero", &link).unwrap();
    for path in [&pipe, &link, Path::new("/dev/zero"), folder.path()] {
        let expected = if path.is_dir() {
            "is a directory"
        } else {
            "it is not a regular file"
        };
        for refused in [
            open(path, MOST_NUMBERS).map(drop),
            read(path, MOST_NUMBERS).map(drop),
            read_text(path, MOST_NUMBERS).map(drop),
            sha256_of_file(path).map(drop).map_err(|error| error.reason),
        ] {
            assert_eq!(refused.unwrap_err().to_string(), expected, "{path:?}");
        }
    }
    // Files of the system report an empty length.
    assert!(
        !read_text(Path::new("/proc/self/status"), 1 << 20)
            .unwrap()
            .is_empty()
    );
}
