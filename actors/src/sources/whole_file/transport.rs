//! Transport streams.

use std::io::{self, Read, Seek};

use super::ending::{Ending, read_up_to};

/// Finds the last packets of a transport stream (ISO/IEC 13818-1, 2.4.3.2): packets have 188 bytes and begin with a
/// constant byte; with a time before or a checksum after each, they are longer. A file of another kind counts as whole.
pub(super) fn ending_of_transport(
    file: &mut (impl Read + Seek),
    length: u64,
) -> io::Result<Ending> {
    const FIRST: u8 = 0x47;
    /// Size of a packet, and the offset of its constant byte.
    const SIZES: [(usize, usize); 3] = [(188, 0), (192, 4), (204, 0)];
    /// Number of packets that must follow each other; fewer may be a coincidence.
    const IN_A_ROW: usize = 8;
    let mut ends = [vec![0; 204 * (IN_A_ROW + 1)], vec![0; 204 * (IN_A_ROW + 1)]];
    let from = length.saturating_sub(ends[1].len() as u64);
    for (end, at) in ends.iter_mut().zip([0, from]) {
        let read = read_up_to(file, at, end)?;
        end.truncate(read);
    }
    let is_in_row = |bytes: &[u8], at: usize, size: usize| {
        (0..IN_A_ROW).all(|packet| bytes.get(at + packet * size) == Some(&FIRST))
    };
    let [head, tail] = ends;
    for (size, place) in SIZES {
        if !(0..size).any(|at| is_in_row(&head, at, size)) {
            continue;
        }
        let torn = (0..size).find(|torn| {
            let packets = torn + IN_A_ROW * size;
            let start = tail.len().checked_sub(packets);
            start.is_some_and(|start| is_in_row(&tail, start + place, size))
        });
        if let Some(torn @ 1..) = torn {
            return Ok(Ending::Torn(torn as u64));
        }
    }
    Ok(Ending::Whole)
}
