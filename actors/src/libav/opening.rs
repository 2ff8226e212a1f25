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

use super::fetching::fetch;
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
/// A file with its index at its end, on a server that does not support ranges, is fetched whole first. A multipart
/// stream whose parts have a type other than `image/jpeg`, or none, is searched for JPEG pictures.
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
            let file = fetch(url, options.to_owned(), waiting)?;
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
    let interrupt = interrupt::new(Box::new(move || asked.interrupts()));
    // SAFETY: the context is allocated here, given to libav, and either wrapped once (which owns it from then on) or
    // freed: `avformat_open_input` frees it when it fails. The callback's guard outlives it in every case: it is
    // dropped last here, or handed to the wrapper. The dictionary is taken back from libav and freed by its owner.
    unsafe {
        let mut context = ffi::avformat_alloc_context();
        if context.is_null() {
            return Err(Error::Bug);
        }
        (*context).interrupt_callback = interrupt.interrupt;
        let mut options = options.disown();
        let format = format.map_or(ptr::null(), |name| ffi::av_find_input_format(name.as_ptr()));
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
        // The server has answered; probing has a time limit of its own.
        waiting.came_further();
        if known.is_none() && begins_before_its_index(context) {
            ffi::avformat_close_input(&raw mut context);
            return Ok(Opened::MustBeFetched);
        }
        let nature = known.unwrap_or_else(|| nature(context));
        // A recording over RTSP comes no faster than a camera.
        let comes_slowly = CStr::from_ptr((*(*context).iformat).name) == c"rtsp";
        let is_live = matches!(nature, Nature::Live | Nature::LiveWithoutTimes);
        if comes_slowly || is_live {
            (*context).max_analyze_duration = LIVE_PROBE_US;
            (*context).fps_probe_size = 0;
        }
        if is_live {
            (*context).max_ts_probe = LIVE_PACKETS_FOR_TIMES;
        }
        let probed = ffi::avformat_find_stream_info(context, ptr::null_mut());
        // libav reports success when it was interrupted, and some of its readers return nothing from then on.
        let probed = if waiting.interrupts() {
            ffi::AVERROR_EXIT
        } else {
            probed
        };
        if probed < 0 {
            ffi::avformat_close_input(&raw mut context);
            return Err(Error::from(probed));
        }
        if is_without_pictures(context) {
            ffi::avformat_close_input(&raw mut context);
            return Ok(Opened::MustBeSearched);
        }
        let input = Input::wrap_with_interrupt(context, interrupt.guard);
        Ok(Opened::Ready(input, nature))
    }
}

/// Returns whether an open input cannot seek back to pictures that it skipped while it looked for the index (MP4 with
/// its index at the end, on a server that does not support ranges).
///
/// # Safety
/// The context must be open.
unsafe fn begins_before_its_index(context: *const ffi::AVFormatContext) -> bool {
    // SAFETY: the caller's context is open: it has as many streams as it states, and the entries of their indices live
    // as long.
    unsafe {
        let io = (*context).pb;
        if io.is_null() || (*io).seekable & ffi::AVIO_SEEKABLE_NORMAL != 0 {
            return false;
        }
        let at = ffi::avio_seek(io, 0, SEEK_CUR);
        let streams =
            (0..(*context).nb_streams as usize).map(|index| *(*context).streams.add(index));
        let mut firsts = streams.map(|stream| ffi::avformat_index_get_entry(stream, 0));
        firsts.any(|first| !first.is_null() && (*first).pos < at)
    }
}

/// Returns whether an open input is a multipart stream in which no part was recognised as a picture.
///
/// # Safety
/// The context must be open.
unsafe fn is_without_pictures(context: *const ffi::AVFormatContext) -> bool {
    // SAFETY: the caller's context is open: its format is set, and it has as many streams as it states.
    unsafe {
        let name = CStr::from_ptr((*(*context).iformat).name);
        let mut streams =
            (0..(*context).nb_streams as usize).map(|index| *(*context).streams.add(index));
        name == c"mpjpeg" && streams.all(|stream| (*(*stream).codecpar).width == 0)
    }
}

/// Returns the nature of an open input.
///
/// # Safety
/// The context must be open.
unsafe fn nature(context: *const ffi::AVFormatContext) -> Nature {
    // SAFETY: the caller's context is open, so its format is set; names are static strings.
    let (name, flags, duration, io) = unsafe {
        let format = (*context).iformat;
        let name = CStr::from_ptr((*format).name).to_string_lossy();
        (name, (*format).flags, (*context).duration, (*context).pb)
    };
    // Cameras state a made-up length.
    if name == "mpjpeg" {
        return Nature::LiveWithoutTimes;
    }
    let length = if io.is_null() {
        -1
    } else {
        // SAFETY: not null, and owned by the context.
        unsafe { ffi::avio_size(io) }
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
