//! Puts the pictures of a raw stream into one order from its beginning to its end: the stream restarts its numbering at
//! some key pictures, and damaged pictures have implausible numbers. Where a number is skipped, a picture is missing.

use crate::libav::PictureNumber;

/// Number of pictures whose positions are remembered: a codec shows a picture up to sixteen later than it is decoded.
const RECENT: usize = 16;

/// A number that is further than this many pictures from all others is accepted once the next one is near it.
const MOST_APART: i64 = 64;

/// The order of a stream's pictures; see the module docs.
#[derive(Debug, Default)]
pub(crate) struct PictureOrder {
    /// Offset that is added to the numbers since they last restarted.
    base: i64,
    latest: Option<i64>,
    recent: Vec<i64>,
    /// A position that was too far away to be accepted.
    doubted: Option<i64>,
}

impl PictureOrder {
    /// Returns the position of a picture; called in decoding order. Returns `None` for a position that is not plausible
    /// (yet). Neighbours differ by one or two, depending on the stream.
    pub(crate) fn place(&mut self, picture: PictureNumber) -> Option<i64> {
        let step = self.step();
        let number = i64::from(picture.number);
        let Some(latest) = self.latest else {
            self.base = -number;
            return Some(self.take(0));
        };
        let mut place = self.base + number;
        let is_far_back = place < latest - step * MOST_APART / 2;
        if (picture.is_key && place < latest) || is_far_back {
            // The pictures that precede this one in the new numbering were lost along with its beginning.
            let base = latest + step;
            place = base + number.max(0);
            if is_near(place, latest, step) || self.is_doubted(place, step) {
                self.base = base;
                return Some(self.take(place));
            }
        } else if is_near(place, latest, step) || self.is_doubted(place, step) {
            return Some(self.take(place));
        }
        self.doubted = Some(place);
        None
    }

    fn take(&mut self, place: i64) -> i64 {
        self.doubted = None;
        self.latest = self.latest.max(Some(place));
        if self.recent.len() == RECENT {
            self.recent.remove(0);
        }
        self.recent.push(place);
        place
    }

    fn is_doubted(&self, place: i64, step: i64) -> bool {
        self.doubted
            .is_some_and(|doubted| is_near(place, doubted, step))
    }

    /// Returns the smallest distance between two pictures.
    fn step(&self) -> i64 {
        let mut sorted = self.recent.clone();
        sorted.sort_unstable();
        let distances = sorted.windows(2).map(|two| two[1] - two[0]);
        distances
            .filter(|&distance| distance > 0)
            .min()
            .unwrap_or(1)
    }
}

fn is_near(place: i64, other: i64, step: i64) -> bool {
    (place - other).abs() <= step * MOST_APART
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(order: &mut PictureOrder, numbers: &[i32]) -> Vec<Option<i64>> {
        let picture = |&number: &i32| PictureNumber {
            number,
            is_key: number == 0,
        };
        let pictures = numbers.iter().map(picture);
        pictures.map(|picture| order.place(picture)).collect()
    }

    fn known(places: &[i64]) -> Vec<Option<i64>> {
        places.iter().copied().map(Some).collect()
    }

    #[test]
    fn pictures_are_numbered_on_where_the_stream_begins_to_count_anew() {
        let mut order = PictureOrder::default();
        assert_eq!(
            places(&mut order, &[0, 8, 4, 2, 6]),
            known(&[0, 8, 4, 2, 6])
        );
        assert_eq!(places(&mut order, &[0, 4, 2]), known(&[10, 14, 12]));
        assert_eq!(places(&mut order, &[0, 2]), known(&[16, 18]));
        // A stream that counts by one and does not begin at 0.
        let mut order = PictureOrder::default();
        assert_eq!(places(&mut order, &[7, 8, 9]), known(&[0, 1, 2]));
        assert_eq!(places(&mut order, &[0, 1]), known(&[3, 4]));
    }

    #[test]
    fn what_is_left_out_stays_left_out() {
        let mut order = PictureOrder::default();
        assert_eq!(places(&mut order, &[0, 2, 4, 10]), known(&[0, 2, 4, 10]));
        // The key picture and the one after it are lost.
        let numbers: Vec<i32> = (6..100).map(|number| number * 2).collect();
        places(&mut order, &numbers);
        assert_eq!(places(&mut order, &[4, 6]), known(&[204, 206]));
    }

    #[test]
    fn a_number_that_cannot_be_is_not_believed_until_the_next_one_agrees() {
        let mut order = PictureOrder::default();
        places(&mut order, &[0, 2, 4]);
        assert_eq!(places(&mut order, &[3000, 6]), [None, Some(6)]);
        assert_eq!(places(&mut order, &[800, 802]), [None, Some(802)]);
    }
}
