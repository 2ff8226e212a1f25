//! Audit of duplicates: which rows of manifests show one picture (within a split, across splits, across manifests; with
//! one label or two), and how much two sources overlap. Only finds and counts them; what to do is for the user to
//! decide, and nothing is changed.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fermata_vision::Expression;
use serde::{Deserialize, Serialize};

use crate::manifest::pictures::{Picture, look_at, one_picture};
use crate::manifest::{Manifest, Row, Watch};
use crate::row_hash::RowHash;

/// Manifest with its name.
#[derive(Clone, Debug)]
pub struct Named {
    /// Name as given by the user.
    pub name: String,
    /// The manifest.
    pub manifest: Manifest,
}

/// Where two rows with one picture are; the worst case that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In one split of one manifest: the picture counts twice.
    WithinSplit,
    /// In two splits of one manifest: a tested picture was trained on.
    AcrossSplits,
    /// In two manifests, in splits of the same name.
    AcrossManifests,
    /// In two manifests, in splits of different names: a model of one was tested on the other, or trained on its test
    /// rows.
    AcrossManifestsAndSplits,
}

impl Place {
    /// All places, in order.
    pub const ALL: [Self; 4] = [
        Self::WithinSplit,
        Self::AcrossSplits,
        Self::AcrossManifests,
        Self::AcrossManifestsAndSplits,
    ];

    /// Returns the description for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::WithinSplit => "within a split",
            Self::AcrossSplits => "across splits",
            Self::AcrossManifests => "across manifests",
            Self::AcrossManifestsAndSplits => "across manifests and splits",
        }
    }
}

/// Position of a row: index of the manifest and of the row in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowAt {
    manifest: u32,
    row: u32,
}

impl RowAt {
    /// Returns the row and its manifest, given the audited manifests.
    ///
    /// # Panics
    /// Panics if the manifests are others.
    pub fn of(self, manifests: &[Named]) -> (&Named, &Row) {
        let named = &manifests[self.manifest as usize];
        (named, &named.manifest.rows[self.row as usize])
    }
}

/// Two rows that show one picture. Each row of a group is paired with an earlier one: one with the same bytes if there
/// is one, else the first. There may be as many pairs as rows, so only positions are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Where they are.
    pub place: Place,
    /// Whether their bytes are the same; otherwise they are near-duplicates.
    pub same_bytes: bool,
    /// Whether their labels differ.
    pub two_labels: bool,
    /// Earlier row.
    pub one: RowAt,
    /// Later row.
    pub other: RowAt,
}

/// Number of pairs at a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairCounts {
    /// Pairs with the same bytes.
    pub same_bytes: usize,
    /// Pairs of near-duplicates.
    pub same_picture: usize,
    /// Pairs of either kind with two labels.
    pub two_labels: usize,
}

/// Overlap of two sources, which count twice where it is large.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shared {
    /// Manifest and source of the smaller one.
    pub one: [String; 2],
    /// Manifest and source of the larger one.
    pub other: [String; 2],
    /// Number of pictures in both.
    pub pictures: usize,
    /// Number of pictures in the smaller one.
    pub of: usize,
    /// Number of common pictures with the same label in both (their first label in each).
    pub same_label: usize,
}

/// Summary of an audited manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audited {
    /// Name as given by the user.
    pub manifest: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Number of rows.
    pub rows: usize,
    /// Number of different pictures among them.
    pub pictures: usize,
    /// Number of files that cannot be read, or differ from those that the manifest was made from.
    pub unreadable_or_stale: usize,
}

/// Result of an audit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Audited manifests in the given order.
    pub manifests: Vec<Audited>,
    /// Number of different pictures in all of them.
    pub pictures: usize,
    /// Number of pairs by place.
    pub pairs_by_place: BTreeMap<Place, PairCounts>,
    /// Sources that share pictures, largest overlap first.
    pub shared_sources: Vec<Shared>,
    /// All pairs, in the order of the rows.
    #[serde(skip)]
    pub pairs: Vec<Pair>,
    /// Files that could not be checked, with the reason.
    #[serde(skip)]
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Row whose image was read.
struct Seen<'a> {
    at: RowAt,
    row: &'a Row,
    picture: Arc<Picture>,
    /// Index of the first row that shows its picture.
    first: usize,
}

