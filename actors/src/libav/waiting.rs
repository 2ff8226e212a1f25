//! Callbacks of libav's blocking calls.

/// Control over opening and fetching while they wait.
pub(crate) trait Waiting: Clone + Send + 'static {
    /// Returns whether to give up.
    fn interrupts(&self) -> bool;
    /// Reports progress.
    fn came_further(&self);
}
