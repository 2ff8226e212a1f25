//! Compares how much a recording's container states to contain with what was read: where the recording is damaged, the
//! two differ. Reads nothing itself.

use fermata_vision::image_file;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Packet, Stream};

use crate::libav;
use crate::sources::ticks::nanoseconds;

/// A recording may end this much before its stated length.
const SLACK_NS: i64 = 1_000_000_000;

/// Bytes of the index after the packets: everything but its entries, and one entry.
const MOST_INDEX: i64 = 1024;
const MOST_INDEXED: i64 = 16;

/// A packet that is more than this many times as large as any before it is not a real packet.
const MOST_GROWN: i64 = 4;

/// Properties of a container format.
#[derive(Clone, Copy, Debug, Default)]
struct Traits {
    /// Packets are contiguous, with at most this many bytes between them for their headers and padding.
    most_between: Option<i64>,
    /// The container states its number of frames.
    counts_frames: bool,
    /// The container's length is a number of frames, and its packets only have times that libav counts up.
    length_is_frames: bool,
    /// The container states its length, and is read for as long as its packets can be followed.
    states_length: bool,
    /// The container may end anywhere.
    may_end_anywhere: bool,
    /// A damaged packet may swallow everything after it, or make reading stop early, and both look like a regular end.
    is_given_up: bool,
    /// Concatenated JPEG pictures without any stated sizes.
    is_bare_jpeg: bool,
}

impl Traits {
    fn of(format: &str) -> Self {
        let is = |name: &str| format.split(',').any(|other| other == name);
        Self {
            most_between: match format {
                "flv" | "avi" => Some(64),
                // NUT's headers are repeated as the file grows.
                "nut" => Some(1024),
                _ => None,
            },
            counts_frames: is("avi") || is("mp4"),
            length_is_frames: is("mxf"),
            states_length: ["flv", "matroska", "asf", "ogg"].into_iter().any(is),
            may_end_anywhere: is("mpegts"),
            is_given_up: is("nut"),
            is_bare_jpeg: is("mjpeg") || is("jpeg_pipe"),
        }
    }
}

/// What a container states and what was read of it; see the module docs.
#[derive(Debug, Default)]
pub(crate) struct Container {
    traits: Traits,
    frames: u64,
    packets: i64,
    length_ns: Option<i64>,
    /// File offset of the last packet's end, its size, and the size of the largest packet before it.
    end: Option<i64>,
    last: i64,
    largest: i64,
    /// First time stamp and latest end, over the packets of all streams.
    first_ns: Option<i64>,
    latest_ns: Option<i64>,
    /// Whether some frames are not to be shown.
    has_hidden: bool,
}

impl Container {
    /// Collects what is stated about an input and its decoded stream.
    pub(crate) fn of(input: &Input, stream: &Stream<'_>) -> Self {
        let length_ns = input.duration().saturating_mul(1_000);
        let is_stated = libav::states_its_length(input) && length_ns > 0;
        let traits = Traits::of(input.format().name());
        let frames = if traits.length_is_frames {
            frames_in(stream.duration(), stream)
        } else {
            stream.frames()
        };
        Self {
            traits,
            frames: u64::try_from(frames).unwrap_or(0),
            length_ns: is_stated.then_some(length_ns),
            ..Self::default()
        }
    }

    /// Records a packet of any stream as it was read. Returns whether there are bytes before it that belong to no
    /// packet.
    pub(crate) fn read(&mut self, packet: &Packet, stream: &Stream<'_>) -> bool {
        self.has_hidden |= libav::is_hidden(packet);
        self.packets += 1;
        if let Some(stamp) = packet.pts().or(packet.dts()) {
            let at_ns = |ticks: i64| nanoseconds(ticks, stream.time_base());
            let until_ns = at_ns(stamp.saturating_add(packet.duration().max(0)));
            self.first_ns = self.first_ns.or(Some(at_ns(stamp)));
            self.latest_ns = self.latest_ns.max(Some(until_ns));
        }
        let Ok(start) = i64::try_from(packet.position()) else {
            return false;
        };
        if start < 0 {
            return false;
        }
        self.largest = self.largest.max(self.last);
        self.last = i64::try_from(packet.size()).unwrap_or(0);
        let end = start.saturating_add(self.last);
        let before = self.end.replace(end);
        let ends = before.zip(self.traits.most_between);
        ends.is_some_and(|(before, most)| start - before > most)
    }

