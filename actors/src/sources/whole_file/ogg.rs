//! Ogg files.

use std::io::{self, Read, Seek};

use super::ending::{Ending, read_up_to};

/// Checks the last page (RFC 3533, 6): a flag marks the last page of a stream, and a table gives its size.
pub(super) fn ending_of_ogg(file: &mut (impl Read + Seek), length: u64) -> io::Result<Ending> {
    /// Size of a page's header without its table, and of the largest page.
    const HEADER: usize = 27;
    const MOST: u64 = 27 + 255 + 255 * 255;
    const LAST_OF_STREAM: u8 = 4;
    let mut tail = vec![0; MOST.min(length) as usize];
    let read = read_up_to(file, length.saturating_sub(MOST), &mut tail)?;
    tail.truncate(read);
    let Some(at) = tail.windows(4).rposition(|name| name == b"OggS") else {
        return Ok(Ending::Whole);
    };
    let page = &tail[at..];
    let table = page.get(HEADER - 1).map(|entries| usize::from(*entries));
    let table = table.and_then(|entries| page.get(HEADER..HEADER + entries));
    let end = table.map(|table| {
        let bytes: usize = table.iter().map(|bytes| usize::from(*bytes)).sum();
        HEADER + table.len() + bytes
    });
    Ok(match end {
        Some(end) if end > page.len() => Ending::Torn(page.len() as u64),
        None => Ending::Torn(page.len() as u64),
        Some(_) if page[5] & LAST_OF_STREAM == 0 => Ending::Open,
        Some(_) => Ending::Whole,
    })
}
