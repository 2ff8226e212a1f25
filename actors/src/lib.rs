//! Actors of the facial-expression-recognition system, one file each, in folders by role.

pub mod agreement;
mod cells;
mod codecs;
pub mod faces;
mod finished;
pub mod inference;
pub mod installed;
mod libav;
pub mod overlay;
pub mod payload;
pub mod privacy;
pub mod shown;
pub mod sinks;
pub mod sources;
mod stream_time;
pub mod temporal;
pub mod trust;

#[cfg(test)]
#[path = "../../tests/skipped.rs"]
mod skipped;

use fermata_engine::Registry;

/// Registers every actor and codec of this crate, and how actors must agree; this is the only list of actor names.
pub fn register(registry: &mut Registry) {
    codecs::register(registry.codecs_mut());
    registry.register::<faces::adjust_frames::AdjustFrames>();
    registry.register::<faces::crop_faces::CropFaces>();
    registry.register::<faces::detect_faces::DetectFaces>();
    registry.register::<faces::gate_faces::GateFaces>();
    registry.register::<inference::classify_expression::ClassifyExpression>();
    registry.register::<overlay::draw_overlay::DrawOverlay>();
    registry.register::<sinks::send_webhook::SendWebhook>();
    registry.register::<sinks::show_window::ShowWindow>();
    registry.register::<sinks::write_csv::WriteCsv>();
    registry.register::<sinks::write_images::WriteImages>();
    registry.register::<sinks::write_jsonl::WriteJsonl>();
    registry.register::<sinks::write_snapshots::WriteSnapshots>();
    registry.register::<sinks::write_video::WriteVideo>();
    registry.register_source::<sources::image_source::ImageSource>();
    registry.register_source::<sources::synthetic_faces::SyntheticFaces>();
    registry.register_source::<sources::video_source::VideoSource>();
    registry.register::<temporal::smooth_labels::SmoothLabels>();
    registry.register::<temporal::track_faces::TrackFaces>();
    registry.register_rule(agreement::disagreements);
}
