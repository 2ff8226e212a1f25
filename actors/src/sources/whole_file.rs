//! Checks whether a recording has all the bytes that its outermost structure states. libav ends a cut Matroska, MP4,
//! AVI or WMV file as if it were complete; this tells the two apart. Only names and sizes are read.

mod asf;
mod avi;
mod ending;
mod matroska;
mod mp4;
mod ogg;
#[cfg(test)]
mod tests;
mod transport;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use asf::ending_of_asf;
use avi::ending_of_avi;
use ending::read_up_to;
use matroska::ending_of_matroska;
use mp4::ending_of_mp4;
use ogg::ending_of_ogg;
use transport::ending_of_transport;

pub(crate) use ending::Ending;

/// Boxes that may begin an MP4 or QuickTime file.
const FIRST_BOXES: [&[u8; 4]; 7] = [
    b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot",
];

/// Determines how an MP4, MOV, Matroska, WebM, AVI, WMV or Ogg file or a transport stream ends.
///
/// # Errors
/// If the file cannot be read.
pub(crate) fn ending_of(path: &Path) -> io::Result<Ending> {
    // Opening a pipe whose writer has gone would block until there is another one.
    let metadata = path.metadata()?;
    if !metadata.is_file() {
        return Ok(Ending::Whole);
    }
    let mut file = File::open(path)?;
    ending_in(&mut file, metadata.len())
}

fn ending_in(file: &mut (impl Read + Seek), length: u64) -> io::Result<Ending> {
    let mut start = [0; 8];
    if read_up_to(file, 0, &mut start)? < start.len() {
        return Ok(Ending::Whole);
    }
    match start {
        [0x1A, 0x45, 0xDF, 0xA3, ..] => ending_of_matroska(file, length),
        [b'R', b'I', b'F', b'F', ..] => ending_of_avi(file, length),
        [b'O', b'g', b'g', b'S', ..] => ending_of_ogg(file, length),
        [0x30, 0x26, 0xB2, 0x75, 0x8E, 0x66, 0xCF, 0x11] => ending_of_asf(file, length),
        // Early QuickTime files have no file type box.
        [_, _, _, _, name @ ..] if FIRST_BOXES.contains(&&name) => ending_of_mp4(file, length),
        _ => ending_of_transport(file, length),
    }
}
