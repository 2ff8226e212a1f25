//! Counts the frames before the first picture: a recording that was cut out of another begins with frames that refer to
//! missing ones. Decoders skip them, some silently, so that only the container's time stamps reveal them.

/// The packets of a recording up to its first picture.
#[derive(Debug, Default)]
pub(crate) struct Beginning {
    /// Their time stamps, as long as all of them have one.
    stamps: Vec<i64>,
    has_unstamped: bool,
    packets: u64,
    is_over: bool,
}

/// Maximum number of time stamps kept: several minutes without a picture.
const MOST: usize = 100_000;

impl Beginning {
    /// Records a visible packet that is sent to the decoder.
    pub(crate) fn packet(&mut self, stamp: Option<i64>) {
        if self.is_over {
            return;
        }
        self.packets += 1;
        match stamp {
            Some(stamp) if self.stamps.len() < MOST => self.stamps.push(stamp),
            _ => self.has_unstamped = true,
        }
    }

    /// Returns how many frames precede the first picture, which has this time stamp. Those that the decoder still holds
    /// come later and do not count. Returns 0 where frames have no time stamps.
    pub(crate) fn first_picture(&mut self, stamp: Option<i64>) -> u64 {
        self.is_over = true;
        let stamps = std::mem::take(&mut self.stamps);
        match stamp {
            Some(first) if !self.has_unstamped => {
                stamps.iter().filter(|stamp| **stamp < first).count() as u64
            }
            _ => 0,
        }
    }

    /// Returns how many frames the recording had if it ended without a picture, otherwise 0.
    pub(crate) fn without_picture(&self) -> u64 {
        if self.is_over { 0 } else { self.packets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(stamps: &[Option<i64>]) -> Beginning {
        let mut beginning = Beginning::default();
        stamps.iter().for_each(|stamp| beginning.packet(*stamp));
        beginning
    }

    #[test]
    fn what_is_before_the_first_picture_is_counted_and_what_the_decoder_holds_is_not() {
        let mut cut = begun(&[Some(-2), Some(1), Some(3), Some(2), Some(5), Some(4)]);
        assert_eq!(cut.first_picture(Some(3)), 3);
        cut.packet(Some(0));
        assert_eq!((cut.first_picture(Some(9)), cut.without_picture()), (0, 0));
        let mut whole = begun(&[Some(0), Some(3), Some(1)]);
        assert_eq!(whole.first_picture(Some(0)), 0);
    }

    #[test]
    fn without_stamps_nothing_is_known_but_that_no_picture_came() {
        let stamps = [Some(0), None, Some(2)];
        assert_eq!(begun(&stamps).first_picture(Some(2)), 0);
        assert_eq!(begun(&[Some(0)]).first_picture(None), 0);
        assert_eq!(begun(&stamps).without_picture(), 3);
    }
}
