//! Redaction of the user info and all query values of URIs in a text. Values that are secret wherever they appear are
//! handled by [`Secrets`](super::secrets::Secrets).

use std::iter;
use std::ops::Range;

/// Replacement for hidden text.
pub(crate) const HIDDEN: &str = "***";

/// Prefixes of the part of a URI that may hold secrets. A graph's `${stream.uri}` is a URI that is not known yet.
const BEGINNINGS: [&str; 2] = ["://", "${stream.uri}"];

/// Schemes of addresses that may be missing their slashes.
const SLIPS: [&str; 4] = ["rtsp:", "rtsps:", "http:", "https:"];

/// Words that mark a name as that of a secret.
const SECRET_WORDS: [&str; 21] = [
    "password",
    "passwd",
    "passphrase",
    "pass",
    "pwd",
    "pw",
    "secret",
    "secrets",
    "token",
    "auth",
    "authorization",
    "credential",
    "credentials",
    "cookie",
    "signature",
    "sig",
    "key",
    "apikey",
    "bearer",
    "webhook",
    "headers",
];

/// Redacts a text: every URI in it is shown without user info and query values.
///
/// `rtsp://user:pw@host/a?b=c` becomes `rtsp://***@host/a?b=***`. Everything up to the last `@` of a URI is hidden, so
/// that a password with a raw `/` or `@` is hidden too; as a consequence, a path that contains an `@` loses its host.
/// If it is ambiguous whether an `@` belongs to a password or to a query, everything after the scheme is hidden. A text
/// that begins with a scheme is one URI, including any spaces and quotation marks; within a text, a URI ends at the
/// quotation mark that precedes it or at white space, provided that what it contains so far can be a URI.
pub fn redact(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut at = 0;
    for part in secret_parts(text) {
        shown.push_str(&text[at..part.start]);
        shown.push_str(HIDDEN);
        at = part.end;
    }
    shown.push_str(&text[at..]);
    shown
}

/// Redacts an address whose whole path is a secret, such as a webhook's: `https://host/***`.
pub fn redact_path(uri: &str) -> String {
    let shown = redact(uri);
    let Some(at) = shown.find("://") else {
        return HIDDEN.to_owned();
    };
    match shown[at + 3..].find(['/', '?', '#']) {
        Some(path) => format!("{}/{HIDDEN}", &shown[..at + 3 + path]),
        None => shown,
    }
}

/// Returns whether a name marks its value as a secret: `camera_password`, `apiKey`, `Authorization`.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let compound = ["password", "passwd", "secret", "apikey", "webhook"];
    if compound.iter().any(|word| lower.contains(word)) {
        return true;
    }
    let mut words: Vec<String> = vec![String::new()];
    let mut after_small = false;
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() || (after_small && c.is_ascii_uppercase()) {
            words.push(String::new());
        }
        after_small = c.is_ascii_lowercase();
        if c.is_ascii_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.push(c.to_ascii_lowercase());
        }
    }
    words
        .iter()
        .any(|word| SECRET_WORDS.contains(&word.as_str()))
}

/// Returns the secret parts of a command-line argument; an address in it extends to the argument's end.
pub(crate) fn parts_of_argument(argument: &str) -> Vec<Range<usize>> {
    let Some((at, beginning)) = next_uri(argument) else {
        return Vec::new();
    };
    let start = at + beginning.len();
    let found = parts_of_uri(&argument[start..]).into_iter();
    found
        .map(|part| start + part.start..start + part.end)
        .collect()
}

/// Returns the parts of a text that are secret by their place in a URI, in order.
pub(crate) fn secret_parts(text: &str) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut from = 0;
    while let Some((at, beginning)) = next_uri(&text[from..]) {
        let start = from + at + beginning.len();
        let before = &text[..from + at];
        let is_alone = from == 0 && before.chars().all(is_of_scheme);
        let end = if is_alone {
            text.len()
        } else {
            start + extent(&text[start..], before)
        };
        let found = parts_of_uri(&text[start..end]).into_iter();
        parts.extend(found.map(|part| start + part.start..start + part.end));
        from = end;
    }
    parts
}

fn next_uri(text: &str) -> Option<(usize, &'static str)> {
    let whole = BEGINNINGS
        .iter()
        .filter_map(|beginning| Some((text.find(beginning)?, *beginning)));
    let slips = SLIPS
        .iter()
        .filter_map(|scheme| Some((next_slip(text, scheme)?, *scheme)));
    whole.chain(slips).min_by_key(|(at, _)| *at)
}

/// Returns where the scheme begins an address that has a user info and lacks slashes.
fn next_slip(text: &str, scheme: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + text[from..].find(scheme)?;
        from = at + scheme.len();
        let rest = &text[from..];
        if rest.starts_with("//") {
            continue;
        }
        let word = word(rest);
        if rest[..word].contains('@') {
            return Some(at);
        }
        // Without a user info, no other scheme of this word begins such an address.
        from += word;
    }
}

pub(crate) fn is_of_scheme(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+-.".contains(c)
}

