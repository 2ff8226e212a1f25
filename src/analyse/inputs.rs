//! The inputs of `fermata analyse`: photos, recordings, folders of them, cameras, addresses.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fermata_actors::sources::video_source::VideoSource;
use fermata_actors::sources::{image_source, video_source};
use fermata_engine::{ActorError, Source};
use serde_json::json;

/// File extensions that identify videos in a folder; a file given by itself may have any.
const VIDEOS: [&str; 17] = [
    "mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "mts", "m2ts", "mpg", "mpeg", "wmv", "flv",
    "3gp", "ogv", "mxf", "gif",
];
/// File extensions of photos that cannot be read.
const OTHER_PHOTOS: [&str; 11] = [
    "heic", "heif", "avif", "jxl", "tif", "tiff", "dng", "cr2", "cr3", "nef", "arw",
];

/// A video: a stream of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Video {
    /// Name of its stream.
    pub(super) name: String,
    /// Its URI for `video_source`.
    pub(super) uri: String,
}

/// The inputs to analyse.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    pub(super) photos: Vec<PathBuf>,
    pub(super) videos: Vec<Video>,
    /// Whether one of the videos is live.
    pub(super) live: bool,
    /// Files in folders that are skipped, and why.
    pub(super) left_out: Vec<(PathBuf, String)>,
    /// All inputs that cannot be analysed, and why.
    pub(super) problems: Vec<String>,
    known: BTreeSet<PathBuf>,
}

impl Inputs {
    pub(super) fn find(given: &[String]) -> Self {
        let mut inputs = Self::default();
        for one in given {
            inputs.add(one);
        }
        if inputs.photos.is_empty() && inputs.videos.is_empty() && inputs.problems.is_empty() {
            let problem = "nothing to analyse: no photo, video, camera or address was named";
            inputs.problems.push(problem.to_owned());
        }
        inputs
    }

    /// Returns the files, by their canonical paths.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.known.iter()
    }

    fn add(&mut self, given: &str) {
        let of_uri = video_source::path_of_file_uri(given);
        if of_uri.is_none() && given.contains("://") {
            self.live |= !is_remote_recording(given);
            return self.checked_video(given.to_owned(), given);
        }
        let path = of_uri.as_deref().unwrap_or(Path::new(given));
        if path.is_dir() {
            return self.folder(path);
        }
        if video_source::is_camera(path) {
            self.live = true;
            return self.checked_video(given.to_owned(), given);
        }
        if path.is_file() {
            let refused = self.file(path).err();
            let shown = path.display();
            return self
                .problems
                .extend(refused.map(|reason| format!("{shown}: {reason}")));
        }
        // A pipe, which can be opened only once.
        if path.exists() {
            return self.checked_video(given.to_owned(), given);
        }
        // A number, by which other programs name cameras.
        if !given.is_empty() && given.chars().all(|digit| digit.is_ascii_digit()) {
            self.live = true;
            return self.checked_video(format!("/dev/video{given}"), given);
        }
        self.problems.push(format!(
            "{given}: there is no such file, folder or camera (an address begins with rtsp:// or http://)"
        ));
    }

    fn folder(&mut self, folder: &Path) {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                let problem = format!("{}: cannot be listed: {error}", folder.display());
                return self.problems.push(problem);
            }
        };
        let mut files = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) => files.push(entry.path()),
                Err(error) => {
                    let problem = format!("{}: cannot be listed: {error}", folder.display());
                    self.problems.push(problem);
                }
            }
        }
        files.retain(|path| !path.is_dir() && !is_hidden(path));
        image_source::sort_by_name(&mut files);
        let before = self.photos.len() + self.videos.len();
        for file in files {
            if let Err(reason) = self.file_of_folder(&file) {
                self.left_out.push((file, reason));
            }
        }
        if self.photos.len() + self.videos.len() == before {
            self.problems.push(format!(
                "{}: the folder holds no photo ({}) and no video",
                folder.display(),
                image_source::EXTENSIONS.join(", ")
            ));
        }
    }

    /// Adds a file from a folder, which was not given by itself.
    fn file_of_folder(&mut self, path: &Path) -> Result<(), String> {
        let is_known = [&VIDEOS[..], &image_source::EXTENSIONS, &OTHER_PHOTOS]
            .iter()
            .any(|endings| ends_in(path, endings));
        if !is_known {
            Err("neither a photo nor a video".to_owned())
        } else if path.is_file() {
            self.file(path)
        } else if path.is_symlink() && !path.exists() {
            Err("the target of the link does not exist".to_owned())
        } else {
            Err("not a regular file; name the file itself".to_owned())
        }
    }

    /// Adds a file, once however often it is given; or fails with the reason why it cannot be analysed.
    fn file(&mut self, path: &Path) -> Result<(), String> {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if self.known.contains(&real) {
            return Ok(());
        }
        if ends_in(path, &OTHER_PHOTOS) {
            return Err(format!(
                "photos of this kind cannot be read (only {}); convert it",
                image_source::EXTENSIONS.join(", ")
            ));
        }
        let uri = path
            .to_str()
            .ok_or("the name is not valid UTF-8; rename the file")?;
        if ends_in(path, &image_source::EXTENSIONS) {
            self.known.insert(real);
            self.photos.push(path.to_owned());
            return Ok(());
        }
        if uri.contains(char::is_control) {
            return Err("the name holds a control character; rename the file".to_owned());
        }
        video_source::look_into(path)?;
        self.known.insert(real);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        self.video(uri.to_owned(), &stem);
        Ok(())
    }

    /// Adds a video that is not a file, if `video_source` accepts it.
    fn checked_video(&mut self, uri: String, given: &str) {
        match check(&uri) {
            Ok(()) => self.video(uri, given),
            Err(reason) => self.problems.push(format!("{given}: {reason}")),
        }
    }

    /// Adds a video under a unique stream name of letters, digits, `_` and `-`.
    fn video(&mut self, uri: String, called: &str) {
        let without_secrets = called.rsplit(['@', '/']).next().unwrap_or_default();
        let name: String = without_secrets
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '-' {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        let name = match name.trim_matches(['-', '_']) {
            "" => "video",
            // The stream of the photos has this name.
            "photos" => "photos_video",
            name => name,
        };
        let is_free = |name: &str| !self.videos.iter().any(|video| video.name == name);
        let name = if is_free(name) {
            name.to_owned()
        } else {
            (2..)
                .map(|number| format!("{name}_{number}"))
                .find(|name| is_free(name))
                .unwrap_or_default()
        };
        self.videos.push(Video { name, uri });
    }
}

