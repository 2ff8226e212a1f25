//! Makes a manifest from raw sources: maps their tables, checks their images, and leaves out what would spoil a
//! training, with the reason for each row.
//!
//! All versions of one picture (scaled, recompressed, mirrored) form a group. Within a group, identical bytes are kept
//! once; a group with two labels is removed entirely; a group that spans splits keeps its rows in test, else in
//! validation, and loses the others, so that no tested picture was trained on. Groups without a split are assigned one
//! at random, as a whole. Groups of imported manifests stay together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::candidates::{
    Candidate, Gathered, Reason, Removed, look, refuse_two_policies, remaining,
};
use super::pictures::Watch;
use super::recipe_spec::{Duplicates, Recipe};
use super::table::{Counts, Manifest, ManifestError, Row, Split};
use crate::row_hash::RowHash;

/// Contents of `clean_report.json`: which rows were removed, and why. The same sources give the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CleanReport {
    /// Label policies by source.
    pub policies: BTreeMap<String, BTreeSet<String>>,
    /// Number of rows in all tables.
    pub rows_in: usize,
    /// Number of rows in the manifest.
    pub rows_out: usize,
    /// Number of removed rows by reason.
    pub removed_by_reason: BTreeMap<Reason, usize>,
    /// Number of rows in the manifest by source, label and split.
    pub counts: Counts,
    /// All removed rows.
    pub removed: Vec<Removed>,
}

impl Recipe {
    /// Makes the manifest for a folder, to which its image paths are relative; the folder's path must be absolute and
    /// without links ([`crate::relative_path::resolved`]). `at` is the folder of the recipe. Nothing is written.
    ///
    /// # Errors
    /// A table or mapping is invalid, or images cannot be read; reports all of them.
    pub fn make(&self, at: &Path, folder: &Path) -> Result<(Manifest, CleanReport), ManifestError> {
        self.make_watched(at, folder, &|_| {})
    }

    /// Makes the manifest as [`Recipe::make`] does, and calls `watch` with the progress.
    ///
    /// # Errors
    /// See [`Recipe::make`].
    pub fn make_watched(
        &self,
        at: &Path,
        folder: &Path,
        watch: Watch<'_>,
    ) -> Result<(Manifest, CleanReport), ManifestError> {
        let mut gathered = Gathered::default();
        for part in &self.parts {
            gathered.add(part, at, folder)?;
        }
        for (number, from) in self.manifests.iter().enumerate() {
            gathered.take(number, from, at, folder)?;
        }
        let (policy_of, paths) = (&gathered.policy_of, &gathered.paths);
        let mut candidates = gathered.candidates;
        let by_path = |place: usize| (place, &paths[place]);
        // Reported before all images are read, except for rows that may turn out to be too small.
        let is_certain = |&place: &usize| candidates[place].shorter_side == 0;
        let certain = remaining(&candidates).filter(is_certain);
        refuse_two_policies(certain.map(by_path), policy_of, paths)?;
        look(&mut candidates, paths, watch)?;
        refuse_two_policies(remaining(&candidates).map(by_path), policy_of, paths)?;
        // The same file may be in two folders.
        let by_source = |place: usize| {
            let row = &candidates[place].row;
            (place, (row.source.as_str(), row.sha256))
        };
        refuse_two_policies(remaining(&candidates).map(by_source), policy_of, paths)?;
        self.clean(&mut candidates);
        let mut removed = gathered.left_out;
        for candidate in &candidates {
            if let Some((reason, because_of)) = candidate.removed {
                removed.push(Removed {
                    image: candidate.name(),
                    source: candidate.row.source.clone(),
                    reason,
                    because_of: because_of.map(|place: usize| candidates[place].name()),
                });
            }
        }
        let kept = candidates
            .iter()
            .filter(|candidate| candidate.removed.is_none());
        let rows: Vec<Row> = kept.map(|candidate| candidate.row.clone()).collect();
        if rows.is_empty() {
            return Err(ManifestError::NothingLeft(gathered.rows));
        }
        let mut removed_by_reason = BTreeMap::new();
        for removed in &removed {
            *removed_by_reason.entry(removed.reason).or_default() += 1;
        }
        let report = CleanReport {
            policies: gathered.policies,
            rows_in: gathered.rows,
            rows_out: rows.len(),
            removed_by_reason,
            counts: super::table::counts(&rows),
            removed,
        };
        Ok((Manifest::of(folder.to_owned(), rows), report))
    }