/// Returns the length of a URI in a text, from after its `://`.
fn extent(after: &str, before: &str) -> usize {
    let quote = before.trim_end_matches(is_of_scheme).chars().next_back();
    let quoted = quote
        .filter(|quote| "\"'`".contains(*quote))
        .and_then(|quote| closing(after, quote));
    let end = quoted.unwrap_or_else(|| word(after));
    let line = after.lines().next().unwrap_or_default();
    let begun = after[..end].split(['/', '?', '#']).next();
    let begun = begun.unwrap_or_default();
    match line.rfind('@') {
        // The beginning of a user info whose password continues after the quotation mark.
        Some(sign) if sign >= end && !after[..end].contains('@') && !is_host(begun) => {
            sign + word(&line[sign..])
        }
        _ => end,
    }
}

/// Returns where a quoted text ends.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote == '"' => drop(chars.next()),
            // A quotation mark that YAML escapes by doubling.
            '\'' if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == '\'') => {
                chars.next();
            }
            c if c == quote => return Some(at),
            _ => {}
        }
    }
    None
}

fn word(text: &str) -> usize {
    text.find(|c: char| c.is_whitespace() || "\"'`".contains(c))
        .unwrap_or(text.len())
}

/// Returns whether this can be everything between `//` and the path: a host, optionally with a port.
fn is_host(authority: &str) -> bool {
    match authority.rsplit_once(':') {
        _ if authority.ends_with(']') => true,
        Some((host, port)) => {
            (host.ends_with(']') || !host.contains(':'))
                && !port.is_empty()
                && port.chars().all(|c| c.is_ascii_digit())
        }
        None => true,
    }
}

/// Returns the secret parts of one URI; `rest` is what follows `://`.
fn parts_of_uri(rest: &str) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut shown_from = 0;
    if let Some(sign) = rest.rfind('@') {
        let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        // After the authority, the `@` may belong to a password or to a query.
        if sign > authority && rest[..sign].contains(['?', '#', '=']) {
            return iter::once(0..rest.len()).collect();
        }
        push(&mut parts, 0..sign);
        shown_from = sign + 1;
    }
    let tail = &rest[shown_from..];
    let Some(first) = tail.find(['?', '#', '=']) else {
        return parts;
    };
    let mut at = if tail[first..].starts_with('=') {
        // Some cameras take `key=value` in their path.
        let key = tail[..first].rfind(['/', ';', ',', '&']);
        shown_from + key.map_or(0, |at| at + 1)
    } else {
        shown_from + first + 1
    };
    for pair in rest[at..].split('&') {
        // A part without a name is a value, or half of one with a raw `&` in it.
        let value = pair.find('=').map_or(0, |sign| sign + 1);
        push(&mut parts, at + value..at + pair.len());
        at += pair.len() + 1;
    }
    parts
}

fn push(parts: &mut Vec<Range<usize>>, part: Range<usize>) {
    if !part.is_empty() {
        parts.push(part);
    }
}

/// Returns the passwords and query values of a text that is a URI, as written and with percent-encoding decoded.
pub(crate) fn values_of(uri: &str) -> Vec<Value> {
    let mut values = Vec::new();
    for part in secret_parts(uri) {
        let text = &uri[part.clone()];
        if uri[part.end..].starts_with('@') {
            let password = text.split_once(':').map(|(_, password)| password);
            values.push(Value::password(text));
            values.extend(password.map(Value::password));
            // A library that takes a raw delimiter for the host's end takes what precedes it for a host, and may report
            // that.
            let pieces = text
                .split(['/', '?', '#'])
                .skip_while(|piece| *piece == text);
            let pieces = pieces.filter(|piece| piece.len() >= LEAST_PIECE);
            values.extend(pieces.map(Value::password));
        } else {
            let before = &uri[..part.start];
            let name = before.strip_suffix('=').unwrap_or_default();
            let name = name.rsplit(['?', '&', '/', ';', ',', '#']).next();
            values.push(Value {
                text: text.to_owned(),
                is_named: name.is_some_and(is_secret_name),
            });
        }
    }
    let decoded: Vec<Value> = values.iter().filter_map(Value::decoded).collect();
    values.extend(decoded);
    values
}

/// Minimum length, in bytes, of a piece of a password that is hidden by itself; shorter ones are common words.
const LEAST_PIECE: usize = 4;

/// A value from a URI.
pub(crate) struct Value {
    pub(crate) text: String,
    /// Whether it is a password, or its name marks it as a secret.
    pub(crate) is_named: bool,
}

