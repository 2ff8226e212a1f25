//! Matroska and WebM files.

use std::io::{self, Read, Seek};

use super::ending::{Ending, big_endian, read_up_to};

/// Finds the segment, and which part of it is cut (RFC 8794 for element headers, RFC 9559 for the elements).
pub(super) fn ending_of_matroska(file: &mut (impl Read + Seek), length: u64) -> io::Result<Ending> {
    const SEGMENT: u32 = 0x1853_8067;
    let mut at = 0_u64;
    let end = loop {
        let Some(element) = Element::read(file, at)? else {
            return Ok(Ending::Whole);
        };
        if element.id == SEGMENT {
            at = element.data;
            break element.end;
        }
        at = element.end;
    };
    if end <= length {
        return Ok(Ending::Whole);
    }
    while let Some(element) = Element::read(file, at)? {
        if element.end > length {
            let name = match element.id {
                0x1C53_BB6B => "the index",
                0x1254_C367 => "the tags",
                0x1941_A469 => "the attachments",
                0x1043_A770 => "the chapters",
                0xEC => "padding",
                _ => break,
            };
            let missing = element.end - length;
            return Ok(Ending::Trailer(format!(
                "{missing} bytes of {name} are missing"
            )));
        }
        at = element.end;
    }
    Ok(Ending::Cut(end - length))
}

/// An element of a Matroska file: its ID, and where its data begins and ends.
struct Element {
    id: u32,
    data: u64,
    end: u64,
}

impl Element {
    /// Reads the header at `at`; returns `None` for an element of unknown size, or if there is no element.
    fn read(file: &mut (impl Read + Seek), at: u64) -> io::Result<Option<Self>> {
        let mut header = [0; 12];
        let read = read_up_to(file, at, &mut header)?;
        let width = header[0].leading_zeros() as usize + 1;
        if width > 4 || read <= width {
            return Ok(None);
        }
        let id = big_endian(&header[..width]) as u32;
        Ok(element_size(&header[width..read]).map(|(size, bytes)| {
            let data = at.saturating_add(width as u64 + bytes);
            let end = data.saturating_add(size);
            Self { id, data, end }
        }))
    }
}

/// Returns the size in an element's header and how many bytes it occupies there; `None` if it is unknown or cut off.
fn element_size(bytes: &[u8]) -> Option<(u64, u64)> {
    let width = bytes.first()?.leading_zeros() as usize + 1;
    let bytes = bytes.get(..width)?;
    let mask = (1_u64 << (7 * width)) - 1;
    let size = big_endian(bytes) & mask;
    (size != mask).then_some((size, width as u64))
}
