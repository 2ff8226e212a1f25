//! `fermata manifest list`: lists a folder of classes as a table that a recipe maps.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use fermata::documents::refuse_other_ending;
use fermata::print::print_line;
use fermata::spared_inputs::refuse_to_write_over;
use fermata_vision::image_file::EXTENSIONS;

pub(super) fn list(folder: &Path, out: &Path) -> anyhow::Result<()> {
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(["image", "label"])?;
    let (mut pictures, mut classes, mut others) = (0usize, 0usize, 0usize);
    for class in entries(folder)? {
        if !class.is_dir() {
            others += 1;
            continue;
        }
        classes += 1;
        let label = name_of(&class)?;
        let mut waiting = vec![class.clone()];
        while let Some(below) = waiting.pop() {
            for path in entries(&below)? {
                if path.is_dir() {
                    waiting.push(path);
                } else if is_picture(&path) {
                    refuse_to_write_over(&[&path], &[out])?;
                    let image = path.strip_prefix(folder).unwrap_or(&path);
                    let image = image.to_str().with_context(|| no_text(&path))?;
                    table.write_record([image, label])?;
                    pictures += 1;
                } else {
                    others += 1;
                }
            }
        }
    }
    if pictures == 0 {
        bail!(
            "{} has no pictures ({}) in folders of their own, one for each class",
            folder.display(),
            EXTENSIONS.join(", ")
        );
    }
    refuse_other_ending(out, "csv")?;
    fermata_files::write(out, &table.into_inner()?)?;
    print_line(&format!(
        "{pictures} pictures in {classes} folders, {others} other files left out; written to {}",
        out.display()
    ))
}

/// Returns entries sorted by name, so that the same folder gives the same table.
fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    let mut found = read().with_context(|| format!("cannot read {}", folder.display()))?;
    found.sort_unstable();
    Ok(found)
}

fn is_picture(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| EXTENSIONS.contains(&ending.to_lowercase().as_str()))
}

fn name_of(folder: &Path) -> anyhow::Result<&str> {
    let name = folder.file_name().and_then(|name| name.to_str());
    name.with_context(|| no_text(folder))
}

fn no_text(path: &Path) -> String {
    format!(
        "{} has a name that is not valid UTF-8; rename it",
        path.display()
    )
}
