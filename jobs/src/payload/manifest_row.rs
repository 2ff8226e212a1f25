//! A row of a manifest, shared by all packets.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use fermata_learn::manifest::{Manifest, Row};

/// A row and the manifest that contains it; cheap to clone.
#[derive(Clone)]
pub struct ManifestRow {
    manifest: Arc<Manifest>,
    index: usize,
}

impl ManifestRow {
    /// Returns the row with this index, or none if there is no such row.
    pub fn new(manifest: &Arc<Manifest>, index: usize) -> Option<Self> {
        manifest.rows.get(index).map(|_| Self {
            manifest: Arc::clone(manifest),
            index,
        })
    }

    /// Returns its position in the manifest, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns its fields: image, label, source, split, group, sha256, width, height.
    pub fn row(&self) -> &Row {
        &self.manifest.rows[self.index]
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Returns the path of its image, which the manifest gives relative to its own folder.
    pub fn path(&self) -> PathBuf {
        self.manifest.folder.join(&self.row().image)
    }
}

impl fmt::Debug for ManifestRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} ({})", self.index, self.row().image.display())
    }
}
