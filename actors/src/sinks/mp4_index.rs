//! The index at the beginning of a fragmented MP4 file: a `sidx` box (ISO/IEC 14496-12, 8.16.3). By it a player finds
//! any moment without having read what is before it, which is what players do without: few of them look for the muxer's
//! own index at the end.
//!
//! Its room is written with the file's head, as a `free` box, and filled when the file is finished. Where there are
//! more places than it holds, every second one is left out, and again: a player reads a little more then.

/// Bytes of the room.
pub(crate) const ROOM: usize = 4096;

/// Bytes of a box's size and name.
const BOX: usize = 8;
/// Bytes of the index before its entries.
const HEAD: usize = 40;
/// Bytes of an entry.
const ENTRY: usize = 12;
/// Entries that have room, beside the box that fills the rest.
const MOST: usize = (ROOM - BOX - HEAD) / ENTRY;

/// Each part begins with a picture that needs no other, after which all that is shown later follows.
const STARTS_WITH_KEY: u32 = 0x9000_0000;

/// Where a fragment begins that can be shown without those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Byte of the file.
    byte: u64,
    /// Its first picture's time, in units of the track.
    pts: i64,
}

/// Collects the places.
#[derive(Debug)]
pub(crate) struct Mp4Index {
    places: Vec<Place>,
    /// One of so many is kept.
    step: usize,
    /// Places so far.
    seen: usize,
}

/// What else an index says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Track {
    /// Byte at which the index's room begins.
    pub(crate) room: u64,
    /// Units of time in a second.
    pub(crate) units_per_s: u32,
    /// Byte behind the last fragment.
    pub(crate) end: u64,
    /// When the last picture is no longer shown.
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

    /// The next fragment begins here.
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

    /// What fills the room; none where there is nothing to say, or numbers are too large for it.
    pub(crate) fn to_bytes(&self, track: Track) -> Option<Vec<u8>> {
        let first = *self.places.first()?;
        let size = HEAD + ENTRY * self.places.len();
        let mut bytes = boxed(size, b"sidx");
        // Version 1: times and places have 64 bits.
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
            // The highest bit would say that there is another index.
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

/// The room before it is filled.
pub(crate) fn empty() -> Vec<u8> {
    let mut bytes = boxed(ROOM, b"free");
    bytes.resize(ROOM, 0);
    bytes
}

/// The beginning of a box.
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
        // Version 1, track, units, time 0, where the first one is behind this box, and how many.
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
