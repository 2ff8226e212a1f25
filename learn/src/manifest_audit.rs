//! Which rows of manifests are one picture: within a split, across splits, across manifests; under one label or two; and how much of one source
//! is in another. Owns what is found and how it is counted; what becomes of it is somebody's decision. Nothing is changed.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use fermata_vision::Expression;
use serde::{Deserialize, Serialize};

use crate::manifest::pictures::{Picture, look_at, one_picture};
use crate::manifest::{Manifest, Row, Split, Watch};

/// A manifest and how it is called.
#[derive(Clone, Debug)]
pub struct Named {
    /// As the user names it.
    pub name: String,
    /// The manifest.
    pub manifest: Manifest,
}

/// Where two rows stand that are one picture. The worst that is true of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In one split of one manifest: it counts twice.
    WithinSplit,
    /// In one manifest, in two splits: what is tested was learnt.
    AcrossSplits,
    /// In two manifests, in splits of one name.
    AcrossManifests,
    /// In two manifests, in splits of two names: a model of one was tested on the other, or learnt from its test.
    AcrossManifestsAndSplits,
}

impl Place {
    /// All, in order.
    pub const ALL: [Self; 4] = [
        Self::WithinSplit,
        Self::AcrossSplits,
        Self::AcrossManifests,
        Self::AcrossManifestsAndSplits,
    ];

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::WithinSplit => "within a split",
            Self::AcrossSplits => "across splits",
            Self::AcrossManifests => "across manifests",
            Self::AcrossManifestsAndSplits => "across manifests and splits",
        }
    }
}

/// One of two rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Name of the manifest.
    pub manifest: String,
    /// As the manifest has it.
    pub image: PathBuf,
    /// Its label there.
    pub label: Expression,
    /// Its split there.
    pub split: Split,
    /// Its source there.
    pub source: String,
    /// Where the file is.
    #[serde(skip)]
    pub path: PathBuf,
}

/// Two rows that are one picture. Of a group of rows each is paired with one before it: one with the same bytes if there is one, else the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// Where they stand.
    pub place: Place,
    /// Whether their bytes are the same; else they are near-duplicates.
    pub same_bytes: bool,
    /// The row before.
    pub one: Entry,
    /// The row.
    pub other: Entry,
}

impl Pair {
    /// Whether it is one picture under two labels.
    pub fn has_two_labels(&self) -> bool {
        self.one.label != self.other.label
    }
}

/// How many pairs there are of a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairCounts {
    /// With the same bytes.
    pub same_bytes: usize,
    /// Near-duplicates.
    pub same_picture: usize,
    /// Of both: under two labels.
    pub two_labels: usize,
}

/// How much two sources have in common: counted twice where it is much.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shared {
    /// Manifest and source of the smaller.
    pub one: [String; 2],
    /// Manifest and source of the larger.
    pub other: [String; 2],
    /// Pictures that are in both.
    pub pictures: usize,
    /// Pictures of the smaller.
    pub of: usize,
    /// How many of those in both have the same label in both (the first of each).
    pub same_label: usize,
}

/// A manifest that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audited {
    /// As the user names it.
    pub manifest: String,
    /// Hash of the file.
    pub sha256: String,
    /// Its rows.
    pub rows: usize,
    /// Different pictures among them.
    pub pictures: usize,
    /// Files that could not be read, or are not the ones that it was made from.
    pub unreadable_or_stale: usize,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// In the order that they were named in.
    pub manifests: Vec<Audited>,
    /// Different pictures among all.
    pub pictures: usize,
    /// Pairs by place.
    pub pairs_by_place: BTreeMap<Place, PairCounts>,
    /// Sources that share pictures, most first.
    pub shared_sources: Vec<Shared>,
    /// All pairs, in the order of the rows.
    #[serde(skip)]
    pub pairs: Vec<Pair>,
    /// What could not be looked at: file and reason.
    #[serde(skip)]
    pub unreadable: Vec<(PathBuf, String)>,
}

/// A row that was looked at.
struct Seen<'a> {
    manifest: usize,
    row: &'a Row,
    picture: Picture,
    /// Of its picture: the first row that shows it.
    first: usize,
}

