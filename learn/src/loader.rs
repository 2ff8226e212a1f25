//! Batches of a dataset, read ahead on threads and handed over in order. What a batch holds depends on its rows alone, not on the number of
//! threads.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use crate::augmentation::Variation;
use crate::dataset::{Dataset, Reader, RowError, RowErrors};

/// Batches that each thread reads ahead.
const AHEAD: usize = 2;

/// Threads that read and preprocess ahead of a network.
pub(crate) const READERS: usize = 2;

/// A row of a batch that is to be read.
pub type Wanted = (usize, Option<Variation>);

/// Labelled inputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Rows of the dataset, N of them.
    pub rows: Vec<usize>,
    /// [N, C, H, W] or [N, H, W, C], as the card says.
    pub inputs: Vec<f32>,
    /// Classes in the canonical order, `[N]`.
    pub labels: Vec<i64>,
}

/// The batches, in order.
pub struct Batches {
    from: Vec<Receiver<Loaded>>,
    next: usize,
}

/// A batch, or all of its rows that cannot be read.
pub type Loaded = Result<Batch, RowErrors>;

/// Begins to read batches on this number of threads, at least one. They end when all is read or the iterator is dropped.
pub fn read_ahead<'scope>(
    scope: &'scope Scope<'scope, '_>,
    dataset: &'scope Dataset,
    batches: Vec<Vec<Wanted>>,
    threads: usize,
) -> Batches {
    let threads = threads.max(1);
    let mut shares: Vec<Vec<Vec<Wanted>>> = vec![Vec::new(); threads];
    for (number, batch) in batches.into_iter().enumerate() {
        shares[number % threads].push(batch);
    }
    let begin = |share: Vec<Vec<Wanted>>| {
        let (to, from) = sync_channel(AHEAD);
        scope.spawn(move || {
            let mut reader = None;
            for batch in share {
                // The receiver is gone when nobody wants more.
                if to.send(load(dataset, &mut reader, batch)).is_err() {
                    return;
                }
            }
        });
        from
    };
    Batches {
        from: shares.into_iter().map(begin).collect(),
        next: 0,
    }
}

impl Iterator for Batches {
    type Item = Loaded;

    fn next(&mut self) -> Option<Loaded> {
        // A thread that has no more batches has closed its channel, and it is the one whose turn the end is.
        let batch = self.from[self.next].recv().ok()?;
        self.next = (self.next + 1) % self.from.len();
        Some(batch)
    }
}

fn load<'a>(dataset: &'a Dataset, reader: &mut Option<Reader<'a>>, batch: Vec<Wanted>) -> Loaded {
    let failed = |row: usize, reason| {
        let image = dataset.rows()[row].image.clone();
        RowError { image, reason }
    };
    let reader = match reader {
        Some(reader) => reader,
        None => match dataset.reader() {
            Ok(made) => reader.insert(made),
            Err(error) => {
                // OpenCV's own, which is no row's: said of the first.
                let first = batch.first().map(|(row, _)| failed(*row, error.into()));
                return Err(RowErrors(first.into_iter().collect()));
            }
        },
    };
    let len = dataset.input().len();
    let mut loaded = Batch {
        inputs: vec![0.0; len * batch.len()],
        ..Batch::default()
    };
    let mut errors = Vec::new();
    for ((row, variation), out) in batch.into_iter().zip(loaded.inputs.chunks_exact_mut(len)) {
        if let Err(error) = reader.read(row, variation.as_ref(), out) {
            errors.push(error);
        }
        loaded.rows.push(row);
        loaded.labels.push(dataset.rows()[row].label.index() as i64);
    }
    if errors.is_empty() {
        Ok(loaded)
    } else {
        Err(RowErrors(errors))
    }
}
