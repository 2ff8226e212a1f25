//! The labels of each track over time, as drawn by the page.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;

use super::faces::{self, FaceRow, Label};
use super::flips;
use super::named::{Named, as_object, named};
use super::run_data::RunData;
use super::segments;

/// Maximum distance between rows that are drawn as one stretch, microseconds.
const GAP_US: i64 = 1_000_000;

/// A label with its start and end, milliseconds.
type Stretch = (f64, f64, Label);

/// A run's timelines.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Timelines {
    name: String,
    #[serde(serialize_with = "as_object")]
    streams: Named<StreamTimeline>,
}

/// A stream's timelines.
#[derive(Clone, Debug, Serialize)]
struct StreamTimeline {
    from_ms: f64,
    until_ms: f64,
    /// Its annotated video, which may consist of several files.
    videos: Vec<VideoPiece>,
    tracks: Vec<TrackTimeline>,
    truth: Vec<TruthTimeline>,
}

/// A piece of a video in which time runs as in the recording.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct VideoPiece {
    /// Path of the file, relative to the page.
    path: String,
    /// The stream's segment; none if unknown, for all of them.
    segment: Option<u64>,
    /// Where it begins in the recording and in the file.
    pts_ms: f64,
    at_ms: f64,
}

#[derive(Clone, Debug, Serialize)]
struct TrackTimeline {
    track: u64,
    segment: u64,
    raw: Vec<Stretch>,
    smoothed: Vec<Stretch>,
    /// Times of the flips of the smoothed label.
    flips_ms: Vec<f64>,
    flips_raw: u64,
}

#[derive(Clone, Debug, Serialize)]
struct TruthTimeline {
    face: u64,
    labels: Vec<Stretch>,
}

impl Timelines {
    /// Returns the timelines of a run, for a page in this folder.
    pub(super) fn of(run: &RunData, page_folder: &Path) -> Self {
        let each = run.faces.streams.iter();
        let streams = each.map(|(name, rows)| {
            let videos = videos(run, name, page_folder);
            (name.clone(), stream(run, name, rows, videos))
        });
        Self {
            name: run.name.clone(),
            streams: named(streams),
        }
    }
}

/// Returns the existing pieces of a stream's video, in the order of their files.
fn videos(run: &RunData, stream: &str, page_folder: &Path) -> Vec<VideoPiece> {
    let Some(folder) = &run.folder else {
        return Vec::new();
    };
    let mut videos = Vec::new();
    for file in segments::of(&run.files, stream, "mp4") {
        let Some(path) = path_from(page_folder, &folder.join(file)) else {
            continue;
        };
        // The folder may have been moved since.
        let written = run.report.iter().flat_map(|report| &report.files);
        let written = written.filter(|written| written.path.file_name() == Some(file.as_ref()));
        let begins = written.flat_map(|written| &written.segments);
        videos.extend(begins.map(|begin| VideoPiece {
            path: path.clone(),
            segment: Some(begin.segment),
            pts_ms: begin.pts_ms,
            at_ms: begin.at_ms,
        }));
        // Without a report the first file is assumed to hold the whole recording; where others begin is unknown.
        if videos.is_empty() && file.len() == stream.len() + ".mp4".len() {
            videos.push(VideoPiece {
                path,
                segment: None,
                pts_ms: 0.0,
                at_ms: 0.0,
            });
        }
    }
    videos
}

