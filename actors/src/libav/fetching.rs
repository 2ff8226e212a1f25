//! Reads the content of an address as bytes, without looking for a video in it: all of it, or only its beginning.

// The crate only has inputs that are media.
#![allow(unsafe_code)]

use std::ffi::{CString, c_int};
use std::fs::File;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::ptr;

use fermata_engine::graph::redact;
use ffmpeg_next::util::interrupt;
use ffmpeg_next::{Dictionary, Error, ffi};

use super::errors::{INPUT_OUTPUT, TOO_LARGE};
use super::waiting::Waiting;

/// Number of bytes of a page that are examined.
const BEGINNING: usize = 1024;

/// Maximum number of bytes that are copied: hours of video. A server may send without end.
pub(crate) const MOST_FETCHED: u64 = 4 << 30;

/// Copies the content of an address, at most so many bytes, to an unnamed temporary file.
///
/// # Errors
/// If libav cannot read the address, the file cannot be written, or there is more ([`TOO_LARGE`]).
pub(super) fn fetch(
    url: &str,
    options: Dictionary,
    most: u64,
    waiting: &impl Waiting,
) -> Result<File, Error> {
    tracing::info!(url = %redact(url), "the server does not send parts of files, and the index of this one is at its end: it is fetched whole first");
    let mut file = tempfile::tempfile().map_err(of_system)?;
    let mut fetched = 0_u64;
    read(url, options, waiting, |bytes, announced| {
        fetched += bytes.len() as u64;
        if fetched.max(announced) > most {
            return Err(TOO_LARGE);
        }
        waiting.came_further();
        file.write_all(bytes).map_err(of_system)?;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(file)
}

/// Returns whether an address leads to a web page.
pub(crate) fn is_web_page(url: &str, options: Dictionary, waiting: &impl Waiting) -> bool {
    let mut beginning = Vec::new();
    let read = read(url, options, waiting, |bytes, _| {
        beginning.extend_from_slice(bytes);
        Ok(if beginning.len() < BEGINNING {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        })
    });
    beginning.truncate(BEGINNING);
    read.is_ok() && begins_as_a_page(&beginning)
}

fn begins_as_a_page(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let tags = ["<!doctype html", "<html", "<head", "<body"];
    text.starts_with('<') && tags.iter().any(|tag| text.contains(tag))
}

/// Passes the content of an address to `take` until it ends or `take` breaks, with the announced length of all of it, 0
/// if there is none.
fn read(
    url: &str,
    options: Dictionary,
    waiting: &impl Waiting,
    mut take: impl FnMut(&[u8], u64) -> Result<ControlFlow<()>, Error>,
) -> Result<(), Error> {
    let url = CString::new(url).map_err(|_| Error::InvalidData)?;
    let asked = waiting.clone();
    let interrupt = interrupt::new(Box::new(move || asked.interrupts()));
    let mut buffer = vec![0_u8; 1 << 16];
    let room = c_int::try_from(buffer.len()).unwrap_or(c_int::MAX);
    // SAFETY: the url ends with a zero byte, the callback's guard and the buffer outlive every call, and what was
    // opened is closed once. The dictionary is taken back from libav and freed by its owner.
    unsafe {
        let mut io = ptr::null_mut();
        let mut given = options.disown();
        let flags = ffi::AVIO_FLAG_READ;
        let opened = ffi::avio_open2(
            &raw mut io,
            url.as_ptr(),
            flags,
            &raw const interrupt.interrupt,
            &raw mut given,
        );
        drop(Dictionary::own(given));
        if opened < 0 {
            return Err(Error::from(opened));
        }
        let announced = u64::try_from(ffi::avio_size(io));
        let ended = loop {
            let read = ffi::avio_read_partial(io, buffer.as_mut_ptr(), room);
            match usize::try_from(read) {
                Ok(0) => break Ok(()),
                Ok(read) => match take(&buffer[..read], announced.unwrap_or(0)) {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => break Ok(()),
                    Err(error) => break Err(error),
                },
                Err(_) => match Error::from(read) {
                    Error::Eof => break Ok(()),
                    INPUT_OUTPUT if announced.is_err() => break Ok(()),
                    error => break Err(error),
                },
            }
        };
        ffi::avio_closep(&raw mut io);
        ended
    }
}

fn of_system(error: std::io::Error) -> Error {
    let errno = error.raw_os_error();
    errno.map_or(Error::External, |errno| Error::Other { errno })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;

    use super::*;

    #[derive(Clone)]
    struct Patient;

    impl Waiting for Patient {
        fn interrupts(&self) -> bool {
            false
        }

        fn came_further(&self) {}
    }

    /// Answers one request with this head and a body that ends only when the client leaves or after a gigabyte; returns
    /// the address and, later, the number of bytes sent.
    fn endless(head: &'static str) -> (String, std::thread::JoinHandle<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/a.mp4", listener.local_addr().unwrap());
        let sending = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let request = BufReader::new(client.try_clone().unwrap()).lines();
            for line in request {
                if line.unwrap().is_empty() {
                    break;
                }
            }
            client.write_all(head.as_bytes()).unwrap();
            let part = [0_u8; 1 << 16];
            let sent = (0..1 << 14).take_while(|_| client.write_all(&part).is_ok());
            sent.count() * part.len()
        });
        (url, sending)
    }

    #[test]
    fn no_server_fills_the_disk() {
        crate::libav::start();
        for (head, most) in [
            ("HTTP/1.0 200 OK\r\n\r\n", 1 << 20),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n",
                MOST_FETCHED,
            ),
        ] {
            let (url, sending) = endless(head);
            let fetched = fetch(&url, Dictionary::new(), most, &Patient);
            assert_eq!(fetched.err(), Some(TOO_LARGE), "{head}");
            let sent = sending.join().unwrap();
            assert!(sent < 1 << 28, "{sent} bytes were taken");
        }
    }

    #[test]
    fn what_is_as_long_as_permitted_is_fetched() {
        crate::libav::start();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, [7; 100]).unwrap();
        let url = format!("file:{}", path.display());
        for (most, error) in [(100, None), (99, Some(TOO_LARGE))] {
            let fetched = fetch(&url, Dictionary::new(), most, &Patient);
            assert_eq!(fetched.err(), error);
        }
    }

    #[test]
    fn a_page_is_known_by_how_it_begins() {
        for page in [
            "<!DOCTYPE html><p>x",
            "\u{feff} \n<HTML lang=de>",
            "<?xml version=\"1.0\"?>\n<!DOCTYPE html PUBLIC>",
            "<!-- camera --><head>",
        ] {
            assert!(begins_as_a_page(page.as_bytes()), "{page}");
        }
        for other in [
            "",
            "{\"a\": \"<html>\"}",
            "<MPD xmlns=\"urn:mpeg:dash\">",
            "\0\0<html",
        ] {
            assert!(!begins_as_a_page(other.as_bytes()), "{other}");
        }
    }
}
