//! Writes a picture whenever a face changes.

use std::path::PathBuf;
use std::sync::Arc;

use fermata_engine::{Actor, ActorError, End, Envelope, Input, Outputs, Ports, Setup, Stream};
use fermata_vision::blur::Blur;
use fermata_vision::{Face, FramePool, jpeg};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::changes::{Change, Changes};
use crate::overlay::draw_overlay::BlurSetting;
use crate::overlay::hiding::{self, Hidden, Hiding, hide};
use crate::payload::Faces;
use crate::privacy::GraphBlurs;

/// Writes a JPEG when a track begins or its label changes: `DIR/STREAM-SEQUENCE-TRACK-LABEL.jpg`, the whole frame or
/// only the face.
///
/// If any node of the graph blurs faces, they are blurred here too, before anything is written, regardless of this
/// node's own `blur`. Files are written atomically. At most `most` are written for each stream; further ones are left
/// out and counted, and the count is logged when the stream ends.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteSnapshotsSettings {
    /// The folder; created, with its parents, if it does not exist.
    pub dir: PathBuf,
    /// Write only the face, with a margin, instead of the whole frame. Default: false.
    #[serde(default)]
    pub crop: bool,
    /// Make faces unrecognisable. Default: none.
    #[serde(default)]
    pub blur: BlurSetting,
    /// JPEG quality, 1 to 100. Default: 85.
    #[serde(default = "default_quality")]
    pub quality: u8,
    /// Maximum number of pictures of a stream. Default: 10000.
    #[serde(default = "default_most")]
    pub most: u64,
}

fn default_quality() -> u8 {
    85
}

fn default_most() -> u64 {
    10_000
}

/// Factor by which a face's box is enlarged for a picture of only the face.
const MARGIN: f32 = 1.6;

/// See `WriteSnapshotsSettings`.
pub struct WriteSnapshots {
    settings: WriteSnapshotsSettings,
    blur: Option<Blur>,
    /// State by stream id.
    hiding: std::collections::HashMap<u32, Hiding>,
    pool: FramePool,
    changes: Changes,
    /// Pictures written and left out, by stream id.
    written: std::collections::HashMap<u32, (u64, u64)>,
}

impl Actor for WriteSnapshots {
    const NAME: &'static str = "write_snapshots";
    type Settings = WriteSnapshotsSettings;

    fn ports(settings: &WriteSnapshotsSettings) -> Ports {
        Ports::new()
            .input::<Faces>("in")
            .writes(&settings.dir)
            .keeps_streams_apart()
    }

    fn check(settings: &WriteSnapshotsSettings) -> Result<(), ActorError> {
        if !(1..=100).contains(&settings.quality) {
            return Err(format!("quality is {}, but must be 1 to 100", settings.quality).into());
        }
        if settings.dir.exists() && !settings.dir.is_dir() {
            let dir = settings.dir.display();
            return Err(format!("dir is `{dir}`, which is a file").into());
        }
        Ok(())
    }

    fn create(settings: WriteSnapshotsSettings, setup: &Setup) -> Result<Self, ActorError> {
        Self::check(&settings)?;
        fermata_vision::opencv_threads::use_one_thread()?;
        let dir = settings.dir.display();
        std::fs::create_dir_all(&settings.dir)
            .map_err(|error| format!("cannot create the folder `{dir}`: {error}"))?;
        let graph = setup.service::<GraphBlurs>();
        let graph = graph.and_then(|graph| graph.0);
        Ok(Self {
            blur: settings.blur.how().or(graph),
            hiding: std::collections::HashMap::new(),
            settings,
            pool: FramePool::new(),
            changes: Changes::default(),
            written: std::collections::HashMap::new(),
        })
    }

