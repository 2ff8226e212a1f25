//! Whether a recording has all the bytes that its outermost structure states. libav ends a cut Matroska, MP4 or AVI file
//! as if that were its end; this tells the two apart. Looks at nothing but names and sizes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// How a recording ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nothing is missing, or the file cannot tell (other formats, recordings of unknown size).
    Whole,
    /// All pictures are there; behind them stands something that is cut, or is no part of the format.
    Trailer(String),
    /// So many bytes are missing of what holds pictures or says where they are.
    Cut(u64),
    /// It ends within a packet of a transport stream, which may end behind any: so many bytes of that one are there.
    Torn(u64),
}

/// Looks how an MP4, MOV, Matroska, WebM or AVI file or a transport stream ends.
///
/// # Errors
/// Those of reading the file.
pub(crate) fn ending_of(path: &Path) -> io::Result<Ending> {
    // Opening a pipe whose writer has gone would wait for another one.
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
        // QuickTime was written without a type of file before there was one.
        [_, _, _, _, name @ ..] if FIRST_BOXES.contains(&&name) => ending_of_mp4(file, length),
        _ => ending_of_transport(file, length),
    }
}

/// Finds the last packets of a transport stream (ISO/IEC 13818-1, 2.4.3.2: of 188 bytes, the first of which is always the same; with a time
/// before or a checksum behind each they are longer). Tells nothing of a file that is none.
fn ending_of_transport(file: &mut (impl Read + Seek), length: u64) -> io::Result<Ending> {
    const FIRST: u8 = 0x47;
    /// Of a packet, and where in it the first byte is that all have.
    const SIZES: [(usize, usize); 3] = [(188, 0), (192, 4), (204, 0)];
    /// Packets that must follow each other; fewer are chance.
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

/// Boxes with which an MP4 or QuickTime file begins.
const FIRST_BOXES: [&[u8; 4]; 7] = [
    b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot",
];

/// Walks the chunks (Microsoft's RIFF, with OpenDML's further ones): whether those with pictures are whole.
fn ending_of_avi(file: &mut (impl Read + Seek), length: u64) -> io::Result<Ending> {
    /// Name, size and, for lists, what it is a list of.
    const HEADER: u64 = 12;
    let mut at = 0_u64;
    while at < length {
        let mut header = [0; HEADER as usize];
        if read_up_to(file, at, &mut header)? < header.len() {
            break;
        }
        let size = header[4..8]
            .iter()
            .rev()
            .fold(0, |size, &byte| size << 8 | u64::from(byte));
        let (name, kind) = (&header[..4], &header[8..]);
        // What a writer that broke off has left tells nothing.
        if size == 0 || size == u64::from(u32::MAX) {
            break;
        }
        let end = at + 8 + size + size % 2;
        at = match (name, kind) {
            (b"RIFF", b"AVI " | b"AVIX") => at + HEADER,
            (b"RIFF", _) => break,
            (b"LIST", b"movi") if end > length => return Ok(Ending::Cut(end - length)),
            (b"LIST" | b"JUNK" | b"idx1", _) if end > length => {
                let (name, missing) = (String::from_utf8_lossy(name), end - length);
                return Ok(Ending::Trailer(format!(
                    "{missing} bytes of `{name}` are missing"
                )));
            }
            _ => end,
        };
    }
    Ok(Ending::Whole)
}

/// Walks the top-level boxes (ISO/IEC 14496-12, 4.2). What follows and is no box is not ours to judge.
fn ending_of_mp4(file: &mut (impl Read + Seek), length: u64) -> io::Result<Ending> {
    /// Without these whole there are frames that cannot be read.
    const NEEDED: [&[u8]; 3] = [b"mdat", b"moov", b"moof"];
    let mut at = 0_u64;
    while at < length {
        let mut header = [0; 16];
        let read = read_up_to(file, at, &mut header)?;
        let (short, rest) = header.split_at(4);
        let name = &rest[..4];
        let is_name = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        let is_box = read >= 8 && name.iter().all(is_name);
        let size = match big_endian(short) {
            // To the end of the file, whatever that is.
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
                "{missing} bytes of `{name}` are missing, or something else than a box stands"
            )));
        }
        at = end;
    }
    Ok(Ending::Whole)
}

