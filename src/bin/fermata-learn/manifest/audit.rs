//! `fermata manifest audit`: finds duplicate pictures, sources that are counted twice, and labels that contradict each
//! other or are likely wrong. Changes nothing.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::Context;
use fermata::documents::{make_folder, write_json};
use fermata::manifest_cli::AuditArguments;
use fermata::print::{print, print_line};
use fermata::spared_inputs::refuse_to_write_over;
use fermata_files::{PartFile, Unfinished, remove_earlier};
use fermata_learn::contact_sheet::{Card, ContactSheet};
use fermata_learn::image_set::png;
use fermata_learn::in_memory::csv_text;
use fermata_learn::label_errors::{LabelError, LabelErrors, label_errors};
use fermata_learn::manifest::Row;
use fermata_learn::manifest_audit::{Audit, Named, Pair, Place, named};
use fermata_learn::predictions::Predictions;

use super::look_progress::LookProgress;

const SHEET: &str = "contact_sheet.png";
const PAIRS: &str = "pairs.csv";
const LABEL_ERRORS: &str = "label_errors.csv";
const UNREADABLE: &str = "unreadable.txt";
const PAGE: &str = "audit.html";
const AUDIT: &str = "audit.json";
/// All files that the audit writes.
const FILES: [&str; 6] = [SHEET, PAIRS, LABEL_ERRORS, UNREADABLE, PAGE, AUDIT];

pub(super) fn audit(arguments: &AuditArguments) -> anyhow::Result<()> {
    let out = &arguments.out;
    let given = arguments.manifests.iter().chain(&arguments.predictions);
    let given: Vec<&Path> = given.map(PathBuf::as_path).collect();
    let written = FILES.map(|name| out.join(name));
    refuse_to_write_over(&given, &written.each_ref().map(PathBuf::as_path))?;
    let manifests: Vec<Named> = arguments
        .manifests
        .iter()
        .map(|path| named(path))
        .collect::<Result<_, _>>()?;
    let classes = crate::classes::classes(&[]);
    let predictions: Vec<Predictions> = arguments
        .predictions
        .iter()
        .map(|path| {
            let read = Predictions::read(path, &classes);
            read.with_context(|| format!("--predictions {}", path.display()))
        })
        .collect::<anyhow::Result<_>>()?;
    let rows: Vec<&Row> = manifests.iter().flat_map(|m| &m.manifest.rows).collect();
    let errors = if predictions.is_empty() {
        None
    } else {
        Some(label_errors(&rows, &predictions)?)
    };
    let progress = LookProgress::new();
    let found = Audit::of(&manifests, &|looking| progress.show(looking));
    let cards = cards(&found, errors.as_ref(), &manifests, arguments.examples);
    let sheet = ContactSheet::of("Audit of manifests", &cards, SHEET)?;

    make_folder(out)?;
    // An earlier audit is incomplete from here on, and what this one has nothing for must not seem to be of it.
    for name in [AUDIT, LABEL_ERRORS, UNREADABLE] {
        remove_earlier(&out.join(name))?;
    }
    let mut pairs = BufWriter::new(PartFile::create(&out.join(PAIRS), Unfinished::Removed)?);
    let written = found.write_pairs(&manifests, &mut pairs);
    written.context("cannot write pairs.csv")?;
    pairs.into_inner()?.finish()?;
    if let Some(errors) = &errors {
        let table = label_errors_csv(errors);
        fermata_files::write(&out.join(LABEL_ERRORS), table.as_bytes())?;
    }
    if !found.unreadable.is_empty() {
        let lines: String = found
            .unreadable
            .iter()
            .map(|(path, reason)| format!("{}: {reason}\n", path.display()))
            .collect();
        fermata_files::write(&out.join(UNREADABLE), lines.as_bytes())?;
    }
    fermata_files::write(&out.join(SHEET), &png(&sheet.sheet)?)?;
    fermata_files::write(&out.join(PAGE), sheet.page.as_bytes())?;
    // Written last: if it exists, so do the others.
    write_json(&out.join(AUDIT), &found)?;
    print(&summary(&found, errors.as_ref()))?;
    print_line(&format!("\nwritten to {}", out.display()))
}

