//! Protects outputs of manifest commands: earlier outputs are replaced only on request, and nothing else is touched.

use std::path::Path;

use anyhow::bail;
use fermata_learn::image_set::MANIFEST;

/// The table's name in the folder.
pub(super) const TABLE: &str = "table.csv";

/// Refuses to replace a folder that may hold something else, since folders are replaced as a whole.
pub(super) fn refuse_what_is_there(out: &Path, overwrite: bool) -> anyhow::Result<()> {
    if !out.exists() {
        return Ok(());
    }
    if !out.join(MANIFEST).is_file() && !out.join(TABLE).is_file() {
        bail!(
            "{} is there already and was not made by this command; name another folder",
            out.display()
        );
    }
    refuse_to_replace(out, overwrite)
}

/// Refuses to replace an existing file or folder without `--overwrite`.
pub(super) fn refuse_to_replace(path: &Path, overwrite: bool) -> anyhow::Result<()> {
    if path.exists() && !overwrite {
        bail!(
            "{} is there already; --overwrite replaces it",
            path.display()
        );
    }
    Ok(())
}
