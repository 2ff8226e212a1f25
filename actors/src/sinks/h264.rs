//! libx264, configured so that frames do not stay in it for long. Owns its settings and when they change; packets are
//! left to the caller.
//!
//! An encoder that looks ahead makes smaller files, but loses the frames that it holds when the process is killed. So
//! it may look ahead by [`MOST_DELAY`]; if frames arrive slowly, it does not look ahead at all. There are no B-frames:
//! when a stream's frame rate changes, the encoder is replaced, and both encoders can share the file's headers only
//! without B-frames.

use std::collections::VecDeque;

use ffmpeg_next::format::Pixel;
use ffmpeg_next::{Dictionary, Error, Packet, Rational, codec, color, encoder, frame};

use crate::libav;

/// Name of the encoder in libav.
pub(crate) const H264_ENCODER: &str = "libx264";

/// Time base of 1/90000 s: a millisecond and the frame intervals of all common rates are multiples of it, and 32 bits
/// hold hours.
pub(crate) const TIME_BASE: Rational = Rational(1, TICKS_PER_SECOND as i32);

/// See [`TIME_BASE`].
pub(crate) const TICKS_PER_SECOND: i64 = 90_000;

/// Maximum time that a frame may stay in the encoder, in ticks.
const MOST_DELAY: i64 = TICKS_PER_SECOND * 2 / 5;
/// Delay from which the encoder is flushed because frames suddenly arrive slowly, in ticks.
const TOO_LONG: i64 = TICKS_PER_SECOND * 3 / 5;
/// Minimum lookahead in frames; less is not worth it.
const LEAST_LOOKAHEAD: i64 = 4;
/// Number of recent intervals averaged to estimate the frame rate.
const RECENT: usize = 8;

/// Encoding settings.
#[derive(Clone, Copy)]
pub(crate) struct Quality {
    pub(crate) crf: u8,
    pub(crate) preset: &'static str,
    /// Lookahead of the preset, in frames.
    pub(crate) lookahead: u8,
    pub(crate) threads: usize,
}

/// The encoder of one video.
pub(crate) struct H264 {
    encoder: encoder::video::Encoder,
    quality: Quality,
    size: (u32, u32),
    /// Interval of the first frames, in ticks; the level in the headers depends on it.
    distance: i64,
    lookahead: i64,
    recent: VecDeque<i64>,
    /// Start and end of the frames that are in the encoder, in ticks.
    inside: VecDeque<(i64, i64)>,
}

impl H264 {
    /// Opens an encoder for pictures of a size, of which the second comes `distance` ticks after the first.
    pub(crate) fn open(size: (u32, u32), distance: i64, quality: Quality) -> Result<Self, Error> {
        let lookahead = lookahead(distance, &quality);
        Ok(Self {
            encoder: open(size, distance, lookahead, &quality)?,
            quality,
            size,
            distance,
            lookahead,
            recent: VecDeque::from([distance]),
            inside: VecDeque::new(),
        })
    }

    /// Returns the encoder, for the parameters of the stream.
    pub(crate) fn encoder(&self) -> &encoder::video::Encoder {
        &self.encoder
    }

    /// Encodes a picture that is shown for `duration` ticks from its time on, and passes available packets, with their
    /// durations, to `packet`.
    pub(crate) fn encode<E: From<Error>>(
        &mut self,
        picture: &frame::Video,
        duration: i64,
        mut packet: impl FnMut(Packet) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = picture.pts().unwrap_or_default();
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(duration);
        let mean = self.recent.iter().sum::<i64>() / self.recent.len() as i64;
        let is_fast = self.recent.len() == RECENT && lookahead(mean * 5 / 4, &self.quality) > 0;
        if self.lookahead == 0 && is_fast {
            self.begin_anew(mean, &mut packet)?;
        }
        self.inside
            .push_back((start, start.saturating_add(duration)));
        self.encoder.send_frame(picture)?;
        self.take_packets(&mut packet)?;
        let oldest = self.inside.front().map_or(start, |(start, _)| *start);
        if start.saturating_add(duration).saturating_sub(oldest) > TOO_LONG
            && !self.inside.is_empty()
        {
            self.begin_anew(mean, &mut packet)?;
        }
        Ok(())
    }

