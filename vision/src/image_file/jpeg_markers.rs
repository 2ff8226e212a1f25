//! What the markers of a JPEG file say (ITU-T T.81, annex B), without decoding it: how it ends, and whether it can be
//! decoded as it stands.

const END_OF_IMAGE: u8 = 0xD9;
/// The segment in which the orientation stands.
const TAGS: u8 = 0xE1;
const START_OF_SCAN: u8 = 0xDA;

/// Number of trailing zero bytes that indicate space allocated for a file but never filled.
const NEVER_FILLED: usize = 16;

/// How a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With its end-of-image marker, or it is not a JPEG. Data after the marker, where phones put a film, is not part
    /// of the picture.
    Marked,
    /// In the last scan that a picture needs; only a decoder can tell whether that is complete.
    Open,
    /// Before the last scan.
    Cut,
}

/// What the markers of a file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Markers {
    pub(super) end: End,
    /// Width and height of a whole colour picture that no tag can rotate.
    pub(super) plain: Option<(u32, u32)>,
}

impl Markers {
    /// Scans the markers of a file, which need not be a JPEG.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut seen = Seen::default();
        let end = if bytes.starts_with(&[0xFF, 0xD8, 0xFF]) {
            seen.scan(bytes)
        } else {
            End::Marked
        };
        let is_plain = end == End::Marked && seen.frames == 1 && !seen.has_tags;
        let colours = seen.scans.0.len() == 3;
        Self {
            end,
            plain: (is_plain && colours).then_some(seen.size),
        }
    }
}

/// What has been seen of a file.
#[derive(Debug, Default)]
struct Seen {
    scans: Scans,
    frames: usize,
    /// Of the last frame header.
    size: (u32, u32),
    /// Whether there is a segment in which tags stand, such as the orientation.
    has_tags: bool,
}

impl Seen {
    /// Segments state their length; inside a scan, 0xFF is never followed by a marker's code, but by 0 or the number of
    /// a restart.
    fn scan(&mut self, bytes: &[u8]) -> End {
        let mut at = 2;
        loop {
            // Markers may be padded by repeating their first byte; bytes that are not a marker are skipped, as decoders do.
            let rest = bytes.get(at..).unwrap_or_default();
            let is_marker = |&first: &usize| {
                let name = rest.get(first + 1);
                name.is_some_and(|name| !matches!(name, 0 | 0x01 | 0xD0..=0xD7 | 0xFF))
            };
            let Some(marker) = memchr::memchr_iter(0xFF, rest).find(is_marker) else {
                let is_filled = !bytes.ends_with(&[0; NEVER_FILLED]);
                return if self.scans.are_enough() && at <= bytes.len() && is_filled {
                    End::Open
                } else {
                    End::Cut
                };
            };
            at += marker + 2;
            let name = bytes[at - 1];
            if name == END_OF_IMAGE {
                return End::Marked;
            }
            let Some(length) = bytes.get(at..at + 2) else {
                return End::Cut;
            };
            let end = at + usize::from(u16::from_be_bytes([length[0], length[1]]));
            let Some(segment) = bytes.get(at + 2..end) else {
                return End::Cut;
            };
            match name {
                START_OF_SCAN => self.scans.scan(segment),
                // Frames of every kind; the codes in between are tables and reserved ones.
                0xC0..=0xCF if !matches!(name, 0xC4 | 0xC8 | 0xCC) => self.frame(segment),
                TAGS => self.has_tags = true,
                _ => {}
            }
            at = end;
        }
    }

    /// Reads a frame header: precision, height, width, and three bytes for each component.
    fn frame(&mut self, segment: &[u8]) {
        self.frames += 1;
        if let &[_, height, low_height, width, low_width, ..] = segment {
            let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
            self.size = (side(width, low_width), side(height, low_height));
        }
        let components = segment.get(6..).unwrap_or_default().chunks_exact(3);
        self.scans = Scans(components.map(|component| (component[0], 0)).collect());
    }
}

/// Coefficients of each component that the scans have provided up to their last bit.
#[derive(Debug, Default)]
struct Scans(Vec<(u8, u64)>);

