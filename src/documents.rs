//! Texts and JSON that commands read and write, and the folders that these go to. Owns that an error names the file,
//! and that a file's name says its format; what stands in it is the command's.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use fermata_files::MOST_TEXT;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads a text.
///
/// # Errors
/// It cannot be read, is larger than a text is, or is none.
pub fn read_text(path: &Path) -> anyhow::Result<String> {
    let text = fermata_files::read_text(path, MOST_TEXT);
    text.with_context(|| format!("cannot read {}", path.display()))
}

/// Reads a JSON file that is `what`, such as `report of a run`.
///
/// # Errors
/// As [`read_text`]; it is something else.
pub fn read_json<T: DeserializeOwned>(path: &Path, what: &str) -> anyhow::Result<T> {
    let text = read_text(path)?;
    serde_json::from_str(&text).with_context(|| format!("{} is no {what}", path.display()))
}

/// A value as JSON for people: indented, with a last line's end.
///
/// # Errors
/// JSON has no form for it (a key that is not a text).
pub fn json(value: &impl Serialize) -> anyhow::Result<String> {
    let text = serde_json::to_string_pretty(value).context("it cannot be written as JSON")?;
    Ok(text + "\n")
}

/// Writes [`json`] as a whole file.
///
/// # Errors
/// As [`json`]; it cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    Ok(fermata_files::write(path, json(value)?.as_bytes())?)
}

/// Refuses a name whose ending says another format than the one that is written. A name without an ending says none.
///
/// # Errors
/// The ending is another one.
pub fn refuse_other_ending(path: &Path, ending: &str) -> anyhow::Result<()> {
    match path.extension() {
        Some(found) if !found.eq_ignore_ascii_case(ending) => bail!(
            "{} would hold {}: name a file that ends in .{ending}",
            path.display(),
            ending.to_uppercase()
        ),
        _ => Ok(()),
    }
}

/// Makes a folder and those above it, if they are not there.
///
/// # Errors
/// The system does not let it.
pub fn make_folder(path: &Path) -> anyhow::Result<()> {
    let made = fs::create_dir_all(path);
    made.with_context(|| format!("cannot make the output folder {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_says_another_format_than_the_file_has() {
        let refused = |name: &str| refuse_other_ending(Path::new(name), "svg");
        for right in ["stats.svg", "a.b/STATS.SVG", "stats", "/dev/stdout", ".svg"] {
            assert!(refused(right).is_ok(), "{right}");
        }
        for wrong in ["stats.png", "stats.svg.part", "stats.csv", "stats."] {
            let told = refused(wrong).unwrap_err().to_string();
            let expected = format!("{wrong} would hold SVG: name a file that ends in .svg");
            assert_eq!(told, expected);
        }
    }
}
