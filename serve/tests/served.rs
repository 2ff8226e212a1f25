//! A served run, whose frames are published by the test itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fermata_engine::{Graph, LoadOptions, Registry, Report, RunHandle, RunOptions, RunningGraph};
use fermata_serve::{
    Identity, Listening, ServeOptions, Server, Tap, TapObserver, Token, WatchedRun,
};
use fermata_vision::{Frame, FrameHub, ShownFrame};

/// Two streams, 200 packets per second each, until they are removed or drained.
const GRAPH: &str = "\
fermata: 1
name: served
streams: {door: x, hall: y}
nodes:
  source: {use: test_source, each: stream, rate: 200}
  middle: {use: identity, in: source}
  end:    {use: discard, in: middle}
";

pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) handle: RunHandle,
    pub(crate) hub: Arc<FrameHub>,
    server: Option<Server>,
    running: Option<RunningGraph>,
}

impl Served {
    /// Serves on loopback without a token, or on all addresses with one.
    pub(crate) fn start(token: Option<&Token>) -> Self {
        Self::as_identity(token, None)
    }

    /// The same over TLS, if there is a certificate.
    pub(crate) fn as_identity(token: Option<&Token>, identity: Option<Identity>) -> Self {
        Self::of(GRAPH, Registry::builtin(), token, identity)
    }

    /// Serves on loopback, behind a proxy that has this name.
    pub(crate) fn behind(host: &str) -> Self {
        let served = Self::known_as(&[host], GRAPH, Registry::builtin(), None, None);
        served.ready();
        served
    }

    /// Serves the run of a graph.
    pub(crate) fn of(
        graph: &str,
        registry: Registry,
        token: Option<&Token>,
        identity: Option<Identity>,
    ) -> Self {
        let served = Self::unready(graph, registry, token, identity);
        served.ready();
        served
    }

    /// Marks all nodes as created.
    pub(crate) fn ready(&self) {
        self.server.as_ref().unwrap().ready();
    }

    /// Serves the run of a graph whose nodes are not yet marked as created.
    pub(crate) fn unready(
        graph: &str,
        registry: Registry,
        token: Option<&Token>,
        identity: Option<Identity>,
    ) -> Self {
        Self::known_as(&[], graph, registry, token, identity)
    }

    fn known_as(
        hosts: &[&str],
        graph: &str,
        registry: Registry,
        token: Option<&Token>,
        identity: Option<Identity>,
    ) -> Self {
        let ip = if token.is_some() {
            [0; 4]
        } else {
            [127, 0, 0, 1]
        };
        let listening = Listening::on(ServeOptions {
            address: (ip, 0).into(),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            token: token.cloned(),
            identity,
        })
        .unwrap();
        let address = ([127, 0, 0, 1], listening.address().port()).into();
        let graph = Graph::parse("t.yaml", graph, &registry, &LoadOptions::new("/out")).unwrap();
        let tap = Arc::new(Tap::new(|_| None));
        let options = RunOptions {
            hold_open: true,
            observer: Some(Arc::new(TapObserver(Arc::clone(&tap)))),
            ..RunOptions::default()
        };
        let running = RunningGraph::start(graph.clone(), Arc::new(registry), options).unwrap();
        let handle = running.handle();
        let hub = Arc::new(FrameHub::of_node("middle"));
        let run = WatchedRun::new(handle.clone(), &graph, Some(Arc::clone(&hub)), tap);
        let server = listening.start(run).unwrap();
        Self {
            address,
            handle,
            hub,
            server: Some(server),
            running: Some(running),
        }
    }

    /// Publishes a frame of a stream.
    pub(crate) fn publish(&self, stream: &str, sequence: u64) {
        let shown = ShownFrame {
            frame: Frame::from_bgr(320, 180, vec![120; 320 * 180 * 3]),
            faces: Vec::new(),
            sequence,
            pts_ns: 0,
        };
        self.hub.publish(stream, shown);
    }

    /// Returns the packets delivered so far.
    pub(crate) fn delivered(&self) -> u64 {
        let snapshot = self.handle.snapshot();
        snapshot.streams.iter().map(|stream| stream.delivered).sum()
    }

    /// Waits until further packets have been delivered.
    pub(crate) fn goes_on(&self) {
        let (before, asked) = (self.delivered(), Instant::now());
        while self.delivered() < before + 100 {
            assert!(
                asked.elapsed() < Duration::from_secs(60),
                "the graph stands"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the run, and then its server.
    pub(crate) fn end(mut self) -> Report {
        self.handle.drain();
        let report = self.running.take().unwrap().wait();
        drop(self.server.take());
        assert!(report.balanced, "{:?}", report.imbalances);
        report
    }
}