fn check(uri: &str) -> Result<(), ActorError> {
    let settings = serde_json::from_value(json!({ "uri": uri }))?;
    VideoSource::check(&settings)
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with('.')
}

/// Returns whether an address is that of a file, which need not be processed in real time.
fn is_remote_recording(address: &str) -> bool {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let scheme = path.split(':').next().unwrap_or_default();
    let is_http = ["http", "https"]
        .iter()
        .any(|http| scheme.eq_ignore_ascii_case(http));
    is_http && ends_in(Path::new(path), &VIDEOS)
}

fn ends_in(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    let ending = ending.to_lowercase();
    endings.contains(&ending.as_str())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn texts(given: &[&str]) -> Vec<String> {
        given.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn a_folder_gives_its_photos_and_videos_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "b10.JPG",
            "b2.jpg",
            "cut.mp4",
            "IMG_1.HEIC",
            "notes.txt",
            ".hidden.jpg",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        for name in ["c.mp4", "c.MOV"] {
            fs::copy(film(), folder.path().join(name)).unwrap();
        }
        fs::create_dir(folder.path().join("deeper.jpg")).unwrap();
        let text = folder.path().display().to_string();
        let inputs = Inputs::find(&texts(&[&text, &format!("{text}/b2.jpg")]));
        assert_eq!(inputs.problems, Vec::<String>::new());
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        let photos: Vec<String> = inputs.photos.iter().map(name).collect();
        assert_eq!(photos, ["b2.jpg", "b10.JPG"]);
        let videos: Vec<&str> = inputs.videos.iter().map(|video| &*video.name).collect();
        assert_eq!(videos, ["c", "c_2"]);
        let left_out = inputs.left_out.iter();
        let left_out: Vec<(String, &str)> = left_out
            .map(|(path, reason)| (name(path), &**reason))
            .collect();
        for (left_out, (file, reason)) in left_out.iter().zip([
            ("IMG_1.HEIC", "convert it"),
            ("cut.mp4", "Invalid data"),
            ("notes.txt", "neither a photo nor a video"),
        ]) {
            assert_eq!(left_out.0, file);
            assert!(left_out.1.contains(reason), "{left_out:?}");
        }
        assert_eq!(left_out.len(), 3);
        assert!(!inputs.live);
    }

    #[test]
    fn what_is_no_file_is_left_out_of_a_folder_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a.png"), "").unwrap();
        for (link, target) in [("b.mp4", "/nas/is/not/there.mp4"), ("c.mp4", "c.mp4")] {
            std::os::unix::fs::symlink(target, at(link)).unwrap();
        }
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, at("d.mp4"), mode).unwrap();
        let inputs = Inputs::find(&texts(&[folder.path().to_str().unwrap()]));
        assert_eq!((inputs.photos.len(), inputs.problems.len()), (1, 0));
        let reasons = inputs.left_out.iter().map(|(_, reason)| &**reason);
        let gone = "the target of the link does not exist";
        assert_eq!(
            reasons.collect::<Vec<_>>(),
            [gone, gone, "not a regular file; name the file itself"]
        );
    }

    #[test]
    fn files_whose_names_cannot_be_written_are_left_out_of_a_folder() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        for name in [
            &b"latin\xe9.jpg"[..],
            b"latin\xe9.ts",
            b"new\nline.ts",
            b"good.ts",
        ] {
            let path = folder.path().join(std::ffi::OsStr::from_bytes(name));
            fs::copy(film(), path).unwrap();
        }
        let inputs = Inputs::find(&texts(&[&folder.path().display().to_string()]));
        assert_eq!(inputs.problems, Vec::<String>::new());
        assert_eq!((inputs.photos.len(), inputs.videos.len()), (0, 1));
        let reasons = inputs.left_out.iter().map(|(_, reason)| &**reason);
        let is_told = |reason: &str| reason.ends_with("rename the file");
        assert_eq!(reasons.filter(|reason| is_told(reason)).count(), 3);
    }

    /// Returns the path of a short film.
    fn film() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("actors/tests/cases/late.ts")
    }

    #[test]
    fn a_file_is_a_file_however_it_is_addressed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in the hall.ts");
        fs::copy(film(), &path).unwrap();
        let text = path.display().to_string();
        let address = format!("FILE://localhost{}", text.replace(' ', "%20"));
        let inputs = Inputs::find(&texts(&[&address, &text]));
        assert_eq!((inputs.videos.len(), inputs.live), (1, false));
        assert_eq!(inputs.videos[0].uri, text);
        let mut shared = tempfile::Builder::new();
        let shared = shared.suffix(".ts").tempfile_in("/dev/shm").unwrap();
        fs::copy(film(), shared.path()).unwrap();
        let inputs = Inputs::find(&texts(&[&shared.path().display().to_string()]));
        assert!(!inputs.live, "shared memory is a disk");
        let inputs = Inputs::find(&texts(&["HTTP://host/party.MP4"]));
        assert!(!inputs.live, "schemes may be written in capitals");
    }

    #[test]
    fn cameras_and_addresses_are_live_and_their_names_hold_no_password() {
        let inputs = Inputs::find(&texts(&["rtsp://me:secret@door.local/main"]));
        assert_eq!(inputs.videos[0].name, "main");
        assert_eq!(inputs.videos[0].uri, "rtsp://me:secret@door.local/main");
        assert!(inputs.live);
        let inputs = Inputs::find(&texts(&["/dev/video93", "97"]));
        assert!(inputs.live);
        for (problem, words) in inputs.problems.iter().zip([
            "/dev/video93: no camera at `/dev/video93`",
            "97: no camera at `/dev/video97`",
        ]) {
            assert!(problem.starts_with(words), "{problem}");
        }
        assert_eq!(inputs.problems.len(), 2);
        let inputs = Inputs::find(&texts(&["https://me:secret@host/party.mp4?t=1"]));
        assert_eq!(inputs.videos[0].name, "party_mp4_t_1");
        assert!(!inputs.live, "a file, though it comes over the network");
    }

    #[test]
    fn everything_that_is_not_there_is_told_at_once() {
        let empty = tempfile::tempdir().unwrap();
        let folder = empty.path().display().to_string();
        let text = empty.path().join("notes.mp4");
        let inputs = ["nowhere.mp4", &folder, "", "no/where"];
        let mut inputs = texts(&inputs);
        inputs.push(text.display().to_string());
        let problems = |inputs: &[String]| Inputs::find(inputs).problems;
        let told = problems(&inputs[..4]);
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told[0].starts_with("nowhere.mp4: "));
        assert!(told[1].contains("no photo"));
        fs::write(&text, "no video").unwrap();
        let told = problems(&inputs[4..]);
        assert!(
            told.len() == 1 && told[0].contains("it is not a video"),
            "{told:?}"
        );
    }
}
