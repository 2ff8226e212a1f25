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

use super::errors::INPUT_OUTPUT;
use super::waiting::Waiting;

/// Number of bytes of a page that are examined.
const BEGINNING: usize = 1024;

/// Copies the content of an address to an unnamed temporary file.
///
/// # Errors
/// If libav cannot read the address, or the file cannot be written.
pub(super) fn fetch(url: &str, options: Dictionary, waiting: &impl Waiting) -> Result<File, Error> {
    tracing::info!(url = %redact(url), "the server does not send parts of files, and the index of this one is at its end: it is fetched whole first");
    let mut file = tempfile::tempfile().map_err(of_system)?;
    read(url, options, waiting, |bytes| {
        waiting.came_further();
        file.write_all(bytes).map_err(of_system)?;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(file)
}

/// Returns whether an address leads to a web page.
pub(crate) fn is_web_page(url: &str, options: Dictionary, waiting: &impl Waiting) -> bool {
    let mut beginning = Vec::new();
    let read = read(url, options, waiting, |bytes| {
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

/// Passes the content of an address to `take` until it ends or `take` breaks.
fn read(
    url: &str,
    options: Dictionary,
    waiting: &impl Waiting,
    mut take: impl FnMut(&[u8]) -> Result<ControlFlow<()>, Error>,
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
        let is_of_known_length = ffi::avio_size(io) >= 0;
        let ended = loop {
            let read = ffi::avio_read_partial(io, buffer.as_mut_ptr(), room);
            match usize::try_from(read) {
                Ok(0) => break Ok(()),
                Ok(read) => match take(&buffer[..read]) {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => break Ok(()),
                    Err(error) => break Err(error),
                },
                Err(_) => match Error::from(read) {
                    Error::Eof => break Ok(()),
                    INPUT_OUTPUT if !is_of_known_length => break Ok(()),
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
    use super::*;

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
