//! Whether two paths, or an open file and a path, lead to the same file or folder.

use std::fs::{File, Metadata};
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

/// Returns whether an open file or folder is the one at `path`: not if it was removed or renamed since it was opened.
pub(crate) fn is_at(open: &File, path: &Path) -> bool {
    let open = open.metadata().ok();
    let found = path.metadata().ok();
    open.is_some_and(|open| found.is_some_and(|found| identity(&open) == identity(&found)))
}

fn is_same(one: &Path, other: &Path, kind: fn(&Metadata) -> bool) -> bool {
    let found = |path: &Path| path.metadata().ok().filter(kind);
    let (one, other) = (found(one), found(other));
    one.is_some_and(|one| other.is_some_and(|other| identity(&one) == identity(&other)))
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}
