//! WMV and other ASF files.

use std::io::{self, Read, Seek};

use super::ending::{Ending, read_up_to};

/// Compares the file with the size in its own header (Microsoft's Advanced Systems Format, 3.2), unless it was streamed
/// while being written.
pub(super) fn ending_of_asf(file: &mut (impl Read + Seek), length: u64) -> io::Result<Ending> {
    const FILE_PROPERTIES: [u8; 16] = [
        0xA1, 0xDC, 0xAB, 0x8C, 0x47, 0xA9, 0xCF, 0x11, 0x8E, 0xE4, 0x00, 0xC0, 0x0C, 0x20, 0x53,
        0x65,
    ];
    /// Size of the header object's identifier, size, number of objects and two more bytes.
    const FIRST: u64 = 30;
    const IS_SENT: u8 = 1;
    let mut at = FIRST;
    while at < length {
        let mut object = [0; 92];
        let read = read_up_to(file, at, &mut object)?;
        let number = |from: usize| {
            let bytes = object[from..from + 8].iter().rev();
            bytes.fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
        };
        if read == object.len() && object[..16] == FILE_PROPERTIES {
            let missing = number(40).saturating_sub(length);
            return Ok(if object[88] & IS_SENT == 0 && missing > 0 {
                Ending::Cut(missing)
            } else {
                Ending::Whole
            });
        }
        if read < 24 || number(16) < 24 {
            break;
        }
        at = at.saturating_add(number(16));
    }
    Ok(Ending::Whole)
}
