//! Writes frames as image files: photos with the overlay drawn on them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fermata_engine::{Actor, ActorError, Input, Outputs, Ports, Setup};
use fermata_vision::jpeg;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::payload::VideoFrame;

/// Writes each frame as a JPEG file. An image keeps its name (`door.png` becomes `door.jpg`); if another image of this
/// run has taken that name, even if it differs only in case, it gets a free number (`door-2.jpg`). Frames of a video
/// are called `STREAM-SEQUENCE.jpg`. A file of the same name from an earlier run is replaced, so no other node may
/// write pictures into the folder. Files are written atomically.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteImagesSettings {
    /// The folder, which must exist.
    pub dir: PathBuf,
    /// JPEG quality, 1 to 100. Default: 90.
    #[serde(default = "default_quality")]
    pub quality: u8,
}

fn default_quality() -> u8 {
    90
}

/// See `WriteImagesSettings`.
pub struct WriteImages {
    settings: WriteImagesSettings,
    /// Names taken by images, in lower case.
    names: BTreeSet<String>,
}

impl Actor for WriteImages {
    const NAME: &'static str = "write_images";
    type Settings = WriteImagesSettings;

    fn ports(_: &WriteImagesSettings) -> Ports {
        Ports::new().input::<VideoFrame>("in")
    }

    fn check(settings: &WriteImagesSettings) -> Result<(), ActorError> {
        let quality = settings.quality;
        if !(1..=100).contains(&quality) {
            return Err(format!("quality is {quality}, but must be between 1 and 100").into());
        }
        Ok(())
    }

    fn create(settings: WriteImagesSettings, _: &Setup) -> Result<Self, ActorError> {
        Self::check(&settings)?;
        let dir = &settings.dir;
        if !dir.is_dir() {
            return Err(format!("dir is `{}`, which is not a folder", dir.display()).into());
        }
        Ok(Self {
            settings,
            names: BTreeSet::new(),
        })
    }

    fn process(&mut self, mut input: Input, _: &mut Outputs) -> Result<(), ActorError> {
        let video = input.take::<VideoFrame>();
        let envelope = &input.envelope;
        let name = match &video.file {
            Some(file) => self.name_of(file),
            None => format!("{}-{:06}.jpg", envelope.stream.name, envelope.sequence),
        };
        let bytes = jpeg::encode(&video.frame, self.settings.quality)?;
        fermata_files::write(&self.settings.dir.join(name), &bytes)?;
        Ok(())
    }
}

impl WriteImages {
    fn name_of(&mut self, file: &str) -> String {
        let stem = Path::new(file).file_stem().unwrap_or_default();
        self.free(&stem.to_string_lossy())
    }

    /// Returns a name that no image has taken.
    fn free(&mut self, stem: &str) -> String {
        let numbered = (2..).map(|number| format!("{stem}-{number}.jpg"));
        let mut names = std::iter::once(format!("{stem}.jpg")).chain(numbered);
        let free = names.find(|name| self.names.insert(name.to_lowercase()));
        free.expect("there is always a free number")
    }
}

#[cfg(test)]
mod tests {
    use fermata_engine::testing::ActorDriver;
    use fermata_vision::image_file;
    use fermata_vision::{Frame, FramePool};
    use serde_json::json;

    use super::*;

    #[test]
    fn images_keep_their_names_and_frames_are_numbered() {
        let folder = tempfile::tempdir().unwrap();
        let mut actor = ActorDriver::<WriteImages>::new(json!({"dir": folder.path()})).unwrap();
        // The second and the third would get the name of the fourth.
        let files = ["door.png", "door.jpg", "Door.bmp", "door-2.png"];
        for file in files.map(Some).into_iter().chain([None]) {
            let video = VideoFrame {
                file: file.map(Into::into),
                ..VideoFrame::of(Frame::from_bgr(16, 8, vec![200; 16 * 8 * 3]))
            };
            actor.feed(video).unwrap();
        }
        let mut names: Vec<String> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let expected = ["Door-3.jpg", "door-2-2.jpg", "door-2.jpg", "door.jpg"];
        assert_eq!(names[..4], expected);
        assert_eq!(names[4..], ["test-000004.jpg"]);
        let frame = image_file::read(&folder.path().join("door.jpg"), &FramePool::new()).unwrap();
        assert_eq!((frame.width(), frame.height()), (16, 8));
        assert!(frame.bgr()[0].abs_diff(200) < 3);
    }

    #[test]
    fn a_folder_that_is_not_there_and_a_wrong_quality_are_refused() {
        for (settings, words) in [
            (json!({"dir": "no/where"}), "not a folder"),
            (json!({"dir": "/tmp", "quality": 0}), "quality is 0"),
        ] {
            let error = ActorDriver::<WriteImages>::new(settings).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
