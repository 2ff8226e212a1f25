//! Reading and writing the text and JSON files of commands, and creating their folders. Makes sure that errors name the
//! file and that a file's extension matches its format; the contents belong to the command.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use fermata_files::MOST_TEXT;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads a text file.
///
/// # Errors
/// Fails if the file cannot be read, is too large for a text, or is not text.
pub fn read_text(path: &Path) -> anyhow::Result<String> {
    let text = fermata_files::read_text(path, MOST_TEXT);
    text.with_context(|| format!("cannot read {}", path.display()))
}

/// Reads a JSON file that holds a `what`, such as `report of a run`.
///
/// # Errors
/// Fails as [`read_text`] does, or if the file holds something else.
pub fn read_json<T: DeserializeOwned>(path: &Path, what: &str) -> anyhow::Result<T> {
    let text = read_text(path)?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a {what}", path.display()))
}

/// Formats a value as JSON for people: indented, with a final newline.
///
/// # Errors
/// Fails if JSON cannot represent the value (a key that is not a string).
pub fn json(value: &impl Serialize) -> anyhow::Result<String> {
    let text = serde_json::to_string_pretty(value).context("it cannot be written as JSON")?;
    Ok(text + "\n")
}

/// Writes [`json`] to a file atomically.
///
/// # Errors
/// Fails as [`json`] does, or if the file cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    Ok(fermata_files::write(path, json(value)?.as_bytes())?)
}

/// Refuses a file name whose extension says another format than `ending`, the one that is written. A name without an
/// extension is accepted.
///
/// # Errors
/// Fails if the extension is another one.
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

/// Creates a folder and its parents if they are missing.
///
/// # Errors
/// Fails if the system does not allow it.
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
