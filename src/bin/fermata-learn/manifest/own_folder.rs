//! Folders that commands about manifests make: one of theirs may be replaced, any other is left alone.

use std::path::Path;

use anyhow::bail;
use fermata_learn::image_set::MANIFEST;

/// The table's name in the folder.
pub(super) const TABLE: &str = "table.csv";

/// A folder is replaced as a whole: one that may hold something else is never touched.
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
    if !overwrite {
        bail!(
            "{} is there already; --overwrite replaces it",
            out.display()
        );
    }
    Ok(())
}
