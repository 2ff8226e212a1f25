//! Describes a folder of softlabels for `fermata inspect`.

use std::path::Path;

use fermata_jobs::ledger::Ledger;
use fermata_learn::softlabels::{Alignment, Counts, HASHES, Softlabels};

use crate::softlabels::LEDGER;

/// Describes a folder of softlabels; none if it holds none.
pub(crate) fn described(path: &Path) -> anyhow::Result<Option<String>> {
    if path.join(HASHES).is_file() {
        return Ok(Some(whole(path, &Softlabels::open(path)?)));
    }
    if !path.join(LEDGER).is_file() {
        return Ok(None);
    }
    let ledger = Ledger::join(&path.join(LEDGER))?;
    let state = ledger.state();
    let units = state.job.as_ref().map_or(0, |job| job.units());
    Ok(Some(format!(
        "{}\nsoftlabels  not complete: {} of {units} units are done; `fermata resume {}` continues them\n",
        path.display(),
        state.commits.len(),
        path.display()
    )))
}

fn whole(path: &Path, softlabels: &Softlabels) -> String {
    let told = table(
        softlabels.alignment(),
        softlabels.counts(),
        softlabels.alignment_sha256(),
    );
    format!(
        "{}\n{told}\nall files are as the export wrote them\n",
        path.display()
    )
}

/// Describes what softlabels were made from.
pub(crate) fn table(alignment: &Alignment, counts: &Counts, alignment_sha256: &str) -> String {
    let split = alignment
        .split
        .map_or("all".to_owned(), |split| split.to_string());
    let mut text = format!(
        "softlabels  {} rows of {} ({split}), {} could not be read\nviews       {}, seed {}\nmanifest    sha256 {}\nalignment   sha256 {}\n\n{:<20}{:>8}{:>8}  {:<12}{:>10}{:>10}{:>10}\n",
        counts.rows_out,
        counts.rows_in,
        counts.failed,
        alignment.views,
        alignment.seed,
        alignment.manifest_sha256,
        alignment_sha256,
        "teacher",
        "weight",
        "T",
        "backend",
        "unseen",
        "seen",
        "unknown",
    );
    for teacher in &alignment.teachers {
        let seen = counts.seen.get(&teacher.name).copied().unwrap_or_default();
        text += &format!(
            "{:<20}{:>8.3}{:>8.3}  {:<12}{:>10}{:>10}{:>10}\n",
            teacher.name,
            teacher.weight,
            teacher.temperature,
            teacher.backend,
            seen.unseen,
            seen.seen,
            seen.unknown
        );
        for model in &teacher.models {
            let sha256 = model.sha256.as_deref().unwrap_or("unknown");
            text += &format!(
                "  weights   sha256 {sha256}\n  source    {}\n",
                model.source
            );
        }
    }
    text
}
