//! What libav asks while it waits for others: whether to give up.

/// What opening and fetching wait for.
pub(crate) trait Waiting: Clone + Send + 'static {
    /// Whether it should give up.
    fn interrupts(&self) -> bool;
    /// It has come further.
    fn came_further(&self);
}
