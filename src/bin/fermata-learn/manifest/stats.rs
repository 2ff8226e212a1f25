//! `fermata manifest stats`: counts rows by source, label and split, as a table and a picture.

use std::path::Path;

use fermata::documents::refuse_other_ending;
use fermata::print::{print, print_line};
use fermata::spared_inputs::refuse_to_write_over;
use fermata_learn::charts::label_counts;
use fermata_learn::manifest::{Counts, Manifest, Split};
use fermata_vision::Expression;

const SPLITS: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

pub(super) fn stats(path: &Path, out: Option<&Path>) -> anyhow::Result<()> {
    refuse_to_write_over(&[path], out.as_slice())?;
    out.map_or(Ok(()), |out| refuse_other_ending(out, "svg"))?;
    let manifest = Manifest::read(path)?;
    print_table(&manifest)?;
    if let Some(out) = out {
        let title = path.display().to_string();
        let picture = label_counts(&title, &manifest.counts());
        fermata_files::write(out, picture.as_bytes())?;
        print_line(&format!("\nwritten to {}", out.display()))?;
    }
    Ok(())
}

pub(super) fn print_table(manifest: &Manifest) -> anyhow::Result<()> {
    print(&table(&manifest.counts()))
}

/// Formats a block for each source and, if there are several, one for all.
pub(crate) fn table(counts: &Counts) -> String {
    let mut text = String::new();
    for (source, labels) in counts {
        text += &block(source, |label, split| {
            let splits = labels.get(&label);
            let count = splits.and_then(|splits| splits.get(&split));
            count.copied().unwrap_or(0)
        });
    }
    if counts.len() > 1 {
        text += &block("all sources", |label, split| {
            let labels = counts.values().filter_map(|labels| labels.get(&label));
            labels.filter_map(|splits| splits.get(&split)).sum()
        });
    }
    text
}

fn block(name: &str, count: impl Fn(Expression, Split) -> usize) -> String {
    let line = |name: &str, counts: [usize; 3]| {
        let all: usize = counts.iter().sum();
        let [train, validation, test] = counts;
        format!("{name:<16}{train:>10}{validation:>12}{test:>10}{all:>10}\n")
    };
    let mut text = format!(
        "{name:<16}{:>10}{:>12}{:>10}{:>10}\n",
        "train", "validation", "test", "all"
    );
    let mut sums = [0; 3];
    for label in Expression::ALL {
        let counts = SPLITS.map(|split| count(label, split));
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count;
        }
        text += &line(label.name(), counts);
    }
    text + &line("all", sums) + "\n"
}
