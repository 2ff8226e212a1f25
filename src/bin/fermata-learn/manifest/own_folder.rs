//! What commands about manifests make: one of theirs may be replaced where that is asked for, anything else is left
//! alone.

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
    refuse_to_replace(out, overwrite)
}

/// What is there stays, unless somebody says otherwise.
pub(super) fn refuse_to_replace(path: &Path, overwrite: bool) -> anyhow::Result<()> {
    if path.exists() && !overwrite {
        bail!(
            "{} is there already; --overwrite replaces it",
            path.display()
        );
    }
    Ok(())
}
