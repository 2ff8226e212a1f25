//! Parallel work over many rows, in pieces whose bounds do not depend on the number of cores, so that sums are the same
//! on every machine.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Returns the results of `work` on each piece of `0..count`, in order. Pieces are `size` long; the last may be
/// shorter.
pub fn in_pieces<T: Send>(
    count: usize,
    size: usize,
    work: impl Fn(Range<usize>) -> T + Sync,
) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    in_pieces_on(threads, count, size, work)
}

fn in_pieces_on<T: Send>(
    threads: usize,
    count: usize,
    size: usize,
    work: impl Fn(Range<usize>) -> T + Sync,
) -> Vec<T> {
    let size = size.max(1);
    let pieces = count.div_ceil(size);
    let piece = |number: usize| work(number * size..((number + 1) * size).min(count));
    if threads == 1 || pieces <= 1 {
        return (0..pieces).map(piece).collect();
    }
    let next = AtomicUsize::new(0);
    let mut done: Vec<Option<T>> = Vec::new();
    done.resize_with(pieces, || None);
    thread::scope(|scope| {
        let take = || {
            let mut found = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= pieces {
                    return found;
                }
                found.push((number, piece(number)));
            }
        };
        let workers: Vec<_> = (0..threads.min(pieces))
            .map(|_| scope.spawn(take))
            .collect();
        for worker in workers {
            match worker.join() {
                Ok(found) => {
                    for (number, value) in found {
                        done[number] = Some(value);
                    }
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    let done = done.into_iter();
    done.map(|value| value.expect("each piece was taken"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_everything_in_order() {
        for (count, size) in [(0, 3), (1, 3), (10, 3), (9, 3), (5, 100), (4, 0)] {
            let alone = in_pieces_on(1, count, size, |piece| piece.collect::<Vec<_>>());
            assert_eq!(alone.concat(), (0..count).collect::<Vec<_>>());
            for threads in 2..6 {
                let pieces = in_pieces_on(threads, count, size, Iterator::collect::<Vec<_>>);
                assert_eq!(pieces, alone, "the same pieces on {threads} threads");
            }
        }
    }
}
