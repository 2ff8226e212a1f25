//! What a command reads it never writes over, however that is called. Of graphs the engine knows it (`load`).

use std::path::Path;

use anyhow::bail;
use fermata_files::{is_same_file, is_same_folder, part_path};

/// Refuses files to be written that are among those that are read: in another spelling, by a link, or as the part under
/// whose name they would be begun.
///
/// # Errors
/// The first that would be lost.
pub fn refuse_to_write_over(read: &[&Path], written: &[&Path]) -> anyhow::Result<()> {
    for output in written {
        let part = part_path(output);
        for input in read {
            if is_same_file(input, output) || is_same_file(input, &part) {
                bail!(
                    "{} would be written over, which is read: name another file or folder for what is written",
                    input.display()
                );
            }
        }
    }
    Ok(())
}

/// Refuses a folder to be replaced as a whole that holds a file that is read.
///
/// # Errors
/// The first file that would be lost.
pub fn refuse_to_replace_folder_of(read: &[&Path], folder: &Path) -> anyhow::Result<()> {
    for input in read {
        let Ok(found) = input.canonicalize() else {
            continue;
        };
        if found.ancestors().any(|above| is_same_folder(above, folder)) {
            bail!(
                "{} would be replaced, and {} in it is read: name another folder for what is written",
                folder.display(),
                input.display()
            );
        }
    }
    Ok(())
}
