//! Jobs at a NATS server that has lost them or has no room for them: those who wait learn why no result comes.

#![allow(clippy::unwrap_used)]

#[path = "edges/server.rs"]
#[allow(dead_code, reason = "tests of edges use the rest of it")]
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use fermata_engine::Codecs;
use fermata_remote::work::records::JobRecord;
use fermata_remote::work::{Coordinator, JobName, NoResult, Taken, Worker, WorkerSpec};
use fermata_remote::{Credentials, NatsConnection};
use server::{PATIENCE, Server, wait_until};

fn connect(server: &Server) -> Arc<NatsConnection> {
    let connected = server.connect_as(&Credentials::default(), &Codecs::default());
    connected.expect("a server that was just started")
}

fn name() -> JobName {
    "test".parse().expect("a name")
}

fn record(id: &str) -> JobRecord {
    JobRecord {
        id: id.to_owned(),
        by: format!("who began {id}"),
        lease_ms: PATIENCE.as_millis() as u64,
        units: 3,
        tries: 3,
        about: "numbers".to_owned(),
    }
}

fn begin(server: &Server) -> Arc<Coordinator> {
    Coordinator::begin(&connect(server), &name(), record("one"), 1000).expect("a job")
}

fn worker(server: &Server) -> Arc<Worker> {
    let spec = WorkerSpec {
        worker: "a".to_owned(),
        host: "here".to_owned(),
    };
    let worker = Worker::find(&connect(server), &name(), spec, |_| {}).expect("the job");
    worker.begin(None);
    worker
}