/// Finds the segment and what in it is cut (RFC 8794 for the element headers, RFC 9559 for the elements).
fn ending_of_matroska(file: &mut (impl Read + Seek), length: u64) -> io::Result<Ending> {
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

/// An element of a Matroska file: its name, and where its data begins and ends.
struct Element {
    id: u32,
    data: u64,
    end: u64,
}

impl Element {
    /// `None` for one of unknown size, and where there is none.
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

    fn ending(bytes: &[u8]) -> Ending {
        ending_in(&mut Cursor::new(bytes), bytes.len() as u64).expect("reading from memory")
    }

    fn missing(bytes: &[u8]) -> Option<u64> {
        match ending(bytes) {
            Ending::Whole => None,
            Ending::Cut(missing) => Some(missing),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_transport_stream_ends_behind_a_packet_or_within_one() {
        for (size, place) in [(188, 0), (192, 4), (204, 0)] {
            let packet = |number: usize| {
                let mut bytes = vec![number as u8; size];
                bytes[place] = 0x47;
                bytes
            };
            let whole: Vec<u8> = (0..40).flat_map(packet).collect();
            assert_eq!(ending(&whole), Ending::Whole, "{size}");
            assert_eq!(ending(&whole[..30 * size]), Ending::Whole, "{size}");
            for torn in [1, 97, size - 1] {
                let cut = &whole[..20 * size + torn];
                assert_eq!(ending(cut), Ending::Torn(torn as u64), "{size}");
            }
            // It may begin anywhere, and go on at another place behind damage.
            assert_eq!(ending(&whole[50..]), Ending::Whole, "{size}");
            let odd = [&whole[..15 * size + 9], &whole].concat();
            assert_eq!(ending(&odd), Ending::Whole, "{size}");
        }
        assert_eq!(ending(&[0x47; 100]), Ending::Whole, "too short to tell");
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
    fn a_quicktime_film_without_a_type_is_walked_too() {
        let film = [&b"\0\0\0\x0cmoov1234\0\0\0\x20mdat"[..], &[7; 24]].concat();
        assert_eq!(missing(&film), None);
        assert_eq!(missing(&film[..film.len() - 5]), Some(5));
    }

    #[test]
    fn an_avi_lacks_pictures_or_its_index_or_tells_nothing() {
        let chunk =
            |name: &[u8], size: u32, data: &[u8]| [name, &size.to_le_bytes(), data].concat();
        let file = |size: u32| {
            let pictures = chunk(b"LIST", size, b"movi00dc\x04\0\0\0abcd");
            let parts = [
                chunk(b"LIST", 4, b"hdrl"),
                pictures,
                chunk(b"idx1", 8, &[1; 8]),
            ];
            chunk(b"RIFF", 60, &[b"AVI ".to_vec(), parts.concat()].concat())
        };
        let whole = file(16);
        assert_eq!(missing(&whole), None);
        assert_eq!(missing(&[&whole[..], b"anything"].concat()), None);
        let index = ending(&whole[..whole.len() - 4]);
        assert_eq!(
            index,
            Ending::Trailer("4 bytes of `idx1` are missing".to_owned())
        );
        assert_eq!(missing(&whole[..whole.len() - 18]), Some(2));
        assert_eq!(missing(&file(0)), None);
        assert_eq!(missing(&file(u32::MAX)), None);
        let next = chunk(b"RIFF", 40, &chunk(b"LIST", 28, b"AVIXmovi"));
        assert_eq!(missing(&[&whole[..], &next].concat()), None, "no AVIX");
        let next = chunk(
            b"RIFF",
            40,
            &[b"AVIX", &chunk(b"LIST", 28, b"movi12")[..]].concat(),
        );
        assert_eq!(missing(&[&whole[..], &next].concat()), Some(22));
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
    fn a_box_without_pictures_that_is_cut_and_a_text_behind_the_boxes_are_trailers() {
        for trailer in [&b"\0\0\x10\0gps 1234"[..], b"a text behind the last box"] {
            let ending = ending(&[&mp4(), trailer].concat());
            assert!(matches!(ending, Ending::Trailer(_)), "{ending:?}");
        }
        let media = [mp4(), b"\0\0\x10\0mdat1234".to_vec()].concat();
        assert_eq!(ending(&media), Ending::Cut(4084));
    }

    #[test]
    fn a_matroska_element_without_pictures_that_is_cut_is_a_trailer() {
        let file = |last: &[u8]| {
            // A cluster of 4 bytes, and an element that lacks 10 of its 20.
            let segment = [
                &[0x80 | (9 + 4 + 1 + 20)][..],
                &[0x1F, 0x43, 0xB6, 0x75, 0x84, 1, 2, 3, 4],
                last,
                &[0x94],
                &[7; 10],
            ];
            let header = [0x1A, 0x45, 0xDF, 0xA3, 0x82, 1, 2, 0x18, 0x53, 0x80, 0x67];
            [&header[..], &segment.concat()].concat()
        };
        let cut = ending(&file(&[0x12, 0x54, 0xC3, 0x67]));
        assert_eq!(
            cut,
            Ending::Trailer("10 bytes of the tags are missing".to_owned())
        );
        assert_eq!(ending(&file(&[0x1F, 0x43, 0xB6, 0x75])), Ending::Cut(10));
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
