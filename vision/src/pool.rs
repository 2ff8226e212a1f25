//! Buffers that return to their pool, so that a running graph does not allocate pixels.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, Weak};

use crate::lock::lock;

/// Maximum number of free buffers in a pool; further ones are freed when they return.
const MOST_FREE: usize = 64;

/// A pool of reusable buffers of one element type. Clones share their buffers.
#[derive(Debug, Clone, Default)]
pub struct Pool<T> {
    free: Arc<Mutex<Vec<Vec<T>>>>,
}

impl<T: Copy + Default> Pool<T> {
    /// Creates an empty pool.
    pub fn new() -> Self {
        Self {
            free: Arc::default(),
        }
    }

    /// Returns a buffer of `len` elements with arbitrary contents (left by an earlier user, or default values).
    pub fn take(&self, len: usize) -> Pooled<T> {
        let mut free = lock(&self.free);
        let fitting = free.iter().rposition(|buffer| buffer.capacity() >= len);
        let mut buffer = fitting.map_or_else(Vec::new, |index| free.swap_remove(index));
        drop(free);
        buffer.resize(len, T::default());
        Pooled {
            buffer,
            home: Arc::downgrade(&self.free),
        }
    }
}

/// A buffer that returns to its pool when it is dropped.
#[derive(Debug)]
pub struct Pooled<T> {
    buffer: Vec<T>,
    home: Weak<Mutex<Vec<Vec<T>>>>,
}

impl<T> Pooled<T> {
    /// Creates a buffer without a pool.
    pub fn from_vec(buffer: Vec<T>) -> Self {
        Self {
            buffer,
            home: Weak::new(),
        }
    }
}

impl<T> Deref for Pooled<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.buffer
    }
}

impl<T> DerefMut for Pooled<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.buffer
    }
}

impl<T> Drop for Pooled<T> {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade() {
            let mut free = lock(&home);
            if free.len() < MOST_FREE {
                free.push(std::mem::take(&mut self.buffer));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_used_again() {
        let pool = Pool::<u8>::new();
        let first = pool.take(100);
        let place = first.as_ptr();
        drop(first);
        let second = pool.take(60);
        assert_eq!(second.as_ptr(), place);
        assert_eq!(second.len(), 60);
    }

    #[test]
    fn a_buffer_outlives_its_pool() {
        let pool = Pool::<f32>::new();
        let buffer = pool.take(3);
        drop(pool);
        assert_eq!(&*buffer, &[0.0; 3]);
    }
}