/// What the images of manifests show.
struct Looked<'a> {
    /// Rows whose image can be read, each the first of its picture so far.
    seen: Vec<Seen<'a>>,
    /// Images that cannot be read or are not those of the manifest, and why.
    unreadable: Vec<(PathBuf, String)>,
    /// Their number, by manifest.
    bad: HashMap<u32, usize>,
}

impl<'a> Looked<'a> {
    fn at(manifests: &'a [Named], watch: Watch<'_>) -> Self {
        let rows: Vec<RowAt> = manifests
            .iter()
            .zip(0..)
            .flat_map(|(named, manifest)| {
                let rows = 0..named.manifest.rows.len() as u32;
                rows.map(move |row| RowAt { manifest, row })
            })
            .collect();
        let path = |at: RowAt| {
            let (named, row) = at.of(manifests);
            named.manifest.folder.join(&row.image)
        };
        let (mut seen, mut unreadable, mut bad) = (Vec::new(), Vec::new(), HashMap::new());
        let answers = look_at(rows.len(), |file| path(rows[file]), watch);
        for (&at, answer) in rows.iter().zip(answers) {
            let (_, row) = at.of(manifests);
            let reason = match &answer {
                Err(error) => Some(error.to_string()),
                Ok(picture) if picture.hash != row.sha256 => {
                    Some(format!("its sha256 is {}", picture.hash))
                }
                Ok(_) => None,
            };
            if let Some(reason) = reason {
                unreadable.push((path(at), reason));
                *bad.entry(at.manifest).or_default() += 1;
            }
            if let Ok(picture) = answer {
                let first = seen.len();
                seen.push(Seen {
                    at,
                    row,
                    picture,
                    first,
                });
            }
        }
        Self {
            seen,
            unreadable,
            bad,
        }
    }
}

impl Audit {
    /// Audits all rows and images of manifests. `watch` is called with the progress.
    pub fn of(manifests: &[Named], watch: Watch<'_>) -> Self {
        let Looked {
            mut seen,
            unreadable,
            bad,
        } = Looked::at(manifests, watch);
        let groups = one_picture(&seen, |seen| (seen.row.is_drawn(), &seen.picture), watch);
        for group in &groups {
            for &place in group {
                seen[place].first = group[0];
            }
        }
        let distinct = |of: &dyn Fn(&Seen<'_>) -> bool| {
            let mut firsts: Vec<usize> = seen.iter().filter(|s| of(s)).map(|s| s.first).collect();
            firsts.sort_unstable();
            firsts.dedup();
            firsts.len()
        };
        let audited = manifests.iter().zip(0..).map(|(named, number)| Audited {
            manifest: named.name.clone(),
            sha256: named.manifest.sha256.clone(),
            rows: named.manifest.rows.len(),
            pictures: distinct(&|seen| seen.at.manifest == number),
            unreadable_or_stale: bad.get(&number).copied().unwrap_or(0),
        });
        let pairs = pairs(&seen, &groups);
        Self {
            manifests: audited.collect(),
            pictures: distinct(&|_| true),
            pairs_by_place: counted(&pairs),
            shared_sources: shared(manifests, &seen),
            pairs,
            unreadable,
        }
    }