impl Audit {
    /// Looks at all rows and images of manifests. `watch` is told how far it has come.
    pub fn of(manifests: &[Named], watch: Watch<'_>) -> Self {
        let rows: Vec<(usize, &Row)> = manifests
            .iter()
            .enumerate()
            .flat_map(|(number, named)| named.manifest.rows.iter().map(move |row| (number, row)))
            .collect();
        let path =
            |manifest: usize, row: &Row| manifests[manifest].manifest.folder.join(&row.image);
        let paths: Vec<PathBuf> = rows.iter().map(|&(m, row)| path(m, row)).collect();
        let (mut seen, mut unreadable, mut bad) = (Vec::new(), Vec::new(), HashMap::new());
        for ((manifest, row), answer) in rows.into_iter().zip(look_at(&paths, watch)) {
            let reason = match &answer {
                Err(error) => Some(error.to_string()),
                Ok(picture) if picture.sha256 != row.sha256 => {
                    Some(format!("its sha256 is {}", picture.sha256))
                }
                Ok(_) => None,
            };
            if let Some(reason) = reason {
                unreadable.push((path(manifest, row), reason));
                *bad.entry(manifest).or_default() += 1;
            }
            if let Ok(picture) = answer {
                seen.push(Seen {
                    manifest,
                    row,
                    picture,
                    first: seen.len(),
                });
            }
        }
        drop(paths);
        let pictures: Vec<(bool, &Picture)> = seen
            .iter()
            .map(|seen| (seen.row.is_drawn(), &seen.picture))
            .collect();
        let groups = one_picture(&pictures, watch);
        for group in &groups {
            for &place in group {
                seen[place].first = group[0];
            }
        }
        let pairs = pairs(manifests, &seen, &groups);
        let mut pairs_by_place = BTreeMap::new();
        for pair in &pairs {
            let counts: &mut PairCounts = pairs_by_place.entry(pair.place).or_default();
            counts.same_bytes += usize::from(pair.same_bytes);
            counts.same_picture += usize::from(!pair.same_bytes);
            counts.two_labels += usize::from(pair.has_two_labels());
        }
        let distinct = |of: &dyn Fn(&Seen<'_>) -> bool| {
            let mut firsts: Vec<usize> = seen.iter().filter(|s| of(s)).map(|s| s.first).collect();
            firsts.sort_unstable();
            firsts.dedup();
            firsts.len()
        };
        let audited = manifests.iter().enumerate().map(|(number, named)| Audited {
            manifest: named.name.clone(),
            sha256: named.manifest.sha256.clone(),
            rows: named.manifest.rows.len(),
            pictures: distinct(&|seen| seen.manifest == number),
            unreadable_or_stale: bad.get(&number).copied().unwrap_or(0),
        });
        Self {
            manifests: audited.collect(),
            pictures: distinct(&|_| true),
            pairs_by_place,
            shared_sources: shared(manifests, &seen),
            pairs,
            unreadable,
        }
    }

    /// A table with a line for each pair.
    pub fn pairs_csv(&self) -> Vec<u8> {
        let mut table = csv::Writer::from_writer(Vec::new());
        let header = table.write_record([
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
        ]);
        let rows = self.pairs.iter().try_for_each(|pair| {
            let mut record = vec![
                pair.place.words().to_owned(),
                if pair.same_bytes { "bytes" } else { "picture" }.to_owned(),
                pair.has_two_labels().to_string(),
            ];
            for entry in [&pair.one, &pair.other] {
                record.extend([
                    entry.manifest.clone(),
                    entry.image.display().to_string(),
                    entry.label.to_string(),
                    entry.split.to_string(),
                    entry.source.clone(),
                ]);
            }
            table.write_record(record)
        });
        header.and(rows).expect("a table is written into memory");
        table.into_inner().expect("memory takes all")
    }
}

fn entry(manifests: &[Named], seen: &Seen<'_>) -> Entry {
    let named = &manifests[seen.manifest];
    Entry {
        manifest: named.name.clone(),
        image: seen.row.image.clone(),
        label: seen.row.label,
        split: seen.row.split,
        source: seen.row.source.clone(),
        path: named.manifest.folder.join(&seen.row.image),
    }
}

fn pairs(manifests: &[Named], seen: &[Seen<'_>], groups: &[Vec<usize>]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for group in groups {
        let mut first_with: HashMap<&str, usize> = HashMap::new();
        for &place in group {
            let other = &seen[place];
            let bytes = first_with.get(other.picture.sha256.as_str()).copied();
            first_with.entry(&other.picture.sha256).or_insert(place);
            if place == group[0] {
                continue;
            }
            let one = &seen[bytes.unwrap_or(group[0])];
            let are_of_one_manifest = one.manifest == other.manifest;
            let place = match (are_of_one_manifest, one.row.split == other.row.split) {
                (true, true) => Place::WithinSplit,
                (true, false) => Place::AcrossSplits,
                (false, true) => Place::AcrossManifests,
                (false, false) => Place::AcrossManifestsAndSplits,
            };
            pairs.push(Pair {
                place,
                same_bytes: bytes.is_some(),
                one: entry(manifests, one),
                other: entry(manifests, other),
            });
        }
    }
    pairs
}

/// Each two sources (of manifests) that have pictures in common.
fn shared(manifests: &[Named], seen: &[Seen<'_>]) -> Vec<Shared> {
    // Pictures of each source, with the first label.
    let mut pictures: BTreeMap<(usize, &str), BTreeMap<usize, Expression>> = BTreeMap::new();
    for seen in seen {
        let of_source = pictures
            .entry((seen.manifest, &seen.row.source))
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
                let name = |(manifest, source): (usize, &str)| {
                    [manifests[manifest].name.clone(), source.to_owned()]
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

/// Reads a manifest under the name by which it was named.
///
/// # Errors
/// See [`Manifest::read`].
pub fn named(path: &Path) -> Result<Named, crate::manifest::ManifestError> {
    Ok(Named {
        name: path.display().to_string(),
        manifest: Manifest::read(path)?,
    })
}
