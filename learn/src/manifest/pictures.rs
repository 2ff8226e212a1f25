//! What image files hold, looked at on all cores: bytes, size and the picture's hash.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fermata_vision::FramePool;
use fermata_vision::image_file::{self, ImageFileError};
use sha2::{Digest, Sha256};

use crate::picture_hash::{PictureHash, PictureHasher};

/// What one file holds.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) sha256: String,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) hash: PictureHash,
}

/// Looks at files; the answers are in their order.
pub(super) fn look_at(paths: &[PathBuf]) -> Vec<Result<Picture, ImageFileError>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let mut answers: Vec<Option<Result<Picture, ImageFileError>>> = Vec::new();
    answers.resize_with(paths.len(), || None);
    thread::scope(|scope| {
        let work = || {
            let (pool, hasher) = (FramePool::new(), PictureHasher::default());
            let mut found = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(path) = paths.get(number) else {
                    return found;
                };
                found.push((number, look(path, &pool, &hasher)));
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            for (number, answer) in worker.join().expect("looking at a file does not panic") {
                answers[number] = Some(answer);
            }
        }
    });
    answers
        .into_iter()
        .map(|answer| answer.expect("each file was looked at"))
        .collect()
}

fn look(path: &Path, pool: &FramePool, hasher: &PictureHasher) -> Result<Picture, ImageFileError> {
    let bytes = std::fs::read(path)?;
    let frame = image_file::decode(&bytes, pool)?;
    Ok(Picture {
        sha256: format!("{:x}", Sha256::digest(&bytes)),
        width: frame.width() as u32,
        height: frame.height() as u32,
        hash: hasher.hash(&frame),
    })
}
