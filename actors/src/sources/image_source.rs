//! A folder or pattern of images as a stream. The images' labels do not concern this source.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fermata_engine::units::HumanDuration;
use fermata_engine::{ActorError, Captured, ClockMode, Next, Ports, Setup, Source};
use fermata_vision::FramePool;
pub use fermata_vision::image_file::EXTENSIONS;
use fermata_vision::image_file::{self, ImageLimits, MOST_PIXELS, Picture};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::payload::VideoFrame;

/// Reads images in the natural order of their names (`img2` before `img10`) as a stream with a fixed frame rate. Images
/// are rotated as their camera noted; transparency and bits beyond eight per channel are dropped.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageSourceSettings {
    /// A folder, of which all png, jpg, bmp and webp files are read, or a pattern such as `shots/*.png` (`**` matches
    /// folders at any depth). Give either this or `files`.
    #[serde(default)]
    pub path: String,
    /// The images themselves, read in this order. Default: none, `path` finds them.
    #[serde(default)]
    pub files: Vec<PathBuf>,
    /// Images per second: image number n gets the time stamp n / fps. Default: 1.
    #[serde(default = "default_fps")]
    pub fps: f64,
    /// Skips an image that cannot be read instead of failing the stream: it counts as `missed` and leaves a gap in the
    /// time stamps. Default: false.
    #[serde(default)]
    pub skip_unreadable: bool,
    /// Under the clocks `live` and `replay`: images that are further apart than this are not waited for; each begins a
    /// new segment, with its own time stamp. Default: 5s.
    #[serde(default = "default_max_gap")]
    pub max_gap: HumanDuration,
    /// Largest picture that is decoded, as width times height. Default: 110000000.
    #[serde(default = "default_max_pixels")]
    pub max_pixels: u64,
}

fn default_max_pixels() -> u64 {
    MOST_PIXELS
}

fn default_max_gap() -> HumanDuration {
    HumanDuration(Duration::from_secs(5))
}

fn default_fps() -> f64 {
    1.0
}

/// The source that reads images; see `ImageSourceSettings`.
pub struct ImageSource {
    settings: ImageSourceSettings,
    setup: Setup,
    pool: FramePool,
    images: std::iter::Enumerate<std::vec::IntoIter<PathBuf>>,
    /// Time stamp of the previous image, if any.
    before_ns: Option<i64>,
    /// Images that could not be read.
    missed: u64,
    has_told_of_gaps: bool,
}

impl Source for ImageSource {
    const NAME: &'static str = "image_source";
    type Settings = ImageSourceSettings;

    fn ports(_: &ImageSourceSettings) -> Ports {
        Ports::new().output::<VideoFrame>("out")
    }

    fn check(settings: &ImageSourceSettings) -> Result<(), ActorError> {
        let fps = settings.fps;
        if !(fps.is_finite() && fps > 0.0) {
            return Err(format!("fps is {fps}, but must be a positive number").into());
        }
        images_of(settings).map(drop)
    }

    fn reads(settings: &ImageSourceSettings) -> Vec<PathBuf> {
        images_of(settings).unwrap_or_default()
    }

