//! The summary of `fermata analyse`: for each track of a person how long it was seen, with which expressions, and how
//! often they changed; for each photo its faces; and what is missing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use fermata_engine::Report;
use serde_json::{Value, json};

use super::graph::{LOG, MIN_HITS};
use super::inputs::Inputs;
use super::table::{self, Row, durations};
use crate::overlap::iou;
use crate::print::counted;

/// Maximum number of lines shown; the rest is in the files.
const MOST_LINES: usize = 40;
/// Minimum duration of a frame when the shares of expressions are computed.
const LEAST_MS: f64 = 1e-6;
/// Overlap (intersection over union) from which two boxes show the same face.
const SAME_FACE: f64 = 0.3;
/// The stream of the photos, named after its source.
const PHOTOS: &str = "photos";

/// Everything about one track.
#[derive(Clone, Debug, Default, PartialEq)]
struct Person {
    first_ms: f64,
    last_ms: f64,
    seen_ms: f64,
    by_label: BTreeMap<String, f64>,
    changes: u64,
    last_label: Option<String>,
}

/// A video and the people in it, by segment and track; last those seen too briefly for an id.
#[derive(Debug)]
struct VideoPeople {
    input: String,
    name: String,
    frames: usize,
    /// Frames that were not analysed: a live camera's that came too fast, and those lost to damage.
    missed: u64,
    people: Vec<(u32, Option<u64>, Person)>,
}

/// A photo and its faces.
#[derive(Debug)]
struct PhotoFaces {
    file: String,
    faces: Vec<Row>,
}

/// The summary, see the module documentation.
#[derive(Debug)]
pub(super) struct People {
    videos: Vec<VideoPeople>,
    photos: Vec<PhotoFaces>,
    /// Photos that could not be read.
    missed_photos: u64,
}

impl People {
    /// Reads the table of a run whose detector ran on every `every`-th frame; what is missing from it is taken from the
    /// run's report.
    ///
    /// # Errors
    /// Fails if the table cannot be read.
    pub(super) fn read(
        table: &Path,
        report: &Report,
        inputs: &Inputs,
        every: u64,
    ) -> anyhow::Result<Self> {
        let shown = table.display();
        let mut streams = table::read(table).with_context(|| format!("cannot read {shown}"))?;
        let photos = streams.remove(PHOTOS).unwrap_or_default();
        let videos = inputs.videos.iter().map(|video| {
            let rows = streams.remove(&video.name).unwrap_or_default();
            VideoPeople {
                input: fermata_engine::graph::redact(&video.uri),
                missed: missed(report, &video.name),
                ..VideoPeople::of(&video.name, &rows, every)
            }
        });
        Ok(Self {
            videos: videos.collect(),
            photos: of_photos(photos),
            missed_photos: missed(report, PHOTOS),
        })
    }

    /// Returns the summary as JSON.
    pub(super) fn json(&self) -> Value {
        let videos = self.videos.iter().map(VideoPeople::json);
        let photos = self.photos.iter().map(|photo| {
            let faces = photo.faces.iter().map(|face| {
                json!({"label": face.label, "probability": face.probability, "rect": face.rect})
            });
            json!({"file": photo.file, "faces": faces.collect::<Vec<_>>()})
        });
        json!({
            "videos": videos.collect::<Vec<_>>(),
            "photos": photos.collect::<Vec<_>>(),
            "photos_missed": self.missed_photos,
        })
    }

    /// Returns the summary as text.
    pub(super) fn text(&self) -> String {
        let mut lines = Vec::new();
        for video in &self.videos {
            video.lines(&mut lines);
        }
        if !self.photos.is_empty() {
            let faces: usize = self.photos.iter().map(|photo| photo.faces.len()).sum();
            let photos = counted(self.photos.len(), "photo");
            let missed = and_missed(self.missed_photos);
            lines.push(format!("{photos}, {}{missed}", counted(faces, "face")));
        }
        for photo in &self.photos {
            let faces = photo.faces.iter().map(|face| {
                let label = face.label.as_deref().unwrap_or("unclear");
                let number = face.probability;
                number.map_or_else(|| label.to_owned(), |number| format!("{label} {number:.2}"))
            });
            let faces: Vec<String> = faces.collect();
            let said = if faces.is_empty() {
                "no face".to_owned()
            } else {
                faces.join(", ")
            };
            let name = fermata_engine::graph::printable(&photo.file);
            lines.push(format!("  {name}: {said}"));
        }
        let more = lines.len().saturating_sub(MOST_LINES);
        lines.truncate(MOST_LINES);
        if more > 0 {
            lines.push(format!("  … and {more} more lines in summary.json"));
        }
        lines.join("\n") + "\n"
    }
}

