//! `fermata manifest fold`: shows which training rows `train --without-fold F/K` leaves out, which are those that the
//! model can be evaluated on.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::bail;
use fermata::documents::refuse_other_ending;
use fermata::print::{print, print_line};
use fermata::spared_inputs::refuse_to_write_over;
use fermata_learn::folds::fold_of;
use fermata_learn::in_memory::csv_text;
use fermata_learn::manifest::{Manifest, Row, Split};
use fermata_vision::Expression;

pub(super) fn fold(path: &Path, folds: u32, out: Option<&Path>) -> anyhow::Result<()> {
    refuse_to_write_over(&[path], out.as_slice())?;
    out.map_or(Ok(()), |out| refuse_other_ending(out, "csv"))?;
    let manifest = Manifest::read(path)?;
    let rows: Vec<&Row> = manifest.split(Split::Train).collect();
    let mut rows_of: BTreeMap<(u32, Expression), usize> = BTreeMap::new();
    let mut groups_of: BTreeMap<&str, u32> = BTreeMap::new();
    for row in &rows {
        let fold = fold_of(&row.group, folds);
        groups_of.insert(&row.group, fold);
        *rows_of.entry((fold, row.label)).or_default() += 1;
    }
    print(&table(folds, &rows_of, &groups_of))?;
    for fold in 0..folds {
        let count = |fold: u32| groups_of.values().filter(|&&found| found == fold).count();
        if count(fold) == 0 || count(fold) == groups_of.len() {
            bail!(
                "fold {fold} of {folds} has {} of the {} groups of the training rows: a model would learn from all of them or from none; use fewer folds, or a manifest with more groups",
                count(fold),
                groups_of.len()
            );
        }
    }
    if let Some(out) = out {
        fermata_files::write(out, csv(&rows, folds).as_bytes())?;
        print_line(&format!("\nwritten to {}", out.display()))?;
    }
    Ok(())
}

fn table(
    folds: u32,
    rows_of: &BTreeMap<(u32, Expression), usize>,
    groups_of: &BTreeMap<&str, u32>,
) -> String {
    let mut text = format!("{:<10}{:>9}{:>9}", "fold", "groups", "rows");
    for label in Expression::ALL {
        text += &format!("{:>10}", label.name());
    }
    text += "\n";
    for fold in 0..folds {
        let groups = groups_of.values().filter(|&&found| found == fold).count();
        let of = |label| rows_of.get(&(fold, label)).copied().unwrap_or(0);
        let rows: usize = Expression::ALL.into_iter().map(of).sum();
        text += &format!("{:<10}{groups:>9}{rows:>9}", format!("{fold}/{folds}"));
        for label in Expression::ALL {
            text += &format!("{:>10}", of(label));
        }
        text += "\n";
    }
    text
}

/// Formats `sha256,image,group,fold`, one line per training row.
fn csv(rows: &[&Row], folds: u32) -> String {
    let rows = rows.iter().map(|row| {
        let fold = fold_of(&row.group, folds).to_string();
        let image = row.image.to_string_lossy().into_owned();
        [row.sha256.to_string(), image, row.group.clone(), fold]
    });
    csv_text(["sha256", "image", "group", "fold"], rows)
}
