//! Contents of image files, read on all cores: hash, size and the picture's fingerprint; and which files show the same
//! picture.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fermata_vision::FramePool;
use fermata_vision::image_file::{self, ImageFileError, ImageLimits};

use crate::on_all_cores::in_pieces;
use crate::picture_hash::{Fingerprint, PictureHasher, Searching, same_pictures};
use crate::row_hash::RowHash;

/// Progress of checking a manifest's images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looking {
    /// Reading files.
    Reading {
        /// Files read so far.
        done: usize,
        /// Total number of files.
        of: usize,
    },
    /// Comparing pictures.
    Comparing(Searching),
}

/// Callback for progress, called often and from any thread.
pub type Watch<'a> = &'a (dyn Fn(Looking) + Sync);

/// Contents of one file. All files with the same bytes share it, since a list may have millions of rows and name one
/// picture many times.
#[derive(Debug)]
pub(crate) struct Picture {
    /// SHA-256 of the file.
    pub(crate) hash: RowHash,
    pub(crate) width: u32,
    pub(crate) height: u32,
    fingerprint: Fingerprint,
}

/// Result of reading a file; small, since it is kept for each row.
pub(crate) type Looked = Result<Arc<Picture>, Box<ImageFileError>>;

/// Files that a core reads at once.
const PIECE: usize = 16;

/// Reads this many files and returns the results in order. Paths are made when needed, and bytes seen before are not
/// decoded again.
pub(crate) fn look_at(
    files: usize,
    path: impl Fn(usize) -> PathBuf + Sync,
    watch: Watch<'_>,
) -> impl Iterator<Item = Looked> {
    let (done, known) = (AtomicUsize::new(0), Mutex::default());
    let pieces = in_pieces(files, PIECE, |piece| {
        let (pool, hasher) = (FramePool::new(), PictureHasher::default());
        let look = |file: usize| look(&path(file), &pool, &hasher, &known);
        let answers: Box<[_]> = piece.map(look).collect();
        let done = done.fetch_add(answers.len(), Ordering::Relaxed) + answers.len();
        watch(Looking::Reading { done, of: files });
        answers
    });
    pieces.into_iter().flatten()
}

/// Decoded pictures, by the hash of their bytes.
type Known = HashMap<RowHash, Arc<Picture>>;

fn look(path: &Path, pool: &FramePool, hasher: &PictureHasher, known: &Mutex<Known>) -> Looked {
    let bytes = image_file::read_bytes(path, &ImageLimits::default())?;
    let hash = RowHash::digest(&bytes);
    // A thread that panicked has left no half-written entry behind.
    let known = || known.lock().unwrap_or_else(PoisonError::into_inner);
    let found = known().get(&hash).cloned();
    if let Some(picture) = found {
        return Ok(picture);
    }
    let frame = image_file::decode(&bytes, pool)?;
    let new = Arc::new(Picture {
        hash,
        width: frame.width() as u32,
        height: frame.height() as u32,
        fingerprint: hasher.fingerprint(&frame),
    });
    // Another thread may have been faster.
    Ok(Arc::clone(known().entry(hash).or_insert(new)))
}

/// Returns groups of rows that show one picture: the indices of each group of at least two, in order. `of` returns
/// whether a row is drawn, and its picture. Photographs are compared as pictures; drawn pictures ([`super::DRAWN`])
/// only by their bytes, because all drawn faces are alike.
pub(crate) fn one_picture<Row>(
    rows: &[Row],
    of: impl Fn(&Row) -> (bool, &Picture),
    watch: Watch<'_>,
) -> Vec<Vec<usize>> {
    let photos: Vec<usize> = (0..rows.len())
        .filter(|&place| !of(&rows[place]).0)
        .collect();
    let fingerprints: Vec<&Fingerprint> = photos
        .iter()
        .map(|&place| &of(&rows[place]).1.fingerprint)
        .collect();
    let groups = same_pictures(&fingerprints, &|searching| {
        watch(Looking::Comparing(searching));
    });
    let groups = groups.into_iter();
    let mut groups: Vec<Vec<usize>> = groups
        .map(|group| group.into_iter().map(|index| photos[index]).collect())
        .collect();
    let mut drawn: BTreeMap<&RowHash, Vec<usize>> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        let (is_drawn, picture) = of(row);
        if is_drawn {
            drawn.entry(&picture.hash).or_default().push(place);
        }
    }
    groups.extend(drawn.into_values().filter(|group| group.len() > 1));
    groups.sort_unstable();
    groups
}
