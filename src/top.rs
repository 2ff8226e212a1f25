//! `fermata top`: shows the live page's numbers in a terminal of any size.

mod table;

use std::error::Error as _;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use fermata_actors::trust::{Client, Trust};
use fermata_engine::graph::printable;
use fermata_serve::{Numbers, Token};
use serde::Deserialize;

use crate::cli::{FAILED, SUCCESS, TopArguments};
use crate::columns::shortened;
use crate::print::{complain, print};
use crate::terminal;

/// Time between two polls; the run updates its numbers once a second.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time within which the run must answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Time after which refused connections mean that the run is over: its page ends with it.
const OVER_AFTER: Duration = Duration::from_secs(5);
/// Maximum size of an answer in bytes; a run of a thousand streams gives one megabyte.
const MOST_BYTES: usize = 16 << 20;
/// Maximum number of characters shown of a refusal.
const MOST_SAID: usize = 200;
/// Moves the cursor to the upper left corner and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// The answer of `/snapshot`.
#[derive(Deserialize)]
struct Snapshot {
    numbers: Numbers,
}

/// Why a poll failed.
enum Missed {
    /// Nothing listens at the address, as when the run is over.
    Refused(anyhow::Error),
    /// A failure that the next poll may not have.
    Lost(anyhow::Error),
    /// The server is not a run, or not one that this user may see.
    Denied(anyhow::Error),
}

impl Missed {
    fn error(self) -> anyhow::Error {
        match self {
            Self::Refused(error) | Self::Lost(error) | Self::Denied(error) => error,
        }
    }
}

/// Shows a run once, or on a terminal until it is over; like the page, it polls again after a failure.
///
/// # Errors
/// Fails if the arguments are wrong or the first poll fails.
pub(crate) fn top(arguments: &TopArguments) -> anyhow::Result<u8> {
    let trusts = arguments.ca_file.is_some() || arguments.fingerprint.is_some();
    let url = url(&arguments.address, trusts)?;
    let token = arguments.token_file.as_deref().map(Token::read);
    let token = token.transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Fails if a provider is installed already, which is just as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut client = reqwest::Client::builder().timeout(ANSWER_WITHIN).no_proxy();
    let tls = trust(arguments, &url)?.map(Client::new).transpose()?;
    if let Some(tls) = &tls {
        client = client.tls_backend_preconfigured(tls.config.clone());
    }
    let client = client.build()?;
    let look = || {
        let looked = runtime.block_on(look(&client, &url, token.as_ref()));
        looked.map_err(|missed| untrusted(missed, tls.as_ref()))
    };
    let first = look().map_err(Missed::error)?;
    if !io::stdout().is_terminal() {
        let lines = table::table(&first, terminal::line_width(io::stdout()));
        print(&(lines.join("\n") + "\n"))?;
        return Ok(SUCCESS);
    }
    watch(first, look)
}

/// Shows the results of polls until the run is over.
fn watch(first: Numbers, look: impl Fn() -> Result<Numbers, Missed>) -> anyhow::Result<u8> {
    let mut numbers = first;
    // Since when nothing is known, and why.
    let mut silent: Option<(Instant, String)> = None;
    loop {
        let silence = silent.as_ref();
        draw(
            &numbers,
            silence.map(|(since, why)| (since.elapsed(), why.as_str())),
        )?;
        if numbers.run == "over" {
            return Ok(SUCCESS);
        }
        std::thread::sleep(LOOK_EVERY);
        let missed = match look() {
            Ok(now) => {
                (numbers, silent) = (now, None);
                continue;
            }
            Err(missed) => missed,
        };
        let since = silent
            .as_ref()
            .map_or_else(Instant::now, |(since, _)| *since);
        if let Missed::Refused(_) = &missed
            && since.elapsed() >= OVER_AFTER
        {
            complain("the run is over: its address no longer answers");
            return Ok(SUCCESS);
        }
        if let Missed::Denied(error) = missed {
            complain(&format!(
                "the run is over, and something else answers at its address: {error:#}"
            ));
            return Ok(FAILED);
        }
        silent = Some((since, format!("{:#}", missed.error())));
    }
}

/// Draws the numbers, with the reason if they are stale.
fn draw(numbers: &Numbers, silence: Option<(Duration, &str)>) -> io::Result<()> {
    let (columns, rows) = terminal::size(io::stdout());
    let mut lines = Vec::new();
    if let Some((since, why)) = silence {
        let why = printable(why).replace('\n', " ");
        let told = format!("no answer for {} s, asking again: {why}", since.as_secs());
        lines.push(shortened(&told, columns));
    }
    lines.extend(table::table(numbers, columns));
    let lines = fitting(lines, rows.saturating_sub(1));
    let mut out = io::stdout().lock();
    writeln!(out, "{CLEAR}{}", lines.join("\n"))?;
    out.flush()
}

