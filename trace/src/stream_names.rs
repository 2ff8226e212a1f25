//! Names of streams by number: packets carry numbers, people use names.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Maximum number of names kept; beyond it, those of the oldest streams are dropped (a job may have a million units).
const MOST: usize = 4096;

/// The names, shared by the lanes, which add them, and the writer.
#[derive(Default)]
pub(crate) struct StreamNames(Mutex<BTreeMap<u32, Arc<str>>>);

impl StreamNames {
    pub(crate) fn learn(&self, id: u32, name: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.entry(id).or_insert_with(|| name.into());
        if names.len() > MOST {
            names.pop_first();
        }
    }

    /// Returns the name of a stream, or its number if the name has been dropped.
    pub(crate) fn name(&self, id: u32) -> String {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names
            .get(&id)
            .map_or_else(|| format!("stream {id}"), |name| name.to_string())
    }
}
