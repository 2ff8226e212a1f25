//! Keeps commands from overwriting what they read, under whatever name. For graphs, the engine checks this (`load`).

use std::path::Path;

use anyhow::bail;
use fermata_files::{is_same_file, is_same_folder, part_path};

/// Refuses output files that are among the inputs: under another spelling, through a link, or as the part file under
/// which the output would be written.
///
/// # Errors
/// Fails with the first input that would be lost.
pub fn refuse_to_write_over(read: &[&Path], written: &[&Path]) -> anyhow::Result<()> {
    for output in written {
        let part = part_path(output);
        for input in read {
            if is_same_file(input, output) || is_same_file(input, &part) {
                bail!(
                    "{} is read by this command and would be overwritten: name another file or folder for the output",
                    input.display()
                );
            }
        }
    }
    Ok(())
}

/// Refuses to replace a whole folder that holds an input.
///
/// # Errors
/// Fails with the first input that would be lost.
pub fn refuse_to_replace_folder_of(read: &[&Path], folder: &Path) -> anyhow::Result<()> {
    for input in read {
        let Ok(found) = input.canonicalize() else {
            continue;
        };
        if found.ancestors().any(|above| is_same_folder(above, folder)) {
            bail!(
                "{} would be replaced, and {} in it is read by this command: name another folder for the output",
                folder.display(),
                input.display()
            );
        }
    }
    Ok(())
}
