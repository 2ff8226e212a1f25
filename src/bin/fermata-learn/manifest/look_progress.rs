//! The progress of checking the images of manifests.

use fermata_learn::manifest::Looking;
use fermata_learn::picture_hash::Searching;

use crate::progress::Progress;

/// Reports the progress of checking images on standard error.
pub(super) struct LookProgress {
    reading: Progress,
    gathering: Progress,
    aligning: Progress,
}

impl LookProgress {
    pub(super) fn new() -> Self {
        Self {
            reading: Progress::new("images read"),
            gathering: Progress::new("draws of bits compared"),
            aligning: Progress::new("pairs aligned"),
        }
    }

    pub(super) fn show(&self, looking: Looking) {
        let (progress, done, of) = match looking {
            Looking::Reading { done, of } => (&self.reading, done, of),
            Looking::Comparing(Searching::Gathering { done, of }) => (&self.gathering, done, of),
            Looking::Comparing(Searching::Aligning { done, of }) => (&self.aligning, done, of),
        };
        progress.show(done as u64, of as u64);
    }
}