    /// Marks the rows to remove, and sets split and group of the others.
    fn clean(&self, candidates: &mut [Candidate]) {
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (place, candidate) in candidates.iter().enumerate() {
            if candidate.removed.is_none() {
                groups.entry(candidate.group).or_default().push(place);
            }
        }
        for places in groups.values() {
            if self.duplicates != Duplicates::Remove {
                self.keep(candidates, places);
                if self.duplicates == Duplicates::KeepUnseen {
                    remove_seen(candidates, places);
                }
                continue;
            }
            let first_other = |label| {
                places
                    .iter()
                    .copied()
                    .find(|&place| candidates[place].row.label != label)
            };
            let others: Vec<Option<usize>> = places
                .iter()
                .map(|&place| first_other(candidates[place].row.label))
                .collect();
            if others.iter().any(Option::is_some) {
                for (&place, other) in places.iter().zip(others) {
                    candidates[place].removed = Some((Reason::TwoLabels, other));
                }
                continue;
            }
            let smallest = places
                .iter()
                .map(|&place| candidates[place].row.sha256)
                .min();
            let smallest = smallest.expect("a group has rows").to_string();
            // What is tested is kept rather than what is learnt.
            let split = places
                .iter()
                .filter_map(|&place| candidates[place].split)
                .max();
            let split = split.unwrap_or_else(|| self.draw.split(&smallest));
            let in_split = |place: usize| candidates[place].split.is_none_or(|own| own == split);
            let keeper = places.iter().copied().find(|&place| in_split(place));
            let gone: Vec<usize> = places
                .iter()
                .copied()
                .filter(|&place| !in_split(place))
                .collect();
            for place in gone {
                candidates[place].removed = Some((Reason::OtherSplit, keeper));
            }
            let mut bytes: BTreeMap<RowHash, usize> = BTreeMap::new();
            for &place in places {
                let candidate = &mut candidates[place];
                candidate.row.split = split;
                candidate.row.group.clone_from(&smallest);
                if candidate.removed.is_none() {
                    let first = *bytes.entry(candidate.row.sha256).or_insert(place);
                    if first != place {
                        candidate.removed = Some((Reason::SameBytes, Some(first)));
                    }
                }
            }
        }
        join_given_groups(candidates);
    }

    /// Sets split and group of rows that show one picture and are all kept. The rows of each split form a group.
    fn keep(&self, candidates: &mut [Candidate], places: &[usize]) {
        let mut smallest: BTreeMap<Split, RowHash> = BTreeMap::new();
        for &place in places {
            let row = &mut candidates[place].row;
            let drawn = || self.draw.split(&row.sha256.to_string());
            row.split = candidates[place].split.unwrap_or_else(drawn);
            let row = &candidates[place].row;
            let of_split = smallest.entry(row.split).or_insert(row.sha256);
            *of_split = row.sha256.min(*of_split);
        }
        for &place in places {
            let row = &mut candidates[place].row;
            row.group = format!("{}-{}", row.split, smallest[&row.split]);
        }
    }
}

/// Removes validation and test rows that show the same picture as a training row.
fn remove_seen(candidates: &mut [Candidate], places: &[usize]) {
    let is_learnt = |place: usize| candidates[place].row.split == Split::Train;
    let Some(learnt) = places.iter().copied().find(|&place| is_learnt(place)) else {
        return;
    };
    for &place in places {
        if candidates[place].row.split != Split::Train {
            candidates[place].removed = Some((Reason::OtherSplit, Some(learnt)));
        }
    }
}

/// Merges the groups of rows that were in one group of an imported manifest, together with their duplicates. The kept
/// rows of each are already in one split. A row that was removed for its bytes links its group to the row that is kept
/// instead, whose split it has.
fn join_given_groups(candidates: &mut [Candidate]) {
    let mut first_of: HashMap<(usize, String), usize> = HashMap::new();
    // Maps a group's name to its new name: a chain that ends at the smallest.
    let mut name_of: BTreeMap<String, String> = BTreeMap::new();
    fn last(name_of: &BTreeMap<String, String>, name: &str) -> String {
        let mut name = name;
        while let Some(other) = name_of.get(name) {
            name = other;
        }
        name.to_owned()
    }
    for place in 0..candidates.len() {
        let candidate = &candidates[place];
        let (None | Some((Reason::SameBytes, _)), Some(given)) =
            (candidate.removed, &candidate.given_group)
        else {
            continue;
        };
        let first = *first_of.entry(given.clone()).or_insert(place);
        let one = last(&name_of, &candidates[first].row.group);
        let other = last(&name_of, &candidate.row.group);
        if one != other {
            let (smaller, larger) = if one < other {
                (one, other)
            } else {
                (other, one)
            };
            name_of.insert(larger, smaller);
        }
    }
    for candidate in candidates {
        if candidate.removed.is_none() {
            candidate.row.group = last(&name_of, &candidate.row.group);
        }
    }
}
