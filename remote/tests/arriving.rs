//! Streams that sending ends open over an edge are found, at a real NATS server, and found again until they are added.

mod edges {
    #[allow(dead_code, reason = "other tests use the rest of it")]
    pub(crate) mod server;
}

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream;
use edges::server::{Server, wait_until};
use fermata_engine::Codecs;
use fermata_remote::site::{PartSpec, SitePart};
use fermata_remote::{Arriving, Credentials, watch_streams};

/// Opens streams of the edge `numbers`, as its sending ends do.
fn open(server: &Server, streams: &[&str]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let client = async_nats::connect(server.url()).await.expect("a client");
        let jetstream = jetstream::new(client);
        let config = jetstream::stream::Config {
            name: "fermata+test+numbers+progress".to_owned(),
            subjects: vec!["fermata.test.numbers.progress.*".to_owned()],
            ..jetstream::stream::Config::default()
        };
        let store = jetstream.get_or_create_stream(config).await;
        store.expect("a store");
        for stream in streams {
            let subject = format!("fermata.test.numbers.progress.{stream}");
            let told = jetstream.publish(subject, "".into()).await;
            told.expect("a publication").await.expect("an answer");
        }
    });
}

#[test]
fn a_stream_that_cannot_be_added_at_once_is_found_again_and_one_that_was_added_is_not() {
    let server = Server::start();
    let connection = server.connect_as(&Credentials::default(), &Codecs::default());
    let connection = connection.expect("a connection");
    let spec = PartSpec {
        machine: "server".to_owned(),
        machines: vec!["gate".to_owned(), "server".to_owned()],
        graph: "shop".to_owned(),
        digest: "d1".to_owned(),
        version: "1.2.3".to_owned(),
        may_begin: true,
    };
    let part = SitePart::join(&connection, spec, |_| {}).expect("it may join");
    let arriving = Arriving {
        edge: "numbers".to_owned(),
        streams: BTreeSet::from(["door".to_owned()]),
    };
    let calls: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let counting = Arc::clone(&calls);
    let found = move |edge: &str, stream: &str| {
        assert_eq!(edge, "numbers");
        let mut calls = counting.lock().expect("the calls");
        let times = calls.entry(stream.to_owned()).or_default();
        *times += 1;
        if stream == "yard" && *times < 3 {
            return Err("no thread is left".to_owned());
        }
        Ok(())
    };
    watch_streams(&part, vec![arriving], BTreeSet::new(), found, || {});
    open(&server, &["door", "hall", "yard"]);
    let times = |stream: &str| {
        let calls = calls.lock().expect("the calls");
        calls.get(stream).copied().unwrap_or(0)
    };
    wait_until("a stream that is added at last", || times("yard") == 3);
    // Another look has all of them before it.
    open(&server, &["lane"]);
    wait_until("another look", || times("lane") == 1);
    let calls = calls.lock().expect("the calls").clone();
    let expected = [("hall", 1), ("lane", 1), ("yard", 3)];
    let expected = expected.map(|(stream, times)| (stream.to_owned(), times));
    assert_eq!(calls, BTreeMap::from(expected));
    connection.close(Duration::from_secs(5));
}