    fn process(&mut self, mut input: Input, _: &mut Outputs) -> Result<(), ActorError> {
        let faces = input.take::<Faces>();
        let stream = &input.envelope.stream;
        // Faces of frames that are not written stay hidden too.
        let hiding = self
            .hiding
            .entry(stream.id)
            .or_insert_with(|| Hiding::new(hiding::MARGIN, hiding::HOLD));
        let hidden = hiding.pass(&input.envelope, &faces);
        // A change is reported only once, so a picture that fails must not take the others with it.
        let mut outcome = Ok(());
        for change in self.changes.of(stream.id, &faces.faces) {
            let counted = self.written.get(&stream.id).copied();
            let (mut written, mut left_out) = counted.unwrap_or_default();
            if written >= self.settings.most {
                left_out += 1;
            } else {
                let picture = self.write(&input.envelope, change, &faces, &hidden);
                written += u64::from(picture.is_ok());
                outcome = outcome.and(picture);
            }
            self.written.insert(stream.id, (written, left_out));
        }
        outcome
    }

    fn stream_ended(&mut self, stream: &Arc<Stream>, _: End) -> Result<(), ActorError> {
        self.changes.forget(stream.id);
        self.hiding.remove(&stream.id);
        if let Some((written, left_out @ 1..)) = self.written.remove(&stream.id) {
            tracing::warn!(
                stream = stream.name,
                "{left_out} snapshots were left out after {written}, the limit per stream (`most`)"
            );
        }
        Ok(())
    }
}

impl WriteSnapshots {
    fn write(
        &self,
        envelope: &Envelope,
        change: Change,
        faces: &Faces,
        hidden: &Hidden,
    ) -> Result<(), ActorError> {
        let (stream, sequence) = (&envelope.stream.name, envelope.sequence);
        let track = change.track();
        let label = match change {
            Change::TrackBegan { label, .. } => label,
            Change::LabelChanged { to, .. } => Some(to),
        };
        let label = label.map_or("new", |label| label.name());
        let name = format!("{stream}-{sequence:06}-{track}-{label}.jpg");
        let face = faces.faces.iter().find(|face| face.track == Some(track));
        let jpeg = self.jpeg(faces, face.filter(|_| self.settings.crop), hidden)?;
        fermata_files::write(&self.settings.dir.join(name), &jpeg)?;
        Ok(())
    }

    /// Encodes the frame, or one face of it, blurred if required.
    fn jpeg(
        &self,
        faces: &Faces,
        face: Option<&Face>,
        hidden: &Hidden,
    ) -> Result<Vec<u8>, ActorError> {
        let mut frame = self.pool.copy(&faces.video.frame);
        if let Some(how) = self.blur {
            hide(&mut frame, hidden, how)?;
        }
        let frame = frame.freeze();
        let (left, top, width, height) = match face {
            None => (0, 0, frame.width(), frame.height()),
            Some(face) => part(face, frame.width(), frame.height()),
        };
        let mut pixels = Vec::with_capacity(3 * width * height);
        for row in frame
            .bgr()
            .chunks_exact(3 * frame.width())
            .skip(top)
            .take(height)
        {
            pixels.extend_from_slice(&row[3 * left..3 * (left + width)]);
        }
        let mut jpeg = Vec::new();
        jpeg::append(&pixels, (width, height), self.settings.quality, &mut jpeg)?;
        Ok(jpeg)
    }
}

