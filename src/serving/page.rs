//! The live page of a run.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use anyhow::Context;
use fermata_actors::shown::{describe, shown_node};
use fermata_engine::observer::Observer;
use fermata_engine::{Graph, RunOptions, RunningGraph};
use fermata_serve::{
    Clocks, Identity, Listening, Measures, ServeOptions, Server, Tap, TapObserver, Token,
    WatchedRun, Workers,
};
use fermata_vision::FrameHub;

use crate::both::Both;
use crate::cli::ServeArguments;
use crate::interrupts::Interrupts;
use crate::print::{complain, complain_as_it_is};

/// The page, prepared before the run starts; none if not requested.
pub(crate) struct Serving(Option<Prepared>);

struct Prepared {
    listening: Listening,
    /// A token that only readers of the terminal know.
    fresh: Option<Token>,
    identity: Option<Identity>,
    /// The address to request the page by: `HOST:PORT`.
    shown: String,
    hub: Option<Arc<FrameHub>>,
    tap: Arc<Tap>,
    measures: Option<Arc<Measures>>,
    workers: Option<Arc<Workers>>,
    clocks: Option<Arc<Clocks>>,
}

/// A run that is being served, or not.
pub(crate) struct Served(Option<Server>);

impl Serving {
    /// Binds the address, so that an error is reported before anything starts.
    pub(crate) fn prepare(arguments: &ServeArguments, graph: &Graph) -> anyhow::Result<Self> {
        let Some(address) = arguments.serve else {
            return Ok(Self(None));
        };
        let given = match &arguments.serve_token_file {
            Some(path) => Some(Token::read(path)?),
            None => None,
        };
        let fresh = if given.is_none() && !address.ip().is_loopback() {
            Some(fresh_token(address)?)
        } else {
            None
        };
        for token in given.iter().chain(&fresh) {
            graph.secrets().add(token.secret());
        }
        let identity = identity(arguments, address)?;
        let listening = Listening::on(ServeOptions {
            address,
            hosts: arguments.serve_host.clone(),
            token: given.or_else(|| fresh.clone()),
            identity: identity.clone(),
        })?;
        let shown = shown(listening.address(), &arguments.serve_host);
        Ok(Self(Some(Prepared {
            shown,
            listening,
            fresh,
            identity,
            hub: shown_node(graph).map(|node| Arc::new(FrameHub::of_node(&node))),
            tap: Arc::new(Tap::new(describe)),
            measures: None,
            workers: None,
            clocks: None,
        })))
    }

    /// Lends the run what the page needs to observe it.
    pub(crate) fn lend(&mut self, mut options: RunOptions) -> RunOptions {
        let Some(prepared) = &mut self.0 else {
            return options;
        };
        prepared.measures = options.services.get();
        prepared.workers = options.services.get();
        prepared.clocks = options.services.get();
        if let Some(hub) = &prepared.hub {
            options.services = options.services.with(Arc::clone(hub));
        }
        let tap: Arc<dyn Observer> = Arc::new(TapObserver(Arc::clone(&prepared.tap)));
        options.observer = Some(match options.observer.take() {
            Some(other) => Arc::new(Both(other, tap)),
            None => tap,
        });
        options
    }

