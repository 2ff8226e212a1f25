//! Whether a recording has all the bytes that its outermost structure states. libav ends a cut Matroska or MP4 file
//! as if that were its end; this tells the two apart. Looks at nothing but sizes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes that are missing at the end of an MP4, MOV, Matroska or WebM file. `None` if nothing is missing, or if the
/// file cannot tell (other formats, recordings of unknown size).
///
/// # Errors
/// Those of reading the file.
pub(crate) fn missing_bytes(path: &Path) -> io::Result<Option<u64>> {
    // Opening a pipe whose writer has gone would wait for another one.
    let metadata = path.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut file = File::open(path)?;
    missing_of(&mut file, metadata.len())
}

fn missing_of(file: &mut (impl Read + Seek), length: u64) -> io::Result<Option<u64>> {
    let mut start = [0; 8];
    if read_up_to(file, 0, &mut start)? < start.len() {
        return Ok(None);
    }
    let end = match start {
        [0x1A, 0x45, 0xDF, 0xA3, ..] => end_of_matroska(file)?,
        [.., b'f', b't', b'y', b'p'] => end_of_mp4(file, length)?,
        _ => None,
    };
    Ok(end
        .and_then(|end| end.checked_sub(length))
        .filter(|&missing| missing > 0))
}

/// Where the last top-level box ends (ISO/IEC 14496-12, 4.2). What follows and is no box is not ours to judge.
fn end_of_mp4(file: &mut (impl Read + Seek), length: u64) -> io::Result<Option<u64>> {
    let mut at = 0_u64;
    while at < length {
        let mut header = [0; 16];
        let read = read_up_to(file, at, &mut header)?;
        let (short, rest) = header.split_at(4);
        let is_box = read >= 8
            && rest[..4]
                .iter()
                .all(|byte| byte.is_ascii_graphic() || *byte == b' ');
        let size = match big_endian(short) {
            // To the end of the file, whatever that is.
            0 => return Ok(None),
            1 if read < 16 => return Ok(None),
            1 => big_endian(&rest[4..]),
            size => size,
        };
        if !is_box || size < 8 {
            return Ok(None);
        }
        at = at.saturating_add(size);
    }
    Ok(Some(at))
}

/// Where the segment ends (RFC 8794 for the element headers, RFC 9559 for the elements).
fn end_of_matroska(file: &mut (impl Read + Seek)) -> io::Result<Option<u64>> {
    const SEGMENT: [u8; 4] = [0x18, 0x53, 0x80, 0x67];
    let mut at = 0_u64;
    loop {
        let mut header = [0; 12];
        let read = read_up_to(file, at, &mut header)?;
        let Some((size, width)) = element_size(&header[4..read.max(4)]) else {
            return Ok(None);
        };
        let end = at.saturating_add(4 + width + size);
        if header[..4] == SEGMENT {
            return Ok(Some(end));
        }
        at = end;
    }
}

/// The size in an element's header and how many bytes it takes there; `None` if it is unknown or cut off.
fn element_size(bytes: &[u8]) -> Option<(u64, u64)> {
    let width = bytes.first()?.leading_zeros() as usize + 1;
    let bytes = bytes.get(..width)?;
    let mask = (1_u64 << (7 * width)) - 1;
    let size = big_endian(bytes) & mask;
    (size != mask).then_some((size, width as u64))
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn read_up_to(file: &mut (impl Read + Seek), at: u64, buffer: &mut [u8]) -> io::Result<usize> {
    file.seek(SeekFrom::Start(at))?;
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn missing(bytes: &[u8]) -> Option<u64> {
        missing_of(&mut Cursor::new(bytes), bytes.len() as u64).expect("reading from memory")
    }

    fn mp4() -> Vec<u8> {
        let mut bytes = b"\0\0\0\x10ftypisom\0\0\0\0".to_vec();
        bytes.extend(b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x20");
        bytes.extend([7; 16]);
        bytes.extend(b"\0\0\0\x0cmoov1234");
        bytes
    }

    fn matroska(size_of_segment: &[u8]) -> Vec<u8> {
        let header = [0x1A, 0x45, 0xDF, 0xA3, 0x82, 1, 2, 0x18, 0x53, 0x80, 0x67];
        [&header, size_of_segment, &[9; 20]].concat()
    }

    #[test]
    fn a_cut_anywhere_in_an_mp4_box_is_missed() {
        let whole = mp4();
        assert_eq!(missing(&whole), None);
        assert_eq!(missing(&whole[..whole.len() - 3]), Some(3));
        assert_eq!(missing(&whole[..40]), Some(8));
    }

    #[test]
    fn what_stands_behind_the_boxes_of_an_mp4_is_ignored() {
        assert_eq!(
            missing(&[mp4(), b"\0\0\0\0\x01\x02\x03\x04".to_vec()].concat()),
            None
        );
        assert_eq!(missing(&[mp4(), vec![0xFF; 5]].concat()), None);
    }

    #[test]
    fn a_matroska_segment_of_known_size_tells_what_is_missing() {
        assert_eq!(missing(&matroska(&[0x80 | 20])), None);
        assert_eq!(missing(&matroska(&[0x80 | 25])), Some(5));
        assert_eq!(missing(&matroska(&[0x40, 25])), Some(5));
        assert_eq!(missing(&matroska(&[0x01, 0, 0, 0, 0, 0, 0, 25])), Some(5));
    }

    #[test]
    fn a_matroska_segment_of_unknown_size_and_other_files_tell_nothing() {
        assert_eq!(missing(&matroska(&[0xFF])), None);
        assert_eq!(
            missing(&matroska(&[0x01, 255, 255, 255, 255, 255, 255, 255])),
            None
        );
        assert_eq!(missing(b"RIFF....AVI LIST"), None);
        assert_eq!(missing(b""), None);
    }
}
