//! A row of a manifest that all packets share.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use fermata_learn::manifest::{Manifest, Row};

/// A row and the manifest that it stands in; a clone costs nothing.
#[derive(Clone)]
pub struct ManifestRow {
    manifest: Arc<Manifest>,
    index: usize,
}

impl ManifestRow {
    /// The row of this index. None if there is no such row.
    pub fn new(manifest: &Arc<Manifest>, index: usize) -> Option<Self> {
        manifest.rows.get(index).map(|_| Self {
            manifest: Arc::clone(manifest),
            index,
        })
    }

    /// Its place in the manifest, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// What the manifest says: image, label, source, split, group, sha256, width, height.
    pub fn row(&self) -> &Row {
        &self.manifest.rows[self.index]
    }

    /// The manifest.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Where its image is: what the manifest names, in the manifest's folder.
    pub fn path(&self) -> PathBuf {
        self.manifest.folder.join(&self.row().image)
    }
}

impl fmt::Debug for ManifestRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} ({})", self.index, self.row().image.display())
    }
}
