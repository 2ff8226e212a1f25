//! `fermata top`: what the live page shows, in a terminal.

mod table;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use fermata_serve::{Numbers, Token};
use serde::Deserialize;

use crate::cli::{FAILED, SUCCESS, TopArguments};
use crate::print::{complain, print};

/// Time between two looks; numbers are made once a second.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time in which the run must answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// To the upper left corner, and nothing below it.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What `/snapshot` gives.
#[derive(Deserialize)]
struct Snapshot {
    numbers: Numbers,
}

/// Shows a run once, or on a terminal until it is over.
pub fn top(arguments: &TopArguments) -> anyhow::Result<u8> {
    let url = url(&arguments.address);
    let token = arguments.token_file.as_deref().map(Token::read);
    let token = token.transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // It fails where somebody has done it already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(ANSWER_WITHIN)
        .no_proxy()
        .build()?;
    let look = || runtime.block_on(look(&client, &url, token.as_ref()));
    let first = look()?;
    if !std::io::stdout().is_terminal() {
        print(&table::table(&first))?;
        return Ok(SUCCESS);
    }
    let mut numbers = first;
    loop {
        let mut out = std::io::stdout().lock();
        write!(out, "{CLEAR}{}", table::table(&numbers))?;
        out.flush()?;
        drop(out);
        if numbers.run == "over" {
            return Ok(SUCCESS);
        }
        std::thread::sleep(LOOK_EVERY);
        numbers = match look() {
            Ok(numbers) => numbers,
            Err(error) => {
                complain(&format!(
                    "the run is over, or is not to be reached any more: {error:#}"
                ));
                return Ok(FAILED);
            }
        };
    }
}

/// `http://ADDRESS/snapshot`, of an address or of the page's own.
fn url(address: &str) -> String {
    let page = address.split('#').next().unwrap_or(address);
    let page = page.trim_end_matches('/');
    match page.contains("://") {
        true => format!("{page}/snapshot"),
        false => format!("http://{page}/snapshot"),
    }
}

async fn look(
    client: &reqwest::Client,
    url: &str,
    token: Option<&Token>,
) -> anyhow::Result<Numbers> {
    let mut request = client.get(url);
    if let Some(token) = token {
        request = request.bearer_auth(token.secret());
    }
    let answer = request.send().await;
    let answer = answer.with_context(|| format!("cannot reach {url}"))?;
    let status = answer.status();
    let text = answer.text().await.context("the answer broke off")?;
    if !status.is_success() {
        bail!("{url} answers {status}: {}", text.trim());
    }
    let snapshot: Snapshot = serde_json::from_str(&text)
        .with_context(|| format!("{url} answers what no run of this version does"))?;
    Ok(snapshot.numbers)
}

#[cfg(test)]
mod tests {
    use super::url;

    #[test]
    fn an_address_or_the_pages_own_is_taken() {
        for address in [
            "127.0.0.1:8080",
            "http://127.0.0.1:8080",
            "http://127.0.0.1:8080/#token=abc",
        ] {
            assert_eq!(url(address), "http://127.0.0.1:8080/snapshot");
        }
        assert_eq!(url("https://cameras/"), "https://cameras/snapshot");
    }
}
