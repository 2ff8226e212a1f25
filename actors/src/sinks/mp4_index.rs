//! Index at the beginning of a fragmented MP4 file: a `sidx` box (ISO/IEC 14496-12, 8.16.3). It lets a player seek
//! without reading everything before the target; few players look for the muxer's own index at the end.
//!
//! Space for it is reserved after the file's header, as a `free` box, and filled when the file is finished. If there
//! are more entries than fit, every second one is dropped, repeatedly: a player then reads a little more.

/// Size of the reserved space, in bytes.
pub(crate) const ROOM: usize = 4096;

/// Size of a box's length and type, in bytes.
const BOX: usize = 8;
/// Size of the index before its entries, in bytes.
const HEAD: usize = 40;
/// Size of an entry, in bytes.
const ENTRY: usize = 12;
/// Maximum number of entries, leaving space for the box that fills the rest.
const MOST: usize = (ROOM - BOX - HEAD) / ENTRY;

/// Entry flags: the fragment begins with a key frame, and everything shown later follows it.
const STARTS_WITH_KEY: u32 = 0x9000_0000;

/// The beginning of a fragment that can be shown without those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Byte offset in the file.
    byte: u64,
    /// Time of its first picture, in units of the track.
    pts: i64,
}

/// Collects the index entries.
#[derive(Debug)]
pub(crate) struct Mp4Index {
    places: Vec<Place>,
    /// One of this many places is kept.
    step: usize,
    /// Number of places so far.
    seen: usize,
}

/// Other contents of the index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Track {
    /// Byte offset of the reserved space.
    pub(crate) room: u64,
    /// Units of time per second.
    pub(crate) units_per_s: u32,
    /// Byte offset after the last fragment.
    pub(crate) end: u64,
    /// Time at which the last picture ends.
    pub(crate) until: i64,
}

impl Mp4Index {
    pub(crate) fn new() -> Self {
        Self {
            places: Vec::new(),
            step: 1,
            seen: 0,
        }
    }

    /// Adds the beginning of the next fragment.
    pub(crate) fn add(&mut self, byte: u64, pts: i64) {
        if self.seen.is_multiple_of(self.step) {
            if self.places.len() == MOST {
                let mut number = 0;
                self.places.retain(|_| {
                    number += 1;
                    number % 2 == 1
                });
                self.step *= 2;
            }
            if self.seen.is_multiple_of(self.step) {
                self.places.push(Place { byte, pts });
            }
        }
        self.seen += 1;
    }

    /// Returns the contents of the reserved space; `None` if there are no entries, or if numbers are too large for it.
    pub(crate) fn to_bytes(&self, track: Track) -> Option<Vec<u8>> {
        let first = *self.places.first()?;
        let size = HEAD + ENTRY * self.places.len();
        let mut bytes = boxed(size, b"sidx");
        // Version 1: times and offsets have 64 bits.
        bytes.extend(0x0100_0000_u32.to_be_bytes());
        // The only track.
        bytes.extend(1_u32.to_be_bytes());
        bytes.extend(track.units_per_s.to_be_bytes());
        bytes.extend(u64::try_from(first.pts).ok()?.to_be_bytes());
        let behind = track.room + size as u64;
        bytes.extend(first.byte.checked_sub(behind)?.to_be_bytes());
        bytes.extend(u32::try_from(self.places.len()).ok()?.to_be_bytes());
        let end = Place {
            byte: track.end,
            pts: track.until,
        };
        let nexts = self.places.iter().skip(1).chain([&end]);
        for (place, next) in self.places.iter().zip(nexts) {
            // The highest bit would mark a reference to another index.
            let length = i32::try_from(next.byte.checked_sub(place.byte)?).ok()?;
            let lasts = u32::try_from(next.pts.checked_sub(place.pts)?).ok()?;
            bytes.extend(length.to_be_bytes());
            bytes.extend(lasts.to_be_bytes());
            bytes.extend(STARTS_WITH_KEY.to_be_bytes());
        }
        bytes.extend(boxed(ROOM - size, b"free"));
        bytes.resize(ROOM, 0);
        Some(bytes)
    }
}

/// Returns the contents of the reserved space before it is filled.
pub(crate) fn empty() -> Vec<u8> {
    let mut bytes = boxed(ROOM, b"free");
    bytes.resize(ROOM, 0);
    bytes
}

/// Returns the header of a box.
fn boxed(size: usize, name: &[u8; 4]) -> Vec<u8> {
    [(size as u32).to_be_bytes(), *name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(end: u64, until: i64) -> Track {
        Track {
            room: 1000,
            units_per_s: 90_000,
            end,
            until,
        }
    }

    #[test]
    fn an_index_fills_its_room_and_says_where_each_part_is() {
        let mut index = Mp4Index::new();
        index.add(5096, 0);
        index.add(6000, 90_000);
        let bytes = index.to_bytes(track(6500, 120_000)).unwrap();
        assert_eq!((bytes.len(), empty().len()), (ROOM, ROOM));
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let size = number(0) as usize;
        assert_eq!((&bytes[4..8], size), (&b"sidx"[..], HEAD + 2 * ENTRY));
        assert_eq!(&bytes[size + 4..size + BOX], b"free");
        assert_eq!(number(size) as usize, ROOM - size);
        // Version 1, track, units, time 0, offset of the first fragment after this box, and number of entries.
        let head: Vec<u32> = (BOX..HEAD).step_by(4).map(number).collect();
        let behind = 5096 - 1000 - size as u32;
        assert_eq!(head, [0x0100_0000, 1, 90_000, 0, 0, 0, behind, 2]);
        let entries: Vec<u32> = (HEAD..size).step_by(4).map(number).collect();
        let key = STARTS_WITH_KEY;
        assert_eq!(entries, [904, 90_000, key, 500, 30_000, key]);
    }

    #[test]
    fn more_places_than_have_room_are_thinned_out_evenly() {
        let mut index = Mp4Index::new();
        for number in 0..10_000 {
            index.add(5096 + 100 * number, 1000 * number as i64);
        }
        assert!(index.places.len() <= MOST && index.places.len() > MOST / 3);
        let apart = index.places.windows(2).map(|two| two[1].pts - two[0].pts);
        assert!(apart.collect::<std::collections::HashSet<_>>().len() == 1);
        let bytes = index.to_bytes(track(5096 + 1_000_000, 10_000_000));
        assert_eq!(bytes.unwrap().len(), ROOM);
    }

    #[test]
    fn what_has_no_place_in_an_index_is_none() {
        assert!(Mp4Index::new().to_bytes(track(0, 0)).is_none());
        let mut index = Mp4Index::new();
        index.add(5096, 0);
        assert!(index.to_bytes(track(1 << 40, 1)).is_none());
        assert!(index.to_bytes(track(6000, 1 << 40)).is_none());
    }
}