fn summary(found: &Audit, errors: Option<&LabelErrors<'_>>) -> String {
    let mut text = format!(
        "{:<44}{:>9}{:>11}{:>16}\n",
        "manifest", "rows", "pictures", "not as it says"
    );
    for manifest in &found.manifests {
        text += &format!(
            "{:<44}{:>9}{:>11}{:>16}\n",
            manifest.manifest, manifest.rows, manifest.pictures, manifest.unreadable_or_stale
        );
    }
    text += &format!("{} different pictures in all\n", found.pictures);
    text += &format!(
        "\n{:<32}{:>12}{:>16}{:>13}\n",
        "pairs that are one picture", "same bytes", "near-duplicate", "two labels"
    );
    for place in Place::ALL {
        let counts = found
            .pairs_by_place
            .get(&place)
            .copied()
            .unwrap_or_default();
        text += &format!(
            "{:<32}{:>12}{:>16}{:>13}\n",
            place.words(),
            counts.same_bytes,
            counts.same_picture,
            counts.two_labels
        );
    }
    if !found.shared_sources.is_empty() {
        text += "\nsources that share pictures\n";
    }
    for shared in &found.shared_sources {
        let name = |[manifest, source]: &[String; 2]| format!("{source} of {manifest}");
        text += &format!(
            "{} of the {} pictures of {} ({:.1} %) are in {} too, {:.1} % of them under the same label\n",
            shared.pictures,
            shared.of,
            name(&shared.one),
            100.0 * shared.pictures as f64 / shared.of as f64,
            name(&shared.other),
            100.0 * shared.same_label as f64 / shared.pictures as f64,
        );
    }
    if let Some(errors) = errors {
        text += &format!(
            "\n{} of {} labels are likely wrong ({} rows without a prediction)\n",
            errors.found.len(),
            errors.predicted,
            errors.not_predicted
        );
    }
    text
}

/// Returns examples of each kind: pairs of each place, those with two labels first, then likely label errors.
fn cards(
    found: &Audit,
    errors: Option<&LabelErrors<'_>>,
    manifests: &[Named],
    examples: usize,
) -> Vec<Card> {
    let mut cards = Vec::new();
    for place in Place::ALL {
        for (same_bytes, words) in [(true, "same bytes"), (false, "near-duplicates")] {
            let is_of = |pair: &&Pair| pair.place == place && pair.same_bytes == same_bytes;
            let mut pairs: Vec<&Pair> = found.pairs.iter().filter(is_of).collect();
            let all = pairs.len();
            pairs.sort_by_key(|pair| !pair.two_labels);
            // Spread the examples of each kind over all pairs.
            let step = (all / examples.max(1)).max(1);
            let heading = format!("{}, {words}: {all} pairs", place.words());
            let shown = pairs.iter().step_by(step).take(examples);
            cards.extend(shown.map(|pair| card_of_pair(&heading, pair, manifests)));
        }
    }
    if let Some(errors) = errors {
        let named: Vec<&Named> = manifests
            .iter()
            .flat_map(|named| std::iter::repeat_n(named, named.manifest.rows.len()))
            .collect();
        let heading = format!("labels that are likely wrong: {}", errors.found.len());
        let shown = errors.found.iter().take(examples);
        cards.extend(shown.map(|error| card_of_error(&heading, error, named[error.place])));
    }
    cards
}

fn card_of_pair(heading: &str, pair: &Pair, manifests: &[Named]) -> Card {
    let rows = [pair.one, pair.other].map(|at| at.of(manifests));
    let details = rows.map(|(named, row)| {
        format!(
            "{} of {} ({}, {})",
            row.image.display(),
            named.name,
            row.source,
            row.split
        )
    });
    Card {
        heading: heading.to_owned(),
        pictures: rows
            .map(|(named, row)| named.manifest.folder.join(&row.image))
            .to_vec(),
        captions: rows
            .map(|(_, row)| format!("{} {}", row.label, row.split))
            .to_vec(),
        details: details.join("\n"),
    }
}

fn card_of_error(heading: &str, error: &LabelError<'_>, named: &Named) -> Card {
    Card {
        heading: heading.to_owned(),
        pictures: vec![named.manifest.folder.join(&error.row.image)],
        captions: vec![format!("{}: {}?", error.row.label, error.suggested)],
        details: format!(
            "{} of {} ({}): {} {:.3}, {} {:.3}",
            error.row.image.display(),
            named.name,
            error.row.split,
            error.row.label,
            error.of_label,
            error.suggested,
            error.of_suggested
        ),
    }
}

fn label_errors_csv(errors: &LabelErrors<'_>) -> String {
    let header = [
        "rank",
        "sha256",
        "image",
        "source",
        "split",
        "label",
        "suggested",
        "p_label",
        "p_suggested",
    ];
    let rows = errors.found.iter().zip(1..).map(|(error, rank)| {
        [
            rank.to_string(),
            error.row.sha256.to_string(),
            error.row.image.display().to_string(),
            error.row.source.clone(),
            error.row.split.to_string(),
            error.row.label.to_string(),
            error.suggested.to_string(),
            format!("{:.6}", error.of_label),
            format!("{:.6}", error.of_suggested),
        ]
    });
    csv_text(header, rows)
}
