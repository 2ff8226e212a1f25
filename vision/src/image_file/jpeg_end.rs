//! Determines from its markers how a JPEG file ends (ITU-T T.81, annex B), without decoding it.

const END_OF_IMAGE: u8 = 0xD9;
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

/// Scans the markers of a file. Segments state their length; inside a scan, 0xFF is never followed by a marker's code,
/// but by 0 or the number of a restart.
pub(super) fn of(bytes: &[u8]) -> End {
    if !bytes.starts_with(&[0xFF, 0xD8, 0xFF]) {
        return End::Marked;
    }
    let mut scans = Scans::default();
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
            return if scans.are_enough() && at <= bytes.len() && is_filled {
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
            START_OF_SCAN => scans.scan(segment),
            // Frames of every kind; the codes in between are tables and reserved ones.
            0xC0..=0xCF if !matches!(name, 0xC4 | 0xC8 | 0xCC) => scans.frame(segment),
            _ => {}
        }
        at = end;
    }
}

/// Coefficients of each component that the scans have provided up to their last bit.
#[derive(Debug, Default)]
struct Scans(Vec<(u8, u64)>);

impl Scans {
    /// Reads a frame header: precision, height, width, and three bytes for each component.
    fn frame(&mut self, segment: &[u8]) {
        let components = segment.get(6..).unwrap_or_default().chunks_exact(3);
        self.0 = components.map(|component| (component[0], 0)).collect();
    }

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
}
