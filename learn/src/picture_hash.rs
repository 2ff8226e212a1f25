//! Which pictures are the same picture: scaled, compressed again, brighter, mirrored, cropped or turned a little,
//! framed, with a watermark. `fingerprint` is what is kept of a picture, and says when two are taken for one; `search`
//! finds them among many, `alignment` lays one over the other.
//!
//! Two pictures with hashes of at most `SURE` differences are one. Between that and `MOST`, where the hashes of
//! different faces begin too, they are one if they agree when they are laid over each other. `cargo test -p
//! fermata-learn --test main picture_hashes -- --nocapture` measures what is found and what is not.

mod alignment;
mod fingerprint;
mod search;

pub use self::fingerprint::{Fingerprint, PictureHasher};
pub use self::search::{Searching, same_pictures};