impl Scans {
    /// Reads a scan header: two bytes for each component, the first and the last coefficient, and which bits of them.
    fn scan(&mut self, segment: &[u8]) {
        let Some((&count, rest)) = segment.split_first() else {
            return;
        };
        let Some((components, &[first, last, bits, ..])) =
            rest.split_at_checked(2 * usize::from(count))
        else {
            return;
        };
        if bits & 0x0F != 0 || first > last || last > 63 {
            return;
        }
        let given = (u64::MAX >> (63 - last)) & (u64::MAX << first);
        for component in components.chunks_exact(2) {
            let known = self.0.iter_mut().filter(|(name, _)| *name == component[0]);
            known.for_each(|(_, all)| *all |= given);
        }
    }

    fn are_enough(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|&(_, given)| given == u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> End {
        Markers::of(bytes).end
    }

    fn segment(name: u8, data: &[u8]) -> Vec<u8> {
        let length = (data.len() as u16 + 2).to_be_bytes();
        [&[0xFF, name], &length[..], data].concat()
    }

    /// Returns a picture of two components, up to and including these scans: component, first and last coefficient,
    /// bits.
    fn picture(scans: &[(u8, u8, u8, u8)]) -> Vec<u8> {
        let frame = segment(0xC2, &[8, 0, 8, 0, 8, 2, 1, 0x11, 0, 2, 0x11, 0]);
        let mut bytes = [&[0xFF, 0xD8][..], &frame].concat();
        for &(component, first, last, bits) in scans {
            bytes.extend(segment(
                START_OF_SCAN,
                &[1, component, 0, first, last, bits],
            ));
            bytes.extend([0x12, 0xFF, 0, 0xFF, 0xD0, 0x34]);
        }
        bytes
    }

    #[test]
    fn every_component_needs_every_coefficient_with_every_bit() {
        let whole = [(1, 0, 63, 0), (2, 0, 63, 0)];
        assert_eq!(of(&picture(&whole)), End::Open);
        let slowly = [(1, 0, 0, 0), (2, 0, 63, 0), (1, 1, 63, 1), (1, 1, 63, 0x10)];
        assert_eq!(of(&picture(&slowly)), End::Open);
        for lacking in [
            &[][..],
            &whole[..1],
            &slowly[..3],
            &[(1, 0, 63, 0), (2, 1, 63, 0)],
        ] {
            assert_eq!(of(&picture(lacking)), End::Cut, "{lacking:?}");
        }
    }

    #[test]
    fn a_file_ends_with_its_marker_or_in_a_scan_or_elsewhere() {
        let scans = picture(&[(1, 0, 63, 0), (2, 0, 63, 0)]);
        let with = |more: &[u8]| of(&[&scans, more].concat());
        assert_eq!(with(&[0xFF, END_OF_IMAGE]), End::Marked);
        assert_eq!(with(&[0xFF, END_OF_IMAGE, 1, 2, 3]), End::Marked);
        assert_eq!(with(&[0xFF, 0xFF]), End::Open, "half a marker, padded");
        assert_eq!(with(&[0xFF, 0xC4, 0, 9, 1]), End::Cut, "half a table");
        assert_eq!(with(&[0xFF, 0xC4]), End::Cut, "the beginning of a table");
        assert_eq!(with(&[0; 100]), End::Cut, "room that was never filled");
        assert_eq!(of(b"no picture"), End::Marked);
        for length in 3..25 {
            assert_eq!(of(&scans[..length]), End::Cut, "{length}");
        }
    }

    #[test]
    fn a_plain_picture_has_three_components_its_end_and_no_tags() {
        let frame = |components: u8| {
            let each = (0..components).flat_map(|name| [name, 0x11, 0]);
            let header = [8, 0, 3, 1, 0, components].into_iter().chain(each);
            segment(0xC0, &header.collect::<Vec<_>>())
        };
        let plain = |segments: &[Vec<u8>]| {
            Markers::of(&[&[0xFF, 0xD8], &segments.concat()[..]].concat()).plain
        };
        let end = vec![0xFF, END_OF_IMAGE];
        let text = segment(0xE0, b"JFIF");
        let tags = segment(TAGS, b"Exif");
        assert_eq!(plain(&[text, frame(3), end.clone()]), Some((256, 3)));
        for other in [
            &[frame(1), end.clone()][..],
            &[frame(3), frame(3), end.clone()],
            &[tags, frame(3), end.clone()],
            &[frame(3)],
            &[end],
        ] {
            assert_eq!(plain(other), None, "{other:?}");
        }
        assert_eq!(Markers::of(b"no picture").plain, None);
    }
}