impl VideoPeople {
    /// Counts the people in a video from its rows alone.
    fn of(name: &str, rows: &[Row], every: u64) -> Self {
        let mut frames: Vec<(u32, f64)> = rows.iter().map(|row| (row.segment, row.at_ms)).collect();
        frames.dedup();
        let durations = durations(&frames);
        let mut people = BTreeMap::<_, Person>::new();
        let mut frame = 0;
        for row in rows {
            while frames[frame] != (row.segment, row.at_ms) {
                frame += 1;
            }
            let Some(track) = row.track else {
                continue;
            };
            let person = people.entry((row.segment, track));
            let person = person.or_insert_with(|| Person {
                first_ms: row.at_ms,
                ..Person::default()
            });
            person.see(row, durations[frame]);
        }
        let people = people.into_iter();
        let people = people.map(|((segment, track), person)| (segment, Some(track), person));
        let mut people: Vec<_> = people.collect();
        if (frames.len() as u64).div_ceil(every.max(1)) <= u64::from(MIN_HITS) {
            people.extend(seen_too_short(rows));
        }
        Self {
            input: name.to_owned(),
            name: name.to_owned(),
            frames: frames.len(),
            missed: 0,
            people,
        }
    }

    fn json(&self) -> Value {
        let people = self.people.iter().map(|(segment, track, person)| {
            json!({
                "track": track,
                "segment": segment.to_string(),
                "first_s": seconds(person.first_ms),
                "last_s": seconds(person.last_ms),
                "seen_s": seconds(person.seen_ms),
                "shares": person.shares().into_iter().map(|(label, share)| (label.to_owned(), json!(share))).collect::<serde_json::Map<_, _>>(),
                "changes": person.changes,
            })
        });
        json!({"input": self.input, "stream": self.name, "frames": self.frames, "missed": self.missed, "people": people.collect::<Vec<_>>()})
    }

    fn lines(&self, lines: &mut Vec<String>) {
        let (frames, people) = (self.frames, self.people.len());
        let people = match people {
            0 => "nobody".to_owned(),
            1 => "1 person".to_owned(),
            more => format!("{more} people"),
        };
        let said = match frames {
            0 => "no frames arrived".to_owned(),
            _ => format!("{people} in {}", counted(frames, "frame")),
        };
        let missed = and_missed(self.missed);
        lines.push(format!("{}: {said}{missed}", self.input));
        for (_, track, person) in &self.people {
            let track = track.map_or_else(|| "-".to_owned(), |track| track.to_string());
            let shares = person.shares();
            let mut said = String::new();
            for (label, share) in &shares {
                let _ = write!(said, ", {label} {:.0} %", share * 100.0);
            }
            if shares.is_empty() {
                said.push_str(", no clear expression");
            }
            let changes = match person.changes {
                0 => "no change".to_owned(),
                1 => "1 change".to_owned(),
                more => format!("{more} changes"),
            };
            lines.push(format!(
                "  #{track:<3} seen {:>6.1} s ({:.1} to {:.1} s){said}; {changes}",
                person.seen_ms / 1e3,
                person.first_ms / 1e3,
                person.last_ms / 1e3
            ));
        }
    }
}

impl Person {
    fn see(&mut self, row: &Row, for_ms: f64) {
        self.last_ms = row.at_ms + for_ms;
        self.seen_ms += for_ms;
        // A single frame stands for no known time, but still shows somebody.
        let for_ms = for_ms.max(LEAST_MS);
        let Some(label) = &row.label else {
            return;
        };
        *self.by_label.entry(label.clone()).or_default() += for_ms;
        if self.last_label.as_ref().is_some_and(|last| last != label) {
            self.changes += 1;
        }
        self.last_label = Some(label.clone());
    }

    /// Returns the share of time of each expression, the largest first.
    fn shares(&self) -> Vec<(&str, f64)> {
        let all: f64 = self.by_label.values().sum();
        let labels = self.by_label.iter();
        let mut shares: Vec<(&str, f64)> = labels
            .map(|(label, &ms)| (&**label, if all > 0.0 { ms / all } else { 0.0 }))
            .collect();
        shares.sort_by(|a, b| b.1.total_cmp(&a.1));
        shares
    }
}

