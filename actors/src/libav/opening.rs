//! Opens an input: connects, and probes its content. A live stream is probed only until its codec is known: libav's
//! further probing (frame rate, order) waits for as many as twenty frames.

// The crate opens and probes in one call, but the settings for probing depend on what was opened.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_int};
use std::os::fd::AsRawFd as _;
use std::ptr;

use fermata_engine::graph::redact;

use ffmpeg_next::format::context::Input;
use ffmpeg_next::util::interrupt;
use ffmpeg_next::{Dictionary, Error, ffi};

use super::fetching::{MOST_FETCHED, fetch};
use super::waiting::Waiting;

/// How long a live stream is probed, in its own time: long enough for a TS to announce its streams.
const LIVE_PROBE_US: i64 = 500_000;

/// How many packets of a live stream are probed for a first decoding time, which nobody needs: with H.264 over RTP it
/// would take seven pictures, which at one picture per second takes longer than anybody waits.
const LIVE_PACKETS_FOR_TIMES: c_int = 0;

/// `SEEK_CUR` of stdio: with an offset of 0 it moves nothing and returns the position.
const SEEK_CUR: c_int = 1;

/// The nature of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// It has an end: a known length, in time or bytes.
    Recording,
    /// It continues for as long as the other side sends.
    Live,
    /// Like [`Nature::Live`], but without meaningful time stamps.
    LiveWithoutTimes,
    /// A growing playlist of segments: frames come one segment at a time, and wait at the other side.
    Segmented,
}

impl std::fmt::Display for Nature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Recording => "recording",
            Self::Live => "live",
            Self::LiveWithoutTimes => "live, without time stamps: times follow arrival",
            Self::Segmented => "playlist",
        })
    }
}

/// Opens an address. A nature that is given as `known` is not determined.
///
/// A file with its index at its end, on a server that does not support ranges, is fetched whole first, unless it is
/// larger than [`MOST_FETCHED`]. A multipart stream whose parts have a type other than `image/jpeg`, or none, is
/// searched for JPEG pictures.
///
/// # Errors
/// If libav cannot open or probe the input.
pub(crate) fn open_input(
    url: &str,
    options: &Dictionary,
    known: Option<Nature>,
    waiting: &impl Waiting,
) -> Result<(Input, Nature), Error> {
    let again = match open_once(url, options.to_owned(), known, None, waiting)? {
        Opened::Ready(input, nature) => return Ok((input, nature)),
        Opened::MustBeFetched => {
            let file = fetch(url, options.to_owned(), MOST_FETCHED, waiting)?;
            let copy = format!("file:/proc/self/fd/{}", file.as_raw_fd());
            let known = Some(Nature::Recording);
            open_once(&copy, Dictionary::new(), known, None, waiting)?
        }
        Opened::MustBeSearched => {
            tracing::info!(url = %redact(url), "the parts of the MJPEG stream are not labelled `image/jpeg`: it is searched for pictures, and each is shown when the next one begins");
            let known = Some(Nature::LiveWithoutTimes);
            open_once(url, options.to_owned(), known, Some(c"mjpeg"), waiting)?
        }
    };
    match again {
        Opened::Ready(input, nature) => Ok((input, nature)),
        Opened::MustBeFetched | Opened::MustBeSearched => Err(Error::Bug),
    }
}

enum Opened {
    Ready(Input, Nature),
    /// The server only sends the file from beginning to end, but it must be read in a different order.
    MustBeFetched,
    /// A multipart stream in whose parts libav finds no pictures: it only accepts the type `image/jpeg`.
    MustBeSearched,
}

fn open_once(
    url: &str,
    options: Dictionary,
    known: Option<Nature>,
    format: Option<&CStr>,
    waiting: &impl Waiting,
) -> Result<Opened, Error> {
    let url = CString::new(url).map_err(|_| Error::InvalidData)?;
    let asked = waiting.clone();
    // Outlives the context: it is dropped after it, or handed on with it.
    let interrupt = interrupt::new(Box::new(move || asked.interrupts()));
    let mut context = OpenContext::open(&url, options, format, interrupt.interrupt)?;
    // The server has answered; probing has a time limit of its own.
    waiting.came_further();
    if known.is_none() && context.begins_before_its_index() {
        return Ok(Opened::MustBeFetched);
    }
    let nature = known.unwrap_or_else(|| context.nature());
    let is_live = matches!(nature, Nature::Live | Nature::LiveWithoutTimes);
    let probed = context.probe(is_live);
    // libav reports success when it was interrupted, and some of its readers return nothing from then on.
    if waiting.interrupts() {
        return Err(Error::from(ffi::AVERROR_EXIT));
    }
    probed?;
    if context.is_without_pictures() {
        return Ok(Opened::MustBeSearched);
    }
    Ok(Opened::Ready(context.into_input(interrupt.guard), nature))
}

/// An input that libav has opened. Closed when dropped.
struct OpenContext(*mut ffi::AVFormatContext);

