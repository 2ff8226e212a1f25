//! MP4 and QuickTime files.

use std::io::{self, Read, Seek};

use super::ending::{Ending, big_endian, read_up_to};

/// Walks the top-level boxes (ISO/IEC 14496-12, 4.2). Anything after them that is not a box is ignored.
pub(super) fn ending_of_mp4(file: &mut (impl Read + Seek), length: u64) -> io::Result<Ending> {
    /// Boxes without which some frames cannot be read.
    const NEEDED: [&[u8]; 3] = [b"mdat", b"moov", b"moof"];
    let mut has_index = false;
    let mut at = 0_u64;
    while at < length {
        let mut header = [0; 16];
        let read = read_up_to(file, at, &mut header)?;
        let (short, rest) = header.split_at(4);
        let name = &rest[..4];
        let is_name = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        let is_box = read >= 8 && name.iter().all(is_name);
        let size = match big_endian(short) {
            // The box extends to the end of the file, wherever that is.
            0 => return Ok(Ending::Whole),
            1 if read < 16 => return Ok(Ending::Whole),
            1 => big_endian(&rest[4..]),
            size => size,
        };
        if !is_box || size < 8 {
            return Ok(Ending::Whole);
        }
        let end = at.saturating_add(size);
        if end > length {
            let missing = end - length;
            if NEEDED.contains(&name) {
                return Ok(Ending::Cut(missing));
            }
            let name = String::from_utf8_lossy(name);
            return Ok(Ending::Trailer(format!(
                "{missing} bytes of `{name}` are missing, or something other than a box is"
            )));
        }
        if name == b"moov" && std::mem::replace(&mut has_index, true) {
            let reason = "another recording, which is not read, is";
            return Ok(Ending::Trailer(reason.to_owned()));
        }
        at = end;
    }
    Ok(Ending::Whole)
}
