//! What the video actors share of ffmpeg's libraries: initialisation, and wrappers where the crate does not suffice.
//! Decoding and encoding are the actors' own.

mod colours;
mod complaints;
mod converter;
mod copied;
mod devices;
pub(crate) mod errors;
mod facts;
mod fetching;
mod fragments;
mod messages;
mod opening;
mod picture_numbers;
mod waiting;

use std::sync::Once;

use ffmpeg_next::{Error, frame};

pub(crate) use colours::forget_unknown_colours;
pub(crate) use complaints::complaints;
pub(crate) use converter::{Converter, Target};
pub(crate) use copied::{parameters_without_tag, stated_size};
pub(crate) use devices::v4l2;
pub(crate) use facts::{
    has_time_stamps, is_hidden, is_of_unknown_length, is_read_to_its_end, sample_aspect_ratio,
    states_its_length, time_stamp_bits,
};
pub(crate) use fetching::{MOST_FETCHED, is_web_page};
pub(crate) use fragments::{append, end_fragment, position, replace};
pub(crate) use opening::{Nature, open_input};
pub(crate) use picture_numbers::{PictureNumber, PictureNumbers};
pub(crate) use waiting::Waiting;

/// Largest single allocation that libav may make, in bytes: enough for the planes of a picture of a hundred million
/// pixels.
const MOST_BYTES: usize = 1 << 30;

/// Registers error texts, routes libav's messages to the log, and counts errors among them. Must be called before
/// anything else of libav.
pub(crate) fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        copied::limit_allocations(MOST_BYTES);
        messages::hear();
        if let Err(error) = ffmpeg_next::init() {
            tracing::error!(%error, "libav did not start");
        }
    });
}

/// Returns whether a decoder or encoder needs more input before it can return anything.
pub(crate) fn wants_input(error: Error) -> bool {
    let again = rustix::io::Errno::AGAIN.raw_os_error();
    matches!(error, Error::Other { errno } if errno == again)
}

/// Returns the rows of a packed picture, `row_bytes` each, without the padding that libav adds after them.
pub(crate) fn rows(picture: &frame::Video, row_bytes: usize) -> impl Iterator<Item = &[u8]> {
    let rows = picture.data(0).chunks(picture.stride(0).max(1));
    rows.filter_map(move |row| row.get(..row_bytes))
}
