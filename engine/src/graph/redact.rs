//! Credentials in URIs must not be shown.

/// Replaces `user:password@` of every URI in a text by `***@`.
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after
            .find(|c: char| {
                c == '/' || c == '?' || c == '#' || c.is_whitespace() || "\"'`".contains(c)
            })
            .unwrap_or(after.len());
        match after[..end].rfind('@') {
            Some(sign) => {
                out.push_str("***");
                rest = &after[sign..];
            }
            None => rest = after,
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn credentials_are_hidden_and_the_rest_stays() {
        assert_eq!(
            redact("cannot open rtsp://me:p@ss@cam.local:554/main, nor http://x/a@b"),
            "cannot open rtsp://***@cam.local:554/main, nor http://x/a@b"
        );
        assert_eq!(redact("a@b.c"), "a@b.c");
    }
}
