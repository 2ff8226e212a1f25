//! Manifests that are read once per run, shared by the program and all its sources. Owns which are in memory;
//! `fermata-learn` owns the format.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fermata_engine::{ActorError, Setup};
use fermata_learn::manifest::{Manifest, ManifestError};

/// The manifests of a run: a service provided by the program.
#[derive(Debug, Default)]
pub struct Manifests(Mutex<HashMap<PathBuf, Arc<Manifest>>>);

impl Manifests {
    /// Returns the manifest in a file, reading it on first use. Concurrent callers wait.
    ///
    /// # Errors
    /// See [`ManifestError`]; the next call tries again.
    pub fn get(&self, path: &Path) -> Result<Arc<Manifest>, ManifestError> {
        // A manifest is inserted whole or not at all.
        let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(manifest) = read.get(path) {
            return Ok(Arc::clone(manifest));
        }
        let manifest = Arc::new(Manifest::read(path)?);
        read.insert(path.to_owned(), Arc::clone(&manifest));
        Ok(manifest)
    }

    /// Returns the manifests of an actor's run.
    ///
    /// # Errors
    /// Fails if the program provides none.
    pub fn of(setup: &Setup) -> Result<Arc<Self>, ActorError> {
        let manifests = setup.service();
        manifests.ok_or_else(|| "the program has no manifests for its actors".into())
    }
}
