//! Files that a sink wrote one after another (`segment:`, or after a full disk). Owns their naming.

/// Returns those of a folder's files that together form `STEM.EXTENSION`, in order: the file itself, then
/// `STEM.0001.EXTENSION` and so on, without part files.
pub(super) fn of<'a>(files: &'a [String], stem: &str, extension: &str) -> Vec<&'a str> {
    let mut found: Vec<(u32, &str)> = files
        .iter()
        .filter_map(|file| Some((number(file, stem, extension)?, file.as_str())))
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, file)| file).collect()
}

/// Returns the incomplete ones.
pub(super) fn parts_of<'a>(files: &'a [String], stem: &str, extension: &str) -> Vec<&'a str> {
    let is_part = |file: &&String| {
        let whole = file.strip_suffix(".part");
        whole.is_some_and(|whole| number(whole, stem, extension).is_some())
    };
    files.iter().filter(is_part).map(String::as_str).collect()
}

/// Returns whether a file belongs to `STEM.EXTENSION`.
pub(super) fn is_of(file: &str, stem: &str, extension: &str) -> bool {
    number(file, stem, extension).is_some()
}

/// Returns the number of a file; 0 for the file without one.
fn number(file: &str, stem: &str, extension: &str) -> Option<u32> {
    let rest = file.strip_prefix(stem)?.strip_suffix(extension)?;
    let digits = match rest.strip_prefix('.')? {
        "" => return Some(0),
        numbered => numbered.strip_suffix('.')?,
    };
    let is_number = digits.len() >= 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_name_are_found_in_their_order() {
        let files = [
            "a.0002.mp4",
            "a.0010.mp4",
            "a.10000.mp4",
            "a.b.0001.mp4",
            "a.mp4",
            "a.0003.mp4.part",
            "a.002.mp4",
            "a.00x4.mp4",
            "a.0001.csv",
            "amp4",
        ];
        let files = files.map(str::to_owned);
        assert_eq!(
            of(&files, "a", "mp4"),
            ["a.mp4", "a.0002.mp4", "a.0010.mp4", "a.10000.mp4"]
        );
        assert_eq!(parts_of(&files, "a", "mp4"), ["a.0003.mp4.part"]);
        assert_eq!(of(&files, "a.b", "mp4"), ["a.b.0001.mp4"]);
    }
}
