//! The rows of faces.csv with times in the videos, as input for `people`.

use std::collections::BTreeMap;
use std::path::Path;

use fermata_actors::sinks::timeline::VideoTime;

/// Maximum duration of a frame, unless the frames of its video usually last longer: beyond it is a gap in which nobody
/// was seen.
const LONGEST_MS: f64 = 1000.0;

/// A face in a frame, or a frame without faces.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) segment: u32,
    pub(super) sequence: u64,
    /// Time in the video, which begins at zero.
    pub(super) at_ms: f64,
    pub(super) track: Option<u64>,
    /// Left, top, width and height in pixels.
    pub(super) rect: Option<[f64; 4]>,
    pub(super) label: Option<String>,
    /// Probability of the label.
    pub(super) probability: Option<f64>,
    /// Name of the image.
    pub(super) file: Option<String>,
}

/// Returns the rows of each stream, in the order of its frames.
///
/// # Errors
/// Fails if the table cannot be read.
pub(super) fn read(table: &Path) -> anyhow::Result<BTreeMap<String, Vec<Row>>> {
    let file = fermata_files::open(table, fermata_files::MOST_TABLE)?;
    let mut reader = csv::Reader::from_reader(file);
    let header = reader.headers()?.clone();
    let mut streams = BTreeMap::<String, Vec<Row>>::new();
    for record in reader.records() {
        let record = record?;
        let cell = |name: &str| {
            let column = header.iter().position(|column| column == name)?;
            record.get(column).filter(|cell| !cell.is_empty())
        };
        let number = |name: &str| cell(name).and_then(|cell| cell.parse::<f64>().ok());
        let label = cell("label").or(cell("raw_label"));
        let sides = ["x", "y", "w", "h"].map(number);
        let row = Row {
            segment: cell("segment")
                .and_then(|cell| cell.parse().ok())
                .unwrap_or(0),
            sequence: cell("sequence")
                .and_then(|cell| cell.parse().ok())
                .unwrap_or(0),
            at_ms: number("pts_ms").unwrap_or(0.0),
            track: cell("track").and_then(|cell| cell.parse().ok()),
            rect: match sides {
                [Some(x), Some(y), Some(w), Some(h)] => Some([x, y, w, h]),
                _ => None,
            },
            label: label.map(str::to_owned),
            probability: label.and_then(|label| number(&format!("p_{label}"))),
            file: cell("file").map(str::to_owned),
        };
        let stream = cell("stream").unwrap_or_default().to_owned();
        streams.entry(stream).or_default().push(row);
    }
    for rows in streams.values_mut() {
        rows.sort_by_key(|row| (row.segment, row.sequence));
        in_video_time(rows);
    }
    Ok(streams)
}

/// Replaces time stamps by times in the written video.
fn in_video_time(rows: &mut [Row]) {
    let mut time = VideoTime::default();
    for frame in rows.chunk_by_mut(|a, b| (a.segment, a.sequence) == (b.segment, b.sequence)) {
        let pts_ns = (frame[0].at_ms * 1e6) as i64;
        let at_ms = time.pass(frame[0].segment, pts_ns) * 1e3;
        frame.iter_mut().for_each(|row| row.at_ms = at_ms);
    }
}

/// Returns the duration of each frame: until the next one of its segment. The last frame of a segment, or one before a
/// gap, gets the usual duration.
pub(super) fn durations(frames: &[(u32, f64)]) -> Vec<f64> {
    let until_next: Vec<Option<f64>> = (0..frames.len())
        .map(|index| {
            let (segment, at_ms) = frames[index];
            let next = frames.get(index + 1).filter(|next| next.0 == segment);
            next.map(|next| (next.1 - at_ms).max(0.0))
        })
        .collect();
    let mut known: Vec<f64> = until_next.iter().copied().flatten().collect();
    known.sort_by(f64::total_cmp);
    let usual = known.get(known.len() / 2).copied().unwrap_or(0.0);
    let longest = LONGEST_MS.max(2.0 * usual);
    let durations = until_next.into_iter();
    durations
        .map(|ms| ms.filter(|&ms| ms <= longest).unwrap_or(usual))
        .collect()
}