    /// Flushes the encoder; nothing more can be encoded.
    pub(crate) fn end<E: From<Error>>(
        &mut self,
        mut packet: impl FnMut(Packet) -> Result<(), E>,
    ) -> Result<(), E> {
        self.encoder.send_eof()?;
        self.take_packets(&mut packet)
    }

    /// Flushes the encoder and replaces it by one that suits the current frame rate. The next frame is a key frame.
    fn begin_anew<E: From<Error>>(
        &mut self,
        mean: i64,
        packet: &mut impl FnMut(Packet) -> Result<(), E>,
    ) -> Result<(), E> {
        self.end(packet)?;
        self.lookahead = lookahead(mean, &self.quality);
        self.encoder = open(self.size, self.distance, self.lookahead, &self.quality)?;
        Ok(())
    }

    fn take_packets<E: From<Error>>(
        &mut self,
        take: &mut impl FnMut(Packet) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let mut packet = Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => {}
                Err(Error::Eof) => return Ok(()),
                Err(error) if libav::wants_input(error) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            // libx264 does not pass durations on. Without B-frames, packets come in the order of frames.
            if let Some((start, end)) = self.inside.pop_front() {
                packet.set_duration(end.saturating_sub(start));
            }
            take(packet)?;
        }
    }
}

/// Returns the lookahead in frames at this interval, 0 if it would be too short.
fn lookahead(distance: i64, quality: &Quality) -> i64 {
    // Frames that other threads work on are delayed too.
    let others = i64::try_from(quality.threads).unwrap_or(i64::MAX) - 1;
    let most = MOST_DELAY / distance.max(1) - others;
    match most.min(quality.lookahead.into()) {
        few if few < LEAST_LOOKAHEAD => 0,
        most => most,
    }
}

fn open(
    (width, height): (u32, u32),
    distance: i64,
    lookahead: i64,
    quality: &Quality,
) -> Result<encoder::video::Encoder, Error> {
    let h264 = encoder::find_by_name(H264_ENCODER).ok_or(Error::EncoderNotFound)?;
    let mut context = codec::Context::new_with_codec(h264);
    // MP4 keeps the parameter sets in its header.
    context.set_flags(codec::Flags::GLOBAL_HEADER);
    context.set_threading(codec::threading::Config::count(quality.threads));
    let mut video = context.encoder().video()?;
    video.set_width(width);
    video.set_height(height);
    video.set_format(Pixel::YUV420P);
    video.set_time_base(TIME_BASE);
    // Only for the level that the file states: otherwise it would be that of 90,000 frames per second.
    let distance = i32::try_from(distance).unwrap_or(i32::MAX);
    video.set_frame_rate(Some(Rational(TICKS_PER_SECOND as i32, distance.max(90))));
    video.set_colorspace(color::Space::BT709);
    video.set_color_range(color::Range::MPEG);
    video.set_color_primaries(color::Primaries::BT709);
    video.set_color_transfer_characteristic(color::TransferCharacteristic::BT709);
    let mut options = Dictionary::new();
    options.set("crf", &quality.crf.to_string());
    options.set("preset", quality.preset);
    options.set("bf", "0");
    // Without lookahead there is no macroblock tree, and threads share a frame instead of taking one each.
    let delay = match lookahead {
        0 => "rc-lookahead=0:sync-lookahead=0:mbtree=0:sliced-threads=1".to_owned(),
        frames => format!("rc-lookahead={frames}:sync-lookahead=0"),
    };
    options.set("x264-params", &delay);
    video.open_as_with(h264, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoder_looks_ahead_only_as_far_as_frames_may_stay_in_it() {
        let quality = |threads| Quality {
            crf: 23,
            preset: "veryfast",
            lookahead: 10,
            threads,
        };
        let at_fps = |fps: i64, threads| lookahead(TICKS_PER_SECOND / fps, &quality(threads));
        assert_eq!(at_fps(60, 1), 10);
        assert_eq!(at_fps(25, 1), 10);
        assert_eq!(at_fps(15, 1), 6);
        assert_eq!(at_fps(15, 3), 4);
        assert_eq!([at_fps(15, 4), at_fps(8, 1), at_fps(1, 1)], [0; 3]);
    }
}