fn stream(run: &RunData, name: &str, rows: &[FaceRow], videos: Vec<VideoPiece>) -> StreamTimeline {
    let times = || rows.iter().map(|row| row.pts_us);
    let tracks = faces::tracks(rows).into_iter();
    let tracks = tracks.map(|((segment, track), indices)| {
        let of = |label: fn(&FaceRow) -> Option<&Label>| {
            let rows = indices.iter().map(|&index| &rows[index]);
            rows.map(move |row| (row.pts_us, label(row)))
        };
        let (raw, smoothed) = (
            of(|row: &FaceRow| row.raw_label.as_ref()),
            of(|row: &FaceRow| row.label.as_ref()),
        );
        let flips = flips::pairs(smoothed.clone()).filter(|pair| pair.is_flip);
        TrackTimeline {
            track,
            segment,
            flips_ms: flips.map(|pair| pair.pts_us as f64 / 1e3).collect(),
            flips_raw: flips::Flips::of(flips::pairs(raw.clone())).flips,
            raw: stretches(raw),
            smoothed: stretches(smoothed),
        }
    });
    let mut faces = BTreeMap::<u64, Vec<(i64, &Label)>>::new();
    for frame in run.truth.get(name).into_iter().flat_map(|t| t.values()) {
        for face in &frame.faces {
            let labels = faces.entry(face.face).or_default();
            labels.push((frame.pts_us, &face.label));
        }
    }
    let truth = faces.into_iter().map(|(face, labels)| TruthTimeline {
        face,
        labels: stretches(labels.into_iter().map(|(us, label)| (us, Some(label)))),
    });
    StreamTimeline {
        from_ms: times().min().unwrap_or(0) as f64 / 1e3,
        until_ms: times().max().unwrap_or(0) as f64 / 1e3,
        videos,
        tracks: tracks.collect(),
        truth: truth.collect(),
    }
}

/// Merges consecutive equal labels.
fn stretches<'a>(rows: impl Iterator<Item = (i64, Option<&'a Label>)>) -> Vec<Stretch> {
    let mut stretches = Vec::<Stretch>::new();
    let mut before_us = None;
    for (pts_us, label) in rows {
        let Some(label) = label else { continue };
        let ms = pts_us as f64 / 1e3;
        let is_near = before_us.is_some_and(|before| pts_us - before <= GAP_US);
        before_us = Some(pts_us);
        if is_near && let Some(last) = stretches.last_mut() {
            last.1 = ms;
            if last.2 == *label {
                continue;
            }
        }
        stretches.push((ms, ms, label.clone()));
    }
    stretches
}

/// Returns the relative path from a folder to a file, with `/` as separator.
fn path_from(folder: &Path, file: &Path) -> Option<String> {
    let whole = |path: &Path| path.canonicalize().ok();
    let (folder, file): (PathBuf, PathBuf) = (whole(folder)?, whole(file)?);
    let common = folder.components().zip(file.components());
    let common = common.take_while(|(one, other)| one == other).count();
    let up = folder.components().skip(common).map(|_| "..".to_owned());
    let down = file.components().skip(common).map(|part| match part {
        Component::Normal(name) => name.to_string_lossy().into_owned(),
        other => other.as_os_str().to_string_lossy().into_owned(),
    });
    Some(up.chain(down).collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_labels_are_one_stretch_and_gaps_end_it() {
        let label = |text: &str| Some(Label::from(text));
        let rows = [
            (0, label("a")),
            (40, label("a")),
            (80, None),
            (120, label("b")),
            (160, label("b")),
            (2000, label("b")),
        ];
        let rows = rows.iter().map(|(ms, label)| (ms * 1000, label.as_ref()));
        let found = stretches(rows);
        let found: Vec<_> = found.iter().map(|(f, u, l)| (*f, *u, &**l)).collect();
        assert_eq!(
            found,
            [
                (0.0, 120.0, "a"),
                (120.0, 160.0, "b"),
                (2000.0, 2000.0, "b")
            ]
        );
    }

    #[test]
    fn videos_are_named_from_where_the_page_is() {
        let root = tempfile::tempdir().unwrap();
        let run = root.path().join("runs/one");
        std::fs::create_dir_all(&run).unwrap();
        std::fs::create_dir_all(root.path().join("pages")).unwrap();
        std::fs::write(run.join("a b.mp4"), "").unwrap();
        let video = run.join("a b.mp4");
        assert_eq!(path_from(&run, &video).unwrap(), "a b.mp4");
        let pages = root.path().join("pages");
        assert_eq!(path_from(&pages, &video).unwrap(), "../runs/one/a b.mp4");
    }
}
