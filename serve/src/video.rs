//! Pictures for browsers: encoded once for all of them, only the newest, and only on request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Bytes;
use fermata_vision::jpeg::{self, JpegError};
use fermata_vision::{Expression, Frame, FrameHub, ShownFace, ShownFrame};
use opencv::core::{Mat, MatTraitConst, MatTraitConstManual, Size};
use opencv::imgproc;
use serde_json::json;
use tokio::sync::watch;

use crate::lock::lock;

/// Maximum width of a picture; wider frames are scaled down. Tiles are no wider, and four times the pixels take four
/// times as long to encode.
const MOST_WIDTH: usize = 960;
const QUALITY: u8 = 80;
/// Time after which the encoder checks whether the run is over.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A stream's frame as it is sent: the length of a JSON text (four bytes, little-endian), the text, a JPEG.
#[derive(Clone)]
pub(crate) struct Picture {
    /// The frame's number in the hub.
    pub(crate) number: u64,
    pub(crate) message: Bytes,
}

/// The newest requested picture of each stream.
pub(crate) struct Video {
    hub: Option<Arc<FrameHub>>,
    pictures: Mutex<BTreeMap<String, Picture>>,
    encoded: watch::Sender<u64>,
    is_over: AtomicBool,
}

impl Video {
    /// Creates the video of a hub; without one there are no pictures.
    pub(crate) fn new(hub: Option<Arc<FrameHub>>) -> Self {
        Self {
            hub,
            pictures: Mutex::default(),
            encoded: watch::Sender::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    /// Returns whether there can be pictures.
    pub(crate) fn is_there(&self) -> bool {
        self.hub.is_some()
    }

    /// Returns a receiver that is notified whenever a picture has been encoded.
    pub(crate) fn encoded(&self) -> watch::Receiver<u64> {
        self.encoded.subscribe()
    }

    /// Returns how many pictures have been encoded.
    pub(crate) fn pictures_encoded(&self) -> u64 {
        *self.encoded.borrow()
    }

    /// Returns the number of the stream's newest frame.
    pub(crate) fn newest(&self, stream: &str) -> u64 {
        self.hub.as_ref().map_or(0, |hub| hub.number(stream))
    }

    /// Returns the stream's picture if its number is at least `least`; otherwise requests one.
    pub(crate) fn picture(&self, stream: &str, least: u64) -> Option<Picture> {
        let picture = self.lock().get(stream).cloned();
        let picture = picture.filter(|picture| picture.number >= least);
        if let (None, Some(hub)) = (&picture, &self.hub) {
            hub.ask(stream);
        }
        picture
    }

    /// Forgets a stream that is over.
    pub(crate) fn forget(&self, stream: &str) {
        if let Some(hub) = &self.hub {
            hub.end(stream);
        }
        self.lock().remove(stream);
    }

    /// Encodes requested frames until the run is over: the work of a thread.
    pub(crate) fn encode_until_over(&self) {
        let Some(hub) = &self.hub else {
            return;
        };
        while !self.is_over.load(Ordering::Relaxed) {
            let Some((stream, number, shown)) = hub.next_asked(LOOK_EVERY) else {
                continue;
            };
            match message(&stream, &shown) {
                Ok(message) => {
                    let message = Bytes::from(message);
                    self.keep(hub, stream, Picture { number, message });
                }
                Err(error) => tracing::warn!("a frame of {stream} cannot be shown: {error}"),
            }
        }
    }

    /// Keeps the newest picture of a stream, unless the stream ended while it was encoded.
    fn keep(&self, hub: &FrameHub, stream: String, picture: Picture) {
        let mut pictures = self.lock();
        // `forget` ends the stream in the hub first, so a stream that is still there is forgotten later.
        if hub.number(&stream) > 0 {
            pictures.insert(stream, picture);
        }
        drop(pictures);
        self.encoded.send_modify(|encoded| *encoded += 1);
    }

    /// Makes [`Video::encode_until_over`] return.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Picture>> {
        lock(&self.pictures)
    }
}

/// Why a frame cannot be encoded.
#[derive(Debug, thiserror::Error)]
enum EncodeError {
    #[error(transparent)]
    Scale(#[from] opencv::Error),
    #[error(transparent)]
    Jpeg(#[from] JpegError),
}

fn message(stream: &str, shown: &ShownFrame) -> Result<Vec<u8>, EncodeError> {
    let frame = &shown.frame;
    let header = json!({
        "stream": stream,
        "sequence": shown.sequence,
        "at_s": shown.pts_ns as f64 / 1e9,
        "width": frame.width(),
        "height": frame.height(),
        "faces": shown.faces.iter().map(face).collect::<Vec<_>>(),
    });
    let header = header.to_string();
    let length = u32::try_from(header.len()).unwrap_or(u32::MAX);
    let mut message = length.to_le_bytes().to_vec();
    message.extend_from_slice(header.as_bytes());
    if frame.width() > MOST_WIDTH {
        let small = scaled(frame)?;
        let (width, height) = (small.cols() as usize, small.rows() as usize);
        jpeg::append(small.data_bytes()?, (width, height), QUALITY, &mut message)?;
    } else {
        let size = (frame.width(), frame.height());
        jpeg::append(frame.bgr(), size, QUALITY, &mut message)?;
    }
    Ok(message)
}

fn scaled(frame: &Frame) -> Result<Mat, opencv::Error> {
    let height = (frame.height() * MOST_WIDTH / frame.width()).max(1);
    let size = Size::new(MOST_WIDTH as i32, height as i32);
    let mut small = Mat::default();
    imgproc::resize(
        &frame.mat()?,
        &mut small,
        size,
        0.0,
        0.0,
        imgproc::INTER_AREA,
    )?;
    Ok(small)
}

fn face(face: &ShownFace) -> serde_json::Value {
    let shares = face.probabilities.map(|shares| {
        // More than three digits are not visible on a bar.
        shares.map(|share| (f64::from(share) * 1000.0).round() / 1000.0)
    });
    json!({
        "track": face.track,
        "label": face.label.map(Expression::name),
        "shares": shares,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(width: usize, height: usize) -> ShownFrame {
        ShownFrame {
            frame: Frame::from_bgr(width, height, vec![90; width * height * 3]),
            faces: vec![ShownFace {
                track: Some(3),
                rect: fermata_vision::Rect::default(),
                label: Some(Expression::Happy),
                probabilities: Some([0.0, 0.0, 0.0, 0.91239, 0.0, 0.0, 0.08761]),
            }],
            sequence: 5,
            pts_ns: 1_500_000_000,
        }
    }

    fn split(message: &[u8]) -> (serde_json::Value, &[u8]) {
        let (length, rest) = message.split_at(4);
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        let header = serde_json::from_slice(&rest[..length]).unwrap();
        (header, &rest[length..])
    }

    #[test]
    fn a_message_is_what_is_known_and_a_picture_no_wider_than_a_tile() {
        let message = message("door", &shown(1920, 1080)).unwrap();
        let (header, jpeg) = split(&message);
        assert_eq!(header["stream"], "door");
        assert_eq!(
            (&header["at_s"], &header["sequence"]),
            (&json!(1.5), &json!(5))
        );
        assert_eq!(header["faces"][0]["label"], "happy");
        assert_eq!(header["faces"][0]["shares"][3], 0.912);
        assert_eq!(&jpeg[..2], b"\xff\xd8");
        // The frame header's height and width, big endian.
        let start = jpeg
            .windows(2)
            .position(|two| two[0] == 0xff && (0xc0..=0xc2).contains(&two[1]));
        let sizes = &jpeg[start.unwrap() + 5..][..4];
        assert_eq!(sizes, [540u16.to_be_bytes(), 960u16.to_be_bytes()].concat());
    }

    #[test]
    fn a_stream_that_ends_while_its_picture_is_encoded_leaves_none() {
        let hub = Arc::new(FrameHub::of_node("draw"));
        let video = Video::new(Some(Arc::clone(&hub)));
        for ends in [false, true] {
            hub.publish("door", shown(16, 16));
            hub.ask("door");
            let (stream, number, shown) = hub.next_asked(Duration::ZERO).unwrap();
            let message = Bytes::from(message(&stream, &shown).unwrap());
            if ends {
                video.forget("door");
            }
            video.keep(&hub, stream, Picture { number, message });
            assert_eq!(video.lock().contains_key("door"), !ends);
        }
        assert_eq!(hub.number("door"), 0);
    }

    struct Ending<'a>(&'a Video);

    impl Drop for Ending<'_> {
        fn drop(&mut self) {
            self.0.end();
        }
    }

    #[test]
    fn nothing_is_encoded_that_nobody_asked_for() {
        let hub = Arc::new(FrameHub::of_node("draw"));
        let video = Video::new(Some(Arc::clone(&hub)));
        let mut encoded = video.encoded();
        for _ in 0..100 {
            hub.publish("door", shown(16, 16));
            hub.publish("hall", shown(16, 16));
        }
        // Two browsers ask, and one picture serves both.
        let newest = video.newest("door");
        assert!(video.picture("door", newest).is_none());
        assert!(video.picture("door", newest).is_none());
        std::thread::scope(|scope| {
            scope.spawn(|| video.encode_until_over());
            // Also if an assertion fails: the scope waits for its thread.
            let end = Ending(&video);
            let waited = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            waited.block_on(encoded.changed()).unwrap();
            assert_eq!(video.picture("door", newest).unwrap().number, 100);
            // It is as new as when it was requested, whatever has come since.
            hub.publish("door", shown(16, 16));
            assert_eq!(video.picture("door", newest).unwrap().number, 100);
            assert_eq!(video.pictures_encoded(), 1);
            drop(end);
        });
        assert_eq!(video.pictures_encoded(), 1);
    }
}
