//! `fermata manifest`: makes lists of labelled images for training from raw sources, and checks them. The other
//! commands about manifests have their own files.

mod audit;
mod fold;
mod list;
mod look_progress;
mod noise;
mod own_folder;
pub(crate) mod stats;
mod synth;
mod unpack;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use fermata::documents::{make_folder, refuse_other_ending, write_json};
use fermata::manifest_cli::ManifestCommand;
use fermata::print::{print, print_line};
use fermata::spared_inputs::refuse_to_write_over;
use fermata_files::remove_earlier;
use fermata_learn::image_set::MANIFEST;
use fermata_learn::manifest::{CleanReport, DRAWN, Recipe, Validation};
use fermata_learn::relative_path::resolved;

use self::look_progress::LookProgress;

const REPORT: &str = "clean_report.json";
const VALIDATION: &str = "manifest_validation.json";

pub(crate) fn manifest(command: &ManifestCommand) -> anyhow::Result<()> {
    match command {
        ManifestCommand::Make {
            recipe,
            out,
            overwrite,
        } => make(recipe, out, *overwrite),
        ManifestCommand::Validate {
            manifest,
            sample,
            out,
        } => {
            let beside = manifest.with_file_name(VALIDATION);
            validate(manifest, *sample, out.as_ref().unwrap_or(&beside))
        }
        ManifestCommand::Stats { manifest, out } => stats::stats(manifest, out.as_deref()),
        ManifestCommand::Fold {
            manifest,
            folds,
            out,
        } => fold::fold(manifest, *folds, out.as_deref()),
        ManifestCommand::Synth(arguments) => synth::synth(arguments),
        ManifestCommand::Unpack(arguments) => unpack::unpack(arguments),
        ManifestCommand::List { folder, out } => list::list(folder, out),
        ManifestCommand::Noise(arguments) => noise::noise(arguments),
        ManifestCommand::Audit(arguments) => audit::audit(arguments),
    }
}

fn make(recipe: &Path, out: &Path, overwrite: bool) -> anyhow::Result<()> {
    let path = out.join(MANIFEST);
    own_folder::refuse_to_replace(&path, overwrite)?;
    let spec = Recipe::read(recipe)?;
    let at = recipe
        .canonicalize()
        .with_context(|| format!("cannot find {}", recipe.display()))?;
    let at = at.parent().unwrap_or(Path::new("/"));
    let mut read: Vec<PathBuf> = spec.files().map(|file| at.join(file)).collect();
    read.push(recipe.to_owned());
    let read: Vec<&Path> = read.iter().map(PathBuf::as_path).collect();
    refuse_to_write_over(&read, &[&path, &out.join(REPORT)])?;
    let folder = resolved(out).with_context(|| format!("cannot find {}", out.display()))?;
    let progress = LookProgress::new();
    let (manifest, report) = spec.make_watched(at, &folder, &|looking| progress.show(looking))?;
    make_folder(out)?;
    // Otherwise the earlier manifest would have the report of another one.
    remove_earlier(&path)?;
    write_json(&out.join(REPORT), &report)?;
    // Written last: if it exists, so does its report.
    fermata_files::write(&path, &manifest.to_csv())?;
    print(&summary(&report))?;
    print_line(&format!("written to {}", path.display()))
}

fn validate(manifest: &Path, sample: Option<usize>, out: &Path) -> anyhow::Result<()> {
    refuse_to_write_over(&[manifest], &[out])?;
    refuse_other_ending(out, "json")?;
    let progress = LookProgress::new();
    let found = Validation::watched(manifest, sample, &|looking| progress.show(looking))?;
    write_json(out, &found)?;
    print_line(&format!(
        "{} rows, {} images checked",
        found.rows, found.images_checked
    ))?;
    if found.drawn > 0 {
        print_line(&format!(
            "{} of the source `{DRAWN}` are drawn and compared by their bytes only",
            found.drawn
        ))?;
    }
    for (problem, count) in &found.problems {
        print_line(&format!("\n{}: {count}", name(problem)))?;
        for example in &found.examples[problem] {
            print_line(&format!("  {example}"))?;
        }
    }
    print_line(&format!("\nwritten to {}", out.display()))?;
    if !found.passes() {
        let count: usize = found.problems.values().sum();
        bail!(
            "{} has {count} problems and must not be used",
            manifest.display()
        );
    }
    Ok(())
}

/// Returns a value's name as written in files, with spaces.
fn name(value: &impl serde::Serialize) -> String {
    let json = serde_json::to_value(value).unwrap_or_default();
    json.as_str().unwrap_or_default().replace('_', " ")
}

fn summary(report: &CleanReport) -> String {
    let mut text = format!("{} rows in, {} out\n", report.rows_in, report.rows_out);
    for (reason, count) in &report.removed_by_reason {
        text += &format!("  left out, {}: {count}\n", name(reason));
    }
    text + "\n" + &stats::table(&report.counts)
}
