//! What was named on the command line of `fermata analyse`: photos, recordings, folders of them, cameras, addresses.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fermata_actors::sources::image_source;

/// Endings by which videos in a folder are known; a file that is named itself may have any.
const VIDEOS: [&str; 16] = [
    "mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "mts", "m2ts", "mpg", "mpeg", "wmv", "flv",
    "3gp", "ogv", "mxf",
];

/// A video: a stream of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Video {
    /// Name of its stream.
    pub(super) name: String,
    /// As `video_source` takes it.
    pub(super) uri: String,
}

/// What is to be looked at.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    pub(super) photos: Vec<PathBuf>,
    pub(super) videos: Vec<Video>,
    /// Whether one of the videos is live.
    pub(super) live: bool,
    /// Files of folders that are neither.
    pub(super) left_out: Vec<PathBuf>,
    /// What cannot be looked at, and why; all of it.
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

    /// The files, by their real paths.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.known.iter()
    }

    fn add(&mut self, given: &str) {
        let path = Path::new(given);
        if given.contains("://") {
            self.live |= !is_remote_recording(given);
            return self.video(given.to_owned(), given);
        }
        if path.is_dir() {
            return self.folder(path);
        }
        if path.starts_with("/dev") {
            self.live = true;
            return self.video(given.to_owned(), given);
        }
        if path.is_file() {
            return self.file(path);
        }
        // Cameras are counted elsewhere.
        if !given.is_empty() && given.chars().all(|digit| digit.is_ascii_digit()) {
            self.live = true;
            return self.video(format!("/dev/video{given}"), given);
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
        let mut files: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_file() && !is_hidden(path))
            .collect();
        image_source::sort_by_name(&mut files);
        let before = self.photos.len() + self.videos.len();
        for file in files {
            if ends_in(&file, &VIDEOS) || ends_in(&file, &image_source::EXTENSIONS) {
                self.file(&file);
            } else {
                self.left_out.push(file);
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

    /// A file once, however often it is named.
    fn file(&mut self, path: &Path) {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if !self.known.insert(real) {
            return;
        }
        if ends_in(path, &image_source::EXTENSIONS) {
            self.photos.push(path.to_owned());
            return;
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        match path.to_str() {
            Some(uri) => self.video(uri.to_owned(), &stem),
            None => self.problems.push(format!(
                "{}: the name is no UTF-8; rename the file",
                path.display()
            )),
        }
    }

    /// Streams have names of letters, digits, `_` and `-`, each its own.
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
        let name = match is_free(name) {
            true => name.to_owned(),
            false => (2..)
                .map(|number| format!("{name}_{number}"))
                .find(|name| is_free(name))
                .unwrap_or_default(),
        };
        self.videos.push(Video { name, uri });
    }
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with('.')
}

/// Whether an address is that of a file, which nobody has to keep up with.
fn is_remote_recording(address: &str) -> bool {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    path.starts_with("http") && ends_in(Path::new(path), &VIDEOS)
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
            "c.mp4",
            "notes.txt",
            ".hidden.jpg",
            "c.MOV",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
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
        let left_out: Vec<String> = inputs.left_out.iter().map(name).collect();
        assert_eq!(left_out, ["notes.txt"]);
        assert!(!inputs.live);
    }

    #[test]
    fn cameras_and_addresses_are_live_and_their_names_hold_no_password() {
        let inputs = Inputs::find(&texts(&[
            "/dev/video3",
            "7",
            "rtsp://me:secret@door.local/main",
        ]));
        let expected = [
            ("video3", "/dev/video3"),
            ("7", "/dev/video7"),
            ("main", "rtsp://me:secret@door.local/main"),
        ];
        let videos = inputs.videos.iter();
        let videos: Vec<(&str, &str)> = videos.map(|video| (&*video.name, &*video.uri)).collect();
        assert_eq!(videos, expected);
        assert!(inputs.live);
        let inputs = Inputs::find(&texts(&["https://me:secret@host/party.mp4?t=1"]));
        assert_eq!(inputs.videos[0].name, "party_mp4_t_1");
        assert!(!inputs.live, "a file, though it comes over the network");
    }

    #[test]
    fn everything_that_is_not_there_is_told_at_once() {
        let empty = tempfile::tempdir().unwrap();
        let folder = empty.path().display().to_string();
        let inputs = Inputs::find(&texts(&["nowhere.mp4", &folder, "", "no/where"]));
        assert_eq!(inputs.problems.len(), 4, "{:?}", inputs.problems);
        assert!(inputs.problems[0].starts_with("nowhere.mp4: "));
        assert!(inputs.problems[1].contains("no photo"));
    }
}
