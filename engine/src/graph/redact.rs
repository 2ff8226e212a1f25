//! Credentials in URIs must not be shown.

/// Query keys whose values are credentials (many cameras take them this way).
const SECRET_KEYS: [&str; 11] = [
    "user", "username", "usr", "password", "passwd", "pass", "pwd", "token", "auth", "key",
    "secret",
];

/// A text as it may be shown: every URI in it without user, password and secret query values.
///
/// `rtsp://user:pw@host/` becomes `rtsp://***@host/`. Everything up to the last `@` of a URI is hidden, so that a password
/// with a raw `/`, `?` or `@` in it is hidden too; the price is that a path that holds an `@` loses its host. A URI in a
/// text ends at white space and at quotation marks.
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after
            .find(|c: char| c.is_whitespace() || "\"'`".contains(c))
            .unwrap_or(after.len());
        let uri = &after[..end];
        match uri.rfind('@') {
            Some(sign) => out.push_str(&redact_query(&format!("***{}", &uri[sign..]))),
            None => out.push_str(&redact_query(uri)),
        }
        rest = &after[end..];
    }
    out.push_str(rest);
    out
}

/// Hides the values of secret `key=value` pairs, wherever in path or query they stand.
fn redact_query(text: &str) -> String {
    let separator = ['?', '&', ';', '/', '#'];
    let mut shown = String::with_capacity(text.len());
    for piece in text.split_inclusive(separator) {
        let end = piece.strip_suffix(separator).map_or(piece.len(), str::len);
        match piece[..end].split_once('=') {
            Some((key, _)) if SECRET_KEYS.contains(&key.to_ascii_lowercase().as_str()) => {
                shown.extend([key, "=***", &piece[end..]]);
            }
            _ => shown.push_str(piece),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::redact;
    use proptest::prelude::*;

    #[test]
    fn credentials_are_hidden_and_the_rest_stays() {
        for (uri, shown) in [
            ("rtsp://user:pw@host/", "rtsp://***@host/"),
            (
                "rtsp://user:p@w@host:554/a?b=c",
                "rtsp://***@host:554/a?b=c",
            ),
            ("rtsp://user:p/w@host/main", "rtsp://***@host/main"),
            ("rtsp://user:p?w#x@host/main", "rtsp://***@host/main"),
            ("http://host:80/ab?c=d", "http://host:80/ab?c=d"),
            ("rtsp://[::1]:8554/live", "rtsp://[::1]:8554/live"),
            (
                "rtsp://host/user=admin&password=s3cret&channel=1",
                "rtsp://host/user=***&password=***&channel=1",
            ),
            ("http://host/v?Token=abc", "http://host/v?Token=***"),
            ("/data/clip@home.mp4", "/data/clip@home.mp4"),
            (
                "cannot open `rtsp://me:pw@cam/1` or http://x/ (refused)",
                "cannot open `rtsp://***@cam/1` or http://x/ (refused)",
            ),
        ] {
            assert_eq!(redact(uri), shown);
        }
    }

    proptest! {
        #[test]
        fn no_password_survives(password in "[a-zA-Z0-9:@/?#&=!%]{1,12}", path in "[a-z/]{0,8}") {
            let uri = format!("rtsp://user:{password}@camera.local/{path}");
            prop_assert_eq!(redact(&uri), format!("rtsp://***@camera.local/{path}"));
        }

        #[test]
        fn redacting_twice_changes_nothing(uri in "(rtsp|http)://[a-z:@/?&=0-9]{0,30}") {
            let once = redact(&uri);
            prop_assert_eq!(redact(&once), once);
        }
    }
}
