//! Whether two paths lead to one folder.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether both are there and are one folder, whatever leads to it: another spelling, a link, another mount.
pub fn is_same_folder(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| {
        let found = path.metadata().ok().filter(std::fs::Metadata::is_dir)?;
        Some((found.dev(), found.ino()))
    };
    identity(one).is_some_and(|folder| identity(other) == Some(folder))
}