/// Returns left, top, width and height of the region shown for a face, within the frame.
fn part(face: &Face, columns: usize, rows: usize) -> (usize, usize, usize, usize) {
    let rect = face.rect.scaled(MARGIN);
    let within = |from: f32, length: f32, most: usize| {
        let begin = (from.max(0.0) as usize).min(most.saturating_sub(1));
        let end = ((from + length).max(0.0).ceil() as usize).clamp(begin + 1, most.max(begin + 1));
        (begin, end - begin)
    };
    let (left, width) = within(rect.x, rect.w, columns);
    let (top, height) = within(rect.y, rect.h, rows);
    (left, top, width, height)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::VideoFrame;
    use fermata_engine::testing::{ActorDriver, capture, input, setup};
    use fermata_engine::{Services, testing};
    use fermata_vision::{Expression, Frame, Rect};

    /// Returns a checkerboard, of which a blurred part is grey.
    fn frame() -> Frame {
        let pixels = (0..64 * 64).flat_map(|at| {
            let white = (at / 2 + at / 64 / 2) % 2 == 0;
            [if white { 255 } else { 0 }; 3]
        });
        Frame::from_bgr(64, 64, pixels.collect())
    }

    fn faces(label: Option<Expression>) -> Faces {
        let rect = Rect {
            x: 16.0,
            y: 16.0,
            w: 24.0,
            h: 24.0,
        };
        let face = Face {
            track: Some(7),
            label,
            rect,
            ..Face::default()
        };
        Faces::found(VideoFrame::of(frame()), vec![face])
    }

    fn names(folder: &std::path::Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn settings(dir: &std::path::Path, more: &str) -> WriteSnapshotsSettings {
        let json = format!("{{\"dir\": {:?}{more}}}", dir.display().to_string());
        serde_json::from_str(&json).unwrap()
    }

    /// Returns the mean difference of a picture's face from grey.
    fn contrast(path: &std::path::Path) -> f64 {
        let picture = image::open(path).unwrap().to_luma8();
        let face = (20..36).flat_map(|y| (20..36).map(move |x| (x, y)));
        let apart = face.map(|(x, y)| (f64::from(picture.get_pixel(x, y).0[0]) - 127.5).abs());
        apart.sum::<f64>() / 256.0
    }

    #[test]
    fn a_picture_is_written_when_a_track_begins_and_when_its_label_changes() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("snapshots");
        let mut actor = ActorDriver::<WriteSnapshots>::create(settings(&dir, ""), setup()).unwrap();
        let labels = [
            None,
            Some(Expression::Happy),
            Some(Expression::Happy),
            Some(Expression::Sad),
        ];
        for (sequence, label) in (0..).zip(labels) {
            actor
                .process(input(capture(sequence), faces(label)))
                .unwrap();
        }
        assert_eq!(
            names(&dir),
            [
                "test-000000-7-new.jpg",
                "test-000001-7-happy.jpg",
                "test-000003-7-sad.jpg"
            ]
        );
        let picture = dir.join("test-000003-7-sad.jpg");
        assert_eq!(image::image_dimensions(&picture).unwrap(), (64, 64));
        assert!(contrast(&picture) > 60.0, "{}", contrast(&picture));
    }

    #[test]
    fn where_the_graph_blurs_no_face_is_written_unblurred() {
        let folder = tempfile::tempdir().unwrap();
        let graph = Services::new().with(Arc::new(GraphBlurs(Some(Blur::Pixelate))));
        let setup = testing::setup().with_services(graph);
        let mut actor =
            ActorDriver::<WriteSnapshots>::create(settings(folder.path(), ""), setup).unwrap();
        actor.feed(faces(None)).unwrap();
        let picture = folder.path().join("test-000000-7-new.jpg");
        assert!(contrast(&picture) < 40.0, "{}", contrast(&picture));
    }

    #[test]
    fn a_picture_that_cannot_be_written_takes_no_other_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), ", \"most\": 2");
        let mut actor = ActorDriver::<WriteSnapshots>::create(settings, setup()).unwrap();
        let in_the_way = folder.path().join("test-000000-7-new.jpg");
        std::fs::create_dir(&in_the_way).unwrap();
        let mut several = faces(None);
        for track in [8, 9, 10] {
            let other = Face {
                track: Some(track),
                ..several.faces[0].clone()
            };
            several.faces.push(other);
        }
        let error = actor.feed(several).unwrap_err().to_string();
        assert!(error.contains("test-000000-7-new.jpg"), "{error}");
        // It does not count among `most`.
        assert_eq!(
            names(folder.path()),
            [
                "test-000000-7-new.jpg",
                "test-000000-8-new.jpg",
                "test-000000-9-new.jpg"
            ]
        );
        assert!(in_the_way.is_dir());
    }

    #[test]
    fn a_stream_has_so_many_pictures_at_most_and_a_face_alone_is_smaller() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), ", \"most\": 1, \"crop\": true");
        let mut actor = ActorDriver::<WriteSnapshots>::create(settings, setup()).unwrap();
        actor.feed(faces(None)).unwrap();
        actor.feed(faces(Some(Expression::Sad))).unwrap();
        assert_eq!(names(folder.path()), ["test-000000-7-new.jpg"]);
        let size = image::image_dimensions(folder.path().join("test-000000-7-new.jpg")).unwrap();
        assert!(size.0 < 64 && size.1 < 64, "{size:?}");
    }
}
