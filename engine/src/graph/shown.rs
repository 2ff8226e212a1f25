//! Texts of others as they may be displayed: with secrets hidden, and without characters that control a terminal.

use std::ops::Range;

use super::redact::{HIDDEN, is_secret_name, secret_parts};

/// Makes control characters visible, so that no file can move the cursor, ring the bell, or hide text. Line ends and
/// tabs are kept.
pub fn printable(text: &str) -> String {
    if !text.contains(is_obeyed) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| if is_obeyed(c) { picture(c) } else { c })
        .collect()
}

/// Like [`printable`], for a part of a line such as a file name: line ends and tabs are made visible too.
pub fn printable_in_line(text: &str) -> String {
    let shown = |c| {
        if c == '\n' || c == '\t' {
            picture(c)
        } else {
            c
        }
    };
    printable(text).chars().map(shown).collect()
}

/// Returns whether a terminal interprets a character instead of displaying it; includes those that change the direction
/// of writing.
fn is_obeyed(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}' | '\u{FEFF}')
}

/// Returns Unicode's picture of a control character.
fn picture(c: char) -> char {
    match c {
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{FFFD}'),
        '\x7f' => '\u{2421}',
        _ => '\u{FFFD}',
    }
}

/// A source text as it may be displayed, with a mapping of positions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) text: String,
    /// Replaced ranges: in the source, and in `text`.
    replaced: Vec<(Range<usize>, Range<usize>)>,
}

impl Shown {
    /// Creates the displayed text; `hidden` may overlap.
    pub(crate) fn new(source: &str, hidden: Vec<Range<usize>>) -> Self {
        let mut shown = Self {
            text: String::with_capacity(source.len()),
            replaced: Vec::new(),
        };
        let mut at = 0;
        for part in merged(hidden) {
            shown.copy(source, at..part.start);
            shown.replace(part.clone(), HIDDEN);
            at = part.end;
        }
        shown.copy(source, at..source.len());
        shown
    }

    fn copy(&mut self, source: &str, part: Range<usize>) {
        let mut begun = part.start;
        for (at, c) in source[part.clone()].char_indices() {
            if is_obeyed(c) {
                let at = part.start + at;
                self.text.push_str(&source[begun..at]);
                begun = at + c.len_utf8();
                let mut buffer = [0; 4];
                self.replace(at..begun, picture(c).encode_utf8(&mut buffer));
            }
        }
        self.text.push_str(&source[begun..part.end]);
    }

    fn replace(&mut self, part: Range<usize>, by: &str) {
        let start = self.text.len();
        self.text.push_str(by);
        self.replaced.push((part, start..self.text.len()));
    }

    /// Returns the position in `text` of a byte of the source.
    pub(crate) fn at(&self, offset: usize) -> usize {
        let before = self
            .replaced
            .partition_point(|(source, _)| source.end <= offset);
        let moved = match before.checked_sub(1).map(|last| &self.replaced[last]) {
            Some((source, shown)) => shown.end + (offset - source.end),
            None => offset,
        };
        match self.replaced.get(before) {
            Some((source, shown)) if source.start <= offset => shown.start,
            _ => moved,
        }
    }
}

/// Sorts the ranges and merges overlaps.
fn merged(mut parts: Vec<Range<usize>>) -> Vec<Range<usize>> {
    parts.retain(|part| !part.is_empty());
    parts.sort_by_key(|part| part.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for part in parts {
        match merged.last_mut() {
            Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
            _ => merged.push(part),
        }
    }
    merged
}

/// Returns what must be hidden of a graph file or an argument, as far as it can be known before its values are: the
/// secret parts of URIs, and values with secret names.
pub(crate) fn hidden_in_source(text: &str) -> Vec<Range<usize>> {
    let mut parts = secret_parts(text);
    let is_of_name = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    for (at, sign) in text.match_indices([':', '=']) {
        let name = text[..at].trim_end_matches(['"', '\'']);
        let start = name.rfind(|c| !is_of_name(c)).map_or(0, |before| {
            before + name[before..].chars().next().map_or(1, char::len_utf8)
        });
        let value = &text[at + 1..];
        let follows = sign == "=" || value.starts_with([' ', '\t']);
        // In a path of `--set`, the last name counts.
        let last = name[start..].rsplit('.').next().unwrap_or_default();
        if follows && is_secret_name(last) {
            let line = value.lines().next().unwrap_or_default();
            let from = line.len() - line.trim_start().len();
            let length = length_of_value(&line[from..], sign == "=");
            parts.push(at + 1 + from..at + 1 + from + length);
        }
    }
    parts
}

/// Returns the length of the value at the beginning of a line. References to parameters and the environment are not
/// secrets.
fn length_of_value(line: &str, is_argument: bool) -> usize {
    let value = line.trim_end();
    let bare = value.trim_matches(['"', '\'', ',', '}', ' ']);
    if bare.starts_with("${") || bare == "null" || bare.is_empty() {
        return 0;
    }
    if is_argument {
        return value.len();
    }
    match value.chars().next() {
        Some(quote @ ('"' | '\'')) => value[1..].rfind(quote).map_or(value.len(), |end| end + 2),
        _ => value.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_made_visible() {
        assert_eq!(printable("a\x1b[31mb\x07\r\n\tc"), "a␛[31mb␇␍\n\tc");
        assert_eq!(printable("a\u{9b}b\u{202e}c"), "a\u{fffd}b\u{fffd}c");
        assert_eq!(printable_in_line("a\nerror: b\t\x07"), "a␊error: b␉␇");
        assert_eq!(printable("naïve ☃"), "naïve ☃");
    }

    #[test]
    fn places_follow_what_is_shown() {
        let source = "a: rtsp://u:longpassword@h/x\x1b # b";
        let shown = Shown::new(source, hidden_in_source(source));
        assert_eq!(shown.text, "a: rtsp://***@h/x␛ # b");
        for marked in ["a: ", "@h/x", " # b", "b"] {
            let at = source.find(marked).unwrap();
            assert_eq!(shown.at(at), shown.text.find(marked).unwrap(), "{marked}");
        }
        let inside = source.find("password").unwrap();
        assert_eq!(shown.at(inside), shown.text.find("***").unwrap());
        assert_eq!(shown.at(source.len()), shown.text.len());
    }

    #[test]
    fn values_behind_secret_names_are_hidden_in_a_source() {
        for (source, text) in [
            ("password: SECRET # x", "password: ***"),
            ("\"api_key\": 'SEC RET', b: 1", "\"api_key\": ***, b: 1"),
            (
                "params: {pass: \"${env.PASS}\"}",
                "params: {pass: \"${env.PASS}\"}",
            ),
            ("--set nodes.s.token=SE=CR ET", "--set nodes.s.token=***"),
            ("--param pass=SECRET", "--param pass=***"),
            (
                "--stream a b=rtsp://u:SECRET@h/x",
                "--stream a b=rtsp://***@h/x",
            ),
            (
                "a: [rtsp://u:SECRET@h/x, rtsp://u:SECRET@i/y]",
                "a: [rtsp://***@h/x, rtsp://***@i/y]",
            ),
            ("passes: 3", "passes: 3"),
        ] {
            assert_eq!(Shown::new(source, hidden_in_source(source)).text, text);
        }
    }
}