    /// Writes a table with a line for each pair. `manifests` are the audited ones.
    ///
    /// # Errors
    /// The table cannot be written.
    pub fn write_pairs(&self, manifests: &[Named], to: impl Write) -> csv::Result<()> {
        let mut table = csv::Writer::from_writer(to);
        table.write_record([
            "place",
            "same",
            "two_labels",
            "manifest",
            "image",
            "label",
            "split",
            "source",
            "other_manifest",
            "other_image",
            "other_label",
            "other_split",
            "other_source",
        ])?;
        for pair in &self.pairs {
            table.write_field(pair.place.words())?;
            table.write_field(if pair.same_bytes { "bytes" } else { "picture" })?;
            table.write_field(pair.two_labels.to_string())?;
            for at in [pair.one, pair.other] {
                let (named, row) = at.of(manifests);
                table.write_field(&named.name)?;
                table.write_field(row.image.to_string_lossy().as_ref())?;
                table.write_field(row.label.name())?;
                table.write_field(row.split.to_string())?;
                table.write_field(&row.source)?;
            }
            table.write_record(None::<&[u8]>)?;
        }
        table.flush().map_err(csv::Error::from)
    }
}

fn pairs(seen: &[Seen<'_>], groups: &[Vec<usize>]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for group in groups {
        let mut first_with: HashMap<RowHash, usize> = HashMap::new();
        for &place in group {
            let other = &seen[place];
            let bytes = first_with.get(&other.picture.hash).copied();
            first_with.entry(other.picture.hash).or_insert(place);
            if place == group[0] {
                continue;
            }
            let one = &seen[bytes.unwrap_or(group[0])];
            let are_of_one_manifest = one.at.manifest == other.at.manifest;
            let place = match (are_of_one_manifest, one.row.split == other.row.split) {
                (true, true) => Place::WithinSplit,
                (true, false) => Place::AcrossSplits,
                (false, true) => Place::AcrossManifests,
                (false, false) => Place::AcrossManifestsAndSplits,
            };
            pairs.push(Pair {
                place,
                same_bytes: bytes.is_some(),
                two_labels: one.row.label != other.row.label,
                one: one.at,
                other: other.at,
            });
        }
    }
    pairs
}

fn counted(pairs: &[Pair]) -> BTreeMap<Place, PairCounts> {
    let mut by_place: BTreeMap<Place, PairCounts> = BTreeMap::new();
    for pair in pairs {
        let counts = by_place.entry(pair.place).or_default();
        counts.same_bytes += usize::from(pair.same_bytes);
        counts.same_picture += usize::from(!pair.same_bytes);
        counts.two_labels += usize::from(pair.two_labels);
    }
    by_place
}

/// Returns all pairs of sources (of manifests) that have pictures in common.
fn shared(manifests: &[Named], seen: &[Seen<'_>]) -> Vec<Shared> {
    // Pictures of each source, with their first label.
    let mut pictures: BTreeMap<(u32, &str), BTreeMap<usize, Expression>> = BTreeMap::new();
    for seen in seen {
        let of_source = pictures
            .entry((seen.at.manifest, &seen.row.source))
            .or_default();
        of_source.entry(seen.first).or_insert(seen.row.label);
    }
    let sources: Vec<_> = pictures.into_iter().collect();
    let mut found = Vec::new();
    for (index, one) in sources.iter().enumerate() {
        for other in &sources[index + 1..] {
            let (one, other) = if one.1.len() <= other.1.len() {
                (one, other)
            } else {
                (other, one)
            };
            let both: Vec<bool> = one
                .1
                .iter()
                .filter_map(|(first, label)| Some(other.1.get(first)? == label))
                .collect();
            if !both.is_empty() {
                let name = |(manifest, source): (u32, &str)| {
                    [manifests[manifest as usize].name.clone(), source.to_owned()]
                };
                found.push(Shared {
                    one: name(one.0),
                    other: name(other.0),
                    pictures: both.len(),
                    of: one.1.len(),
                    same_label: both.iter().filter(|&&same| same).count(),
                });
            }
        }
    }
    found.sort_by_key(|shared| std::cmp::Reverse(shared.pictures));
    found
}

/// Reads a manifest and names it by its path.
///
/// # Errors
/// See [`Manifest::read`].
pub fn named(path: &Path) -> Result<Named, crate::manifest::ManifestError> {
    Ok(Named {
        name: path.display().to_string(),
        manifest: Manifest::read(path)?,
    })
}
