//! The actors of the facial-expression-recognition system: one file each, in folders by role.

mod libav;
pub mod payload;
pub mod sinks;
pub mod sources;

use fermata_engine::Registry;

/// Adds every actor of this crate: the only list of names and what stands behind them.
pub fn register(registry: &mut Registry) {
    registry.register::<sinks::write_video::WriteVideo>();
    registry.register_source::<sources::image_source::ImageSource>();
    registry.register_source::<sources::video_source::VideoSource>();
}
