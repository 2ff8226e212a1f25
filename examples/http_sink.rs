//! A sink of your own that finishes its calls later: it posts packets to a server, several at a time.
//!
//! `cargo run --example http_sink`

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use fermata_engine::testing::ListSource;
use fermata_engine::{
    Actor, ActorError, Graph, Input, LoadOptions, Outputs, Payload, Ports, Registry, RunOptions,
    RunningGraph, Services, Setup,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// The payload that is posted.
struct Number(u64);

impl Payload for Number {}

/// The program's connections: a service, so that a graph with ten sinks shares one pool.
struct Http {
    client: reqwest::Client,
    runtime: tokio::runtime::Handle,
}

/// Posts each number to a server.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PostSettings {
    /// The address to post to.
    url: String,
    /// The maximum number of concurrent requests. Default: 8.
    #[serde(default = "default_at_once")]
    at_once: usize,
}

fn default_at_once() -> usize {
    8
}

/// See `PostSettings`.
struct Post {
    http: Arc<Http>,
    url: String,
}

impl Actor for Post {
    const NAME: &'static str = "post";
    type Settings = PostSettings;

    fn ports(settings: &PostSettings) -> Ports {
        Ports::new()
            .input::<Number>("in")
            .needs::<Http>()
            .finishes_later(settings.at_once)
    }

    fn create(settings: PostSettings, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            http: setup.service().ok_or("the program has no HTTP client")?,
            url: settings.url,
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let number = input.take::<Number>().0;
        // While `at_once` tickets are outstanding no more packets arrive: the queue fills, and eventually the source
        // waits.
        let ticket = out.finish_later()?;
        let request = self.http.client.post(&self.url).body(number.to_string());
        self.http.runtime.spawn(async move {
            let answer = request.send().await;
            match answer.and_then(reqwest::Response::error_for_status) {
                Ok(_) => ticket.done(),
                // The packet has failed and is counted; the next one continues.
                Err(error) => ticket.fail(error),
            }
        });
        Ok(())
    }
}

/// What the server has received.
#[derive(Default)]
struct Seen {
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
    accepted: Mutex<BTreeSet<u64>>,
}

/// Serves slowly and refuses every tenth number.
async fn accept(seen: Arc<Seen>, body: String) -> StatusCode {
    let under_way = 1 + seen.under_way.fetch_add(1, Ordering::SeqCst);
    seen.most_under_way.fetch_max(under_way, Ordering::SeqCst);
    let number: Option<u64> = body.parse().ok();
    tokio::time::sleep(Duration::from_millis(number.unwrap_or(0) % 7)).await;
    seen.under_way.fetch_sub(1, Ordering::SeqCst);
    match number {
        Some(number) if !number.is_multiple_of(10) => {
            let mut accepted = seen.accepted.lock().expect("nobody panics with the lock");
            accepted.insert(number);
            StatusCode::OK
        }
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

const NUMBERS: u64 = 100;

/// Runs the server and the graph, and prints what became of the numbers.
pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seen = Arc::new(Seen::default());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let server = {
        let seen = Arc::clone(&seen);
        let accept = axum::routing::post(move |body: String| accept(Arc::clone(&seen), body));
        axum::Router::new().route("/numbers", accept)
    };
    runtime.spawn(async move { axum::serve(listener, server).await });

    let mut registry = Registry::builtin();
    registry.register::<Post>();
    ListSource::register(&mut registry, "numbers", (0..NUMBERS).map(Number));
    let text = format!(
        "
fermata: 1
nodes:
  numbers: {{use: numbers}}
  post:    {{use: post, in: numbers, url: 'http://{address}/numbers', at_once: 4}}
run: {{clock: asap}}
"
    );
    let options = LoadOptions::new(std::env::temp_dir());
    let graph = Graph::parse("http_sink", &text, &registry, &options)?;
    // The client is built without a crypto provider, so the program installs one once.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = Http {
        client: reqwest::Client::new(),
        runtime: runtime.handle().clone(),
    };
    let run_options = RunOptions {
        services: Services::new().with(Arc::new(http)),
        ..RunOptions::default()
    };
    let report = RunningGraph::start(graph, Arc::new(registry), run_options)?.wait();

    let post = &report.nodes["post"];
    let most = seen.most_under_way.load(Ordering::SeqCst);
    let (delivered, failed) = (post.processed, post.failed);
    println!("{delivered} numbers were accepted, {failed} refused, at most {most} at once");
    assert!(report.balanced, "{:?}", report.imbalances);
    let accepted = seen.accepted.lock().expect("nobody panics with the lock");
    let due = (0..NUMBERS).filter(|number| !number.is_multiple_of(10));
    assert!(accepted.iter().copied().eq(due), "{accepted:?}");
    assert_eq!((delivered, failed), (NUMBERS - NUMBERS / 10, NUMBERS / 10));
    assert!(most <= 4, "{most} at once");
    Ok(())
}
