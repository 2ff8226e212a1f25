//! Paths of images as manifests store them: relative to the manifest's folder, even outside of it, so that a tree that
//! is moved or created elsewhere as a whole has the same manifests.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Returns the absolute path, without links, of a folder that may not exist yet, so that `..` steps lead where
/// expected.
pub fn resolved(folder: &Path) -> std::io::Result<PathBuf> {
    let folder = std::path::absolute(folder)?;
    let mut to_be_made: Vec<OsString> = Vec::new();
    let mut there = folder.as_path();
    loop {
        match (
            there.canonicalize(),
            there.parent(),
            there.components().next_back(),
        ) {
            (Ok(found), ..) => {
                let names = to_be_made.into_iter().rev();
                return Ok(names.fold(found, |path, name| stepped(path, Path::new(&name))));
            }
            (Err(_), Some(parent), Some(last)) => {
                to_be_made.push(last.as_os_str().to_owned());
                there = parent;
            }
            (Err(error), ..) => return Err(error),
        }
    }
}

/// Joins a path to a folder without links, resolving `..` steps at its beginning.
pub fn stepped(mut folder: PathBuf, name: &Path) -> PathBuf {
    let mut rest = name;
    while let Ok(below) = rest.strip_prefix(Component::ParentDir) {
        folder.pop();
        rest = below;
    }
    folder.join(rest)
}

/// Returns the relative path from a folder without links to a file, both absolute.
pub fn relative(folder: &Path, file: &Path) -> PathBuf {
    let shared = folder.components().zip(file.components());
    let shared = shared.take_while(|(one, other)| one == other).count();
    let up = folder
        .components()
        .skip(shared)
        .map(|_| Component::ParentDir);
    up.chain(file.components().skip(shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_leads_from_the_folder_to_the_file_and_back() {
        for (folder, file, way) in [
            ("/a/b", "/a/b/c/1.png", "c/1.png"),
            ("/a/b", "/a/c/1.png", "../c/1.png"),
            ("/a/b", "/c/1.png", "../../c/1.png"),
            ("/", "/c/1.png", "c/1.png"),
            ("/a/b", "/a/bc/1.png", "../bc/1.png"),
        ] {
            let found = relative(Path::new(folder), Path::new(file));
            assert_eq!(found, Path::new(way));
            assert_eq!(stepped(folder.into(), &found), Path::new(file));
        }
        assert_eq!(
            stepped("/a".into(), Path::new("/x/1.png")),
            Path::new("/x/1.png")
        );
    }

    #[test]
    fn a_folder_that_is_not_there_yet_lies_where_its_links_lead() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("deep/real")).unwrap();
        std::os::unix::fs::symlink("deep/real", root.join("link")).unwrap();
        for (folder, found) in [
            ("link/a/b", "deep/real/a/b"),
            ("link", "deep/real"),
            ("new/../a", "a"),
        ] {
            assert_eq!(resolved(&root.join(folder)).unwrap(), root.join(found));
        }
    }
}
