//! Manifests that are read once for a run: by whoever starts it and all its sources. Owns which are in memory; what a
//! manifest is is `fermata-learn`'s.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fermata_engine::{ActorError, Setup};
use fermata_learn::manifest::{Manifest, ManifestError};

/// The manifests of a run: a service, which the program gives.
#[derive(Debug, Default)]
pub struct Manifests(Mutex<HashMap<PathBuf, Arc<Manifest>>>);

impl Manifests {
    /// The manifest of a file, which is read when it is asked for first. Others wait for it.
    ///
    /// # Errors
    /// See [`ManifestError`]; it is read again when it is asked for next.
    pub fn get(&self, path: &Path) -> Result<Arc<Manifest>, ManifestError> {
        // A manifest is put in whole or not at all.
        let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(manifest) = read.get(path) {
            return Ok(Arc::clone(manifest));
        }
        let manifest = Arc::new(Manifest::read(path)?);
        read.insert(path.to_owned(), Arc::clone(&manifest));
        Ok(manifest)
    }

    /// The manifests of an actor's run.
    ///
    /// # Errors
    /// The program has none.
    pub fn of(setup: &Setup) -> Result<Arc<Self>, ActorError> {
        let manifests = setup.service();
        manifests.ok_or_else(|| "the program has no manifests for its actors".into())
    }
}
