//! The page of a run.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use fermata_actors::shown::{describe, shown_node};
use fermata_engine::observer::Observer;
use fermata_engine::{Graph, RunOptions, RunningGraph};
use fermata_serve::{
    Identity, Listening, Measures, ServeOptions, Server, Tap, TapObserver, Token, WatchedRun,
    Workers,
};
use fermata_vision::FrameHub;

use crate::both::Both;
use crate::cli::ServeArguments;
use crate::interrupts::Interrupts;
use crate::print::{complain, complain_as_it_is};

/// What was asked for, before the run is started.
pub(crate) struct Serving(Option<Prepared>);

struct Prepared {
    listening: Listening,
    /// A token that nobody knows but who reads the terminal.
    fresh: Option<Token>,
    identity: Option<Identity>,
    hub: Option<Arc<FrameHub>>,
    tap: Arc<Tap>,
    measures: Option<Arc<Measures>>,
    workers: Option<Arc<Workers>>,
}

/// A run that is being served, or not.
pub(crate) struct Served(Option<Server>);

impl Serving {
    /// Takes the address, so that one that is taken already is told before anything starts.
    pub(crate) fn prepare(arguments: &ServeArguments, graph: &Graph) -> anyhow::Result<Self> {
        let Some(address) = arguments.serve else {
            return Ok(Self(None));
        };
        let given = match &arguments.serve_token_file {
            Some(path) => Some(Token::read(path)?),
            None => None,
        };
        let fresh = match given.is_none() && !address.ip().is_loopback() {
            true => Some(fresh_token(address)?),
            false => None,
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
        Ok(Self(Some(Prepared {
            listening,
            fresh,
            identity,
            hub: shown_node(graph).map(|node| Arc::new(FrameHub::of_node(&node))),
            tap: Arc::new(Tap::new(describe)),
            measures: None,
            workers: None,
        })))
    }

    /// Lends the run what the page looks through.
    pub(crate) fn lend(&mut self, mut options: RunOptions) -> RunOptions {
        let Some(prepared) = &mut self.0 else {
            return options;
        };
        prepared.measures = options.services.get();
        prepared.workers = options.services.get();
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

    /// Serves the run and says where.
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
        let (draining, handle) = (interrupts.clone(), running.handle());
        let run = run.with_measures(prepared.measures);
        let run = run.with_workers(prepared.workers);
        let run = run.drained_by(move || draining.drain(&handle));
        let server = prepared.listening.start(run);
        let server = server.context("the page cannot be served")?;
        let scheme = if prepared.identity.is_some() {
            "https"
        } else {
            "http"
        };
        // Not through the log: a token must stand in no file.
        match &prepared.fresh {
            Some(token) => complain_as_it_is(&format!(
                "live page: {scheme}://{address}/#token={}",
                token.secret()
            )),
            None => complain(&format!("live page: {scheme}://{address}/")),
        }
        if let Some(identity) = &prepared.identity {
            complain(&format!(
                "its certificate's SHA-256 fingerprint: {}",
                identity.fingerprint()
            ));
        } else if !address.ip().is_loopback() {
            complain(
                "warning: the page goes over the network unencrypted, pictures and token too; add --serve-tls, or reach it through ssh -L",
            );
        }
        Ok(Served(Some(server)))
    }
}

/// The certificate of files, or one for this run.
fn identity(arguments: &ServeArguments, address: SocketAddr) -> anyhow::Result<Option<Identity>> {
    if !arguments.serve_tls {
        return Ok(None);
    }
    if let (Some(certificate), Some(key)) = (&arguments.serve_certificate, &arguments.serve_key) {
        return Ok(Some(Identity::read(certificate, key)?));
    }
    let mut names = arguments.serve_host.clone();
    if !address.ip().is_unspecified() {
        names.push(address.ip().to_string());
    }
    Ok(Some(Identity::fresh(&names)?))
}

fn fresh_token(address: SocketAddr) -> anyhow::Result<Token> {
    if !std::io::stderr().is_terminal() {
        anyhow::bail!(
            "{address} is not for this machine alone, so the page needs a token, and there is no terminal to show one on: give one with --serve-token-file"
        );
    }
    Ok(Token::fresh()?)
}

impl Served {
    /// Says that every node of the run has been created.
    pub(crate) fn ready(&self) {
        if let Some(server) = &self.0 {
            server.ready();
        }
    }
}
