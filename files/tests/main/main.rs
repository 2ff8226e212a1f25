//! Files, folders and locks through the public interface: what is on the disk after anything that can happen to a
//! writer.

#![allow(missing_docs, clippy::unwrap_used)]

mod documents;
mod folders;
mod hashes;
mod locks;
mod part_files;
mod sync_groups;
mod whole_files;

/// Returns the names in a folder, sorted.
fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
