//! Detection of duplicate pictures, including scaled, recompressed, brighter, mirrored, slightly cropped or rotated,
//! framed and watermarked ones. `fingerprint` summarises a picture and decides whether two are the same; `search` finds
//! duplicates among many, `alignment` aligns one picture with another.
//!
//! Two pictures whose hashes differ in at most `SURE` bits are the same. Between that and `MOST`, where hashes of
//! different faces also occur, they are the same if they agree after alignment. `cargo test -p fermata-learn --test
//! main picture_hashes -- --nocapture` measures what is found and what is missed.

mod alignment;
mod fingerprint;
mod search;

pub use self::fingerprint::{Fingerprint, PictureHasher};
pub use self::search::{Searching, same_pictures};
