//! What image files hold, looked at on all cores: bytes, size and the picture's fingerprint.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use fermata_vision::FramePool;
use fermata_vision::image_file::{self, ImageFileError};
use sha2::{Digest, Sha256};

use crate::on_all_cores::in_pieces;
use crate::picture_hash::{Fingerprint, PictureHasher, Searching};

/// How far the look at a manifest's images has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looking {
    /// Files are read.
    Reading {
        /// Files so far.
        done: usize,
        /// All of them.
        of: usize,
    },
    /// Pictures are compared.
    Comparing(Searching),
}

/// Is told how far it has come, from any thread and often.
pub type Watch<'a> = &'a (dyn Fn(Looking) + Sync);

/// What one file holds.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) sha256: String,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) fingerprint: Fingerprint,
}

/// Files that a core looks at before it takes more.
const PIECE: usize = 16;

/// Looks at files; the answers are in their order.
pub(super) fn look_at(paths: &[PathBuf], watch: Watch<'_>) -> Vec<Result<Picture, ImageFileError>> {
    let done = AtomicUsize::new(0);
    let pieces = in_pieces(paths.len(), PIECE, |piece| {
        let (pool, hasher) = (FramePool::new(), PictureHasher::default());
        let look = |path: &PathBuf| look(path, &pool, &hasher);
        let answers: Vec<_> = paths[piece].iter().map(look).collect();
        let done = done.fetch_add(answers.len(), Ordering::Relaxed) + answers.len();
        let of = paths.len();
        watch(Looking::Reading { done, of });
        answers
    });
    pieces.into_iter().flatten().collect()
}

fn look(path: &Path, pool: &FramePool, hasher: &PictureHasher) -> Result<Picture, ImageFileError> {
    let bytes = std::fs::read(path)?;
    let frame = image_file::decode(&bytes, pool)?;
    Ok(Picture {
        sha256: format!("{:x}", Sha256::digest(&bytes)),
        width: frame.width() as u32,
        height: frame.height() as u32,
        fingerprint: hasher.fingerprint(&frame),
    })
}
