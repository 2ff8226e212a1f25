//! Checks, before anything is computed, which rows teachers were trained on: they may have memorised these.

use std::path::{Path, PathBuf};

use anyhow::bail;
use fermata::learn_cli::TeacherArguments;
use fermata::print::complain;
use fermata_jobs::loaded_model::LoadedModel;
use fermata_jobs::unit::rows_of;
use fermata_learn::folds::Learnt;
use fermata_learn::manifest::{Manifest, Row, Split};

use crate::teachers::Teachers;

/// How to treat a teacher whose logits are needed for rows it was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Refuse it.
    Refused,
    /// Warn about it.
    Allowed,
}

/// The rows for which a teacher's logits are needed.
#[derive(Default)]
struct Rows<'a> {
    all: usize,
    /// The first row it was trained on, and the number of such rows.
    seen: Option<(&'a Row, usize)>,
    /// The same for rows for which this is unknown.
    unknown: Option<(&'a Row, usize)>,
}

/// Checks all teachers. Rows that all models of a teacher were trained on are refused in any case, and so are models of
/// a teacher with several if their training rows are unknown.
pub(crate) fn look_at(
    teachers: &Teachers,
    manifest: &Manifest,
    split: Option<Split>,
    given: &TeacherArguments,
    seen: Seen,
) -> anyhow::Result<()> {
    for (name, folders) in &teachers.0 {
        let load = |folder: &PathBuf| {
            let model = LoadedModel::load(folder, None, &given.device, given.threads)?;
            anyhow::Ok(model.learnt())
        };
        let learnt: Vec<Option<Learnt>> = folders.iter().map(load).collect::<Result<_, _>>()?;
        match &learnt[..] {
            [only] => {
                let rows = Rows::of(manifest, split, |row| saw(only.as_ref(), row, manifest));
                one_folder(name, &folders[0], &rows, seen)?;
            }
            several => several_folders(name, folders, several, manifest, split)?,
        }
    }
    Ok(())
}

fn saw(learnt: Option<&Learnt>, row: &Row, manifest: &Manifest) -> Option<bool> {
    learnt?.saw(row, &manifest.sha256)
}

impl<'a> Rows<'a> {
    fn of(
        manifest: &'a Manifest,
        split: Option<Split>,
        saw: impl Fn(&Row) -> Option<bool>,
    ) -> Self {
        let mut rows = Self::default();
        for index in rows_of(manifest, split) {
            let row = &manifest.rows[index];
            rows.all += 1;
            let counted = match saw(row) {
                Some(false) => continue,
                Some(true) => &mut rows.seen,
                None => &mut rows.unknown,
            };
            counted.get_or_insert((row, 0)).1 += 1;
        }
        rows
    }
}

fn one_folder(name: &str, folder: &Path, rows: &Rows<'_>, seen: Seen) -> anyhow::Result<()> {
    let all = rows.all;
    if let Some((_, count)) = rows.unknown {
        complain(&format!(
            "warning: --teacher {name}: the provenance of {} does not say whether it was trained on {count} of the {all} rows; it may have memorised these rows",
            folder.display()
        ));
    }
    let Some((first, count)) = rows.seen else {
        return Ok(());
    };
    let told = format!(
        "--teacher {name}: it was trained on {count} of the {all} rows, the first of them {}, and may have memorised these rows",
        first.image.display()
    );
    match seen {
        Seen::Allowed => complain(&format!("warning: {told}")),
        Seen::Refused => bail!(
            "{told}; give it several folders that were trained without another fold each (`fermata train --without-fold F/K`), name a --split that it has not seen, or allow it with --allow-seen"
        ),
    }
    Ok(())
}

fn several_folders(
    name: &str,
    folders: &[PathBuf],
    learnt: &[Option<Learnt>],
    manifest: &Manifest,
    split: Option<Split>,
) -> anyhow::Result<()> {
    for (folder, learnt) in folders.iter().zip(learnt) {
        let rows = Rows::of(manifest, split, |row| saw(learnt.as_ref(), row, manifest));
        if rows.unknown.is_some() {
            bail!(
                "--teacher {name}: the provenance of {} does not say that it, and the weights with which it began, were trained on this manifest, so it is unknown which rows it has seen",
                folder.display()
            );
        }
    }
    let by_all = |row: &Row| {
        let mut all = learnt.iter();
        Some(all.all(|learnt| saw(learnt.as_ref(), row, manifest) == Some(true)))
    };
    if let Some((first, count)) = Rows::of(manifest, split, by_all).seen {
        bail!(
            "--teacher {name}: all of its models were trained on {count} rows, the first of them {}, and may have memorised these rows; train each model without another fold",
            first.image.display()
        );
    }
    Ok(())
}
