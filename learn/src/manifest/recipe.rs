//! A manifest made of raw sources: their tables are mapped, their images looked at, and what would spoil a training is
//! left out with its reason. Owns what goes and why.
//!
//! One picture (scaled, compressed again, mirrored) is one group. Of a group, the same bytes are kept once; a group
//! with two labels goes whole; a group that lies in two splits keeps its rows in test, else validation, and loses the
//! others, so that nothing is tested that was learnt. Groups without a split are drawn, each whole. Groups of manifests
//! that are taken over stay together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::candidates::{Candidate, Gathered, Reason, Removed, look, refuse_two_policies};
use super::pictures::Watch;
use super::recipe_spec::{Duplicates, Recipe};
use super::table::{Counts, Manifest, ManifestError, Row, Split};
use crate::row_hash::RowHash;

/// `clean_report.json`: what went, and why. The same sources give the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CleanReport {
    /// Label policies by source.
    pub policies: BTreeMap<String, BTreeSet<String>>,
    /// Rows of all tables.
    pub rows_in: usize,
    /// Rows of the manifest.
    pub rows_out: usize,
    /// How many went for each reason.
    pub removed_by_reason: BTreeMap<Reason, usize>,
    /// Rows of the manifest by source, label and split.
    pub counts: Counts,
    /// All that went.
    pub removed: Vec<Removed>,
}

impl Recipe {
    /// Makes the manifest for a folder, from which its images are named; the folder's path is absolute and has no links
    /// in it ([`crate::relative_path::resolved`]). `at` is the folder of the recipe. Nothing is written.
    ///
    /// # Errors
    /// A table or mapping is wrong, or images cannot be read: all of them.
    pub fn make(&self, at: &Path, folder: &Path) -> Result<(Manifest, CleanReport), ManifestError> {
        self.make_watched(at, folder, &|_| {})
    }

    /// The same, and says how far it has come.
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
        refuse_two_policies(&gathered.paths, &gathered.policy_of, &gathered.paths)?;
        let mut candidates = gathered.candidates;
        look(&mut candidates, &gathered.paths, watch)?;
        // The same file may lie in two folders.
        let of_source =
            |candidate: &Candidate| (candidate.row.source.clone(), candidate.row.sha256);
        let files: Vec<_> = candidates.iter().map(of_source).collect();
        refuse_two_policies(&files, &gathered.policy_of, &gathered.paths)?;
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

    /// Marks what goes, and settles split and group of what stays.
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

    /// Settles split and group of rows that are one picture and all stay. Those of each split are a group.
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

/// Of rows that are one picture, and one of them is learnt from, those go that would be measured.
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

/// Rows of one group of a manifest that was taken over, and rows that are one picture with one of them, are one group.
/// What is kept of each is in one split already.
fn join_given_groups(candidates: &mut [Candidate]) {
    let mut first_of: HashMap<(usize, String), usize> = HashMap::new();
    // The group's name by the name that it had before: a path to the smallest.
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
        let (None, Some(given)) = (candidate.removed, &candidate.given_group) else {
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