    /// Serves the run and prints its address.
    pub(crate) fn start(
        self,
        running: &RunningGraph,
        graph: &Graph,
        interrupts: &Interrupts,
    ) -> anyhow::Result<Served> {
        let Some(prepared) = self.0 else {
            return Ok(Served(None));
        };
        let address = prepared.listening.address();
        let run = WatchedRun::new(running.handle(), graph, prepared.hub, prepared.tap);
        let (draining, stopping) = (interrupts.clone(), interrupts.clone());
        let run = run.with_measures(prepared.measures);
        let run = run.with_workers(prepared.workers);
        let run = run.with_clocks(prepared.clocks);
        let run = run.ended_by(
            move || draining.ask_to_drain(),
            move || stopping.ask_to_stop(),
        );
        let server = prepared.listening.start(run);
        let server = server.context("the page cannot be served")?;
        let scheme = if prepared.identity.is_some() {
            "https"
        } else {
            "http"
        };
        // Printed, not logged: a token must not be written to a file.
        match &prepared.fresh {
            Some(token) => complain_as_it_is(&format!(
                "live page: {scheme}://{}/#token={}",
                prepared.shown,
                token.secret()
            )),
            None => complain(&format!("live page: {scheme}://{}/", prepared.shown)),
        }
        if let Some(identity) = &prepared.identity {
            complain(&format!(
                "its certificate's SHA-256 fingerprint: {}",
                identity.fingerprint()
            ));
        } else if !address.ip().is_loopback() {
            complain(
                "warning: the page, including pictures and token, goes over the network unencrypted; add --serve-tls, or reach it through ssh -L",
            );
        }
        Ok(Served(Some(server)))
    }
}

/// Returns the certificate from files, or one made for this run.
fn identity(arguments: &ServeArguments, address: SocketAddr) -> anyhow::Result<Option<Identity>> {
    if !arguments.serve_tls {
        return Ok(None);
    }
    if let (Some(certificate), Some(key)) = (&arguments.serve_certificate, &arguments.serve_key) {
        return Ok(Some(Identity::read(certificate, key)?));
    }
    let mut names = arguments.serve_host.clone();
    names.push(reachable(address.ip()).to_string());
    Ok(Some(Identity::fresh(&names)?))
}

/// Returns the address to request the page by: a configured name, if it listens at every address of the machine.
fn shown(address: SocketAddr, hosts: &[String]) -> String {
    match hosts.first() {
        Some(name) if address.ip().is_unspecified() => format!("{name}:{}", address.port()),
        _ => SocketAddr::new(reachable(address.ip()), address.port()).to_string(),
    }
}

/// Returns an address that others can reach: if the machine listens at all addresses, the one with which it reaches
/// other networks; loopback if it reaches none.
fn reachable(ip: IpAddr) -> IpAddr {
    // Addresses reserved for documentation; nothing is sent to them.
    let elsewhere = match ip {
        _ if !ip.is_unspecified() => return ip,
        IpAddr::V4(_) => vec![SocketAddr::from(([192, 0, 2, 1], 9))],
        IpAddr::V6(_) => vec![
            SocketAddr::from(([192, 0, 2, 1], 9)),
            SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9)),
        ],
    };
    let own = elsewhere.into_iter().find_map(|elsewhere| {
        let any: IpAddr = match elsewhere {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect(elsewhere).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    own.unwrap_or(Ipv4Addr::LOCALHOST.into())
}

fn fresh_token(address: SocketAddr) -> anyhow::Result<Token> {
    if !std::io::stderr().is_terminal() {
        anyhow::bail!(
            "{address} is reachable from other machines, so the page needs a token, and there is no terminal to show one on: give one with --serve-token-file"
        );
    }
    Ok(Token::fresh()?)
}

impl Served {
    /// Marks every node of the run as created.
    pub(crate) fn ready(&self) {
        if let Some(server) = &self.0 {
            server.ready();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn the_address_that_is_shown_can_be_asked() {
        let none: &[String] = &[];
        let of = |address: &str, hosts: &[String]| shown(address.parse().unwrap(), hosts);
        assert_eq!(of("127.0.0.1:80", none), "127.0.0.1:80");
        assert_eq!(of("[::1]:80", none), "[::1]:80");
        let named = ["cameras.lan".to_owned()];
        assert_eq!(of("0.0.0.0:80", &named), "cameras.lan:80");
        assert_eq!(of("192.0.2.7:80", &named), "192.0.2.7:80");
        for any in ["0.0.0.0:80", "[::]:80"] {
            let shown = of(any, none);
            assert!(shown.ends_with(":80") && shown != any, "{shown}");
        }
    }
}
