//! Validates a picture's colour properties. Decoders pass on numbers as streams contain them, including undefined ones
//! (MPEG-2 has a byte for each); reading an undefined number as a Rust enum is undefined behaviour.

#![allow(unsafe_code)]

use ffmpeg_next::{ffi, frame};

/// Returns whether a number of [`ffi::AVColorPrimaries`] is defined: 13 to 21 are not.
fn is_primaries(number: u32) -> bool {
    number < 13 || number == ffi::AVColorPrimaries::AVCOL_PRI_EBU3213 as u32
}

/// Replaces undefined numbers by those for unknown colours. Must be called before they are read as enums.
pub(crate) fn forget_unknown_colours(picture: &mut frame::Video) {
    let space = |number| number < ffi::AVColorSpace::AVCOL_SPC_NB as u32;
    let range = |number| number < ffi::AVColorRange::AVCOL_RANGE_NB as u32;
    let transfer = |number| number < ffi::AVColorTransferCharacteristic::AVCOL_TRC_NB as u32;
    let location = |number| number < ffi::AVChromaLocation::AVCHROMA_LOC_NB as u32;
    // SAFETY: the picture is alive and exclusively borrowed; only addresses of its fields are taken here, nothing is
    // read.
    unsafe {
        let raw = picture.as_mut_ptr();
        let unknown = ffi::AVColorSpace::AVCOL_SPC_UNSPECIFIED;
        forget(&raw mut (*raw).colorspace, unknown, space);
        let unknown = ffi::AVColorRange::AVCOL_RANGE_UNSPECIFIED;
        forget(&raw mut (*raw).color_range, unknown, range);
        let unknown = ffi::AVColorPrimaries::AVCOL_PRI_UNSPECIFIED;
        forget(&raw mut (*raw).color_primaries, unknown, is_primaries);
        let unknown = ffi::AVColorTransferCharacteristic::AVCOL_TRC_UNSPECIFIED;
        forget(&raw mut (*raw).color_trc, unknown, transfer);
        let unknown = ffi::AVChromaLocation::AVCHROMA_LOC_UNSPECIFIED;
        forget(&raw mut (*raw).chroma_location, unknown, location);
    }
}

/// Writes `unknown` into a field whose number is undefined.
///
/// # Safety
/// The field must be alive and have the type of a C enum, which is a 32-bit number.
unsafe fn forget<T>(field: *mut T, unknown: T, is_known: impl Fn(u32) -> bool) {
    const { assert!(size_of::<T>() == 4) };
    // SAFETY: guaranteed by the caller; any bits are valid as a number.
    unsafe {
        if !is_known(field.cast::<u32>().read()) {
            field.write(unknown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ffmpeg_next::format::Pixel;
    use ffmpeg_next::util::color;

    #[test]
    fn numbers_that_stand_for_nothing_become_unknown_colours() {
        let mut picture = frame::Video::new(Pixel::RGB24, 2, 2);
        for number in [
            0,
            1,
            2,
            3,
            12,
            13,
            14,
            15,
            18,
            19,
            22,
            23,
            200,
            255,
            u32::MAX,
        ] {
            // SAFETY: the fields are 32-bit numbers in C.
            unsafe {
                let raw = picture.as_mut_ptr();
                (&raw mut (*raw).colorspace).cast::<u32>().write(number);
                (&raw mut (*raw).color_range).cast::<u32>().write(number);
                (&raw mut (*raw).color_primaries)
                    .cast::<u32>()
                    .write(number);
                (&raw mut (*raw).color_trc).cast::<u32>().write(number);
                (&raw mut (*raw).chroma_location)
                    .cast::<u32>()
                    .write(number);
            }
            forget_unknown_colours(&mut picture);
            let names = (
                picture.color_space() == color::Space::Unspecified,
                picture.color_range() == color::Range::Unspecified,
                picture.color_primaries() == color::Primaries::Unspecified,
                picture.color_transfer_characteristic()
                    == color::TransferCharacteristic::Unspecified,
            );
            let unknown = (
                number == 2 || number > 14,
                number == 0 || number > 2,
                number == 2 || !is_primaries(number),
                number == 2 || number > 18,
            );
            assert_eq!(names, unknown, "{number}");
        }
    }
}