/// Returns the people in a video too short for ids (a still, a GIF of two pictures): the faces of the frame that has
/// the most, except those that have an id elsewhere.
fn seen_too_short(rows: &[Row]) -> Vec<(u32, Option<u64>, Person)> {
    let of_frame = |of: &Row| {
        let (segment, sequence) = (of.segment, of.sequence);
        let is_here = move |row: &&Row| (row.segment, row.sequence) == (segment, sequence);
        rows.iter().filter(is_here).filter(|row| row.rect.is_some())
    };
    let counts = rows.iter().map(|row| (row, of_frame(row).count()));
    // The first of the fullest frames.
    let fullest = counts.rev().max_by_key(|(_, faces)| *faces);
    let Some((fullest, _)) = fullest else {
        return Vec::new();
    };
    let has_id = |face: &Row| {
        let mut followed = rows.iter().filter(|row| row.track.is_some());
        followed.any(|row| {
            face.rect
                .zip(row.rect)
                .is_some_and(|(face, row)| iou(face, row) >= SAME_FACE)
        })
    };
    let faces = of_frame(fullest).filter(|face| face.track.is_none() && !has_id(face));
    let people = faces.map(|face| {
        let mut person = Person {
            first_ms: face.at_ms,
            ..Person::default()
        };
        person.see(face, 0.0);
        (face.segment, None, person)
    });
    people.collect()
}

/// Returns the number of frames of a stream that never reached the table: missed at the source, or lost on the way.
fn missed(report: &Report, stream: &str) -> u64 {
    let stream = report.streams.get(stream);
    let logged = stream.and_then(|stream| stream.sinks.get(LOG));
    let lost = logged.map_or(0, |sink| sink.losses.values().sum::<u64>());
    stream.map_or(0, |stream| stream.missed) + lost
}

fn and_missed(missed: u64) -> String {
    match missed {
        0 => String::new(),
        _ => format!(", {missed} missed"),
    }
}

fn seconds(ms: f64) -> f64 {
    ms.round() / 1e3
}

