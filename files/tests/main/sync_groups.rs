//! Files that are made durable together are held only while somebody writes them.

use std::fs;
use std::io::Write;
use std::path::Path;

use fermata_files::{PartFile, SyncGroup, Unfinished};
use tempfile::tempdir;

/// Returns how many descriptors of this process lead into a folder, also to files that have been removed there.
#[cfg(target_os = "linux")]
fn open_in(folder: &Path) -> usize {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap();
    // One that another test has closed meanwhile leads nowhere.
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    targets.filter(|target| target.starts_with(folder)).count()
}

/// Writes short segments one after the other, and removes each before the next but one, as a recording with `keep`
/// does.
fn record(group: &SyncGroup, folder: &Path, segments: std::ops::Range<u32>) {
    let name = |number: u32| folder.join(format!("segment-{number}.mp4"));
    for number in segments {
        let mut part = PartFile::create(&name(number), Unfinished::Kept).unwrap();
        let synced = group.add(part.part()).unwrap();
        part.write_all(b"frames").unwrap();
        part.finish().unwrap();
        drop(synced);
        if let Some(old) = number.checked_sub(2) {
            fs::remove_file(name(old)).unwrap();
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn segments_of_a_group_that_nobody_syncs_leave_no_descriptors() {
    let folder = tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    let group = SyncGroup::default();
    record(&group, &path, 0..300);
    assert_eq!(open_in(&path), 0);
    assert!(group.is_empty());
}

/// A receiving end syncs while packets come. One that has ended, or waits for a sender that is gone, syncs no more.
#[test]
#[cfg(target_os = "linux")]
fn segments_after_the_last_sync_leave_no_descriptors() {
    let folder = tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    let group = SyncGroup::default();
    let mut table = PartFile::create(&path.join("faces.csv"), Unfinished::Kept).unwrap();
    let synced = group.add(table.part()).unwrap();
    table.write_all(b"rows").unwrap();
    record(&group, &path, 0..10);
    group.sync().unwrap();
    assert!(!group.is_empty(), "the table is still being written");
    record(&group, &path, 10..300);
    // The table itself, and the group's own.
    assert_eq!(open_in(&path), 2);
    drop((synced, table));
    assert_eq!(open_in(&path), 0);
    assert_eq!(group.sync(), Ok(()));
}
