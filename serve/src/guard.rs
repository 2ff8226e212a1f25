//! Access control by host, origin and token. Only decides; the router answers.
//!
//! - **Host** must be an address, `localhost` or a configured name: a page under another name whose address was
//!   redirected to this machine (DNS rebinding) gets nothing.
//! - **Origin** must match the host for upgrades and changes: other sites open in the browser can neither watch nor
//!   steer the run. It may be absent only with a Bearer token, which browsers do not send by themselves.
//! - **Token**, if there is one, is sent as Bearer or as the cookie that was issued for it.

use std::net::IpAddr;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};

use crate::token::Token;

/// Decides which requests are answered.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Permitted names besides addresses and `localhost`.
    pub(crate) hosts: Vec<String>,
    /// None if everybody on this machine may see the page.
    pub(crate) token: Option<Token>,
    /// The port, which is part of the cookie's name: browsers send the cookies of one port to all ports of a host.
    pub(crate) port: u16,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is not exactly one `Host`, or it is malformed.
    NoHost,
    /// The host name is not permitted.
    ForeignHost,
    /// The token is missing or wrong.
    NoToken,
    /// An upgrade or a change was requested by another site.
    ForeignOrigin,
}

impl Refusal {
    pub(crate) fn answer(self) -> (StatusCode, &'static str) {
        match self {
            Self::NoHost => (StatusCode::BAD_REQUEST, "the request names no host\n"),
            Self::ForeignHost => (
                StatusCode::MISDIRECTED_REQUEST,
                "this host is not known here: ask by address or as localhost, or start the run with --serve-host NAME\n",
            ),
            Self::NoToken => (
                StatusCode::UNAUTHORIZED,
                "this needs the run's token: open the page with #token=…, or send Authorization: Bearer …\n",
            ),
            Self::ForeignOrigin => (
                StatusCode::FORBIDDEN,
                "the request does not come from this page: its Origin must be that of the host; only with a Bearer token there may be none\n",
            ),
        }
    }
}

impl Guard {
    /// Checks whether a request may be answered.
    pub(crate) fn check(&self, request: &Parts) -> Result<(), Refusal> {
        let host = one(&request.headers, &header::HOST).ok_or(Refusal::NoHost)?;
        self.check_host(host)?;
        let bearer = self.has_bearer(&request.headers);
        let is_known = self.token.is_none() || bearer || self.has_cookie(&request.headers);
        if !is_open(request) && !is_known {
            return Err(Refusal::NoToken);
        }
        let changes = !reads(request) || request.headers.contains_key(header::UPGRADE);
        if changes {
            self.check_origin(&request.headers, host, bearer)?;
        }
        Ok(())
    }

    fn check_host(&self, host: &str) -> Result<(), Refusal> {
        let name = without_port(host).ok_or(Refusal::NoHost)?;
        let is_address = match name.strip_prefix('[') {
            Some(name) => name.trim_end_matches(']').parse::<IpAddr>().is_ok(),
            None => name.parse::<IpAddr>().is_ok(),
        };
        let mut names = self.hosts.iter().map(String::as_str).chain(["localhost"]);
        if is_address || names.any(|known| known.eq_ignore_ascii_case(name)) {
            Ok(())
        } else {
            Err(Refusal::ForeignHost)
        }
    }

    fn check_origin(&self, headers: &HeaderMap, host: &str, bearer: bool) -> Result<(), Refusal> {
        if !headers.contains_key(header::ORIGIN) && bearer {
            return Ok(());
        }
        let origin = one(headers, &header::ORIGIN).ok_or(Refusal::ForeignOrigin)?;
        // A proxy in front of a server without TLS may use it.
        let own = origin.strip_prefix("https://").or_else(|| {
            let plain = origin.strip_prefix("http://");
            plain.filter(|_| self.scheme == "http")
        });
        if own.is_some_and(|own| own.eq_ignore_ascii_case(host)) {
            Ok(())
        } else {
            Err(Refusal::ForeignOrigin)
        }
    }

    fn has_bearer(&self, headers: &HeaderMap) -> bool {
        let given = one(headers, &header::AUTHORIZATION);
        let given = given.and_then(|given| given.split_once(' '));
        let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        match (&self.token, given) {
            (Some(token), Some((_, given))) => token.is(given.trim()),
            _ => false,
        }
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return false;
        };
        let name = self.cookie_name();
        let lines = headers.get_all(header::COOKIE).iter();
        let mut cookies = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='));
        cookies.any(|(given, value)| given == name && token.is_cookie(value))
    }

    fn cookie_name(&self) -> String {
        format!("fermata-{}", self.port)
    }

    /// Returns the cookie for a client that sent the token; none if the token is wrong or not required.
    pub(crate) fn cookie_for(&self, given: &str) -> Option<String> {
        let token = self.token.as_ref().filter(|token| token.is(given))?;
        let secure = if self.scheme == "https" {
            "; Secure"
        } else {
            ""
        };
        Some(format!(
            "{}={}; Path=/; HttpOnly; SameSite=Strict{secure}",
            self.cookie_name(),
            token.cookie()
        ))
    }
}

fn reads(request: &Parts) -> bool {
    matches!(request.method, Method::GET | Method::HEAD)
}

/// Returns whether a request needs no token.
pub(crate) fn is_open(request: &Parts) -> bool {
    let path = request.uri.path();
    if reads(request) {
        path == "/" || path == "/healthz" || path.starts_with("/assets/")
    } else {
        path == "/session"
    }
}

/// Returns the value of a header that occurs exactly once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Returns `host` of `host:port`, `[::1]` of `[::1]:port`; none for anything else.
fn without_port(host: &str) -> Option<&str> {
    let (name, port) = match host.rfind(']') {
        Some(end) => host.split_at(end + 1),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = match port.strip_prefix(':') {
        Some(port) => port.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    (is_port && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests;
