//! Whether two paths lead to one file or folder.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether both are there and are one folder, whatever leads to it: another spelling, a link, another mount.
pub fn is_same_folder(one: &Path, other: &Path) -> bool {
    is_same(one, other, Metadata::is_dir)
}

/// Whether both are there and are one file, whatever leads to it: another spelling, a link, another name of it, another
/// mount.
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
