//! Filters the replies of an RTSP or HTTP server for a relay: a redirection must not reach libav.

use std::io::{self, Write};

/// Maximum length of a reply's head.
const LONGEST_HEAD: usize = 64 * 1024;

/// Forwards a server's messages one by one until pictures come.
#[derive(Default)]
pub(crate) struct Replies {
    /// The incomplete head of a message.
    head: Vec<u8>,
    /// Remaining bytes of a body, or of a packet between messages, that are forwarded unchanged.
    body: u64,
    /// Whether everything from now on is forwarded without inspection.
    through: bool,
}

impl Replies {
    /// Forwards what is allowed to pass.
    ///
    /// # Errors
    /// If the server redirects, a head is too long, or the bytes cannot be forwarded.
    pub(crate) fn pass(&mut self, mut bytes: &[u8], to: &mut impl Write) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.through {
                return to.write_all(bytes);
            }
            if self.body > 0 {
                let length = bytes
                    .len()
                    .min(usize::try_from(self.body).unwrap_or(usize::MAX));
                to.write_all(&bytes[..length])?;
                self.body -= length as u64;
                bytes = &bytes[length..];
                continue;
            }
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            match self.head[..] {
                // RFC 2326, 10.12: `$`, a channel, and the length of the packet that follows.
                [b'$', _, high, low] => {
                    self.body = u64::from(u16::from_be_bytes([high, low]));
                    to.write_all(&self.head)?;
                    self.head.clear();
                }
                [b'$', ..] => {}
                _ if self.head.ends_with(b"\r\n\r\n") || self.head.ends_with(b"\n\n") => {
                    self.head_is_whole()?;
                    to.write_all(&self.head)?;
                    self.head.clear();
                }
                _ if self.head.len() > LONGEST_HEAD => {
                    return Err(io::Error::other("the head of a reply is too long"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn head_is_whole(&mut self) -> io::Result<()> {
        let head = String::from_utf8_lossy(&self.head);
        let mut lines = head.lines().skip_while(|line| line.is_empty());
        let status = lines.next().unwrap_or_default();
        let code = status.split_whitespace().nth(1).unwrap_or_default();
        let is_reply = status.starts_with("RTSP/") || status.starts_with("HTTP/");
        if is_reply && code.starts_with('3') && code != "304" {
            return Err(io::Error::other(format!(
                "the server redirects ({code}), which is not followed for an encrypted stream; give the final address instead"
            )));
        }
        // After the head of an HTTP reply comes the video.
        self.through = status.starts_with("HTTP/") && !code.starts_with('1');
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.trim().eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse().ok()).flatten()
        });
        self.body = length.unwrap_or(0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TALK: &[u8] = b"RTSP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nRTSP/$\x00\x00\x04\r\n\r\nRTSP/1.0 200 OK\r\n\r\n$\x01\x00\x03abc";

    fn passed(pieces: &[&[u8]]) -> io::Result<Vec<u8>> {
        let (mut replies, mut out) = (Replies::default(), Vec::new());
        for piece in pieces {
            replies.pass(piece, &mut out)?;
        }
        Ok(out)
    }

    proptest! {
        #[test]
        fn what_is_no_redirection_passes_in_any_pieces(at in 0..TALK.len()) {
            let (one, other) = TALK.split_at(at);
            prop_assert_eq!(passed(&[one, other]).unwrap(), TALK);
        }
    }

    #[test]
    fn a_redirection_does_not_pass() {
        let moved = b"RTSP/1.0 302 Moved\r\nLocation: rtsp://other/\r\n\r\n";
        for talk in [
            moved.to_vec(),
            [TALK, moved].concat(),
            b"HTTP/1.1 301 Moved\r\nLocation: http://other/\r\n\r\n".to_vec(),
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 307 Moved\r\n\r\n".to_vec(),
        ] {
            let (mut replies, mut out) = (Replies::default(), Vec::new());
            let refused = replies.pass(&talk, &mut out).unwrap_err().to_string();
            assert!(refused.contains("the server redirects"), "{refused}");
            assert!(!String::from_utf8_lossy(&out).contains("Moved"));
        }
    }

    #[test]
    fn a_video_over_http_passes_as_it_is() {
        let talk = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n$$HTTP/1.1 302 x\r\n\r\n";
        assert_eq!(passed(&[talk]).unwrap(), talk);
    }

    #[test]
    fn a_head_that_does_not_end_is_given_up() {
        assert!(passed(&[&[b'x'; LONGEST_HEAD + 1]]).is_err());
    }
}
