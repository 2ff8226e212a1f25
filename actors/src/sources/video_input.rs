//! Opens the input of a video and finds the stream to decode. `video_reader` does the reading.

use std::net::ToSocketAddrs as _;
use std::path::Path;
use std::sync::Arc;

use fermata_engine::graph::redact;
use fermata_vision::image_file::ImageLimits;
use ffmpeg_next::codec::{Context, threading};
use ffmpeg_next::format::context::Input;
use ffmpeg_next::format::stream::Disposition;
use ffmpeg_next::{Dictionary, Error, Stream, decoder, format, media};

use crate::libav::errors::INPUT_OUTPUT;
use crate::libav::{self, Nature, Waiting};
use crate::sources::uri::host_of;
use crate::sources::video_error::VideoError;
use crate::sources::watch::Watch;

/// Opens a file or a network address.
pub(crate) fn open_url(
    url: &str,
    options: &Dictionary,
    known: Option<Nature>,
    watch: &Arc<Watch>,
) -> Result<(Input, Nature), VideoError> {
    watch.rearm();
    let opened = libav::open_input(url, options, known, watch);
    opened.map_err(|error| match watch.explain("libav", error).of_opening() {
        VideoError::Libav {
            doing,
            error: error @ (INPUT_OUTPUT | Error::InvalidData),
        } => {
            let is_page =
                || url.starts_with("http") && libav::is_web_page(url, options.to_owned(), watch);
            match unknown_host(url) {
                Some(host) => VideoError::UnknownHost(host),
                None if is_page() => VideoError::WebPage,
                None => VideoError::Libav { doing, error },
            }
        }
        error => error,
    })
}

/// Returns the host of an address, in a form that may be shown, if its name cannot be resolved; libav does not report
/// that.
fn unknown_host(url: &str) -> Option<String> {
    let host = host_of(url)?;
    (host, 0).to_socket_addrs().err()?;
    // This may be half of a password that contains a raw `/`.
    let shown = redact(url);
    let is_shown = host_of(&shown) == Some(host);
    Some(if is_shown { host } else { "***" }.to_owned())
}

/// Opens a V4L2 camera. libav cannot interrupt its reads: a camera that stalls without an error blocks the thread until
/// the driver gives up, and the engine logs the call that does not return.
pub(crate) fn open_device(path: &str, options: Dictionary) -> Result<(Input, Nature), VideoError> {
    let v4l2 = libav::v4l2().map_err(VideoError::Missing)?;
    let opened = format::open_with(path, &v4l2, options);
    let opened = opened.map_err(|error| VideoError::Libav {
        doing: "V4L2",
        error,
    })?;
    Ok((opened.input(), Nature::Live))
}

/// Returns the video stream of an input that is to be decoded.
pub(crate) fn video_stream(input: &Input) -> Result<Stream<'_>, VideoError> {
    // The cover of a film or an audio file is a stream of a single picture.
    let is_moving = |stream: &Stream| !stream.disposition().contains(Disposition::ATTACHED_PIC);
    let is_video = |stream: &Stream| stream.parameters().medium() == media::Type::Video;
    let best = input.streams().best(media::Type::Video);
    let best = best.filter(is_moving);
    let mut others = input.streams().filter(is_video).filter(is_moving);
    best.or_else(|| others.next()).ok_or(VideoError::NoVideo)
}

/// Checks that a file can be opened and contains a video.
///
/// # Errors
/// If it cannot be opened or contains no video; the message says why.
pub fn look_into(path: &Path) -> Result<(), String> {
    libav::start();
    let url = format!("file:{}", path.display());
    let known = Some(Nature::Recording);
    let opened = libav::open_input(&url, &Dictionary::new(), known, &Patient);
    let opened = opened.map_err(|error| {
        let doing = "libav";
        VideoError::Libav { doing, error }.of_opening()
    });
    let looked = opened.and_then(|(input, _)| video_stream(&input).map(drop));
    looked.map_err(|error| format!("{error}{}", error.advice()))
}

/// Reading a local file may take as long as it needs.
#[derive(Clone, Copy)]
struct Patient;

impl Waiting for Patient {
    fn interrupts(&self) -> bool {
        false
    }

    fn came_further(&self) {}
}

/// Refuses pictures that would take too much memory.
pub(crate) fn admit(limits: ImageLimits, width: u32, height: u32) -> Result<(), VideoError> {
    if limits.admit(width, height) {
        Ok(())
    } else {
        Err(VideoError::TooManyPixels {
            width,
            height,
            limits,
        })
    }
}

/// Opens the decoder of a stream with the given number of threads.
pub(crate) fn open_decoder(
    stream: &Stream,
    nature: Nature,
    threads: usize,
    limits: ImageLimits,
) -> Result<decoder::Video, VideoError> {
    let failed = |error| VideoError::Libav {
        doing: "opening the decoder",
        error,
    };
    let mut context = Context::from_parameters(stream.parameters()).map_err(failed)?;
    context.set_threading(threading::Config {
        // Frames of a live stream must not be delayed until later ones keep the threads busy.
        kind: match nature {
            Nature::Live | Nature::LiveWithoutTimes => threading::Type::Slice,
            Nature::Recording | Nature::Segmented => threading::Type::Frame,
        },
        count: threads,
        ..threading::Config::default()
    });
    let codec = context.id();
    let mut decoder = context.decoder();
    decoder.set_packet_time_base(stream.time_base());
    let found = decoder::find(codec)
        .ok_or_else(|| VideoError::Missing(format!("libav has no decoder for {codec:?}")))?;
    let mut options = Dictionary::new();
    // Pictures are coded in whole blocks, so they are slightly larger than shown.
    let coded = limits.pixels.saturating_mul(2);
    options.set("max_pixels", &coded.min(i64::MAX as u64).to_string());
    let opened = decoder.open_as_with(found, options);
    opened
        .and_then(decoder::Opened::video)
        .map_err(|error| match error {
            Error::DecoderNotFound => {
                VideoError::Missing(format!("libav has no decoder for {codec:?}"))
            }
            error => failed(error),
        })
}
