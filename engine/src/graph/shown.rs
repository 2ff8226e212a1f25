//! Texts of others as they may be shown: without what must be hidden, and without characters that a terminal would
//! obey.

use std::ops::Range;

use super::redact::{HIDDEN, is_secret_name, secret_parts};

/// A text with its control characters made visible, so that no file can move the cursor, ring, or hide what it says.
/// Line ends and tabs stay.
pub fn printable(text: &str) -> String {
    if !text.contains(is_obeyed) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| if is_obeyed(c) { picture(c) } else { c })
        .collect()
}

/// The same of what is a part of a line, such as a file's name: line ends and tabs are made visible too.
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

/// Whether a terminal does something else with a character than show it; those that turn the direction of writing are
/// among them.
fn is_obeyed(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}' | '\u{FEFF}')
}

/// The picture that Unicode has of a control character.
fn picture(c: char) -> char {
    match c {
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{FFFD}'),
        '\x7f' => '\u{2421}',
        _ => '\u{FFFD}',
    }
}

/// A source text as it may be shown, and where its places have gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) text: String,
    /// What was replaced: from where to where in the source, and in `text`.
    replaced: Vec<(Range<usize>, Range<usize>)>,
}

impl Shown {
    /// `hidden` may overlap.
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

    /// Where a byte of the source has gone.
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

/// The parts in order, without overlaps.
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

/// What of a graph file or an argument must not be shown, as far as that can be said before its values are known: the
/// secret parts of URIs, and values behind names that say what they are.
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
        // In a path of `--set` the last name counts.
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

/// How much of a line is the value that it begins with. References to parameters and the environment are no secrets.
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