/// Keeps as many lines as there is room for, and says how many are missing.
fn fitting(mut lines: Vec<String>, rows: usize) -> Vec<String> {
    if lines.len() > rows {
        let missing = lines.len() - rows.saturating_sub(1);
        lines.truncate(rows.saturating_sub(1));
        lines.push(format!("… and {missing} more lines"));
    }
    lines
}

/// Returns `http://ADDRESS/snapshot` for an address or a page URL; `https` if a certificate is expected.
fn url(address: &str, trusts: bool) -> anyhow::Result<String> {
    let page = address.split('#').next().unwrap_or(address);
    let page = page.trim_end_matches('/');
    match (page.contains("://"), trusts) {
        (true, true) if !page.starts_with("https://") => {
            bail!("{page} has no certificate to check: use an address that begins with https://")
        }
        (true, _) => Ok(format!("{page}/snapshot")),
        (false, true) => Ok(format!("https://{page}/snapshot")),
        (false, false) => Ok(format!("http://{page}/snapshot")),
    }
}

/// Returns whom to trust as the run, if it is asked over TLS.
fn trust(arguments: &TopArguments, url: &str) -> anyhow::Result<Option<Trust>> {
    if let Some(path) = &arguments.ca_file {
        return Ok(Some(Trust::file(path).context("--ca-file")?));
    }
    if let Some(fingerprint) = &arguments.fingerprint {
        let fingerprint = fingerprint.parse().context("--fingerprint")?;
        return Ok(Some(Trust::One(fingerprint)));
    }
    let is_encrypted = url.starts_with("https://");
    Ok(is_encrypted.then(Trust::system).transpose()?)
}

/// Explains what to do if the certificate is why there is no answer.
fn untrusted(missed: Missed, tls: Option<&Client>) -> Missed {
    match tls.and_then(Client::refused) {
        Some(refused) => Missed::Denied(missed.error().context(format!(
            "the server's certificate is not trusted; its fingerprint is {refused}. If the run has shown this fingerprint on its terminal, give it with --fingerprint"
        ))),
        None => missed,
    }
}

async fn look(
    client: &reqwest::Client,
    url: &str,
    token: Option<&Token>,
) -> Result<Numbers, Missed> {
    let mut request = client.get(url);
    if let Some(token) = token {
        request = request.bearer_auth(token.secret());
    }
    let answer = request.send().await.map_err(|error| {
        let is_refused = is_refused(&error);
        let error = anyhow::Error::new(error).context(format!("cannot reach {url}"));
        if is_refused {
            Missed::Refused(error)
        } else {
            Missed::Lost(error)
        }
    })?;
    let status = answer.status();
    let text = text_of(answer).await.map_err(Missed::Lost)?;
    if !status.is_success() {
        // The answer may be a whole page: a run answers in one line.
        let said: String = text
            .trim()
            .chars()
            .take_while(|&letter| letter != '\n')
            .take(MOST_SAID)
            .collect();
        let error = anyhow!("{url} answers {status}: {said}");
        return Err(if status.is_server_error() {
            Missed::Lost(error)
        } else {
            Missed::Denied(error)
        });
    }
    let snapshot: Snapshot = serde_json::from_str(&text)
        .with_context(|| format!("{url} does not answer like a run of this version"))
        .map_err(Missed::Denied)?;
    Ok(snapshot.numbers)
}

/// Returns whether the connection was refused.
fn is_refused(error: &reqwest::Error) -> bool {
    let mut causes = std::iter::successors(error.source(), |error| (*error).source());
    causes.any(|cause| {
        let cause = cause.downcast_ref::<io::Error>();
        cause.is_some_and(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
    })
}

/// Reads an answer's text, within a limit: the server need not be a run.
async fn text_of(mut answer: reqwest::Response) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.context("the answer broke off")? {
        if bytes.len() + chunk.len() > MOST_BYTES {
            bail!(
                "the answer has more than {} MiB, so it is not a run's",
                MOST_BYTES >> 20
            );
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{fitting, url};

    #[test]
    fn what_has_no_room_is_counted() {
        let lines = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(fitting(lines(3), 3), ["0", "1", "2"]);
        assert_eq!(fitting(lines(4), 3), ["0", "1", "… and 2 more lines"]);
    }

    #[test]
    fn an_address_or_the_pages_own_is_taken() {
        for address in [
            "127.0.0.1:8080",
            "http://127.0.0.1:8080",
            "http://127.0.0.1:8080/#token=abc",
        ] {
            let url = url(address, false).unwrap();
            assert_eq!(url, "http://127.0.0.1:8080/snapshot");
        }
        for trusts in [false, true] {
            let url = url("https://cameras/", trusts).unwrap();
            assert_eq!(url, "https://cameras/snapshot");
        }
        let url_of = |address| url(address, true);
        assert_eq!(url_of("cameras:1").unwrap(), "https://cameras:1/snapshot");
        assert!(url_of("http://cameras").is_err(), "nobody shows anything");
    }
}
