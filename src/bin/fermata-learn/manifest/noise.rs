//! `fermata manifest noise`: makes a manifest with deliberately wrong training labels.

use anyhow::{Context, bail};
use fermata::documents::{make_folder, write_json};
use fermata::manifest_cli::NoiseArguments;
use fermata::print::print_line;
use fermata::spared_inputs::refuse_to_write_over;
use fermata_files::remove_earlier;
use fermata_learn::image_set::MANIFEST;
use fermata_learn::label_noise::{Confusion, confuse, draw_training_rows};
use fermata_learn::manifest::{Manifest, Split};
use fermata_learn::relative_path::{relative, resolved, stepped};
use fermata_vision::Expression;
use serde_json::json;

const REPORT: &str = "label_noise.json";

pub(super) fn noise(arguments: &NoiseArguments) -> anyhow::Result<()> {
    let NoiseArguments {
        share, seed, out, ..
    } = arguments;
    if !(0.0..=1.0).contains(share) {
        bail!("--share {share}: expected 0 to 1");
    }
    let pairs: Vec<[Expression; 2]> = arguments
        .between
        .iter()
        .map(|text| pair(text))
        .collect::<anyhow::Result<_>>()?;
    for (number, pair) in pairs.iter().enumerate() {
        let earlier = pairs[..number].as_flattened();
        if let Some(twice) = pair.iter().find(|label| earlier.contains(label)) {
            bail!("--between: {twice} is in two pairs; expected one for each label");
        }
    }
    let confusion = if pairs.is_empty() {
        Confusion::Symmetric
    } else {
        Confusion::Pairs(pairs)
    };
    let path = out.join(MANIFEST);
    super::own_folder::refuse_to_replace(&path, arguments.overwrite)?;
    refuse_to_write_over(&[&arguments.manifest], &[&path, &out.join(REPORT)])?;
    let read = Manifest::read(&arguments.manifest)?;
    let folder = resolved(&read.folder)?;
    let own = resolved(out)?;
    let mut rows = read.rows;
    if let Some(most) = arguments.training_rows {
        rows = draw_training_rows(rows, most, *seed);
    }
    let changed = confuse(&mut rows, *share, &confusion, *seed);
    let training = rows.iter().filter(|row| row.split == Split::Train).count();
    // The images stay where they are.
    for row in &mut rows {
        row.image = relative(&own, &stepped(folder.clone(), &row.image));
    }
    let report = json!({
        "manifest_sha256": read.sha256,
        "seed": seed,
        "share": share,
        "confusion": confusion,
        "training_rows": training,
        "changed": changed,
    });
    make_folder(out)?;
    // Otherwise the earlier manifest would have the report of another one.
    remove_earlier(&path)?;
    write_json(&out.join(REPORT), &report)?;
    // Written last: if it exists, so does its report.
    fermata_files::write(&path, &Manifest::of(out.clone(), rows).to_csv())?;
    print_line(&format!(
        "{changed} of {training} training rows have a wrong label: {}",
        path.display()
    ))
}

/// Parses `fear:surprise`.
fn pair(text: &str) -> anyhow::Result<[Expression; 2]> {
    let (one, other) = text
        .split_once(':')
        .with_context(|| format!("--between {text}: expected LABEL:LABEL"))?;
    let label = |name: &str| {
        let label = name.parse::<Expression>();
        label.map_err(|error| anyhow::anyhow!("--between {text}: {error}"))
    };
    let pair = [label(one)?, label(other)?];
    if pair[0] == pair[1] {
        bail!("--between {text}: a label cannot become itself");
    }
    Ok(pair)
}