    /// Returns whether a bare JPEG packet lacks its end; libav itself flags packets whose size is known.
    pub(crate) fn is_cut(&self, packet: &Packet) -> bool {
        let bytes = packet.data().filter(|_| self.traits.is_bare_jpeg);
        bytes.is_some_and(image_file::is_jpeg_without_end)
    }

    /// Returns whether a file of this kind ends in the same way when cut as when whole.
    pub(crate) fn may_end_anywhere(&self) -> bool {
        self.traits.may_end_anywhere
    }

    /// Returns how many bytes of a file of this length were given up: more bytes at the end than the index takes, or a
    /// last packet that is much larger than any before it.
    pub(crate) fn given_up(&self, length: u64) -> Option<i64> {
        let left = i64::try_from(length).ok()?.saturating_sub(self.end?);
        let index = MOST_INDEX + self.packets.saturating_mul(MOST_INDEXED);
        let takes_all = left <= 0 && self.last > MOST_GROWN * self.largest.max(MOST_INDEX);
        let given_up = if takes_all { self.last } else { left };
        (self.traits.is_given_up && (takes_all || left > index)).then_some(given_up)
    }

    /// Returns the stated number of frames where it can be believed: in a recording in which something was wrong, or in
    /// which nothing else could tell.
    pub(crate) fn stated_frames(&self, is_damaged: bool) -> Option<u64> {
        let Traits {
            counts_frames,
            length_is_frames,
            ..
        } = self.traits;
        let is_known = (counts_frames && is_damaged) || length_is_frames;
        (is_known && !self.has_hidden && self.frames > 0).then_some(self.frames)
    }

    /// Returns how much of the stated length was not read, if that exceeds the usual inaccuracy of stated lengths.
    /// Called once, at the end.
    pub(crate) fn lacking_ns(&mut self) -> Option<i64> {
        let length_ns = self.length_ns.take();
        let length_ns = length_ns.filter(|_| self.traits.states_length)?;
        let (first_ns, latest_ns) = (self.first_ns?, self.latest_ns?);
        // Some containers count from their beginning, some from 0.
        let read_ns = latest_ns.max(latest_ns.saturating_sub(first_ns));
        let lacking_ns = length_ns.saturating_sub(read_ns);
        (lacking_ns > (length_ns / 10).max(SLACK_NS)).then_some(lacking_ns)
    }
}

/// Returns how many frames a stream of constant rate has in this many ticks of its time base; 0 if either is unknown.
fn frames_in(ticks: i64, stream: &Stream<'_>) -> i64 {
    let rate = stream.avg_frame_rate();
    if ticks <= 0 || rate.numerator() <= 0 || rate.denominator() <= 0 {
        return 0;
    }
    let seconds = nanoseconds(ticks, stream.time_base()) as f64 / 1e9;
    (seconds * f64::from(rate)).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_depends_on_the_container() {
        let traits = Traits::of("mov,mp4,m4a,3gp,3g2,mj2");
        assert!(traits.counts_frames && traits.most_between.is_none() && !traits.states_length);
        assert!(Traits::of("matroska,webm").states_length);
        assert!(Traits::of("mpegts").may_end_anywhere);
    }

    #[test]
    fn a_length_that_is_stated_may_be_a_little_off() {
        const SECOND: i64 = 1_000_000_000;
        let lacking = |length: i64, first: i64, latest: i64| {
            let mut container = Container {
                traits: Traits::of("flv"),
                length_ns: Some(length * SECOND),
                first_ns: Some(first * SECOND),
                latest_ns: Some(latest * SECOND),
                ..Container::default()
            };
            container.lacking_ns().map(|ns| ns / SECOND)
        };
        assert_eq!(lacking(60, 0, 30), Some(30));
        assert_eq!(lacking(60, 0, 55), None);
        assert_eq!(lacking(4, 0, 3), None);
        assert_eq!(lacking(1060, 1000, 1060), None, "counted from 0");
        assert_eq!(
            lacking(60, 1000, 1060),
            None,
            "counted from its first stamp"
        );
        assert_eq!(lacking(60, -30, 30), None, "begins before 0");
    }
}