    fn create(settings: ImageSourceSettings, setup: &Setup) -> Result<Self, ActorError> {
        Self::check(&settings)?;
        Ok(Self {
            images: images_of(&settings)?.into_iter().enumerate(),
            settings,
            setup: setup.clone(),
            pool: FramePool::new(),
            before_ns: None,
            missed: 0,
            has_told_of_gaps: false,
        })
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        for (number, path) in self.images.by_ref() {
            if self.setup.cancelled() {
                return Ok(Next::End);
            }
            let limits = ImageLimits {
                pixels: self.settings.max_pixels,
                ..ImageLimits::default()
            };
            match read_image(&path, &self.pool, &limits) {
                Ok(Picture { frame, lacks_end }) => {
                    if lacks_end {
                        let (node, path) = (&self.setup.node, path.display());
                        tracing::warn!(%node, %path, "the end of the image is missing, but every pixel is there: it is used");
                    }
                    let name = path.file_name().unwrap_or(path.as_os_str());
                    let video = VideoFrame {
                        file: Some(name.to_string_lossy().into()),
                        ..VideoFrame::of(frame)
                    };
                    let pts_ns = (number as f64 / self.settings.fps * 1e9).round() as i64;
                    let mut captured = Captured::new(Arc::new(video), pts_ns);
                    if self.is_behind_a_gap(pts_ns) {
                        captured = captured.in_new_segment();
                    }
                    self.before_ns = Some(pts_ns);
                    return Ok(Next::Packet(captured));
                }
                Err(error) if self.settings.skip_unreadable => {
                    self.missed += 1;
                    self.setup.count_missed(1);
                    let node = &self.setup.node;
                    tracing::warn!(%node, %error, "an image counts as missed");
                }
                Err(error) => return Err(error),
            }
        }
        // The same as for a video of which nothing can be decoded.
        match (self.before_ns, self.missed) {
            (None, missed @ 1..) => {
                Err(format!("none of its images can be read ({missed} are missed)").into())
            }
            _ => Ok(Next::End),
        }
    }
}

impl ImageSource {
    /// Returns whether the gap before an image is longer than `max_gap`, so that it is not waited for.
    fn is_behind_a_gap(&mut self, pts_ns: i64) -> bool {
        let is_paced = self.setup.clock_mode != ClockMode::Asap;
        let max_gap = self.settings.max_gap.0;
        let gap_ns = self.before_ns.map_or(0, |before_ns| pts_ns - before_ns);
        if !is_paced || u128::try_from(gap_ns).is_ok_and(|gap_ns| gap_ns <= max_gap.as_nanos()) {
            return false;
        }
        if !std::mem::replace(&mut self.has_told_of_gaps, true) {
            let (node, gap_s) = (&self.setup.node, gap_ns as f64 / 1e9);
            tracing::warn!(%node, gap_s, "images are further apart than `max_gap`, which is not waited for: each of them begins a new segment");
        }
        true
    }
}

/// Returns the images that the settings name, in order.
fn images_of(settings: &ImageSourceSettings) -> Result<Vec<PathBuf>, ActorError> {
    match (settings.path.is_empty(), settings.files.is_empty()) {
        (false, true) => find_images(&settings.path),
        (true, false) => Ok(settings.files.clone()),
        (true, true) => Err("neither `path` nor `files` names an image".into()),
        (false, false) => Err("`path` and `files` cannot both be given".into()),
    }
}

/// Sorts images by the natural order of their names: `img2` before `img10`.
pub fn sort_by_name(images: &mut [PathBuf]) {
    alphanumeric_sort::sort_path_slice(images);
}

/// Returns the images of a folder or pattern, in order.
fn find_images(path: &str) -> Result<Vec<PathBuf>, ActorError> {
    let folder = Path::new(path);
    let mut images = if folder.is_dir() {
        images_of_folder(folder)?
    } else {
        images_of_pattern(path)?
    };
    sort_by_name(&mut images);
    Ok(images)
}

fn images_of_folder(folder: &Path) -> Result<Vec<PathBuf>, ActorError> {
    let shown = folder.display();
    let cannot = |error: std::io::Error| format!("cannot list `{shown}`: {error}");
    let mut images = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let extension = path
            .extension()
            .map(|extension| extension.to_string_lossy().to_lowercase());
        if extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
            && !path.is_dir()
        {
            images.push(path);
        }
    }
    if images.is_empty() {
        return Err(format!(
            "`{shown}` holds no image ({} files are read)",
            EXTENSIONS.join(", ")
        )
        .into());
    }
    Ok(images)
}

fn images_of_pattern(pattern: &str) -> Result<Vec<PathBuf>, ActorError> {
    let found = glob::glob(pattern)
        .map_err(|error| format!("`{pattern}` is not a valid pattern of files: {error}"))?;
    let mut images = Vec::new();
    for path in found {
        let path = path.map_err(|error| format!("cannot list `{pattern}`: {error}"))?;
        if !path.is_dir() {
            images.push(path);
        }
    }
    if images.is_empty() {
        return Err(format!("`{pattern}` is not a folder, and no file matches it").into());
    }
    Ok(images)
}