fn takes(worker: &Worker) -> u64 {
    let started = Instant::now();
    loop {
        match worker.take() {
            Taken::Unit { unit, .. } => return unit,
            other => assert!(started.elapsed() < PATIENCE, "no unit, but {other:?}"),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Another client of the server.
struct Other {
    runtime: tokio::runtime::Runtime,
    jetstream: jetstream::Context,
}

impl Other {
    fn at(server: &Server) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        let jetstream = runtime.block_on(async {
            let client = async_nats::connect(server.url()).await.unwrap();
            jetstream::new(client)
        });
        Self { runtime, jetstream }
    }

    fn removes_stream(&self, name: &str) {
        let removed = self.jetstream.delete_stream(name);
        self.runtime.block_on(removed).expect(name);
    }

    fn bytes(&self, stream: &str) -> u64 {
        let stream = self.runtime.block_on(self.jetstream.get_stream(stream));
        stream.expect("a stream").cached_info().state.bytes
    }

    /// Stores messages of its own until the server is full. Returns how many it took.
    fn fills(&self) -> u64 {
        self.runtime.block_on(async {
            let filler = jetstream::stream::Config {
                name: "filler".to_owned(),
                ..jetstream::stream::Config::default()
            };
            self.jetstream.get_or_create_stream(filler).await.unwrap();
            let mut taken = 0;
            loop {
                let sent = self
                    .jetstream
                    .publish("filler", vec![b'x'; 50].into())
                    .await;
                if let Err(error) = sent.unwrap().await {
                    let said = format!("{error:?}");
                    assert!(said.contains("insufficient"), "{said}");
                    return taken;
                }
                taken += 1;
            }
        })
    }
}

/// A way to lose a job: its label, what is done at the server, and what the coordinator then reports as missing.
type Loss = (&'static str, fn(&mut Server), &'static str);

#[test]
fn a_job_that_is_not_at_the_server_any_more_has_no_results_and_says_what_is_missing() {
    let losses: [Loss; 7] = [
        ("all", lose_everything, "its name is missing"),
        (
            "the list",
            |server| Other::at(server).removes_stream("KV_fermata-jobs"),
            "its name is missing",
        ),
        (
            "the name",
            take_the_name,
            "its name belongs to another job, begun by who began two",
        ),
        (
            "the units",
            |server| Other::at(server).removes_stream("fermata-one-units"),
            "its stream `fermata-one-units` is missing",
        ),
        (
            "the state",
            |server| Other::at(server).removes_stream("KV_fermata-one-state"),
            "its stream `KV_fermata-one-state` is missing",
        ),
        (
            "the results",
            |server| Other::at(server).removes_stream("fermata-one-results"),
            "its stream `fermata-one-results` is missing",
        ),
        ("the queue", lose_the_queue, "its queue is missing"),
    ];
    for (lost, lose, missing) in losses {
        let mut server = Server::start();
        let coordinator = begin(&server);
        coordinator.hand_out(0);
        let worker = worker(&server);
        assert_eq!(takes(&worker), 0);
        lose(&mut server);
        let reason = coordinator.result(0, PATIENCE).expect_err(lost);
        let expected = NoResult::JobGone {
            job: "test".to_owned(),
            missing: missing.to_owned(),
        };
        assert_eq!(reason, expected, "{lost}");
        coordinator.close().expect(lost);
        wait_until("the worker's end", || worker.take() == Taken::NoMore);
        let known = Coordinator::known(&connect(&server), &name()).expect(lost);
        let known = known.map(|record| record.id);
        let expected = (lost == "the name").then(|| "two".to_owned());
        assert_eq!(known, expected, "{lost}");
    }
}

fn lose_everything(server: &mut Server) {
    server.kill();
    server.empty();
    server.run();
}

fn take_the_name(server: &mut Server) {
    let other = Other::at(server);
    other.runtime.block_on(async {
        let jobs = other.jetstream.get_key_value("fermata-jobs").await.unwrap();
        let record = serde_json::to_vec(&record("two")).unwrap();
        jobs.put("test", record.into()).await.unwrap();
    });
}

fn lose_the_queue(server: &mut Server) {
    let other = Other::at(server);
    other.runtime.block_on(async {
        let units = other
            .jetstream
            .get_stream("fermata-one-units")
            .await
            .unwrap();
        units.delete_consumer("workers").await.unwrap();
    });
}

#[test]
fn a_job_on_a_full_server_says_why_it_stands_still_and_goes_on_once_there_is_room() {
    let server = Server::start_limited("", ", max_file_store: 40000");
    let other = Other::at(&server);
    let coordinator = begin(&server);
    for unit in 0..2 {
        coordinator.hand_out(unit);
    }
    let worker = worker(&server);
    let (first, second) = (takes(&worker), takes(&worker));
    worker.computed(first, vec![1; 900], 1);
    let result = coordinator.result(first, PATIENCE).unwrap();
    assert_eq!(result.expect("a result").bytes[..], [1; 900]);
    assert!(other.fills() > 0);
    // Removing a used result makes room, although there is none for a note of the removal.
    coordinator.taken(first, 1);
    wait_until("room", || coordinator.now().handed_out == 1);
    assert!(other.fills() > 0);
    worker.computed(second, vec![2; 900], 1);
    coordinator.hand_out(2);
    wait_until("the worker's word", || worker.report().obstacle.is_some());
    let obstacle = worker.report().obstacle.unwrap();
    let expected = format!("unit {second}: its result cannot be stored: ");
    assert!(
        obstacle.starts_with(&expected) && obstacle.contains("insufficient"),
        "{obstacle}"
    );
    wait_until("the coordinator's", || coordinator.now().obstacle.is_some());
    let own = coordinator.now().obstacle.unwrap();
    assert!(own.contains("insufficient"), "{own}");
    let of_worker = || coordinator.now().workers[0].report.obstacle.clone();
    wait_until("what it hears", || of_worker().as_ref() == Some(&obstacle));
    other.removes_stream("filler");
    let result = coordinator.result(second, PATIENCE).unwrap();
    assert_eq!(result.expect("a result").bytes[..], [2; 900]);
    assert_eq!(takes(&worker), 2);
    wait_until("its end", || of_worker().is_none());
    assert_eq!(
        (coordinator.now().obstacle, worker.report().obstacle),
        (None, None)
    );
    // A job can be removed from a full server.
    assert!(other.fills() > 0);
    coordinator.close().unwrap();
    wait_until("the worker's end", || worker.take() == Taken::NoMore);
    let known = Coordinator::known(&connect(&server), &name()).unwrap();
    assert_eq!(known, None);
}

#[test]
fn a_result_for_which_there_is_no_room_takes_none_from_others() {
    let server = Server::start_limited("", ", max_file_store: 400000");
    let other = Other::at(&server);
    let coordinator = begin(&server);
    for unit in 0..2 {
        coordinator.hand_out(unit);
    }
    let worker = worker(&server);
    let (large, small) = (takes(&worker), takes(&worker));
    worker.computed(large, vec![1; 1_000_000], 1);
    let log = || server.log().contains("limits exceeded");
    wait_until("a server that is full", log);
    worker.computed(small, vec![2; 10], 1);
    let result = coordinator.result(small, PATIENCE).unwrap();
    assert_eq!(result.expect("a result").bytes[..], [2; 10]);
    coordinator.taken(small, 1);
    wait_until("an end to all that was stored in vain", || {
        other.bytes("fermata-one-results") == 0
    });
}
