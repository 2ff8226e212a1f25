//! What everything that reads and writes files needs once: files and folders that are whole or not there, limits for
//! what is read whole, documents in YAML, hashes, and the lock of a folder.
//!
//! - [`PartFile`]: a file that is written as `NAME.part` and gets its name when it is complete; whoever begins it says
//!   what becomes of one that nobody finishes.
//! - [`RecordFile`]: the same for rows and lines, of which only whole ones are on the disk.
//! - [`SyncGroup`]: files of several writers that are made durable together, for whoever promises that they outlive a
//!   power cut.
//! - [`write()`]: the same for contents that are in memory.
//! - [`PartFolder`]: a folder that is filled as `NAME.part` and gets its name, or takes another's, in one step.
//! - [`read`], [`read_text`], [`open`]: files that are read to their end, which must have one and fit.
//! - [`from_yaml`]: documents in YAML, whose mistakes are told with their place.
//! - [`sha256`], [`sha256_of_file`]: as cards, manifests and provenance write them.
//! - [`is_same_file`], [`is_same_folder`]: whether two paths lead to one.
//! - [`is_being_written`]: whether somebody has begun a file and not finished it.
//! - [`FolderLock`]: one process at a time owns a folder; the lock can be handed over to the program that a process
//!   becomes.
//!
//! It knows no names of files, and what stands in them is the caller's. It does not retry, and it does not guard
//! against other programs that write to the same files without asking for the lock.

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
pub use part_file::{PartFile, Unfinished, is_being_written, part_path, write};
pub use part_folder::PartFolder;
pub use record_file::RecordFile;
pub use same_place::{is_same_file, is_same_folder};
pub use sync_group::{SyncGroup, Synced};
pub use whole::{MOST_NUMBERS, MOST_TABLE, MOST_TEXT, open, read, read_text};
pub use yaml::{YamlError, from_yaml};
