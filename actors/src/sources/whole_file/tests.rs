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
        // It may begin anywhere, and continue at another offset after damage.
        assert_eq!(ending(&whole[50..]), Ending::Whole, "{size}");
        let odd = [&whole[..15 * size + 9], &whole].concat();
        assert_eq!(ending(&odd), Ending::Whole, "{size}");
    }
    assert_eq!(ending(&[0x47; 100]), Ending::Whole, "too short to tell");
}

#[test]
fn an_ogg_file_ends_with_a_page_that_says_so() {
    let page = |flags: u8, bytes: u8| {
        let head = [&b"OggS\0"[..], &[flags], &[0; 20], &[2, 255, bytes]].concat();
        [head, vec![7; 255 + usize::from(bytes)]].concat()
    };
    let whole = [page(2, 9), page(0, 30), page(4, 50)].concat();
    assert_eq!(ending(&whole), Ending::Whole);
    let open = whole.len() - page(4, 50).len();
    assert_eq!(ending(&whole[..open]), Ending::Open);
    for torn in [10, 28, 29, 200] {
        let cut = &whole[..open + torn];
        assert_eq!(ending(cut), Ending::Torn(torn as u64), "{torn}");
    }
}

#[test]
fn a_wmv_file_says_how_long_it_is() {
    let object = |name: [u8; 16], data: &[u8]| {
        let size = 24 + data.len() as u64;
        [&name[..], &size.to_le_bytes(), data].concat()
    };
    let file = |flags: u8| {
        let properties = [
            0xA1, 0xDC, 0xAB, 0x8C, 0x47, 0xA9, 0xCF, 0x11, 0x8E, 0xE4, 0x00, 0xC0, 0x0C, 0x20,
            0x53, 0x65,
        ];
        let mut values = [0; 80];
        values[16..24].copy_from_slice(&300_u64.to_le_bytes());
        values[64] = flags;
        let mut bytes = vec![0x30, 0x26, 0xB2, 0x75, 0x8E, 0x66, 0xCF, 0x11];
        bytes.resize(30, 0);
        bytes.extend(object([1; 16], &[5; 11]));
        bytes.extend(object(properties, &values));
        bytes.resize(300, 9);
        bytes
    };
    assert_eq!(missing(&file(0)), None);
    assert_eq!(missing(&file(0)[..260]), Some(40));
    assert_eq!(missing(&file(1)[..260]), None, "written while it was sent");
    assert_eq!(missing(&file(0)[..60]), None, "without its properties");
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
    let chunk = |name: &[u8], size: u32, data: &[u8]| [name, &size.to_le_bytes(), data].concat();
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
fn a_recording_behind_another_is_told() {
    let told = "another recording, which is not read, is".to_owned();
    assert_eq!(ending(&[mp4(), mp4()].concat()), Ending::Trailer(told));
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
