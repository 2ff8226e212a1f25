//! Shared file handling: files and folders that are either complete or absent, limits for files that are read whole,
//! documents in YAML, hashes, and the lock of a folder.
//!
//! - [`PartFile`]: a file that is written as `NAME.part` and gets its name when it is complete; its creator decides
//!   what happens to it if it is never finished.
//! - [`RecordFile`]: a part file for rows and lines, of which only whole ones reach the disk.
//! - [`SyncGroup`]: files of several writers that are made durable together, for code that promises that they survive a
//!   power cut.
//! - [`write()`]: writes contents that are in memory as a part file.
//! - [`remove_earlier`]: removes a file that an earlier run may have left.
//! - [`PartFolder`]: a folder that is filled as `NAME.part` and gets its name, or replaces another folder, in one step.
//! - [`read`], [`read_text`], [`open`]: files that are read to their end, which must be regular and within a size
//!   limit.
//! - [`from_yaml`]: reads documents in YAML, whose errors name their place.
//! - [`sha256`], [`sha256_of_file`]: hashes as cards, manifests and provenance write them.
//! - [`is_same_file`], [`is_same_folder`]: whether two paths lead to the same file or folder.
//! - [`is_being_written`]: whether a file has been begun and not finished.
//! - [`FolderLock`]: lets one process at a time own a folder; the lock can be passed through `exec`.
//!
//! This crate knows no file names, and the contents of files are up to the caller. It does not retry, and it does not
//! guard against other programs that write to the same files without taking the lock.

mod error;
mod folder_lock;
mod hash;
mod part_file;
mod part_folder;
mod record_file;
mod same_place;
mod sync_group;
mod whole;
mod yaml;

pub use error::FileError;
pub use folder_lock::{FolderLock, Holder, LOCK_FILE, LockError};
pub use hash::{sha256, sha256_of, sha256_of_file};
pub use part_file::{PartFile, Unfinished, is_being_written, part_path, remove_earlier, write};
pub use part_folder::PartFolder;
pub use record_file::RecordFile;
pub use same_place::{is_same_file, is_same_folder};
pub use sync_group::{SyncGroup, Synced};
pub use whole::{MOST_NUMBERS, MOST_TABLE, MOST_TEXT, open, read, read_text};
pub use yaml::{YamlError, from_yaml};