fn read_image(path: &Path, pool: &FramePool, limits: &ImageLimits) -> Result<Picture, ActorError> {
    image_file::read_within(path, pool, limits)
        .map_err(|error| format!("cannot read image `{}`: {error}", path.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fermata_engine::testing::{SourceDriver, setup};

    fn write(folder: &Path, name: &str, shade: u8) -> PathBuf {
        write_pixels(folder, name, vec![shade; 32 * 16 * 3])
    }

    /// Writes an image whose file is much longer than its header.
    fn write_noise(folder: &Path, name: &str) -> PathBuf {
        let noise =
            (0..32 * 16 * 3_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8);
        write_pixels(folder, name, noise.collect())
    }

    fn write_pixels(folder: &Path, name: &str, pixels: Vec<u8>) -> PathBuf {
        let path = folder.join(name);
        image::save_buffer(&path, &pixels, 32, 16, image::ColorType::Rgb8).expect("an encoder");
        path
    }

    fn settings(path: impl AsRef<Path>) -> ImageSourceSettings {
        ImageSourceSettings {
            path: path.as_ref().display().to_string(),
            files: Vec::new(),
            fps: 4.0,
            skip_unreadable: false,
            max_gap: default_max_gap(),
            max_pixels: MOST_PIXELS,
        }
    }

    /// Returns the shades and times of all frames, and the error if there was one.
    fn read(settings: ImageSourceSettings) -> (Vec<(u8, i64)>, Option<String>) {
        let source = SourceDriver::<ImageSource>::create(settings, setup())
            .unwrap_or_else(|error| panic!("{error}"));
        let (mut frames, mut broken) = (Vec::new(), None);
        for packet in source {
            match packet {
                Ok(mut packet) => {
                    let frame = &packet.take::<VideoFrame>().frame;
                    assert_eq!((frame.width(), frame.height()), (32, 16));
                    frames.push((frame.bgr()[0], packet.envelope.pts_ns));
                }
                Err(error) => broken = Some(error.to_string()),
            }
        }
        (frames, broken)
    }

    #[test]
    fn a_folder_is_read_in_natural_order_at_its_rate() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, shade) in [
            ("img10.png", 30),
            ("img2.JPG", 20),
            ("img1.bmp", 10),
            ("img11.webp", 40),
        ] {
            write(folder.path(), name, shade);
        }
        fs::write(folder.path().join("notes.txt"), "no image").expect("a text");
        let (frames, error) = read(settings(folder.path()));
        assert_eq!(error, None);
        let times: Vec<i64> = frames.iter().map(|(_, pts_ns)| *pts_ns).collect();
        assert_eq!(times, [0, 250_000_000, 500_000_000, 750_000_000]);
        for ((shade, _), expected) in frames.iter().zip([10_u8, 20, 30, 40]) {
            assert!(
                shade.abs_diff(expected) <= 2,
                "{shade} where {expected} was written"
            );
        }
    }

    #[test]
    fn files_are_read_as_they_are_listed() {
        let folder = tempfile::tempdir().expect("a folder");
        let [a, b] =
            [("a.png", 10), ("b.png", 20)].map(|(name, shade)| write(folder.path(), name, shade));
        let mut listed = settings("");
        listed.files = vec![b, a];
        assert_eq!(read(listed.clone()).0, [(20, 0), (10, 250_000_000)]);
        assert_eq!(ImageSource::reads(&listed), listed.files);
        listed.path = "*.png".to_owned();
        let refused = ImageSource::check(&listed).expect_err("both").to_string();
        assert!(refused.contains("cannot both"), "{refused}");
        let refused = ImageSource::check(&settings("")).expect_err("neither");
        assert!(refused.to_string().contains("neither"), "{refused}");
    }

    #[test]
    fn images_that_are_far_apart_are_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["1.png", "2.png", "3.png"] {
            write(folder.path(), name, 10);
        }
        for (clock, fps, segments) in [
            (ClockMode::Live, 1.0 / 3600.0, [false, true, true]),
            (ClockMode::Live, 0.25, [false; 3]),
            (ClockMode::Asap, 1.0 / 3600.0, [false; 3]),
        ] {
            let mut setup = setup();
            setup.clock_mode = clock;
            let mut settings = settings(folder.path());
            settings.fps = fps;
            let source = ImageSource::create(settings, &setup);
            let mut source = source.unwrap_or_else(|error| panic!("{error}"));
            let begun = [(); 3].map(|()| match source.next() {
                Ok(Next::Packet(captured)) => captured.is_new_segment(),
                _ => panic!("an image is missing"),
            });
            assert_eq!(begun, segments, "{fps} under {clock:?}");
        }
    }

    #[test]
    fn a_pattern_takes_what_matches() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "a1.png", 10);
        write(folder.path(), "b1.png", 20);
        let (frames, _) = read(settings(folder.path().join("b*.png")));
        assert_eq!(frames, [(20, 0)]);
    }

    #[test]
    fn an_image_that_is_damaged_or_cut_fails_with_its_name_or_counts_as_missed() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "1.png", 10);
        write(folder.path(), "3.png", 30);
        for name in ["2.jpg", "2.png", "2.bmp", "2.webp"] {
            let path = write_noise(folder.path(), name);
            let whole = fs::read(&path).expect("the image");
            fs::write(&path, &whole[..whole.len() * 3 / 4]).expect("most of the image");
            let (frames, error) = read(settings(folder.path()));
            assert_eq!(frames, [(10, 0)], "{name}");
            assert!(error.unwrap_or_default().contains(name), "{name} was read");
            let mut skipping = settings(folder.path());
            skipping.skip_unreadable = true;
            assert_eq!(
                read(skipping),
                (vec![(10, 0), (30, 500_000_000)], None),
                "{name}"
            );
            fs::remove_file(&path).expect("removed");
        }
    }

    #[test]
    fn images_of_which_none_can_be_read_are_a_failure() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["1.png", "2.jpg"] {
            fs::write(folder.path().join(name), "no picture").expect("a file");
        }
        let mut skipping = settings(folder.path());
        skipping.skip_unreadable = true;
        let (frames, error) = read(skipping);
        let error = error.expect("a failure");
        assert!(
            frames.is_empty() && error.contains("(2 are missed)"),
            "{error}"
        );
    }

    #[test]
    fn links_that_lead_nowhere_and_pipes_are_told_and_not_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "1.png", 10);
        let second = folder.path().join("2.png");
        let link = || std::os::unix::fs::symlink("/is/not/there.png", &second).expect("a link");
        let pipe = || {
            let mut make = std::process::Command::new("mkfifo");
            assert!(make.arg(&second).status().expect("mkfifo").success());
        };
        for make in [&link as &dyn Fn(), &pipe] {
            make();
            for path in [folder.path().to_owned(), folder.path().join("*.png")] {
                let (frames, error) = read(settings(path));
                let error = error.expect("a failure");
                assert!(frames.len() == 1 && error.contains("2.png"), "{error}");
            }
            fs::remove_file(&second).expect("what was made");
        }
    }

    #[test]
    fn a_photo_that_lacks_only_its_end_is_used() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "1.png", 10);
        let path = write(folder.path(), "2.jpg", 20);
        let whole = fs::read(&path).expect("the image");
        fs::write(&path, &whole[..whole.len() - 2]).expect("nearly all of the image");
        let (frames, error) = read(settings(folder.path()));
        assert_eq!((frames.len(), error), (2, None));
        assert!(frames[1].0.abs_diff(20) <= 2, "{frames:?}");
    }

    #[test]
    fn a_folder_or_pattern_without_images_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, said) in [
            (folder.path().to_owned(), "holds no image"),
            (folder.path().join("*.png"), "no file matches"),
            (folder.path().join("missing"), "no file matches"),
            (folder.path().join("***"), "not a valid pattern"),
        ] {
            let refused = ImageSource::check(&settings(path))
                .expect_err(said)
                .to_string();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
