//! Downloads one file from one address, resuming where an earlier download broke off.

use std::io::Write;
use std::time::Duration;

use fermata_files::PartFile;
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode};

/// Maximum number of redirections followed.
const MOST_REDIRECTIONS: usize = 5;
/// Maximum number of consecutive attempts without progress.
const MOST_VAIN: u32 = 3;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time without data after which a download counts as broken off.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause before an address is tried again; doubled each time.
const PAUSE: Duration = Duration::from_millis(200);

/// Creates a client for downloads.
pub(crate) fn client() -> Result<Client, reqwest::Error> {
    // Fails only if the process has already installed a provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(reqwest::redirect::Policy::limited(MOST_REDIRECTIONS))
        .build()
}

/// Why an attempt ended.
enum Broken {
    /// The same address may still deliver the rest.
    Off(String),
    /// The address does not have this file.
    No(String),
}

/// Downloads the rest of a file of `bytes` bytes into `part`. `progress` is called with the number of bytes present.
///
/// # Errors
/// What was wrong with the address; the data received stays in the part.
pub(crate) async fn download(
    client: &Client,
    url: &str,
    part: &mut PartFile,
    bytes: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<(), String> {
    let (mut vain, mut pause) = (0, PAUSE);
    loop {
        let before = part.length().map_err(|error| error.to_string())?;
        if before == bytes {
            return Ok(());
        }
        match attempt(client, url, part, bytes, progress).await {
            Ok(()) => return Ok(()),
            Err(Broken::No(reason)) => return Err(reason),
            Err(Broken::Off(reason)) => {
                let after = part.length().map_err(|error| error.to_string())?;
                vain = if after > before { 0 } else { vain + 1 };
                if vain >= MOST_VAIN {
                    return Err(reason);
                }
                tracing::debug!("{url} broke off after {after} of {bytes} bytes: {reason}");
                tokio::time::sleep(pause).await;
                pause = if after > before { PAUSE } else { 2 * pause };
            }
        }
    }
}

async fn attempt(
    client: &Client,
    url: &str,
    part: &mut PartFile,
    bytes: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Broken> {
    let have = part.length().map_err(unwritten)?;
    let mut request = client.get(url);
    if have > 0 {
        request = request.header(RANGE, format!("bytes={have}-"));
    }
    let mut response = request.send().await.map_err(|error| {
        if error.is_redirect() {
            Broken::No(format!("it redirects more than {MOST_REDIRECTIONS} times"))
        } else if error.is_builder() {
            Broken::No("it is not a valid URL".to_owned())
        } else if error.is_timeout() {
            Broken::Off("no answer in time".to_owned())
        } else if error.is_connect() {
            Broken::Off("it cannot be reached".to_owned())
        } else {
            Broken::Off(error.without_url().to_string())
        }
    })?;
    let mut have = match (response.status(), have) {
        (StatusCode::PARTIAL_CONTENT, have) if begins_at(&response) == Some(have) => have,
        // The server sends the whole file instead of resuming.
        (StatusCode::OK, 0) => 0,
        (StatusCode::OK | StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT, _) => {
            part.cut(0).map_err(unwritten)?;
            if response.status() != StatusCode::OK {
                return Err(Broken::Off(
                    "it does not resume where it broke off".to_owned(),
                ));
            }
            0
        }
        (status, _) if status.is_server_error() => {
            return Err(Broken::Off(format!("it answered {status}")));
        }
        (status, _) => return Err(Broken::No(format!("it answered {status}"))),
    };
    if let Some(length) = response.content_length()
        && have + length != bytes
    {
        let all = have + length;
        return Err(Broken::No(format!("it has {all} bytes instead of {bytes}")));
    }
    let broken = |error: reqwest::Error| Broken::Off(error.without_url().to_string());
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        have += chunk.len() as u64;
        if have > bytes {
            part.cut(0).map_err(unwritten)?;
            return Err(Broken::No(format!("it sends more than the {bytes} bytes")));
        }
        part.write_all(&chunk).map_err(unwritten)?;
        progress(have);
    }
    if have == bytes {
        Ok(())
    } else {
        Err(Broken::Off(format!(
            "it ended after {have} of {bytes} bytes"
        )))
    }
}

fn unwritten(error: std::io::Error) -> Broken {
    Broken::No(format!("it cannot be written: {error}"))
}

/// Returns the position at which the content of a response begins: 100 for `bytes 100-199/200`.
fn begins_at(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (begin, _) = range.strip_prefix("bytes ")?.split_once('-')?;
    begin.parse().ok()
}