impl OpenContext {
    /// Opens an input that asks the callback whether to give up; the callback must outlive it.
    fn open(
        url: &CStr,
        options: Dictionary,
        format: Option<&CStr>,
        callback: ffi::AVIOInterruptCB,
    ) -> Result<Self, Error> {
        // SAFETY: the context is allocated here and given to libav, which frees it when it fails. The dictionary is
        // taken back from libav and freed by its owner.
        unsafe {
            let mut context = ffi::avformat_alloc_context();
            if context.is_null() {
                return Err(Error::Bug);
            }
            (*context).interrupt_callback = callback;
            let mut options = options.disown();
            let format =
                format.map_or(ptr::null(), |name| ffi::av_find_input_format(name.as_ptr()));
            let opened = ffi::avformat_open_input(
                &raw mut context,
                url.as_ptr(),
                format.cast_mut(),
                &raw mut options,
            );
            drop(Dictionary::own(options));
            if opened < 0 {
                return Err(Error::from(opened));
            }
            Ok(Self(context))
        }
    }

    /// Probes the streams; briefly, if they come no faster than their own time.
    fn probe(&mut self, is_live: bool) -> Result<(), Error> {
        // A recording over RTSP comes no faster than a camera.
        let is_slow = is_live || self.format() == c"rtsp";
        // SAFETY: the context is open.
        let probed = unsafe {
            if is_slow {
                (*self.0).max_analyze_duration = LIVE_PROBE_US;
                (*self.0).fps_probe_size = 0;
            }
            if is_live {
                (*self.0).max_ts_probe = LIVE_PACKETS_FOR_TIMES;
            }
            ffi::avformat_find_stream_info(self.0, ptr::null_mut())
        };
        if probed < 0 {
            return Err(Error::from(probed));
        }
        Ok(())
    }

    /// Hands the input over to its wrapper, with the guard of its callback.
    fn into_input(self, guard: interrupt::InterruptGuard) -> Input {
        let context = std::mem::ManuallyDrop::new(self).0;
        // SAFETY: the context is open, and nobody else closes it any more.
        unsafe { Input::wrap_with_interrupt(context, guard) }
    }

    /// Returns the name of the container format.
    fn format(&self) -> &'static CStr {
        // SAFETY: the format of an open context is set; names are static strings.
        unsafe { CStr::from_ptr((*(*self.0).iformat).name) }
    }

    fn streams(&self) -> impl Iterator<Item = *mut ffi::AVStream> {
        // SAFETY: the context is open and has as many streams as it states.
        let count = unsafe { (*self.0).nb_streams } as usize;
        // SAFETY: as above.
        (0..count).map(|index| unsafe { *(*self.0).streams.add(index) })
    }

    /// Returns whether it cannot seek back to pictures that it skipped while it looked for the index (MP4 with its
    /// index at the end, on a server that does not support ranges).
    fn begins_before_its_index(&self) -> bool {
        // SAFETY: the context is open; its input, if it has one, is its own.
        let at = unsafe {
            let io = (*self.0).pb;
            if io.is_null() || (*io).seekable & ffi::AVIO_SEEKABLE_NORMAL != 0 {
                return false;
            }
            ffi::avio_seek(io, 0, SEEK_CUR)
        };
        // SAFETY: the entries of a stream's index live as long as the stream.
        self.streams().any(|stream| unsafe {
            let first = ffi::avformat_index_get_entry(stream, 0);
            !first.is_null() && (*first).pos < at
        })
    }

    /// Returns whether it is a multipart stream in which no part was recognised as a picture.
    fn is_without_pictures(&self) -> bool {
        // SAFETY: a stream of an open context has parameters.
        let is_unknown = |stream: *mut ffi::AVStream| unsafe { (*(*stream).codecpar).width == 0 };
        self.format() == c"mpjpeg" && self.streams().all(is_unknown)
    }

    /// Returns the nature of the input.
    fn nature(&self) -> Nature {
        let name = self.format().to_string_lossy();
        // Cameras state a made-up length.
        if name == "mpjpeg" {
            return Nature::LiveWithoutTimes;
        }
        // SAFETY: the format of an open context is set; its input, if it has one, is its own.
        let (flags, duration, length) = unsafe {
            let io = (*self.0).pb;
            let length = if io.is_null() { -1 } else { ffi::avio_size(io) };
            ((*(*self.0).iformat).flags, (*self.0).duration, length)
        };
        let is_segmented = matches!(&*name, "hls" | "dash");
        if duration > 0 || (length > 0 && !is_segmented) {
            Nature::Recording
        } else if is_segmented {
            Nature::Segmented
        } else if flags & ffi::AVFMT_NOTIMESTAMPS != 0 || name.ends_with("_pipe") {
            Nature::LiveWithoutTimes
        } else {
            Nature::Live
        }
    }
}

impl Drop for OpenContext {
    fn drop(&mut self) {
        // SAFETY: the context is open, and closed only here.
        unsafe { ffi::avformat_close_input(&raw mut self.0) }
    }
}