impl Value {
    fn password(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            is_named: true,
        }
    }

    /// Returns the value with percent-encoding decoded, if it has any.
    fn decoded(&self) -> Option<Self> {
        let bytes = self.text.as_bytes();
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            let code = match bytes[at] {
                b'%' => self.text.get(at + 1..at + 3),
                _ => None,
            };
            match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
                Some(byte) => {
                    out.push(byte);
                    at += 3;
                }
                None => {
                    out.push(bytes[at]);
                    at += 1;
                }
            }
        }
        let text = String::from_utf8(out).ok()?;
        (text != self.text).then_some(Self {
            text,
            is_named: self.is_named,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn credentials_are_hidden_and_the_rest_stays() {
        for (uri, shown) in [
            ("rtsp://user:pw@host/", "rtsp://***@host/"),
            (
                "rtsp://user:p@w@host:554/a?b=c",
                "rtsp://***@host:554/a?b=***",
            ),
            ("rtsp://user:p/w@host/main", "rtsp://***@host/main"),
            ("rtsp://user:p?w#x@host/main", "rtsp://***"),
            ("http://h/x?token=SEC@RET", "http://***"),
            ("rtsp://u:p=@host/main", "rtsp://***@host/main"),
            ("http://host:80/ab?c=d", "http://host:80/ab?c=***"),
            ("http://host/?c=d&e&f=", "http://host/?c=***&***&f="),
            ("http://host/#token=a", "http://host/#token=***"),
            ("http://host/a?x=y;z#w", "http://host/a?x=***"),
            ("rtsp://[::1]:8554/live", "rtsp://[::1]:8554/live"),
            (
                "rtsp://host/user=admin&password=s3/cret&channel=1",
                "rtsp://host/user=***&password=***&channel=***",
            ),
            ("rtsp://u:pa SECRET@host/x", "rtsp://***@host/x"),
            ("http://h/x?a=pa SEC\"RET", "http://h/x?a=***"),
            ("rtsp:/u:SECRET@host/x", "rtsp:***@host/x"),
            ("see rtsp:u:SECRET@host/x", "see rtsp:***@host/x"),
            (
                "http: 401 for http:/u:SECRET@cam/x, then http:u:SECRET@cam",
                "http: 401 for http:***@cam/x, then http:***@cam",
            ),
            (
                "via rtsp: rtsp://cam/1, rtsp:/u:SECRET@cam/x",
                "via rtsp: rtsp://cam/1, rtsp:***@cam/x",
            ),
            ("/data/clip@home.mp4", "/data/clip@home.mp4"),
            (
                "cannot open `rtsp://me:pw@cam/1` or http://x/ (refused)",
                "cannot open `rtsp://***@cam/1` or http://x/ (refused)",
            ),
            (
                "cannot open rtsp://u:pa' SECRET@cam/1 of a@b",
                "cannot open rtsp://***@b",
            ),
            (
                "node=s@a uri=rtsp://127.0.0.1:9/x error=none node=s@a",
                "node=s@a uri=rtsp://127.0.0.1:9/x error=none node=s@a",
            ),
            (
                "a: 'rtsp://u:it''s SECRET@h/x?a=b' # c",
                "a: 'rtsp://***@h/x?a=***' # c",
            ),
            (
                "uri: \"${stream.uri}?token=abc\"",
                "uri: \"${stream.uri}?token=***\"",
            ),
        ] {
            assert_eq!(redact(uri), shown);
        }
    }

    #[test]
    fn of_a_webhook_only_the_host_is_shown() {
        for (uri, shown) in [
            ("https://hooks.net/T0/B0/x?y=z", "https://hooks.net/***"),
            ("https://u:p@hooks.net:8/T0", "https://***@hooks.net:8/***"),
            ("https://hooks.net", "https://hooks.net"),
            ("T0/B0", "***"),
        ] {
            assert_eq!(redact_path(uri), shown);
        }
    }

    #[test]
    fn pieces_of_a_password_are_values_too_and_whole_ones_stand_for_themselves() {
        let values = |uri| -> Vec<String> {
            let values = values_of(uri).into_iter();
            values.map(|value| value.text).collect()
        };
        assert_eq!(
            values("http://secret/half/x@h/"),
            ["secret/half/x", "secret", "half"]
        );
        assert_eq!(values("http://user:secret@h/"), ["user:secret", "secret"]);
    }

    #[test]
    fn names_say_whether_their_values_are_secrets() {
        for name in [
            "password",
            "cam_pass",
            "PASSWD",
            "access-token",
            "X-Api-Key",
            "apiKey",
            "userPassword",
            "Authorization",
            "auth",
            "webhook_url",
            "client.secret",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "passes",
            "monkey",
            "max_tokens",
            "author",
            "uri",
            "path",
            "size",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_password_survives(password in "[a-zA-Z0-9:@/?#&=!%'\" ;`]{4,12}", path in "[a-z/]{0,8}") {
            let marked = format!("Q{password}Q");
            let uri = format!("rtsp://user:{marked}@camera.local/{path}");
            let shown = redact(&uri);
            prop_assert!(!shown.contains('Q'), "{}", shown);
            if !marked.contains(['?', '#', '=']) {
                prop_assert_eq!(shown, format!("rtsp://***@camera.local/{path}"));
            }
        }

        #[test]
        fn no_query_value_survives(value in "[a-zA-Z0-9:/?#=!%'\" ;`]{0,12}") {
            let shown = redact(&format!("http://camera.local/x?name=Q{value}Q&b=1"));
            prop_assert_eq!(shown, "http://camera.local/x?name=***&b=***");
        }

        #[test]
        fn redacting_twice_changes_nothing(uri in "(rtsp|http)://[a-z:@/?&=0-9]{0,30}") {
            let once = redact(&uri);
            prop_assert_eq!(redact(&once), once);
        }
    }
}