fn of_photos(rows: Vec<Row>) -> Vec<PhotoFaces> {
    let mut photos: BTreeMap<u64, PhotoFaces> = BTreeMap::new();
    for row in rows {
        let file = row.file.clone().unwrap_or_default();
        let photo = photos.entry(row.sequence).or_insert_with(|| PhotoFaces {
            file,
            faces: Vec::new(),
        });
        if row.rect.is_some() {
            photo.faces.push(row);
        }
    }
    photos.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        "stream,segment,sequence,pts_ms,track,x,y,w,h,raw_label,label,p_happy,p_sad,file
door,0,0,0.000,,1,2,3,4,sad,sad,0.3,0.7,
door,0,1,40.000,1,1,2,3,4,sad,sad,0.3,0.7,
door,0,2,80.000,1,1,2,3,4,happy,happy,0.8,0.2,
door,0,2,80.000,2,9,2,3,4,,,,,
door,0,3,160.000,1,1,2,3,4,happy,happy,0.9,0.1,
photos,0,0,0.000,,1,2,3,4,happy,,0.75,0.25,a.jpg
photos,0,1,1.000,,,,,,,,,,b.jpg
";

    fn people() -> People {
        people_of(TABLE, 1)
    }

    fn people_of(table: &str, every: u64) -> People {
        people_with(table, every, 0)
    }

    fn people_with(table: &str, every: u64, missed: u64) -> People {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), table).unwrap();
        let mut inputs = Inputs::default();
        inputs.videos.push(super::super::inputs::Video {
            name: "door".to_owned(),
            uri: "door.mp4".to_owned(),
        });
        let mut report = Report::default();
        let door = report.streams.entry("door".to_owned()).or_default();
        door.missed = missed;
        People::read(file.path(), &report, &inputs, every).unwrap()
    }

    #[test]
    fn a_video_too_short_for_ids_shows_its_people_all_the_same() {
        let head = "stream,segment,sequence,pts_ms,track,x,y,w,h,label\n";
        let [still, second, other, far] = [
            "door,0,0,0,,10,10,40,40,happy\ndoor,0,0,0,,90,10,40,40,sad\n",
            "door,0,1,40,1,12,10,40,40,happy\n",
            "door,0,1,40,,200,90,40,40,sad\n",
            "door,0,2,80,,,,,,\ndoor,0,3,120,,,,,,\n",
        ];
        for (frames, every, tracks) in [
            (vec![still], 1, vec![json!(null), json!(null)]),
            (vec![still, second], 1, vec![json!(1), json!(null)]),
            (vec![still, other], 1, vec![json!(null), json!(null)]),
            (vec![still, far], 3, vec![json!(null), json!(null)]),
            (vec![still, other, far], 1, vec![]),
        ] {
            let json = people_of(&(head.to_owned() + &frames.concat()), every).json();
            let people = json["videos"][0]["people"].as_array().unwrap();
            let found: Vec<Value> = people
                .iter()
                .map(|person| person["track"].clone())
                .collect();
            assert_eq!(found, tracks, "{frames:?}");
            for person in people {
                let shares = person["shares"].as_object().unwrap();
                assert_eq!(shares.values().next(), Some(&json!(1.0)), "{person}");
            }
        }
        let text = people_of(&(head.to_owned() + still), 1).text();
        for line in [
            "door.mp4: 2 people in 1 frame",
            "  #-   seen    0.0 s (0.0 to 0.0 s), happy 100 %; no change",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn times_are_those_of_the_video_and_gaps_are_not_seen() {
        let head = "stream,segment,sequence,pts_ms,track,x,y,w,h,label\n";
        let rows = [
            (0, 26_000_000),
            (0, 26_000_040),
            (0, 26_000_080),
            // Half an hour is missing in the recording.
            (0, 27_800_080),
            (0, 27_800_120),
            // The clock was set back; segments are numbers, not texts.
            (2, 5_000),
            (10, 5_040),
        ];
        let rows = rows
            .iter()
            .enumerate()
            .map(|(sequence, (segment, pts_ms))| {
                format!("door,{segment},{sequence},{pts_ms},{segment},1,2,3,4,happy\n")
            });
        let table = head.to_owned() + &rows.collect::<String>();
        let people = people_with(&table, 1, 3);
        let json = people.json();
        assert_eq!(json["videos"][0]["missed"], 3);
        let times = |name: &str| {
            let people = json["videos"][0]["people"].as_array().unwrap();
            let times = people.iter().map(|person| person[name].as_f64().unwrap());
            times.collect::<Vec<_>>()
        };
        assert_eq!(times("first_s"), [0.0, 1800.16, 1800.2]);
        assert_eq!(times("seen_s"), [0.2, 0.04, 0.04]);
        let text = people.text();
        assert!(text.contains("3 people in 7 frames, 3 missed"), "{text}");
        // A frame every ten seconds lasts ten seconds.
        let rows = (0..4).map(|n| format!("door,0,{n},{}000,1,1,2,3,4,happy\n", n * 10));
        let slow = people_of(&(head.to_owned() + &rows.collect::<String>()), 1).json();
        assert_eq!(slow["videos"][0]["people"][0]["seen_s"], 40.0);
    }

    #[test]
    fn times_shares_and_changes_are_those_of_the_rows() {
        let json = people().json();
        let people = json["videos"][0]["people"].as_array().unwrap();
        assert_eq!(people.len(), 2);
        // 40 ms sad, 80 + 40 ms happy.
        assert_eq!(people[0]["seen_s"], 0.16);
        assert_eq!(people[0]["shares"]["happy"], 0.75);
        assert_eq!(people[0]["changes"], 1);
        assert_eq!(people[1]["shares"], json!({}));
        assert_eq!(json["photos"][0]["faces"][0]["probability"], 0.75);
        assert_eq!(json["photos"][1]["faces"], json!([]));
    }

    #[test]
    fn a_video_of_which_nothing_came_is_not_one_without_people() {
        let text = people_of("stream,segment,sequence,pts_ms\n", 1).text();
        assert!(text.contains("door.mp4: no frames arrived\n"), "{text}");
    }

    #[test]
    fn people_can_read_it() {
        let text = people().text();
        for line in [
            "door.mp4: 2 people in 4 frames",
            "  #1   seen    0.2 s (0.0 to 0.2 s), happy 75 %, sad 25 %; 1 change",
            "  #2   seen    0.1 s (0.1 to 0.2 s), no clear expression; no change",
            "2 photos, 1 face",
            "  a.jpg: happy 0.75",
            "  b.jpg: no face",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
