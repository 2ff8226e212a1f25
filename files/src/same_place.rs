//! Whether two paths lead to the same file or folder.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Returns whether both paths exist and are the same folder, through any spelling, link or mount.
pub fn is_same_folder(one: &Path, other: &Path) -> bool {
    is_same(one, other, Metadata::is_dir)
}

/// Returns whether both paths exist and are the same file, through any spelling, link, hard link or mount.
pub fn is_same_file(one: &Path, other: &Path) -> bool {
    is_same(one, other, Metadata::is_file)
}

fn is_same(one: &Path, other: &Path, kind: fn(&Metadata) -> bool) -> bool {
    let identity = |path: &Path| {
        let found = path.metadata().ok().filter(kind)?;
        Some((found.dev(), found.ino()))
    };
    identity(one).is_some_and(|found| identity(other) == Some(found))
}
